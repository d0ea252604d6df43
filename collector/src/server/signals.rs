//! SIGTERM and SIGINT: the first asks for the stop, a second one ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal: the stop was not finished.
const EXIT_UNFINISHED: i32 = 1;

/// Cancels `stop` at the first signal. Must be called within a runtime.
pub fn stop_on_signals(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for received in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if received > 0 {
                std::process::exit(EXIT_UNFINISHED);
            }
            stop.cancel();
        }
    });
    Ok(())
}
