//! Names of containers: real runtimes, all at once, late, and next to one that hangs.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use sonde_tests::containerd::Containerd;
use sonde_tests::cri::PodSpec;
use sonde_tests::lxc::Lxc;
use sonde_tests::podman::Podman;
use sonde_tests::process::{Process, free_address, product, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{require, wait};

use crate::support::{TRAFFIC, docker, serve, traffic};

const CONNECTS: u32 = 11;
const BURN_MS: &str = "300";

/// A server of the host that containers in the host's network reach.
struct Server {
    address: String,
    _process: Process,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let (address, directory) =
            (free_address().to_string(), tempfile::tempdir().expect("create a directory"));
        let process = serve(traffic(&[]), &address, directory.path());
        Self { address, _process: process, _directory: directory }
    }
}

/// Makes exact traffic in a container by whatever runs a program there.
fn exercise(run: impl Fn(&[&str]) -> String, server: &Server) {
    assert_eq!(run(&["connect", &server.address, &CONNECTS.to_string()]), format!("connected {CONNECTS}"));
    run(&["burn", BURN_MS]);
}

/// What a container has to show under its name after its traffic.
fn series(container_id: &str, image: &str, server: &Server) -> Vec<(String, f64)> {
    let address = &server.address;
    let both = format!("destination=\"{address}\",actual_destination=\"{address}\"");
    vec![
        (format!("container_info{{container_id=\"{container_id}\",image=\"{image}\"}}"), 1.0),
        (
            format!("container_net_tcp_successful_connects_total{{container_id=\"{container_id}\",{both}}}"),
            f64::from(CONNECTS),
        ),
        (
            format!(
                "container_resources_cpu_usage_seconds_total{{container_id=\"{container_id}\"}} >= bool 0.3"
            ),
            1.0,
        ),
    ]
}

fn socket(kind: &str, path: &Path) -> String {
    format!("{kind}={}", path.display())
}

/// Everything of `/status` about one runtime.
fn state_of(agent: &Sonde, endpoint: &Path) -> (String, String) {
    let status = agent.status();
    let runtimes = status["runtimes"].as_array().expect("a list of runtimes");
    let endpoint = endpoint.display().to_string();
    let of_endpoint = runtimes.iter().find(|runtime| runtime["endpoint"] == *endpoint);
    let text =
        |key: &str| of_endpoint.map_or(String::new(), |it| it[key].as_str().unwrap_or_default().to_owned());
    (text("runtime"), text("state"))
}

fn expect_state(agent: &Sonde, endpoint: &Path, runtime: &str, state: &str) {
    let what = format!("{} to be {state}", endpoint.display());
    wait::until(&what, || wait::equal(state_of(agent, endpoint), (runtime.to_owned(), state.to_owned())));
}

/// Waits until a container shows under a label, and is gone from another one.
fn expect_renamed(agent: &Sonde, from: &str, to: &str) {
    wait::until(&format!("{from} to become {to}"), || {
        let metrics = agent.metrics().map_err(|error| format!("{error:#}"))?;
        let named = |id: &str| {
            metrics.samples.iter().any(|sample| sample.labels.get("container_id").is_some_and(|it| it == id))
        };
        wait::equal((named(from), named(to)), (false, true))
    });
}

#[test]
fn containers_of_all_runtimes_at_once_have_their_names() {
    require!(
        Need::Root,
        Need::Tool("containerd"),
        Need::Tool("ctr"),
        Need::Tool("podman"),
        Need::Tool("runc"),
        Need::Tool("dockerd"),
        Need::File("/bin/busybox"),
        Need::Tool("prometheus")
    );
    let (docker, server) = (docker(), Server::start());
    let containerd = Containerd::start(Path::new(TRAFFIC));
    let mut podman = Podman::new(Path::new(TRAFFIC));
    podman.serve();
    // Takes connections into its backlog and never says a word.
    let directory = tempfile::tempdir().unwrap();
    let hanging = directory.path().join("crio.sock");
    let _hangs = UnixListener::bind(&hanging).unwrap();

    let plain = containerd.run("default", &[]);
    let nerdctl = containerd.run("default", &["--label", "nerdctl/name=shop"]);
    let labels = [("pod.name", "web-0"), ("pod.namespace", "shop"), ("container.name", "nginx")]
        .map(|(key, value)| format!("io.kubernetes.{key}={value}"));
    let labels: Vec<_> = labels.iter().flat_map(|label| ["--label", label]).collect();
    let pod = containerd.run("k8s.io", &labels);
    let wordless = podman.run("db");
    let docked = docker.run_image("web", &["--network", "host"], docker.image(), &["wait"]);

    let prometheus = Tsdb::start(Kind::Prometheus);
    let agent = Sonde::agent()
        .with("--remote-write", prometheus.remote_write())
        .with("--runtime-socket", socket("containerd", &containerd.socket()))
        .with("--runtime-socket", socket("podman", &podman.socket()))
        .with("--runtime-socket", socket("cri", &hanging))
        .start();
    for task in [&plain, &nerdctl, &pod] {
        exercise(|arguments| task.traffic(arguments), &server);
    }
    exercise(|arguments| wordless.traffic(arguments), &server);
    exercise(|arguments| docked.traffic(arguments), &server);

    let promql = prometheus.promql();
    let short = format!("/containerd/{}", &plain.id()[..12]);
    promql.expect(&series(&short, containerd.image(), &server));
    promql.expect(&series("/containerd/shop", containerd.image(), &server));
    promql.expect(&series("/k8s/shop/web-0/nginx", containerd.image(), &server));
    promql.expect(&series("/podman/db", podman.image(), &server));
    promql.expect(&series(&docked.id(), docker.image(), &server));
    expect_state(&agent, &containerd.socket(), "containerd", "connected");
    expect_state(&agent, &podman.socket(), "podman", "connected");
    expect_state(&agent, Path::new("/run/docker.sock"), "docker", "connected");
    let metrics = agent.metrics().expect("scrape");
    let described =
        |runtime| metrics.value("sonde_agent_inspections_total", &[("runtime", runtime), ("result", "ok")]);
    let (of_containerd, of_podman) = (described("containerd"), described("podman"));
    assert!(
        of_containerd.expect("a count") >= 3.0 && of_podman.expect("a count") >= 1.0,
        "by who knows them"
    );
}

#[test]
fn containers_of_swarm_and_ecs_have_the_names_of_their_tasks() {
    require!(Need::Root, Need::Tool("dockerd"), Need::File("/bin/busybox"));
    let (docker, server) = (docker(), Server::start());
    let run = |labels: &[(&str, &str)]| {
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("--label={key}={value}")).collect();
        let options: Vec<&str> =
            ["--network=host"].into_iter().chain(labels.iter().map(String::as_str)).collect();
        docker.run_image("task", &options, docker.image(), &["wait"])
    };
    let swarm = |task: &'static str| ("com.docker.swarm.task.name", task);
    let stack = ("com.docker.stack.namespace", "shop");
    let ecs = |cluster: &'static str, family: &'static str, task: &'static str| {
        run(&[
            ("com.amazonaws.ecs.cluster", cluster),
            ("com.amazonaws.ecs.task-definition-family", family),
            ("com.amazonaws.ecs.task-arn", task),
            ("com.amazonaws.ecs.container-name", "nginx"),
        ])
    };
    let cluster = "arn:aws:ecs:eu-west-1:123456789012:cluster/prod";
    let task = "arn:aws:ecs:eu-west-1:123456789012:task/prod/0a1b2c3d4e5f60718293a4b5c6d7e8f9";
    // Containers with the names that they are to have.
    let containers = [
        (run(&[swarm("shop_web.1.k3j4h5g6f7d8s9a0"), stack]), "/swarm/shop/web/1"),
        (run(&[swarm("shop_web.2.q1w2e3r4t5z6u7i8"), stack]), "/swarm/shop/web/2"),
        (run(&[swarm("cache.1.y1x2c3v4b5n6m7a8")]), "/swarm/_/cache/1"),
        (ecs("prod", "shop", task), "/ecs/prod/shop/0a1b2c3d4e5f/nginx"),
        (ecs(cluster, "cart", task), "/ecs/prod/cart/0a1b2c3d4e5f/nginx"),
    ];
    let agent = Sonde::agent().start();
    for (container, _) in &containers {
        exercise(|arguments| container.traffic(arguments), &server);
    }
    for (_, id) in &containers {
        let labels = [("container_id", *id), ("destination", server.address.as_str())];
        let info = [("container_id", *id), ("image", docker.image()), ("app_id", "")];
        agent.expect(&[
            ("container_net_tcp_successful_connects_total", &labels, f64::from(CONNECTS)),
            ("container_info", &info, 1.0),
        ]);
    }
}

#[test]
fn a_container_that_was_there_before_its_runtime_answers_gets_its_name() {
    require!(
        Need::Root,
        Need::Tool("containerd"),
        Need::Tool("ctr"),
        Need::Tool("podman"),
        Need::Tool("runc"),
        Need::File("/bin/busybox")
    );
    let server = Server::start();
    let mut podman = Podman::new(Path::new(TRAFFIC));
    let podman_socket = podman.socket();
    let mut containerd = Containerd::start(Path::new(TRAFFIC));
    let shop = containerd.run("default", &["--label", "nerdctl/name=late-shop"]).leave();
    let db = podman.run("late-db").leave();
    containerd.stop();
    let agent = Sonde::agent()
        .with("--runtime-socket", socket("containerd", &containerd.socket()))
        .with("--runtime-socket", socket("podman", &podman_socket))
        .start();
    let unnamed = [format!("/containerd/{}", &shop[..12]), format!("/podman/{}", &db[..12])];
    podman.traffic(&db, &["connect", &server.address, "3"]);
    let connects = |id: &str, count: f64| {
        let labels = [("container_id", id), ("destination", server.address.as_str())];
        agent.expect(&[("container_net_tcp_successful_connects_total", &labels, count)]);
    };
    connects(&unnamed[1], 3.0);
    wait::until("the container of containerd under its id", || {
        let metrics = agent.metrics()?;
        metrics.value("container_resources_cpu_usage_seconds_total", &[("container_id", &unnamed[0])])
    });

    containerd.resume();
    podman.serve();
    expect_renamed(&agent, &unnamed[0], "/containerd/late-shop");
    expect_renamed(&agent, &unnamed[1], "/podman/late-db");
    podman.traffic(&db, &["connect", &server.address, "4"]);
    connects("/podman/late-db", 7.0);
    containerd.traffic("default", &shop, &["connect", &server.address, "5"]);
    connects("/containerd/late-shop", 5.0);
    // The name stays when the runtime goes.
    containerd.stop();
    connects("/containerd/late-shop", 5.0);
}

#[test]
fn pods_have_the_same_names_by_cri_and_by_containerds_own_api() {
    require!(
        Need::Root,
        Need::Tool("containerd"),
        Need::Tool("ctr"),
        Need::Tool("runc"),
        Need::Tool("curl"),
        Need::File("/bin/busybox")
    );
    let server = Server::start();
    let containerd = Containerd::start(Path::new(TRAFFIC));
    let cri = containerd.cri();
    let pod = |name, uid, labelled| PodSpec { name, namespace: "shop", uid, labelled };
    let web = pod("web-7d4b9c6f58-x2x7z", "8a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e", true);
    let bare = pod("bare", "9b2f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e", false);
    let [web, bare] = [web, bare].map(|pod| cri.run(pod, "nginx", containerd.image()));
    let by = |kind| Sonde::agent().with("--runtime-socket", socket(kind, &containerd.socket())).start();
    let agents = [by("cri"), by("containerd")];
    for pod in [&web, &bare] {
        exercise(|arguments| containerd.traffic("k8s.io", &pod.container, arguments), &server);
    }
    let image = containerd.image();
    for (agent, kind) in agents.iter().zip(["cri", "containerd"]) {
        for (pod, app) in [("web-7d4b9c6f58-x2x7z", "/k8s/shop/web"), ("bare", "")] {
            let id = format!("/k8s/shop/{pod}/nginx");
            let labels =
                [("container_id", id.as_str()), ("destination", server.address.as_str()), ("app_id", app)];
            let info = [("container_id", id.as_str()), ("image", image), ("app_id", app)];
            agent.expect(&[
                ("container_net_tcp_successful_connects_total", &labels, f64::from(CONNECTS)),
                ("container_info", &info, 1.0),
            ]);
            let sandbox = format!("/k8s/shop/{pod}/sandbox");
            let metrics = agent.metrics().expect("the metrics");
            let shown = metrics.select("container_resources_memory_rss_bytes", &[("container_id", &sandbox)]);
            assert!(shown.is_empty(), "the pause container is shown by {kind}: {shown:?}");
        }
        expect_state(agent, &containerd.socket(), kind, "connected");
    }
}

#[test]
fn podman_names_its_containers_without_its_service() {
    require!(Need::Root, Need::Tool("podman"), Need::Tool("runc"), Need::File("/bin/busybox"));
    let server = Server::start();
    let podman = Podman::new(Path::new(TRAFFIC));
    let db = podman.run("listed");
    let agent = Sonde::agent().with("--runtime-socket", socket("podman", &podman.list())).start();
    db.traffic(&["connect", &server.address, "3"]);
    let labels = [("container_id", "/podman/listed"), ("destination", server.address.as_str())];
    let info = [("container_id", "/podman/listed"), ("image", podman.image())];
    agent.expect(&[
        ("container_net_tcp_successful_connects_total", &labels, 3.0),
        ("container_info", &info, 1.0),
    ]);
    expect_state(&agent, &podman.list(), "podman", "connected");
    let given = socket("podman", &podman.list());
    let doctor =
        run(Command::new(product("sonde-agent")).args(["doctor", "--json", "--runtime-socket", &given]));
    let found: serde_json::Value = serde_json::from_str(&doctor).expect("doctor speaks JSON");
    let expected = serde_json::json!({ "runtime": "podman", "endpoint": podman.list() });
    assert!(found["runtimes"].as_array().is_some_and(|all| all.contains(&expected)), "{found}");
    // One that is made later is in the list when it is asked about.
    let later = podman.run("later");
    later.traffic(&["connect", &server.address, "4"]);
    let labels = [("container_id", "/podman/later"), ("destination", server.address.as_str())];
    agent.expect(&[("container_net_tcp_successful_connects_total", &labels, 4.0)]);
}

#[test]
fn containers_of_lxc_have_the_names_of_their_groups() {
    require!(Need::Root, Need::Tool("lxc-start"), Need::File("/bin/busybox"));
    let server = Server::start();
    let agent = Sonde::agent().start();
    let shop = Lxc::start("shop", Path::new(TRAFFIC));
    exercise(|arguments| shop.traffic(arguments), &server);
    let (id, address) = (shop.id(), server.address.as_str());
    let labels = [("container_id", id.as_str()), ("destination", address), ("actual_destination", address)];
    agent.expect(&[("container_net_tcp_successful_connects_total", &labels, f64::from(CONNECTS))]);
    wait::until("its CPU time", || {
        let metrics = agent.metrics().map_err(|error| format!("{error:#}"))?;
        let name = "container_resources_cpu_usage_seconds_total";
        let used = metrics.value(name, &[("container_id", &id)]).map_err(|error| format!("{error:#}"))?;
        wait::ensure(used >= 0.3, || format!("{used} s"))
    });
}
