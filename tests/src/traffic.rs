//! Exact numbers of connections and bytes, made by a process of their own (the binary `traffic`).
//!
//! A connection of `connect` and `send` ends the same way every time: the client closes its direction, the server
//! answers with the count of bytes it got, eight of them, and closes, and the client closes last.

use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::{datagrams, dns};

pub mod endings;
pub mod load;
mod usage;

/// Bytes that a server sends on every connection.
pub const REPLY_BYTES: u32 = 8;
const TIMEOUT: Duration = Duration::from_secs(20);

const USAGE: &str = "\
serve ADDRESS         accept, read to the end, answer with the number of bytes; never ends
connect ADDRESS N     make N connections, one after the other, and close each
refused ADDRESS M     make M connections that must be refused
send ADDRESS BYTES    send BYTES on one connection
hold ADDRESS N        open N connections; reads `send BYTES` from standard input and ends with it
fail ADDRESS N ERRNO  make N connections at once that must fail with that error
abandon ADDRESS N     begin N connections and close each before an answer comes
resets ADDRESS        accept, answer `?`, reset upon `!`; never ends
give-up ADDRESS N     make N connections and reset each
be-reset ADDRESS N    make N connections that the server must reset
ignore ADDRESS N      listen with a queue of N and never accept
half-reset ADDRESS N  make N connections that are reset in the middle of the handshake
wait                  do nothing, never end
burn MILLISECONDS     use that much CPU time
work USER SYSTEM      use that many milliseconds of CPU time in user mode and in the kernel; says how many ticks
contend N MILLISECONDS  burn in N processes on one CPU; says how long they waited for it
direct FILE N         write and read back N MiB past the page cache
synced FILE N         write N MiB and see them to the disk
keep FILE N           write N MiB into the page cache
evict FILE            see a file to the disk and drop it from the page cache
faults                print how many page faults of this program had to wait for a disk
allocate BYTES        use that much memory, never end
open FILES SOCKETS    open that many of each beside the standard streams, never end
threads N             have N threads, never end
room DIRECTORY        print size, used and reserved bytes of the file system";

/// Does what the arguments say.
///
/// # Errors
/// When the traffic is not exactly what was asked for.
pub fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["serve", address] => serve(parse(address)?),
        ["connect", address, count] => connect(parse(address)?, parse(count)?),
        ["refused", address, count] => refused(parse(address)?, parse(count)?),
        ["send", address, bytes] => send(parse(address)?, parse(bytes)?),
        ["hold", address, count] => hold(parse(address)?, parse(count)?, std::io::stdin().lock()),
        ["fail", address, count, error] => endings::fail(parse(address)?, parse(count)?, error),
        ["abandon", address, count] => endings::abandon(parse(address)?, parse(count)?),
        ["resets", address] => endings::serve_resets(parse(address)?),
        ["give-up", address, count] => endings::give_up(parse(address)?, parse(count)?),
        ["be-reset", address, count] => endings::be_reset(parse(address)?, parse(count)?),
        ["ignore", address, queue] => endings::ignore(parse(address)?, parse(queue)?),
        ["half-reset", address, count] => endings::reset_in_handshake(parse(address)?, parse(count)?),
        ["udp", rest @ ..] => datagrams::run(rest),
        ["dns", rest @ ..] => dns::run(rest),
        ["wait"] => loop {
            std::thread::park();
        },
        ["burn", millis] => burn(Duration::from_millis(parse(millis)?)),
        ["contend", count, millis] => load::contend(parse(count)?, Duration::from_millis(parse(millis)?)),
        ["direct", path, chunks] => load::direct(Path::new(path), parse(chunks)?),
        ["synced", path, chunks] => load::synced(Path::new(path), parse(chunks)?),
        ["work", user, system] => usage::work(parse(user)?, parse(system)?),
        ["keep", path, chunks] => usage::keep_in_cache(path, parse(chunks)?),
        ["evict", path] => usage::evict(path),
        ["faults"] => usage::show_major_faults(),
        ["allocate", bytes] => allocate(parse(bytes)?),
        ["open", files, sockets] => usage::hold_open(parse(files)?, parse(sockets)?),
        ["threads", count] => usage::have_threads(parse(count)?),
        ["room", directory] => usage::show_room(directory),
        _ => {
            bail!("unknown arguments {arguments:?}; known are\n{USAGE}\n{}\n{}", datagrams::USAGE, dns::USAGE)
        }
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("read `{text}`"))
}

fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().context("accept")?;
        std::thread::spawn(move || {
            // A client that is killed ends its connection with an error, which is its right.
            let _ = answer(stream);
        });
    }
}

/// Serves one connection.
///
/// # Errors
/// When the client goes away early.
pub fn answer(mut stream: TcpStream) -> Result<()> {
    let count = std::io::copy(&mut stream, &mut std::io::sink()).context("read")?;
    stream.write_all(&count.to_be_bytes()).context("answer")
}

/// Makes `count` connections and closes each.
///
/// # Errors
/// When one fails.
pub fn connect(address: SocketAddr, count: u64) -> Result<()> {
    (0..count).try_for_each(|_| finish(open(address)?, 0))?;
    println!("connected {count}");
    Ok(())
}

/// Makes `count` connections that must be refused.
///
/// # Errors
/// When one is not refused.
pub fn refused(address: SocketAddr, count: u64) -> Result<()> {
    for _ in 0..count {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(_) => bail!("{address} accepts connections"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error).with_context(|| format!("connect to {address}")),
        }
    }
    println!("refused {count}");
    Ok(())
}

/// Sends `bytes` on one connection; the server confirms the count.
///
/// # Errors
/// When the connection fails or the server got another number.
pub fn send(address: SocketAddr, bytes: u64) -> Result<()> {
    let mut stream = open(address)?;
    write_bytes(&mut stream, bytes)?;
    finish(stream, bytes)?;
    println!("sent {bytes}");
    Ok(())
}

fn hold(address: SocketAddr, count: u64, commands: impl BufRead) -> Result<()> {
    ensure!(count > 0, "at least one connection is held");
    let mut streams = (0..count).map(|_| open(address)).collect::<Result<Vec<_>>>()?;
    println!("holding {count}");
    for line in commands.lines() {
        let line = line.context("read a command")?;
        let bytes = line.strip_prefix("send ").with_context(|| format!("unknown command `{line}`"))?;
        write_bytes(&mut streams[0], parse(bytes)?)?;
        println!("sent {bytes}");
    }
    Ok(())
}

fn burn(time: Duration) -> Result<()> {
    let used = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    // The process has used some before it became this program, in another control group perhaps.
    let before = used();
    while used() - before < time {
        std::hint::spin_loop();
    }
    println!("burned {} ms", (used() - before).as_millis());
    Ok(())
}

fn allocate(bytes: usize) -> Result<()> {
    let memory = vec![1u8; bytes];
    println!("allocated {}", std::hint::black_box(&memory).len());
    loop {
        std::thread::park();
    }
}

fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn write_bytes(stream: &mut TcpStream, bytes: u64) -> Result<()> {
    std::io::copy(&mut std::io::repeat(b'x').take(bytes), stream).context("send").map(drop)
}

fn finish(mut stream: TcpStream, sent: u64) -> Result<()> {
    stream.shutdown(Shutdown::Write).context("close one direction")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).context("read the answer")?;
    let reply: [u8; 8] = reply.as_slice().try_into().context("the answer has another length")?;
    let got = u64::from_be_bytes(reply);
    ensure!(got == sent, "{sent} bytes were sent, the server got {got}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(|stream| drop(answer(stream.unwrap()))));
        address
    }

    #[test]
    fn bytes_are_confirmed_by_the_server() {
        let server = server();
        connect(server, 3).unwrap();
        send(server, 1_000_003).unwrap();
    }

    #[test]
    fn an_open_port_is_not_refused_and_a_closed_one_is() {
        assert!(refused(server(), 1).is_err());
        let closed = crate::process::free_address();
        refused(closed, 2).unwrap();
        assert!(connect(closed, 1).is_err());
    }

    #[test]
    fn held_connections_send_on_command() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let first = std::thread::spawn(move || {
            let mut streams: Vec<TcpStream> = listener.incoming().take(2).map(Result::unwrap).collect();
            let mut bytes = Vec::new();
            streams[0].read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        hold(address, 2, &b"send 10\nsend 5\n"[..]).unwrap();
        assert_eq!(first.join().unwrap(), 15);
    }
}
