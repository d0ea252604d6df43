//! Exact numbers of datagrams: the commands `traffic udp …`.
//!
//! A server answers every datagram with its length, [`REPLY_BYTES`](crate::traffic::REPLY_BYTES) bytes of it; a client
//! waits for each answer before it sends the next datagram, so that nothing is lost on the way.

use std::io::{BufRead, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const TIMEOUT: Duration = Duration::from_secs(20);
/// More than a datagram holds.
const BUFFER: usize = 1 << 16;
/// The kernel makes the smallest buffer it allows of it.
const SMALL_BUFFER: usize = 1;

/// What `run` knows.
pub const USAGE: &str = "\
udp serve ADDRESS            answer every datagram with its length; never ends
udp sink ADDRESS             take every datagram, answer none; never ends
udp ask ADDRESS N BYTES      send N datagrams of BYTES and take their answers
udp stay ADDRESS N BYTES     the same, and never end
udp many ADDRESS N BYTES     the same from N sockets that are open at once
udp send ADDRESS N BYTES     send N datagrams of BYTES
udp scatter ADDRESS N BYTES  send a datagram of BYTES to each of N IPv4 addresses, from this one on
udp refused ADDRESS N        send N datagrams that must be refused
udp too-large ADDRESS N      try to send N datagrams larger than any may be
udp hoard ADDRESS            take nothing with a small buffer; upon `count` take what is there and say how much";

/// Does what the arguments say.
///
/// # Errors
/// When the traffic is not exactly what was asked for.
pub fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["serve", address] => serve(&bind(address)?),
        ["sink", address] => sink(&bind(address)?),
        ["ask", address, count, bytes] => ask(address, parse(count)?, parse(bytes)?),
        ["stay", address, count, bytes] => {
            ask(address, parse(count)?, parse(bytes)?)?;
            loop {
                std::thread::park();
            }
        }
        ["many", address, count, bytes] => many(address, parse(count)?, parse(bytes)?),
        ["send", address, count, bytes] => send(address, parse(count)?, parse(bytes)?),
        ["scatter", address, count, bytes] => scatter(parse(address)?, parse(count)?, parse(bytes)?),
        ["refused", address, count] => refused(address, parse(count)?),
        ["too-large", address, count] => too_large(address, parse(count)?),
        ["hoard", address] => hoard(&bind(address)?, std::io::stdin().lock()),
        _ => bail!("unknown arguments {arguments:?}; known are\n{USAGE}"),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("read `{text}`"))
}

fn bind(address: &str) -> Result<UdpSocket> {
    UdpSocket::bind(parse::<SocketAddr>(address)?).with_context(|| format!("bind to {address}"))
}

/// A socket that talks to one address.
fn connect(address: &str) -> Result<UdpSocket> {
    let address: SocketAddr = parse(address)?;
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own).context("bind")?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(address).with_context(|| format!("connect to {address}"))?;
    Ok(socket)
}

/// Answers every datagram with its length.
///
/// # Errors
/// When the socket fails.
pub fn serve(socket: &UdpSocket) -> Result<()> {
    println!("listening {}", socket.local_addr()?);
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).context("receive")?;
        socket.send_to(&(length as u64).to_be_bytes(), from).context("answer")?;
    }
}

fn sink(socket: &UdpSocket) -> Result<()> {
    println!("listening {}", socket.local_addr()?);
    let mut buffer = vec![0; BUFFER];
    loop {
        socket.recv_from(&mut buffer).context("receive")?;
    }
}

/// Sends datagrams to a server, one after the other, and takes its answers.
///
/// # Errors
/// When an answer does not come, or is wrong.
pub fn ask(address: &str, count: u64, bytes: usize) -> Result<()> {
    let socket = connect(address)?;
    (0..count).try_for_each(|_| ask_on(&socket, bytes))?;
    println!("asked {count}");
    Ok(())
}

fn ask_on(socket: &UdpSocket, bytes: usize) -> Result<()> {
    let mut answer = [0; 8];
    socket.send(&vec![b'x'; bytes]).context("send")?;
    let length = socket.recv(&mut answer).context("receive the answer")?;
    let got = u64::from_be_bytes(answer);
    ensure!(length == 8 && got == bytes as u64, "of {bytes} bytes the server got {got}");
    Ok(())
}

fn many(address: &str, count: u64, bytes: usize) -> Result<()> {
    let sockets = (0..count).map(|_| connect(address)).collect::<Result<Vec<_>>>()?;
    sockets.iter().try_for_each(|socket| ask_on(socket, bytes))?;
    println!("asked {count}");
    Ok(())
}

/// Sends datagrams and waits for nothing.
///
/// # Errors
/// When one cannot be sent.
pub fn send(address: &str, count: u64, bytes: usize) -> Result<()> {
    let socket = connect(address)?;
    let payload = vec![b'x'; bytes];
    (0..count).try_for_each(|_| socket.send(&payload).context("send").map(drop))?;
    println!("sent {count}");
    Ok(())
}

/// Sends one datagram to each of many addresses, as fast as it goes.
fn scatter(first: SocketAddrV4, count: u32, bytes: usize) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("bind")?;
    let payload = vec![b'x'; bytes];
    for index in 0..count {
        let to = SocketAddrV4::new(Ipv4Addr::from_bits(first.ip().to_bits() + index), first.port());
        socket.send_to(&payload, to).with_context(|| format!("send to {to}"))?;
    }
    println!("sent {count}");
    Ok(())
}

/// Sends datagrams to an address where nobody listens, and waits for each refusal.
///
/// # Errors
/// When one is not refused.
pub fn refused(address: &str, count: u64) -> Result<()> {
    let socket = connect(address)?;
    for _ in 0..count {
        socket.send(b"?").context("send")?;
        match socket.recv(&mut [0; 8]) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            other => bail!("{address} answers {other:?}"),
        }
    }
    println!("refused {count}");
    Ok(())
}

fn too_large(address: &str, count: u64) -> Result<()> {
    let socket = connect(address)?;
    for _ in 0..count {
        ensure!(socket.send(&vec![b'x'; BUFFER]).is_err(), "a datagram of {BUFFER} bytes was sent");
    }
    println!("too large {count}");
    Ok(())
}

fn hoard(socket: &UdpSocket, commands: impl BufRead) -> Result<()> {
    rustix::net::sockopt::set_socket_recv_buffer_size(socket, SMALL_BUFFER)
        .context("set the buffer's size")?;
    socket.set_nonblocking(true)?;
    println!("listening {}", socket.local_addr()?);
    for command in commands.lines() {
        ensure!(command.context("read a command")? == "count", "the only command is `count`");
        let mut held = 0;
        while socket.recv_from(&mut [0; 1]).is_ok() {
            held += 1;
        }
        println!("held {held}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_confirms_every_datagram() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        std::thread::spawn(move || serve(&socket));
        ask(&address, 3, 1000).unwrap();
        many(&address, 3, 0).unwrap();
        assert!(refused(&address, 1).is_err());
        too_large(&address, 2).unwrap();
    }

    #[test]
    fn nobody_listens_on_a_closed_port() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        refused(&closed.to_string(), 2).unwrap();
    }
}
