//! `sonde-agent`: reads its settings, then runs, checks them, or reports what works here.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use sonde_agent::config::{self, Command, Config, ConfigError};
use sonde_agent::{doctor, run};
use sonde_collector::signals::stop_on_signal;
use tracing_subscriber::EnvFilter;

/// Exit status for settings that cannot be used, as shells and clap have it.
const USAGE: u8 = 2;
/// What blocking work, such as a read from a disk that hangs, may still take after everything else has ended.
const LEFTOVERS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let (command, config) = match config::read(std::env::args_os(), |name| std::env::var(name).ok()) {
        Ok(read) => read,
        Err(ConfigError::Usage(error)) => error.exit(),
        Err(ConfigError::Problems(problems)) => {
            eprintln!("error: the configuration cannot be used\n{problems}");
            return ExitCode::from(USAGE);
        }
    };
    let done = match command {
        Command::Run => observe(config),
        Command::CheckConfig => {
            println!("the configuration is valid");
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor { json } => diagnose(&config, json),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn observe(config: Config) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_new(&config.log_level).context("read the log level")?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    // One thread serves and pushes, on any machine; the observer has its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    let done = runtime.block_on(async {
        let stop = stop_on_signal().context("listen for signals")?;
        run(config, stop).await
    });
    runtime.shutdown_timeout(LEFTOVERS);
    tracing::info!("stopped");
    done.map(|()| ExitCode::SUCCESS)
}

fn diagnose(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let report = doctor::Report::make(config)?;
    match json {
        true => println!("{:#}", report.json()),
        false => print!("{}", report.table()),
    }
    Ok(if report.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
