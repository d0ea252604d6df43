//! What processes leave behind when they end: what they waited, and that they were killed for want of memory.

use sonde_tests::docker::Container;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::{require, wait};

use crate::support::docker;

const DELAY: &str = "container_resources_cpu_delay_seconds_total";

fn delay(agent: &Sonde, container: &Container<'_>) -> Result<f64, String> {
    let value =
        agent.metrics().and_then(|metrics| metrics.value(DELAY, &[("container_id", &container.id())]));
    value.map_err(|error| format!("{error:#}"))
}

/// What the processes of `contend` waited, in seconds, as the kernel told them.
fn told(output: &str) -> f64 {
    let line = output.lines().find_map(|line| line.strip_prefix("waited ")).expect("the sum");
    line.trim().parse::<f64>().expect("a number") / 1e9
}

/// Besides the processes that tell, the container has those that start them, with what they waited before they were moved
/// into it.
fn expect_waited(agent: &Sonde, container: &Container<'_>, before: f64, expected: f64) {
    assert!(expected > 2.0, "only {expected} s were waited, which proves nothing");
    let seen = wait::until("the waiting to show", || {
        let seen = delay(agent, container)? - before;
        wait::ensure(seen >= expected * 0.995, || format!("{seen} s of {expected} s")).map(|()| seen)
    });
    assert!(seen <= expected * 1.1 + 0.5, "{seen} s are shown for {expected} s");
    // Two passes later what ended is still counted once.
    let again = delay(agent, container).expect("the series") - before;
    assert!(again <= expected * 1.1 + 0.5, "{seen} s went on to {again} s");
}

#[test]
fn threads_that_no_pass_sees_have_waited_all_the_same() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    let docker = docker();
    let agent = Sonde::agent().start();
    let container = docker.run("contend", &[], &["wait"]);
    let before = wait::until("the container to show", || delay(&agent, &container));
    // Nobody asks for a snapshot in between.
    let expected = told(&container.traffic(&["contend", "4", "500"]));
    expect_waited(&agent, &container, before, expected);
}

#[test]
fn threads_that_end_between_two_passes_are_counted_to_their_end_and_once() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    let docker = docker();
    let agent = Sonde::agent().start();
    let container = docker.run("contend", &[], &["wait"]);
    let before = wait::until("the container to show", || delay(&agent, &container));
    let expected = std::thread::scope(|scope| {
        let burning = scope.spawn(|| told(&container.traffic(&["contend", "4", "700"])));
        let mut seen = before;
        while !burning.is_finished() {
            let now = delay(&agent, &container).expect("the series");
            assert!(now >= seen, "it went back from {seen} to {now}");
            seen = now;
        }
        burning.join().expect("the burners")
    });
    expect_waited(&agent, &container, before, expected);
}

#[test]
fn processes_killed_for_want_of_memory_are_counted() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    const KILLS: u32 = 3;
    let docker = docker();
    let agent = Sonde::agent().start();
    let container = docker.run("small", &["--memory", "24m", "--memory-swap", "24m"], &["wait"]);
    let roomy = docker.run("roomy", &["--memory", "96m", "--memory-swap", "96m"], &["allocate", "33554432"]);
    roomy.wait_for("allocated");
    let id = container.id();
    wait::until("the container to show", || delay(&agent, &container));
    for _ in 0..KILLS {
        let arguments = ["exec", container.name(), "/bin/traffic", "allocate", "67108864"];
        let killed = std::process::Command::new("docker").args(arguments).output().expect("start docker");
        assert_eq!(killed.status.code(), Some(137), "it was not killed: {killed:?}");
    }
    agent.expect(&[("container_oom_kills_total", &[("container_id", id.as_str())], f64::from(KILLS))]);
    let metrics = agent.metrics().expect("scrape");
    assert_eq!(metrics.sum("container_oom_kills_total", &[("container_id", &roomy.id())]), 0.0);
}

#[test]
fn a_kill_that_ends_the_container_is_added_to_those_before_the_agent() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    let docker = docker();
    // The first process is the one that is killed at last, alone: while it is killed for another's hunger, the other one
    // may be killed too.
    let script = "until [ -e /go ]; do /bin/busybox sleep 0.1; done; /bin/busybox rm /go; \
                  exec /bin/traffic allocate 67108864";
    let flags = ["--memory", "24m", "--memory-swap", "24m", "--entrypoint", "/bin/busybox"];
    let container = docker.run("fragile", &flags, &["sh", "-c", script]);
    for _ in 0..2 {
        let arguments = ["exec", container.name(), "/bin/traffic", "allocate", "67108864"];
        let killed = std::process::Command::new("docker").args(arguments).output().expect("start docker");
        assert_eq!(killed.status.code(), Some(137), "it was not killed: {killed:?}");
    }
    let agent = Sonde::agent().start();
    let id = container.id();
    let owner = [("container_id", id.as_str())];
    agent.expect(&[("container_oom_kills_total", &owner, 2.0)]);
    // Nobody reads the cgroup's file between this kill and the cgroup's end.
    docker.command(&["exec", container.name(), "/bin/busybox", "touch", "/go"]);
    wait::until("the container to end", || {
        wait::equal(container.inspect("{{.State.Running}}"), "false".into())
    });
    docker.command(&["start", container.name()]);
    agent.expect(&[("container_oom_kills_total", &owner, 3.0)]);
}
