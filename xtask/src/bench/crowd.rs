//! Many containers with many connections: real processes in control groups that are named as Docker names them.
//!
//! Each process is this program once more, holding its connections open until the crowd is dropped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Signal};

/// A process that never gets its connections is an error instead of a benchmark without end.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);
/// Destinations of each container.
const SERVERS: u8 = 10;
/// Controllers of v1 that Docker puts a container into, as far as the agent reads them, and the unified hierarchy.
const HIERARCHIES: [&str; 7] = ["unified", "memory", "cpu", "cpuacct", "blkio", "pids", "systemd"];

/// Containers with connections to some servers.
pub struct Crowd {
    servers: Vec<SocketAddr>,
    members: Vec<Member>,
}

struct Member {
    child: Child,
    directories: Vec<PathBuf>,
}

impl Crowd {
    /// Servers and nobody yet.
    pub fn new() -> Result<Self> {
        raise_descriptor_limit();
        let servers = (1..=SERVERS).map(serve).collect::<Result<_>>()?;
        Ok(Self { servers, members: Vec::new() })
    }

    /// Adds containers until there are `containers`, each holding `connections`.
    pub fn grow(&mut self, containers: usize, connections: usize) -> Result<()> {
        for index in self.members.len()..containers {
            let member = Member::start(index, &self.servers, connections)
                .with_context(|| format!("start container {index} of the crowd"))?;
            self.members.push(member);
        }
        Ok(())
    }
}

impl Member {
    fn start(index: usize, servers: &[SocketAddr], connections: usize) -> Result<Self> {
        let directories = directories(index);
        let mut child = Command::new(std::env::current_exe().context("find this program")?)
            .arg("bench-hold")
            .arg(connections.to_string())
            .args(servers.iter().map(SocketAddr::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a process")?;
        let output = child.stdout.take();
        let member = Self { child, directories };
        for directory in &member.directories {
            fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
            let file = directory.join("cgroup.procs");
            fs::write(&file, member.child.id().to_string())
                .with_context(|| format!("write {}", file.display()))?;
        }
        member.connect(output)
    }

    /// Lets the process connect, which it does inside its control groups, and waits until it has.
    fn connect(mut self, output: Option<ChildStdout>) -> Result<Self> {
        let (Some(input), Some(output)) = (self.child.stdin.as_mut(), output) else {
            anyhow::bail!("the process has no pipes");
        };
        input.write_all(b"go\n").context("tell the process to connect")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("read what the process says")?;
        ensure!(line.trim() == "holding", "the process said {line:?}");
        Ok(self)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for directory in &self.directories {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Listens on a loopback address of its own. Accepted connections are held until the process ends.
fn serve(number: u8) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 1, number), 0)).context("listen on loopback")?;
    let address = listener.local_addr().context("read the listener's address")?;
    thread::spawn(move || listener.incoming().map_while(Result::ok).collect::<Vec<TcpStream>>());
    Ok(address)
}

/// The control groups of a container, in every hierarchy that is mounted.
fn directories(index: usize) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mounts = match root.join("cgroup.controllers").exists() {
        true => vec![root.to_owned()],
        false => HIERARCHIES.map(|name| root.join(name)).into(),
    };
    let mounts = mounts.into_iter().filter(|mount| mount.join("cgroup.procs").exists());
    mounts.map(|mount| mount.join(format!("docker/{:08x}{:056x}", 0xbe4c_0000 + index, index))).collect()
}

/// As many descriptors as this process may have: one per connection.
fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Too few show as refused connections, with the kernel's own words.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
}

/// What a process of the crowd does: waits for a word, connects, says so, and holds until its parent ends.
pub fn hold(connections: usize, servers: &[SocketAddr]) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("bind to the parent")?;
    raise_descriptor_limit();
    std::io::stdin().lock().read_line(&mut String::new()).context("wait for the word")?;
    let connect = |server| TcpStream::connect_timeout(server, CONNECT_WITHIN).context("connect");
    let held = servers.iter().cycle().take(connections).map(connect).collect::<Result<Vec<_>>>()?;
    println!("holding");
    std::io::stdin().lock().read_line(&mut String::new()).context("wait for the end")?;
    drop(held);
    Ok(())
}
