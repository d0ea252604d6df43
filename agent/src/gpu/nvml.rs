//! The library itself: loads it and asks it once a second.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nvml_wrapper::enum_wrappers::device::{Sampling, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use tokio_util::sync::CancellationToken;

use super::Gpu;
use super::window::{Processes, Samples};

/// Between two questions: the driver keeps samples for some seconds only.
const EVERY: Duration = Duration::from_secs(1);
/// How far a process' sample may be ahead of the newest of the whole GPU, in microseconds of the driver's clock.
const AHEAD: u64 = 60_000_000;
/// GPUs that are asked; the largest machines have 16.
const MAX_GPUS: u32 = 64;

/// What is remembered of a GPU between two questions.
#[derive(Default)]
struct Memory {
    utilization: Samples,
    memory_utilization: Samples,
    processes: Processes,
    /// Time stamps of the newest samples, microseconds of the driver's clock.
    seen: [u64; 3],
}

/// Loads the library at `path` and shows what it says, until `stop` is cancelled or the library fails as a whole.
///
/// # Errors
/// When it cannot be loaded, or the driver is gone.
pub(super) fn watch(
    path: &Path,
    stop: &CancellationToken,
    mut show: impl FnMut(Vec<Gpu>),
) -> Result<(), NvmlError> {
    let nvml = Nvml::builder().lib_path(path.as_os_str()).init()?;
    let driver = nvml.sys_driver_version().unwrap_or_default();
    let mut memories: BTreeMap<u32, Memory> = BTreeMap::new();
    while !stop.is_cancelled() {
        let count = nvml.device_count()?.min(MAX_GPUS);
        let mut gpus = Vec::new();
        for index in 0..count {
            // One GPU that has fallen off the bus does not hide the others.
            if let Ok(device) = nvml.device_by_index(index)
                && let Some(gpu) = ask(&device, memories.entry(index).or_default(), &driver)
            {
                gpus.push(gpu);
            }
        }
        show(gpus);
        std::thread::sleep(EVERY);
    }
    Ok(())
}

fn ask(device: &Device<'_>, memory: &mut Memory, driver: &str) -> Option<Gpu> {
    let uuid = device.uuid().ok()?;
    let Memory { utilization, memory_utilization, processes, seen } = memory;
    let of_gpu = samples(device, Sampling::GpuUtilization, &mut seen[0]);
    let of_memory = samples(device, Sampling::MemoryUtilization, &mut seen[1]);
    let is_news = !(of_gpu.is_empty() && of_memory.is_empty());
    utilization.push(of_gpu);
    memory_utilization.push(of_memory);
    // Not found means that nobody did anything.
    let mut used = device.process_utilization_stats(seen[2]).unwrap_or_default();
    // Drivers put entries of no process among them, with any numbers and any time.
    let latest = if is_news { seen[0].max(seen[1]).saturating_add(AHEAD) } else { u64::MAX };
    used.retain(|sample| {
        let is_possible = sample.sm_util <= 100 && sample.mem_util <= 100;
        is_possible && sample.timestamp > seen[2] && sample.timestamp <= latest
    });
    seen[2] = used.iter().map(|sample| sample.timestamp).fold(seen[2], u64::max);
    let used = used.iter().map(|sample| (sample.pid, f64::from(sample.sm_util), f64::from(sample.mem_util)));
    processes.push(&used.collect::<Vec<_>>());
    let info = device.memory_info().ok();
    Some(Gpu {
        uuid,
        name: device.name().unwrap_or_default(),
        driver: driver.to_owned(),
        memory_total: info.as_ref().map(|info| info.total),
        memory_used: info.as_ref().map(|info| info.used),
        memory_utilization: memory_utilization.range(),
        utilization: utilization.range(),
        temperature: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        power: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
        processes: processes.uses(),
    })
}

/// The samples since the last question.
fn samples(device: &Device<'_>, kind: Sampling, seen: &mut u64) -> Vec<f64> {
    let samples = device.samples(kind, *seen).unwrap_or_default();
    *seen = samples.iter().map(|sample| sample.timestamp).fold(*seen, u64::max);
    let percent = |value: &SampleValue| match value {
        SampleValue::F64(value) => *value,
        SampleValue::U32(value) => f64::from(*value),
        SampleValue::U64(value) => *value as f64,
        SampleValue::I64(value) => *value as f64,
    };
    samples.iter().map(|sample| percent(&sample.value)).collect()
}
