use std::collections::HashMap;

use super::*;

const HOST: NetnsId = NetnsId(1);
const POD: NetnsId = NetnsId(2);

/// Tables by namespace: where each tuple leads, as source and destination.
#[derive(Default)]
struct Fake {
    tables: HashMap<NetnsId, FakeTable>,
}

#[derive(Default)]
struct FakeTable {
    leads: HashMap<(SocketAddr, SocketAddr), Answer>,
    asked: usize,
}

impl Ask for FakeTable {
    fn ask(&mut self, questions: &[Tuple]) -> Vec<Answer> {
        self.asked += questions.len();
        let of = |tuple: &Tuple| self.leads.get(&(tuple.source, tuple.destination));
        questions.iter().map(|tuple| of(tuple).copied().unwrap_or(Answer::Untracked)).collect()
    }
}

impl Tables for Fake {
    fn host(&self) -> NetnsId {
        HOST
    }

    fn of_host(&mut self) -> Option<&mut dyn Ask> {
        self.tables.get_mut(&HOST).map(|table| table as &mut dyn Ask)
    }

    fn of(&mut self, netns: NetnsId, pids: &[HostPid]) -> Option<&mut dyn Ask> {
        assert_ne!(netns, HOST);
        let table = self.tables.get_mut(&netns).filter(|_| pids.contains(&HostPid(77)));
        table.map(|table| table as &mut dyn Ask)
    }
}

impl Fake {
    fn with(mut self, netns: NetnsId, asked: [&str; 2], leads: [&str; 2]) -> Self {
        let [source, destination] = leads.map(address);
        let tuple = Tuple::new(Protocol::Tcp, source, destination).unwrap();
        let key = (address(asked[0]), address(asked[1]));
        self.tables.entry(netns).or_default().leads.insert(key, Answer::Tracked(tuple));
        self
    }

    fn find(&mut self, netns: NetnsId, local: &str, remote: &str) -> Found {
        follow(&[question(netns, local, remote)], self)[0]
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn question(netns: NetnsId, local: &str, remote: &str) -> Question {
    let pids = [None, Some(HostPid(77)), None];
    Question { protocol: Protocol::Tcp, netns, pids, local: address(local), remote: address(remote) }
}

fn translated(text: &str) -> Found {
    Found::Translated(address(text))
}

#[test]
fn a_service_address_leads_to_its_backend() {
    let mut tables = Fake::default()
        .with(HOST, ["10.0.0.1:5", "10.96.0.1:80"], ["10.0.0.1:5", "10.0.0.2:8080"])
        .with(HOST, ["10.0.0.1:6", "10.0.0.2:8080"], ["10.0.0.1:6", "10.0.0.2:8080"]);
    for netns in [HOST, POD, NetnsId(0)] {
        assert_eq!(
            tables.find(netns, "10.0.0.1:5", "10.96.0.1:80"),
            translated("10.0.0.2:8080"),
            "{netns:?}"
        );
    }
    assert_eq!(tables.find(HOST, "10.0.0.1:6", "10.0.0.2:8080"), Found::Direct);
    assert_eq!(tables.find(HOST, "10.0.0.1:7", "10.0.0.2:8080"), Found::Untracked);
    assert_eq!(
        tables.find(HOST, "[::ffff:10.0.0.1]:5", "[::ffff:10.96.0.1]:80"),
        translated("10.0.0.2:8080")
    );
}

#[test]
fn two_translations_in_a_row_are_followed_with_what_the_first_made_of_the_source() {
    let mut tables = Fake::default()
        .with(POD, ["172.17.0.2:5", "10.96.0.1:80"], ["10.1.0.9:700", "10.97.0.1:81"])
        .with(HOST, ["10.1.0.9:700", "10.97.0.1:81"], ["10.1.0.9:700", "10.0.0.2:8080"]);
    assert_eq!(tables.find(POD, "172.17.0.2:5", "10.96.0.1:80"), translated("10.0.0.2:8080"));
    let known_to_the_first_only = Fake::default()
        .with(POD, ["172.17.0.2:5", "10.96.0.1:80"], ["172.17.0.2:5", "10.0.0.3:81"])
        .find(POD, "172.17.0.2:5", "10.96.0.1:80");
    assert_eq!(known_to_the_first_only, translated("10.0.0.3:81"));
}

#[test]
fn a_source_address_alone_is_no_translation() {
    let mut tables =
        Fake::default().with(HOST, ["10.0.0.1:5", "192.0.2.1:80"], ["198.51.100.1:999", "192.0.2.1:80"]);
    assert_eq!(tables.find(HOST, "10.0.0.1:5", "192.0.2.1:80"), Found::Direct);
}

#[test]
fn loopback_of_another_namespace_is_not_looked_for_in_the_hosts() {
    let mut tables = Fake::default()
        .with(POD, ["10.1.0.2:5", "10.96.0.1:80"], ["127.0.0.1:5", "127.0.0.1:15001"])
        .with(HOST, ["127.0.0.1:5", "127.0.0.1:15001"], ["127.0.0.1:5", "10.0.0.2:1"]);
    assert_eq!(tables.find(POD, "10.1.0.2:5", "10.96.0.1:80"), translated("127.0.0.1:15001"));
    assert_eq!(tables.find(POD, "127.0.0.1:5", "127.0.0.1:15001"), Found::Untracked);
    assert_eq!(tables.tables[&HOST].asked, 0);
    assert_eq!(tables.find(HOST, "127.0.0.1:5", "127.0.0.1:15001"), translated("10.0.0.2:1"));
}

#[test]
fn what_cannot_be_asked_is_skipped_and_what_fails_is_said() {
    let mut tables = Fake::default().with(HOST, ["10.0.0.1:5", "10.96.0.1:80"], ["10.0.0.1:5", "10.0.0.2:1"]);
    assert_eq!(tables.find(HOST, "10.0.0.1:0", "10.96.0.1:80"), Found::Skipped, "the port is not known");
    let key = (address("10.0.0.1:5"), address("10.96.0.1:80"));
    tables.tables.get_mut(&HOST).unwrap().leads.insert(key, Answer::Failed(105));
    assert_eq!(tables.find(HOST, "10.0.0.1:5", "10.96.0.1:80"), Found::Failed);
    assert_eq!(Fake::default().find(HOST, "10.0.0.1:5", "10.96.0.1:80"), Found::Skipped, "no table");
}

#[test]
fn one_table_is_asked_once_for_all_connections_of_its_namespace() {
    let mut tables = Fake::default()
        .with(POD, ["10.1.0.2:1", "10.96.0.1:80"], ["10.1.0.2:1", "10.0.0.1:80"])
        .with(POD, ["10.1.0.2:2", "10.96.0.1:80"], ["10.1.0.2:2", "10.0.0.2:80"]);
    let none = Question { pids: [None; 3], ..question(POD, "10.1.0.2:2", "10.96.0.1:80") };
    let found = follow(&[question(POD, "10.1.0.2:1", "10.96.0.1:80"), none], &mut tables);
    assert_eq!(found, [translated("10.0.0.1:80"), translated("10.0.0.2:80")]);
    assert_eq!(tables.tables[&POD].asked, 2);
}
