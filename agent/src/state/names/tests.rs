use proptest::prelude::*;

use super::*;

/// Whose asking does not matter.
const ASKER: Asker = asker(1);

const fn asker(netns: u32) -> Asker {
    Asker { cgroup_v2: 1, netns }
}

/// A table in which shares do not matter.
fn table(max: usize) -> Names {
    Names::new(Caps { workload: max, node: max })
}

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
    let mut names = table(10);
    names.answered(ASKER, &answer("a.example", &["10.0.0.1"]), BootNanos(1));
    names.answered(ASKER, &answer("b.example", &["10.0.0.1", "10.0.0.2"]), BootNanos(2));
    assert_eq!(name(&names, "10.0.0.1").as_deref(), Some("b.example"));
    assert_eq!((names.len(), names.stats().answers), (2, 2));
    assert_eq!(name(&names, "10.0.0.3"), None);
}

#[test]
fn a_name_stands_for_many_public_addresses() {
    let mut names = table(100);
    let cases: [(&str, &[&str], bool); 5] = [
        ("s3.example", &["52.216.1.1", "52.216.1.2"], true),
        ("six.example", &["2600::1", "2600::2"], true),
        ("one.example", &["52.216.2.1"], false),
        ("mixed.example", &["52.216.3.1", "10.0.0.1"], false),
        ("inside.example", &["10.0.1.1", "10.0.1.2"], false),
    ];
    for (text, addresses, stands) in cases {
        names.answered(ASKER, &answer(text, addresses), BootNanos(1));
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
    let mut names = table(10);
    names.answered(ASKER, &answer("old.example", &["10.0.0.1"]), BootNanos(1));
    names.answered(ASKER, &answer("used.example", &["10.0.0.2"]), BootNanos(1));
    names.answered(ASKER, &answer("new.example", &["10.0.0.3"]), BootNanos(100));
    names.answered(ASKER, &answer("held.example", &["52.0.0.1", "52.0.0.2"]), BootNanos(1));
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
    let mut names = table(1000);
    names.answered(ASKER, &answer("kept.example", &["10.0.0.1"]), BootNanos(0));
    names.forget(&HashSet::from([ip("10.0.0.1")]), [].into_iter(), (BootNanos(0), BootNanos(0)));
    for number in 0..1_000_000u32 {
        let address = Ipv4Addr::from(0x0b00_0000 + number).to_string();
        names.answered(
            ASKER,
            &answer(&format!("n{number}.example"), &[&address]),
            BootNanos(u64::from(number)),
        );
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

/// What the table says of itself, and that its own books are right.
fn check(names: &Names) {
    let mut shares: HashMap<Share, usize> = HashMap::new();
    names.by_ip.values().for_each(|named| *shares.entry(named.share).or_default() += 1);
    assert_eq!(names.shares, shares);
    let of_one = |share: &Share| matches!(share, Share::Of(_));
    assert!(shares.iter().all(|(share, used)| !of_one(share) || *used <= names.caps.workload), "{shares:?}");
    assert!(names.len() <= names.caps.node);
    let addresses: usize = names.texts.values().map(|text| text.addresses).sum();
    assert_eq!((addresses, names.ids.len()), (names.len(), names.texts.len()));
}

#[test]
fn a_table_full_of_destinations_folds() {
    let mut names = Names::new(Caps { workload: 2, node: 5 });
    for (asker, text, addresses) in
        [(asker(1), "a.test", ["10.0.0.1", "10.0.0.2"]), (asker(2), "b.test", ["10.0.0.3", "10.0.0.4"])]
    {
        names.answered(asker, &answer(text, &addresses), BootNanos(1));
        addresses.iter().for_each(|address| assert_eq!(names.destination(ip(address)), None));
    }
    // The share is full, the table is not.
    names.answered(asker(1), &answer("c.test", &["10.0.0.5"]), BootNanos(2));
    assert_eq!(name(&names, "10.0.0.5").as_deref(), Some(OVERFLOW));
    assert_eq!(names.stats().folded, Folded { workload: 1, node: 0 });
    names.destination(ip("10.0.0.5"));
    // Now the table is full as well.
    names.answered(asker(3), &answer("d.test", &["10.0.0.6"]), BootNanos(3));
    assert_eq!((name(&names, "10.0.0.6"), names.stats().folded), (None, Folded { workload: 1, node: 1 }));
    assert_eq!(names.stats().evicted, 0);
    check(&names);
    // What is no destination any more makes room; what has no name of its own first.
    names.forget(
        &HashSet::from([ip("10.0.0.1"), ip("10.0.0.2")]),
        [].into_iter(),
        (BootNanos(4), BootNanos(0)),
    );
    names.answered(asker(3), &answer("d.test", &["10.0.0.6"]), BootNanos(4));
    assert_eq!((name(&names, "10.0.0.6").as_deref(), name(&names, "10.0.0.5")), (Some("d.test"), None));
    assert_eq!(name(&names, "10.0.0.3").as_deref(), Some("b.test"));
    check(&names);
}

#[test]
fn who_asks_for_thousands_pays_for_them_alone() {
    let mut names = Names::new(Caps { workload: 100, node: 1000 });
    names.answered(asker(2), &answer("quiet.test", &["10.0.0.1", "10.0.0.2"]), BootNanos(0));
    // Asked for by both, and so of neither's share.
    for asker in [asker(1), asker(2)] {
        names.answered(asker, &answer("both.test", &["10.0.0.3"]), BootNanos(0));
    }
    for number in 0..5000u32 {
        let address = Ipv4Addr::from(0x0b00_0000 + number).to_string();
        names.answered(
            asker(1),
            &answer(&format!("n{number}.test"), &[&address]),
            BootNanos(u64::from(number)),
        );
    }
    check(&names);
    for (address, expected) in
        [("10.0.0.1", "quiet.test"), ("10.0.0.2", "quiet.test"), ("10.0.0.3", "both.test")]
    {
        assert_eq!(name(&names, address).as_deref(), Some(expected), "{address}");
    }
    assert_eq!(name(&names, "11.0.19.135").as_deref(), Some("n4999.test"), "its own newest names are there");
    assert_eq!(names.stats().evicted as usize + names.len(), 5003);
    assert_eq!(names.stats().folded, Folded::default());
}

proptest! {
    #[test]
    fn a_quiet_one_keeps_its_names_whatever_the_others_do(
        steps in proptest::collection::vec((0u32..6, 0u32..60, any::<bool>()), 0..400),
    ) {
        let mut names = Names::new(Caps { workload: 8, node: 40 });
        let quiet = ["10.1.0.1", "10.1.0.2", "10.1.0.3"];
        names.answered(asker(99), &answer("quiet.test", &quiet), BootNanos(0));
        for (at, (who, number, connects)) in (1..).zip(steps) {
            let address = Ipv4Addr::from(0x0a02_0000 + who * 256 + number).to_string();
            names.answered(asker(who), &answer(&format!("n{number}.test"), &[&address]), BootNanos(at));
            // Two of each: what is in use makes no room.
            if connects && number < 2 {
                names.destination(ip(&address));
            }
            check(&names);
        }
        for address in quiet {
            let found = name(&names, address);
            prop_assert_eq!(found.as_deref(), Some("quiet.test"));
        }
    }
}
