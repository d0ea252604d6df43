//! `cargo xtask vm`: the kernel matrix.
//!
//! Every kernel of `tests/kernels.toml` boots under QEMU with a root file system made here. PID 1 is
//! `vm-init` of the package `sonde-tests`; what it finds is described in [`initramfs`], what it says in
//! [`console`]. A guest that dies, hangs or says nothing has failed.

mod console;
mod cpio;
mod debian;
mod initramfs;
mod kernels;
mod native;
mod qemu;
mod report;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::results::Results;
use crate::{build, paths, progress};
use report::Run;

/// How long a guest may take unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(420);

/// What can be asked of the matrix.
#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Boot only this kernel (repeatable); without it all of tests/kernels.toml
    #[arg(long = "kernel", value_name = "NAME")]
    kernels: Vec<String>,
    /// Write docs/kernels.md from this run
    #[arg(long, conflicts_with_all = ["kernels", "init", "agent"])]
    bless: bool,
    /// Boot this program as PID 1 instead of vm-init
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Put this agent into the guests instead of building the one that is shipped
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Seconds a guest may take; without it 420, several times what an interpreted kernel needs
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<u64>,
}

impl Arguments {
    /// Whether everything is asked for, and nothing of it replaced.
    fn is_whole(&self) -> bool {
        self.kernels.is_empty() && self.init.is_none() && self.agent.is_none()
    }
}

/// Installs QEMU where it is missing.
pub fn ensure_qemu() -> Result<()> {
    qemu::ensure()
}

/// Runs the matrix and fails when one kernel failed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let results = run_matrix(arguments)?;
    println!("{}", results.line());
    if !results.failures.is_empty() {
        bail!("kernel matrix:\n  {}", results.failures.join("\n  "));
    }
    Ok(())
}

/// Runs the matrix and returns the results of all kernels.
pub fn run_matrix(arguments: &Arguments) -> Result<Results> {
    let all = kernels::read(&paths::root()?.join("tests/kernels.toml"))?;
    for name in &arguments.kernels {
        if !all.iter().any(|kernel| kernel.name == *name) {
            let known: Vec<&str> = all.iter().map(|kernel| kernel.name.as_str()).collect();
            bail!("unknown kernel `{name}`; known are {}", known.join(", "));
        }
    }
    qemu::ensure()?;
    initramfs::ensure_packages()?;
    let archive = debian::Archive::open()?;
    let programs = programs(arguments)?;
    let chosen = |name: &String| arguments.kernels.is_empty() || arguments.kernels.contains(name);
    let deadline = arguments.deadline.map_or(DEADLINE, Duration::from_secs);
    let mut runs = Vec::new();
    let mut unbooted = Results::default();
    for kernel in all.into_iter().filter(|kernel| chosen(&kernel.name)) {
        let name = format!("linux {}", kernel.name);
        match boot(kernel, &archive, &programs, deadline) {
            Ok(run) => runs.push(run),
            // One that cannot be fetched must not hide how the others fare.
            Err(error) => unbooted.absorb(Results::of_one(&name, Err(error))),
        }
    }
    if arguments.is_whole() && rustix::process::geteuid().is_root() {
        match native::run() {
            Ok(run) => runs.push(run),
            Err(error) => unbooted.absorb(Results::of_one("this machine's kernel", Err(error))),
        }
    }
    let mut results = totals(&runs);
    results.absorb(unbooted);
    if arguments.is_whole() && results.failures.is_empty() {
        // A whole run that was not asked to bless leaves beside its logs what it would have written.
        let page = match arguments.bless {
            true => paths::root()?.join("docs/kernels.md"),
            false => paths::logs()?.join("kernels.md"),
        };
        fs::write(&page, report::render(&runs)).with_context(|| format!("write {}", page.display()))?;
    }
    Ok(results)
}

fn programs(arguments: &Arguments) -> Result<initramfs::Programs> {
    let agent = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => {
            build::ensure()?;
            paths::release_binary("sonde-agent")?
        }
    };
    if let Some(init) = &arguments.init {
        return Ok(initramfs::Programs { init: init.clone(), agent });
    }
    // As the end-to-end tests have it already; only the agent is the one that is shipped, unless another is given.
    progress::run(
        "build the guest's test program",
        build::cargo()?.args(["build", "--locked", "--package=sonde-tests", "--bin=vm-init"]),
    )?;
    Ok(initramfs::Programs { init: paths::target()?.join("debug/vm-init"), agent })
}

fn boot(
    kernel: kernels::Kernel,
    archive: &debian::Archive,
    programs: &initramfs::Programs,
    limit: Duration,
) -> Result<Run> {
    let unpacked = archive.fetch(&kernel)?;
    let scratch = tempfile::tempdir().context("create a directory for the initramfs")?;
    let initrd = scratch.path().join("initramfs");
    fs::write(&initrd, initramfs::build(programs, &unpacked, &kernel.modules)?)
        .context("write the initramfs")?;
    let log = paths::logs()?.join(format!("vm-{}.log", kernel.name));
    let started = Instant::now();
    eprintln!("… boot Linux {}", unpacked.release);
    let options = if kernel.cgroup_v1 { "sonde.cgroup=v1" } else { "" };
    let image = unpacked.image();
    let guest = qemu::Machine { kernel: &image, initramfs: &initrd, options };
    let mut outcome = guest.boot(&log, limit)?;
    if outcome.died_at_boot() {
        // Emulated timers are late on a loaded machine, which some kernels take for broken hardware. Nothing of ours had
        // run; a second such end counts.
        let first = log.with_extension("died.log");
        fs::rename(&log, &first).context("keep the first boot's console")?;
        let panic = outcome.panic.as_deref().unwrap_or_default();
        eprintln!(
            "  died before its first process ({panic}; console: {}); booting once more",
            first.display()
        );
        outcome = guest.boot(&log, limit)?;
    }
    let mark = if outcome.is_success() { "✓" } else { "✗" };
    let time = progress::elapsed(started.elapsed());
    eprintln!(
        "{mark} Linux {}: {} passed, {} failed, {} skipped, {} programs ({time})",
        unpacked.release,
        outcome.passed.len(),
        outcome.failed.len(),
        outcome.skipped.len(),
        outcome.programs.len()
    );
    if !outcome.is_success() {
        eprintln!("{}\n  (whole console: {})", progress::tail(&log, 60), log.display());
    }
    Ok(Run { kernel, package: unpacked.package, outcome })
}

fn totals(runs: &[Run]) -> Results {
    let mut results = Results::default();
    for run in runs {
        let name = |test: &str| format!("linux {}: {test}", run.kernel.name);
        results.passed += run.outcome.passed.len();
        results
            .failures
            .extend(run.outcome.failed.iter().map(|(test, why)| format!("{}: {why}", name(test))));
        results.failures.extend(report::above_ceiling(run));
        if let Some(panic) = &run.outcome.panic {
            results.failures.push(name(panic));
        } else if !run.outcome.done && run.outcome.failed.is_empty() {
            results.failures.push(name("the guest ended before its tests did"));
        } else if run.outcome.passed.is_empty() && run.outcome.failed.is_empty() {
            results.failures.push(name("no test ran"));
        }
        results.skipped.extend(run.outcome.skipped.iter().map(|(test, why)| (name(test), why.clone())));
    }
    results
}
