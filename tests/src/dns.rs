//! A small name server, and a client that asks over TCP: the commands `traffic dns …`.
//!
//! It knows names below `test`: `one.test` is a private address of each family, `many.test` three public ones,
//! `at-10-0-0-1.test` is that address, `flood-7.test` the seventh [`FLOOD`] of addresses that nobody has;
//! `alias.test` leads to `one.test` by way of another alias, and `never.test` is an address that nobody connects to.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// `one.test`.
pub const ONE: [&str; 2] = ["10.9.0.1", "fd00:9::1"];
/// `many.test`: addresses of the internet, which a test gives to the loopback of a namespace of its own.
pub const MANY: [&str; 3] = ["11.9.0.1", "11.9.0.2", "11.9.0.3"];
/// `alias.test`.
pub const ALIASED: &str = "10.9.0.2";
/// `never.test`.
pub const NEVER: &str = "10.9.0.3";

/// How many addresses such a name has.
pub const FLOOD: u32 = 29;

/// `loop.test`.
pub const LOOP: &str = "127.9.0.1";

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const HEADER: usize = 12;

/// What `run` knows.
pub const USAGE: &str = "\
dns serve ADDRESS          answer questions about names below `test` over UDP and TCP; never ends
dns ask SERVER NAME        ask for the IPv4 addresses of a name over UDP
dns ask-tcp SERVER NAME    the same over TCP
dns flood SERVER FIRST N   ask for N names of many addresses each over UDP, from this number on
dns garbage ADDRESS N      from port 53 of 127.0.0.1, send N datagrams that look like answers and are none";

/// Does what the arguments say.
///
/// # Errors
/// When an address cannot be used, or an answer does not come.
pub fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["serve", address] => Server::bind(address.parse()?)?.run(),
        ["ask", server, name] => ask_udp(server.parse()?, name),
        ["flood", server, first, count] => flood(server.parse()?, first.parse()?, count.parse()?),
        ["ask-tcp", server, name] => ask_tcp(server.parse()?, name),
        ["garbage", address, count] => garbage(address.parse()?, count.parse()?),
        _ => bail!("unknown arguments {arguments:?}; known are\n{USAGE}"),
    }
}

/// A name server.
#[derive(Debug)]
pub struct Server {
    socket: UdpSocket,
    listener: TcpListener,
}

impl Server {
    /// Takes an address for UDP and TCP.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(address).with_context(|| format!("bind to {address}"))?;
        let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
        println!("listening {address}");
        Ok(Self { socket, listener })
    }

    /// Answers, for ever.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn run(self) -> Result<()> {
        let Self { socket, listener } = self;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away early is nobody's concern.
                let _ = answer_tcp(stream);
            }
        });
        let mut buffer = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).context("receive")?;
            if let Some(answer) = answer(&buffer[..length]) {
                socket.send_to(&answer, from).context("answer")?;
            }
        }
    }
}

/// Asks for the IPv4 addresses of a name over UDP.
///
/// # Errors
/// When there is no answer with an address.
pub fn ask_udp(server: SocketAddr, name: &str) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").context("bind")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.send_to(&question(name, TYPE_A), server).context("ask")?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).context("receive the answer")?;
    ensure!(buffer[..length].get(7).is_some_and(|count| *count > 0), "no address of {name}");
    Ok(())
}

fn flood(server: SocketAddr, first: u32, count: u32) -> Result<()> {
    (first..first + count).try_for_each(|number| ask_udp(server, &format!("flood-{number}.test")))?;
    println!("asked {count}");
    Ok(())
}

fn answer_tcp(mut stream: TcpStream) -> Result<()> {
    let question = read_message(&mut stream)?;
    let answer = answer(&question).context("no question")?;
    write_message(&mut stream, &answer)
}

fn ask_tcp(server: SocketAddr, name: &str) -> Result<()> {
    let mut stream = TcpStream::connect(server).with_context(|| format!("connect to {server}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write_message(&mut stream, &question(name, TYPE_A))?;
    let answer = read_message(&mut stream)?;
    ensure!(answer.get(7).is_some_and(|count| *count > 0), "no address in {answer:?}");
    println!("answered {name}");
    Ok(())
}

/// Over TCP a message follows its length.
fn write_message(stream: &mut TcpStream, message: &[u8]) -> Result<()> {
    let length = u16::try_from(message.len())?.to_be_bytes();
    stream.write_all(&[&length[..], message].concat()).context("write")
}

fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).context("read a length")?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).context("read a message")?;
    Ok(message)
}

fn garbage(address: SocketAddr, count: u64) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:53").context("bind to port 53")?;
    // A header that promises answers, a name that points at itself.
    let mut message = [0xff; 300];
    message[..14].copy_from_slice(&[0, 1, 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0, 0xc0, 12]);
    (0..count).try_for_each(|_| socket.send_to(&message, address).context("send").map(drop))?;
    println!("sent {count}");
    Ok(())
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(wire(name));
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

fn wire(name: &str) -> Vec<u8> {
    let label =
        |label: &str| [&[u8::try_from(label.len()).expect("labels are short")], label.as_bytes()].concat();
    name.split('.').flat_map(label).chain([0]).collect()
}

/// The name and type of a question.
fn asked(message: &[u8]) -> Option<(String, u16, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_lowercase());
    }
    let kind = message.get(at..at + 2)?;
    Some((labels.join("."), u16::from_be_bytes([kind[0], kind[1]]), at + 4))
}

/// Addresses that the name itself tells.
fn addresses_in(name: &str) -> Vec<IpAddr> {
    let label = name.strip_suffix(".test").unwrap_or_default();
    if let Some(address) = label.strip_prefix("at-") {
        return address.replace('-', ".").parse().into_iter().collect();
    }
    let number = label.strip_prefix("flood-").and_then(|number| number.parse::<u32>().ok());
    let first = number.map(|number| u32::from(Ipv4Addr::new(10, 128, 0, 0)) + number * FLOOD);
    first.into_iter().flat_map(|first| first..first + FLOOD).map(|bits| Ipv4Addr::from(bits).into()).collect()
}

/// The answer to a question; a name without addresses of that family has none.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let (name, kind, end) = asked(question)?;
    let (aliases, addresses): (&[&str], &[&str]) = match name.as_str() {
        "one.test" => (&[], &ONE),
        "many.test" => (&[], &MANY),
        "alias.test" => (&["edge.test", "deep.edge.test"], &[ALIASED]),
        "loop.test" => (&[], &[LOOP]),
        "never.test" => (&[], &[NEVER]),
        _ => (&[], &[]),
    };
    let of_name = addresses_in(&name);
    let addresses = addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()).chain(of_name);
    let mut owner = name.as_str();
    let mut records = Vec::new();
    for alias in aliases {
        records.push((wire(owner), TYPE_CNAME, wire(alias)));
        owner = alias;
    }
    for address in addresses {
        match address {
            IpAddr::V4(ip) if kind == TYPE_A => records.push((wire(owner), TYPE_A, ip.octets().to_vec())),
            IpAddr::V6(ip) if kind == TYPE_AAAA => {
                records.push((wire(owner), TYPE_AAAA, ip.octets().to_vec()));
            }
            _ => {}
        }
    }
    let mut message =
        [&question[..2], &[0x81, 0x80, 0, 1, 0], &[u8::try_from(records.len()).ok()?], &[0; 4]].concat();
    message.extend_from_slice(question.get(HEADER..end)?);
    for (owner, kind, data) in records {
        message.extend(owner);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend(data);
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered() {
        let answers = |name: &str, kind| answer(&question(name, kind)).unwrap()[7];
        assert_eq!((answers("one.test", TYPE_A), answers("One.TEST", TYPE_AAAA)), (1, 1));
        assert_eq!((answers("many.test", TYPE_A), answers("many.test", TYPE_AAAA)), (3, 0));
        assert_eq!((answers("alias.test", TYPE_A), answers("unknown.test", TYPE_A)), (3, 0));
        assert_eq!(answer(b"short"), None);
    }
}
