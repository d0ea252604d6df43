//! `cargo xtask bless`: writes every golden file and generated page anew.
//!
//! The tests that compare with a committed file write it instead when `SONDE_BLESS=1`. What needs a whole run
//! of its own has its own flag: `cargo xtask vm --bless`, `cargo xtask bench --bless`.

use anyhow::Result;

use crate::{build, build_ebpf, progress};

/// Runs all tests outside the end-to-end package in writing mode.
pub fn run() -> Result<()> {
    build_ebpf::ensure()?;
    let mut tests = build::cargo()?;
    tests
        .args(["test", "--workspace", "--exclude", "sonde-tests", "--locked", "--no-fail-fast"])
        .env("SONDE_BLESS", "1");
    progress::run("write golden files and generated pages", &mut tests)?;
    println!("look at what has changed: git diff");
    Ok(())
}
