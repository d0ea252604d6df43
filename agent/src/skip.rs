//! Tests that cannot run on this machine: said aloud, and noted where the runner of all tests looks. For unit tests
//! and those in `tests/surface`.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that the running test is skipped; the test returns after it.
pub fn record(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed test");
    // Straight to the terminal: the test runner hides the output of tests that do not fail.
    let _ = writeln!(std::io::stderr(), "skipped {name}: {reason}");
    if let Some(log) = std::env::var_os("SONDE_SKIP_LOG") {
        let mut log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        // In one write, since tests run side by side.
        log.write_all(format!("{name}\t{reason}\n").as_bytes()).unwrap();
    }
}
