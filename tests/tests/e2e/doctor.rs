//! `sonde-agent doctor` gives the reasons that the running agent's `/status` gives, in the same words.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use sonde_tests::process::{product, run};
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::{require, wait};

/// Nobody listens there.
const KUBELET: &str = "http://127.0.0.1:1";

/// Metrics of the machine that are absent, with the reasons.
fn of_the_node(said: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let absent = said["absent"].as_array().expect("what is absent").iter();
    let absent = absent.map(|entry| (text(&entry["metric"]), text(&entry["reason"])));
    absent.filter(|(metric, _)| metric.starts_with("node_")).collect()
}

#[test]
fn doctor_and_status_say_the_same() {
    require!(Need::Root);
    let agent = Sonde::agent().with("--kubelet", KUBELET).start();
    let mut status = Value::Null;
    wait::until("the kubelet to be found dead", || {
        agent.metrics().map_err(|error| error.to_string())?;
        status = agent.status();
        wait::ensure(status["names"]["kubernetes"]["state"] == "unreachable", || status["names"].to_string())
    });
    let doctor = |arguments: &[&str]| {
        run(Command::new(product("sonde-agent")).arg("doctor").args(["--kubelet", KUBELET]).args(arguments))
    };
    let said: Value = serde_json::from_str(&doctor(&["--json"])).expect("JSON");
    assert_eq!(said["names"]["kubernetes"], status["names"]["kubernetes"]);
    assert_ne!(said["names"]["systemd"]["state"], "unused", "it was asked for a sign of life");
    let (said_of_node, status_of_node) = (of_the_node(&said), of_the_node(&status));
    assert_eq!(said_of_node, status_of_node);
    assert!(said_of_node.contains_key("node_cloud_info"), "{said_of_node:?}");
    assert_eq!(said["absent_in_part"], status["absent_in_part"]);
    assert_eq!(said["absent_in_part"][1]["of"], "host executables");
    let metrics = said["absent_in_part"][2]["metrics"].to_string();
    assert!(metrics.contains("container_net_tcp_failed_connects_total"), "{metrics}");

    let page = doctor(&[]);
    let reason = status["names"]["kubernetes"]["reason"].as_str().expect("a reason");
    assert!(page.contains(&format!("{:<22} unreachable {reason}", "kubernetes")), "{page}");
    for (metric, reason) in &said_of_node {
        assert!(page.contains(metric) && page.contains(reason), "{metric}: {page}");
    }
}
