//! SIGTERM and SIGINT: the first asks for the end, a second one ends at once.

use std::io;
use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit status of a program that a signal ended, less the signal's number.
const SIGNAL_STATUS: i32 = 128;

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once, with the status that shells show
/// for a program that this signal ended. Must be called within a runtime.
pub fn stop_on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            if cancelled.is_cancelled() {
                process::exit(SIGNAL_STATUS + kind.as_raw_value());
            }
            tracing::info!(signal = kind.as_raw_value(), "stopping; a second signal stops at once");
            cancelled.cancel();
        }
    });
    Ok(token)
}
