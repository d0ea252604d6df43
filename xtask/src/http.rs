//! The little HTTP that a developer's tool needs: one GET to a plain local listener.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// A local server that says nothing for this long is taken as dead.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of a successful answer as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        ensure!(self.status == 200, "status {}", self.status);
        serde_json::from_slice(&self.body).context("parse the answer")
    }
}

/// Asks for `path`. HTTP/1.0: the server ends the body by closing.
pub fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT)).context("set a timeout")?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").context("send the request")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).context("read the answer")?;
    parse(&bytes)
}

/// Where a listener that is told `listen` can be reached from this machine.
pub fn reachable(listen: &str) -> Option<SocketAddr> {
    let mut address = listen.to_socket_addrs().ok()?.next()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Some(address)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let end =
        bytes.windows(4).position(|window| window == b"\r\n\r\n").context("the answer has no header")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    Ok(Answer { status: status.context("the answer has no status")?, body: bytes[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_parted() {
        let answer = parse(b"HTTP/1.0 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (503, b"no".as_slice()));
        assert!(parse(b"HTTP/1.0 200 OK\r\n").is_err(), "a cut header is no answer");
    }

    #[test]
    fn any_address_is_reached_over_loopback() {
        assert_eq!(reachable("0.0.0.0:10300").unwrap().to_string(), "127.0.0.1:10300");
        assert_eq!(reachable("[::]:1").unwrap().to_string(), "[::1]:1");
        assert_eq!(reachable("10.0.0.1:1").unwrap().to_string(), "10.0.0.1:1");
        assert_eq!(reachable("nonsense"), None);
    }
}
