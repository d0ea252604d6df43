//! `sonde-collector`: arguments → configuration → run → exit code.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use sonde_collector::server::{Command, CommandLine, Config, print_inspection, run};
use sonde_collector::signals::stop_on_signal;
use tracing_subscriber::EnvFilter;

/// What blocking work, such as a read from a disk that hangs, may still take after everything else has ended.
const LEFTOVERS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let CommandLine { command, options, config } = CommandLine::parse();
    let command = command.unwrap_or(Command::Run);
    if let Command::Inspect { dir } = &command {
        return exit(print_inspection(dir, &mut std::io::stdout()));
    }
    let config = match Config::load(options, config.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    if command == Command::CheckConfig {
        println!("configuration is good");
        return ExitCode::SUCCESS;
    }
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log_level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    exit(serve(config))
}

fn serve(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let done = runtime.block_on(async {
        let stop = stop_on_signal().context("listen for signals")?;
        run(config, stop).await
    });
    runtime.shutdown_timeout(LEFTOVERS);
    done
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sonde-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}
