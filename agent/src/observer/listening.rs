//! Listening sockets as series: the addresses on which a workload accepts, and its accept queues.

mod addresses;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use self::addresses::Addresses;
use super::namespaces::Namespaces;
use super::series;
use super::traffic::View;
use crate::model::WorkloadIx;
use crate::registry::catalog::{agent, tcp as catalog};
use crate::registry::{Labels, SnapshotBuilder};
use crate::state::table::Key as _;
use crate::state::{BacklogKey, Caps};

/// The addresses that are shown, and what wildcards stand for.
#[derive(Debug)]
pub struct Listening {
    namespaces: Namespaces,
    shown: Addresses,
}

impl Listening {
    /// Nothing shown yet; `caps` are on addresses, `keep` is how long one is shown on which nobody listens any more.
    pub fn new(namespaces: Namespaces, caps: Caps, keep: Duration) -> Self {
        Self { namespaces, shown: Addresses::new(caps, keep) }
    }

    /// Adds all series of listening sockets.
    pub fn collect(&mut self, view: &View<'_>, builder: &mut SnapshotBuilder) {
        self.update(view, builder);
        for (key, is_open) in self.shown.iter(view.now) {
            let own = Labels::new([("listen_addr", series::text(key.address))]);
            let owner = view.workloads.labels(key.workload);
            builder.number(&catalog::LISTEN_INFO, owner, &own, f64::from(u8::from(is_open)));
        }
        let folded = self.shown.folded();
        for (cap, count) in [("container", folded.workload), ("node", folded.node)] {
            let own = Labels::new([("table", "addresses"), ("cap", cap)]);
            builder.number(&agent::SERIES_FOLDED_TOTAL, &Labels::empty(), &own, count as f64);
        }
        Self::queues(view, builder);
    }

    fn update(&mut self, view: &View<'_>, builder: &mut SnapshotBuilder) {
        let breathe = || builder.breathe();
        self.namespaces.refresh(view.connections.listeners().iter(), view.now, breathe);
        let open: Vec<BacklogKey> = addresses(&self.namespaces, view).collect();
        self.shown.update(&open, view.now);
        let workloads = self.shown.iter(view.now).map(|(key, _)| key.workload);
        let hidden: HashSet<WorkloadIx> =
            workloads.filter(|workload| !view.workloads.is_exported(*workload, view.now)).collect();
        if !hidden.is_empty() {
            self.shown.drop_workloads(&hidden);
        }
    }

    /// Adds accept queues: one set of series per address that sockets are bound to.
    fn queues(view: &View<'_>, builder: &mut SnapshotBuilder) {
        let mut queues: HashMap<BacklogKey, (u64, u64)> = HashMap::new();
        for listener in view.connections.listeners().iter() {
            let (Some(workload), Some(backlog)) = (listener.workload, listener.backlog) else { continue };
            let own = BacklogKey { workload, address: Some(listener.address) };
            // What the table of drops folded is folded here as well.
            let key = if view.connections.backlogs().contains(&own) { own } else { own.overflow() };
            let queue = queues.entry(key).or_default();
            queue.0 += u64::from(backlog.length);
            queue.1 += u64::from(backlog.max);
        }
        for (key, drops) in view.connections.backlogs().iter() {
            if !view.workloads.is_exported(key.workload, view.now) {
                continue;
            }
            let owner = view.workloads.labels(key.workload);
            let own = Labels::new([("listen_addr", series::text(key.address))]);
            builder.number(&catalog::LISTEN_DROPS_TOTAL, owner, &own, drops.all as f64);
            if let Some(overflows) = drops.overflows {
                builder.number(&catalog::LISTEN_OVERFLOWS_TOTAL, owner, &own, overflows as f64);
            }
            if let Some((length, max)) = queues.get(key) {
                builder.number(&catalog::LISTEN_BACKLOG, owner, &own, *length as f64);
                builder.number(&catalog::LISTEN_BACKLOG_MAX, owner, &own, *max as f64);
            }
        }
    }
}

/// Every address of every listener that may be shown.
fn addresses<'a>(
    namespaces: &'a Namespaces,
    view: &'a View<'_>,
) -> impl Iterator<Item = BacklogKey> + use<'a> {
    let shown = |workload: &WorkloadIx| view.workloads.is_exported(*workload, view.now);
    view.connections.listeners().iter().flat_map(move |listener| {
        let workload = listener.workload.filter(shown);
        let mut expanded: Vec<SocketAddr> =
            if workload.is_some() { namespaces.expand(listener) } else { Vec::new() };
        expanded.retain(|address| view.connections.is_told(listener.netns, address.ip()));
        let key = move |address| Some(BacklogKey { workload: workload?, address: Some(address) });
        expanded.into_iter().filter_map(key)
    })
}
