//! How many files the workloads have open, from a pass over all of them.

use std::collections::HashMap;

use super::Workloads;
use crate::model::{BootNanos, HostPid, OpenFiles};

/// Open files of a workload at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Files {
    /// Open files, sockets included.
    pub(super) files: u64,
    /// Sockets among them.
    pub(super) sockets: u64,
    /// Of the process nearest to its limit, the part of the limit that is used.
    pub(super) fill: Option<f64>,
}

/// Gathers the rows of one pass into processes.
#[derive(Debug, Default)]
pub struct OpenFilesPass(HashMap<HostPid, OpenFiles>);

impl OpenFilesPass {
    /// Takes a row.
    pub fn push(&mut self, row: OpenFiles) {
        match self.0.entry(row.origin.pid) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(row);
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                entry.get_mut().files += row.files;
                entry.get_mut().sockets += row.sockets;
            }
        }
    }
}

impl Workloads {
    /// Takes in a whole pass over all open files. A workload with processes of which none was in it has none open.
    pub fn observe_files(&mut self, pass: OpenFilesPass, now: BootNanos) {
        for ix in self.table.indices() {
            if let Some(record) = self.table.get_mut(ix) {
                record.files = record.process.map(|_| Files::default());
            }
        }
        for process in pass.0.into_values() {
            let ix = self.resolve(&process.origin, now);
            let Some(record) = self.table.get_mut(ix) else { continue };
            let known = record.files.get_or_insert_default();
            known.files += process.files;
            known.sockets += process.sockets;
            let fill = process.limit.map(|limit| process.files as f64 / limit as f64);
            known.fill = [known.fill, fill].into_iter().flatten().reduce(f64::max);
        }
    }

    /// A pass over all open files has failed: nothing is known of them.
    pub fn forget_files(&mut self) {
        for ix in self.table.indices() {
            if let Some(record) = self.table.get_mut(ix) {
                record.files = None;
            }
        }
    }
}
