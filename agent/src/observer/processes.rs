//! Passes over all tasks, and what threads tell when they end.

use super::clock;
use super::core::Core;
use crate::enrich::Workloads;
use crate::kernel::FeatureId;
use crate::model::BootNanos;
use crate::probes::block;
use crate::probes::process::{self, Gather, ProcessEvent};
use crate::state::Measurements;

impl Core {
    /// Lists all threads. Those that end meanwhile are told by events, which are taken in before the list is: see
    /// [`Workloads::thread_exited`].
    pub(super) fn pass_tasks(&mut self) {
        let now = clock::boot();
        self.parts.workloads.begin_pass();
        let mut gather = Gather::new(self.parts.kernel.begin_task_pass(clock::uptime().0));
        let Self { parts, telemetry, pace, .. } = self;
        let walked = parts.kernel.tasks(pace, |row| {
            if let Err(error) = gather.push(row) {
                telemetry.count_decode_error(error);
            }
        });
        self.drain();
        let workloads = &mut self.parts.workloads;
        let tasks = match walked {
            Ok(()) => Ok(gather.finish()),
            // Without the iterator, /proc tells the same for more time.
            Err(error) => {
                if self.parts.kernel.has(FeatureId::ProcessTasks) {
                    self.telemetry.count_pass_failure("tasks", &error);
                }
                workloads.walk_processes()
            }
        };
        match tasks {
            Ok(tasks) => workloads.observe_tasks(&tasks, now, clock::suspended()),
            Err(error) => self.telemetry.count_pass_failure("tasks", &error),
        }
        self.parts.kernel.take_exited(|key, exited| {
            workloads.threads_exited(&process::short_lived(key, exited), now);
        });
        let measurements = &mut self.measurements;
        self.parts.kernel.take_bios(|key, counts| {
            let (owner, device, counts) = block::disk_io(key, counts);
            measurements.disk_io(workloads.resolve_departed(&owner, now), device, counts);
        });
        for (workload, ns) in workloads.take_disk_waits() {
            measurements.disk_wait(workload, ns);
        }
    }
}

/// Takes in something that happened to a process; returns its name for the counter of events.
pub(super) fn handle(
    workloads: &mut Workloads,
    measurements: &mut Measurements,
    event: &ProcessEvent,
    now: BootNanos,
) -> &'static str {
    match event {
        ProcessEvent::Exited(exit) => {
            workloads.thread_exited(exit, now);
            "thread_exited"
        }
        ProcessEvent::OomVictim(origin) => {
            if let Some(workload) = workloads.oom_victim(origin, now) {
                measurements.oom_kill(workload);
            }
            "oom_victim"
        }
    }
}
