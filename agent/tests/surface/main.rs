//! What the agent shows to the outside: expositions, help texts, references.

mod exposition;
mod golden;
mod promtool;
mod protobuf;
mod references;
