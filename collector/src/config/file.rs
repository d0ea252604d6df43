//! Reading a TOML file without ever showing a value of it: any of them may be a secret that stands at a wrong place.
//!
//! A problem is told by key, line and what is expected there.

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::Problem;

/// The text of a configuration file.
#[derive(Clone, Copy)]
pub struct ConfigText<'a>(&'a str);

impl<'a> ConfigText<'a> {
    /// Wraps a text.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The whole as a table; the error tells line and expectation.
    pub fn table(&self) -> Result<toml::Table, String> {
        self.0.parse::<toml::Table>().map_err(|error| {
            let line = self.line(error.span().map_or(0, |span| span.start));
            format!("line {line}: {}", without_values(error.message()))
        })
    }

    /// Reads `value`, which stands at `key` in the file; at `key[index]` if it is one of several. An empty key is the
    /// whole file.
    pub fn read<T: DeserializeOwned>(
        &self,
        key: &str,
        index: Option<usize>,
        value: toml::Value,
    ) -> Result<T, Problem> {
        value.try_into().map_err(|error: toml::de::Error| {
            let inner = inner_path(&error.to_string());
            let keys = [key, &inner].into_iter().filter(|part| !part.is_empty());
            let line = self.line_of(&keys.clone().collect::<Vec<_>>().join("."), index);
            let mut path = index.map_or(key.to_owned(), |index| format!("{key}[{index}]"));
            if !path.is_empty() && !inner.is_empty() {
                path.push('.');
            }
            path.push_str(&inner);
            let message = format!("line {line}: {}", without_values(error.message()));
            Problem { path, message, allowed: String::new() }
        })
    }

    fn line(&self, offset: usize) -> usize {
        self.0.as_bytes()[..offset.min(self.0.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Line of the deepest part of a path that is found; `index` chooses in the first array on the way.
    fn line_of(&self, path: &str, index: Option<usize>) -> usize {
        let Ok(root) = DeTable::parse(self.0) else { return 1 };
        let (mut table, mut offset) = (root.get_ref(), root.span().start);
        for key in path.split('.') {
            let Some((found, value)) = table.iter().find(|(name, _)| same(name.get_ref(), key)) else {
                break;
            };
            offset = found.span().start;
            let value = match (value.get_ref(), index) {
                (DeValue::Array(values), Some(index)) => values.get(index),
                _ => Some(value),
            };
            let Some(DeValue::Table(inner)) = value.map(|value| {
                offset = value.span().start;
                value.get_ref()
            }) else {
                break;
            };
            table = inner;
        }
        self.line(offset)
    }
}

/// Names may be spelled with either.
fn same(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}

/// Keys below the value that was read, from the last line of an error.
fn inner_path(error: &str) -> String {
    let last = error.trim_end().lines().last().unwrap_or_default();
    let path = last.strip_prefix("in `").or_else(|| last.strip_prefix("unknown field `"));
    path.and_then(|rest| rest.split('`').next()).unwrap_or_default().to_owned()
}

/// What an error says apart from the value it was given.
fn without_values(message: &str) -> String {
    // Both hold names of keys only.
    if message.starts_with("missing field `") || message.starts_with("unknown field `") {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if expected.starts_with("struct ") => "expected a table".into(),
        Some((_, expected)) => format!("expected {expected}"),
        None if message == "duplicate key" => message.into(),
        None => "not what is expected here".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RemoteWriteTarget;

    #[test]
    fn a_syntax_error_is_told_by_its_line() {
        let check = |text, expected: &str| assert_eq!(ConfigText::new(text).table().unwrap_err(), expected);
        check("a = 1\nb = hunter2", "line 2: expected literal string");
        check("a = \"hunter2", "line 1: expected `\"`");
        check("a = 1\n\nhunter2", "line 3: expected `=`");
        check("a = 1\na = 2", "line 2: duplicate key");
        check("\na = 99999999999999999999", "line 2: expected any valid TOML value");
        check("a = '''\nx\n'''\nb = 5hunter2", "line 4: expected nothing");
    }

    #[test]
    fn a_wrong_value_is_told_by_key_line_and_expectation() {
        let check = |target: &str, expected: &str| {
            let text = format!("[[remote_write]]\nurl = 'x'\n[[remote_write]]\n{target}");
            let file = ConfigText::new(&text);
            let value = file.table().unwrap()["remote_write"][1].clone();
            let problem = file.read::<RemoteWriteTarget>("remote_write", Some(1), value).unwrap_err();
            assert_eq!(format!("{} {}", problem.path, problem.message), expected);
        };
        check(
            "url = 'x'\nbasic_auth = \"user:hunter2\"",
            "remote_write[1].basic_auth line 5: expected a table",
        );
        check("url = 4711", "remote_write[1].url line 4: expected a string");
        check(
            "url = 'x'\n[remote_write.headers]\na = 'b'\nkey = 4711",
            "remote_write[1].headers.key line 7: expected a string",
        );
        check(
            "url = 'x'\nremote_timeout = 'hunter2'",
            "remote_write[1].remote_timeout line 5: expected a number with a unit such as 15s, 24h or 30d",
        );
        check("name = 'x'", "remote_write[1] line 3: missing field `url`");
    }
}
