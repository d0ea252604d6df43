//! Waiting for a condition. The only pause of the harness is the one between two looks.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Long enough for anything that works, on a machine with two busy cores.
pub const DEADLINE: Duration = Duration::from_secs(45);
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// Returns the first `Ok` of `look`; panics with its last error when [`DEADLINE`] has passed.
#[track_caller]
pub fn until<T, E: Debug>(what: &str, look: impl FnMut() -> Result<T, E>) -> T {
    until_within(DEADLINE, what, look)
}

/// As [`until`], with a deadline of the caller's.
#[track_caller]
pub fn until_within<T, E: Debug>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(error) if started.elapsed() > deadline => {
                panic!("waited {deadline:?} for {what}: {error:?}")
            }
            Err(_) => std::thread::sleep(BETWEEN_LOOKS),
        }
    }
}

/// `Ok` when both are equal, else what was seen, for [`until`].
///
/// # Errors
/// A sentence with both values.
pub fn equal<T: PartialEq + Debug>(seen: T, expected: T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("saw {seen:?}, expected {expected:?}")) }
}

/// `Ok` when `holds`, else `otherwise`, for [`until`].
///
/// # Errors
/// What `otherwise` says.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
