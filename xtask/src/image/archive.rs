//! The archive around a layer: OCI's image layout and, over the same blobs, the index that Docker reads.
//!
//! Layout: OCI image-spec v1 `image-layout.md` (`oci-layout`, `index.json`, `blobs/sha256/…`). Docker up to
//! version 24 knows only `manifest.json`, which names the same blobs by their paths; newer ones take either.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layer::append;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Names of the target as OCI has them.
pub struct Platform {
    architecture: &'static str,
}

impl Platform {
    /// The machine that builds.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { architecture }
    }
}

/// An image of one layer.
pub struct Image<'a> {
    /// Name and tag it gets when loaded.
    pub tag: &'a str,
    /// The product's version, as a label.
    pub version: &'a str,
    /// The one program in it.
    pub entrypoint: &'a str,
    /// What it runs on.
    pub platform: Platform,
    /// The layer's tar, uncompressed.
    pub layer: &'a [u8],
}

impl Image<'_> {
    /// Writes the archive.
    pub fn write(&self) -> Result<Vec<u8>> {
        let layer = Blob::new(LAYER, self.layer.to_vec());
        let config = Blob::json(CONFIG, &self.config(&layer))?;
        let manifest = Blob::json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
            }),
        )?;
        let mut descriptor = manifest.descriptor();
        descriptor["annotations"] = json!({
            "io.containerd.image.name": format!("docker.io/library/{}", self.tag),
            "org.opencontainers.image.ref.name": self.tag.rsplit(':').next(),
        });
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        let docker = json!([{ "Config": config.path(), "RepoTags": [self.tag], "Layers": [layer.path()] }]);

        let mut tar = tar::Builder::new(Vec::new());
        for directory in ["blobs/", "blobs/sha256/"] {
            append(&mut tar, tar::EntryType::Directory, 0o755, directory, &[])?;
        }
        for blob in [&config, &layer, &manifest] {
            append(&mut tar, tar::EntryType::Regular, 0o644, &blob.path(), &blob.content)?;
        }
        for (name, value) in [
            ("index.json", index),
            ("manifest.json", docker),
            ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" })),
        ] {
            append(&mut tar, tar::EntryType::Regular, 0o644, name, value.to_string().as_bytes())?;
        }
        tar.into_inner().context("end the archive")
    }

    fn config(&self, layer: &Blob) -> Value {
        json!({
            "architecture": self.platform.architecture,
            "os": "linux",
            // A fixed time: the image depends on its content alone.
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Entrypoint": [self.entrypoint],
                "Env": ["PATH=/usr/bin"],
                "WorkingDir": "/",
                "ExposedPorts": { "10300/tcp": {} },
                "Labels": {
                    "org.opencontainers.image.title": "sonde-agent",
                    "org.opencontainers.image.version": self.version,
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [layer.digest()] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image" }],
        })
    }
}

/// Content with its address.
struct Blob {
    media_type: &'static str,
    hash: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, content: Vec<u8>) -> Self {
        let hash = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { media_type, hash, content }
    }

    fn json(media_type: &'static str, value: &Value) -> Result<Self> {
        Ok(Self::new(media_type, serde_json::to_vec(value).context("write an image document")?))
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hash)
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.hash)
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.content.len() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut tar = tar::Archive::new(archive);
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        tar.entries().unwrap().map(read).collect()
    }

    fn image() -> Vec<u8> {
        let platform = Platform { architecture: "amd64" };
        let image =
            Image { tag: "sonde-agent:latest", version: "0", entrypoint: "/a", platform, layer: b"layer" };
        image.write().unwrap()
    }

    #[test]
    fn every_reference_leads_to_a_blob_of_that_digest_and_size() {
        let files = files(&image());
        let blob = |descriptor: &Value| -> Vec<u8> {
            let digest = descriptor["digest"].as_str().unwrap();
            let content = &files[&digest.replace("sha256:", "blobs/sha256/")];
            let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, format!("sha256:{hash}"));
            assert_eq!(descriptor["size"], content.len());
            content.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(blob(&manifest["layers"][0]), b"layer");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    }

    #[test]
    fn dockers_index_names_the_same_blobs() {
        let files = files(&image());
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(files[docker[0]["Layers"][0].as_str().unwrap()], b"layer");
        let config: Value = serde_json::from_slice(&files[docker[0]["Config"].as_str().unwrap()]).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/a"]));
        assert_eq!(docker[0]["RepoTags"], json!(["sonde-agent:latest"]));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(image(), image());
    }
}
