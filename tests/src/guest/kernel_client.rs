//! Connections of the kernel itself, to which no open file leads: an NFS client that asks a server for a mount, which
//! reads and never answers.

use std::ffi::CString;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, mount};

use super::Agent;
use super::tests::count;
use crate::wait;

const KERNEL: (&str, &str) = ("container_id", "/host/kernel");

/// Whether this kernel has the client.
pub(super) fn is_there() -> bool {
    let kinds = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    kinds.lines().any(|line| line.split_whitespace().last() == Some("nfs"))
}

/// One that has connected and asked.
pub(super) struct KernelClient {
    server: SocketAddr,
    asked_bytes: u64,
}

impl KernelClient {
    /// Starts a client and its server.
    pub(super) fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
        let server = listener.local_addr().context("read the listener's address")?;
        let received = Arc::new(AtomicU64::new(0));
        let total = received.clone();
        thread::spawn(move || serve(&listener, &total));
        // It waits for an answer as long as the machine runs.
        thread::spawn(move || ask(server.port()));
        wait::until("the kernel's client to ask", || {
            ensure!(received.load(Ordering::Relaxed) > 0, "nothing has arrived");
            Ok(())
        });
        Ok(Self { server, asked_bytes: received.load(Ordering::Relaxed) })
    }

    /// From before the agent's start: it is active, and what it has sent is a baseline.
    pub(super) fn check_existing(&self, agent: &Agent) -> Result<()> {
        self.expect(agent, 0);
        let labels = [KERNEL, ("destination", &*self.server.to_string())];
        let connects = agent.metrics()?.sum("container_net_tcp_successful_connects_total", &labels);
        ensure!(connects == 0.0, "its connect was before the agent's start");
        Ok(())
    }

    /// From after the agent's start: its bytes are seen while it is open.
    pub(super) fn check_new(&self, agent: &Agent) {
        self.expect(agent, self.asked_bytes);
        let labels = [KERNEL, ("destination", &*self.server.to_string())];
        agent.expect(&[("container_net_tcp_successful_connects_total", &labels, 1.0)]);
    }

    fn expect(&self, agent: &Agent, sent_bytes: u64) {
        let labels = [KERNEL, ("destination", &*self.server.to_string())];
        agent.expect(&[
            ("container_net_tcp_active_connections", &labels, 1.0),
            ("container_net_tcp_bytes_sent_total", &labels, count(sent_bytes)),
        ]);
    }
}

fn serve(listener: &TcpListener, total: &AtomicU64) {
    for mut stream in listener.incoming().map_while(Result::ok) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            total.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
}

/// The client of mount(2)'s protocol over TCP comes before that of NFS itself, and both are the kernel's.
fn ask(port: u16) {
    let place = format!("/tmp/nfs-{port}");
    let options = format!(
        "vers=3,addr=127.0.0.1,proto=tcp,port={port},mountaddr=127.0.0.1,mountproto=tcp,mountvers=3,mountport={port},\
         nolock"
    );
    let asked = fs::create_dir_all(&place).map_err(anyhow::Error::from).and_then(|()| {
        let options = CString::new(options)?;
        Ok(mount("127.0.0.1:/nothing", &place, "nfs", MountFlags::empty(), Some(options.as_c_str()))?)
    });
    if let Err(error) = asked {
        println!("the mount ended: {error:#}");
    }
}
