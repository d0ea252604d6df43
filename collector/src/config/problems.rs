//! Everything wrong with a configuration, collected instead of stopping at the first.

use std::fmt;

/// One thing wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the path of the setting, such as `remote_write[1].url`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
    /// What would be right; empty when the message says it all.
    pub allowed: String,
}

/// A list of problems; an empty one means the configuration is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// No problem yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, path: impl Into<String>, message: impl Into<String>, allowed: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into(), allowed: allowed.into() });
    }

    /// Adds one unless `good`.
    pub fn check(&mut self, good: bool, path: &str, message: impl Into<String>, allowed: impl Into<String>) {
        if !good {
            self.push(path, message, allowed);
        }
    }

    /// Adds one that is made already.
    pub fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds all of another list.
    pub fn extend(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// The list as an error, unless it is empty.
    pub fn into_result(self) -> Result<(), Problems> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        if self.allowed.is_empty() { Ok(()) } else { write!(f, " (allowed: {})", self.allowed) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_reported_one_per_line() {
        let mut problems = Problems::new();
        problems.push("queue.max_bytes", "1B is too small", "8MB to 100TB");
        problems.check(true, "unseen", "good", "");
        problems.check(false, "listen", "no address", "");
        assert_eq!(
            problems.into_result().unwrap_err().to_string(),
            "queue.max_bytes: 1B is too small (allowed: 8MB to 100TB)\nlisten: no address"
        );
    }
}
