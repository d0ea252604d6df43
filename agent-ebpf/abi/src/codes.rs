//! Losses: everything the kernel half had to drop, one slot each in the map `LOSSES`.

/// Names the slots once, for both halves.
macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident = ($program:literal, $reason:literal),)*) => {
        /// A slot of `LOSSES`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Loss { $($(#[$doc])* $name,)* }

        impl Loss {
            /// All slots, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The program and the reason, as the labels of the metric.
            pub const fn labels(self) -> (&'static str, &'static str) {
                match self { $(Self::$name => ($program, $reason),)* }
            }
        }
    };
}

losses! {
    /// The event ring had no room for a TCP event.
    TcpRingFull = ("tcp_state", "ring_full"),
    /// `CONN_BY_SOCK` had no room for a connection.
    TcpMapFull = ("tcp_state", "map_full"),
    /// `CONN_BY_SOCK` had no room for a connection found by the iterator.
    TcpIterMapFull = ("file_iter", "map_full"),
    /// The event ring had no room for the end of a thread.
    TaskExitRingFull = ("task_exit", "ring_full"),
    /// `EXITED_A` or `EXITED_B` had no room for the owner of a thread that ended.
    TaskExitMapFull = ("task_exit", "map_full"),
    /// `BIOS_A` or `BIOS_B` had no room for the owner of an I/O request.
    BioMapFull = ("bio_queue", "map_full"),
    /// `RUN_QUEUE` had no room for a cgroup.
    RunQueueMapFull = ("sched_latency", "map_full"),
    /// `DISK_LATENCY` had no room for a disk.
    DiskLatencyMapFull = ("disk_latency", "map_full"),
    /// The event ring had no room for a victim of the OOM killer.
    OomRingFull = ("oom_victim", "ring_full"),
    /// `VICTIMS` had no room for a victim of the OOM killer.
    OomMapFull = ("oom_victim", "map_full"),
    /// The event ring had no room for a cgroup event.
    CgroupRingFull = ("cgroup_dir", "ring_full"),
    /// `UDP_BY_OWNER` had no room for a process: its datagrams are not counted.
    UdpMapFull = ("udp_traffic", "map_full"),
    /// The event ring had no room to tell of a process that uses UDP: it is known from the next reading on.
    UdpRingFull = ("udp_traffic", "ring_full"),
    /// The event ring had no room for the end of a UDP socket: its last drops are not counted.
    UdpReleaseRingFull = ("udp_release", "ring_full"),
    /// The ring of DNS answers had no room.
    DnsRingFull = ("dns_ingress", "ring_full"),
}
