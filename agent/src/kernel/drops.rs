//! Dropped packets by reason.

use aya::maps::{Map, MapData, PerCpuArray};

/// What all names of reasons begin with.
const PREFIX: &str = "SKB_DROP_REASON_";

/// The counters and the names of the running kernel's reasons.
pub struct Drops {
    counts: PerCpuArray<MapData, u64>,
    reasons: Vec<(String, u32)>,
}

impl Drops {
    /// Takes the map and `enum skb_drop_reason`.
    pub fn new(map: Map, enumerators: Vec<(String, u32)>) -> Result<Self, String> {
        let counts = PerCpuArray::try_from(map).map_err(|error| format!("map `DROPS`: {error}"))?;
        let name = |(name, value): (String, u32)| Some((name.strip_prefix(PREFIX)?.to_lowercase(), value));
        // 0 is no reason of the kernel's core; what its subsystems number for themselves is counted there.
        let mut reasons = vec![("subsystem".to_owned(), 0)];
        // The last ones only say where the numbers end.
        let is_reason = |(name, value): &(String, u32)| *value > 0 && name != "max" && name != "subsys_mask";
        reasons.extend(enumerators.into_iter().filter_map(name).filter(is_reason));
        Ok(Self { counts, reasons })
    }

    /// Reasons that packets were dropped for, with how many.
    pub fn read(&self) -> Vec<(&str, u64)> {
        let count = |value: u32| self.counts.get(&value, 0).map_or(0, |cpus| cpus.iter().sum());
        let counted = self.reasons.iter().map(|(name, value)| (name.as_str(), count(*value)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}
