//! Programs at the root of the unified cgroup hierarchy: they run for every socket of the machine.
//!
//! They are held by links: when the agent goes, whatever way, the kernel detaches them.

use std::fs::File;

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, Program, ProgramError},
};

use super::{Refusal, refusal_for};
use crate::kernel::{Options, capabilities};

/// Loads programs and attaches them.
pub fn attach(ebpf: &mut Ebpf, options: &Options, programs: &[&str]) -> Result<(), Refusal> {
    let root = options.cgroup_v2.as_deref();
    let root =
        root.ok_or_else(|| Refusal::Unsupported("the unified cgroup hierarchy is not mounted".to_owned()))?;
    let root = File::open(root)
        .map_err(|error| Refusal::Broken(format!("open the cgroup {}: {error}", root.display())))?;
    programs.iter().try_for_each(|name| one(ebpf, &root, name))
}

fn one(ebpf: &mut Ebpf, root: &File, name: &str) -> Result<(), Refusal> {
    let refusal = |error: ProgramError| refusal_for(&error, capabilities::missing_for_cgroups);
    // A link takes no flags: it never excludes other programs.
    let mode = CgroupAttachMode::Single;
    match ebpf.program_mut(name) {
        Some(Program::CgroupSkb(program)) => {
            let Some(hook) = *program.expected_attach_type() else {
                return Err(Refusal::Broken(format!("program `{name}` names no direction")));
            };
            program.load().map_err(refusal)?;
            program.attach(root, hook, mode).map_err(refusal).map(drop)
        }
        Some(Program::CgroupSock(program)) => {
            program.load().map_err(refusal)?;
            program.attach(root, mode).map_err(refusal).map(drop)
        }
        _ => Err(Refusal::Broken(format!("program `{name}` is not in the object"))),
    }
}
