//! Several cgroups taken for one.

use std::ops::Add;

use super::{Cpu, Memory, MemoryEvents, Pressure, Resources, Stall, Tasks};
use crate::model::DiskIo;

impl Resources {
    /// Two cgroups that live side by side. What they use adds up, and so do their limits, for each may use its own up;
    /// there is none where one of them has none. Pressure is a share of time, which does not add up: it stays this one's.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.cpu = self.cpu.and(&other.cpu);
        self.memory = self.memory.and(&other.memory);
        self.tasks = Tasks {
            current: sum(self.tasks.current, other.tasks.current),
            limit: both(self.tasks.limit, other.tasks.limit),
        };
        for disk in &other.disks {
            match self.disks.binary_search_by_key(&disk.device, |known| known.device) {
                Ok(at) => self.disks[at] = self.disks[at].and(disk),
                Err(at) => self.disks.insert(at, *disk),
            }
        }
        self
    }

    /// A cgroup that goes on where another one has ended: counters go on from its own, the rest is this one's.
    #[must_use]
    pub fn after(self, ended: &Self) -> Self {
        let (cpu, memory, tasks) = (self.cpu, self.memory, self.tasks);
        let sum = self.and(ended);
        Self {
            cpu: Cpu { limit_cores: cpu.limit_cores, ..sum.cpu },
            memory: Memory { major_faults: sum.memory.major_faults, events: sum.memory.events, ..memory },
            tasks,
            ..sum
        }
    }
}

impl Cpu {
    fn and(self, other: &Self) -> Self {
        Self {
            usage_seconds: sum(self.usage_seconds, other.usage_seconds),
            user_seconds: sum(self.user_seconds, other.user_seconds),
            system_seconds: sum(self.system_seconds, other.system_seconds),
            throttled_seconds: sum(self.throttled_seconds, other.throttled_seconds),
            periods: sum(self.periods, other.periods),
            throttled_periods: sum(self.throttled_periods, other.throttled_periods),
            limit_cores: both(self.limit_cores, other.limit_cores),
        }
    }
}

impl Memory {
    fn and(self, other: &Self) -> Self {
        Self {
            rss_bytes: sum(self.rss_bytes, other.rss_bytes),
            cache_bytes: sum(self.cache_bytes, other.cache_bytes),
            working_set_bytes: sum(self.working_set_bytes, other.working_set_bytes),
            swap_bytes: sum(self.swap_bytes, other.swap_bytes),
            limit_bytes: both(self.limit_bytes, other.limit_bytes),
            effective_limit_bytes: both(self.effective_limit_bytes, other.effective_limit_bytes),
            swap_limit_bytes: both(self.swap_limit_bytes, other.swap_limit_bytes),
            major_faults: sum(self.major_faults, other.major_faults),
            events: MemoryEvents {
                high: sum(self.events.high, other.events.high),
                max: sum(self.events.max, other.events.max),
                oom: sum(self.events.oom, other.events.oom),
                oom_kill: sum(self.events.oom_kill, other.events.oom_kill),
            },
        }
    }
}

impl DiskIo {
    fn and(self, other: &Self) -> Self {
        Self {
            device: self.device,
            reads: sum(self.reads, other.reads),
            writes: sum(self.writes, other.writes),
            read_bytes: sum(self.read_bytes, other.read_bytes),
            written_bytes: sum(self.written_bytes, other.written_bytes),
            discards: sum(self.discards, other.discards),
            discarded_bytes: sum(self.discarded_bytes, other.discarded_bytes),
        }
    }
}

impl Pressure {
    /// Each of its values, with that of another one, which is zero where that has none.
    #[must_use]
    pub fn with(self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        let stall = |own: Stall, other: Stall| Stall {
            some_seconds: own.some_seconds.map(|own| of(own, other.some_seconds.unwrap_or(0.0))),
            full_seconds: own.full_seconds.map(|own| of(own, other.full_seconds.unwrap_or(0.0))),
        };
        Self {
            cpu: stall(self.cpu, other.cpu),
            memory: stall(self.memory, other.memory),
            io: stall(self.io, other.io),
        }
    }
}

/// What is known of both together.
fn sum<T: Add<Output = T>>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

/// The sum where both have one.
fn both<T: Add<Output = T>>(one: Option<T>, other: Option<T>) -> Option<T> {
    Some(one? + other?)
}
