//! The machine itself: what the kernel's own files say, and exact numbers on a machine of the test's own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType};
use sonde_tests::exposition::Exposition;
use sonde_tests::product::{Expected, Sonde};
use sonde_tests::skip::Need;
use sonde_tests::stand_in::StandIn;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{http, http_server, require, wait};

/// An agent that watches `host` and nothing else.
#[track_caller]
pub fn agent_of(host: &StandIn) -> Sonde {
    Sonde::agent()
        .with("--proc-root", host.proc_root())
        .with("--probe", "tcp=off")
        .with("--probe", "process=off")
        .with("--probe", "cgroup=off")
        .start()
}

/// A snapshot that begins after the call.
#[track_caller]
pub fn fresh(agent: &Sonde) -> Exposition {
    let uptime = fs::read_to_string("/proc/uptime").expect("read uptime");
    let after: f64 = uptime.split_whitespace().next().expect("a value").parse().expect("a number");
    wait::until("a snapshot from now on", || {
        let metrics = agent.metrics()?;
        anyhow::ensure!(metrics.value("node_uptime_seconds", &[])? > after, "it is older");
        Ok(metrics)
    })
}

/// The word after `key` in a file of `/proc`.
fn word(file: &str, key: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{file}")).expect("read a file of /proc");
    let mut words = text.split([' ', '\n', '=', '\t']).filter(|word| !word.is_empty());
    words.find(|word| *word == key).unwrap_or_else(|| panic!("{file} has no {key}"));
    words.next().expect("a value follows").parse().expect("it is a number")
}

fn total(file: &str, kind: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/pressure/{file}")).expect("read a file of /proc/pressure");
    let line = text.lines().find(|line| line.starts_with(kind)).expect("the file has the kind");
    line.rsplit_once("total=").expect("a total").1.parse::<f64>().expect("a number") / 1e6
}

/// Counters that only grow: what the agent shows lies between what the kernel says before and after.
fn counters() -> Vec<Expected<'static>> {
    let page = rustix::param::page_size() as f64;
    let mut counters: Vec<(_, &[_], _)> = vec![
        ("node_context_switches_total", &[], word("stat", "ctxt")),
        ("node_forks_total", &[], word("stat", "processes")),
        ("node_oom_kills_total", &[], word("vmstat", "oom_kill")),
        ("node_resources_memory_major_page_faults_total", &[], word("vmstat", "pgmajfault")),
        ("node_resources_swap_in_bytes_total", &[], word("vmstat", "pswpin") * page),
        ("node_resources_swap_out_bytes_total", &[], word("vmstat", "pswpout") * page),
    ];
    if fs::File::open("/proc/pressure/cpu").is_ok_and(|mut file| file.read(&mut [0]).is_ok()) {
        counters.extend([
            (
                "node_resources_cpu_pressure_waiting_seconds_total",
                [("kind", "some")].as_slice(),
                total("cpu", "some"),
            ),
            (
                "node_resources_memory_pressure_waiting_seconds_total",
                &[("kind", "some")],
                total("memory", "some"),
            ),
            (
                "node_resources_memory_pressure_waiting_seconds_total",
                &[("kind", "full")],
                total("memory", "full"),
            ),
            ("node_resources_io_pressure_waiting_seconds_total", &[("kind", "some")], total("io", "some")),
            ("node_resources_io_pressure_waiting_seconds_total", &[("kind", "full")], total("io", "full")),
        ]);
    }
    counters
}

/// Numbers that stay as they are for seconds or for ever.
fn steady() -> Vec<(&'static str, f64)> {
    let load = fs::read_to_string("/proc/loadavg").expect("read loadavg");
    let load: Vec<f64> = load.split(' ').take(3).map(|word| word.parse().expect("a number")).collect();
    let files = fs::read_to_string("/proc/sys/fs/file-nr").expect("read file-nr");
    let limit = files.split_whitespace().nth(2).expect("a limit").parse().expect("a number");
    vec![
        ("node_load1", load[0]),
        ("node_load5", load[1]),
        ("node_load15", load[2]),
        ("node_filefd_maximum", limit),
        ("node_resources_swap_total_bytes", word("meminfo", "SwapTotal:") * 1024.0),
        ("node_resources_swap_free_bytes", word("meminfo", "SwapFree:") * 1024.0),
        ("node_resources_memory_commit_limit_bytes", word("meminfo", "CommitLimit:") * 1024.0),
    ]
}

#[test]
fn load_swap_and_pressure_are_the_kernels() {
    require!(Need::Root);
    let agent = Sonde::agent().start();
    let before = counters();
    let metrics = fresh(&agent);
    for ((name, labels, low), (.., high)) in before.into_iter().zip(counters()) {
        let seen = metrics.value(name, labels).expect(name);
        assert!(
            (low..=high).contains(&seen),
            "{name} is {seen}, the kernel said {low} before and {high} after"
        );
    }
    wait::until("a snapshot during which nothing changed", || {
        let before = steady();
        let metrics = fresh(&agent);
        wait::equal(steady(), before.clone())?;
        let seen = before.iter().map(|(name, _)| (*name, metrics.value(name, &[]).expect(name)));
        wait::equal(seen.collect::<Vec<_>>(), before)
    });
    let root = [("mount_point", "/")];
    let size = rustix::fs::statvfs("/").map(|answer| answer.f_blocks * answer.f_frsize).expect("ask /");
    let shown = fresh(&agent).value("node_resources_filesystem_size_bytes", &root).expect("the root's size");
    assert_eq!(shown, size as f64);
}

#[test]
fn sockets_and_protocol_errors_are_counted_exactly() {
    require!(Need::Root, Need::Tool("ip"), Need::Tool("prometheus"));
    const FULL: usize = 3;
    let host = StandIn::new();
    let agent = agent_of(&host);
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let held = host.inside(|| {
        let listeners: Vec<_> =
            (0..5).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen")).collect();
        let listeners6: Vec<_> =
            (0..2).map(|_| TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("listen")).collect();
        let address = listeners[0].local_addr().expect("an address");
        // Three that stay, two that the client closes first: these wait.
        let mut pairs: Vec<_> = (0..5)
            .map(|_| {
                (TcpStream::connect(address).expect("connect"), listeners[0].accept().expect("accept").0)
            })
            .collect();
        for (client, mut server) in pairs.split_off(3) {
            drop(client);
            assert_eq!(server.read(&mut [0]).expect("read the end"), 0);
        }
        let udp: Vec<_> = (0..4).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind")).collect();
        let udp6: Vec<_> = (0..3).map(|_| UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind")).collect();
        let to = udp[1].local_addr().expect("an address");
        for _ in 0..7 {
            udp[0].send_to(b"seven", to).expect("send");
        }
        let nobody = (Ipv4Addr::LOCALHOST, 9);
        for _ in 0..6 {
            udp[2].send_to(b"six", nobody).expect("send");
        }
        for _ in 0..2 {
            TcpStream::connect((Ipv4Addr::LOCALHOST, 1)).expect_err("nobody listens");
        }
        (listeners, listeners6, pairs, udp, udp6, overflow(FULL))
    });
    let of = |protocol: &'static str| [("protocol", protocol)];
    let v4 = [("family", "ipv4")];
    let full = FULL as f64;
    // Listeners and both ends of connections; the full listener with its one connection.
    agent.expect(&[
        ("node_net_sockets_in_use", &of("tcp"), 5.0 + 6.0 + 3.0),
        ("node_net_sockets_in_use", &of("tcp6"), 2.0),
        ("node_net_sockets_in_use", &of("udp"), 4.0),
        ("node_net_sockets_in_use", &of("udp6"), 3.0),
        ("node_net_tcp_time_wait_sockets", &[], 2.0),
        ("node_net_udp_datagrams_sent_total", &v4, 13.0),
        ("node_net_udp_unwanted_total", &v4, 6.0),
        ("node_net_udp_datagrams_sent_total", &[("family", "ipv6")], 0.0),
        ("node_net_tcp_resets_sent_total", &[], 2.0),
        ("node_net_tcp_failed_handshakes_total", &[], 2.0),
        ("node_net_tcp_listen_overflows_total", &[], full),
        ("node_net_tcp_listen_drops_total", &[], full),
        ("node_net_tcp_segments_retransmitted_total", &[], 0.0),
    ]);
    prometheus.promql().expect(&[
        ("node_net_sockets_in_use{protocol=\"tcp\"}".to_owned(), 14.0),
        ("node_net_tcp_listen_overflows_total".to_owned(), full),
    ]);
    drop(held);
    agent.expect(&[
        ("node_net_sockets_in_use", &of("udp"), 0.0),
        ("node_net_sockets_in_use", &of("tcp6"), 0.0),
    ]);
}

/// A listener whose queue holds one connection and is full; `more` connections were dropped by it.
fn overflow(more: usize) -> (std::os::fd::OwnedFd, TcpStream) {
    let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("bind");
    rustix::net::listen(&listener, 0).expect("listen");
    let address = rustix::net::getsockname(&listener).expect("an address");
    let address = SocketAddr::try_from(address).expect("an IP address");
    let first = TcpStream::connect(address).expect("connect");
    for _ in 0..more {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        rustix::io::ioctl_fionbio(&socket, true).expect("do not block");
        // The kernel sends one SYN at once; closed before its second, the socket leaves it at that.
        let refused = rustix::net::connect(&socket, &address);
        assert_eq!(refused, Err(rustix::io::Errno::INPROGRESS));
    }
    (listener, first)
}

#[test]
fn the_fill_of_connection_tracking_is_exact() {
    require!(Need::Root, Need::Tool("nft"));
    let mut host = StandIn::new();
    host.run(
        "nft add table inet t && nft 'add chain inet t c { type filter hook output priority 0; }' \
         && nft add rule inet t c ct state new accept",
    );
    let agent = agent_of(&host);
    agent.expect(&[("node_nf_conntrack_entries", &[], 0.0)]);
    let _flows = host.inside(|| {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let to = server.local_addr().expect("an address");
        let client = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let clients: Vec<_> = (0..11).map(client).collect();
        for client in &clients {
            client.send_to(b"new", to).expect("send");
        }
        (server, clients)
    });
    let limit = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").expect("read the limit");
    agent.expect(&[
        ("node_nf_conntrack_entries", &[], 11.0),
        ("node_nf_conntrack_entries_limit", &[], limit.trim().parse().expect("a number")),
        ("node_nf_conntrack_drops_total", &[("reason", "drop")], 0.0),
        ("node_nf_conntrack_drops_total", &[("reason", "early_drop")], 0.0),
    ]);
}

#[test]
fn drops_of_interfaces_are_counted_exactly() {
    require!(Need::Root, Need::Tool("ip"));
    let mut host = StandIn::new();
    // What is longer than the other end takes is dropped by both, each counting it.
    host.run(
        "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
         && ip link add eth0 address 02:00:00:00:00:01 type veth peer name eth1 address 02:00:00:00:00:02 \
         && ip link set eth1 mtu 1000 && ip address add 10.9.0.1/24 dev eth0 \
         && ip link set eth0 up && ip link set eth1 up \
         && ip neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent",
    );
    let agent = agent_of(&host);
    host.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::new(10, 9, 0, 1), 0)).expect("bind");
        for _ in 0..9 {
            socket.send_to(&[0; 1200], (Ipv4Addr::new(10, 9, 0, 2), 9)).expect("send");
        }
    });
    let (eth0, eth1) = ([("interface", "eth0")], [("interface", "eth1")]);
    agent.expect(&[
        ("node_net_transmitted_drops_total", &eth0, 9.0),
        ("node_net_received_drops_total", &eth1, 9.0),
        ("node_net_transmitted_drops_total", &eth1, 0.0),
        ("node_net_received_errors_total", &eth0, 0.0),
        ("node_net_transmitted_errors_total", &eth0, 0.0),
        ("node_net_interface_up", &eth0, 1.0),
        ("node_net_interface_speed_bytes", &eth0, 1.25e9),
        ("node_net_interface_ip", &[("interface", "eth0"), ("ip", "10.9.0.1")], 1.0),
    ]);
    host.run("ip link set eth1 down");
    agent.expect(&[("node_net_interface_up", &eth0, 0.0)]);
}

#[test]
fn file_systems_are_measured_and_one_that_hangs_stops_nobody() {
    require!(Need::Root, Need::Tool("mkfs.ext4"), Need::File("/dev/loop-control"), Need::File("/dev/fuse"));
    const MIB: f64 = 1048576.0;
    let mut host = StandIn::new();
    let directory = host.directory().to_owned();
    let [memory, disk, share] = ["memory", "a disk", "share"].map(|name| directory.join(name));
    for path in [&memory, &disk, &share] {
        fs::create_dir(path).expect("create a mount point");
    }
    let image = directory.join("image");
    fs::File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("create an image");
    host.run(&format!(
        "mount -t tmpfs -o size=1m,nr_inodes=100 memory {memory} && mkfs.ext4 -q -m 10 {image} \
         && mount -o loop {image} '{disk}' && exec 9<>/dev/fuse \
         && mount -i -t fuse -o fd=9,rootmode=040000,user_id=0,group_id=0 hanging {share}",
        memory = memory.display(),
        image = image.display(),
        disk = disk.display(),
        share = share.display()
    ));
    let agent = agent_of(&host);
    let mut file = fs::File::create(host.path(&memory).join("file")).expect("create a file");
    file.write_all(&[1; 300 * 1024]).expect("write a file");
    let labels = |path: &std::path::Path| path.display().to_string();
    let (memory_at, disk_at, share_at) = (labels(&memory), labels(&disk), labels(&share));
    let memory_labels = [("mount_point", memory_at.as_str()), ("device", "memory"), ("fstype", "tmpfs")];
    let disk_labels = [("mount_point", disk_at.as_str()), ("fstype", "ext4")];
    let share_labels = [("mount_point", share_at.as_str()), ("device", "hanging"), ("fstype", "fuse")];
    let ext4 = rustix::fs::statvfs(host.path(&disk)).expect("ask the disk");
    let bytes = |blocks: u64| (blocks * ext4.f_frsize) as f64;
    assert!(ext4.f_bavail < ext4.f_bfree, "some is reserved");
    agent.expect(&[
        ("node_resources_filesystem_size_bytes", &memory_labels, MIB),
        ("node_resources_filesystem_free_bytes", &memory_labels, MIB - 300.0 * 1024.0),
        ("node_resources_filesystem_inodes", &memory_labels, 100.0),
        ("node_resources_filesystem_inodes_free", &memory_labels, 98.0),
        ("node_resources_filesystem_read_only", &memory_labels, 0.0),
        ("node_resources_filesystem_size_bytes", &disk_labels, bytes(ext4.f_blocks)),
        ("node_resources_filesystem_free_bytes", &disk_labels, bytes(ext4.f_bfree)),
        ("node_resources_filesystem_available_bytes", &disk_labels, bytes(ext4.f_bavail)),
        ("node_resources_filesystem_inodes_free", &disk_labels, ext4.f_ffree as f64),
        ("node_resources_filesystem_read_only", &share_labels, 0.0),
        ("sonde_agent_node_hidden", &[("kind", "filesystem"), ("reason", "hanging")], 1.0),
    ]);
    host.run(&format!("mount -o remount,ro '{}'", disk.display()));
    agent.expect(&[("node_resources_filesystem_read_only", &disk_labels, 1.0)]);

    // Nobody waits for it, nor, once its question counts as unanswered, for what is to be asked after it.
    let left_alone =
        format!("a file system does not answer; it has no series until it does mount_point={share_at:?}");
    wait::until("the file system to be left alone", || {
        agent.metrics().map_err(|error| format!("{error:#}"))?;
        let log = agent.log();
        wait::ensure(log.contains(&left_alone), || log)
    });
    let metrics = fresh(&agent);
    let size = |labels: &[(&str, &str)]| metrics.value("node_resources_filesystem_size_bytes", labels);
    assert_eq!(size(&memory_labels).expect("its size"), MIB);
    assert!(size(&share_labels).is_err(), "it has not answered");
    // Its server ends: every question is answered, by an error.
    host.run("exec 9>&-");
    agent.expect(&[
        ("sonde_agent_node_hidden", &[("kind", "filesystem"), ("reason", "hanging")], 0.0),
        ("sonde_agent_node_hidden", &[("kind", "filesystem"), ("reason", "failed")], 1.0),
    ]);
}

/// A sysfs whose firmware says this.
fn firmware(directory: &std::path::Path, strings: &[(&str, &str)]) -> std::path::PathBuf {
    let sys = directory.join("sys");
    let table = sys.join("class/dmi/id");
    fs::create_dir_all(&table).expect("create a table");
    for (name, value) in strings {
        fs::write(table.join(name), value).expect("write a string");
    }
    sys
}

fn hetzner(request: &str) -> Option<&'static str> {
    Some(match request.strip_prefix("GET /hetzner/v1/metadata/")?.strip_suffix(" HTTP/1.1")? {
        "instance-id" => "4711",
        "region" => "eu-central",
        "availability-zone" => "fsn1-dc14",
        "private-networks" => "- ip: 10.0.0.2\n  alias_ips: []\n  interface_num: 1\n",
        "public-ipv4" => "203.0.113.7",
        _ => return None,
    })
}

#[test]
fn the_cloud_labels_the_node_and_its_containers() {
    require!(Need::Root, Need::Tool("prometheus"));
    let service = http_server::serve(|head| {
        let answer = hetzner(head.lines().next().unwrap_or_default());
        answer.map(str::to_owned).ok_or(404)
    });
    let prometheus = Tsdb::start(Kind::Prometheus);
    let directory = tempfile::tempdir().expect("create a directory");
    let agent = Sonde::agent()
        .with(
            "--sys-root",
            firmware(directory.path(), &[("sys_vendor", "Hetzner\n"), ("product_name", "vServer\n")]),
        )
        .with("--cloud-metadata-url", format!("http://{service}"))
        .with("--instance-type", "cx22")
        .with("--remote-write", prometheus.remote_write())
        .start();
    let info = "node_cloud_info{provider=\"hetzner\",instance_id=\"4711\",instance_type=\"cx22\",region=\"eu-central\",\
                availability_zone=\"fsn1-dc14\",public_ipv4=\"203.0.113.7\",account_id=\"\",local_ipv4=\"10.0.0.2\"}";
    prometheus.promql().expect(&[(info.to_owned(), 1.0)]);
    let metrics = wait::until("containers to carry the zone", || {
        let metrics = agent.metrics()?;
        let labelled = metrics.select(
            "container_resources_cpu_delay_seconds_total",
            &[("az", "fsn1-dc14"), ("region", "eu-central")],
        );
        anyhow::ensure!(!labelled.is_empty(), "no such series");
        Ok(metrics)
    });
    for sample in &metrics.samples {
        let is_of_container = sample.labels.contains_key("container_id");
        let az = sample.labels.get("az").map(String::as_str);
        assert_eq!(az, is_of_container.then_some("fsn1-dc14"), "{sample:?}");
    }
    // There never was a series without.
    prometheus.promql().expect(&[(
        "count(last_over_time(container_resources_cpu_delay_seconds_total{az=\"\"}[1h])) or vector(0)"
            .to_owned(),
        0.0,
    )]);
}

#[test]
fn nothing_is_shown_before_the_cloud_has_told_its_zone_or_stayed_silent() {
    require!(Need::Root);
    let directory = tempfile::tempdir().expect("create a directory");
    let sys = firmware(directory.path(), &[("sys_vendor", "Hetzner\n"), ("product_name", "vServer\n")]);
    for answers in [true, false] {
        let released = Arc::new(AtomicBool::new(false));
        let release = released.clone();
        let service = http_server::serve(move |head| {
            wait::until("the test", || {
                wait::ensure(released.load(Ordering::Relaxed), || "it waits".to_owned())
            });
            hetzner(head.lines().next().unwrap_or_default()).map(str::to_owned).ok_or(404)
        });
        let agent = Sonde::agent()
            .with("--sys-root", &sys)
            .with("--cloud-metadata-url", format!("http://{service}"))
            .launch();
        let get = |path| http::get(agent.address(), path, &[]).map_err(|error| format!("{error:#}"));
        wait::until("it to say what it waits for", || {
            let (ready, healthy) = (get("/readyz")?, get("/healthz")?);
            let told = ready.status == 503 && ready.text().contains("cloud");
            wait::ensure(told && healthy.status == 200, || format!("{} {}", ready.status, ready.text()))
        });
        release.store(answers, Ordering::Relaxed);
        wait::until("it to be ready", || wait::equal(get("/readyz")?.status, 200));
        let metrics = agent.metrics().expect("scrape");
        let of_containers = metrics.select("container_resources_cpu_delay_seconds_total", &[]);
        let with_zone = metrics.select("container_resources_cpu_delay_seconds_total", &[("az", "fsn1-dc14")]);
        assert!(!of_containers.is_empty());
        assert_eq!(with_zone.len(), if answers { of_containers.len() } else { 0 });
        // Its thread ends.
        release.store(true, Ordering::Relaxed);
    }
}

#[test]
fn without_a_provider_no_request_leaves_the_machine() {
    require!(Need::Root, Need::Tool("strace"));
    let directory = tempfile::tempdir().expect("create a directory");
    let trace = directory.path().join("trace");
    let file = trace.to_str().expect("the path is text");
    let strace = ["strace", "-f", "-D", "-o", file, "-e", "trace=connect,sendto,sendmsg"];
    let agent = Sonde::agent()
        .with("--sys-root", firmware(directory.path(), &[("sys_vendor", "Dell Inc.\n")]))
        .behind(&strace)
        .start();
    let status = agent.status();
    let absent = status["absent"].as_array().expect("reasons");
    let reason = absent.iter().find(|entry| entry["metric"] == "node_cloud_info").expect("a reason");
    assert_eq!(reason["reason"], "the firmware (DMI) names no cloud provider that is known");
    assert!(agent.metrics().expect("scrape").select("node_cloud_info", &[]).is_empty());
    let trace = fs::read_to_string(&trace).expect("read the trace");
    let is_foreign =
        |line: &&str| line.contains("sin_addr") && !line.contains("\"127.") && !line.contains("\"0.0.0.0\"");
    // The address of the default route is asked of the kernel by a socket of datagrams, which sends nothing.
    let foreign: Vec<&str> =
        trace.lines().filter(is_foreign).filter(|line| !line.contains("htons(9)")).collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
}
