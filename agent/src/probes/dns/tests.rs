use proptest::prelude::*;

use super::*;

/// A name on the wire.
fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let label = |label: &str| [&[label.len() as u8], label.as_bytes()].concat();
    labels.flat_map(label).chain([0]).collect()
}

/// A message with a question and records, each as owner, type and data.
fn message(question: &[u8], records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    message.extend_from_slice(question);
    message.extend([0, 1, 0, 1]);
    for (owner, kind, data) in records {
        message.extend_from_slice(owner);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend((data.len() as u16).to_be_bytes());
        message.extend_from_slice(data);
    }
    message
}

/// Points at the question's name.
const QUESTION: &[u8] = &[0xc0, 12];

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn addresses_of_both_families_are_read() {
    let v6: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let records: [(&[u8], u16, &[u8]); 3] =
        [(QUESTION, 1, &[10, 0, 0, 2]), (QUESTION, 1, &[10, 0, 0, 1]), (QUESTION, 28, &v6.octets())];
    let answer = parse(&message(&wire("API.Example.com"), &records)).unwrap();
    assert_eq!(&*answer.name, "api.example.com");
    assert_eq!(answer.addresses, addresses(&["10.0.0.1", "10.0.0.2", "2001:db8::1"]));
}

#[test]
fn aliases_are_followed_in_any_order_and_strangers_are_not() {
    let (edge, cdn) = (wire("edge.cdn.net"), wire("a.cdn.net"));
    let records: [(&[u8], u16, &[u8]); 5] = [
        (&cdn, 1, &[192, 0, 2, 7]),
        (&wire("stranger.org"), 1, &[192, 0, 2, 8]),
        (&edge, 5, &cdn),
        (QUESTION, 16, b"\x04text"),
        (QUESTION, 5, &edge),
    ];
    let answer = parse(&message(&wire("www.example.com"), &records)).unwrap();
    assert_eq!((&*answer.name, answer.addresses), ("www.example.com", addresses(&["192.0.2.7"])));
}

#[test]
fn aliases_in_a_circle_end() {
    let (a, b) = (wire("a"), wire("b"));
    let records: [(&[u8], u16, &[u8]); 3] = [(&a, 5, &b), (&b, 5, &a), (&b, 1, &[192, 0, 2, 1])];
    assert_eq!(parse(&message(&a, &records)).unwrap().addresses, addresses(&["192.0.2.1"]));
}

#[test]
fn names_point_back_only() {
    // Behind the question at 12: `x.` and a pointer to the question.
    let compressed = [1, b'x', 0xc0, 12];
    let good = parse(&message(&wire("example.com"), &[(&compressed, 5, QUESTION)])).unwrap();
    assert_eq!(&*good.name, "example.com");
    for pointer in [[0xc0, 12], [0xc0, 13], [0xc0, 40], [0xff, 0xff]] {
        assert_eq!(parse(&message(&pointer, &[])), Err(Malformed::Short), "{pointer:?}");
    }
    // A label, and then a pointer to its own beginning.
    assert_eq!(parse(&message(&[1, b'a', 0xc0, 12], &[])), Err(Malformed::Short));
}

#[test]
fn what_is_cut_off_is_read_so_far() {
    let records: [(&[u8], u16, &[u8]); 2] = [(QUESTION, 1, &[192, 0, 2, 1]), (QUESTION, 1, &[192, 0, 2, 2])];
    let whole = message(&wire("example.com"), &records);
    assert_eq!(parse(&whole[..whole.len() - 1]).unwrap().addresses, addresses(&["192.0.2.1"]));
    assert_eq!(parse(&whole[..20]), Err(Malformed::Short));
}

#[test]
fn what_is_no_answer_is_refused() {
    let mut question = message(&wire("example.com"), &[]);
    question[2] = 0x01;
    assert_eq!(parse(&question), Err(Malformed::NoAnswer));
    let mut two = message(&wire("example.com"), &[]);
    two[5] = 2;
    assert_eq!(parse(&two), Err(Malformed::NoAnswer));
    let mut chaos = message(&wire("version.bind"), &[]);
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(parse(&chaos), Err(Malformed::NoAnswer));
}

#[test]
fn only_names_of_hosts_become_labels() {
    for name in ["", "a\nb", "a b", "ä.example", "quote\".example"] {
        assert_eq!(parse(&message(&wire(name), &[])), Err(Malformed::Name), "{name:?}");
    }
    assert!(parse(&message(&wire("_sip._tcp.x-1.example"), &[])).is_ok());
}

#[test]
fn names_of_any_length_are_judged() {
    let long = |labels: usize| wire(&vec!["a".repeat(63); labels].join("."));
    assert!(parse(&message(&long(3), &[])).is_ok());
    assert_eq!(parse(&message(&long(4), &[])), Err(Malformed::Short), "255 in text form");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
    }

    /// Garbage behind a good header and question, which gets further.
    #[test]
    fn garbage_records_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), count in 0..=255u8) {
        let mut message = message(&wire("example.com"), &[]);
        message[7] = count;
        message.extend(bytes);
        let answer = parse(&message).unwrap();
        prop_assert!(answer.addresses.len() <= 255);
    }

    #[test]
    fn every_answer_is_read_back(
        labels in proptest::collection::vec("[a-z0-9_-]{1,20}", 1..6),
        ips in proptest::collection::vec(any::<[u8; 4]>(), 0..20),
    ) {
        let name = labels.join(".");
        let records: Vec<(&[u8], u16, &[u8])> = ips.iter().map(|ip| (QUESTION, 1, &ip[..])).collect();
        let answer = parse(&message(&wire(&name), &records)).unwrap();
        prop_assert_eq!(&*answer.name, &name);
        let mut expected: Vec<IpAddr> = ips.iter().map(|ip| Ipv4Addr::from(*ip).into()).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(answer.addresses, expected);
    }
}
