//! The series of GPUs: of the machine, and of the containers that use them.

use std::collections::BTreeMap;
use std::path::Path;

use super::Gpu;
use crate::enrich::Workloads;
use crate::model::{BootNanos, CgroupId, HostPid, Origin, WorkloadIx};
use crate::registry::catalog::{container, node};
use crate::registry::{Labels, SnapshotBuilder};

/// Adds the series of the machine's GPUs.
pub fn emit(builder: &mut SnapshotBuilder, gpus: &[Gpu]) {
    let none = Labels::empty();
    for gpu in gpus {
        let info = [("gpu_uuid", gpu.uuid.as_str()), ("name", &gpu.name), ("driver_version", &gpu.driver)];
        builder.number(&node::GPU_INFO, &none, &Labels::new(info), 1.0);
        let own = Labels::new([("gpu_uuid", gpu.uuid.as_str())]);
        let bytes = |value: Option<u64>| value.map(|value| value as f64);
        for (metric, value) in [
            (&node::RESOURCES_GPU_MEMORY_TOTAL_BYTES, bytes(gpu.memory_total)),
            (&node::RESOURCES_GPU_MEMORY_USED_BYTES, bytes(gpu.memory_used)),
            (
                &node::RESOURCES_GPU_MEMORY_UTILIZATION_PERCENT_AVG,
                gpu.memory_utilization.map(|range| range.average),
            ),
            (
                &node::RESOURCES_GPU_MEMORY_UTILIZATION_PERCENT_PEAK,
                gpu.memory_utilization.map(|range| range.peak),
            ),
            (&node::RESOURCES_GPU_UTILIZATION_PERCENT_AVG, gpu.utilization.map(|range| range.average)),
            (&node::RESOURCES_GPU_UTILIZATION_PERCENT_PEAK, gpu.utilization.map(|range| range.peak)),
            (&node::RESOURCES_GPU_TEMPERATURE_CELSIUS, gpu.temperature),
            (&node::RESOURCES_GPU_POWER_USAGE_WATTS, gpu.power),
        ] {
            if let Some(value) = value {
                builder.number(metric, &none, &own, value);
            }
        }
    }
}

/// Adds what the processes of each container did with the GPUs.
pub fn emit_containers(
    builder: &mut SnapshotBuilder,
    gpus: &[Gpu],
    workloads: &mut Workloads,
    proc_root: &Path,
    now: BootNanos,
) {
    for gpu in gpus {
        let mut uses: BTreeMap<WorkloadIx, (f64, f64)> = BTreeMap::new();
        for process in &gpu.processes {
            // One that has ended belongs to nobody any more.
            let Some(origin) = origin(proc_root, process.pid) else { continue };
            let sum = uses.entry(workloads.resolve(&origin, now)).or_default();
            *sum = (sum.0 + process.compute_percent, sum.1 + process.memory_percent);
        }
        let own = Labels::new([("gpu_uuid", gpu.uuid.as_str())]);
        for (ix, (compute, memory)) in uses {
            if workloads.is_exported(ix, now) {
                let owner = workloads.labels(ix);
                builder.number(&container::RESOURCES_GPU_USAGE_PERCENT, owner, &own, compute);
                builder.number(&container::RESOURCES_GPU_MEMORY_USAGE_PERCENT, owner, &own, memory);
            }
        }
    }
}

/// A process that only its id is known of; its cgroups are looked up in procfs.
fn origin(proc_root: &Path, pid: u32) -> Option<Origin> {
    // A name may be any bytes.
    let comm = std::fs::read(proc_root.join(pid.to_string()).join("comm")).ok()?;
    let comm = String::from_utf8_lossy(&comm).trim_end().into();
    Some(Origin { pid: HostPid(pid), v2: CgroupId(0), v1: CgroupId(0), comm })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gpu::Range;
    use crate::model::UnixMillis;

    /// A GPU that supports next to nothing.
    pub(in crate::gpu) fn gpu() -> Gpu {
        Gpu {
            uuid: "GPU-1".to_owned(),
            name: "T4".to_owned(),
            driver: "550".to_owned(),
            memory_total: None,
            memory_used: None,
            memory_utilization: None,
            utilization: Some(Range { average: 1.5, peak: 3.0 }),
            temperature: None,
            power: None,
            processes: Vec::new(),
        }
    }

    #[test]
    fn what_a_gpu_does_not_support_is_absent() {
        let mut builder = SnapshotBuilder::default();
        emit(&mut builder, &[gpu()]);
        let snapshot = builder.build(UnixMillis(0), Labels::empty());
        let names = snapshot
            .families
            .iter()
            .map(|family| family.metric.name)
            .filter(|name| name.starts_with("node_"));
        let expected = [
            "node_gpu_info",
            "node_resources_gpu_utilization_percent_avg",
            "node_resources_gpu_utilization_percent_peak",
        ];
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }
}
