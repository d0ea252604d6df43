//! Rings that fill while the loop does something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::questions::Waker;
use crate::kernel::Wakeups;

/// Whether a ring is half full, between the loop and the task that is told by the kernel half.
#[derive(Default)]
pub(super) struct Filling {
    seen: Arc<AtomicBool>,
    looked: Notify,
}

impl Filling {
    /// Set while a ring is half full and the loop has not looked.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.seen.clone()
    }

    /// Whether the loop should look at once.
    pub(super) fn is_seen(&self) -> bool {
        self.seen.load(Ordering::Acquire)
    }

    /// The loop has looked.
    pub(super) fn looked(&self) {
        if self.seen.swap(false, Ordering::AcqRel) {
            self.looked.notify_one();
        }
    }

    /// Wakes the loop when a ring is half full, once until it has looked, and for its end.
    pub(super) async fn watch(&self, wakeups: Option<Wakeups>, detach: CancellationToken, waker: Waker) {
        let watch = async {
            loop {
                half_full(wakeups.as_ref()).await;
                self.seen.store(true, Ordering::Release);
                waker.wake();
                // Each record above the half wakes: this task sleeps until then. One that came meanwhile wakes once more.
                self.looked.notified().await;
            }
        };
        tokio::select! {
            () = detach.cancelled() => {}
            () = watch => {}
        }
        waker.wake();
    }
}

/// Waits for the kernel half's wake-up.
async fn half_full(wakeups: Option<&Wakeups>) {
    match wakeups {
        Some(wakeups) if wakeups.half_full().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::questions::Questions;
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_ring_that_fills_and_the_end_wake_the_loop() {
        let (ring, wakeups) = Wakeups::by_hand();
        let (_handle, waker, mut questions) = Questions::new(Instant::now());
        let (filling, detach) = (Arc::new(Filling::default()), CancellationToken::new());
        let (watching, end) = (filling.clone(), detach.clone());
        let watch = tokio::spawn(async move { watching.watch(Some(wakeups), end, waker).await });
        let woken = |questions: &mut Questions| {
            let begun = Instant::now();
            assert!(questions.next(DEADLINE).unwrap().is_none());
            assert!(begun.elapsed() < DEADLINE, "nobody has woken the loop");
        };
        assert!(!filling.is_seen());
        for _ in 0..2 {
            ring.half_full();
            woken(&mut questions);
            assert!(filling.is_seen() && filling.flag().load(Ordering::Relaxed));
            filling.looked();
            assert!(!filling.is_seen());
        }
        detach.cancel();
        tokio::time::timeout(DEADLINE, watch).await.expect("an end").unwrap();
        woken(&mut questions);
    }
}
