//! One bulk TCP stream over loopback that goes on while the agent comes and goes.
//!
//! A connection's speed depends on where its ends and its buffers happen to be, by more than any agent changes it.
//! What is compared are therefore windows of one and the same stream. A shared machine also stalls now and then for
//! some seconds, whatever runs on it; a window is made of slices, and those of a stall are left out.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::load::{STALLED, listen};
use super::statistics::{self, Steady};

/// Bytes handed to one write; large enough that the system call costs little.
const CHUNK: usize = 256 << 10;
/// After the agent has come or gone, until the stream is measured again.
const SETTLE: Duration = Duration::from_secs(1);
/// A slice of a window.
pub const SLICE: Duration = Duration::from_millis(500);
/// A slice below this part of its window's median is a stall.
pub const STALL: f64 = 0.6;

/// Tells the sender to stop, at the latest when it is dropped.
struct Stopping(Arc<AtomicBool>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

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
        let sending = TcpStream::connect_timeout(&address, STALLED).context("connect over loopback")?;
        let (receiving, _) = listener.accept().context("accept over loopback")?;
        sending.set_write_timeout(Some(STALLED)).context("set a timeout")?;
        receiving.set_read_timeout(Some(STALLED)).context("set a timeout")?;
        let received = Arc::new(AtomicU64::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let (count, stop) = (received.clone(), stopping.clone());
        Ok(Self {
            received,
            stopping: Stopping(stopping),
            sender: thread::spawn(move || send(sending, &stop).context("send over loopback")),
            receiver: thread::spawn(move || receive(receiving, &count).context("receive over loopback")),
        })
    }

    /// Lets a moment pass that is not measured.
    pub fn settle(&self) {
        thread::sleep(SETTLE);
    }

    /// The speed during the next `time`.
    pub fn speed(&self, time: Duration) -> Result<Steady> {
        self.window(time)?.without_stalls(0..0)
    }

    /// Measures during the next `time`.
    pub fn window(&self, time: Duration) -> Result<Window> {
        let slices = time.as_millis().div_ceil(SLICE.as_millis()).max(1) as u32;
        let speeds: Vec<f64> = (0..slices).map(|_| self.slice(time / slices)).collect();
        ensure!(speeds.iter().any(|speed| *speed > 0.0), "nothing has arrived in {time:?}");
        Ok(Window(speeds))
    }

    /// Bytes per second that arrive during the next `time`.
    fn slice(&self, time: Duration) -> f64 {
        let (started, before) = (Instant::now(), self.received.load(Ordering::Relaxed));
        thread::sleep(time);
        let bytes = self.received.load(Ordering::Relaxed) - before;
        bytes as f64 / started.elapsed().as_secs_f64()
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

/// Speeds of the slices of a window.
pub struct Window(Vec<f64>);

impl Window {
    /// The speed without stalls. `kept` are slices in which something was done that may not pass for one.
    pub fn without_stalls(&self, kept: Range<usize>) -> Result<Steady> {
        statistics::steady(&self.0, STALL, kept).context("a window without a slice")
    }
}

fn receive(mut stream: TcpStream, received: &AtomicU64) -> Result<()> {
    stay_on(1)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => received.fetch_add(count as u64, Ordering::Relaxed),
        };
    }
}

fn send(mut stream: TcpStream, stopping: &AtomicBool) -> Result<u64> {
    stay_on(0)?;
    let (chunk, mut sent) = (vec![0x5a; CHUNK], 0);
    while !stopping.load(Ordering::Relaxed) {
        stream.write_all(&chunk)?;
        sent += CHUNK as u64;
    }
    Ok(sent)
}

/// Keeps the calling thread on one of the CPUs it may use; where there are too few, on any of them.
fn stay_on(index: usize) -> Result<()> {
    let allowed = sched_getaffinity(None).context("ask for the CPUs")?;
    let Some(cpu) = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).nth(index) else {
        return Ok(());
    };
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).context("stay on a CPU")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives() {
        let stream = Stream::start().unwrap();
        while stream.received.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        assert!(stream.speed(Duration::from_millis(20)).unwrap().mean > 0.0);
        stream.stop().unwrap();
    }
}
