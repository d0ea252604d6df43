//! `sonde-agent doctor`: tries every feature on this machine and says what works, what does not, and why.

mod surroundings;

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config::Config;
use crate::enrich::runtimes;
use crate::health::{self, Absent, missing_capabilities};
use crate::kernel::{Kernel, Verdict, capabilities};
use crate::resources::{self, CgroupMounts};
use crate::translate;

/// What was found.
pub struct Report {
    kernel: Kernel,
    absent: Absent,
    /// Who names workloads besides the runtimes, as `/status` has it.
    names: Value,
    translation: Vec<translate::Status>,
    runtimes: Vec<(runtimes::Kind, PathBuf)>,
}

impl Report {
    /// Loads and attaches everything once; dropping the report detaches it again. Waits for at most five seconds for
    /// those who are asked.
    ///
    /// # Errors
    /// When nobody can be asked: no threads, or authorities that cannot be read.
    pub fn make(config: &Config) -> anyhow::Result<Self> {
        let mut absent = Absent::default();
        let mounts = CgroupMounts::discover(&config.proc_root, &config.cgroup_root);
        resources::explain(&mounts, &config.proc_root, &mut absent);
        let translation = crate::translator(config).status();
        let kernel = Kernel::open(&crate::kernel_options(config));
        absent.push_features(kernel.features());
        let names = surroundings::look(config, &mut absent)?;
        let runtimes = runtimes::present(&config.proc_root, config.runtime_sockets.clone());
        Ok(Self { kernel, absent, names, translation, runtimes })
    }

    /// Whether every feature that is not turned off works.
    pub fn is_healthy(&self) -> bool {
        let kernel = self.kernel.features().iter();
        // What takes a capability that few grant is no fault of the machine.
        let translates = |status: &translate::Status| !matches!(status.verdict, Verdict::Broken { .. });
        kernel.into_iter().all(|feature| matches!(feature.verdict.name(), "ok" | "disabled"))
            && self.translation.iter().all(translates)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernel": kernel_release(),
            "probes": health::probes(&self.kernel, &self.translation),
            "program_statistics": self.kernel.stats_verdict(),
            "programs": self.kernel.programs(),
            "maps": self.kernel.maps(),
            "missing_capabilities": missing_capabilities(),
            "runtimes": self.runtimes.iter().map(runtime).collect::<Vec<_>>(),
            "names": self.names,
            "absent": self.absent.json(),
            "absent_in_part": health::in_part(),
        })
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!("sonde-agent {} on Linux {}\n\n", env!("CARGO_PKG_VERSION"), kernel_release());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<22} {:<12} DETAIL", "FEATURE", "VERDICT");
        let kernel = self.kernel.features().iter();
        let kernel = kernel.map(|feature| (feature.name.as_str(), &feature.verdict, feature.without));
        let others = self.translation.iter().map(|status| (status.name, &status.verdict, status.without));
        for (name, verdict, without) in kernel.chain(others) {
            let _ = writeln!(text, "{name:<22} {:<12} {}", verdict.name(), verdict.detail());
            if let Some(without) = without {
                let _ = writeln!(text, "{:<35} without it {without}", "");
            }
        }
        let stats = self.kernel.stats_verdict();
        let _ = writeln!(text, "{:<22} {:<12} {}", "program statistics", stats.name(), stats.detail());
        text.push_str("\nCAPABILITY             HELD  FOR\n");
        let missing = capabilities::missing();
        for needed in capabilities::NEEDED {
            let held = if missing.iter().any(|other| other.bit == needed.bit) { "no" } else { "yes" };
            let _ = writeln!(text, "{:<22} {held:<5} {}", needed.name, needed.why);
        }
        self.write_runtimes(&mut text);
        self.write_names(&mut text);
        self.write_absent(&mut text);
        text
    }

    fn write_runtimes(&self, text: &mut String) {
        text.push_str("\nRUNTIME                ENDPOINT\n");
        for (kind, endpoint) in &self.runtimes {
            let _ = writeln!(text, "{:<22} {}", kind.name(), endpoint.display());
        }
        if self.runtimes.is_empty() {
            let _ = writeln!(text, "{:<22} containers keep their ids for names", "none");
        }
    }

    fn write_names(&self, text: &mut String) {
        text.push_str("\nNAMES FROM             STATE\n");
        for (source, status) in self.names.as_object().into_iter().flatten() {
            let words = ["state", "socket", "pods", "reason"].iter().filter_map(|word| status.get(word));
            let words: Vec<_> =
                words.map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
            let _ = writeln!(text, "{source:<22} {}", words.join(" "));
        }
    }

    fn write_absent(&self, text: &mut String) {
        if self.absent.iter().next().is_some() {
            text.push_str("\nNOT MEASURED HERE\n");
        }
        for (reason, metrics) in self.absent.by_reason() {
            let _ = writeln!(text, "{}\n    {reason}", metrics.join(" "));
        }
        text.push_str("\nNEVER MEASURED\n");
        for (metrics, reason) in health::in_part_lines() {
            let _ = writeln!(text, "{metrics}\n    {reason}");
        }
    }
}

fn runtime((kind, endpoint): &(runtimes::Kind, PathBuf)) -> Value {
    json!({ "runtime": kind.name(), "endpoint": endpoint.display().to_string() })
}

fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
