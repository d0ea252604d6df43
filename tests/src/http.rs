//! A plain HTTP client: one request per connection, whole answer, any bytes as body.
//!
//! HTTP/1.0, so that an answer ends with its connection and is never chunked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const TIMEOUT: Duration = Duration::from_secs(30);
/// No answer of a test comes near; a server that sends more is broken.
const ANSWER_MAX: u64 = 256 << 20;

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body as it was sent.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Asks for `path`.
///
/// # Errors
/// When the server cannot be reached or its answer is no HTTP.
pub fn get(server: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    request(server, "GET", path, headers, None)
}

/// Sends `body` to `path`.
///
/// # Errors
/// When the server cannot be reached or its answer is no HTTP.
pub fn post(server: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    request(server, "POST", path, headers, Some(body))
}

fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&server, TIMEOUT).with_context(|| format!("connect to {server}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut head = format!("{method} {path} HTTP/1.0\r\nhost: {server}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).context("send a request")?;
    // A server that refuses a body early closes its side: its answer counts, not the broken pipe.
    let sent = stream.write_all(body.unwrap_or_default());
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_MAX).read_to_end(&mut answer);
    if answer.is_empty() {
        sent.context("send a body")?;
        read.context("read an answer")?;
    }
    parse(&answer).with_context(|| format!("{method} {path} at {server}"))
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("the answer has no head")?;
    let head = std::str::from_utf8(&bytes[..end]).context("the head is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().context("the answer is empty")?;
    ensure!(status.starts_with("HTTP/1."), "`{status}` is no status line");
    let status =
        status.split(' ').nth(1).context("no status code")?.parse().context("read the status code")?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Answer { status, headers, body: bytes[end + 4..].to_vec() })
}

/// Escapes `text` for a query string.
pub fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse(b"HTTP/1.1 204 No Content\r\nX-Name: a: b\r\n\r\nrest\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.header("x-name")), (204, Some("a: b")));
        assert_eq!(answer.body, b"rest\r\n\r\n");
        assert!(parse(b"SSH-2.0\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(escape("up{a=\"/b\"}"), "up%7Ba%3D%22%2Fb%22%7D");
    }
}
