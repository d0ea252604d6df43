//! Which probes are wanted.

/// A family of observations that can be turned off as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// TCP connections.
    Tcp,
    /// Processes: start times and run-queue delay.
    Process,
    /// Block devices: I/O where cgroup files do not count it.
    Block,
    /// Time that threads wait for a CPU, as histograms. Optional.
    RunQueue,
    /// Time that requests to disks take, as histograms. Optional.
    BlockLatency,
    /// Dropped packets by the kernel's reasons. Optional.
    Drops,
    /// Control groups as they come and go.
    Cgroup,
    /// Where connections lead behind address translation.
    Net,
    /// UDP traffic.
    Udp,
    /// DNS answers.
    Dns,
}

impl Probe {
    /// All probes.
    pub const ALL: &'static [Self] = &[
        Self::Tcp,
        Self::Process,
        Self::Block,
        Self::RunQueue,
        Self::BlockLatency,
        Self::Drops,
        Self::Cgroup,
        Self::Net,
        Self::Udp,
        Self::Dns,
    ];

    /// Name in settings and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Process => "process",
            Self::Block => "block",
            Self::RunQueue => "runqueue",
            Self::BlockLatency => "block-latency",
            Self::Drops => "drops",
            Self::Cgroup => "cgroup",
            Self::Net => "net",
            Self::Udp => "udp",
            Self::Dns => "dns",
        }
    }

    /// Whether it is left out unless asked for: it costs more than what everybody needs.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::RunQueue | Self::BlockLatency | Self::Drops)
    }

    /// The probe of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|probe| probe.name() == name)
    }
}

/// Whether a probe is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Use it; that it does not work is an error.
    On,
    /// Leave it out.
    Off,
    /// Use it if the kernel can do it; that it does not work is a fact.
    #[default]
    Auto,
}

impl Switch {
    /// The switch of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "on" => Some(Self::On),
            "off" => Some(Self::Off),
            "auto" => Some(Self::Auto),
            _ => None,
        }
    }
}

/// The switch of every probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSwitches([Switch; Probe::ALL.len()]);

impl Default for ProbeSwitches {
    fn default() -> Self {
        let default = |probe: &Probe| if probe.is_optional() { Switch::Off } else { Switch::Auto };
        let mut switches = [Switch::Auto; Probe::ALL.len()];
        Probe::ALL.iter().for_each(|probe| switches[*probe as usize] = default(probe));
        Self(switches)
    }
}

impl ProbeSwitches {
    /// The switch of a probe; unless told otherwise [`Switch::Off`] of an optional one and [`Switch::Auto`] of others.
    pub fn get(&self, probe: Probe) -> Switch {
        self.0[probe as usize]
    }

    /// Sets the switch of a probe.
    pub fn set(&mut self, probe: Probe, switch: Switch) {
        self.0[probe as usize] = switch;
    }
}
