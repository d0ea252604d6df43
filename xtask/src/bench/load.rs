//! Load over loopback, counted in advance.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Bytes handed to one write; large enough that the system call costs little.
const CHUNK: usize = 256 << 10;
/// A round that hangs is an error instead of a benchmark without end.
const STALLED: Duration = Duration::from_secs(60);

/// Opens and closes `cycles` connections one after the other; returns the time of all.
///
/// Each `round` has a loopback address of its own, so that ports in TIME_WAIT of an earlier round are not
/// searched again.
pub fn connect_close(round: u32, cycles: u32) -> Result<Duration> {
    let [_, _, high, low] = (round + 2).to_be_bytes();
    let listener = listen(Ipv4Addr::new(127, 0, high, low))?;
    let address = listener.local_addr().context("read the listener's address")?;
    let server = thread::spawn(move || -> std::io::Result<()> {
        for _ in 0..cycles {
            let (mut stream, _) = listener.accept()?;
            read_end(&mut stream)?;
        }
        Ok(())
    });
    let started = Instant::now();
    for _ in 0..cycles {
        cycle(address).context("connect and close over loopback")?;
    }
    server.join().map_err(|_| anyhow!("the server has panicked"))?.context("accept over loopback")?;
    Ok(started.elapsed())
}

/// The client closes first and waits for the server, so that every cycle goes through the same states and the
/// listener's queue never fills: a full queue drops connects, which are then tried again after a second.
fn cycle(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, STALLED)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.shutdown(Shutdown::Write)?;
    read_end(&mut stream)
}

/// Reads up to the end of the stream, where nothing else is expected.
fn read_end(stream: &mut TcpStream) -> std::io::Result<()> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// Bytes of a message of a round trip.
const MESSAGE: usize = 128;

/// Sends a message and its echo over one connection so many times; returns the time of all. Both ends are in one thread,
/// so that nothing but the kernel's work is measured.
pub fn tcp_rounds(rounds: u32) -> Result<Duration> {
    let listener = listen(Ipv4Addr::LOCALHOST)?;
    let address = listener.local_addr().context("read the listener's address")?;
    let mut client = TcpStream::connect_timeout(&address, STALLED).context("connect over loopback")?;
    let (mut server, _) = listener.accept().context("accept over loopback")?;
    for end in [&client, &server] {
        end.set_nodelay(true)
            .and_then(|()| end.set_read_timeout(Some(STALLED)))
            .context("set up a socket")?;
    }
    let mut buffer = [0; MESSAGE];
    let started = Instant::now();
    for _ in 0..rounds {
        client.write_all(&buffer).context("send over loopback")?;
        server.read_exact(&mut buffer).context("receive over loopback")?;
        server.write_all(&buffer).context("send over loopback")?;
        client.read_exact(&mut buffer).context("receive over loopback")?;
    }
    Ok(started.elapsed())
}

/// The same with datagrams.
pub fn udp_rounds(rounds: u32) -> Result<Duration> {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("bind on loopback");
    let (client, server) = (bind()?, bind()?);
    for (end, other) in [(&client, &server), (&server, &client)] {
        let address = other.local_addr().context("read a socket's address")?;
        end.connect(address).and_then(|()| end.set_read_timeout(Some(STALLED))).context("set up a socket")?;
    }
    let mut buffer = [0; MESSAGE];
    let started = Instant::now();
    for _ in 0..rounds {
        client.send(&buffer).context("send over loopback")?;
        server.recv(&mut buffer).context("receive over loopback")?;
        server.send(&buffer).context("send over loopback")?;
        client.recv(&mut buffer).context("receive over loopback")?;
    }
    Ok(started.elapsed())
}

/// Sends through one connection for a time; returns bytes per second. Each end has a CPU of its own, as far as there are
/// two: where the scheduler puts them changes the speed by more than any agent does.
pub fn bulk(time: Duration) -> Result<f64> {
    let listener = listen(Ipv4Addr::LOCALHOST)?;
    let address = listener.local_addr().context("read the listener's address")?;
    let receiver = thread::spawn(move || -> std::io::Result<u64> {
        stay_on(1)?;
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(STALLED))?;
        let (mut buffer, mut received) = (vec![0; CHUNK], 0);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(received),
                count => received += count as u64,
            }
        }
    });
    let started = Instant::now();
    let sender = thread::spawn(move || -> Result<u64> {
        stay_on(0).context("stay on a CPU")?;
        send(address, started + time)
    });
    let sent = sender.join().map_err(|_| anyhow!("the sender has panicked"))??;
    let received = receiver.join().map_err(|_| anyhow!("the receiver has panicked"))?.context("receive")?;
    ensure!(received == sent, "{received} of {sent} bytes arrived");
    Ok(received as f64 / started.elapsed().as_secs_f64())
}

/// Keeps the calling thread on one CPU; on a machine that does not have it, where it may run anyway.
fn stay_on(cpu: usize) -> std::io::Result<()> {
    let has = std::thread::available_parallelism()?.get();
    let mut only = CpuSet::new();
    only.set(cpu);
    if cpu < has { Ok(sched_setaffinity(None, &only)?) } else { Ok(()) }
}

fn send(address: SocketAddr, until: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect_timeout(&address, STALLED).context("connect over loopback")?;
    stream.set_write_timeout(Some(STALLED)).context("set a timeout")?;
    let (chunk, mut sent) = (vec![0x5a; CHUNK], 0);
    while Instant::now() < until {
        stream.write_all(&chunk).context("send over loopback")?;
        sent += CHUNK as u64;
    }
    Ok(sent)
}

fn listen(ip: Ipv4Addr) -> Result<TcpListener> {
    TcpListener::bind((ip, 0)).with_context(|| format!("listen on {ip}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives() {
        assert!(bulk(Duration::from_millis(20)).unwrap() > 0.0);
    }

    #[test]
    fn every_cycle_is_served() {
        connect_close(700, 25).unwrap();
    }
}
