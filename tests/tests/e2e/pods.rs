//! Labels and owners of pods: real containers of a real containerd, and a stand-in for the kubelet that describes them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sonde_tests::containerd::Containerd;
use sonde_tests::cri::PodSpec;
use sonde_tests::product::Sonde;
use sonde_tests::promql::unix_seconds;
use sonde_tests::skip::Need;
use sonde_tests::tsdb::{Kind, Tsdb};
use sonde_tests::{http_server, require, wait};

use crate::support::TRAFFIC;

const TOKEN: &str = "a-token-of-the-node";

fn pod(name: &str, owner: Value, labels: Value) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "shop", "labels": labels, "ownerReferences": owner },
        "spec": { "nodeName": "node-7" },
        "status": { "phase": "Running" },
    })
}

fn made_by(kind: &str, name: &str) -> Value {
    json!([{ "kind": "Other", "name": "not-this" }, { "kind": kind, "name": name, "controller": true }])
}

/// The pod of a run of a cronjob that was planned for this minute, and its job.
fn run_of_backup() -> (String, String) {
    let minute = (unix_seconds() / 60.0).floor();
    (format!("backup-{minute}-abcde"), format!("backup-{minute}"))
}

/// The list of the node's pods.
fn pods(run: &(String, String)) -> Value {
    let hash = "7d4b9c6f58";
    json!({ "kind": "PodList", "items": [
        pod(
            "web-7d4b9c6f58-x2x7z",
            made_by("ReplicaSet", "web-7d4b9c6f58"),
            json!({ "team": "shop", "app.kubernetes.io/name": "web\"1\"", "pod-template-hash": hash, "other": "no" }),
        ),
        pod(&run.0, made_by("Job", &run.1), json!({})),
        pod("bare", json!([]), json!({ "team": "ops" })),
    ]})
}

/// A kubelet that lists pods for who has the token; it keeps the first lines of what it was asked.
fn kubelet(list: Value, asked: Arc<Mutex<Vec<String>>>) -> std::net::SocketAddr {
    http_server::serve(move |head| {
        let line = head.lines().next().unwrap_or_default().to_owned();
        asked.lock().expect("no one panics with it").push(line.clone());
        let has_token = head.to_lowercase().contains(&format!("authorization: bearer {TOKEN}\r\n"));
        match line.as_str() {
            _ if !has_token => Err(401),
            "GET /pods HTTP/1.1"
            | "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dnode-7&resourceVersion=0 HTTP/1.1" => {
                Ok(list.to_string())
            }
            _ => Err(404),
        }
    })
}

/// Waits until Prometheus shows the pods of these names as the list describes them.
fn expect_labels_and_owners(agent: &Sonde, names: &[&str; 4]) {
    let prometheus = Tsdb::start(Kind::PrometheusScraping(agent.address()));
    let info = |id: &str, pod: &str, app: &str, labels: &str| {
        let series = format!(
            "container_kubernetes_info{{container_id=\"{id}/main\",app_id=\"{app}\",namespace=\"shop\",\
             pod=\"{pod}\",container=\"main\",node=\"node-7\",{labels}}}"
        );
        (series, 1.0)
    };
    prometheus.promql().expect(&[
        info(
            "/k8s/shop/web-7d4b9c6f58-x2x7z",
            names[0],
            "/k8s/shop/web",
            "owner_kind=\"Deployment\",owner_name=\"web\",label_team=\"shop\",\
             label_app_kubernetes_io_name=\"web\\\"1\\\"\",label_other=\"\"",
        ),
        info(
            "/k8s-cronjob/shop/backup",
            names[1],
            "",
            "owner_kind=\"CronJob\",owner_name=\"backup\",label_team=\"\"",
        ),
        info("/k8s/shop/bare", names[2], "", "owner_kind=\"\",owner_name=\"\",label_team=\"ops\""),
        // Three containers and the sandboxes of their pods; the pod that nobody lists has no such series.
        ("count(container_kubernetes_info{container!=\"\"})".to_owned(), 3.0),
        ("absent(container_kubernetes_info{pod=\"unlisted\"})".to_owned(), 1.0),
        ("container_info{container_id=\"/k8s/shop/unlisted/main\"}".to_owned(), 1.0),
    ]);
}

#[test]
fn pods_have_their_labels_and_owners() {
    require!(
        Need::Root,
        Need::Tool("containerd"),
        Need::Tool("ctr"),
        Need::Tool("runc"),
        Need::Tool("curl"),
        Need::File("/bin/busybox"),
        Need::Tool("prometheus")
    );
    let containerd = Containerd::start(Path::new(TRAFFIC));
    let cri = containerd.cri();
    let uid = |number: u32| format!("{number}a1f5c3e-0b6d-4f3a-9c1e-2d3b4a5c6d7e");
    let run = run_of_backup();
    let names = ["web-7d4b9c6f58-x2x7z", &run.0, "bare", "unlisted"];
    let uids = [1, 2, 3, 4].map(uid);
    let _pods: Vec<_> = names
        .iter()
        .zip(&uids)
        .map(|(name, uid)| {
            cri.run(PodSpec { name, namespace: "shop", uid, labelled: true }, "main", containerd.image())
        })
        .collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = kubelet(pods(&run), Arc::clone(&asked));
    let directory = tempfile::tempdir().expect("create a directory");
    let token = directory.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).expect("write a token");
    let agent = |flags: &[(&str, String)]| {
        let agent = Sonde::agent()
            .with("--runtime-socket", format!("cri={}", containerd.socket().display()))
            .with("--kubernetes-token", &token)
            .with("--kubernetes-label", "team")
            .with("--kubernetes-label", "app.kubernetes.io/name");
        flags.iter().fold(agent, |agent, (flag, value)| agent.with(flag, value)).start()
    };
    let by_kubelet = agent(&[("--kubelet", format!("http://{server}"))]);
    let by_api = agent(&[
        ("--kubernetes-api", format!("http://{server}/")),
        ("--kubernetes-node", "node-7".to_owned()),
    ]);
    for agent in [&by_kubelet, &by_api] {
        expect_labels_and_owners(agent, &names);
    }
    let asked = asked.lock().expect("no one panics with it").clone();
    assert!(asked.iter().any(|line| line.starts_with("GET /pods ")), "{asked:?}");
}

#[test]
fn a_kubelet_that_refuses_costs_the_labels_and_nothing_else() {
    require!(Need::Root);
    let asked = Arc::default();
    let server = kubelet(json!({}), Arc::clone(&asked));
    let agent = Sonde::agent().with("--kubelet", format!("http://{server}")).start();
    wait::until("the refusal in /status", || {
        let status = agent.status().to_string();
        let is_told = status.contains("401") && status.contains(&format!("http://{server}/pods"));
        wait::ensure(is_told, || status)
    });
    assert!(agent.metrics().expect("scrape").select("container_kubernetes_info", &[]).is_empty());
    assert_eq!(
        *asked.lock().expect("no one panics with it"),
        ["GET /pods HTTP/1.1"],
        "it is asked again later"
    );
}
