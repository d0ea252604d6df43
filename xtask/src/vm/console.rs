//! What the guest says on its serial console.
//!
//! PID 1 of the guest prints, each on a line of its own after `SONDE-VM: `:
//!
//! ```text
//! BEGIN                            printed first; without it the guest died before its first process ran
//! PASS <test>                      SKIP <test> <reason>
//! FAIL <test> <reason>             PROGRAM <name> <verified instructions, or - where the kernel has none>
//! VERDICT <feature> <verdict and reason>
//! DONE                             printed last; without it the guest died on the way
//! ```
//!
//! A kernel message may stand before the mark on the same line, so the mark is looked for anywhere.

const MARK: &str = "SONDE-VM: ";

/// What one guest reported.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Names of tests that passed.
    pub passed: Vec<String>,
    /// Names and reasons of tests that failed.
    pub failed: Vec<(String, String)>,
    /// Names and reasons of tests that could not run.
    pub skipped: Vec<(String, String)>,
    /// Programs and their verified instructions.
    pub programs: Vec<(String, Option<u64>)>,
    /// Features and their verdicts.
    pub verdicts: Vec<(String, String)>,
    /// Whether the guest's first process said anything.
    pub begun: bool,
    /// Whether the guest came to its end.
    pub done: bool,
    /// The kernel's own last words.
    pub panic: Option<String>,
}

impl Outcome {
    /// Whether everything that ran passed and the guest came to its end having run something.
    pub fn is_success(&self) -> bool {
        self.done && self.failed.is_empty() && self.panic.is_none() && !self.passed.is_empty()
    }

    /// Whether the kernel panicked before anything of ours ran in it.
    pub fn died_at_boot(&self) -> bool {
        self.panic.is_some() && !self.begun
    }

    /// Takes the next line of the console.
    pub fn handle_line(&mut self, line: &str) {
        if let Some(at) = line.find("Kernel panic") {
            self.panic.get_or_insert(line[at..].trim().to_owned());
        }
        let Some(at) = line.find(MARK) else { return };
        self.begun = true;
        let said = line[at + MARK.len()..].trim();
        let (kind, rest) = said.split_once(' ').unwrap_or((said, ""));
        let (name, text) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
        let pair = || (name.to_owned(), text.trim().to_owned());
        match kind {
            "BEGIN" => {}
            "PASS" => self.passed.push(name.to_owned()),
            "FAIL" => self.failed.push(pair()),
            "SKIP" => self.skipped.push(pair()),
            "PROGRAM" => self.programs.push((name.to_owned(), text.trim().parse().ok())),
            "VERDICT" => self.verdicts.push(pair()),
            "DONE" => self.done = true,
            // A garbled line must not pass for a result.
            other => self.failed.push(("console".to_owned(), format!("unknown line `{other} {rest}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str]) -> Outcome {
        let mut outcome = Outcome::default();
        lines.iter().for_each(|line| outcome.handle_line(line));
        outcome
    }

    #[test]
    fn results_are_read_from_among_kernel_messages() {
        let outcome = outcome(&[
            "[    0.5] random: crng init done",
            "SONDE-VM: PROGRAM tcp_state 412\r",
            "SONDE-VM: PROGRAM tcp_iter -",
            "[ 1.2] veth: upSONDE-VM: PASS tcp_connects",
            "SONDE-VM: SKIP psi no pressure files",
            "SONDE-VM: VERDICT tcp ok tp_btf",
            "SONDE-VM: DONE",
        ]);
        assert_eq!(outcome.passed, ["tcp_connects"]);
        assert_eq!(outcome.programs, [("tcp_state".into(), Some(412)), ("tcp_iter".into(), None)]);
        assert_eq!(outcome.skipped, [("psi".into(), "no pressure files".into())]);
        assert_eq!(outcome.verdicts, [("tcp".into(), "ok tp_btf".into())]);
        assert!(outcome.is_success());
    }

    #[test]
    fn a_guest_that_fails_dies_or_says_nothing_is_no_success() {
        assert!(!outcome(&["SONDE-VM: PASS a"]).is_success(), "no DONE");
        assert!(!outcome(&["SONDE-VM: DONE"]).is_success(), "nothing ran");
        assert!(!outcome(&["SONDE-VM: PASS a", "SONDE-VM: FAIL b why", "SONDE-VM: DONE"]).is_success());
        assert!(!outcome(&["SONDE-VM: PASS a", "SONDE-VM: GARBLE", "SONDE-VM: DONE"]).is_success());
        let died = outcome(&["SONDE-VM: PASS a", "[ 2.0] Kernel panic - not syncing: x", "SONDE-VM: DONE"]);
        assert_eq!(died.panic.as_deref(), Some("Kernel panic - not syncing: x"));
        assert!(!died.is_success());
        assert!(!died.died_at_boot(), "something of ours ran");
    }

    #[test]
    fn a_guest_died_at_boot_when_it_panicked_before_its_first_process() {
        let panic = "[ 0.1] Kernel panic - not syncing: IO-APIC + timer doesn't work!";
        assert!(outcome(&["Linux version 6.12", panic]).died_at_boot());
        assert!(!outcome(&["SONDE-VM: BEGIN", panic]).died_at_boot());
        assert!(!outcome(&["Linux version 6.12"]).died_at_boot(), "silence is no panic");
    }
}
