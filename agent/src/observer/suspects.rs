//! Sockets that the kernel half tracks but the tables do not know: usually a connect under way, rarely an end that was
//! missed.

use std::collections::HashMap;

use crate::model::BootNanos;

/// Suspects, and since when each is one.
#[derive(Debug, Default)]
pub struct Suspects(HashMap<u64, BootNanos>);

impl Suspects {
    /// Takes what is unknown now; returns what has been unknown since before `patience`, and forgets that.
    pub fn update(&mut self, unknown: &[u64], now: BootNanos, patience: BootNanos) -> Vec<u64> {
        let mut before = std::mem::take(&mut self.0);
        let mut lost = Vec::new();
        for sock in unknown {
            let since = before.remove(sock).unwrap_or(now);
            if since < patience {
                lost.push(*sock);
            } else {
                self.0.insert(*sock, since);
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_unknown_is_lost() {
        let mut suspects = Suspects::default();
        let mut check = |unknown: &[u64], now, patience, lost: &[u64]| {
            assert_eq!(suspects.update(unknown, BootNanos(now), BootNanos(patience)), lost, "at {now}");
        };
        check(&[1, 2], 100, 0, &[]);
        check(&[2, 3], 200, 100, &[]);
        // 1 was known in between.
        check(&[1, 2, 3], 300, 200, &[2]);
        check(&[1, 3], 400, 300, &[3]);
    }
}
