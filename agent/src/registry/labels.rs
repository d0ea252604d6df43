//! A label set, built once when a series is born and shared by every sample of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// Label names and values, sorted by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Labels {
    pairs: Box<[(&'static str, Box<str>)]>,
    digest: u64,
    valid: bool,
}

static EMPTY: LazyLock<Arc<Labels>> = LazyLock::new(|| Arc::new(Labels::from_sorted(Box::new([]))));

impl Labels {
    /// Builds a set. Pairs with an empty value are left out: to Prometheus they mean an absent label. Of pairs with
    /// the same name the first one stays.
    pub fn new<V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (&'static str, V)>) -> Arc<Self> {
        let mut pairs: Vec<(&'static str, Box<str>)> = pairs
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        pairs.sort_by_key(|(name, _)| *name);
        pairs.dedup_by_key(|(name, _)| *name);
        Arc::new(Self::from_sorted(pairs.into()))
    }

    /// The set with one more pair.
    pub fn with(&self, name: &'static str, value: &str) -> Arc<Self> {
        Self::new(self.iter().chain([(name, value)]))
    }

    /// The set without labels.
    pub fn empty() -> Arc<Self> {
        EMPTY.clone()
    }

    /// Pairs in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.pairs.iter().map(|(name, value)| (*name, &**value))
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// A sum over the pairs: the digest of two disjoint sets together is the sum of theirs, however the pairs are
    /// split between them.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether every name may stand in an exposition.
    pub(super) fn is_valid(&self) -> bool {
        self.valid
    }

    /// Whether a name stands in both sets.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.pairs.iter().any(|(name, _)| other.get(name).is_some())
    }

    fn from_sorted(pairs: Box<[(&'static str, Box<str>)]>) -> Self {
        let digest = pairs.iter().fold(0, |sum: u64, pair| sum.wrapping_add(digest_of(pair)));
        let valid = pairs.iter().all(|(name, _)| is_label_name(name));
        Self { pairs, digest, valid }
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

fn digest_of(pair: &(&'static str, Box<str>)) -> u64 {
    let mut hasher = DefaultHasher::new();
    pair.hash(&mut hasher);
    hasher.finish()
}

/// Names that begin with two underscores belong to Prometheus, `le` to histograms.
fn is_label_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("__")
        && name != "le"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_empty_values_absent() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("c", "")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(labels.get("b"), Some("2"));
        assert_eq!(labels.get("c"), None);
    }

    #[test]
    fn the_first_of_two_values_stays() {
        assert_eq!(Labels::new([("a", "1"), ("a", "2")]).get("a"), Some("1"));
    }

    #[test]
    fn digests_add_up() {
        let whole = Labels::new([("a", "1"), ("b", "2"), ("c", "3")]);
        let parts = [Labels::new([("b", "2")]), Labels::new([("c", "3"), ("a", "1")])];
        assert_eq!(whole.digest(), parts[0].digest().wrapping_add(parts[1].digest()));
        assert_ne!(whole.digest(), Labels::new([("a", "1"), ("b", "3"), ("c", "2")]).digest());
    }

    #[test]
    fn reserved_and_malformed_names_are_invalid() {
        for name in ["le", "__name__", "", "1a", "a-b", "ä"] {
            assert!(!Labels::new([(name, "x")]).is_valid(), "{name:?} passed");
        }
        for name in ["destination", "_x", "A1"] {
            assert!(Labels::new([(name, "x")]).is_valid(), "{name:?} refused");
        }
    }
}
