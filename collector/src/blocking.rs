//! Where what blocks and what takes long goes, so that it does not hold up what shares the thread.

/// Bytes to encode or decode above which it is done on a thread of its own; below, the way there costs more.
const LONG_BYTES: u64 = 256 << 10;

/// Runs something whose time grows with `bytes`: here if that is short, else on a blocking thread.
pub(crate) async fn compute<T: Send + 'static>(bytes: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= LONG_BYTES {
        return work();
    }
    run(work).await
}

/// Runs something on a blocking thread. Its panic goes on in whoever waits.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends before the work began, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic = "as it was"]
    async fn a_panic_is_passed_on_as_it_was() {
        run(|| panic!("as it was")).await
    }

    #[tokio::test]
    async fn only_what_takes_long_leaves_the_thread() {
        let here = std::thread::current().id();
        assert_eq!(compute(LONG_BYTES, || std::thread::current().id()).await, here);
        assert_ne!(compute(LONG_BYTES + 1, || std::thread::current().id()).await, here);
    }
}
