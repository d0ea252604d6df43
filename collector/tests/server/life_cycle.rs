//! Stops, polite and not, under load: whatever was acknowledged arrives, in order.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;

use crate::harness::{Server, request, series, until};
use crate::standin::{Arrived, Reply, Standin};

const WRITERS: usize = 4;

/// Writes to its own series until the server is gone; remembers what was acknowledged.
async fn write(
    base: String,
    name: String,
    next: Arc<Mutex<i64>>,
    acknowledged: Arc<Mutex<Vec<(String, i64)>>>,
) {
    let client = crate::harness::client();
    loop {
        let time = {
            let mut next = next.lock().unwrap();
            *next += 1;
            *next
        };
        let body = request(vec![series(&name, time, 0.0)]).to_snappy();
        match client.post(format!("{base}/api/v1/write")).body(body).send().await {
            Ok(response) if response.status() == 204 => {
                acknowledged.lock().unwrap().push((name.clone(), time))
            }
            _ => return,
        }
    }
}

struct Load {
    next: Vec<Arc<Mutex<i64>>>,
    acknowledged: Arc<Mutex<Vec<(String, i64)>>>,
}

impl Load {
    fn new() -> Self {
        Self { next: (0..WRITERS).map(|_| Arc::default()).collect(), acknowledged: Arc::default() }
    }

    fn start(&self, server: &Server) -> tokio::task::JoinSet<()> {
        let writers = self.next.iter().enumerate();
        writers
            .map(|(id, next)| {
                write(server.base.clone(), format!("s{id}"), next.clone(), self.acknowledged.clone())
            })
            .collect()
    }

    fn acknowledged(&self) -> Vec<(String, i64)> {
        self.acknowledged.lock().unwrap().clone()
    }

    async fn wait_for_more(&self, count: usize) {
        let goal = self.acknowledged().len() + count;
        until("acknowledgements", async || self.acknowledged().len() >= goal).await;
    }

    /// All that was acknowledged is there; what came twice aside, each series is in order.
    async fn check(&self, standin: &Standin) {
        until("delivery of all that was acknowledged", async || {
            let kept: HashSet<(String, i64)> =
                standin.kept().into_iter().map(|(name, time, _)| (name, time)).collect();
            self.acknowledged().iter().all(|sample| kept.contains(sample))
        })
        .await;
        let kept = standin.kept();
        for id in 0..WRITERS {
            let mut seen = HashSet::new();
            let first_seen: Vec<i64> = kept
                .iter()
                .filter(|(name, ..)| *name == format!("s{id}"))
                .map(|(_, time, _)| *time)
                .collect();
            let first_seen: Vec<i64> = first_seen.into_iter().filter(|time| seen.insert(*time)).collect();
            assert!(first_seen.is_sorted(), "series s{id} out of order");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    // Every fifth request fails, so that retries and restarts mix.
    let standin =
        Standin::start(|_, before| if before % 5 == 3 { Reply::refused(503, "") } else { Reply::taken() })
            .await;
    let load = Load::new();
    for round in 0..5 {
        let server = Server::start(dir.path(), &["--remote-write", &standin.url]);
        let mut writers = load.start(&server);
        load.wait_for_more(20 + 30 * round).await;
        server.kill();
        while writers.join_next().await.is_some() {}
    }
    let _server = Server::start(dir.path(), &["--remote-write", &standin.url]);
    load.check(&standin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_in_time_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start(|_, _| Reply::taken()).await;
    let load = Load::new();
    let mut server = Server::start(dir.path(), &["--remote-write", &standin.url]);
    let mut writers = load.start(&server);
    load.wait_for_more(50).await;
    server.terminate();
    assert_eq!(server.ended().await, Some(0));
    while writers.join_next().await.is_some() {}
    let before: Vec<Arrived> = standin.kept();
    let _server = Server::start(dir.path(), &["--remote-write", &standin.url]);
    load.check(&standin).await;
    // A clean stop leaves nothing in doubt: nothing is sent twice.
    let all: Vec<(String, i64)> = standin.kept().into_iter().map(|(name, time, _)| (name, time)).collect();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "{} before the stop", before.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    // Accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/write", silent.local_addr().unwrap());
    let mut server = Server::start(dir.path(), &["--remote-write", &url]);
    assert_eq!(server.write(&request(vec![series("s", 1, 1.0)])).await.unwrap(), 204);
    let _stream = silent.accept().await.unwrap();
    server.terminate();
    until("the listener's end", async || tokio::net::TcpStream::connect(&server.base[7..]).await.is_err())
        .await;
    let begin = Instant::now();
    server.terminate();
    assert_eq!(server.ended().await, Some(128 + Signal::TERM.as_raw()));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_hangs_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "p").unwrap();
    let config = dir.path().join("config.toml");
    let target = format!(
        "[[remote_write]]\nurl = \"http://127.0.0.1:1/\"\n\
         basic_auth = {{ username = \"u\", password_file = \"{}\" }}\n",
        password.display()
    );
    std::fs::write(&config, target).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let mut server = Server::start(&dir.path().join("data"), &arguments);
    // Whoever reads this file waits for somebody to write to it.
    std::fs::remove_file(&password).unwrap();
    let (fifo, owner) = (FileType::Fifo, Mode::RUSR | Mode::WUSR);
    mknodat(CWD, &password, fifo, owner, 0).unwrap();
    assert_eq!(server.write(&request(vec![series("s", 1, 1.0)])).await.unwrap(), 204);
    let begin_to_write = || rustix::fs::open(&password, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
    let writer = std::cell::OnceCell::new();
    until("the reading of the password", async || {
        begin_to_write().is_ok_and(|file| writer.set(file).is_ok())
    })
    .await;
    server.terminate();
    assert_eq!(server.ended().await, Some(0));
}
