//! The end of the agent: phases under one deadline.

use std::time::Duration;

use tokio::time::Instant;

/// The one deadline of an orderly end, shared by its phases.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// What is left.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits for a phase to end. `None` when the deadline came first: the phase is dropped, and named in the log.
    pub async fn phase<T>(self, name: &'static str, work: impl Future<Output = T>) -> Option<T> {
        let done = tokio::time::timeout_at(self.0, work).await.ok();
        if done.is_none() {
            tracing::warn!(phase = name, "shutdown deadline passed, abandoned");
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phases_share_one_deadline() {
        let deadline = Deadline::after(Duration::from_secs(10));
        let slow = tokio::time::sleep(Duration::from_secs(6));
        assert_eq!(deadline.phase("first", slow).await, Some(()));
        assert_eq!(deadline.remaining(), Duration::from_secs(4));
        let slow = tokio::time::sleep(Duration::from_secs(6));
        assert_eq!(deadline.phase("second", slow).await, None);
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_ends_in_time_even_after_the_deadline() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.phase("late", async { 1 }).await, Some(1));
    }
}
