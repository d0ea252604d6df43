//! `cargo xtask tidy`: formatting, lints, generated pages, and no paths of the machine at hand.

mod machine;

use anyhow::Result;

use crate::results::Results;
use crate::{build, build_ebpf, progress};

/// What tidying may change.
#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Repair what can be repaired instead of reporting it
    #[arg(long)]
    fix: bool,
}

/// Checks, or repairs first and then checks.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.fix {
        fix()?;
    }
    let results = check();
    println!("{}", results.line());
    match results.failures.as_slice() {
        [] => Ok(()),
        failures => anyhow::bail!("{}", failures.join("\n")),
    }
}

/// A name and what fails when it does not hold.
type Check = (&'static str, fn() -> Result<()>);

/// Runs every check, whatever the others say.
pub fn check() -> Results {
    let checks: [Check; 5] = [
        ("formatting", || format("formatting", &["fmt", "--all", "--check"])),
        ("formatting of the kernel half", || {
            format(
                "formatting of the kernel half",
                &["fmt", "--manifest-path", "agent-ebpf/Cargo.toml", "--check"],
            )
        }),
        ("lints", lints),
        ("generated pages", generated_pages),
        ("paths of this machine", machine::check),
    ];
    let mut results = Results::default();
    for (name, check) in checks {
        results.absorb(Results::of_one(name, check()));
    }
    results.absorb(kernel_lints());
    results
}

fn kernel_lints() -> Results {
    const NAME: &str = "lints of the kernel half";
    match build_ebpf::lint() {
        Ok(Some(reason)) => Results { skipped: vec![(NAME.into(), reason.into())], ..Results::default() },
        done => Results::of_one(NAME, done.map(drop)),
    }
}

fn fix() -> Result<()> {
    format("format", &["fmt", "--all"])?;
    format("format the kernel half", &["fmt", "--manifest-path", "agent-ebpf/Cargo.toml"])?;
    build_ebpf::ensure()?;
    let mut clippy = build::cargo()?;
    clippy.args([
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
        "--locked",
    ]);
    progress::run("apply the lints' suggestions", &mut clippy)?;
    let mut pages = build::cargo()?;
    pages.args(PAGES).env("SONDE_BLESS", "1");
    progress::run("write the generated pages", &mut pages)
}

fn format(title: &str, arguments: &[&str]) -> Result<()> {
    progress::run(title, build::cargo()?.args(arguments))
}

fn lints() -> Result<()> {
    // The agent embeds the kernel object, so even a check needs it.
    build_ebpf::ensure()?;
    let mut clippy = build::cargo()?;
    clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]);
    progress::run("lints", &mut clippy)
}

/// The generators are tests that compare, and write instead when `SONDE_BLESS=1`.
const PAGES: &[&str] = &["test", "--locked", "--package", "sonde-agent", "--test", "surface", "references"];

fn generated_pages() -> Result<()> {
    progress::run("generated pages", build::cargo()?.args(PAGES))
}
