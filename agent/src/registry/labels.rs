//! A label set, built once when a series is born and shared by every sample of it.

use std::sync::{Arc, LazyLock};

/// Label names and values, sorted by name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Labels {
    pairs: Box<[(&'static str, Box<str>)]>,
}

static EMPTY: LazyLock<Arc<Labels>> = LazyLock::new(|| Arc::new(Labels { pairs: Box::new([]) }));

impl Labels {
    /// Builds a set. Pairs with an empty value are left out: to Prometheus they mean an absent label.
    pub fn new<V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (&'static str, V)>) -> Arc<Self> {
        let mut pairs: Vec<(&'static str, Box<str>)> = pairs
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        pairs.sort_by_key(|(name, _)| *name);
        pairs.dedup_by_key(|(name, _)| *name);
        Arc::new(Self { pairs: pairs.into() })
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
}
