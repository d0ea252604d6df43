//! The kernel object: embedded at build time, given its constants, handed to the kernel.

use std::fs;

use aya::{Btf as AyaBtf, Ebpf, EbpfLoader, Endianness, include_bytes_aligned};

use sonde_abi::budget::{BIOS_MAX, CONNS_TRACEPOINT_MAX, DISK_LATENCY_MAX, DROPS_MAX, run_queue_entries};

use super::{
    Options,
    btf::{self, Btf, BtfError},
    capabilities,
    feature::{self, FeatureId},
    offsets::{self, Offsets},
    signature, tracefs,
};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sonde-ebpf.o"));

/// What attaching needs beside the object.
pub struct Context {
    /// The kernel's types, to find hooks by name; or why they could not be read.
    pub btf: Result<AyaBtf, String>,
    /// Members of structures that this kernel does not have, by structure.
    pub missing: Vec<BtfError>,
    /// Programs whose hook passes something else here, with the reason.
    pub unfit: Vec<(&'static str, String)>,
    /// Names and values of the kernel's reasons to drop a packet.
    pub drop_reasons: Vec<(String, u32)>,
    /// Why the plain tracepoint's format is not known, if so.
    pub tracefs: Result<(), String>,
}

/// Reads the running kernel's offsets and creates the maps. No program is verified yet.
///
/// # Errors
///
/// A sentence that says why the object as a whole cannot be used.
pub fn load(options: &Options) -> Result<(Ebpf, Context), String> {
    // Making a loader parses all of the kernel's types, for relocations that Rust objects do not have. That is the
    // agent's peak memory: it goes first, and is let go, while nothing else is there.
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    let (btf, known) = match read_btf(options) {
        Ok((btf, known)) => (Ok(btf), known),
        Err(reason) => (Err(reason), Known::default()),
    };
    let (tracefs, format) = match tracefs::inet_sock_set_state() {
        Ok(format) => (Ok(()), format),
        Err(reason) => (Err(reason), Vec::new()),
    };
    let cgroup_v1 = u32::from(options.cgroup_v1);
    loader.override_global("READ_CGROUP_V1", &cgroup_v1, true);
    let file_rows = file_rows(options, &known.offsets.missing);
    loader.override_global("FILE_ROWS", &file_rows, true);
    for (global, value) in known.offsets.values.iter().chain(&format) {
        loader.override_global(global, value, true);
    }
    if options.disabled(FeatureId::DiskIo).is_none() {
        loader.map_max_entries("BIOS_A", BIOS_MAX).map_max_entries("BIOS_B", BIOS_MAX);
    }
    if options.disabled(FeatureId::RunQueue).is_none() {
        let cpus = aya::util::nr_cpus().unwrap_or(1);
        loader.map_max_entries("RUN_QUEUE", run_queue_entries(cpus) as u32);
    }
    if options.disabled(FeatureId::DiskLatency).is_none() {
        loader.map_max_entries("DISK_LATENCY", DISK_LATENCY_MAX as u32);
    }
    if options.disabled(FeatureId::Drops).is_none() {
        loader.map_max_entries("DROPS", DROPS_MAX as u32);
    }
    if btf.is_err() {
        loader.map_max_entries("CONN_BY_SOCK_TP", CONNS_TRACEPOINT_MAX);
    }
    let ebpf = loader.load(OBJECT).map_err(|error| with_capabilities(explain(&error)))?;
    Ok((
        ebpf,
        Context {
            btf,
            missing: known.offsets.missing,
            unfit: known.unfit,
            drop_reasons: known.drop_reasons,
            tracefs,
        },
    ))
}

/// What the walk over open files shows: what is wanted and can be read. The rest is left out of the program, which must
/// not fail for it.
fn file_rows(options: &Options, missing: &[BtfError]) -> u32 {
    let is_shown = |id: &&FeatureId| options.disabled(**id).is_none() && id.missing(missing).next().is_none();
    FeatureId::ALL.iter().filter(is_shown).map(|id| id.file_rows()).sum()
}

/// Creating the maps is the first thing that a missing capability refuses.
fn with_capabilities(reason: String) -> String {
    match capabilities::missing_for_tracing().as_slice() {
        [] if reason.contains("Operation not permitted") => format!(
            "{reason}: before Linux 5.11 maps count as locked memory: raise RLIMIT_MEMLOCK or add CAP_SYS_RESOURCE"
        ),
        [] => reason,
        missing => format!("{reason}: missing {}", missing.join(" and ")),
    }
}

/// What is taken from the kernel's types beside the hooks.
#[derive(Default)]
struct Known {
    offsets: Offsets,
    unfit: Vec<(&'static str, String)>,
    drop_reasons: Vec<(String, u32)>,
}

fn read_btf(options: &Options) -> Result<(AyaBtf, Known), String> {
    let name = options.btf.display();
    let blob = fs::read(&options.btf).map_err(|error| format!("kernel type information {name}: {error}"))?;
    let describe = |error: &dyn std::error::Error| format!("kernel type information {name}: {error}");
    let btf = Btf::parse(&blob).map_err(|error| describe(&error))?;
    let known = Known {
        offsets: offsets::resolve(&btf),
        unfit: signature::unfit(&btf),
        drop_reasons: btf.enumerators("skb_drop_reason").unwrap_or_default(),
    };
    let sparse = btf::sparse(&btf, &feature::hooks()).map_err(|error| describe(&error))?;
    // The kernel's blob and its index are gone before the next allocations, so that the peak is one of the two.
    drop(btf);
    drop(blob);
    let btf = AyaBtf::parse(&sparse, Endianness::default()).map_err(|error| describe(&error))?;
    Ok((btf, known))
}

/// One sentence for an error with its causes.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
