//! Memory and swap, from `/proc/meminfo` and `/proc/vmstat`.

use procfs::{FromRead, Meminfo};

use super::number::{Number, keyed};
use crate::registry::Metric;
use crate::registry::catalog::node;

/// The crate turns the kernel's `kB`, which are KiB, into bytes.
pub(super) fn meminfo(text: &str) -> Option<Vec<Number>> {
    // The kernel writes nothing else, and the crate panics at a line that ends in the middle of a character.
    let info = Meminfo::from_read(text.is_ascii().then_some(text)?.as_bytes()).ok()?;
    let huge =
        |pages: Option<u64>| pages.zip(info.hugepagesize).map(|(pages, size)| pages.saturating_mul(size));
    let values: [(&'static Metric, Option<u64>); 16] = [
        (&node::RESOURCES_MEMORY_TOTAL_BYTES, Some(info.mem_total)),
        (&node::RESOURCES_MEMORY_FREE_BYTES, Some(info.mem_free)),
        (&node::RESOURCES_MEMORY_AVAILABLE_BYTES, info.mem_available),
        (&node::RESOURCES_MEMORY_CACHED_BYTES, Some(info.cached)),
        (&node::RESOURCES_MEMORY_BUFFERS_BYTES, Some(info.buffers)),
        (&node::RESOURCES_MEMORY_SHARED_BYTES, info.shmem),
        (&node::RESOURCES_MEMORY_DIRTY_BYTES, Some(info.dirty)),
        (&node::RESOURCES_MEMORY_WRITEBACK_BYTES, Some(info.writeback)),
        (&node::RESOURCES_MEMORY_SLAB_BYTES, Some(info.slab)),
        (&node::RESOURCES_MEMORY_SLAB_RECLAIMABLE_BYTES, info.s_reclaimable),
        (&node::RESOURCES_MEMORY_COMMITTED_BYTES, Some(info.committed_as)),
        (&node::RESOURCES_MEMORY_COMMIT_LIMIT_BYTES, info.commit_limit),
        (&node::RESOURCES_MEMORY_HUGEPAGES_TOTAL_BYTES, huge(info.hugepages_total)),
        (&node::RESOURCES_MEMORY_HUGEPAGES_FREE_BYTES, huge(info.hugepages_free)),
        (&node::RESOURCES_SWAP_TOTAL_BYTES, Some(info.swap_total)),
        (&node::RESOURCES_SWAP_FREE_BYTES, Some(info.swap_free)),
    ];
    let numbers = values.into_iter().filter_map(|(metric, value)| Some(Number::plain(metric, value? as f64)));
    Some(numbers.collect())
}

/// The kernel counts swap in pages. `oom_kill` is there since Linux 4.13, the swap counters with `CONFIG_SWAP` only.
pub(super) fn vmstat(text: &str) -> Option<Vec<Number>> {
    let page = rustix::param::page_size() as f64;
    let values = [
        (&node::RESOURCES_SWAP_IN_BYTES_TOTAL, "pswpin", page),
        (&node::RESOURCES_SWAP_OUT_BYTES_TOTAL, "pswpout", page),
        (&node::RESOURCES_MEMORY_MAJOR_PAGE_FAULTS_TOTAL, "pgmajfault", 1.0),
        (&node::OOM_KILLS_TOTAL, "oom_kill", 1.0),
    ];
    let read = |(metric, key, unit)| Some(Number::plain(metric, keyed(text, key)? * unit));
    let numbers: Vec<Number> = values.into_iter().filter_map(read).collect();
    (!numbers.is_empty()).then_some(numbers)
}
