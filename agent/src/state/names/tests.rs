use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn answer(name: &str, addresses: &[&str]) -> Answer {
    Answer { name: name.into(), addresses: addresses.iter().map(|text| ip(text)).collect() }
}

fn name(names: &Names, address: &str) -> Option<String> {
    names.of(ip(address)).map(|text| text.to_string())
}

#[test]
fn the_name_asked_for_last_wins() {
    let mut names = Names::new(10);
    names.answered(&answer("a.example", &["10.0.0.1"]), BootNanos(1));
    names.answered(&answer("b.example", &["10.0.0.1", "10.0.0.2"]), BootNanos(2));
    assert_eq!(name(&names, "10.0.0.1").as_deref(), Some("b.example"));
    assert_eq!((names.len(), names.stats().answers), (2, 2));
    assert_eq!(name(&names, "10.0.0.3"), None);
}

#[test]
fn a_name_stands_for_many_public_addresses() {
    let mut names = Names::new(100);
    let cases: [(&str, &[&str], bool); 5] = [
        ("s3.example", &["52.216.1.1", "52.216.1.2"], true),
        ("six.example", &["2600::1", "2600::2"], true),
        ("one.example", &["52.216.2.1"], false),
        ("mixed.example", &["52.216.3.1", "10.0.0.1"], false),
        ("inside.example", &["10.0.1.1", "10.0.1.2"], false),
    ];
    for (text, addresses, stands) in cases {
        names.answered(&answer(text, addresses), BootNanos(1));
        let found = names.destination(ip(addresses[0]));
        let found = found.and_then(|id| names.text(id));
        assert_eq!(found.map(|text| &**text), stands.then_some(text));
    }
}

#[test]
fn public_is_what_is_not_reserved() {
    for public in ["8.8.8.8", "100.63.255.255", "100.128.0.0", "198.20.0.1", "2600::1", "::ffff:8.8.8.8"] {
        assert!(is_public(&ip(public)), "{public}");
    }
    let reserved = [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "0.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
    ];
    for reserved in reserved {
        assert!(!is_public(&ip(reserved)), "{reserved}");
    }
}

#[test]
fn what_leads_nowhere_is_forgotten() {
    let mut names = Names::new(10);
    names.answered(&answer("old.example", &["10.0.0.1"]), BootNanos(1));
    names.answered(&answer("used.example", &["10.0.0.2"]), BootNanos(1));
    names.answered(&answer("new.example", &["10.0.0.3"]), BootNanos(100));
    names.answered(&answer("held.example", &["52.0.0.1", "52.0.0.2"]), BootNanos(1));
    let held = names.destination(ip("52.0.0.1")).unwrap();
    let destinations = HashSet::from([ip("10.0.0.2")]);
    names.forget(&destinations, [held].into_iter(), (BootNanos(150), BootNanos(50)));
    assert_eq!(name(&names, "10.0.0.1"), None);
    assert_eq!(name(&names, "10.0.0.2").as_deref(), Some("used.example"));
    assert_eq!(name(&names, "10.0.0.3").as_deref(), Some("new.example"));
    assert_eq!(names.destination(ip("52.0.0.1")), None);
    assert_eq!(names.text(held).map(|text| &**text), Some("held.example"), "a flow has this name");
    names.forget(&destinations, [].into_iter(), (BootNanos(160), BootNanos(50)));
    assert_eq!((names.text(held), names.ids.len()), (None, 2));
}

#[test]
fn a_million_names_pass_through() {
    let mut names = Names::new(1000);
    names.answered(&answer("kept.example", &["10.0.0.1"]), BootNanos(0));
    names.forget(&HashSet::from([ip("10.0.0.1")]), [].into_iter(), (BootNanos(0), BootNanos(0)));
    for number in 0..1_000_000u32 {
        let address = Ipv4Addr::from(0x0b00_0000 + number).to_string();
        names.answered(&answer(&format!("n{number}.example"), &[&address]), BootNanos(u64::from(number)));
        if number % 10_000 == 0 {
            names.forget(&HashSet::from([ip("10.0.0.1")]), [].into_iter(), (BootNanos(0), BootNanos(0)));
        }
        assert!(names.len() <= 1000 && names.texts.len() <= 1000 && names.ids.len() <= 1000);
    }
    assert_eq!(name(&names, "10.0.0.1").as_deref(), Some("kept.example"), "a destination keeps its name");
    assert_eq!(names.stats().evicted as usize + names.len(), 1_000_001);
    assert_eq!(
        name(&names, &Ipv4Addr::from(0x0b00_0000 + 999_999).to_string()).as_deref(),
        Some("n999999.example")
    );
}

#[test]
fn a_table_full_of_destinations_refuses() {
    let mut names = Names::new(2);
    names.answered(&answer("a.example", &["10.0.0.1", "10.0.0.2"]), BootNanos(1));
    let destinations = HashSet::from([ip("10.0.0.1"), ip("10.0.0.2")]);
    names.forget(&destinations, [].into_iter(), (BootNanos(2), BootNanos(0)));
    names.answered(&answer("b.example", &["10.0.0.3"]), BootNanos(3));
    assert_eq!((name(&names, "10.0.0.3"), names.stats().refused, names.stats().evicted), (None, 1, 0));
}
