//! Embeds the kernel object that `cargo xtask build-ebpf` makes.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=SONDE_EBPF_OBJECT");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    let object = env::var_os("SONDE_EBPF_OBJECT")
        .map_or_else(|| manifest.join("../target/bpf/sonde-ebpf.o"), PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    if let Err(error) = fs::copy(&object, out.join("sonde-ebpf.o")) {
        println!(
            "cargo::error=the kernel object {} is missing ({error}): run `cargo xtask build-ebpf`",
            object.display()
        );
    }
}
