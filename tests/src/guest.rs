//! What PID 1 of the kernel matrix does: the system's mounts and modules, the agent, traffic in exact numbers, and
//! the results on the console.
//!
//! It finds itself as `/init`, the agent as `/usr/bin/sonde-agent`, and the modules to load, in their order, in
//! `/etc/modules`. It says one line per result after `SONDE-VM: `: `BEGIN` first, `PASS test`, `FAIL test reason`,
//! `SKIP test reason`, `VERDICT feature verdict`, `PROGRAM name instructions`, and `DONE` last.

mod choices;
mod datagrams;
mod endings;
mod hierarchy;
mod kernel_client;
mod load;
mod machine;
mod memory;
mod resources;
mod tests;
mod translation;

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use self::kernel_client::KernelClient;
use crate::exposition::Exposition;
use crate::product::Expected;
use crate::{http, wait};

const AGENT: &str = "/usr/bin/sonde-agent";
const AGENT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10300);
const OPTIONAL: [&str; 3] = ["runqueue=auto", "block-latency=auto", "drops=auto"];
const AGENT_LOG: &str = "/tmp/agent.log";
/// Interpreted kernels are slow, above all in verifying programs.
const START: Duration = Duration::from_secs(90);
/// Everything else comes with the next snapshots.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs as PID 1, or as one of its children when there are arguments; PID 1 never returns.
///
/// # Errors
/// Of a child, and when this is not PID 1 of a machine of its own.
pub fn main(arguments: &[&str]) -> Result<()> {
    // What a load starts is this program again.
    if let ["burn", _] = arguments {
        return crate::traffic::run(arguments);
    }
    if let ["child", "in", service, rest @ ..] = arguments {
        return tests::child_in(service, rest);
    }
    if let ["child", role] = arguments {
        return if load::is_role(role) { load::child(role) } else { tests::child(role) };
    }
    anyhow::ensure!(std::process::id() == 1, "this is the first process of a test machine, not a command");
    say("BEGIN");
    if let Err(error) = run() {
        say(&format!("FAIL setup {}", one_line(&format!("{error:#}"))));
    }
    say("DONE");
    machine::power_off()
}

fn run() -> Result<()> {
    machine::set_up()?;
    if hierarchy::has_v1() {
        return run_on_v1();
    }
    // Open before the agent is: they are what it finds at its start.
    let mut existing = tests::Existing::open()?;
    let kernels = kernel_client::is_there().then(KernelClient::open).transpose()?;
    let mut agent = Agent::start("", &[])?;
    check("agent_starts", || agent.wait_until_ready());
    let agent_is_up = http::get(AGENT_ADDRESS, "/readyz", &[]).is_ok();
    if agent_is_up {
        check("existing_connection_is_a_baseline", || existing.check(&agent));
        if let Some(kernels) = kernels {
            check("an_existing_connection_of_the_kernel_is_a_baseline", || kernels.check_existing(&agent));
            check("bytes_of_a_connection_of_the_kernel_are_exact", || {
                KernelClient::open()?.check_new(&agent);
                Ok(())
            });
        }
        tests::run_all(&agent);
        load::run_all(&agent);
        endings::run_all(&agent);
        memory::run_all(&agent);
        translation::run_all(&agent);
        report_status(&agent);
        check("agent_stops_and_detaches", || agent.stop());
    }
    show_log();
    if agent_is_up {
        choices::run_all();
        resources::prepare()?;
        choices::round("with_limits", "", &[], resources::run_all);
    }
    Ok(())
}

/// What depends on the hierarchy of the controllers.
fn run_on_v1() -> Result<()> {
    resources::prepare()?;
    choices::round("on_v1", "", &[], |agent| {
        check("a_service_owns_its_connections", || tests::service(agent));
        load::run_all(agent);
        memory::run_all(agent);
        resources::run_all(agent);
        report_status(agent);
    });
    show_log();
    choices::run_second();
    Ok(())
}

/// Shows what the last agent said.
fn show_log() {
    let log = std::fs::read_to_string(AGENT_LOG).unwrap_or_default();
    println!("--- the agent said:\n{log}");
}

/// Runs one test and says its result; a panic is a failure with its message.
fn check(name: &str, test: impl FnOnce() -> Result<()>) {
    let outcome = catch_unwind(AssertUnwindSafe(test)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow::anyhow!("{}", text.unwrap_or("panic")))
    });
    match outcome {
        Ok(()) => say(&format!("PASS {name}")),
        Err(error) => say(&format!("FAIL {name} {}", one_line(&format!("{error:#}")))),
    }
}

fn say(line: &str) {
    println!("SONDE-VM: {line}");
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The agent in the guest.
struct Agent(Child);

impl Agent {
    /// Starts it with more flags, on a kernel that refuses these programs.
    fn start(refused: &str, flags: &[&str]) -> Result<Self> {
        let log = std::fs::File::create(AGENT_LOG).context("create the agent's log")?;
        let child = Command::new(AGENT)
            // Namespaces of the guest have nothing else.
            .env("SONDE_CONTAINER_LOOPBACK", "true")
            .args(["--listen", &AGENT_ADDRESS.to_string(), "--scrape-interval", "1s"])
            // What is off by default must load everywhere, too; totals of UDP are off where no zones are told apart.
            .args(["--zone", "guest"])
            .args(OPTIONAL.iter().flat_map(|probe| ["--probe", probe]))
            .args(flags)
            .env("SONDE_REFUSE", refused)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("clone the log's descriptor")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {AGENT}"))?;
        Ok(Self(child))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        wait::until_within(START, "the agent to be ready", || {
            if let Ok(Some(status)) = self.0.try_wait() {
                panic!(
                    "the agent ended with {status}: {}",
                    std::fs::read_to_string(AGENT_LOG).unwrap_or_default()
                );
            }
            let answer = http::get(AGENT_ADDRESS, "/readyz", &[])?;
            anyhow::ensure!(answer.status == 200, "/readyz answers {}: {}", answer.status, answer.text());
            Ok(())
        });
        Ok(())
    }

    fn status(&self) -> Result<Value> {
        let answer = http::get(AGENT_ADDRESS, "/status", &[])?;
        serde_json::from_slice(&answer.body).context("parse /status")
    }

    fn metrics(&self) -> Result<Exposition> {
        let answer = http::get(AGENT_ADDRESS, "/metrics", &[])?;
        anyhow::ensure!(answer.status == 200, "/metrics answers {}", answer.status);
        Exposition::parse(&answer.text())
    }

    /// Waits until all series have their values and keep them in a later snapshot.
    fn expect(&self, expected: &[Expected<'_>]) {
        let matches = |metrics: &Exposition| -> Result<()> {
            for (name, labels, expected) in expected {
                let seen = match metrics.select(name, labels).as_slice() {
                    [sample] => sample.value,
                    others => anyhow::bail!("{} series are {name}{labels:?}", others.len()),
                };
                anyhow::ensure!(
                    seen.total_cmp(expected).is_eq(),
                    "{name}{labels:?} is {seen}, not {expected}"
                );
            }
            Ok(())
        };
        wait::until_within(DEADLINE, "the series to have their values", || {
            self.metrics().and_then(|metrics| matches(&metrics))
        });
        let uptime = |metrics: &Exposition| metrics.value("node_uptime_seconds", &[]);
        let matched = self.metrics().and_then(|metrics| uptime(&metrics)).expect("the node's uptime");
        wait::until_within(DEADLINE, "a later snapshot", || {
            let metrics = self.metrics()?;
            anyhow::ensure!(uptime(&metrics)? > matched + 1.5, "the snapshot is not newer");
            matches(&metrics)
        });
    }

    fn stop(&mut self) -> Result<()> {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::TERM,
        )
        .context("signal the agent")?;
        let status = wait::until_within(DEADLINE, "the agent's end", || {
            self.0.try_wait().map_err(|error| error.to_string())?.ok_or_else(|| "it is running".to_owned())
        });
        anyhow::ensure!(status.success(), "the agent ended with {status}");
        Ok(())
    }
}

/// Says every probe's verdict and every program's verified instructions, as `/status` has them.
fn report_status(agent: &Agent) {
    check("status_reports_every_probe", || {
        let status = agent.status()?;
        let probes = status["probes"].as_array().context("/status has no list `probes`")?;
        anyhow::ensure!(!probes.is_empty(), "/status lists no probe");
        for probe in probes {
            let name = probe["name"].as_str().context("a probe has no name")?;
            let verdict = probe["verdict"].as_str().context("a probe has no verdict")?;
            let detail = probe["reason"].as_str().or_else(|| probe["choice"].as_str()).unwrap_or_default();
            anyhow::ensure!(!detail.is_empty(), "{name} is {verdict} without a reason");
            say(&format!("VERDICT {name} {verdict}: {}", one_line(detail)));
        }
        for program in status["programs"].as_array().context("/status has no list `programs`")? {
            let name = program["name"].as_str().context("a program has no name")?;
            let instructions = program["verified_instructions"].as_u64();
            say(&format!(
                "PROGRAM {name} {}",
                instructions.map_or("-".to_owned(), |count| count.to_string())
            ));
        }
        Ok(())
    });
}

/// The executable of a child: this program again.
fn child_command(role: &str) -> Command {
    let mut command = Command::new(Path::new("/proc/self/exe"));
    command.args(["child", role]);
    command
}
