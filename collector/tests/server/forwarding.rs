//! What each answer of a target leads to.

use std::time::Duration;

use sonde_collector::config::{Authorization, BasicAuth, Secret};
use sonde_collector::log::LockError;
use sonde_collector::pipeline::TargetStats;
use sonde_collector::{OpenError, Pipeline, PipelineConfig};

use crate::harness::{open, request, series, target, until};
use crate::standin::{Arrived, Reply, Standin};

fn stats(pipeline: &Pipeline) -> TargetStats {
    pipeline.stats().targets["t"].clone()
}

async fn drained(pipeline: &Pipeline) {
    until("delivery of everything", async || stats(pipeline).pending_samples == 0).await;
}

/// Appends `count` requests of one sample each; sample `i` of series `s` has time and value `i`.
async fn append(pipeline: &Pipeline, from: i64, count: i64) {
    for i in from..from + count {
        pipeline.append(request(vec![series("s", i, i as f64)])).await.unwrap();
    }
}

fn times(kept: &[Arrived]) -> Vec<i64> {
    kept.iter().map(|(_, time, _)| *time).collect()
}

#[tokio::test]
async fn everything_arrives_once_in_order_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|_, _| Reply::taken()).await;
    let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
    append(&pipeline, 0, 50).await;
    drained(&pipeline).await;
    pipeline.shutdown(Duration::from_secs(5)).await;
    drop(pipeline);
    let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
    append(&pipeline, 50, 50).await;
    drained(&pipeline).await;
    assert_eq!(times(&standin.kept()), (0..100).collect::<Vec<_>>());
    let headers = &standin.requests()[0].1;
    assert_eq!(headers["x-prometheus-remote-write-version"], "0.1.0");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["content-encoding"], "snappy");
    assert_eq!(headers["user-agent"], "test/1");
}

#[tokio::test]
async fn what_may_pass_is_waited_for() {
    for status in [500, 503, 429, 408, 401, 403, 404, 307] {
        let dir = tempfile::tempdir().unwrap();
        let standin =
            Standin::start(
                move |_, before| {
                    if before < 3 { Reply::refused(status, "not now") } else { Reply::taken() }
                },
            )
            .await;
        let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
        append(&pipeline, 0, 1).await;
        until("a retry", async || stats(&pipeline).retries > 0).await;
        assert_eq!(stats(&pipeline).last_error.unwrap(), format!("status {status}: not now"));
        drained(&pipeline).await;
        let after = stats(&pipeline);
        assert_eq!(times(&standin.kept()), [0], "{status}");
        assert_eq!((after.retries, after.sent_samples, after.healthy), (3, 1, true), "{status}");
        assert!(after.dropped_samples.is_empty(), "{status}");
    }
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|_, before| match before {
        0 => Reply { retry_after: Some("1"), ..Reply::refused(429, "slow down") },
        _ => Reply::taken(),
    })
    .await;
    let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
    append(&pipeline, 0, 1).await;
    drained(&pipeline).await;
    let requests = standin.requests();
    assert!(requests[1].0 - requests[0].0 >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_target_that_is_away_gets_everything_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|_, _| Reply::taken()).await;
    let (url, address) = (standin.url.clone(), standin.url.clone());
    drop(standin);
    let pipeline = open(dir.path(), vec![target(&url)]).await;
    append(&pipeline, 0, 30).await;
    until("a retry", async || stats(&pipeline).retries > 0).await;
    assert_eq!(stats(&pipeline).pending_samples, 30);
    let address = address.trim_start_matches("http://").trim_end_matches("/write").parse().unwrap();
    let config = sonde_collector::http::ListenConfig::new(address);
    let standin = Standin::start_on(config, "http", |_, _| Reply::taken()).await;
    drained(&pipeline).await;
    assert_eq!(times(&standin.kept()), (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refused_sample_takes_no_other_along() {
    for status in [400, 409, 413, 415, 422] {
        let dir = tempfile::tempdir().unwrap();
        let poisoned = |arrived: &[Arrived]| arrived.iter().any(|(_, time, _)| *time % 10 == 7);
        let standin = Standin::start(move |arrived, _| {
            if poisoned(arrived) { Reply::refused(status, "bad sample") } else { Reply::taken() }
        })
        .await;
        let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
        let all = (0..64).map(|i| series(&format!("s{}", i % 4), i, 0.0)).collect();
        pipeline.append(request(all)).await.unwrap();
        drained(&pipeline).await;
        assert_eq!(times(&standin.kept()), (0..64).filter(|i| i % 10 != 7).collect::<Vec<_>>(), "{status}");
        let expected = [(format!("refused_{status}"), 6)].into();
        assert_eq!(stats(&pipeline).dropped_samples, expected, "{status}");
        assert_eq!(stats(&pipeline).sent_samples, 58);
    }
}

#[tokio::test]
async fn a_request_too_large_for_the_target_is_cut_until_it_fits() {
    let dir = tempfile::tempdir().unwrap();
    let standin =
        Standin::start(
            |arrived, _| {
                if arrived.len() > 10 { Reply::refused(413, "too large") } else { Reply::taken() }
            },
        )
        .await;
    let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
    pipeline.append(request((0..100).map(|i| series("s", i, 0.0)).collect())).await.unwrap();
    drained(&pipeline).await;
    assert_eq!(times(&standin.kept()), (0..100).collect::<Vec<_>>());
    assert!(stats(&pipeline).dropped_samples.is_empty());
}

#[tokio::test]
async fn a_target_that_refuses_what_is_old_is_asked_little_about_the_rest() {
    const SERIES: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|arrived, _| {
        let too_old = arrived.iter().any(|(_, time, _)| *time < 2);
        if too_old { Reply::refused(400, "too old sample") } else { Reply::taken() }
    })
    .await;
    let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
    let long = |id: usize| {
        let mut long = series(&format!("s{id}"), 0, 0.0);
        long.samples = (0..32).flat_map(|time| series("", time, 0.0).samples).collect();
        long
    };
    pipeline.append(request((0..SERIES).map(long).collect())).await.unwrap();
    drained(&pipeline).await;
    assert_eq!(standin.kept().len(), 30 * SERIES);
    assert_eq!(stats(&pipeline).dropped_samples, [("refused_400".to_string(), 2 * SERIES as u64)].into());
    // Four cuts by time find the border, each with two requests; then one request per node of the refused halves' tree.
    let requests = standin.requests().len();
    assert_eq!(
        requests,
        1 + 4 * 2 + 2 * (2 * SERIES - 1),
        "one cut by series more is {SERIES} requests more"
    );
}

#[tokio::test]
async fn what_was_stored_before_an_error_counts_as_duplicate_not_as_loss() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = -1;
    // Stores the first request and answers with an error all the same; afterwards it wants only newer samples, and
    // refuses a whole request for one that is not, as Prometheus does.
    let standin = Standin::start(move |arrived, before| {
        let fits = arrived.iter().all(|(_, time, _)| *time > newest);
        if fits {
            newest = arrived.iter().map(|(_, time, _)| *time).max().unwrap_or(newest);
        }
        match (fits, before) {
            (true, 0) => Reply { keep: true, ..Reply::refused(500, "timed out") },
            (true, _) => Reply::taken(),
            (false, _) => Reply::refused(400, "out of order sample"),
        }
    })
    .await;
    let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
    pipeline.append(request((0..8).map(|i| series("s", i, 0.0)).collect())).await.unwrap();
    drained(&pipeline).await;
    append(&pipeline, 8, 4).await;
    drained(&pipeline).await;
    assert_eq!(times(&standin.kept()), (0..12).collect::<Vec<_>>());
    assert_eq!(stats(&pipeline).dropped_samples, [("duplicate_after_resend".to_string(), 8)].into());
}

#[tokio::test]
async fn what_could_not_be_sent_is_no_duplicate_when_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|_, _| Reply::taken()).await;
    let url = standin.url.clone();
    drop(standin);
    let pipeline = open(dir.path(), vec![target(&url)]).await;
    append(&pipeline, 0, 1).await;
    until("a retry", async || stats(&pipeline).retries > 0).await;
    let address = url.trim_start_matches("http://").trim_end_matches("/write").parse().unwrap();
    let config = sonde_collector::http::ListenConfig::new(address);
    let _standin = Standin::start_on(config, "http", |_, _| Reply::refused(400, "out of order sample")).await;
    drained(&pipeline).await;
    assert_eq!(stats(&pipeline).dropped_samples, [("refused_400".to_string(), 1)].into());
}

#[tokio::test]
async fn a_stop_in_the_middle_sends_the_rest_later_and_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let standin =
        Standin::start(|_, before| if before < 1 { Reply::taken() } else { Reply::refused(429, "") }).await;
    let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
    append(&pipeline, 0, 1).await;
    drained(&pipeline).await;
    append(&pipeline, 1, 20).await;
    until("a retry", async || stats(&pipeline).retries > 0).await;
    pipeline.shutdown(Duration::from_secs(5)).await;
    assert!(pipeline.append(request(vec![])).await.is_err());
    drop(pipeline);
    standin.set_rule(|_, _| Reply::taken());
    let pipeline = open(dir.path(), vec![target(&standin.url)]).await;
    drained(&pipeline).await;
    assert_eq!(times(&standin.kept()), (0..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_pipeline_that_is_dropped_frees_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|_, _| Reply::refused(503, "")).await;
    drop(open(dir.path(), vec![target(&standin.url)]).await);
    until("the release of the directory", async || {
        let queue = sonde_collector::config::QueueConfig::new(dir.path());
        Pipeline::open(PipelineConfig { queue, targets: vec![], user_agent: "x".into() }).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn credentials_and_headers_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|_, _| Reply::taken()).await;
    let basic = BasicAuth { username: "u".into(), password: Some(Secret::new("p")), password_file: None };
    let file = dir.path().join("token");
    std::fs::write(&file, "abc\n").unwrap();
    let bearer = Authorization { scheme: "Bearer".into(), credentials: None, credentials_file: Some(file) };
    let mut one = target(&standin.url);
    one.basic_auth = Some(basic);
    one.headers.insert("X-Scope-OrgID".into(), Secret::new("a"));
    let mut two = target(&standin.url);
    (two.name, two.authorization) = (Some("two".into()), Some(bearer));
    let pipeline = open(&dir.path().join("data"), vec![one, two]).await;
    append(&pipeline, 0, 1).await;
    until("both requests", async || standin.requests().len() == 2).await;
    let mut seen: Vec<String> = standin
        .requests()
        .iter()
        .map(|(_, headers)| headers["authorization"].to_str().unwrap().into())
        .collect();
    seen.sort();
    assert_eq!(seen, ["Basic dTpw", "Bearer abc"]);
    assert!(
        standin
            .requests()
            .iter()
            .any(|(_, headers)| headers.get("x-scope-orgid").is_some_and(|id| id == "a"))
    );
}

#[tokio::test]
async fn one_slow_target_does_not_hold_up_another() {
    let dir = tempfile::tempdir().unwrap();
    let good = Standin::start(|_, _| Reply::taken()).await;
    let bad = Standin::start(|_, _| Reply::refused(503, "")).await;
    let other = sonde_collector::config::RemoteWriteTarget { name: Some("bad".into()), ..target(&bad.url) };
    let pipeline = open(dir.path(), vec![target(&good.url), other]).await;
    append(&pipeline, 0, 20).await;
    drained(&pipeline).await;
    assert_eq!(times(&good.kept()), (0..20).collect::<Vec<_>>());
    let bad = pipeline.stats().targets["bad"].clone();
    assert_eq!((bad.pending_samples, bad.healthy), (20, false));
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path(), vec![]).await;
    let queue = sonde_collector::config::QueueConfig::new(dir.path());
    let second = Pipeline::open(PipelineConfig { queue, targets: vec![], user_agent: "x".into() }).await;
    let Err(OpenError::Lock(LockError::Taken { owner, .. })) = second else { panic!("{second:?}") };
    assert!(owner.ends_with(&format!("process {}", std::process::id())), "{owner}");
}
