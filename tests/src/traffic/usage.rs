//! Exact amounts of files, sockets, threads, cached pages and CPU time by mode, and the room of a file system.

use std::fs::{self, File};
use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};

/// Opens so many files and sockets, and keeps them.
pub fn hold_open(files: usize, sockets: usize) -> Result<()> {
    let file = |_| File::open("/proc/self/stat").context("open a file");
    let socket = |_| std::net::UdpSocket::bind("127.0.0.1:0").context("open a socket");
    let files = (0..files).map(file).collect::<Result<Vec<_>>>()?;
    let sockets = (0..sockets).map(socket).collect::<Result<Vec<_>>>()?;
    println!("opened {} and {}", files.len(), sockets.len());
    loop {
        std::thread::park();
    }
}

/// Has so many threads, the first one included.
pub fn have_threads(count: usize) -> Result<()> {
    ensure!(count > 0, "there is one thread at least");
    for _ in 1..count {
        std::thread::Builder::new()
            .spawn(|| {
                loop {
                    std::thread::park();
                }
            })
            .context("start a thread")?;
    }
    println!("running {count}");
    loop {
        std::thread::park();
    }
}

/// Prints size, used and reserved bytes of a file system.
pub fn show_room(directory: &str) -> Result<()> {
    let stat = rustix::fs::statvfs(directory).with_context(|| format!("ask {directory}"))?;
    let bytes = [stat.f_blocks, stat.f_blocks - stat.f_bfree, stat.f_bfree - stat.f_bavail];
    let bytes = bytes.map(|blocks| (blocks * stat.f_frsize).to_string());
    println!("{}", bytes.join(" "));
    Ok(())
}

/// Uses CPU time in user mode and then in the kernel, and prints how much of each it was, in ticks, as the kernel tells.
pub fn work(user_millis: u64, system_millis: u64) -> Result<()> {
    let ticks = |millis: u64| millis * rustix::param::clock_ticks_per_second() / 1000;
    let before = own_times()?;
    while own_times()?.0 - before.0 < ticks(user_millis) {
        (0..10_000_000).for_each(|_| std::hint::spin_loop());
    }
    let (mut zero, mut buffer) = (File::open("/dev/zero").context("open zeros")?, vec![0; 16 << 20]);
    while own_times()?.1 - before.1 < ticks(system_millis) {
        zero.read_exact(&mut buffer).context("read zeros")?;
    }
    let after = own_times()?;
    println!("{} {}", after.0 - before.0, after.1 - before.1);
    Ok(())
}

/// Words of `/proc/self/stat` after the name of the program: the first one is the third field of `proc(5)`.
fn own_stat() -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/stat").context("read what the kernel says of this process")?;
    let (_, rest) = text.rsplit_once(')').context("a name ends")?;
    Ok(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

/// `utime` and `stime`, in ticks.
fn own_times() -> Result<(u64, u64)> {
    let stat = own_stat()?;
    Ok((stat[11].parse().context("read utime")?, stat[12].parse().context("read stime")?))
}

/// Prints `majflt`.
pub fn show_major_faults() -> Result<()> {
    println!("{}", own_stat()?[9]);
    Ok(())
}

/// Writes a file of so many MiB that stays in the page cache.
pub fn keep_in_cache(path: &str, chunks: usize) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("create {path}"))?;
    (0..chunks).try_for_each(|_| file.write_all(&[5; 1 << 20])).context("write")?;
    println!("kept {chunks}");
    Ok(())
}

/// Sees a file to the disk and drops its pages.
pub fn evict(path: &str) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open {path}"))?;
    file.sync_all().context("see it to the disk")?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).context("drop its pages")?;
    println!("dropped {path}");
    Ok(())
}
