//! Samples per second through the log, and what an append waits for: `bench_log [SECONDS] [DIR]`.
//!
//! Prints `key=value` lines. The directory decides which disk is measured; without it the system's temporary one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use sonde_collector::config::QueueConfig;
use sonde_collector::wire::remote_write::{Label, Sample, TimeSeries, WriteRequest};
use sonde_collector::{Pipeline, PipelineConfig};

/// Series of one request, as many as an agent on a busy node sends at once.
const SERIES: usize = 2_000;
const WRITERS: usize = 8;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse()).context("SECONDS is a number")?;
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("sonde-bench-log-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(measure(&dir, Duration::from_secs(seconds)));
    std::fs::remove_dir_all(&dir).context("remove the bench directory")?;
    result
}

async fn measure(dir: &std::path::Path, time: Duration) -> anyhow::Result<()> {
    let queue = QueueConfig { max_bytes: 1_000_000_000, ..QueueConfig::new(dir) };
    let config = PipelineConfig { queue, targets: vec![], user_agent: "bench".into() };
    let pipeline = Arc::new(Pipeline::open(config).await?);
    let body: bytes::Bytes = request().to_snappy().into();
    let begin = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (pipeline, body) = (pipeline.clone(), body.clone());
        writers.spawn(async move {
            let mut waits = Vec::new();
            while begin.elapsed() < time {
                let before = Instant::now();
                pipeline.append_encoded(body.clone(), SERIES as u64).await?;
                waits.push(before.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = writers.join_next().await {
        waits.extend(done??);
    }
    let elapsed = begin.elapsed().as_secs_f64();
    let log = pipeline.stats().log;
    pipeline.shutdown(Duration::from_secs(5)).await;
    waits.sort_unstable();
    println!("samples_per_second={:.0}", log.appended_samples as f64 / elapsed);
    println!("bytes_per_second={:.0}", log.appended_bytes as f64 / elapsed);
    println!("bytes_per_sample={:.2}", log.appended_bytes as f64 / log.appended_samples as f64);
    println!("appends_per_sync={:.2}", log.appended_records as f64 / log.syncs as f64);
    println!("append_wait_p50_us={}", waits[waits.len() / 2].as_micros());
    println!("append_wait_p99_us={}", waits[waits.len() * 99 / 100].as_micros());
    println!("peak_rss_kib={}", peak_rss_kib().unwrap_or(0));
    Ok(())
}

fn request() -> WriteRequest {
    let label = |name: &str, value: String| Label { name: name.into(), value };
    let timeseries = (0..SERIES).map(|index| TimeSeries {
        labels: vec![
            label("__name__", format!("container_net_tcp_successful_connects_total_{}", index % 40)),
            label("container_id", format!("/docker/service-{}", index / 40)),
            label("destination", format!("10.0.{}.{}:443", index / 250, index % 250)),
            label("machine_id", "4c4c4544004d3510805ac4c04f573533".into()),
        ],
        samples: vec![Sample { value: index as f64 * 1.5, timestamp: 1_700_000_000_000 }],
        ..TimeSeries::default()
    });
    WriteRequest { timeseries: timeseries.collect(), metadata: vec![] }
}

fn peak_rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}
