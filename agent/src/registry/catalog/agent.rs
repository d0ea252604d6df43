//! The agent about itself: what it runs, what it lost, what it costs.

super::catalog! {
    title: "Agent", prefix: "sonde_agent_", scope: Agent;

    NODE_AGENT_INFO: Gauge "node_agent_info" ["version"]
        "1, with the agent's version as label",
        from "the build";
    BUILD_INFO: Gauge "sonde_agent_build_info" ["version", "arch"]
        "1, with what was built as labels",
        from "the build";
    START_TIME_SECONDS: Gauge "sonde_agent_start_time_seconds" []
        "When the agent started, since the Unix epoch",
        from "the clock at start";
    CPU_SECONDS_TOTAL: Counter "sonde_agent_cpu_seconds_total" ["mode"]
        "CPU time of the agent's process",
        from "/proc/self/stat";
    RESIDENT_MEMORY_BYTES: Gauge "sonde_agent_resident_memory_bytes" []
        "Physical memory of the agent's process",
        from "/proc/self/status VmRSS";
    RESIDENT_MEMORY_PEAK_BYTES: Gauge "sonde_agent_resident_memory_peak_bytes" []
        "Largest physical memory of the agent's process so far",
        from "/proc/self/status VmHWM";
    OPEN_FDS: Gauge "sonde_agent_open_fds" []
        "File descriptors held by the agent",
        from "/proc/self/fd";
    PROBE_STATE: Gauge "sonde_agent_probe_state" ["probe", "verdict"]
        "1 for the verdict on each probe: ok, unsupported, broken, disabled",
        from "the loader";
    PROBES_SHED_TOTAL: Counter "sonde_agent_probes_shed_total" ["probe"]
        "Optional probes that were detached because their programs took more CPU than they may",
        from "the event loop";
    PROGRAM_RUNS_TOTAL: Counter "sonde_agent_program_runs_total" ["program"]
        "Runs of a kernel program",
        from "bpf_prog_info.run_cnt";
    PROGRAM_RUN_SECONDS_TOTAL: Counter "sonde_agent_program_run_seconds_total" ["program"]
        "Time spent in a kernel program",
        from "bpf_prog_info.run_time_ns";
    PROGRAM_VERIFIED_INSTRUCTIONS: Gauge "sonde_agent_program_verified_instructions" ["program"]
        "Instructions of a kernel program that the verifier looked at",
        from "bpf_prog_info.verified_insns";
    PROGRAM_DROPS_TOTAL: Counter "sonde_agent_program_drops_total" ["program", "reason"]
        "Observations that a kernel program could not hand over",
        from "the programs' own counters";
    RING_CAPACITY_BYTES: Gauge "sonde_agent_ring_capacity_bytes" ["ring"]
        "Size of a ring between kernel and agent: EVENTS, and ANSWERS of DNS",
        from "the size it was made with";
    RING_FILL_BYTES: Gauge "sonde_agent_ring_fill_bytes" ["ring"]
        "Most bytes that were taken from a ring at once since the last snapshot",
        from "the ring reader";
    MAP_ENTRIES: Gauge "sonde_agent_map_entries" ["map"]
        "Entries in a kernel map",
        from "a walk over the map, or the agent's own count";
    MAP_MAX_ENTRIES: Gauge "sonde_agent_map_max_entries" ["map"]
        "Entries that fit in a kernel map",
        from "bpf_map_info";
    MAP_BYTES: Gauge "sonde_agent_map_bytes" ["map"]
        "Locked kernel memory of a map",
        from "memlock of the map's fdinfo";
    EVENTS_TOTAL: Counter "sonde_agent_events_total" ["event"]
        "Events taken from the kernel",
        from "the ring reader";
    DECODE_ERRORS_TOTAL: Counter "sonde_agent_decode_errors_total" ["code"]
        "Records from the kernel that could not be understood",
        from "the ring reader and the iterators";
    QUEUE_DEPTH: Gauge "sonde_agent_queue_depth" ["queue"]
        "Messages waiting between two tasks of the agent",
        from "the channel";
    QUEUE_CAPACITY: Gauge "sonde_agent_queue_capacity" ["queue"]
        "Messages that fit between two tasks of the agent; who finds the queue full waits or asks again",
        from "the channel";
    NODE_HIDDEN: Gauge "sonde_agent_node_hidden" ["kind", "reason"]
        "Parts of the machine without series: disk, interface, speed (of a link), filesystem; for they are too many, hanging, or fail",
        from "the readers of the machine";
    CONNECTIONS: Gauge "sonde_agent_connections" []
        "Open TCP connections in the agent's table",
        from "the table";
    CONNECTIONS_UNOWNED_TOTAL: Counter "sonde_agent_connections_unowned_total" []
        "TCP connections whose owner could not be told",
        from "the table";
    CONNECTIONS_INCOMPLETE_TOTAL: Counter "sonde_agent_connections_incomplete_total" ["reason"]
        "TCP connections not followed from start to end: table_full (its end is told as start_lost as well), start_lost, end_lost",
        from "the table";
    FLOWS: Gauge "sonde_agent_flows" []
        "Pairs of a workload and a destination or a listener in the agent's table",
        from "the table";
    LISTENERS: Gauge "sonde_agent_listeners" []
        "Listening TCP sockets in the agent's table",
        from "the table";
    TRANSLATIONS_TOTAL: Counter "sonde_agent_translations_total" ["result"]
        "Outbound connections by what connection tracking said of where they lead: translated, direct, untracked, failed, skipped",
        from "netlink/conntrack";
    NAMESPACES_ENTERED_TOTAL: Counter "sonde_agent_namespaces_entered_total" ["result"]
        "Times that a network namespace was entered to ask its connection tracking",
        from "the translator";
    NAMESPACES_HELD: Gauge "sonde_agent_namespaces_held" []
        "Network namespaces whose connection tracking the agent can ask without entering them again",
        from "the translator";
    WORKLOADS: Gauge "sonde_agent_workloads" ["kind"]
        "Containers, services and host executables known to the agent",
        from "the table of workloads";
    PASS_FAILURES_TOTAL: Counter "sonde_agent_pass_failures_total" ["pass"]
        "Passes over open sockets, processes or the node's files that failed, in whole or in part",
        from "the event loop";
    NAMING_LOSSES_TOTAL: Counter "sonde_agent_naming_losses_total" ["reason"]
        "Things that could not be named or had to be left out of the tables that give names",
        from "the tables of cgroups and workloads";
    VOLUMES_HUNG_TOTAL: Counter "sonde_agent_volumes_hung_total" []
        "Times that a file system of a container did not tell its size in time; it is left alone until it does",
        from "statfs in a thread of its own";
    CGROUP_SCANS_TOTAL: Counter "sonde_agent_cgroup_scans_total" []
        "Walks over the cgroup mounts",
        from "the table of cgroups";
    INSPECTIONS_TOTAL: Counter "sonde_agent_inspections_total" ["runtime", "result"]
        "Questions to a container runtime about a container, and to systemd about a service",
        from "the runtime's client";
    SNAPSHOT_DURATION_SECONDS: Histogram "sonde_agent_snapshot_duration_seconds" []
        "Time to read all sources and to build all series once",
        from "the event loop";
    SCRAPE_DURATION_SECONDS: Histogram "sonde_agent_scrape_duration_seconds" []
        "Time to answer a request for /metrics",
        from "the HTTP server";
    SCRAPES_TOTAL: Counter "sonde_agent_scrapes_total" ["format"]
        "Requests for /metrics that were answered",
        from "the HTTP server";
    SCRAPES_FAILED_TOTAL: Counter "sonde_agent_scrapes_failed_total" ["reason"]
        "Requests for /metrics that were not answered to the end: busy (too many at a time), client_gone, client_slow, compression (it failed), stopping, timeout (of the snapshot)",
        from "the HTTP server";
    PROMHTTP_METRIC_HANDLER_ERRORS_TOTAL: Counter "promhttp_metric_handler_errors_total" ["cause"]
        "Requests for /metrics that failed, as Prometheus' own client library counts them: gathering (there was no snapshot), encoding (it could not be handed over to the end, for whatever reason)",
        from "the HTTP server; by reason in sonde_agent_scrapes_failed_total, which also has those refused as too many";
    SERIES: Gauge "sonde_agent_series" []
        "Series in the snapshot",
        from "the registry";
    SERIES_REJECTED_TOTAL: Counter "sonde_agent_series_rejected_total" ["reason"]
        "Samples left out of a snapshot because they would have made it invalid, or a container (container_limit) or the node (node_limit) have more series than it may",
        from "the registry";
    UDP_UNOWNED_TOTAL: Counter "sonde_agent_udp_unowned_total" []
        "UDP messages whose container could not be told; they are counted nowhere else",
        from "the table of datagrams";
    UDP_SOCKETS_REFUSED_TOTAL: Counter "sonde_agent_udp_sockets_refused_total" []
        "Times that a UDP socket's drops were not looked at because too many sockets are open",
        from "the table of datagrams";
    NAMES: Gauge "sonde_agent_names" []
        "Addresses whose name is known from DNS answers",
        from "the table of names";
    NAMES_EVICTED_TOTAL: Counter "sonde_agent_names_evicted_total" []
        "Addresses whose name made room for newer ones before its time: within the share of the container that asked, or of the node",
        from "the table of names";
    SERIES_FOLDED_TOTAL: Counter "sonde_agent_series_folded_total" ["table", "cap"]
        "Things folded into the series `~overflow` of their container, or left out where there is none, by table (destinations, failures, listeners: accept queues, at every pass anew, addresses: listened on, at every snapshot anew, round_trips: addresses whose latency is left out, at every pass and every end of a connection anew, volumes: mounts that are left out, at every look anew, names: addresses whose name is `~overflow`, or with the node's cap none) and by cap (container, node)",
        from "the tables";
    PUSH_TICKS_TOTAL: Counter "sonde_agent_push_ticks_total" ["result"]
        "Intervals at which a snapshot was due, by what became of it: appended, missed, failed",
        from "the push loop";
    PUSH_STALE_MARKERS_TOTAL: Counter "sonde_agent_push_stale_markers_total" []
        "Markers appended for series that ended",
        from "the push loop";
    PUSH_QUEUE_BYTES: Gauge "sonde_agent_push_queue_bytes" []
        "Bytes of the durable queue on disk",
        from "the embedded collector";
    PUSH_QUEUE_MAX_BYTES: Gauge "sonde_agent_push_queue_max_bytes" []
        "Bytes above which the durable queue drops its oldest samples",
        from "the embedded collector";
    PUSH_QUEUE_OLDEST_SECONDS: Gauge "sonde_agent_push_queue_oldest_seconds" []
        "Age of the oldest record of the durable queue",
        from "the embedded collector";
    PUSH_APPENDED_SAMPLES_TOTAL: Counter "sonde_agent_push_appended_samples_total" []
        "Samples that became durable in the queue",
        from "the embedded collector";
    PUSH_APPENDS_REFUSED_TOTAL: Counter "sonde_agent_push_appends_refused_total" ["reason"]
        "Requests that the durable queue could not take",
        from "the embedded collector";
    PUSH_SYNC_FAILURES_TOTAL: Counter "sonde_agent_push_sync_failures_total" []
        "Calls of fdatasync that failed",
        from "the embedded collector";
    PUSH_TORN_BYTES_TOTAL: Counter "sonde_agent_push_torn_bytes_total" []
        "Bytes of half-written records cut off when the queue was opened",
        from "the embedded collector";
    PUSH_TARGET_HEALTHY: Gauge "sonde_agent_push_target_healthy" ["target"]
        "Whether the last request to a target succeeded: 1 or 0",
        from "the embedded collector";
    PUSH_PENDING_SAMPLES: Gauge "sonde_agent_push_pending_samples" ["target"]
        "Samples in the durable queue that a target has not taken yet",
        from "the embedded collector";
    PUSH_PENDING_BYTES: Gauge "sonde_agent_push_pending_bytes" ["target"]
        "Bytes in the durable queue that a target has not taken yet",
        from "the embedded collector";
    PUSH_LAG_SECONDS: Gauge "sonde_agent_push_lag_seconds" ["target"]
        "Age of the oldest sample that a target has not taken yet",
        from "the embedded collector";
    PUSH_SENT_SAMPLES_TOTAL: Counter "sonde_agent_push_sent_samples_total" ["target"]
        "Samples that a target took",
        from "the embedded collector";
    PUSH_SENT_BYTES_TOTAL: Counter "sonde_agent_push_sent_bytes_total" ["target"]
        "Bytes of the requests that a target took",
        from "the embedded collector";
    PUSH_DROPPED_SAMPLES_TOTAL: Counter "sonde_agent_push_dropped_samples_total" ["target", "reason"]
        "Samples that a target will never get",
        from "the embedded collector";
    PUSH_RETRIES_TOTAL: Counter "sonde_agent_push_retries_total" ["target"]
        "Requests to a target that failed and were sent again",
        from "the embedded collector";
}
