//! `cargo xtask`: the one door for every developer and CI action.
//!
//! One file per command. A command first installs what it needs and does not find, then works; all of
//! them run with stdin closed. Nothing here is part of the product.

mod bench;
mod bless;
mod build;
mod build_ebpf;
mod endure;
mod exposition;
mod fuzz;
mod http;
mod image;
mod packages;
mod paths;
mod progress;
mod results;
mod run;
mod shared_libs;
mod test;
mod tidy;
mod toolchain;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs and tests Sonde.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the pinned eBPF toolchain if needed and build the kernel object
    BuildEbpf,
    /// Build target/release/sonde-agent and target/release/sonde-collector
    Build,
    /// Set up, build and run the agent with its embedded collector; prints where to look
    Run(run::Arguments),
    /// Write an OCI image archive that `docker load` takes
    Image,
    /// Install what the tests need and run all of them, cheap first
    Test(test::Arguments),
    /// Check formatting, lints, generated pages; --fix repairs them
    Tidy(tidy::Arguments),
    /// Write golden files and generated pages anew
    Bless,
    /// Run every fuzzer for a bounded time
    Fuzz(fuzz::Arguments),
    /// Measure what the agent costs and compare with the targets
    Bench(bench::Arguments),
    /// Let containers, processes and connections come and go for long, and see that the agent stays as it was
    Endure(endure::Arguments),
    /// Boot the supported kernels under QEMU and run the tests in them
    Vm(vm::Arguments),
    /// A process of the benchmarks: holds connections open
    #[command(hide = true)]
    BenchHold { connections: usize, servers: Vec<std::net::SocketAddr> },
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not returned from main: with RUST_BACKTRACE set the message would drown in frames.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::BuildEbpf => build_ebpf::run(),
        Command::Build => build::run(),
        Command::Run(arguments) => run::run(&arguments),
        Command::Image => image::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Tidy(arguments) => tidy::run(&arguments),
        Command::Bless => bless::run(),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Endure(arguments) => endure::run(&arguments),
        Command::Vm(arguments) => vm::run(&arguments),
        Command::BenchHold { connections, servers } => bench::crowd::hold(connections, &servers),
    }
}
