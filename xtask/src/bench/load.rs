//! Load over loopback, counted in advance.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// A round that hangs is an error instead of a benchmark without end.
pub(super) const STALLED: Duration = Duration::from_secs(60);

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

pub(super) fn listen(ip: Ipv4Addr) -> Result<TcpListener> {
    TcpListener::bind((ip, 0)).with_context(|| format!("listen on {ip}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cycle_is_served() {
        connect_close(700, 25).unwrap();
    }
}
