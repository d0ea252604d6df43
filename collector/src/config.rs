//! The parts of a configuration that the agent and the collector share.
//!
//! Nothing here reads more than the files it is pointed at. Values are parsed first and judged afterwards by
//! `problems()`, so that everything wrong is reported at once.

mod file;
mod problems;
mod queue;
mod remote_write;
mod secret;

pub use file::ConfigText;
pub use problems::{Problem, Problems};
pub use queue::QueueConfig;
pub use remote_write::{Authorization, BasicAuth, RemoteWriteTarget, TlsConfig, problems_of_targets};
pub use secret::Secret;
