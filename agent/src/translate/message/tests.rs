use proptest::prelude::*;

use super::*;

fn tuple(source: &str, destination: &str) -> Tuple {
    Tuple::new(Protocol::Tcp, source.parse().unwrap(), destination.parse().unwrap()).unwrap()
}

/// The kernel's answer to a question: both directions, among attributes that nobody asked for.
fn answer(original: &Tuple, reply: &Tuple, sequence: u32) -> Vec<u8> {
    let direction = |tuple: &Tuple| {
        let mut question = Vec::new();
        encode(tuple, sequence, &mut question);
        question.split_off(HEADER + GENERIC)
    };
    let mut message = vec![0; 4];
    message.extend(NEW.to_ne_bytes());
    message.extend([0, 0]);
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend([AF_INET, 0, 0, 0]);
    attribute(&mut message, 3, &[0, 0, 0, 8]);
    message.extend(direction(original));
    attribute(&mut message, 7, &[1]);
    let mut other = direction(reply);
    other[2..4].copy_from_slice(&(TUPLE_REPLY | NESTED).to_ne_bytes());
    message.extend(other);
    let length = u32::try_from(message.len()).unwrap();
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message
}

/// `NLMSG_ERROR`, with the question behind it.
fn refusal(errno: i32, sequence: u32) -> Vec<u8> {
    let mut message = 36u32.to_ne_bytes().to_vec();
    message.extend(ERROR.to_ne_bytes());
    message.extend([0, 0]);
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend((-errno).to_ne_bytes());
    message.resize(36, 0xee);
    message
}

#[test]
#[cfg(target_endian = "little")]
fn a_question_has_the_bytes_that_the_kernel_expects() {
    let mut bytes = Vec::new();
    encode(&tuple("10.0.0.1:4660", "10.0.0.2:80"), 7, &mut bytes);
    #[rustfmt::skip]
    let expected = [
        72, 0, 0, 0, 1, 1, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0,
        2, 0, 0, 0,
        52, 0, 1, 0x80,
        20, 0, 1, 0x80, 8, 0, 1, 0, 10, 0, 0, 1, 8, 0, 2, 0, 10, 0, 0, 2,
        28, 0, 2, 0x80, 5, 0, 1, 0, 6, 0, 0, 0, 6, 0, 2, 0, 0x12, 0x34, 0, 0, 6, 0, 3, 0, 0, 80, 0, 0,
    ];
    assert_eq!(bytes, expected);
    bytes.clear();
    encode(&tuple("[fd00::1]:1", "[fd00::2]:2"), 8, &mut bytes);
    assert_eq!((bytes.len(), bytes[16]), (96, AF_INET6));
}

#[test]
fn answers_are_told_apart_by_their_numbers() {
    let (asked, got) = (tuple("10.0.0.1:1", "10.0.0.9:80"), tuple("10.1.0.2:8080", "10.0.0.1:1"));
    let v6 = (tuple("[fd00::1]:1", "[fd00::9]:80"), tuple("[fd00::2]:8080", "[fd00::1]:1"));
    let bytes = [answer(&asked, &got, 3), refusal(2, 4), answer(&v6.0, &v6.1, 5)].concat();
    let expected = [
        (3, Reply::Tracked { original: asked, reply: got }),
        (4, Reply::Refused(2)),
        (5, Reply::Tracked { original: v6.0, reply: v6.1 }),
    ];
    assert_eq!(decode(&bytes).collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_not_understood_is_unknown_and_what_is_cut_off_ends() {
    let whole = answer(&tuple("10.0.0.1:1", "10.0.0.9:80"), &tuple("10.0.0.9:80", "10.0.0.1:1"), 3);
    assert_eq!(decode(&whole[..whole.len() - 1]).count(), 0);
    let mut other = whole.clone();
    other[4] = 9;
    assert_eq!(decode(&other).collect::<Vec<_>>(), [(3, Reply::Unknown)]);
    let mut icmp = whole.clone();
    let protocol = icmp.windows(5).position(|bytes| bytes == [5, 0, 1, 0, 6]).unwrap() + 4;
    icmp[protocol] = 1;
    assert_eq!(decode(&icmp).collect::<Vec<_>>(), [(3, Reply::Unknown)]);
    assert_eq!(decode(&refusal(0, 1)).collect::<Vec<_>>(), [(1, Reply::Unknown)]);
    assert_eq!(decode(&[0; 64]).count(), 0, "a length of zero would never end");
}

#[test]
fn mapped_addresses_are_ipv4_and_odd_pairs_no_tuple() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let new = |source, destination| Tuple::new(Protocol::Udp, address(source), address(destination));
    let mapped = new("[::ffff:10.0.0.1]:5", "10.0.0.2:53").unwrap();
    assert_eq!(mapped.source, address("10.0.0.1:5"));
    assert_eq!(new("10.0.0.1:5", "[fd00::1]:53"), None);
    assert_eq!(new("10.0.0.1:0", "10.0.0.2:53"), None);
}

fn tuples() -> impl Strategy<Value = Tuple> {
    let ports = (1..=u16::MAX, 1..=u16::MAX);
    let v4 = (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
    let v6 = (any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
    (prop_oneof![v4, v6], ports, any::<bool>()).prop_filter_map("families differ", |(ips, ports, udp)| {
        let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
        Tuple::new(protocol, SocketAddr::new(ips.0, ports.0), SocketAddr::new(ips.1, ports.1))
    })
}

proptest! {
    #[test]
    fn every_tuple_survives(original in tuples(), reply in tuples(), sequence: u32) {
        let bytes = answer(&original, &reply, sequence);
        prop_assert_eq!(decode(&bytes).collect::<Vec<_>>(), [(sequence, Reply::Tracked { original, reply })]);
    }

    #[test]
    fn any_bytes_decode_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&bytes).count() <= bytes.len() / HEADER + 1);
    }

    #[test]
    fn damaged_answers_decode_to_an_end(original in tuples(), at: prop::sample::Index, value: u8) {
        let mut bytes = answer(&original, &original.inverted(), 1);
        let at = at.index(bytes.len());
        bytes[at] = value;
        prop_assert!(decode(&bytes).count() <= bytes.len() / HEADER + 1);
    }
}
