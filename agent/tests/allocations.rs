//! An exposition allocates the same few times, however many series it holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use sonde_agent::model::UnixMillis;
use sonde_agent::registry::{Exposition, Format, Labels, Snapshot, SnapshotBuilder, catalog};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches only a thread-local without a
// destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is also that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, hence from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn snapshot(series: usize) -> Arc<Snapshot> {
    let mut builder = SnapshotBuilder::default();
    let owner = Labels::new([("container_id", "/docker/web"), ("app_id", "\"web\"")]);
    for n in 0..series {
        let own = Labels::new([("destination", format!("10.0.0.1:{n}"))]);
        builder.number(&catalog::tcp::FAILED_CONNECTS_TOTAL, &owner, &own, n as f64 + 0.5);
    }
    Arc::new(builder.build(UnixMillis(0), Labels::new([("machine_id", "m")])))
}

fn allocations(series: usize, format: Format) -> usize {
    let snapshot = snapshot(series);
    let mut piece = Vec::with_capacity(128 << 10);
    let before = ALLOCATIONS.get();
    let mut exposition = Exposition::new(snapshot, format);
    while exposition.fill(&mut piece, 64 << 10) {
        piece.clear();
    }
    ALLOCATIONS.get() - before
}

#[test]
fn the_number_of_allocations_does_not_depend_on_the_number_of_series() {
    for format in Format::ALL {
        let (few, many) = (allocations(10, format), allocations(10_000, format));
        assert_eq!(few, many, "{format:?}");
        assert!(many < 8, "{format:?}: {many} allocations");
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
