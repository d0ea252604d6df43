//! The pass over all open files: sockets with their counters, and how many files each workload has.

use super::core::{Core, handle_socket};
use super::{clock, datagrams, names, overflows};
use crate::enrich::OpenFilesPass;
use crate::kernel::FeatureId;
use crate::model::{BootNanos, TcpSocket};
use crate::probes::files::{self, Row};

impl Core {
    /// Walks over all open files, for every feature that has something of them.
    pub(super) fn pass_files(&mut self) {
        let begin = clock::boot();
        let Self { parts, telemetry, .. } = self;
        if !FeatureId::ALL.iter().any(|id| id.file_rows() != 0 && parts.kernel.has(*id)) {
            return;
        }
        let mut open = OpenFilesPass::default();
        parts.connections.begin_pass();
        let walked = parts.kernel.files(|row| match files::decode(row) {
            Ok(Row::Tcp(mut socket)) => {
                parts.translator.notice(&socket);
                names::name(&mut parts.names, &mut socket);
                handle_socket(&mut parts.connections, &mut parts.workloads, &mut parts.totals, socket, begin);
            }
            Ok(Row::Udp(socket)) => {
                datagrams::handle(&mut parts.datagrams, &mut parts.workloads, &socket, begin);
            }
            Ok(Row::Count(row)) => open.push(row),
            Err(error) => telemetry.count_decode_error(error),
        });
        match walked {
            Ok(()) => self.finish_files(open, begin),
            Err(error) => {
                telemetry.count_pass_failure("files", &error);
                parts.workloads.forget_files();
            }
        }
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
