//! What a hook passes to programs that were written for one of several forms of it.
//!
//! A tracepoint's arguments change between kernels, and distributions carry changes back: its type says which form it
//! is. Programs that read their argument by offsets would load with a wrong one and read nonsense.

use super::btf::Btf;

/// An argument that a program relies on.
struct Signature {
    program: &'static str,
    hook: &'static str,
    /// Index, from 0.
    argument: usize,
    /// Structure that it points to, or its own type.
    is: &'static str,
}

const SIGNATURES: &[Signature] = &[
    Signature { program: "oom_victim", hook: "mark_victim", argument: 0, is: "task_struct" },
    Signature { program: "oom_victim_pid", hook: "mark_victim", argument: 0, is: "int" },
    Signature { program: "bio_queue", hook: "block_bio_queue", argument: 0, is: "bio" },
    Signature { program: "bio_queue_of", hook: "block_bio_queue", argument: 1, is: "bio" },
    Signature { program: "disk_latency", hook: "block_io_done", argument: 0, is: "request" },
    Signature { program: "disk_latency_rq", hook: "block_rq_complete", argument: 0, is: "request" },
    Signature { program: "skb_drop", hook: "kfree_skb", argument: 2, is: "skb_drop_reason" },
];

/// Programs that do not fit their hook on this kernel, with the reason. A hook that is not there at all is reported when
/// it is to be used.
pub fn unfit(btf: &Btf<'_>) -> Vec<(&'static str, String)> {
    let check = |signature: &Signature| {
        let Signature { program, hook, argument, is } = *signature;
        let found = btf.argument(hook, argument).ok()?;
        let found = found.as_deref().unwrap_or("nothing");
        let reason = || format!("the hook's argument {argument} is `{found}`, not `{is}`");
        (found != is).then(|| (program, reason()))
    };
    SIGNATURES.iter().filter_map(check).collect()
}
