//! Counted results of tests, whoever ran them.

use std::process::ExitStatus;

/// What passed, failed and was skipped. A skip carries its reason.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Results {
    /// How many passed.
    pub passed: usize,
    /// What failed.
    pub failures: Vec<String>,
    /// Names and reasons of what could not run.
    pub skipped: Vec<(String, String)>,
}

impl Results {
    /// One thing that was done and worked, or did not.
    pub fn of_one(name: &str, result: anyhow::Result<()>) -> Self {
        match result {
            Ok(()) => Self { passed: 1, ..Self::default() },
            Err(error) => Self { failures: vec![format!("{name}: {error:#}")], ..Self::default() },
        }
    }

    /// Adds others to these.
    pub fn absorb(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        self.skipped.extend(other.skipped);
    }

    /// Reads the output of `cargo test`; a run that failed without a failed test counts as one failure, and so
    /// does a test program that died before its result line.
    pub fn from_cargo(output: &str, status: ExitStatus) -> Self {
        let mut results = Self::default();
        let mut running: Option<Running<'_>> = None;
        for line in output.lines() {
            if line.starts_with("running ") && line.contains(" test") {
                results.bury(running.replace(Running::default()));
            } else if let Some(counts) = line.strip_prefix("test result: ") {
                results.passed += count(counts, "passed");
                running = None;
            } else if let Some((name, end)) =
                line.strip_prefix("test ").and_then(|test| test.split_once(" ..."))
            {
                let running = running.get_or_insert_default();
                running.last = name;
                match end.trim().split_once(", ").unwrap_or((end.trim(), "without a reason")) {
                    ("ok", _) => running.passed += 1,
                    ("FAILED", _) => results.failures.push(name.to_owned()),
                    ("ignored", reason) => results.skipped.push((name.to_owned(), reason.to_owned())),
                    _ => {}
                }
            }
        }
        results.bury(running);
        if !status.success() && results.failures.is_empty() {
            results.failures.push(format!("cargo test: {status}"));
        }
        results
    }

    /// Counts what a test program did before it died.
    fn bury(&mut self, died: Option<Running<'_>>) {
        if let Some(died) = died {
            self.passed += died.passed;
            self.failures.push(format!("{}: the test program died at or after it", died.last));
        }
    }

    /// Counts tests that returned early as skipped: cargo counts them as passed.
    pub fn with_skips(mut self, log: &str) -> Self {
        for line in log.lines().filter(|line| !line.trim().is_empty()) {
            let (name, reason) = line.split_once('\t').unwrap_or((line, "without a reason"));
            self.passed = self.passed.saturating_sub(1);
            self.skipped.push((name.to_owned(), reason.to_owned()));
        }
        self
    }

    /// The line that ends a run.
    pub fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skipped.len())
    }
}

/// A test program whose result line has not come yet.
#[derive(Default)]
struct Running<'o> {
    passed: usize,
    last: &'o str,
}

fn count(counts: &str, what: &str) -> usize {
    let parts = counts.split(['.', ';']).map(str::trim);
    parts.filter_map(|part| part.strip_suffix(what)?.trim().parse::<usize>().ok()).sum()
}

/// Returns the skips that `allowed` does not list. Its lines are test names; a `#` begins a comment, a `*` at
/// the end stands for the rest of a name.
pub fn unlisted<'s>(skipped: &'s [(String, String)], allowed: &str) -> Vec<&'s (String, String)> {
    let patterns: Vec<&str> = allowed
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect();
    let listed = |name: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        })
    };
    skipped.iter().filter(|(name, _)| !listed(name)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a::good ... ok
test a::bad ... FAILED
test a::slow ... ignored, needs an hour

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s
";

    #[test]
    fn all_result_lines_are_added_up() {
        let results = Results::from_cargo(OUTPUT, ExitStatus::from_raw(101 << 8));
        assert_eq!(results.passed, 13);
        assert_eq!(results.failures, ["a::bad"]);
        assert_eq!(results.skipped, [("a::slow".to_owned(), "needs an hour".to_owned())]);
        assert_eq!(results.line(), "13 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_test_program_that_died_is_a_failure_and_what_it_passed_still_counts() {
        let output = "running 3 tests\ntest a ... ok\ntest b ... \nthread 'b' panicked\n\n\
            running 1 test\ntest c ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
        let results = Results::from_cargo(output, ExitStatus::from_raw(101 << 8));
        assert_eq!(results.passed, 2);
        assert_eq!(results.failures, ["b: the test program died at or after it"]);
    }

    #[test]
    fn what_does_not_compile_is_a_failure() {
        let results = Results::from_cargo("error: could not compile `x`\n", ExitStatus::from_raw(101 << 8));
        assert_eq!(results.failures, ["cargo test: exit status: 101"]);
    }

    #[test]
    fn a_test_that_returned_early_is_skipped_and_not_passed() {
        let results = Results::from_cargo("test result: ok. 3 passed; 0 failed;\n", ExitStatus::from_raw(0));
        let results = results.with_skips("e2e::docker\tnot root\n");
        assert_eq!(results.passed, 2);
        assert_eq!(results.skipped, [("e2e::docker".to_owned(), "not root".to_owned())]);
    }

    #[test]
    fn only_listed_skips_are_allowed() {
        let skip = |name: &str| (name.to_owned(), "why".to_owned());
        let skipped = [skip("a::one"), skip("a::two"), skip("b")];
        let allowed = "# comment\na::*  # all of a\n";
        assert_eq!(unlisted(&skipped, allowed), [&skip("b")]);
        assert_eq!(unlisted(&skipped, "a::one\nb\n"), [&skip("a::two")]);
    }
}
