//! What was received, and what was refused for which reason.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a request, or samples of one, were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No known key.
    Unauthorized,
    /// Another content type, encoding or version than remote write 1.0.
    Unsupported,
    /// Larger than allowed as sent.
    TooLarge,
    /// Declares to be larger than allowed once unpacked.
    TooLargeDecoded,
    /// No snappy block.
    Snappy,
    /// Not the message expected.
    Protobuf,
    /// The body did not arrive.
    Incomplete,
    /// Too much is under way.
    Overloaded,
    /// The log did not take it.
    Storage,
    /// Labels of a series are not what the protocol demands.
    Labels,
    /// Samples of a series are not in order of time.
    Order,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Unauthorized,
        Self::Unsupported,
        Self::TooLarge,
        Self::TooLargeDecoded,
        Self::Snappy,
        Self::Protobuf,
        Self::Incomplete,
        Self::Overloaded,
        Self::Storage,
        Self::Labels,
        Self::Order,
    ];

    /// Value of the `reason` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too_large",
            Self::TooLargeDecoded => "too_large_decoded",
            Self::Snappy => "snappy",
            Self::Protobuf => "protobuf",
            Self::Incomplete => "incomplete",
            Self::Overloaded => "overloaded",
            Self::Storage => "storage",
            Self::Labels => "labels",
            Self::Order => "order",
        }
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct IngestStats {
    requests: AtomicU64,
    samples: AtomicU64,
    bytes: AtomicU64,
    refused_requests: [AtomicU64; Reason::ALL.len()],
    refused_samples: [AtomicU64; Reason::ALL.len()],
}

impl IngestStats {
    /// Counts a request of which all, or the valid part, was stored.
    pub(super) fn stored(&self, bytes: u64, samples: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// Counts a request that was refused as a whole.
    pub(super) fn refused(&self, reason: Reason) {
        self.refused_requests[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts samples that were refused while the rest of their request was stored.
    pub(super) fn refused_samples(&self, reason: Reason, samples: u64) {
        self.refused_samples[reason as usize].fetch_add(samples, Ordering::Relaxed);
    }

    /// Requests, bytes and samples stored.
    pub fn totals(&self) -> (u64, u64, u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (get(&self.requests), get(&self.bytes), get(&self.samples))
    }

    /// Requests refused, by reason; every reason is there, also at 0.
    pub fn refused_requests_by_reason(&self) -> BTreeMap<&'static str, u64> {
        by_reason(&self.refused_requests)
    }

    /// Samples refused, by reason; every reason is there, also at 0.
    pub fn refused_samples_by_reason(&self) -> BTreeMap<&'static str, u64> {
        by_reason(&self.refused_samples)
    }
}

fn by_reason(counters: &[AtomicU64; Reason::ALL.len()]) -> BTreeMap<&'static str, u64> {
    Reason::ALL
        .iter()
        .map(|reason| (reason.name(), counters[*reason as usize].load(Ordering::Relaxed)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_reasons_is_in_the_order_of_their_numbers() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
