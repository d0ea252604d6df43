//! The pass over all open files: sockets with their counters, and how many files each workload has. And over the sockets
//! that no file leads to.

use super::core::{Core, Parts, handle_socket};
use super::{clock, datagrams, names, overflows};
use crate::enrich::{OpenFilesPass, Workloads};
use crate::kernel::{FeatureId, Kernel};
use crate::model::{BootNanos, TcpSocket};
use crate::networks::NodeTotals;
use crate::probes::files::{self, Row};
use crate::probes::tcp;
use crate::state::{Connections, Datagrams, Names};
use crate::translate::Translator;

impl Core {
    /// Walks over all open files, for every feature that has something of them.
    pub(super) fn pass_files(&mut self) {
        let begin = clock::boot();
        let Self { parts, telemetry, pace, .. } = self;
        if !FeatureId::ALL.iter().any(|id| id.file_rows() != 0 && parts.kernel.has(*id)) {
            return;
        }
        parts.connections.begin_pass();
        let (kernel, udp, mut tables) = split(parts);
        let mut open = OpenFilesPass::default();
        let walked = kernel.files(pace, |row| match files::decode(row) {
            Ok(Row::Tcp(socket)) => tables.take(socket, begin),
            Ok(Row::Udp(socket)) => datagrams::handle(udp, tables.workloads, &socket, begin),
            Ok(Row::Count(row)) => open.push(row),
            Err(error) => telemetry.count_decode_error(error),
        });
        match walked {
            Ok(()) => {
                self.pass_unfiled(begin);
                self.finish_files(open, begin);
            }
            Err(error) => {
                telemetry.count_pass_failure("files", &error);
                parts.workloads.forget_files();
            }
        }
    }

    /// Looks at the sockets that the walk has left out, from time to time. Without events of their ends nothing would
    /// tell that they are gone.
    fn pass_unfiled(&mut self, begin: BootNanos) {
        let Self { parts, telemetry, unfiled, pace, .. } = self;
        let needed = [FeatureId::TcpUnfiled, FeatureId::TcpSockets, FeatureId::TcpLifecycle];
        if !needed.iter().all(|id| parts.kernel.has(*id)) || !unfiled.is_due(begin) {
            return;
        }
        let (kernel, _, mut tables) = split(parts);
        let mut found = false;
        let walked = kernel.unfiled_sockets(pace, |row| match tcp::decode(row) {
            Ok(socket) => {
                found = true;
                tables.take(socket, begin);
            }
            Err(error) => telemetry.count_decode_error(error),
        });
        if let Err(error) = walked {
            telemetry.count_pass_failure("unfiled", &error);
        }
        unfiled.looked(begin, found);
    }

    /// What only a whole pass tells: who is gone.
    fn finish_files(&mut self, open: OpenFilesPass, begin: BootNanos) {
        let parts = &mut self.parts;
        if parts.kernel.has(FeatureId::TcpSockets) {
            let process = |socket: &TcpSocket| parts.workloads.process_of(socket.origin.as_ref()?);
            parts.translator.translate(parts.connections.newly_found(), process, begin);
            parts.connections.finish_pass(begin, &mut parts.totals);
            overflows::read(&mut parts.connections, &parts.proc_root, begin);
            if !parts.kernel.has(FeatureId::TcpLifecycle) {
                for sock in parts.connections.close_unseen(begin) {
                    parts.kernel.forget_socket(sock);
                }
            }
        }
        if parts.kernel.has(FeatureId::UdpSockets) {
            parts.datagrams.finish_pass(begin);
        }
        if parts.kernel.has(FeatureId::ProcessFiles) {
            parts.workloads.observe_files(open, clock::boot());
        }
    }
}

/// Where an open socket goes.
struct Tables<'a> {
    names: &'a mut Names,
    connections: &'a mut Connections,
    workloads: &'a mut Workloads,
    totals: &'a mut NodeTotals,
    translator: &'a mut Translator,
}

impl Tables<'_> {
    fn take(&mut self, mut socket: TcpSocket, begin: BootNanos) {
        self.translator.notice(&socket);
        names::name(self.names, &mut socket);
        handle_socket(self.connections, self.workloads, self.totals, socket, begin);
    }
}

/// The kernel calls back while it walks, so what it is given must not be a part of it.
fn split(parts: &mut Parts) -> (&mut Kernel, &mut Datagrams, Tables<'_>) {
    let Parts { kernel, datagrams, names, connections, workloads, totals, translator, .. } = parts;
    (kernel, datagrams, Tables { names, connections, workloads, totals, translator })
}
