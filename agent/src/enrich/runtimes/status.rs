//! What is known of a runtime, for `/status` and the log.

use std::path::PathBuf;

use super::Kind;

/// One runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its kind.
    pub runtime: Kind,
    /// Its socket, as it is called on the host; `None` while none was found.
    pub endpoint: Option<PathBuf>,
    /// How it is.
    pub state: State,
}

/// How a runtime is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There was no container to ask about.
    #[default]
    Unused,
    /// The last question was answered.
    Connected,
    /// There is no socket at the last question, where it was looked for.
    Absent(String),
    /// The last question was not answered, and why.
    Unreachable(String),
}

impl State {
    /// The name in `/status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Connected => "connected",
            Self::Absent(_) => "absent",
            Self::Unreachable(_) => "unreachable",
        }
    }

    /// Why, where there is something to explain.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Unused | Self::Connected => None,
            Self::Absent(reason) | Self::Unreachable(reason) => Some(reason),
        }
    }
}
