//! The order of a program's system calls, as `strace` saw it.

use std::collections::HashMap;

/// One call. Places are line numbers of the trace: a call has begun before another one ended when its `begun` is smaller
/// than the other's `ended`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The thread.
    pub thread: u32,
    /// The system call's name.
    pub name: String,
    /// Its arguments, with descriptors' paths when traced with `-y`.
    pub arguments: String,
    /// What it returned, with strace's remarks; nothing when it never returned.
    pub result: String,
    /// Where it begins.
    pub begun: usize,
    /// Where it ends.
    pub ended: usize,
}

/// Reads what `strace -f -o FILE` wrote. Lines that are no calls (signals, exits) are left out.
pub fn parse(trace: &str) -> Vec<Call> {
    let mut open: HashMap<u32, Call> = HashMap::new();
    let mut calls = Vec::new();
    for (place, line) in trace.lines().enumerate() {
        let Some((thread, text)) = line.trim_start().split_once(' ') else { continue };
        let (Ok(thread), text) = (thread.parse(), text.trim_start()) else { continue };
        if let Some(rest) = text.strip_prefix("<... ") {
            let Some(mut call) = open.remove(&thread) else { continue };
            let (more, result) = rest.split_once("resumed>").map_or(("", ""), |(_, rest)| split_result(rest));
            call.arguments.push_str(more);
            call.result = result.to_owned();
            call.ended = place;
            calls.push(call);
        } else if let Some((name, rest)) = text.split_once('(') {
            let begin = |arguments: &str, result: &str| Call {
                thread,
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                result: result.to_owned(),
                begun: place,
                ended: place,
            };
            if let Some(arguments) = rest.strip_suffix("<unfinished ...>") {
                open.insert(thread, begin(arguments.trim_end(), ""));
            } else {
                let (arguments, result) = split_result(rest);
                calls.push(begin(arguments, result));
            }
        }
    }
    calls.sort_by_key(|call| call.begun);
    calls
}

/// Splits `arguments) = result`; arguments may contain the same characters inside strings, so the last one counts.
fn split_result(text: &str) -> (&str, &str) {
    let Some(at) = text.rfind(" = ") else { return (text, "") };
    (text[..at].trim_end().trim_end_matches(')'), text[at + 3..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_calls_keep_both_places() {
        let trace = "7  pwrite64(9</d/log>, \"a) = b\", 6, 0) = 6\n\
            8  fdatasync(9</d/log> <unfinished ...>\n\
            7  write(3<socket:[1]>, \"HTTP/1.1 204\", 12) = 12\n\
            8  <... fdatasync resumed>)          = 0\n\
            8  +++ exited with 0 +++\n";
        let calls = parse(trace);
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["pwrite64", "fdatasync", "write"]);
        assert_eq!((calls[1].begun, calls[1].ended, calls[1].result.as_str()), (1, 3, "0"));
        assert_eq!(calls[1].arguments, "9</d/log>");
        assert_eq!(calls[0].arguments, "9</d/log>, \"a) = b\", 6, 0");
    }
}
