//! Speeds of links, asked [aside](crate::aside).
//!
//! The kernel asks the driver, and holds the lock of all network configuration meanwhile. Some drivers take seconds for
//! it, a broken one for ever. A speed rarely changes, so it is asked for once a minute.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Interface;
use crate::aside::{Aside, Question};
use crate::model::BootNanos;

/// Nanoseconds between two rounds.
const EVERY: u64 = 60_000_000_000;

/// The speeds that are known.
#[derive(Debug)]
pub(in crate::node) struct Speeds {
    aside: Aside<Link>,
    /// Bytes per second by the name of the interface.
    known: HashMap<Box<str>, u64>,
    asked_at: Option<BootNanos>,
}

/// An interface in sysfs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    directory: PathBuf,
    name: Box<str>,
}

impl Question for Link {
    /// Bytes per second; `None` where the driver does not know.
    type Answer = Option<u64>;

    fn is_about_the_same(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Default for Speeds {
    fn default() -> Self {
        let aside = Aside::new("speeds", |link: &Link| speed(&link.directory));
        Self { aside, known: HashMap::new(), asked_at: None }
    }
}

impl Speeds {
    /// Asks for the speeds of the interfaces in a directory of sysfs, unless it did so within the last minute.
    pub(in crate::node) fn ask(&mut self, interfaces: &[Interface], sysfs: &Path, now: BootNanos) {
        if self.asked_at.is_some_and(|at| now.since(at) < EVERY) {
            return;
        }
        self.take(now);
        self.asked_at = Some(now);
        self.known.retain(|name, _| interfaces.iter().any(|interface| interface.name == *name));
        let link = |interface: &Interface| Link {
            directory: sysfs.join(&*interface.name),
            name: interface.name.clone(),
        };
        self.aside.start(interfaces.iter().map(link).collect(), now);
    }

    /// Tells the speeds known by now. A link that does not answer any more has none, nor has one that is not asked
    /// because too many others do not answer.
    pub(in crate::node) fn tell(&mut self, interfaces: &mut [Interface], now: BootNanos) {
        self.take(now);
        for interface in interfaces {
            interface.speed_bytes = self.known.get(&interface.name).copied();
        }
    }

    fn take(&mut self, now: BootNanos) {
        for (link, speed) in self.aside.answers(now) {
            match speed {
                Some(speed) => self.known.insert(link.name, speed),
                None => self.known.remove(&link.name),
            };
        }
        if self.hanging() > 0 {
            let link = |name: &str| Link { directory: PathBuf::new(), name: name.into() };
            self.known.retain(|name, _| !self.aside.leaves_out(&link(name)));
        }
    }

    /// Links that do not answer now.
    pub(in crate::node) fn hanging(&self) -> usize {
        self.aside.hanging().count()
    }
}

/// The kernel tells megabits per second, and -1 or an error where the driver does not know or the link is down.
fn speed(directory: &Path) -> Option<u64> {
    const MEGABIT_BYTES: u64 = 125_000;
    let megabits: u32 = fs::read_to_string(directory.join("speed")).ok()?.trim().parse().ok()?;
    (0..u32::MAX).contains(&megabits).then(|| u64::from(megabits) * MEGABIT_BYTES).filter(|speed| *speed > 0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const MINUTE: u64 = EVERY;

    fn interface(name: &str) -> Interface {
        Interface {
            name: name.into(),
            is_up: None,
            addresses: Vec::new(),
            received_bytes: 0,
            received_packets: 0,
            sent_bytes: 0,
            sent_packets: 0,
            receive_errors: 0,
            send_errors: 0,
            receive_drops: 0,
            send_drops: 0,
            speed_bytes: None,
        }
    }

    /// Asks, and waits for what is answered within real time; the clock of the speeds stands still.
    fn told(speeds: &mut Speeds, sysfs: &Path, names: &[&str], now: u64, wanted: usize) -> Vec<Option<u64>> {
        let mut interfaces: Vec<Interface> = names.iter().map(|name| interface(name)).collect();
        speeds.ask(&interfaces, sysfs, BootNanos(now));
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            speeds.tell(&mut interfaces, BootNanos(now));
            let told: Vec<_> = interfaces.iter().map(|interface| interface.speed_bytes).collect();
            if told.iter().flatten().count() == wanted {
                return told;
            }
            assert!(Instant::now() < deadline, "{told:?}");
            std::thread::yield_now();
        }
    }

    fn write(sysfs: &Path, name: &str, speed: &str) {
        fs::create_dir_all(sysfs.join(name)).unwrap();
        fs::write(sysfs.join(name).join("speed"), speed).unwrap();
    }

    #[test]
    fn a_driver_that_does_not_answer_holds_nobody_up() {
        let sysfs = tempfile::tempdir().unwrap();
        write(sysfs.path(), "eth0", "1000\n");
        write(sysfs.path(), "eth2", "10000\n");
        fs::create_dir_all(sysfs.path().join("eth1")).unwrap();
        let stuck = sysfs.path().join("eth1/speed");
        // Reading waits until somebody writes.
        rustix::fs::mkfifoat(rustix::fs::CWD, &stuck, 0o600.into()).unwrap();
        let names = ["eth0", "eth1", "eth2"];
        let mut speeds = Speeds::default();
        assert_eq!(told(&mut speeds, sysfs.path(), &names, 1, 1), [Some(125_000_000), None, None]);
        assert_eq!(speeds.hanging(), 0, "it may take its time");
        let fast = 1_250_000_000;
        // The thread may not have come to it yet, so time goes on until it is left alone.
        let mut now = 1;
        while speeds.hanging() == 0 {
            now += 3_000_000_000;
            speeds.tell(&mut [], BootNanos(now));
        }
        let found = told(&mut speeds, sysfs.path(), &names, now, 2);
        assert_eq!((found, speeds.hanging()), (vec![Some(125_000_000), None, Some(fast)], 1));
        fs::write(&stuck, "2500\n").unwrap();
        while speeds.hanging() > 0 {
            speeds.tell(&mut [], BootNanos(now));
        }
        fs::remove_file(&stuck).unwrap();
        write(sysfs.path(), "eth1", "2500\n");
        let found = told(&mut speeds, sysfs.path(), &names, now + MINUTE, 3);
        assert_eq!(found, [Some(125_000_000), Some(312_500_000), Some(fast)]);
    }

    #[test]
    fn no_link_has_a_speed_while_so_many_hang_that_none_is_asked() {
        let sysfs = tempfile::tempdir().unwrap();
        write(sysfs.path(), "eth0", "1000\n");
        let names = ["eth0", "eth1", "eth2", "eth3", "eth4"];
        for name in &names[1..] {
            fs::create_dir_all(sysfs.path().join(name)).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, sysfs.path().join(name).join("speed"), 0o600.into())
                .unwrap();
        }
        let mut speeds = Speeds::default();
        assert_eq!(told(&mut speeds, sysfs.path(), &names, 1, 1)[0], Some(125_000_000));
        let mut now = 1;
        while speeds.hanging() < names.len() - 1 {
            now += 3_000_000_000;
            speeds.tell(&mut [], BootNanos(now));
        }
        let mut interfaces = [interface("eth0")];
        speeds.tell(&mut interfaces, BootNanos(now));
        assert_eq!(interfaces[0].speed_bytes, None);
        for name in &names[1..] {
            fs::write(sysfs.path().join(name).join("speed"), "10\n").unwrap();
        }
    }

    #[test]
    fn a_speed_is_asked_for_once_a_minute_and_forgotten_with_its_interface() {
        let sysfs = tempfile::tempdir().unwrap();
        write(sysfs.path(), "eth0", "1000\n");
        let mut speeds = Speeds::default();
        assert_eq!(told(&mut speeds, sysfs.path(), &["eth0"], 1, 1), [Some(125_000_000)]);
        while !speeds.aside.is_idle() {
            speeds.tell(&mut [], BootNanos(1));
        }
        write(sysfs.path(), "eth0", "10\n");
        assert_eq!(told(&mut speeds, sysfs.path(), &["eth0"], MINUTE, 1), [Some(125_000_000)]);
        assert!(speeds.aside.is_idle(), "nothing is asked within the minute");
        write(sysfs.path(), "eth0", "-1\n");
        assert_eq!(told(&mut speeds, sysfs.path(), &["eth0"], MINUTE + 1, 0), [None]);
        write(sysfs.path(), "eth0", "10\n");
        while !speeds.aside.is_idle() {
            speeds.tell(&mut [], BootNanos(MINUTE + 1));
        }
        assert_eq!(told(&mut speeds, sysfs.path(), &["eth0"], 2 * MINUTE + 1, 1), [Some(1_250_000)]);
        speeds.ask(&[], sysfs.path(), BootNanos(4 * MINUTE));
        assert!(speeds.known.is_empty());
    }
}
