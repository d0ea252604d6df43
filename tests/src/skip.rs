//! Skips: what a test needs and the machine lacks, said aloud and counted.
//!
//! A skip is printed, and appended as `name<TAB>reason` to the file that `SONDE_SKIP_LOG` names, which the
//! runner compares with the committed list of allowed skips.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// Something of the machine that a test cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// User id 0: programs are loaded into the kernel, namespaces are made.
    Root,
    /// A program in `PATH`.
    Tool(&'static str),
    /// A file that must exist.
    File(&'static str),
}

impl Need {
    /// Returns why the need is not met, or nothing when it is.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Root => (!rustix::process::geteuid().is_root()).then(|| "not root".to_owned()),
            Self::Tool(name) => find_tool(name).is_none().then(|| format!("{name} is not installed")),
            Self::File(path) => (!std::path::Path::new(path).exists()).then(|| format!("{path} is missing")),
        }
    }
}

/// Returns where `name` stands in `PATH`, or in the directories of system programs.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"])
        .map(|directory| PathBuf::from(directory).join(name))
        .find(|file| file.is_file())
}

/// Returns from the test, as skipped, when the machine lacks one of the given needs.
#[macro_export]
macro_rules! require {
    ($($need:expr),+ $(,)?) => {
        if let Some(reason) = [$($need),+].into_iter().find_map($crate::skip::Need::missing) {
            $crate::skip::record(&reason);
            return;
        }
    };
}

/// Says that the running test is skipped for `reason`; the test returns after it.
pub fn record(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed test");
    // Straight to the terminal: the test runner hides the output of tests that do not fail.
    let _ = writeln!(std::io::stderr(), "skipped {name}: {reason}");
    let Some(log) = std::env::var_os("SONDE_SKIP_LOG") else { return };
    let mut log = OpenOptions::new().create(true).append(true).open(&log).expect("open SONDE_SKIP_LOG");
    writeln!(log, "{name}\t{reason}").expect("write SONDE_SKIP_LOG");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_has_a_reason_and_a_present_one_has_none() {
        assert_eq!(Need::Tool("sh").missing(), None);
        assert_eq!(Need::Tool("no-such-tool").missing().as_deref(), Some("no-such-tool is not installed"));
        assert_eq!(Need::File("/no/such/file").missing().as_deref(), Some("/no/such/file is missing"));
    }
}
