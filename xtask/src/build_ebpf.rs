//! `cargo xtask build-ebpf`: the kernel object, `target/bpf/sonde-ebpf.o`.
//!
//! It is always optimised: unoptimised programs do not pass the verifier. It carries BTF for its maps and
//! no path of the machine that built it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::toolchain::Toolchain;
use crate::{paths, progress};

const TARGET: &str = "bpfel-unknown-none";
const BINARY: &str = "sonde-ebpf";
/// Where cargo works, below the root.
const BUILD: &str = "target/bpf/build";
/// `EM_BPF` of the ELF specification.
const ELF_MACHINE_BPF: u16 = 247;

/// Installs the toolchain where it is missing, builds the object and says where it is.
pub fn run() -> Result<()> {
    let object = ensure()?;
    let size = fs::metadata(&object).with_context(|| format!("read {}", object.display()))?.len();
    println!("{} ({size} bytes)", object.strip_prefix(paths::root()?).unwrap_or(&object).display());
    Ok(())
}

/// Builds the object. The file keeps its time stamp when its content is unchanged, so the agent is not rebuilt.
pub fn ensure() -> Result<PathBuf> {
    let toolchain = Toolchain::ensure()?;
    let mut cargo = toolchain.cargo();
    progress::run("build the kernel object", for_kernel(&mut cargo, "build", &toolchain)?)?;
    let object = paths::ebpf_object()?;
    let build = paths::root()?.join(BUILD);
    let stripped = build.join("sonde-ebpf.stripped.o");
    // DWARF is six times the rest and no loader reads it; BTF is all that the kernel and the agent want.
    progress::output(
        Command::new(toolchain.objcopy())
            .arg("--strip-debug")
            .arg(build.join(TARGET).join("release").join(BINARY))
            .arg(&stripped),
    )?;
    publish(&stripped, &object)?;
    Ok(object)
}

/// Lints the kernel half with the pinned toolchain; says why not where another one builds it.
pub fn lint() -> Result<Option<&'static str>> {
    let toolchain = Toolchain::ensure()?;
    let Some(mut clippy) = toolchain.clippy()? else {
        return Ok(Some("its lints are those of rustup's toolchain, and this is Debian's"));
    };
    let clippy = for_kernel(&mut clippy, "clippy", &toolchain)?;
    progress::run("lints of the kernel half", clippy.args(["--", "--deny", "warnings"]))?;
    Ok(None)
}

/// Lets a command of cargo do something for the kernel half.
fn for_kernel<'a>(cargo: &'a mut Command, action: &str, toolchain: &Toolchain) -> Result<&'a mut Command> {
    let root = paths::root()?;
    Ok(cargo
        .current_dir(root.join("agent-ebpf"))
        .args([action, "--release", "--locked", "--target", TARGET, "-Z", "build-std=core"])
        .args(["--bin", BINARY])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", root.join(BUILD))
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(toolchain.linker(), &root)))
}

/// Flags are separated by the unit separator, so that paths with spaces survive.
fn rustflags(linker: &Path, root: &Path) -> OsString {
    let mut flags: Vec<OsString> = Vec::new();
    let mut linker_flag = OsString::from("-Clinker=");
    linker_flag.push(linker);
    flags.push(linker_flag);
    // bpf-linker takes the maps' and functions' BTF from debug information.
    flags.extend(["-Cdebuginfo=2", "-Clink-arg=--btf"].map(OsString::from));
    // Otherwise each zeroed structure is a call of a loop over its bytes.
    flags.push("-Clink-arg=--disable-expand-memcpy-in-order".into());
    flags.push(format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH).into());
    let homes = ["CARGO_HOME", "HOME"].map(|name| std::env::var_os(name).map(PathBuf::from));
    // rustc takes the last prefix that matches, so the most general comes first.
    for (prefix, name) in homes.iter().flatten().rev().map(|home| (home.as_path(), "~")).chain([(root, ".")])
    {
        flags.push(format!("--remap-path-prefix={}={name}", prefix.display()).into());
    }
    flags.join(std::ffi::OsStr::new("\x1f"))
}

fn publish(built: &Path, object: &Path) -> Result<()> {
    let new = fs::read(built).with_context(|| format!("read {}", built.display()))?;
    ensure!(is_bpf_object(&new), "{} is no BPF object", built.display());
    if fs::read(object).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // Renamed into place: a build that reads the object meanwhile sees the old or the new one, whole.
    let scratch = object.with_extension("o.new");
    fs::write(&scratch, new).with_context(|| format!("write {}", scratch.display()))?;
    fs::rename(&scratch, object).with_context(|| format!("write {}", object.display()))
}

fn is_bpf_object(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF") && bytes.get(18..20) == Some(&ELF_MACHINE_BPF.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_the_host_is_refused() {
        let mut elf = vec![0; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[18..20].copy_from_slice(&62u16.to_le_bytes());
        assert!(!is_bpf_object(&elf), "x86-64 must not pass");
        elf[18..20].copy_from_slice(&247u16.to_le_bytes());
        assert!(is_bpf_object(&elf));
        assert!(!is_bpf_object(b"\x7fELF"), "a truncated file must not pass");
    }

    #[test]
    fn an_unchanged_object_keeps_its_time_stamp() {
        let directory = tempfile::tempdir().unwrap();
        let (built, object) = (directory.path().join("built"), directory.path().join("sonde-ebpf.o"));
        let mut elf = vec![0; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[18..20].copy_from_slice(&247u16.to_le_bytes());
        fs::write(&built, &elf).unwrap();
        publish(&built, &object).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(&object).unwrap().set_modified(old).unwrap();
        publish(&built, &object).unwrap();
        assert_eq!(fs::metadata(&object).unwrap().modified().unwrap(), old);
        elf[63] = 1;
        fs::write(&built, &elf).unwrap();
        publish(&built, &object).unwrap();
        assert_eq!(fs::read(&object).unwrap(), elf);
    }
}
