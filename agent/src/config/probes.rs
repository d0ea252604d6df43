//! Which probes are wanted.

/// A family of observations that can be turned off as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// TCP connections.
    Tcp,
    /// Processes: start times and run-queue delay.
    Process,
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
    pub const ALL: &'static [Self] =
        &[Self::Tcp, Self::Process, Self::Cgroup, Self::Net, Self::Udp, Self::Dns];

    /// Name in settings and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Process => "process",
            Self::Cgroup => "cgroup",
            Self::Net => "net",
            Self::Udp => "udp",
            Self::Dns => "dns",
        }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeSwitches([Switch; Probe::ALL.len()]);

impl ProbeSwitches {
    /// The switch of a probe; [`Switch::Auto`] unless told otherwise.
    pub fn get(&self, probe: Probe) -> Switch {
        self.0[probe as usize]
    }

    /// Sets the switch of a probe.
    pub fn set(&mut self, probe: Probe, switch: Switch) {
        self.0[probe as usize] = switch;
    }
}
