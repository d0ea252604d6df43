//! Walking a feature's chain: load, attach, keep the error, take the next choice.
//!
//! Kernel versions are never compared and no probing helper is asked: distributions backport, and some kernels refuse
//! what others of the same version take. Trying is the only test that cannot be wrong.

mod cgroup;

use std::io;

use aya::{
    Ebpf,
    programs::{BtfTracePoint, FExit, Iter, Program, ProgramError, TracePoint},
};

use super::{
    Options, capabilities,
    feature::{Choice, FeatureId, FeatureStatus, Verdict},
    object::{Context, explain},
};

/// Why a choice could not be taken.
enum Refusal {
    /// The kernel does not have it.
    Unsupported(String),
    /// It has it, but something is in the way.
    Broken(String),
}

/// Loads and attaches every feature that is not turned off.
pub fn all(ebpf: &mut Ebpf, context: &Context, options: &Options) -> Vec<FeatureStatus> {
    FeatureId::ALL.iter().map(|id| FeatureStatus::new(*id, feature(ebpf, context, options, *id))).collect()
}

fn feature(ebpf: &mut Ebpf, context: &Context, options: &Options, id: FeatureId) -> Verdict {
    if let Some(unwanted) = options.disabled(id) {
        return unwanted.verdict();
    }
    let mut refused = Vec::new();
    let mut broken = false;
    for choice in id.chain() {
        let possible = forced(options, choice).and_then(|()| missing(context, id, choice));
        match possible.and_then(|()| take(ebpf, context, options, choice)) {
            Ok(()) => return Verdict::Ok { choice: choice.to_string(), refused },
            Err(Refusal::Unsupported(reason)) => refused.push(format!("{choice}: {reason}")),
            Err(Refusal::Broken(reason)) => {
                broken = true;
                refused.push(format!("{choice}: {reason}"));
            }
        }
    }
    let reason = refused.join("; ");
    if broken { Verdict::Broken { reason } } else { Verdict::Unsupported { reason } }
}

/// A test may have the kernel refuse what it would take.
fn forced(options: &Options, choice: &Choice) -> Result<(), Refusal> {
    match options.refused(choice) {
        Some(program) => {
            Err(Refusal::Unsupported(format!("`{program}` is refused by a test (SONDE_REFUSE)")))
        }
        None => Ok(()),
    }
}

/// A program that reads structures by BTF needs the members it was written for.
fn missing(context: &Context, id: FeatureId, choice: &Choice) -> Result<(), Refusal> {
    match choice {
        Choice::Tracepoint(..) | Choice::CgroupRoot { reads_structures: false, .. } => return Ok(()),
        Choice::CgroupRoot { .. } => {
            context.btf.as_ref().map(drop).map_err(|reason| Refusal::Unsupported(reason.clone()))?
        }
        _ => {}
    }
    let missing: Vec<String> = id.missing(&context.missing).map(ToString::to_string).collect();
    if missing.is_empty() { Ok(()) } else { Err(Refusal::Unsupported(missing.join(" and "))) }
}

fn take(ebpf: &mut Ebpf, context: &Context, options: &Options, choice: &Choice) -> Result<(), Refusal> {
    match choice {
        Choice::FunctionExits(functions) => {
            let taken = functions.iter().try_for_each(|name| function_exit(ebpf, context, name));
            taken.inspect_err(|_| functions.iter().for_each(|name| unload(ebpf, name)))
        }
        Choice::CgroupRoot { programs, .. } => {
            let taken = cgroup::attach(ebpf, options, programs);
            taken.inspect_err(|_| programs.iter().for_each(|name| unload(ebpf, name)))
        }
        Choice::BtfTracepoints(programs) => {
            let taken =
                programs.iter().try_for_each(|(program, hook)| btf_tracepoint(ebpf, context, program, hook));
            taken.inspect_err(|_| programs.iter().for_each(|(program, _)| unload(ebpf, program)))
        }
        Choice::Tracepoint(program, category, name) => {
            if context.btf.is_ok() {
                // Its table of connections is another one than the iterator's, which works here: the passes alone count.
                return Err(Refusal::Unsupported("only used where type information is missing".to_owned()));
            }
            context.tracefs.clone().map_err(Refusal::Unsupported)?;
            let program = find::<TracePoint>(ebpf, program)?;
            program.load().map_err(|error| refusal(&error))?;
            program.attach(category, name).map_err(|error| refusal(&error)).map(drop)
        }
        Choice::Iterator(program, target) | Choice::ProbingIterator(program, target) => {
            iterator(ebpf, context, program, target)
        }
    }
}

fn btf_tracepoint(ebpf: &mut Ebpf, context: &Context, program: &str, hook: &str) -> Result<(), Refusal> {
    let btf = context.btf.as_ref().map_err(|reason| Refusal::Unsupported(reason.clone()))?;
    if let Some((_, reason)) = context.unfit.iter().find(|(name, _)| *name == program) {
        return Err(Refusal::Unsupported(reason.clone()));
    }
    let program = find::<BtfTracePoint>(ebpf, program)?;
    program.load(hook, btf).map_err(|error| refusal(&error))?;
    program.attach().map_err(|error| refusal(&error)).map(drop)
}

fn function_exit(ebpf: &mut Ebpf, context: &Context, name: &str) -> Result<(), Refusal> {
    let btf = context.btf.as_ref().map_err(|reason| Refusal::Unsupported(reason.clone()))?;
    let program = find::<FExit>(ebpf, name)?;
    program.load(name, btf).map_err(|error| refusal(&error))?;
    program.attach().map_err(|error| refusal(&error)).map(drop)
}

/// Detaches a program: of a choice that could be taken in part only, for the next one would count everything twice, or of
/// a feature that is given up. One that was not loaded says so, which is what is wanted.
pub fn unload(ebpf: &mut Ebpf, name: &str) {
    let _ = match ebpf.program_mut(name) {
        Some(Program::FExit(program)) => program.unload(),
        Some(Program::BtfTracePoint(program)) => program.unload(),
        Some(Program::TracePoint(program)) => program.unload(),
        Some(Program::Iter(program)) => program.unload(),
        Some(Program::CgroupSkb(program)) => program.unload(),
        Some(Program::CgroupSock(program)) => program.unload(),
        _ => Ok(()),
    };
}

/// An iterator is attached anew for each walk; one attempt now shows whether that works. A feature that shares one with
/// another may find it loaded.
fn iterator(ebpf: &mut Ebpf, context: &Context, program: &str, target: &str) -> Result<(), Refusal> {
    let btf = context.btf.as_ref().map_err(|reason| Refusal::Unsupported(reason.clone()))?;
    let program = find::<Iter>(ebpf, program)?;
    if program.fd().is_err() {
        program.load(target, btf).map_err(|error| refusal(&error))?;
    }
    let link = program.attach().map_err(|error| refusal(&error))?;
    program.detach(link).map_err(|error| refusal(&error))
}

fn find<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, Refusal>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let missing = || Refusal::Broken(format!("program `{name}` is not in the object"));
    let program = ebpf.program_mut(name).ok_or_else(missing)?;
    program.try_into().map_err(|error: ProgramError| refusal(&error))
}

/// Sorts an error: what the kernel lacks, or what is in the way.
fn refusal(error: &ProgramError) -> Refusal {
    refusal_for(error, capabilities::missing_for_tracing)
}

/// The same for programs that need `missing` capabilities.
fn refusal_for(error: &ProgramError, missing: fn() -> Vec<&'static str>) -> Refusal {
    let (call, io_error, log) = match error {
        ProgramError::LoadError { io_error, verifier_log } => ("load", io_error, verifier_log.to_string()),
        ProgramError::SyscallError(error) => (error.call, &error.io_error, String::new()),
        // No such hook in the kernel's types, no such tracepoint.
        ProgramError::Btf(_) | ProgramError::TracePointError(_) => {
            return Refusal::Unsupported(explain(error));
        }
        other => return Refusal::Broken(explain(other)),
    };
    if io_error.kind() == io::ErrorKind::PermissionDenied && log.trim().is_empty() {
        let missing = missing();
        let why = match missing.is_empty() {
            true => {
                "the kernel does not allow this kind of program (lockdown or a security module)".to_owned()
            }
            false => format!("missing {}", missing.join(" and ")),
        };
        return Refusal::Broken(format!("{call}: {io_error}: {why}"));
    }
    match last_line(&log) {
        Some(line) => Refusal::Broken(format!("{call}: {io_error}: the verifier says: {line}")),
        None => Refusal::Unsupported(format!("{call}: {io_error}")),
    }
}

/// The verifier's log ends with statistics; its complaint stands before them.
fn last_line(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["processed ", "stack depth ", "verification time "];
    let is_statistic = |line: &str| STATISTICS.iter().any(|start| line.starts_with(start));
    log.lines().map(str::trim).rfind(|line| !line.is_empty() && !is_statistic(line))
}
