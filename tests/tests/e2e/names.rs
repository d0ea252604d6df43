//! Whose a cgroup is: trees of every driver on v1 and v2, names that come late, systemd that is silent.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use sonde_tests::cgroup::{PathCgroup, Version};
use sonde_tests::process::{Process, free_address, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, serve, traffic};

const UID: &str = "8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e";
/// The allocation of a task of Nomad.
fn allocation(of: u32) -> String {
    format!("5d16ac2a-9eb6-1b93-4d5e-4f2b0c1d{of:04x}")
}

/// An id that no other test has at the same time.
fn id(number: u32) -> String {
    format!("{:08x}{number:04x}{:052x}", std::process::id(), 0)
}

/// Paths as runtimes make them, with the `container_id` each has to get without anybody to ask. Those of one number are
/// others than those of another one, so that tests do not meet.
pub fn shapes(of: u32) -> Vec<(String, String)> {
    let uid = UID.replace('-', "_");
    let burstable = format!("kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice");
    let id = |number| id(of * 100 + number);
    let short = |runtime: &str, number| format!("/{runtime}/{}", &id(number)[..12]);
    let allocation = allocation(of);
    vec![
        (format!("kubepods/burstable/pod{UID}/{}", id(1)), short("kubepods", 1)),
        (format!("kubepods.slice/{burstable}/cri-containerd-{}.scope", id(2)), short("containerd", 2)),
        (format!("kubepods.slice/{burstable}/crio-{}.scope", id(3)), short("crio", 3)),
        (format!("docker/{}/kubepods/besteffort/pod{UID}/{}", id(9), id(4)), short("kubepods", 4)),
        (format!("machine.slice/libpod-{}.scope/container", id(5)), short("podman", 5)),
        (
            format!("nomad.slice/share.slice/{allocation}.web.scope"),
            format!("/nomad/prod/shop/front/{allocation}/web"),
        ),
        (format!("lxc.payload.sonde-{of}/system.slice/nginx.service"), format!("/lxc/sonde-{of}")),
        (
            format!("system.slice/sonde-shape{of}.service/worker"),
            format!("/system.slice/sonde-shape{of}.service"),
        ),
        (
            format!("system.slice/sonde-shape{of}@7-10.0.0.1:22-10.0.0.2:51234.service"),
            format!("/system.slice/sonde-shape{of}@.service"),
        ),
        (
            format!("machine.slice/machine-sonde\\x2dshape{of}.scope/payload"),
            format!("/nspawn/sonde-shape{of}"),
        ),
    ]
}

/// The group of the owner, around those that the owner has made in it.
pub fn own_group(path: &str) -> &str {
    let inner = ["/container", "/worker", "/payload", "/system.slice/nginx.service"];
    inner.into_iter().find_map(|inner| path.strip_suffix(inner)).unwrap_or(path)
}

/// The environment of a task of Nomad.
pub fn nomad(of: u32) -> [(&'static str, String); 5] {
    [
        ("NOMAD_ALLOC_ID", allocation(of)),
        ("NOMAD_JOB_NAME", "shop".to_owned()),
        ("NOMAD_GROUP_NAME", "front".to_owned()),
        ("NOMAD_TASK_NAME", "web".to_owned()),
        ("NOMAD_NAMESPACE", "prod".to_owned()),
    ]
}

/// Connects as often as the shape's number says, each from its own group.
fn exercise(version: Version, of: u32) {
    let directory = tempfile::tempdir().expect("create a directory");
    let prometheus = Tsdb::start(Kind::Prometheus);
    let _agent = Sonde::agent().with("--remote-write", prometheus.remote_write()).start();
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    let mut expected = Vec::new();
    let mut running = Vec::new();
    for (number, (path, container_id)) in shapes(of).into_iter().enumerate() {
        let Some(group) = PathCgroup::new(version, &path) else { return };
        let connects = number + 1;
        let mut command = group.command(TRAFFIC);
        command.args(["hold", &address, &connects.to_string()]);
        command.envs(nomad(of));
        let process = Process::start_with_input("client", command, directory.path());
        let labels = format!("{{container_id=\"{container_id}\",destination=\"{address}\"}}");
        let count = connects as f64;
        expected.push((format!("container_net_tcp_successful_connects_total{labels}"), count));
        expected.push((format!("container_net_tcp_active_connections{labels}"), count));
        // Dropped in this order: the process, then its group.
        running.push((process, group));
    }
    let all = format!("count(container_net_tcp_active_connections{{destination=\"{address}\"}})");
    expected.push((all, expected.len() as f64 / 2.0));
    prometheus.promql().expect(&expected);
}

#[test]
fn every_shape_of_a_cgroup_has_its_name_on_v1() {
    require!(Need::Root, Need::Tool("prometheus"), Need::File("/sys/fs/cgroup/memory/tasks"));
    exercise(Version::V1, 1);
}

#[test]
fn every_shape_of_a_cgroup_has_its_name_on_v2() {
    require!(Need::Root, Need::Tool("prometheus"));
    exercise(Version::V2, 2);
}

/// Answers as Docker does about one container called `web`, until the listener is closed.
fn docker(listener: &UnixListener, id: &str) {
    while let Ok((mut stream, _)) = listener.accept() {
        let request = read_head(&mut stream);
        let (status, body) = match request.split(' ').nth(1).unwrap_or_default() {
            path if path.ends_with("/version") => ("200 OK", r#"{"ApiVersion":"1.41"}"#.to_owned()),
            path if path.contains(id) => {
                ("200 OK", format!(r#"{{"Id":"{id}","Name":"/web","Config":{{"Image":"web:1"}}}}"#))
            }
            _ => ("404 Not Found", r#"{"message":"no such container"}"#.to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // Whoever hung up asks again.
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    }
}

fn read_head(stream: &mut UnixStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[test]
fn a_late_name_takes_over_and_the_series_of_the_id_end() {
    require!(Need::Root, Need::Tool("prometheus"));
    let directory = tempfile::tempdir().expect("create a directory");
    let socket = directory.path().join("docker.sock");
    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent()
        .with("--remote-write", prometheus.remote_write())
        .with("--runtime-socket", format!("docker={}", socket.display()))
        .start();
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    let id = id(1);
    let group = PathCgroup::new(Version::V2, &format!("docker/{id}"))
        .or_else(|| PathCgroup::new(Version::V1, &format!("docker/{id}")));
    let group = group.expect("the machine has cgroups");
    let mut command = group.command(TRAFFIC);
    command.args(["hold", &address, "3"]);
    let client = Process::start_with_input("client", command, directory.path());
    let of = |container: &str| {
        let labels = format!("{{container_id=\"{container}\",destination=\"{address}\"}}");
        format!("container_net_tcp_successful_connects_total{labels}")
    };
    let (unnamed, named) = (of(&format!("/docker/{}", &id[..12])), of("/docker/web"));
    prometheus.promql().expect(&[(unnamed.clone(), 3.0)]);

    let listener = UnixListener::bind(&socket).expect("bind the stand-in's socket");
    std::thread::spawn(move || docker(&listener, &id));
    prometheus.promql().expect(&[
        (named.clone(), 3.0),
        // Without an end Prometheus would show it for five minutes.
        (format!("absent({unnamed})"), 1.0),
    ]);
    agent.expect(&[(
        "container_net_tcp_successful_connects_total",
        &[("container_id", "/docker/web"), ("destination", address.as_str())],
        3.0,
    )]);
    drop(client);
}

#[test]
fn a_silent_systemd_costs_its_labels_and_nothing_else() {
    require!(Need::Root, Need::Tool("unshare"), Need::Tool("mount"));
    let directory = tempfile::tempdir().expect("create a directory");
    let _mute = UnixListener::bind(directory.path().join("private")).expect("bind a socket");
    let script = format!(
        "mkdir -p /run/systemd && mount --bind '{}' /run/systemd && exec \"$0\" \"$@\"",
        directory.path().display()
    );
    let agent = Sonde::agent().behind(&["unshare", "--mount", "sh", "-c", &script]).start();
    let group = PathCgroup::new(Version::V2, "system.slice/sonde-mute.service")
        .or_else(|| PathCgroup::new(Version::V1, "system.slice/sonde-mute.service"))
        .expect("the machine has cgroups");
    let address = free_address().to_string();
    let _server = serve(traffic(&[]), &address, directory.path());
    run(group.command(TRAFFIC).args(["connect", &address, "2"]));
    let labels = [("container_id", "/system.slice/sonde-mute.service"), ("destination", address.as_str())];
    agent.expect(&[("container_net_tcp_successful_connects_total", &labels, 2.0)]);
    wait::until("the state of systemd in /status", || {
        let systemd = agent.status()["names"]["systemd"].clone();
        let reason = systemd["reason"].as_str().unwrap_or_default();
        let is_told = systemd["state"] == "unreachable" && reason.starts_with("no answer from /");
        wait::ensure(is_told, || systemd.to_string())
    });
}
