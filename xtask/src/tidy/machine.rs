//! No committed file names a place of the machine it was written on.

use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{paths, progress};

/// Fails with every line of a tracked file that names the checkout, the home directory or their like.
pub fn check() -> Result<()> {
    let root = paths::root()?;
    let mut places = vec![root.display().to_string()];
    let variables = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"];
    places.extend(variables.iter().filter_map(|name| std::env::var(name).ok()));
    // A place like `/` or `.` is in every file and betrays nothing.
    places.retain(|place| place.starts_with('/') && place.len() > 3);
    // In a container the checkout often belongs to somebody else, which git refuses unless told.
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(&root);
    let files = progress::output(&mut git)?;
    let mut found = Vec::new();
    for name in files.split('\0').filter(|name| !name.is_empty() && *name != THIS_FILE) {
        // Binary files and files that are deleted but still tracked have no lines to look at.
        let Ok(text) = fs::read_to_string(root.join(name)) else { continue };
        let lines =
            text.lines().enumerate().filter(|(_, line)| places.iter().any(|place| names(line, place)));
        found.extend(lines.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim())));
    }
    if found.is_empty() { Ok(()) } else { bail!("\n  {}", found.join("\n  ")) }
}

/// Its tests name such places on purpose.
const THIS_FILE: &str = "xtask/src/tidy/machine.rs";

/// Whether `line` has `place` as a whole path: `/proc/1/root/` does not name `/root`.
fn names(line: &str, place: &str) -> bool {
    let part_of_a_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    // A variable ends before it, in Rust's formats and in the shell, or the shell cuts it off.
    let end_of_another = |c: char| part_of_a_name(c) || matches!(c, '}' | '%');
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + place.len()..].chars().next();
        !before.is_some_and(end_of_another) && !after.is_some_and(part_of_a_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_paths_count() {
        assert!(names("see /root/notes", "/root"));
        assert!(names("\"/root\"", "/root"));
        assert!(!names("/proc/1/root/run", "/root"), "the root of another process");
        assert!(!names("/proc/{pid}/root", "/root"));
        assert!(!names("${DIRECTORY%/root}", "/root"));
        assert!(!names("/rootfs", "/root"));
        assert!(!names("--read-only", "/root"));
    }
}
