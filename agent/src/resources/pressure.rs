//! Pressure stall information, which only the unified hierarchy has.

use super::files::Files;

/// For how long tasks waited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// While at least one task waited.
    pub some_seconds: Option<f64>,
    /// While all tasks that were not idle waited.
    pub full_seconds: Option<f64>,
}

/// Stalls by resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// For a CPU.
    pub cpu: Stall,
    /// For memory.
    pub memory: Stall,
    /// For I/O.
    pub io: Stall,
}

pub(super) fn read(files: &mut Files<'_>) -> Pressure {
    let mut stall = |name| files.text(name).map(parse).unwrap_or_default();
    Pressure { cpu: stall("cpu.pressure"), memory: stall("memory.pressure"), io: stall("io.pressure") }
}

fn parse(text: &str) -> Stall {
    let total = |kind: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        let micros: u64 = line.rsplit_once("total=")?.1.trim().parse().ok()?;
        Some(micros as f64 / 1e6)
    };
    Stall { some_seconds: total("some "), full_seconds: total("full ") }
}
