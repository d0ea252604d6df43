//! A socket of systemd or of the bus, as `zbus` takes it: what is read passes message by message.
//!
//! On the private socket there is no bus to give systemd a unique name, so it signs its messages
//! `org.freedesktop.systemd1`. The D-Bus specification wants a unique name as the sender, and `zbus` refuses any other: the
//! name becomes one of the same length that is unique by its form. A message is bounded, where `zbus` would take the 128 MiB
//! of the specification from anyone.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

/// Bytes of a message before its fields: D-Bus specification, "Message Format".
const FIXED: usize = 16;
/// Much more than a path, a property, or one of the signals that systemd sends unasked on its private socket takes.
const MAX: usize = 64 << 10;
/// A field's code, and its value's type, of the sender: "Header Fields".
const SENDER: [u8; 4] = [7, 1, b's', 0];
/// As systemd signs, and what it becomes.
const NAMES: (&[u8; 24], &[u8; 24]) = (b"org.freedesktop.systemd1", b":org.freedesktop.systemd");

/// A connection.
#[derive(Debug)]
pub(super) struct Stream(pub(super) UnixStream);

impl Socket for Stream {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (half, writer) = self.0.into_split();
        Split::new(Reader { half, incoming: Vec::new(), whole: 0 }, Writer(writer))
    }
}

/// What comes from the other side.
#[derive(Debug)]
pub(super) struct Reader {
    half: OwnedReadHalf,
    incoming: Vec<u8>,
    /// Bytes at the front of `incoming` that may pass.
    whole: usize,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        while self.whole == 0 {
            if let Some(len) = length(&self.incoming)? {
                rename(&mut self.incoming[..len]);
                self.whole = len;
            } else if self.half.read_buf(&mut self.incoming).await? == 0 {
                return Ok((0, Vec::new()));
            }
        }
        let len = self.whole.min(buffer.len());
        buffer[..len].copy_from_slice(&self.incoming[..len]);
        self.incoming.drain(..len);
        self.whole -= len;
        Ok((len, Vec::new()))
    }
}

/// What is sent, unchanged.
#[derive(Debug)]
pub(super) struct Writer(OwnedWriteHalf);

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// The length of the message that begins here, or of the line while the two sides authenticate; `None` until all of it
/// is there.
///
/// # Errors
/// When it is longer than anything systemd has to say, or no line of D-Bus.
fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let refuse = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let len = match bytes.first() {
        None => return Ok(None),
        Some(b'l' | b'B') => match (number(bytes, 4), number(bytes, 12)) {
            (Some(body), Some(fields)) => FIXED + fields.min(MAX).next_multiple_of(8) + body.min(MAX),
            _ => return Ok(None),
        },
        Some(_) => match bytes.iter().position(|byte| *byte == b'\n') {
            // zbus counts on the return before it.
            Some(at) if !bytes[..at].ends_with(b"\r") => return refuse("a line without its end".to_owned()),
            Some(at) => at + 1,
            None => bytes.len() + 1,
        },
    };
    if len > MAX {
        return refuse(format!("a message of more than {MAX} bytes"));
    }
    Ok((len <= bytes.len()).then_some(len))
}

/// Makes a unique name of the sender's in a whole message.
fn rename(message: &mut [u8]) {
    let fields = if matches!(message.first(), Some(b'l' | b'B')) { number(message, 12) } else { None };
    // Each field begins at a multiple of eight.
    for at in (FIXED..FIXED + fields.unwrap_or(0)).step_by(8) {
        let is_sender = message[at..].starts_with(&SENDER) && number(message, at + 4) == Some(NAMES.0.len());
        if is_sender && message[at + 8..].starts_with(NAMES.0) {
            message[at + 8..][..NAMES.1.len()].copy_from_slice(NAMES.1);
        }
    }
}

/// A number in the message's byte order.
fn number(message: &[u8], at: usize) -> Option<usize> {
    let bytes = message.get(at..at + 4)?.try_into().ok()?;
    Some(if message[0] == b'l' { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message with a path, the sender's name and a body, in a byte order.
    fn message(order: u8, name: &[u8; 24], body: &[u8]) -> Vec<u8> {
        let number = |value: usize| match order {
            b'l' => (value as u32).to_le_bytes(),
            _ => (value as u32).to_be_bytes(),
        };
        let path = [&[1, 1, b'o', 0][..], &number(3), b"/a7\0\0\0\0\0"].concat();
        let fields = [&path[..], &SENDER, &number(name.len()), name, b"\0"].concat();
        let padding = vec![0; fields.len().next_multiple_of(8) - fields.len()];
        let fixed = [&[order, 2, 0, 1][..], &number(body.len()), &number(1), &number(fields.len())].concat();
        [&fixed[..], &fields, &padding, body].concat()
    }

    /// What passes when it arrives in pieces.
    async fn read(pieces: &[&[u8]], at_once: usize) -> io::Result<Vec<u8>> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, _writer) = Stream(ours).split().take();
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let send = async move {
            let mut theirs = theirs;
            for piece in pieces {
                theirs.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let receive = async move {
            let (mut passed, mut buffer) = (Vec::new(), vec![0; at_once]);
            loop {
                match reader.recvmsg(&mut buffer).await?.0 {
                    0 => return Ok(passed),
                    len => passed.extend_from_slice(&buffer[..len]),
                }
            }
        };
        tokio::join!(send, receive).1
    }

    proptest! {
        #[test]
        fn names_change_and_nothing_else_however_the_bytes_arrive(
            order in prop::sample::select(vec![b'l', b'B']),
            body in prop::collection::vec(any::<u8>(), 0..80),
            cut in 0_usize..300,
            at_once in 1_usize..64,
        ) {
            // A body may hold what looks like a sender.
            let body = [&body[..], &message(order, NAMES.0, b"")].concat();
            let stream = |name| [&b"OK 0123\r\n"[..], &message(order, name, &body), &message(order, name, b"")].concat();
            let (sent, expected) = (stream(NAMES.0), stream(NAMES.1));
            let cut = cut.min(sent.len());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let passed = runtime.block_on(read(&[&sent[..cut], &sent[cut..]], at_once)).unwrap();
            prop_assert_eq!(passed, expected);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if let Ok(Some(len)) = length(&bytes) {
                prop_assert!(len <= bytes.len());
                rename(&mut bytes[..len]);
            }
        }
    }

    #[test]
    fn zbus_refuses_the_one_name_and_takes_the_other() {
        let is_unique =
            |name: &[u8]| zbus::names::UniqueName::try_from(str::from_utf8(name).unwrap()).is_ok();
        assert!(!is_unique(NAMES.0), "nothing needs to be renamed any more");
        assert!(is_unique(NAMES.1));
    }

    #[tokio::test]
    async fn a_name_of_another_is_left_and_what_is_too_long_is_refused() {
        let other = message(b'l', b"org.freedesktop.systemd2", b"");
        assert_eq!(read(&[&other], 64).await.unwrap(), other);
        let mut long = other.clone();
        long[4..8].copy_from_slice(&(MAX as u32).to_le_bytes());
        assert_eq!(read(&[&long], 64).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        for line in [&b"\n"[..], b"OK\n"] {
            assert_eq!(read(&[line], 64).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let line = vec![b'x'; MAX];
        assert_eq!(read(&[&line], 64).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
