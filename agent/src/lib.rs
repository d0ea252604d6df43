//! The library behind `sonde-agent`: probes, tables, names, series.
//!
//! The map of modules and what each may import is in `docs/architecture.md`.

#![deny(unsafe_code)]

pub mod config;
pub mod edges;
pub mod enrich;
pub mod kernel;
pub mod model;
pub mod node;
pub mod probes;
pub mod push;
pub mod registry;
pub mod resources;
pub mod serve;
pub mod shutdown;
pub mod state;
