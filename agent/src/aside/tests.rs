use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::*;

/// A door that is opened for all at once.
#[derive(Default)]
struct Door(Mutex<bool>, Condvar);

impl Door {
    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

/// A path, and what it leads to.
type Path = (&'static str, u32);

impl Question for Path {
    type Answer = ();

    fn is_about_the_same(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

/// Looks until there are so many answers; the clock stands still.
fn wait(aside: &mut Aside<Path>, now: u64, count: usize) -> Vec<&'static str> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut found = Vec::new();
    while found.len() < count
        || count > 0 && aside.running.as_ref().is_some_and(|run| run.thread.is_finished())
    {
        assert!(Instant::now() < deadline, "{found:?} of {count} answers came");
        found.extend(aside.answers(BootNanos(now)).into_iter().map(|((path, _), ())| path));
        thread::yield_now();
    }
    found
}

#[test]
fn what_hangs_is_left_alone_and_the_rest_is_asked() {
    let door = Arc::new(Door::default());
    let behind = door.clone();
    let mut aside = Aside::new("test", move |(path, _): &Path| {
        if path.starts_with("/hangs") {
            behind.pass();
        }
    });
    let questions = || vec![("/a", 1), ("/hangs", 2), ("/hangs-too", 2), ("/b", 3)];
    aside.start(questions(), BootNanos(0));
    assert_eq!(wait(&mut aside, 1, 1), ["/a"]);
    // The thread may stand before the next question still.
    while aside.running.as_ref().unwrap().at.load(Ordering::Relaxed) != 1 {
        thread::yield_now();
    }
    aside.answers(BootNanos(2));
    assert_eq!(aside.hung(), 0, "it may take its time");
    aside.answers(BootNanos(2 + DEADLINE));
    assert_eq!((aside.hung(), aside.hanging().copied().collect::<Vec<_>>()), (1, vec![("/hangs", 2)]));
    assert_eq!(wait(&mut aside, 3 + DEADLINE, 1), ["/b"], "the same is not asked in another way");
    while !aside.is_idle() {
        aside.answers(BootNanos(3 + DEADLINE));
    }
    aside.start(questions(), BootNanos(4 + DEADLINE));
    assert_eq!(wait(&mut aside, 5 + DEADLINE, 2), ["/a", "/b"]);
    door.open();
    assert_eq!(wait(&mut aside, 5 + DEADLINE, 1), ["/hangs"], "its answer comes late");
    assert_eq!(aside.hanging().count(), 0);
    while !aside.is_idle() {
        aside.answers(BootNanos(5 + DEADLINE));
    }
    aside.start(questions(), BootNanos(6 + DEADLINE));
    assert_eq!(wait(&mut aside, 7 + DEADLINE, 4), ["/a", "/hangs", "/hangs-too", "/b"]);
    assert_eq!(aside.hung(), 1);
}

#[test]
fn whoever_may_leave_more_threads_hanging_goes_on_asking() {
    let door = Arc::new(Door::default());
    let behind = door.clone();
    let ask = move |(path, _): &Path| {
        if path.starts_with("/hangs") {
            behind.pass()
        }
    };
    let mut aside = Aside::new("test", ask).hanging_up_to(usize::MAX);
    let hanging = (0..=MAX_HANGING as u32).map(|number| ("/hangs", number));
    aside.start(hanging.chain([("/a", 99)]).collect(), BootNanos(0));
    let (mut now, mut found) = (0, Vec::new());
    let deadline = Instant::now() + Duration::from_secs(20);
    while found.is_empty() {
        assert!(Instant::now() < deadline, "{} hang", aside.hung());
        now += DEADLINE;
        found = aside.answers(BootNanos(now));
        thread::yield_now();
    }
    assert_eq!(found, [(("/a", 99), ())]);
    assert_eq!(aside.hanging().count(), MAX_HANGING + 1);
    door.open();
}

#[test]
fn threads_that_hang_are_bounded() {
    let door = Arc::new(Door::default());
    let behind = door.clone();
    let mut aside = Aside::new("test", move |_: &Path| behind.pass());
    aside.start((0..20).map(|number| ("/x", number)).collect(), BootNanos(0));
    for step in 1..10 {
        aside.answers(BootNanos(step * DEADLINE));
    }
    assert_eq!((aside.hung(), aside.hanging().count()), (MAX_HANGING as u64, MAX_HANGING));
    aside.start(vec![("/y", 99)], BootNanos(20 * DEADLINE));
    assert!(aside.is_idle(), "nobody is left to ask");
    door.open();
}
