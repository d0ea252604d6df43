//! GPUs, by a stand-in for NVIDIA's library: no machine of the tests has one.

use std::path::{Path, PathBuf};
use std::process::Command;

use sonde_tests::process::run;
use sonde_tests::product::Sonde;
use sonde_tests::skip::Need;
use sonde_tests::{require, wait};

use crate::support::docker;

/// Compiles the stand-in.
fn library(directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/nvml.c");
    let library = directory.join("libnvidia-ml.so.1");
    run(Command::new("cc").args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&library).arg(source));
    library
}

fn reason(agent: &Sonde) -> Option<String> {
    let status = agent.status();
    let absent = status["absent"].as_array().expect("reasons").clone();
    let entry = absent.iter().find(|entry| entry["metric"] == "node_gpu_info")?;
    Some(entry["reason"].as_str().expect("a reason is a text").to_owned())
}

#[test]
fn gpus_and_the_containers_that_use_them_are_shown() {
    require!(Need::Root, Need::Tool("cc"), Need::Tool("dockerd"), Need::File("/bin/busybox"));
    let docker = docker();
    let container = docker.run("gpu", &[], &["wait"]);
    let directory = tempfile::tempdir().expect("create a directory");
    let hangs = directory.path().join("hangs");
    let agent = Sonde::agent()
        .with("--gpu-library", library(directory.path()))
        .with_env("SONDE_TEST_GPU_PID", container.pid().to_string())
        .with_env("SONDE_TEST_GPU_HANGS", &hangs)
        .start();
    let id = container.id();
    let first = [("gpu_uuid", "GPU-0")];
    let second = [("gpu_uuid", "GPU-1")];
    let of = |uuid: &'static str| [("container_id", id.as_str()), ("gpu_uuid", uuid)];
    agent.expect(&[
        (
            "node_gpu_info",
            &[("gpu_uuid", "GPU-0"), ("name", "NVIDIA A100"), ("driver_version", "550.54.15")],
            1.0,
        ),
        ("node_gpu_info", &[("gpu_uuid", "GPU-1"), ("name", "NVIDIA T4")], 1.0),
        ("node_resources_gpu_memory_total_bytes", &first, 42_949_672_960.0),
        ("node_resources_gpu_memory_used_bytes", &first, 1_073_741_824.0),
        ("node_resources_gpu_memory_used_bytes", &second, 0.0),
        ("node_resources_gpu_utilization_percent_avg", &first, 20.0),
        ("node_resources_gpu_utilization_percent_peak", &first, 30.0),
        ("node_resources_gpu_memory_utilization_percent_avg", &first, 40.0),
        ("node_resources_gpu_memory_utilization_percent_peak", &first, 60.0),
        ("node_resources_gpu_temperature_celsius", &first, 61.0),
        ("node_resources_gpu_power_usage_watts", &first, 250.5),
        ("container_resources_gpu_usage_percent", &of("GPU-0"), 40.0),
        ("container_resources_gpu_memory_usage_percent", &of("GPU-0"), 12.0),
        ("container_resources_gpu_usage_percent", &of("GPU-1"), 7.0),
        ("container_resources_gpu_memory_usage_percent", &of("GPU-1"), 3.0),
    ]);
    let metrics = agent.metrics().expect("scrape");
    for name in ["temperature_celsius", "power_usage_watts", "utilization_percent_avg"] {
        let shown = metrics.select(&format!("node_resources_gpu_{name}"), &second);
        assert!(shown.is_empty(), "the second does not support {name}: {shown:?}");
    }
    assert_eq!(metrics.select("container_resources_gpu_usage_percent", &[]).len(), 2);
    assert_eq!(reason(&agent), None);

    std::fs::write(&hangs, "").expect("let the library hang");
    wait::until("the series of a library that hangs to end", || {
        let metrics = agent.metrics()?;
        anyhow::ensure!(metrics.select("node_gpu_info", &[]).is_empty(), "they are there");
        anyhow::ensure!(
            metrics.select("container_resources_gpu_usage_percent", &[]).is_empty(),
            "they are there"
        );
        Ok(())
    });
}

#[test]
fn without_the_library_there_is_a_reason_and_no_thread() {
    require!(Need::Root);
    let mut agent = Sonde::agent().start();
    if !agent.metrics().expect("scrape").select("node_gpu_info", &[]).is_empty() {
        return sonde_tests::skip::record("the machine has GPUs");
    }
    let reason = reason(&agent).expect("a reason");
    assert_eq!(reason, "no libnvidia-ml.so.1 of NVIDIA's driver on the host");
    let tasks = format!("/proc/{}/task", agent.process().pid());
    for task in std::fs::read_dir(tasks).expect("list the threads") {
        let name = std::fs::read_to_string(task.expect("a thread").path().join("comm")).unwrap_or_default();
        assert_ne!(name.trim(), "nvml");
    }
}
