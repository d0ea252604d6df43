//! The library behind `sonde-agent`: probes, tables, names, series.
//!
//! The map of modules and what each may import is in `docs/architecture.md`.

#![deny(unsafe_code)]

pub mod aside;
pub mod cloud;
pub mod config;
pub mod doctor;
pub mod edges;
pub mod enrich;
pub mod fuzz;
pub mod gpu;
pub mod health;
pub mod host_path;
pub mod kernel;
pub mod model;
pub mod networks;
pub mod node;
pub mod observer;
pub mod pace;
pub mod probes;
pub mod push;
pub mod registry;
pub mod resources;
mod run;
pub mod serve;
pub mod shares;
pub mod shutdown;
#[cfg(test)]
mod skip;
pub mod state;
pub mod telemetry;
pub mod translate;

pub use run::{kernel_options, run, translator};
