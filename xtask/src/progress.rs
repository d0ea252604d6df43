//! Long steps as one line each: what runs, for how long, and where its output is when it fails.
//!
//! On a terminal the line is redrawn twice a second with the step's latest output; elsewhere a line is
//! printed at the start, every [`HEARTBEAT`] and at the end, so that a log shows where time went.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths;

/// How often a step without a terminal says that it still runs.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How often the child's end is looked for.
const POLL: Duration = Duration::from_millis(50);
/// Lines of output shown of a step that failed.
const TAIL_LINES: usize = 40;

/// Runs `command` as the step `title`; its output goes to a log file, whose end is shown when the step fails.
pub fn run(title: &str, command: &mut Command) -> Result<()> {
    let (status, log) = run_logged(title, command)?;
    if !status.success() {
        eprintln!("{}", tail(&log, TAIL_LINES));
        bail!("{title}: {status} (whole output: {})", log.display());
    }
    Ok(())
}

/// Runs `command` as the step `title` and returns how it ended and where its output is.
pub fn run_logged(title: &str, command: &mut Command) -> Result<(ExitStatus, PathBuf)> {
    let log = paths::logs()?.join(format!("{}.log", slug(title)));
    let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("share the log between stdout and stderr")?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    let started = Instant::now();
    let mut line = Line::new(title, log.clone());
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("wait for {title}"))? {
            break status;
        }
        line.tick(started.elapsed());
        thread::sleep(POLL);
    };
    line.finish(status, started.elapsed());
    Ok((status, log))
}

/// Runs `command` and returns what it printed on stdout; its stderr is part of the error.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed no UTF-8"))
}

/// Formats a duration the way people say it.
pub fn elapsed(duration: Duration) -> String {
    match duration.as_secs() {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 10..=119 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// The last lines of a file; empty when it cannot be read, since this only explains another failure.
pub fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The state of one step's line.
struct Line {
    title: String,
    log: PathBuf,
    terminal: bool,
    shown: Duration,
}

impl Line {
    fn new(title: &str, log: PathBuf) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            eprintln!("… {title}");
        }
        Self { title: title.to_owned(), log, terminal, shown: Duration::ZERO }
    }

    fn tick(&mut self, now: Duration) {
        let interval = if self.terminal { Duration::from_millis(500) } else { HEARTBEAT };
        if now.saturating_sub(self.shown) < interval {
            return;
        }
        self.shown = now;
        let latest: String = last_line(&self.log).chars().take(60).collect();
        if self.terminal {
            eprint!("\r\x1b[K… {} ({}) {latest}", self.title, elapsed(now));
            // A progress line that cannot be written must not stop the work it describes.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("  {} ({}) {latest}", self.title, elapsed(now));
        }
    }

    fn finish(&self, status: ExitStatus, now: Duration) {
        let mark = if status.success() { "✓" } else { "✗" };
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{mark} {} ({})", self.title, elapsed(now));
    }
}

fn last_line(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(400)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    };
    let end = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&end);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

/// A file name for a title; a list of packages may be longer than a name can be.
fn slug(title: &str) -> String {
    title.chars().take(80).map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_speech() {
        assert_eq!(elapsed(Duration::from_millis(340)), "0.3 s");
        assert_eq!(elapsed(Duration::from_secs(43)), "43 s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn titles_become_file_names() {
        assert_eq!(slug("build bpf-linker 0.13.0"), "build-bpf-linker-0.13.0");
    }
}
