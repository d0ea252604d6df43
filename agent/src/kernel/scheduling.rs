//! Which CPU time a thread takes: its fair share, or what nobody else wants.

use std::io;

use rustix::thread::{Pid, gettid};

/// How the kernel chooses when a thread runs, sched(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `SCHED_OTHER`: every thread gets its share.
    Fair,
    /// `SCHED_IDLE`: any other thread that wants the CPU gets it at once, whatever its cgroup.
    Idle,
}

/// The calling thread.
pub fn this_thread() -> Pid {
    gettid()
}

/// Tries whether threads can change their policy and go back.
///
/// # Errors
///
/// The calling thread has a policy that somebody chose for it, or the way back is refused for want of CAP_SYS_NICE.
pub fn may_change() -> io::Result<()> {
    let thread = this_thread().as_raw_nonzero().get();
    // SAFETY: the call takes a thread's id and touches no memory.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, thread) };
    if policy != libc::c_long::from(libc::SCHED_OTHER) {
        return Err(io::Error::other("the process was started with a policy other than SCHED_OTHER"));
    }
    // Tried where it does no harm: a thread that cannot go back stays as it is until its end.
    let tried = std::thread::spawn(|| {
        set(this_thread(), Policy::Idle)?;
        set(this_thread(), Policy::Fair)
    });
    tried.join().unwrap_or_else(|_| Err(io::Error::other("the thread that tried it has panicked")))
}

/// Changes the policy of a thread of this process.
///
/// # Errors
///
/// `PermissionDenied` on the way back from [`Policy::Idle`] without CAP_SYS_NICE; the thread has ended.
pub fn set(thread: Pid, policy: Policy) -> io::Result<()> {
    let policy = match policy {
        Policy::Fair => libc::SCHED_OTHER,
        Policy::Idle => libc::SCHED_IDLE,
    };
    // Both policies allow no other priority.
    let parameters = libc::sched_param { sched_priority: 0 };
    let thread = thread.as_raw_nonzero().get();
    // Not by the wrapper of the C library: musl's always fails.
    // SAFETY: the call reads the parameters, which outlive it, and writes nothing.
    let answer =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, thread, policy, &raw const parameters) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
