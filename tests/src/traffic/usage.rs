//! Exact amounts of files, sockets and threads, and the room of a file system.

use std::fs::File;

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
