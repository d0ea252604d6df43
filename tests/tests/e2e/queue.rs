//! The durable queue: outages, crashes, and when a sample is acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sonde_tests::process::{free_address, run};
use sonde_tests::product::Sonde;
use sonde_tests::promql::{Promql, unix_seconds};
use sonde_tests::remote_write::{push, series};
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, strace, wait};

use crate::support::{serve, traffic};

/// More than this between two samples of a series that comes every second is a gap. Outages last longer.
const GAP: Duration = Duration::from_millis(3500);
const OUTAGE_TICKS: f64 = 7.0;

fn millis() -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds fit")]
    let millis = (unix_seconds() * 1000.0) as i64;
    millis
}

/// Snapshots that this process of the agent has handed to its queue and got acknowledged.
fn appended(agent: &Sonde) -> f64 {
    agent
        .metrics()
        .and_then(|metrics| metrics.value("sonde_agent_push_ticks_total", &[("result", "appended")]))
        .expect("the agent counts its snapshots")
}

fn wait_for_ticks(agent: &Sonde, ticks: f64) {
    let from = appended(agent);
    wait::until("more snapshots", || {
        let now = appended(agent);
        wait::ensure(now >= from + ticks, || format!("{now} of {}", from + ticks))
    });
}

/// Time stamps of all samples of the agent's own clock-like series.
fn stamps(server: Promql) -> Vec<i64> {
    let found = server.series("node_uptime_seconds[20m]").expect("ask for raw samples");
    assert_eq!(found.len(), 1, "one agent has one series: {found:?}");
    let samples = &found[0].samples;
    assert!(samples.windows(2).all(|pair| pair[0].1 < pair[1].1), "uptime must grow: {samples:?}");
    samples.iter().map(|sample| sample.0).collect()
}

/// Waits until the server has a sample from now on, which comes last when order is kept.
fn wait_until_caught_up(server: Promql) {
    let now = unix_seconds();
    wait::until("the queue to be empty", || {
        let newest = server.value("timestamp(node_uptime_seconds)").map_err(|error| format!("{error:#}"))?;
        wait::ensure(newest > now, || format!("the newest sample is {:.1} s old", now - newest))
    });
}

/// Panics at the first two samples that are further apart than [`GAP`], unless they enclose one of `restarts`.
fn assert_no_gap(stamps: &[i64], restarts: &[(i64, i64)]) {
    let allowed = |from: i64, to: i64| {
        let restart = restarts.iter().find(|(down, up)| from <= *down && *up <= to);
        GAP.as_millis() as i64 + restart.map_or(0, |(down, up)| up - down)
    };
    for pair in stamps.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        assert!(to > from, "out of order at {from}: {stamps:?}");
        assert!(to - from <= allowed(from, to), "gap of {} ms after {from}: {stamps:?}", to - from);
    }
}

#[test]
fn an_outage_and_a_crash_of_the_agent_leave_no_gap() {
    require!(Need::Root, Need::Tool("prometheus"));
    let mut prometheus = Tsdb::start(Kind::Prometheus);
    let mut agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    wait_until_caught_up(prometheus.promql());
    prometheus.stop();
    wait_for_ticks(&agent, OUTAGE_TICKS);
    let acknowledged = appended(&agent);
    let down = millis();
    agent.kill();
    agent.resume();
    let up = millis();
    wait_for_ticks(&agent, OUTAGE_TICKS);
    prometheus.resume();
    wait_until_caught_up(prometheus.promql());
    let stamps = stamps(prometheus.promql());
    assert_no_gap(&stamps, &[(down, up)]);
    let before = stamps.iter().filter(|stamp| **stamp <= down).count();
    assert!(before as f64 >= acknowledged, "{acknowledged} were acknowledged, {before} arrived");
}

#[test]
fn through_a_collector_that_crashes_nothing_is_lost() {
    require!(Need::Root, Need::Tool("prometheus"));
    let mut prometheus = Tsdb::start(Kind::Prometheus);
    let mut collector = Sonde::collector().with("--remote-write", prometheus.remote_write()).start();
    let agent = Sonde::agent().with("--collector", format!("http://{}", collector.address())).start();
    wait_until_caught_up(prometheus.promql());
    prometheus.stop();
    wait_for_ticks(&agent, OUTAGE_TICKS / 2.0);
    collector.kill();
    wait_for_ticks(&agent, OUTAGE_TICKS / 2.0);
    collector.resume();
    wait_for_ticks(&agent, 2.0);
    collector.kill();
    collector.resume();
    prometheus.resume();
    wait_until_caught_up(prometheus.promql());
    assert_no_gap(&stamps(prometheus.promql()), &[]);
}

#[test]
fn what_happened_since_the_last_push_survives_sigterm() {
    require!(Need::Root, Need::Tool("prometheus"));
    let directory = tempfile::tempdir().expect("create a directory");
    let prometheus = Tsdb::start(Kind::Prometheus);
    let target = prometheus.remote_write();
    let mut agent = Sonde::agent().with("--scrape-interval", "1h").with("--remote-write", target).start();
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    run(&mut traffic(&["connect", &address, "9"]));
    agent.stop();
    // What was not delivered at the end is durable and goes out with the next start.
    agent.resume();
    let selector = format!("container_net_tcp_successful_connects_total{{destination=\"{address}\"}}[5m]");
    wait::until("the last count", || {
        let found = prometheus.promql().series(&selector).map_err(|error| format!("{error:#}"))?;
        let last = found.first().and_then(|series| series.samples.last()).map(|sample| sample.1);
        wait::equal(last, Some(9.0))
    });
}

/// One sample per series in each request, the same value in all; sent again until acknowledged.
const SERIES: usize = 20;
const REQUESTS: i64 = 400;
const CRASHES: i64 = 5;

#[test]
fn every_acknowledged_sample_survives_kill_9_in_its_order() {
    require!(Need::Tool("prometheus"));
    let mut prometheus = Tsdb::start(Kind::Prometheus);
    let mut collector = Sonde::collector().with("--remote-write", prometheus.remote_write()).start();
    let start = millis() - REQUESTS * 10;
    let request = |number: i64| {
        let sample = [(start + number * 10, number as f64)];
        (0..SERIES)
            .map(|index| series(&[("__name__", "acknowledged"), ("index", &index.to_string())], &sample))
            .collect::<Vec<_>>()
    };
    let mut crashes = 0;
    for number in 0..REQUESTS {
        if number == REQUESTS / 4 {
            prometheus.stop();
        } else if number == REQUESTS * 3 / 4 {
            prometheus.resume();
        }
        let killer = (number % (REQUESTS / CRASHES) == 7).then(|| {
            crashes += 1;
            // Races the requests on purpose: it may strike before, while, or after the record is written.
            let pid = Pid::from_raw(collector.process().pid() as i32).expect("a process has an id");
            std::thread::spawn(move || kill_process(pid, Signal::KILL))
        });
        while !push(collector.address(), request(number)).is_ok_and(|answer| answer.status / 100 == 2) {
            collector.kill();
            collector.resume();
        }
        if let Some(killer) = killer {
            killer.join().expect("the killer ends").expect("the collector was there to be killed");
            collector.kill();
            collector.resume();
        }
    }
    assert_eq!(crashes, CRASHES);
    let expected: Vec<(i64, f64)> =
        (0..REQUESTS).map(|number| (start + number * 10, number as f64)).collect();
    wait::until("all samples", || {
        let found = prometheus.promql().series("acknowledged[10m]").map_err(|error| format!("{error:#}"))?;
        let found: BTreeMap<&str, usize> =
            found.iter().map(|series| (series.labels["index"].as_str(), series.samples.len())).collect();
        wait::ensure(found.len() == SERIES && found.values().all(|count| *count == expected.len()), || {
            format!("{found:?}")
        })
    });
    for series in prometheus.promql().series("acknowledged[10m]").expect("ask for raw samples") {
        assert_eq!(series.samples, expected, "{:?}", series.labels);
    }
}

#[test]
fn one_sample_that_the_target_refuses_costs_no_other() {
    require!(Need::Tool("prometheus"));
    let prometheus = Tsdb::start(Kind::Prometheus);
    let collector = Sonde::collector().with("--remote-write", prometheus.remote_write()).start();
    let now = millis();
    let poisoned = |index: usize| {
        let stamp = if index == 13 { now - 10_000_000_000 } else { now };
        series(&[("__name__", "poisoned"), ("index", &index.to_string())], &[(stamp, 1.0)])
    };
    // Prometheus refuses samples from before its newest block; the whole request with them.
    let first =
        push(collector.address(), vec![series(&[("__name__", "first")], &[(now, 1.0)])]).expect("push");
    assert_eq!(first.status / 100, 2, "{}", first.text());
    prometheus.promql().expect_now("first", 1.0);
    let answer = push(collector.address(), (0..50).map(poisoned).collect()).expect("push");
    assert_eq!(answer.status / 100, 2, "{}", answer.text());
    prometheus.promql().expect_now("count(poisoned)", 49.0);
    wait::until("the refusal to be counted", || {
        let metrics = collector.metrics().map_err(|error| format!("{error:#}"))?;
        wait::equal(metrics.sum("sonde_collector_target_dropped_samples_total", &[]), 1.0)
    });
}

/// The place of a call in the trace, by what it must be and what its arguments must contain.
fn position<'c>(calls: &'c [strace::Call], names: &[&str], marks: &[&str]) -> &'c strace::Call {
    let fits = |call: &&strace::Call| {
        names.contains(&call.name.as_str()) && marks.iter().all(|mark| call.arguments.contains(mark))
    };
    calls.iter().find(fits).unwrap_or_else(|| {
        let seen: Vec<String> =
            calls.iter().map(|call| format!("{}({})", call.name, call.arguments)).collect();
        panic!("no {names:?} with {marks:?} in:\n{}", seen.join("\n"))
    })
}

#[test]
fn an_answer_follows_the_sync_of_its_record() {
    require!(Need::Tool("strace"));
    let directory = tempfile::tempdir().expect("create a directory");
    let trace = directory.path().join("trace").display().to_string();
    let calls = "trace=write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,sendto,sendmsg,recvfrom,read";
    let wrapper = ["strace", "-D", "-f", "-y", "-s", "400", "-e", calls, "-o", &trace];
    let mut collector = Sonde::collector().behind(&wrapper).start();
    // Sent uncompressed by the label's length: the record is found by it whatever surrounds it.
    let mark = "sync-order-mark";
    let answer = push(
        collector.address(),
        vec![series(&[("__name__", "synced"), ("mark", mark)], &[(millis(), 1.0)])],
    );
    assert_eq!(answer.expect("push").status / 100, 2);
    collector.stop();
    let trace = wait::until("the trace", || {
        let text = std::fs::read_to_string(&trace).map_err(|error| error.to_string())?;
        wait::ensure(text.contains("+++ exited"), || "it is not complete".to_owned()).map(|()| text)
    });
    let calls = strace::parse(&trace);
    let received = position(&calls, &["read", "recvfrom"], &["POST /api/v1/write"]);
    let after: Vec<strace::Call> = calls.iter().filter(|call| call.begun > received.begun).cloned().collect();
    let data = collector.data_dir().display().to_string();
    let written = position(&after, &["write", "writev", "pwrite64", "pwritev", "pwritev2"], &[&data]);
    let segment = written.arguments.split(['<', '>']).nth(1).expect("the call names its file").to_owned();
    let later: Vec<strace::Call> = after.iter().filter(|call| call.begun > written.ended).cloned().collect();
    let synced = position(&later, &["fdatasync", "fsync"], &[&segment]);
    assert_eq!(synced.result, "0", "{synced:?}");
    let answered = position(&after, &["write", "writev", "sendto", "sendmsg"], &["HTTP/1."]);
    assert!(
        answered.begun > synced.ended,
        "answered at {} before the sync ended at {}",
        answered.begun,
        synced.ended
    );
}
