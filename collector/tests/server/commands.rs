//! The commands that do not serve.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Server, request, series};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sonde-collector")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_config_reports_all_problems_and_no_secret() {
    let output = run(&[
        "check-config",
        "--listen=0.0.0.0:1",
        "--queue-max-bytes=5",
        "--remote-write=ftp://user:hunter2@host/x",
        "--data-dir=/d",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let lines = text(&output.stderr);
    assert_eq!(
        lines,
        "queue-max-bytes: `5` is no size, expected a number with a unit such as 500MB or 64MiB\n\
         remote_write[0].url: scheme `ftp` of <secret> is not supported (allowed: http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH)\n\
         listen: 0.0.0.0:1 is not on loopback and nobody is asked for a key (allowed: a loopback address, or --api-keys, --listen-auth, --listen-tls-client-ca, --allow-anonymous)\n"
    );
    assert_eq!(run(&["check-config"]).status.code(), Some(0));
}

#[test]
fn the_environment_is_read() {
    let output = Command::new(env!("CARGO_BIN_EXE_sonde-collector"))
        .arg("check-config")
        .env("SONDE_QUEUE_MAX_AGE", "soon")
        .output()
        .unwrap();
    assert!(text(&output.stderr).starts_with("queue-max-age: `soon` is no duration"), "{output:?}");
}

#[test]
fn an_unusable_data_directory_is_one_clear_message() {
    let output = run(&["--listen=127.0.0.1:0", "--data-dir=/proc/nothing"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("cannot create data directory /proc/nothing: "), "{message}");
}

#[tokio::test]
async fn inspect_shows_what_is_there_while_it_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--remote-write", "http://127.0.0.1:1/write"]);
    for time in 0..3 {
        let two = request(vec![series("a", time, 0.0), series("b", time, 0.0)]);
        assert_eq!(server.write(&two).await.unwrap(), 204);
    }
    let output = run(&["inspect", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<Vec<String>> =
        text(&output.stdout).lines().map(|line| line.split_whitespace().map(Into::into).collect()).collect();
    assert_eq!(&lines[1][2..], ["0", "3", "6", "0B"]);
    assert!(lines[4][0].starts_with("127.0.0.1_1_write-"), "{lines:?}");
    assert_eq!(lines[4].last().unwrap(), "3");
    let missing = run(&["inspect", Path::new("/nonexistent").to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(1));
}
