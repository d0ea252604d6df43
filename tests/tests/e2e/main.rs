//! End to end, on the real thing: containers, servers, kernels. One file per family.

mod support;

mod block;
mod choices;
mod dns;
mod endurance;
mod failures;
mod gpu;
mod groups;
mod harness;
mod image;
mod inbound;
mod kernel_numbers;
mod listeners;
mod names;
mod nat;
mod node;
mod overflows;
mod own_files;
mod pods;
mod processes;
mod protocols;
mod queries;
mod queue;
mod refusals;
mod resources;
mod runtimes;
mod services;
mod surface;
mod tcp;
mod trees;
mod udp;
mod units;
mod usage;
mod volumes;
mod zones;
