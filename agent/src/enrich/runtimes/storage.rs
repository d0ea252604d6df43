//! podman's own lists of containers, for where its API service is not enabled, which is the default.
//!
//! `containers.json` and `volatile-containers.json` of containers/storage have name and image, but neither labels nor ports:
//! they are asked after the service. podman replaces a file as a whole, so a reader never sees half of it.

use std::path::Path;

use rustix::fs::OFlags;
use serde::Deserialize;
use tokio::fs::OpenOptions;
use tokio::io::AsyncReadExt;

use crate::enrich::keep;
use crate::enrich::metadata::{ContainerMetadata, InspectError};

/// A thousand containers have some 600 KB.
const MAX_FILE: u64 = 8 << 20;

/// One container of the list. What podman itself knows is text in the text.
#[derive(Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    metadata: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Metadata {
    image_name: String,
    name: String,
}

/// Looks a container up by its id.
pub(super) async fn inspect(file: &Path, id: &str) -> Result<ContainerMetadata, InspectError> {
    let unreachable =
        |error: std::io::Error| InspectError::Unreachable(format!("{}: {error}", file.display()));
    // Whoever made a pipe of it does not hold the agent up.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(file).await.map_err(unreachable)?;
    let mut json = Vec::new();
    opened.take(MAX_FILE).read_to_end(&mut json).await.map_err(unreachable)?;
    find(&json, id)
}

fn find(json: &[u8], id: &str) -> Result<ContainerMetadata, InspectError> {
    let entries: Vec<Entry> = serde_json::from_slice(json)
        .map_err(|error| InspectError::Malformed(format!("podman's list of containers: {error}")))?;
    let entry = entries.into_iter().find(|entry| entry.id == id).ok_or(InspectError::NotFound)?;
    let metadata: Metadata = serde_json::from_str(&entry.metadata).unwrap_or_default();
    let name = entry.names.into_iter().flatten().next().unwrap_or(metadata.name);
    Ok(ContainerMetadata {
        name: keep::name(name),
        image: keep::name(metadata.image_name),
        ..ContainerMetadata::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"[{"id":"one","names":["web"],"image":"a3b4",
        "metadata":"{\"image-name\":\"docker.io/library/nginx:1\",\"name\":\"web\",\"created-at\":1795228386}"},
        {"id":"two","metadata":"{\"image-name\":\"nginx:2\",\"name\":\"db\"}"},{"id":"three","names":null}]"#;

    #[test]
    fn a_container_is_found_by_its_id() {
        let found = |id| find(LIST.as_bytes(), id).map(|metadata| (metadata.name, metadata.image));
        let pair = |name: &str, image: &str| Ok((name.to_owned(), image.to_owned()));
        assert_eq!(found("one"), pair("web", "docker.io/library/nginx:1"));
        assert_eq!(found("two"), pair("db", "nginx:2"));
        assert_eq!(found("three"), pair("", ""));
        assert_eq!(found("four"), Err(InspectError::NotFound));
    }

    #[test]
    fn what_is_no_list_is_malformed() {
        assert!(matches!(find(b"[{", "one"), Err(InspectError::Malformed(_))));
    }

    #[tokio::test]
    async fn a_pipe_is_no_list() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("containers.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let answer = tokio::time::timeout(std::time::Duration::from_secs(20), inspect(&pipe, "one")).await;
        assert!(matches!(answer, Ok(Err(InspectError::Malformed(_)))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_list_that_is_gone_is_unreachable() {
        let error = inspect(Path::new("/nonexistent/containers.json"), "one").await.unwrap_err();
        assert!(matches!(error, InspectError::Unreachable(_)), "{error:?}");
    }
}
