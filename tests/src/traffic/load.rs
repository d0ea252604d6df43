//! Loads whose cost the kernel itself tells: processes that contend for one CPU, and writers of known bytes.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, WaitIdOptions, waitid};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Bytes of one write. Direct I/O wants buffers and sizes in whole sectors.
pub const CHUNK: usize = 1 << 20;
const ALIGNMENT: usize = 4096;

/// Lets `count` processes burn `time` of CPU each, all on the first CPU, and says how long they waited for it in all, as
/// the kernel tells of each after its end.
///
/// # Errors
/// When one cannot be started or asked.
pub fn contend(count: usize, time: Duration) -> Result<()> {
    let mut first = CpuSet::new();
    first.set(0);
    // Children inherit it.
    sched_setaffinity(None, &first).context("stay on the first CPU")?;
    let millis = time.as_millis().to_string();
    let start = || Command::new("/proc/self/exe").args(["burn", &millis]).spawn().context("start a process");
    let children: Vec<Child> = (0..count).map(|_| start()).collect::<Result<_>>()?;
    let mut waited = 0;
    for mut child in children {
        // As long as nobody has waited for it, it is a zombie whose numbers stay.
        waitid(
            rustix::process::WaitId::Pid(Pid::from_child(&child)),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        )
        .context("wait for the end of a process")?;
        waited += run_delay(&format!("/proc/{}/schedstat", child.id()))?;
        ensure!(child.wait()?.success(), "a process failed");
    }
    waited += run_delay("/proc/self/schedstat")?;
    println!("waited {waited}");
    Ok(())
}

/// Second number of a `schedstat`: nanoseconds runnable but not running.
fn run_delay(path: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    text.split_ascii_whitespace().nth(1).context("a second number")?.parse().context("read a number")
}

/// Writes to a file or a device past the page cache, and reads it back as much.
///
/// # Errors
/// When a read or a write fails or is short.
pub fn direct(path: &Path, chunks: u64) -> Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed())
        .open(path)
        .with_context(|| format!("open {}", path.display()))?;
    let mut memory = vec![7_u8; CHUNK + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let buffer = &mut memory[start..start + CHUNK];
    for chunk in 0..chunks {
        file.write_all_at(buffer, chunk * CHUNK as u64).context("write")?;
    }
    for chunk in 0..chunks {
        file.read_exact_at(buffer, chunk * CHUNK as u64).context("read")?;
    }
    println!("wrote and read {chunks}");
    Ok(())
}

/// Writes to a file by the page cache and sees it to the disk.
///
/// # Errors
/// When that fails.
pub fn synced(path: &Path, chunks: u64) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    (0..chunks).try_for_each(|_| file.write_all(&[9; CHUNK])).context("write")?;
    file.sync_all().context("see it to the disk")?;
    println!("wrote {chunks}");
    Ok(())
}
