//! CPU time of `/metrics` with 100,000 series, as `key=value` lines. Run it with `--release`.

use std::sync::Arc;
use std::time::Duration;

use sonde_agent::model::UnixMillis;
use sonde_agent::registry::{Exposition, Format, Labels, Metric, Snapshot, SnapshotBuilder, catalog::tcp};

const SERIES: usize = 100_000;
const SCRAPES: u32 = 20;
/// As much as the HTTP server asks for at a time.
const PIECE: usize = 64 << 10;

/// The metrics with a destination: most series of a busy node are theirs.
const METRICS: [&Metric; 5] = [
    &tcp::SUCCESSFUL_CONNECTS_TOTAL,
    &tcp::CONNECTION_TIME_SECONDS_TOTAL,
    &tcp::ACTIVE_CONNECTIONS,
    &tcp::BYTES_SENT_TOTAL,
    &tcp::BYTES_RECEIVED_TOTAL,
];

fn main() {
    let label_sets = label_sets();
    let start = cpu_time();
    let snapshot = Arc::new(build(&label_sets));
    println!("series={}", snapshot.series());
    println!("build_cpu_ms={:.1}", millis(cpu_time() - start));
    for format in Format::ALL {
        let (start, mut bytes) = (cpu_time(), 0);
        for _ in 0..SCRAPES {
            bytes = scrape(&snapshot, format);
        }
        let per_scrape = (cpu_time() - start) / SCRAPES;
        println!("{}_bytes={bytes}", format.name());
        println!("{}_cpu_ms_per_scrape={:.1}", format.name(), millis(per_scrape));
    }
}

/// As on a node with 200 containers of 100 destinations each.
fn label_sets() -> Vec<(Arc<Labels>, Arc<Labels>)> {
    let mut sets = Vec::new();
    for container in 0..200 {
        let name = format!("/docker/shop-checkout-{container}");
        let owner = Labels::new([("container_id", name), ("app_id", format!("/shop/{container}"))]);
        for destination in 0..SERIES / METRICS.len() / 200 {
            let own = Labels::new([
                ("destination", format!("10.96.{container}.{destination}:5432")),
                ("actual_destination", format!("10.244.{container}.{destination}:15432")),
            ]);
            sets.push((owner.clone(), own));
        }
    }
    sets
}

fn build(label_sets: &[(Arc<Labels>, Arc<Labels>)]) -> Snapshot {
    let mut builder = SnapshotBuilder::default();
    for (n, (owner, own)) in label_sets.iter().enumerate() {
        for metric in METRICS {
            let scale = if metric.name.ends_with("seconds_total") { 0.000_123 } else { 17.0 };
            builder.number(metric, owner, own, n as f64 * scale);
        }
    }
    let common = Labels::new([
        ("machine_id", "4f5c1a2b3d4e5f60718293a4b5c6d7e8"),
        ("system_uuid", "4c4c4544-0042-3510-8056-b4c04f4e4432"),
    ]);
    builder.build(UnixMillis(0), common)
}

fn scrape(snapshot: &Arc<Snapshot>, format: Format) -> usize {
    let mut exposition = Exposition::new(snapshot.clone(), format);
    let (mut piece, mut bytes, mut more) = (Vec::with_capacity(2 * PIECE), 0, true);
    while more {
        piece.clear();
        more = exposition.fill(&mut piece, PIECE);
        bytes += std::hint::black_box(&piece).len();
    }
    bytes
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
