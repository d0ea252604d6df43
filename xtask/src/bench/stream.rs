//! One bulk TCP stream over loopback that goes on while the agent comes and goes.
//!
//! A connection's speed depends on where its ends and its buffers happen to be, by more than any agent changes it.
//! What is compared are therefore windows of one and the same stream. A shared machine also stalls now and then for
//! some seconds, whatever runs on it; a window is made of slices, and those of a stall are left out.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::load::{STALLED, listen};
use super::statistics::{self, Steady};

/// Bytes handed to one write; large enough that the system call costs little.
const CHUNK: usize = 256 << 10;
/// After the agent has come or gone, until the stream is measured again.
const SETTLE: Duration = Duration::from_secs(1);

/// Tells the sender to stop, at the latest when it is dropped.
struct Stopping(Arc<AtomicBool>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A slice of a window. A scrape beside it, a fifth of that long, cannot make it look like a stall.
pub const SLICE: Duration = Duration::from_millis(500);
/// A slice below this part of the window's median is a stall.
pub const STALL: f64 = 0.6;

/// A stream that runs until it is stopped. Each end has a CPU of its own, as far as there are two.
pub struct Stream {
    received: Arc<AtomicU64>,
    stopping: Stopping,
    sender: JoinHandle<Result<u64>>,
    receiver: JoinHandle<Result<()>>,
}

impl Stream {
    /// Connects and begins to send.
    pub fn start() -> Result<Self> {
        let listener = listen(Ipv4Addr::LOCALHOST)?;
        let address = listener.local_addr().context("read the listener's address")?;
        let received = Arc::new(AtomicU64::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let (count, stop) = (received.clone(), stopping.clone());
        let receiver = thread::spawn(move || receive(&listener, &count).context("receive over loopback"));
        let sender = thread::spawn(move || send(address, &stop).context("send over loopback"));
        Ok(Self { received, stopping: Stopping(stopping), sender, receiver })
    }

    /// Lets a moment pass that is not measured.
    pub fn settle(&self) -> Result<()> {
        self.slice(SETTLE).map(drop)
    }

    /// The speed during the next `time`.
    pub fn speed(&self, time: Duration) -> Result<Steady> {
        let slices = time.as_millis().div_ceil(SLICE.as_millis()) as u32;
        let slices: Vec<f64> = (0..slices).map(|_| self.slice(time / slices)).collect::<Result<_>>()?;
        Ok(statistics::steady(&slices, STALL))
    }

    /// Bytes per second that arrive during the next `time`.
    fn slice(&self, time: Duration) -> Result<f64> {
        let (started, before) = (Instant::now(), self.received.load(Ordering::Relaxed));
        thread::sleep(time);
        let bytes = self.received.load(Ordering::Relaxed) - before;
        ensure!(bytes > 0, "nothing has arrived in {time:?}");
        Ok(bytes as f64 / started.elapsed().as_secs_f64())
    }

    /// Ends the stream, and sees that every byte has arrived.
    pub fn stop(self) -> Result<()> {
        let Self { received, stopping, sender, receiver } = self;
        drop(stopping);
        let sent = sender.join().map_err(|_| anyhow!("the sender has panicked"))??;
        receiver.join().map_err(|_| anyhow!("the receiver has panicked"))??;
        let received = received.load(Ordering::Relaxed);
        ensure!(received == sent, "{received} of {sent} bytes arrived");
        Ok(())
    }
}

fn receive(listener: &TcpListener, received: &AtomicU64) -> Result<()> {
    stay_on(1)?;
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(STALLED))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => received.fetch_add(count as u64, Ordering::Relaxed),
        };
    }
}

fn send(address: SocketAddr, stopping: &AtomicBool) -> Result<u64> {
    stay_on(0)?;
    let mut stream = TcpStream::connect_timeout(&address, STALLED)?;
    stream.set_write_timeout(Some(STALLED))?;
    let (chunk, mut sent) = (vec![0x5a; CHUNK], 0);
    while !stopping.load(Ordering::Relaxed) {
        stream.write_all(&chunk)?;
        sent += CHUNK as u64;
    }
    Ok(sent)
}

/// Keeps the calling thread on one CPU; on a machine that does not have it, where it may run anyway.
fn stay_on(cpu: usize) -> Result<()> {
    let has = thread::available_parallelism().context("count the CPUs")?.get();
    let mut only = CpuSet::new();
    only.set(cpu);
    if cpu < has { sched_setaffinity(None, &only).context("stay on a CPU") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives() {
        let stream = Stream::start().unwrap();
        assert!(stream.speed(Duration::from_millis(20)).unwrap().mean > 0.0);
        stream.stop().unwrap();
    }
}
