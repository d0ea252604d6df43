//! Where long computations go, so that they do not hold up what shares the thread.

/// Bytes to encode or decode above which it is done on a thread of its own; below, the way there costs more.
const LONG_BYTES: u64 = 256 << 10;

/// Runs something whose time grows with `bytes`: here if that is short, else on a blocking thread.
pub(crate) async fn compute<T: Send + 'static>(bytes: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= LONG_BYTES {
        return work();
    }
    tokio::task::spawn_blocking(work).await.expect("a computation does not panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_takes_long_leaves_the_thread() {
        let here = std::thread::current().id();
        assert_eq!(compute(LONG_BYTES, || std::thread::current().id()).await, here);
        assert_ne!(compute(LONG_BYTES + 1, || std::thread::current().id()).await, here);
    }
}
