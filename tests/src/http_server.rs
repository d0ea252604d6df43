//! A small HTTP server for stand-ins: one answer per connection, on loopback, in a thread that ends with the test process.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// The longest head of a request that is read.
const MAX_HEAD: usize = 16 << 10;

/// Starts a server that answers each request, given as its whole head, with 200 and what `answer` says, or with a status
/// of its own. Returns where it listens.
#[track_caller]
pub fn serve(answer: impl Fn(&str) -> Result<String, u16> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (status, body) = match answer(&head(&mut stream)) {
                Ok(body) => (200, body),
                Err(status) => (status, String::new()),
            };
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            // Whoever asked may have gone.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

/// The head of a request, up to the empty line.
fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < MAX_HEAD {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => head.extend_from_slice(&buffer[..length]),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_or_refused() {
        let address = serve(|head| if head.starts_with("GET /known ") { Ok("yes".into()) } else { Err(403) });
        let ask = |path| crate::http::get(address, path, &[]).unwrap();
        assert_eq!((ask("/known").status, ask("/known").text().as_str()), (200, "yes"));
        assert_eq!(ask("/other").status, 403);
    }
}
