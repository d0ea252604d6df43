use std::io::BufRead as _;
use std::os::unix::net::UnixListener as StdListener;

use futures_util::StreamExt as _;
use tokio::net::UnixListener;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, Guid, Message, MessageStream, ObjectPath, Variant};

use super::*;

/// A systemd on a private socket that knows `web.service` and `backup.service`, and is silent about `hang.service`.
fn systemd(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let builder = Builder::unix_stream(stream.into_std().unwrap());
                let builder = builder.server(Guid::generate()).p2p();
                // Whoever is refused or goes away ends only this connection.
                if let Ok(connection) = builder.build().await {
                    serve(connection).await;
                }
            });
        }
    });
}

async fn serve(connection: Connection) {
    let mut calls = MessageStream::from(&connection);
    while let Some(Ok(call)) = calls.next().await {
        if call.message_type() == Type::MethodCall {
            answer(&connection, &call).await;
        }
    }
}

/// Takes connections and says this on each, before it hangs up.
fn babbler(socket: &Path, words: &'static [u8]) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever has gone does not hear it.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, words).await;
        }
    });
}

/// A bus on a socket, ended when dropped.
struct Daemon(std::process::Child);

impl Daemon {
    /// `None` where no D-Bus is installed.
    fn start(socket: &Path) -> Option<Self> {
        let config = format!(
            "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context='default'>\
             <allow own='*'/><allow eavesdrop='true'/><allow send_destination='*' eavesdrop='true'/>\
             </policy></busconfig>",
            socket.display()
        );
        let file = socket.with_extension("conf");
        std::fs::write(&file, config).unwrap();
        let file = format!("--config-file={}", file.display());
        let mut command = std::process::Command::new("dbus-daemon");
        command.args(["--nofork", "--nopidfile", "--print-address=1", &file]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        // It prints its address when it listens.
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:path="), "{line}");
        Some(Self(child))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn answer(connection: &Connection, call: &Message) {
    let header = call.header();
    let path = header.path().unwrap().to_string();
    let member = header.member().unwrap().to_string();
    if member == "GetUnit" {
        assert_eq!(path, "/org/freedesktop/systemd1");
        let unit: String = call.body().deserialize().unwrap();
        let object = match unit.as_str() {
            "web.service" => "/org/freedesktop/systemd1/unit/web_2eservice",
            "backup.service" => "/org/freedesktop/systemd1/unit/backup_2eservice",
            "gone.service" => "/org/freedesktop/systemd1/unit/gone_2eservice",
            "hang.service" => return,
            other => {
                let error = match other {
                    "masked.service" => "org.freedesktop.systemd1.UnitMasked",
                    "bad name" => "org.freedesktop.DBus.Error.InvalidArgs",
                    "busy.service" => "System.Error.EBUSY",
                    _ => "org.freedesktop.systemd1.NoSuchUnit",
                };
                return connection.reply_error(&header, error, &"not loaded").await.unwrap();
            }
        };
        return connection.reply(&header, &ObjectPath::try_from(object).unwrap()).await.unwrap();
    }
    if path.ends_with("/gone_2eservice") {
        let error = "org.freedesktop.DBus.Error.UnknownObject";
        return connection.reply_error(&header, error, &"no such object").await.unwrap();
    }
    let (interface, name): (String, String) = call.body().deserialize().unwrap();
    let is_web = path.ends_with("/web_2eservice");
    match (interface.as_str(), name.as_str()) {
        ("org.freedesktop.systemd1.Service", "Type") if is_web => {
            connection.reply(&header, &Variant::from("notify")).await.unwrap();
        }
        ("org.freedesktop.systemd1.Unit", "TriggeredBy") => {
            let triggers: Vec<&str> = if is_web { vec![] } else { vec!["backup.path", "backup.timer"] };
            connection.reply(&header, &Variant::from(triggers)).await.unwrap();
        }
        _ => {
            let error = "org.freedesktop.DBus.Error.UnknownProperty";
            connection.reply_error(&header, error, &"no such property").await.unwrap();
        }
    }
}

fn unit(name: &str) -> UnitRef {
    UnitRef { workload: WorkloadIx(1), unit: name.into() }
}

async fn ask(asker: &mut Asker, name: &str) -> Result<UnitProperties, UnitError> {
    asker.ask(unit(name)).unwrap();
    let (about, answer) = asker.running.as_mut().unwrap().answers.recv().await.expect("the task lives");
    assert_eq!(about, unit(name));
    answer
}

fn properties(kind: &str, triggered_by: &str) -> UnitProperties {
    UnitProperties { kind: kind.into(), triggered_by: triggered_by.into() }
}

#[tokio::test]
async fn a_service_is_described_over_the_private_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("private");
    systemd(&socket);
    let sockets = vec![Socket::Private(directory.path().join("none")), Socket::Private(socket.clone())];
    let mut asker = Asker::with(sockets, TIMEOUT, CancellationToken::new());
    assert_eq!((asker.status(), asker.fill().depth), (Status::Unused, 0));
    assert!(asker.running.is_none(), "nothing runs before there is a service");
    assert_eq!(ask(&mut asker, "web.service").await, Ok(properties("notify", "")));
    assert_eq!(ask(&mut asker, "backup.service").await, Ok(properties("", "backup.timer")));
    assert_eq!(ask(&mut asker, "other.service").await, Err(UnitError::Unknown));
    assert_eq!(asker.status(), Status::Connected(socket.display().to_string()));
}

#[tokio::test]
async fn a_service_is_described_over_the_system_bus() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("bus");
    let Some(_daemon) = Daemon::start(&socket) else {
        return crate::skip::record("dbus-daemon is not installed");
    };
    let sockets = vec![Socket::Private(directory.path().join("none")), Socket::Bus(socket.clone())];
    let mut asker = Asker::with(sockets, Duration::from_secs(10), CancellationToken::new());
    let Err(UnitError::Unreachable(reason)) = ask(&mut asker, "web.service").await else { panic!() };
    assert!(reason.contains("org.freedesktop.systemd1"), "nobody has the name: {reason}");

    let address = format!("unix:path={}", socket.display());
    let builder = Builder::address(address.as_str()).name("org.freedesktop.systemd1");
    let connection = builder.build().await.unwrap();
    tokio::spawn(serve(connection));
    tokio::time::pause();
    tokio::time::advance(PAUSE.0).await;
    tokio::time::resume();
    assert_eq!(ask(&mut asker, "web.service").await, Ok(properties("notify", "")));
    assert_eq!(ask(&mut asker, "other.service").await, Err(UnitError::Unknown));
    assert_eq!(asker.status(), Status::Connected(socket.display().to_string()));
}

#[tokio::test]
async fn a_silent_systemd_costs_one_timeout_and_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("private");
    systemd(&socket);
    let sockets = vec![Socket::Private(socket.clone())];
    let mut asker = Asker::with(sockets, Duration::from_millis(200), CancellationToken::new());
    let reason = UnitError::Unreachable(format!("no answer from {} in 200ms", socket.display()));
    assert_eq!(ask(&mut asker, "hang.service").await, Err(reason.clone()));
    // It would answer this one, but is not asked so soon.
    assert_eq!(ask(&mut asker, "web.service").await, Err(reason.clone()));
    assert_eq!(asker.status(), Status::Unreachable(reason.to_string()));
}

#[tokio::test]
async fn a_socket_that_nobody_serves_or_that_never_speaks_is_unreachable() {
    let directory = tempfile::tempdir().unwrap();
    let (dead, mute) = (directory.path().join("dead"), directory.path().join("mute"));
    drop(StdListener::bind(&dead).unwrap());
    let _mute = StdListener::bind(&mute).unwrap();
    for (socket, expected) in [(dead, "Connection refused"), (mute, "no answer from")] {
        let sockets = vec![Socket::Private(socket)];
        let mut asker = Asker::with(sockets, Duration::from_millis(200), CancellationToken::new());
        let Err(UnitError::Unreachable(reason)) = ask(&mut asker, "web.service").await else { panic!() };
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(asker.status(), Status::Unreachable(reason));
    }
}

#[tokio::test]
async fn after_a_socket_that_does_not_answer_the_next_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let (mute, socket) = (directory.path().join("mute"), directory.path().join("private"));
    let _mute = StdListener::bind(&mute).unwrap();
    systemd(&socket);
    let sockets = vec![Socket::Private(mute), Socket::Private(socket.clone())];
    let mut asker = Asker::with(sockets, Duration::from_millis(200), CancellationToken::new());
    let skip = async |pause| {
        tokio::time::pause();
        tokio::time::advance(pause).await;
        tokio::time::resume();
    };
    let Err(UnitError::Unreachable(_)) = ask(&mut asker, "web.service").await else { panic!() };
    skip(PAUSE.0).await;
    assert_eq!(ask(&mut asker, "web.service").await, Ok(properties("notify", "")));
    assert_eq!(asker.status(), Status::Connected(socket.display().to_string()));
    // That one falls silent: the first has its turn again.
    let Err(UnitError::Unreachable(reason)) = ask(&mut asker, "hang.service").await else { panic!() };
    assert!(reason.contains("/private"), "{reason}");
    skip(PAUSE.0).await;
    let Err(UnitError::Unreachable(reason)) = ask(&mut asker, "web.service").await else { panic!() };
    assert!(reason.contains("/mute"), "{reason}");
}

#[tokio::test]
async fn a_socket_that_refuses_or_babbles_is_passed_by_at_once() {
    for words in [&b""[..], b"REJECTED EXTERNAL\r\n", b"SSH-2.0\r\n", b"\n", b"OK 0123\n"] {
        let directory = tempfile::tempdir().unwrap();
        let (refuses, socket) = (directory.path().join("refuses"), directory.path().join("private"));
        babbler(&refuses, words);
        systemd(&socket);
        let sockets = vec![Socket::Bus(refuses), Socket::Private(socket.clone())];
        let mut asker = Asker::with(sockets, TIMEOUT, CancellationToken::new());
        assert_eq!(ask(&mut asker, "web.service").await, Ok(properties("notify", "")), "{words:?}");
    }
}

#[tokio::test]
async fn when_all_refuse_the_first_is_asked_first_again_and_each_reason_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    [&first, &second].into_iter().for_each(|path| drop(StdListener::bind(path).unwrap()));
    let mut sockets = Sockets::new(vec![Socket::Private(first.clone()), Socket::Bus(second)]);
    let mut client = Client::new(sockets.clone(), TIMEOUT, Arc::default());
    let Err(UnitError::Unreachable(reason)) = client.properties("web.service").await else { panic!() };
    assert_eq!(reason.matches("Connection refused").count(), 2, "{reason}");
    assert_eq!(client.sockets.current().unwrap().to_string(), first.display().to_string());
    sockets.turn();
    sockets.turn();
    assert_eq!(sockets.current(), client.sockets.current());
}

#[tokio::test]
async fn a_systemd_that_was_restarted_is_asked_again_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("private");
    systemd(&socket);
    let sockets = Sockets::new(vec![Socket::Private(socket)]);
    let mut client = Client::new(sockets, TIMEOUT, Arc::default());
    assert_eq!(client.properties("web.service").await, Ok(properties("notify", "")));
    client.bus.as_ref().unwrap().close().await;
    assert_eq!(client.properties("web.service").await, Ok(properties("notify", "")));
}

#[tokio::test]
async fn what_is_said_of_one_unit_is_not_said_of_systemd() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("private");
    systemd(&socket);
    let mut client = Client::new(Sockets::new(vec![Socket::Private(socket)]), TIMEOUT, Arc::default());
    for unit in ["other.service", "masked.service", "gone.service", "bad name"] {
        assert_eq!(client.properties(unit).await, Err(UnitError::Unknown), "{unit}");
    }
    let Err(UnitError::Failed(reason)) = client.properties("busy.service").await else { panic!() };
    assert!(reason.contains("EBUSY"), "{reason}");
    assert_eq!(client.properties("web.service").await, Ok(properties("notify", "")), "nobody waits");
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let panics = async { panic!("a line of nonsense") };
    let answer: Result<(), UnitError> = survive(panics).await;
    assert!(matches!(answer, Err(UnitError::Unreachable(_))), "{answer:?}");
    assert_eq!(survive(async { Ok(1) }).await, Ok(1));
}

#[test]
fn a_root_with_two_names_is_asked_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let machine = tempfile::tempdir().unwrap();
    std::fs::create_dir(machine.path().join("1")).unwrap();
    let asker = || Asker::new(machine.path(), CancellationToken::new()).sockets;
    assert_eq!(asker().len(), 4);
    std::os::unix::fs::symlink("/", machine.path().join("1/root")).unwrap();
    assert_eq!(asker().len(), 2);
}

#[tokio::test]
async fn without_a_socket_the_status_says_where_it_was_looked_for() {
    let socket = PathBuf::from("/nonexistent/private");
    let mut asker = Asker::with(vec![Socket::Private(socket.clone())], TIMEOUT, CancellationToken::new());
    let reason = "no systemd or D-Bus socket (tried /nonexistent/private)".to_owned();
    assert_eq!(ask(&mut asker, "web.service").await, Err(UnitError::Absent(reason.clone())));
    assert_eq!(asker.status(), Status::Absent(reason));
}

#[tokio::test]
async fn a_full_queue_hands_the_question_back() {
    let mut asker = Asker::with(Vec::new(), TIMEOUT, CancellationToken::new());
    for _ in 0..QUEUE {
        asker.ask(unit("web.service")).unwrap();
    }
    assert_eq!(asker.fill(), QueueFill { depth: QUEUE, capacity: QUEUE });
    assert_eq!(asker.ask(unit("web.service")), Err(unit("web.service")));
}
