//! Connections that fail or end badly, in exact numbers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sockopt};
use rustix::net::{bind, connect, listen, sendto, socket_with};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Makes `count` connections at once that must fail with the error, by its name of errno(3).
///
/// # Errors
/// When one does not fail, or in another way.
pub fn fail(address: SocketAddr, count: u64, error: &str) -> Result<()> {
    let expected = match error {
        "ECONNREFUSED" => Errno::CONNREFUSED,
        "ETIMEDOUT" => Errno::TIMEDOUT,
        "EHOSTUNREACH" => Errno::HOSTUNREACH,
        "ENETUNREACH" => Errno::NETUNREACH,
        "EACCES" => Errno::ACCESS,
        "EADDRNOTAVAIL" => Errno::ADDRNOTAVAIL,
        other => bail!("unknown error `{other}`"),
    };
    let attempts: Vec<_> =
        (0..count).map(|_| std::thread::spawn(move || TcpStream::connect(address))).collect();
    for attempt in attempts {
        let Err(error) = attempt.join().ok().context("an attempt panicked")? else {
            bail!("{address} accepts connections")
        };
        ensure!(error.raw_os_error() == Some(expected.raw_os_error()), "{address}: {error}, not {expected}");
    }
    println!("failed {count}");
    Ok(())
}

/// Begins `count` connections, and closes each before an answer comes.
///
/// # Errors
/// When one ends at once.
pub fn abandon(address: SocketAddr, count: u64) -> Result<()> {
    for _ in 0..count {
        drop(begin(address, None)?);
    }
    println!("abandoned {count}");
    Ok(())
}

/// Begins a connection, from a local address if one is given.
fn begin(address: SocketAddr, from: Option<SocketAddr>) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = stream_socket(family, SocketFlags::NONBLOCK)?;
    if let Some(from) = from {
        bind(&socket, &from).with_context(|| format!("bind to {from}"))?;
    }
    match connect(&socket, &address) {
        Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error).with_context(|| format!("connect to {address}")),
        Ok(()) => bail!("{address} accepts connections"),
    }
}

fn stream_socket(family: AddressFamily, flags: SocketFlags) -> Result<OwnedFd> {
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | flags, None).context("make a socket")
}

/// Makes `count` connections and gives each up with a reset.
///
/// # Errors
/// When one fails.
pub fn give_up(address: SocketAddr, count: u64) -> Result<()> {
    for _ in 0..count {
        let mut stream = open(address)?;
        // The server's answer to this says that it has the connection.
        stream.write_all(b"?").context("send")?;
        stream.read_exact(&mut [0]).context("read the greeting")?;
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).context("do not linger")?;
    }
    println!("gave up {count}");
    Ok(())
}

/// Makes `count` connections that the server must reset.
///
/// # Errors
/// When one ends in another way.
pub fn be_reset(address: SocketAddr, count: u64) -> Result<()> {
    for _ in 0..count {
        let mut stream = open(address)?;
        stream.write_all(b"!").context("send")?;
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => bail!("the server did not reset the connection: {other:?}"),
        }
    }
    println!("was reset {count}");
    Ok(())
}

fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Serves [`give_up`] and [`be_reset`]: answers `?` with `.`, and `!` with a reset; never ends.
///
/// # Errors
/// When it cannot listen.
pub fn serve_resets(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    println!("listening {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let mut stream = stream.context("accept")?;
        let mut byte = [0];
        while matches!(stream.read(&mut byte), Ok(1)) {
            if byte == *b"!" {
                sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).context("do not linger")?;
                break;
            }
            stream.write_all(b".").context("answer")?;
        }
    }
    Ok(())
}

/// Listens with a queue of that length and accepts nobody; never ends.
///
/// # Errors
/// When it cannot listen.
pub fn ignore(address: SocketAddr, queue: i32) -> Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = stream_socket(family, SocketFlags::empty())?;
    bind(&socket, &address).with_context(|| format!("bind to {address}"))?;
    listen(&socket, queue).context("listen")?;
    println!("listening {address}");
    loop {
        std::thread::park();
    }
}

/// Begins a connection from each of `count` ports to an address where nobody answers, and plays the peer: it begins one
/// as well, and then resets it. Needs the right to make raw sockets, and IPv4.
///
/// # Errors
/// When an attempt does not end by a reset.
pub fn reset_in_handshake(address: SocketAddr, count: u16) -> Result<()> {
    let (SocketAddr::V4(peer), from) = (address, Ipv4Addr::LOCALHOST) else { bail!("{address} is not IPv4") };
    let raw = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::TCP))
        .context("make a raw socket")?;
    bind(&raw, &SocketAddr::from((*peer.ip(), 0))).context("bind the raw socket")?;
    for port in 20_000..20_000 + count {
        let local = SocketAddrV4::new(from, port);
        let socket = begin(address, Some(local.into()))?;
        for (sequence, flags) in [(1000, SYN), (1001, RST)] {
            let segment = segment(peer, local, sequence, flags);
            sendto(&raw, &segment, SendFlags::empty(), &SocketAddr::from((from, 0)))
                .context("send a segment")?;
        }
        let start = Instant::now();
        let error = loop {
            match sockopt::socket_error(&socket).context("ask for the error")? {
                Err(error) => break error,
                Ok(()) if start.elapsed() > TIMEOUT => bail!("the connection was not reset"),
                Ok(()) => std::thread::yield_now(),
            }
        };
        ensure!(error == Errno::CONNRESET, "{address}: {error}");
    }
    println!("reset {count}");
    Ok(())
}

const SYN: u8 = 2;
const RST: u8 = 4;

/// A TCP segment without options and payload: RFC 9293, section 3.1.
fn segment(from: SocketAddrV4, to: SocketAddrV4, sequence: u32, flags: u8) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20);
    segment.extend_from_slice(&from.port().to_be_bytes());
    segment.extend_from_slice(&to.port().to_be_bytes());
    segment.extend_from_slice(&sequence.to_be_bytes());
    segment.extend_from_slice(&[0; 4]);
    segment.extend_from_slice(&[5 << 4, flags]);
    segment.extend_from_slice(&1024u16.to_be_bytes());
    segment.extend_from_slice(&[0; 4]);
    let mut pseudo = [from.ip().octets(), to.ip().octets()].concat();
    pseudo.extend_from_slice(&[0, 6, 0, 20]);
    let sum = pseudo
        .iter()
        .chain(&segment)
        .enumerate()
        .fold(0u32, |sum, (index, byte)| sum + (u32::from(*byte) << (8 * ((index + 1) % 2))));
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_sums_up_to_all_ones() {
        let [from, to] = ["127.0.0.2:80", "127.0.0.1:20000"].map(|address| address.parse().unwrap());
        let segment = segment(from, to, 1000, SYN);
        let mut all = [from.ip().octets(), to.ip().octets()].concat();
        all.extend_from_slice(&[0, 6, 0, 20]);
        all.extend_from_slice(&segment);
        let sum: u32 = all.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn resets_go_both_ways() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        std::thread::spawn(move || serve_resets(address));
        crate::wait::until("the server", || TcpStream::connect(address).map(drop));
        give_up(address, 2).unwrap();
        be_reset(address, 2).unwrap();
        assert!(fail(address, 1, "ECONNREFUSED").is_err(), "it accepts");
    }
}
