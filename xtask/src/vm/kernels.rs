//! `tests/kernels.toml`: which kernels are supported, and how the newest package of each is chosen.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One supported kernel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// What people call it: `5.10`.
    pub name: String,
    /// A Debian package name with at most one `*`.
    pub package: String,
    /// Modules that the tests need, without those they depend on.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Whether its controllers are in v1 hierarchies, beside a unified one without any.
    #[serde(default)]
    pub cgroup_v1: bool,
    /// The most verified instructions any one program may have.
    pub max_instructions: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kernels {
    kernel: Vec<Kernel>,
}

/// Reads the file.
pub fn read(file: &Path) -> Result<Vec<Kernel>> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let kernels: Kernels = toml::from_str(&text).with_context(|| format!("parse {}", file.display()))?;
    for kernel in &kernels.kernel {
        ensure!(kernel.package.matches('*').count() <= 1, "{}: at most one `*` is allowed", kernel.package);
    }
    Ok(kernels.kernel)
}

/// Returns the newest of `names` that matches `pattern`.
pub fn newest<'n>(pattern: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names.filter(|name| matches(pattern, name)).max_by(|left, right| natural_order(left, right))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
    }
}

/// Compares runs of digits as numbers, so that `-9` comes before `-46`.
fn natural_order(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (pieces(left), pieces(right));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) if left != right => return left.cmp(&right),
            _ => {}
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Number(u64),
    Other(char),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if let Ok(number) = rest[..digits].parse() {
            rest = &rest[digits..];
            return Some(Piece::Number(number));
        }
        let first = rest.chars().next()?;
        rest = &rest[first.len_utf8()..];
        Some(Piece::Other(first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_match_wins_by_number() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-0.deb11.99-cloud-amd64",
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-99-cloud-amd64-dbg",
            "linux-image-6.12.117+deb12-cloud-amd64",
        ];
        let newest = |pattern| newest(pattern, names.iter().copied());
        assert_eq!(newest("linux-image-6.1.0-*-cloud-amd64"), Some(names[1]));
        assert_eq!(newest("linux-image-6.12.*+deb12-cloud-amd64"), Some(names[5]));
        assert_eq!(newest("linux-image-6.1-cloud-amd64"), Some(names[3]));
        assert_eq!(newest("linux-image-7.*"), None);
    }

    #[test]
    fn the_star_stands_for_a_part_of_its_own() {
        assert!(!matches("a-*-a", "a-a"), "prefix and suffix may not overlap");
        assert!(matches("a-*-a", "a--a"));
    }

    #[test]
    fn the_committed_file_is_valid() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kernels.toml");
        let names: Vec<String> = read(&file).unwrap().into_iter().map(|kernel| kernel.name).collect();
        assert_eq!(names, ["5.10", "6.1", "6.12", "5.10-cgroup-v1"]);
    }
}
