//! Ports that nerdctl published: in a label of the container, and since nerdctl 2.1.3, for labels are short, in a file of
//! the container's directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::docker::publish;
use crate::enrich::metadata::PublishedPort;
use crate::host_path;

const LABEL: &str = "nerdctl/ports";
/// The label with the container's directory, and the file there.
const STATE_DIRECTORY: &str = "nerdctl/state-dir";
const FILE: &str = "network-config.json";
/// A port takes some 80 bytes.
const MAX_FILE: u64 = 1 << 20;
/// Published ports taken over from one container.
const MAX_PORTS: usize = 64;

/// A port as nerdctl writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Port {
    host_port: u16,
    protocol: String,
    #[serde(rename = "HostIP", default)]
    host_ip: String,
}

/// What the file holds; at first it was the bare list.
#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Config {
        #[serde(rename = "portMappings", default)]
        ports: Option<Vec<Port>>,
    },
    List(Vec<Port>),
}

/// The ports of the container with this id and these labels; `root` is that of the host. What cannot be read is left out.
pub(super) async fn ports(id: &str, labels: &BTreeMap<String, String>, root: &Path) -> Vec<Port> {
    if let Some(label) = labels.get(LABEL) {
        return serde_json::from_str(label).unwrap_or_default();
    }
    let Some(directory) = labels.get(STATE_DIRECTORY).map(Path::new) else { return Vec::new() };
    // An image may have any label, but does not know the id of its container: only nerdctl names this directory.
    if directory.file_name().is_none_or(|name| name != id) {
        return Vec::new();
    }
    let (path, root) = (directory.join(FILE), root.to_owned());
    let read = tokio::task::spawn_blocking(move || read(&path, &root));
    match read.await.ok().flatten() {
        Some(File::Config { ports }) => ports.unwrap_or_default(),
        Some(File::List(ports)) => ports,
        None => Vec::new(),
    }
}

fn read(path: &Path, root: &Path) -> Option<File> {
    let path = host_path::resolve(root, path).filter(|path| path.is_file())?;
    let mut json = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Those of TCP, each once.
pub(super) fn published(ports: &[Port]) -> Vec<PublishedPort> {
    let tcp = ports.iter().filter(|port| port.protocol == "tcp");
    let found: BTreeSet<_> = tcp.filter_map(|port| publish(&port.host_ip, port.host_port)).collect();
    found.into_iter().take(MAX_PORTS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ports_of(labels: &[(&str, &str)], root: &Path) -> Vec<String> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let shown = |port: &PublishedPort| format!("{}:{}", port.address, port.port);
        published(&ports("0a1b", &labels, root).await).iter().map(shown).collect()
    }

    #[tokio::test]
    async fn ports_are_in_the_label_or_in_the_file() {
        const LIST: &str = r#"[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"0.0.0.0"},
            {"HostPort":53,"ContainerPort":53,"Protocol":"udp","HostIP":"127.0.0.1"}]"#;
        let root = tempfile::tempdir().unwrap();
        let directory = "/var/lib/nerdctl/1935db59/containers/default/0a1b";
        let here = root.path().join(&directory[1..]);
        std::fs::create_dir_all(&here).unwrap();
        let state = [(STATE_DIRECTORY, directory)];
        assert!(ports_of(&state, root.path()).await.is_empty(), "no file");
        let cases = [
            (format!(r#"{{"portMappings":{LIST}}}"#), vec!["0.0.0.0:8080"]),
            (LIST.to_owned(), vec!["0.0.0.0:8080"]),
            (r#"{"portMappings":null}"#.to_owned(), vec![]),
            ("{}".to_owned(), vec![]),
            ("[{".to_owned(), vec![]),
        ];
        for (text, expected) in cases {
            std::fs::write(here.join(FILE), &text).unwrap();
            assert_eq!(ports_of(&state, root.path()).await, expected, "{text}");
        }
        std::fs::write(here.join(FILE), LIST).unwrap();
        std::fs::rename(&here, here.with_file_name("other")).unwrap();
        let others = directory.replace("0a1b", "other");
        assert!(ports_of(&[(STATE_DIRECTORY, &others)], root.path()).await.is_empty(), "an image's label");
        let label = r#"[{"HostPort":9090,"Protocol":"tcp"}]"#;
        let both = [(LABEL, label), (STATE_DIRECTORY, directory)];
        assert_eq!(ports_of(&both, root.path()).await, ["0.0.0.0:9090"]);
    }
}
