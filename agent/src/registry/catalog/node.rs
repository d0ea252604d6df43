//! The machine.

super::catalog! {
    title: "Node", prefix: "node_", scope: Node;

    INFO: Gauge "node_info" ["hostname", "kernel_version"]
        "1, with the machine's name and kernel as labels",
        from "/proc/sys/kernel/{hostname,osrelease} of process 1";
    CLOUD_INFO: Gauge "node_cloud_info" ["provider", "account_id", "instance_id", "instance_type", "instance_life_cycle", "region", "availability_zone", "availability_zone_id", "local_ipv4", "public_ipv4"]
        "1, with what the cloud calls the machine as labels; absent outside of known clouds",
        from "the firmware (DMI), the metadata service of the provider that it names, settings";
    UPTIME_SECONDS: Gauge "node_uptime_seconds" []
        "Time since boot",
        from "/proc/uptime";
    RESOURCES_CPU_USAGE_SECONDS_TOTAL: Counter "node_resources_cpu_usage_seconds_total" ["mode"]
        "CPU time by mode, summed over all CPUs",
        from "/proc/stat";
    RESOURCES_CPU_LOGICAL_CORES: Gauge "node_resources_cpu_logical_cores" []
        "CPUs that are online",
        from "/proc/stat";
    RESOURCES_MEMORY_TOTAL_BYTES: Gauge "node_resources_memory_total_bytes" []
        "Physical memory",
        from "/proc/meminfo MemTotal";
    RESOURCES_MEMORY_FREE_BYTES: Gauge "node_resources_memory_free_bytes" []
        "Memory used for nothing",
        from "/proc/meminfo MemFree";
    RESOURCES_MEMORY_AVAILABLE_BYTES: Gauge "node_resources_memory_available_bytes" []
        "Memory that programs can get without swapping",
        from "/proc/meminfo MemAvailable";
    RESOURCES_MEMORY_CACHED_BYTES: Gauge "node_resources_memory_cached_bytes" []
        "Page cache",
        from "/proc/meminfo Cached";
    RESOURCES_MEMORY_BUFFERS_BYTES: Gauge "node_resources_memory_buffers_bytes" []
        "Cached blocks of block devices",
        from "/proc/meminfo Buffers";
    RESOURCES_MEMORY_SHARED_BYTES: Gauge "node_resources_memory_shared_bytes" []
        "Shared memory and files of tmpfs",
        from "/proc/meminfo Shmem";
    RESOURCES_MEMORY_DIRTY_BYTES: Gauge "node_resources_memory_dirty_bytes" []
        "Page cache that is yet to be written to a disk",
        from "/proc/meminfo Dirty";
    RESOURCES_MEMORY_WRITEBACK_BYTES: Gauge "node_resources_memory_writeback_bytes" []
        "Page cache that is being written to a disk",
        from "/proc/meminfo Writeback";
    RESOURCES_MEMORY_SLAB_BYTES: Gauge "node_resources_memory_slab_bytes" []
        "Memory of the kernel's own structures",
        from "/proc/meminfo Slab";
    RESOURCES_MEMORY_SLAB_RECLAIMABLE_BYTES: Gauge "node_resources_memory_slab_reclaimable_bytes" []
        "The part of the kernel's own structures that it gives up under pressure",
        from "/proc/meminfo SReclaimable";
    RESOURCES_MEMORY_COMMITTED_BYTES: Gauge "node_resources_memory_committed_bytes" []
        "Memory that programs have asked for, used or not",
        from "/proc/meminfo Committed_AS";
    RESOURCES_MEMORY_COMMIT_LIMIT_BYTES: Gauge "node_resources_memory_commit_limit_bytes" []
        "Memory that programs may ask for where overcommitting is forbidden",
        from "/proc/meminfo CommitLimit";
    RESOURCES_MEMORY_HUGEPAGES_TOTAL_BYTES: Gauge "node_resources_memory_hugepages_total_bytes" []
        "Memory set aside for huge pages of the default size",
        from "/proc/meminfo HugePages_Total, Hugepagesize";
    RESOURCES_MEMORY_HUGEPAGES_FREE_BYTES: Gauge "node_resources_memory_hugepages_free_bytes" []
        "Huge pages of the default size that nobody uses",
        from "/proc/meminfo HugePages_Free, Hugepagesize";
    RESOURCES_MEMORY_MAJOR_PAGE_FAULTS_TOTAL: Counter "node_resources_memory_major_page_faults_total" []
        "Page faults that had to wait for a disk",
        from "/proc/vmstat pgmajfault";
    OOM_KILLS_TOTAL: Counter "node_oom_kills_total" []
        "Processes killed for want of memory, of the machine's or of a control group's",
        from "/proc/vmstat oom_kill";
    RESOURCES_SWAP_TOTAL_BYTES: Gauge "node_resources_swap_total_bytes" []
        "Swap space",
        from "/proc/meminfo SwapTotal";
    RESOURCES_SWAP_FREE_BYTES: Gauge "node_resources_swap_free_bytes" []
        "Swap space used for nothing",
        from "/proc/meminfo SwapFree";
    RESOURCES_SWAP_IN_BYTES_TOTAL: Counter "node_resources_swap_in_bytes_total" []
        "Memory read back from swap",
        from "/proc/vmstat pswpin";
    RESOURCES_SWAP_OUT_BYTES_TOTAL: Counter "node_resources_swap_out_bytes_total" []
        "Memory written to swap",
        from "/proc/vmstat pswpout";
    RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL: Counter "node_resources_cpu_pressure_waiting_seconds_total" ["kind"]
        "Time during which some or all tasks waited for a CPU",
        from "/proc/pressure/cpu";
    RESOURCES_MEMORY_PRESSURE_WAITING_SECONDS_TOTAL: Counter "node_resources_memory_pressure_waiting_seconds_total" ["kind"]
        "Time during which some or all tasks waited for memory",
        from "/proc/pressure/memory";
    RESOURCES_IO_PRESSURE_WAITING_SECONDS_TOTAL: Counter "node_resources_io_pressure_waiting_seconds_total" ["kind"]
        "Time during which some or all tasks waited for I/O",
        from "/proc/pressure/io";
    RESOURCES_IRQ_PRESSURE_WAITING_SECONDS_TOTAL: Counter "node_resources_irq_pressure_waiting_seconds_total" ["kind"]
        "Time during which all tasks of a CPU waited for interrupts",
        from "/proc/pressure/irq";
    LOAD1: Gauge "node_load1" []
        "Tasks that ran, could run or waited for a disk, averaged over one minute",
        from "/proc/loadavg";
    LOAD5: Gauge "node_load5" []
        "The same over five minutes",
        from "/proc/loadavg";
    LOAD15: Gauge "node_load15" []
        "The same over fifteen minutes",
        from "/proc/loadavg";
    PROCS_RUNNING: Gauge "node_procs_running" []
        "Tasks that run or could run",
        from "/proc/stat procs_running";
    PROCS_BLOCKED: Gauge "node_procs_blocked" []
        "Tasks that wait for I/O to complete",
        from "/proc/stat procs_blocked";
    CONTEXT_SWITCHES_TOTAL: Counter "node_context_switches_total" []
        "Context switches of all CPUs",
        from "/proc/stat ctxt";
    FORKS_TOTAL: Counter "node_forks_total" []
        "Processes and threads started",
        from "/proc/stat processes";
    FILEFD_ALLOCATED: Gauge "node_filefd_allocated" []
        "Open files of the whole machine",
        from "/proc/sys/fs/file-nr";
    FILEFD_MAXIMUM: Gauge "node_filefd_maximum" []
        "Files that can be open on the whole machine",
        from "/proc/sys/fs/file-nr";
    RESOURCES_FILESYSTEM_SIZE_BYTES: Gauge "node_resources_filesystem_size_bytes" ["mount_point", "device", "fstype"]
        "Size of a file system",
        from "statfs of the mounts of process 1";
    RESOURCES_FILESYSTEM_FREE_BYTES: Gauge "node_resources_filesystem_free_bytes" ["mount_point", "device", "fstype"]
        "Space that is free, what is reserved for root included",
        from "statfs of the mounts of process 1";
    RESOURCES_FILESYSTEM_AVAILABLE_BYTES: Gauge "node_resources_filesystem_available_bytes" ["mount_point", "device", "fstype"]
        "Space that everybody can use",
        from "statfs of the mounts of process 1";
    RESOURCES_FILESYSTEM_INODES: Gauge "node_resources_filesystem_inodes" ["mount_point", "device", "fstype"]
        "Files that fit; absent where the file system sets no limit",
        from "statfs of the mounts of process 1";
    RESOURCES_FILESYSTEM_INODES_FREE: Gauge "node_resources_filesystem_inodes_free" ["mount_point", "device", "fstype"]
        "Files that still fit; absent where the file system sets no limit",
        from "statfs of the mounts of process 1";
    RESOURCES_FILESYSTEM_READ_ONLY: Gauge "node_resources_filesystem_read_only" ["mount_point", "device", "fstype"]
        "Whether nothing can be written: 1 or 0; a file system may become so after an error",
        from "/proc/1/mountinfo";
    GPU_INFO: Gauge "node_gpu_info" ["gpu_uuid", "name", "driver_version"]
        "1, with the GPU's model and its driver as labels",
        from "NVIDIA's management library";
    RESOURCES_GPU_MEMORY_TOTAL_BYTES: Gauge "node_resources_gpu_memory_total_bytes" ["gpu_uuid"]
        "Memory of the GPU",
        from "NVML, memory information";
    RESOURCES_GPU_MEMORY_USED_BYTES: Gauge "node_resources_gpu_memory_used_bytes" ["gpu_uuid"]
        "Memory of the GPU in use",
        from "NVML, memory information";
    RESOURCES_GPU_MEMORY_UTILIZATION_PERCENT_AVG: Gauge "node_resources_gpu_memory_utilization_percent_avg" ["gpu_uuid"]
        "Percent of the last 15 s in which the GPU's memory was read or written",
        from "NVML, samples of memory utilization";
    RESOURCES_GPU_MEMORY_UTILIZATION_PERCENT_PEAK: Gauge "node_resources_gpu_memory_utilization_percent_peak" ["gpu_uuid"]
        "The largest sample of the same",
        from "NVML, samples of memory utilization";
    RESOURCES_GPU_UTILIZATION_PERCENT_AVG: Gauge "node_resources_gpu_utilization_percent_avg" ["gpu_uuid"]
        "Percent of the last 15 s in which the GPU computed",
        from "NVML, samples of GPU utilization";
    RESOURCES_GPU_UTILIZATION_PERCENT_PEAK: Gauge "node_resources_gpu_utilization_percent_peak" ["gpu_uuid"]
        "The largest sample of the same",
        from "NVML, samples of GPU utilization";
    RESOURCES_GPU_TEMPERATURE_CELSIUS: Gauge "node_resources_gpu_temperature_celsius" ["gpu_uuid"]
        "Temperature of the GPU",
        from "NVML, temperature";
    RESOURCES_GPU_POWER_USAGE_WATTS: Gauge "node_resources_gpu_power_usage_watts" ["gpu_uuid"]
        "Power that the GPU draws",
        from "NVML, power usage";
    RESOURCES_DISK_READS_TOTAL: Counter "node_resources_disk_reads_total" ["device"]
        "Completed reads",
        from "/proc/diskstats";
    RESOURCES_DISK_WRITES_TOTAL: Counter "node_resources_disk_writes_total" ["device"]
        "Completed writes",
        from "/proc/diskstats";
    RESOURCES_DISK_READ_BYTES_TOTAL: Counter "node_resources_disk_read_bytes_total" ["device"]
        "Bytes read",
        from "/proc/diskstats, sectors of 512 bytes";
    RESOURCES_DISK_WRITTEN_BYTES_TOTAL: Counter "node_resources_disk_written_bytes_total" ["device"]
        "Bytes written",
        from "/proc/diskstats, sectors of 512 bytes";
    RESOURCES_DISK_READ_TIME_SECONDS_TOTAL: Counter "node_resources_disk_read_time_seconds_total" ["device"]
        "Time spent by all reads together",
        from "/proc/diskstats";
    RESOURCES_DISK_WRITE_TIME_SECONDS_TOTAL: Counter "node_resources_disk_write_time_seconds_total" ["device"]
        "Time spent by all writes together",
        from "/proc/diskstats";
    RESOURCES_DISK_IO_TIME_SECONDS_TOTAL: Counter "node_resources_disk_io_time_seconds_total" ["device"]
        "Time during which the disk had requests in flight",
        from "/proc/diskstats";
    NET_RECEIVED_BYTES_TOTAL: Counter "node_net_received_bytes_total" ["interface"]
        "Bytes received",
        from "/proc/net/dev of process 1";
    NET_TRANSMITTED_BYTES_TOTAL: Counter "node_net_transmitted_bytes_total" ["interface"]
        "Bytes sent",
        from "/proc/net/dev of process 1";
    NET_RECEIVED_PACKETS_TOTAL: Counter "node_net_received_packets_total" ["interface"]
        "Packets received",
        from "/proc/net/dev of process 1";
    NET_TRANSMITTED_PACKETS_TOTAL: Counter "node_net_transmitted_packets_total" ["interface"]
        "Packets sent",
        from "/proc/net/dev of process 1";
    NET_RECEIVED_ERRORS_TOTAL: Counter "node_net_received_errors_total" ["interface"]
        "Bad packets received",
        from "/proc/net/dev of process 1";
    NET_TRANSMITTED_ERRORS_TOTAL: Counter "node_net_transmitted_errors_total" ["interface"]
        "Packets whose transmission failed",
        from "/proc/net/dev of process 1";
    NET_RECEIVED_DROPS_TOTAL: Counter "node_net_received_drops_total" ["interface"]
        "Packets received and dropped, for want of room or of somebody who wants them",
        from "/proc/net/dev of process 1";
    NET_TRANSMITTED_DROPS_TOTAL: Counter "node_net_transmitted_drops_total" ["interface"]
        "Packets dropped instead of sent",
        from "/proc/net/dev of process 1";
    NET_INTERFACE_SPEED_BYTES: Gauge "node_net_interface_speed_bytes" ["interface"]
        "Bytes per second that the link is good for; absent where the driver does not know",
        from "/sys/class/net/*/speed of process 1";
    NET_TRAFFIC_SENT_BYTES_TOTAL: Counter "node_net_traffic_sent_bytes_total" ["protocol", "zone", "class", "cross_zone"]
        "Payload bytes that all sockets of the node sent, by protocol (tcp, udp), also those of containers that are not shown, by the network at the other end: the zone and class of --network, else loopback, local (an address of this node or of its containers), private, link_local, multicast, public; ~overflow for UDP with too many others at once",
        from "tcp: as container_net_tcp_bytes_sent_total; udp: packets, by cgroup_skb/egress; each local socket counts its own view";
    NET_TRAFFIC_RECEIVED_BYTES_TOTAL: Counter "node_net_traffic_received_bytes_total" ["protocol", "zone", "class", "cross_zone"]
        "Payload bytes that arrived at all sockets of the node, by protocol and by the network at the other end; of UDP also what a full receive buffer then drops",
        from "tcp: as container_net_tcp_bytes_received_total; udp: packets, by cgroup_skb/ingress; each local socket counts its own view";
    NET_TCP_CONNECTIONS_TOTAL: Counter "node_net_tcp_connections_total" ["direction", "zone", "class", "cross_zone"]
        "TCP connections that sockets of the node opened (outbound) or accepted (inbound), by the network at the other end",
        from "tp_btf/inet_sock_set_state";
    NET_ZONE_INFO: Gauge "node_net_zone_info" ["zone"]
        "1, with the zone that this node is in",
        from "--zone, else the cloud's metadata, else the networks that hold the node's own addresses";
    NET_INTERFACE_UP: Gauge "node_net_interface_up" ["interface"]
        "Whether the interface is up: 1 or 0",
        from "/sys/class/net/*/operstate of process 1";
    NET_INTERFACE_IP: Gauge "node_net_interface_ip" ["interface", "ip"]
        "1 for every address of an interface",
        from "addresses of process 1's network namespace";
    NET_SOCKETS_IN_USE: Gauge "node_net_sockets_in_use" ["protocol"]
        "Sockets of a protocol: tcp, tcp6, udp, udp6; of TCP those that listen or are connected",
        from "/proc/net/sockstat{,6} of process 1";
    NET_TCP_TIME_WAIT_SOCKETS: Gauge "node_net_tcp_time_wait_sockets" []
        "Closed TCP connections that wait for stray segments",
        from "/proc/net/sockstat of process 1, TCP tw";
    NET_TCP_ORPHANED_SOCKETS: Gauge "node_net_tcp_orphaned_sockets" []
        "TCP sockets of all namespaces that no process holds any more",
        from "/proc/net/sockstat of process 1, TCP orphan";
    NET_TCP_ALLOCATED_SOCKETS: Gauge "node_net_tcp_allocated_sockets" []
        "TCP sockets of all namespaces in any state",
        from "/proc/net/sockstat of process 1, TCP alloc";
    NET_SOCKET_MEMORY_BYTES: Gauge "node_net_socket_memory_bytes" ["protocol"]
        "Memory of the buffers of a protocol's sockets of all namespaces: tcp, udp",
        from "/proc/net/sockstat of process 1, mem";
    NET_TCP_SEGMENTS_RECEIVED_TOTAL: Counter "node_net_tcp_segments_received_total" []
        "TCP segments received",
        from "/proc/net/snmp of process 1, Tcp InSegs";
    NET_TCP_SEGMENTS_SENT_TOTAL: Counter "node_net_tcp_segments_sent_total" []
        "TCP segments sent, without those that were sent again",
        from "/proc/net/snmp of process 1, Tcp OutSegs";
    NET_TCP_SEGMENTS_RETRANSMITTED_TOTAL: Counter "node_net_tcp_segments_retransmitted_total" []
        "TCP segments sent again",
        from "/proc/net/snmp of process 1, Tcp RetransSegs";
    NET_TCP_SEGMENTS_BAD_TOTAL: Counter "node_net_tcp_segments_bad_total" []
        "TCP segments received with an error, as of the checksum",
        from "/proc/net/snmp of process 1, Tcp InErrs";
    NET_TCP_RESETS_SENT_TOTAL: Counter "node_net_tcp_resets_sent_total" []
        "TCP segments sent with the RST flag",
        from "/proc/net/snmp of process 1, Tcp OutRsts";
    NET_TCP_ESTABLISHED_RESETS_TOTAL: Counter "node_net_tcp_established_resets_total" []
        "Established TCP connections that ended by a reset, of either side",
        from "/proc/net/snmp of process 1, Tcp EstabResets";
    NET_TCP_FAILED_HANDSHAKES_TOTAL: Counter "node_net_tcp_failed_handshakes_total" []
        "TCP connections, opened or accepted, that failed before they were established",
        from "/proc/net/snmp of process 1, Tcp AttemptFails";
    NET_TCP_LISTEN_OVERFLOWS_TOTAL: Counter "node_net_tcp_listen_overflows_total" []
        "TCP connections refused a place in a full accept queue",
        from "/proc/net/netstat of process 1, TcpExt ListenOverflows";
    NET_TCP_LISTEN_DROPS_TOTAL: Counter "node_net_tcp_listen_drops_total" []
        "TCP connections that a listening socket dropped for any reason, a full queue included",
        from "/proc/net/netstat of process 1, TcpExt ListenDrops";
    NET_TCP_SYN_COOKIES_SENT_TOTAL: Counter "node_net_tcp_syn_cookies_sent_total" []
        "SYN cookies sent because the queue of half-open connections was full",
        from "/proc/net/netstat of process 1, TcpExt SyncookiesSent";
    NET_TCP_SYN_COOKIES_FAILED_TOTAL: Counter "node_net_tcp_syn_cookies_failed_total" []
        "Answers whose SYN cookie was invalid",
        from "/proc/net/netstat of process 1, TcpExt SyncookiesFailed";
    NET_TCP_TIMEOUTS_TOTAL: Counter "node_net_tcp_timeouts_total" []
        "Retransmission timers of TCP that expired",
        from "/proc/net/netstat of process 1, TcpExt TCPTimeouts";
    NET_TCP_MEMORY_ABORTS_TOTAL: Counter "node_net_tcp_memory_aborts_total" []
        "TCP connections ended for want of socket memory or by too many orphans",
        from "/proc/net/netstat of process 1, TcpExt TCPAbortOnMemory";
    NET_UDP_DATAGRAMS_RECEIVED_TOTAL: Counter "node_net_udp_datagrams_received_total" ["family"]
        "UDP datagrams delivered: ipv4, ipv6",
        from "/proc/net/snmp{,6} of process 1, Udp InDatagrams";
    NET_UDP_DATAGRAMS_SENT_TOTAL: Counter "node_net_udp_datagrams_sent_total" ["family"]
        "UDP datagrams sent: ipv4, ipv6",
        from "/proc/net/snmp{,6} of process 1, Udp OutDatagrams";
    NET_UDP_UNWANTED_TOTAL: Counter "node_net_udp_unwanted_total" ["family"]
        "UDP datagrams to a port that nobody had: ipv4, ipv6",
        from "/proc/net/snmp{,6} of process 1, Udp NoPorts";
    NET_UDP_RECEIVE_ERRORS_TOTAL: Counter "node_net_udp_receive_errors_total" ["family"]
        "UDP datagrams that could not be delivered, those to full buffers included: ipv4, ipv6",
        from "/proc/net/snmp{,6} of process 1, Udp InErrors";
    NET_UDP_RECEIVE_BUFFER_ERRORS_TOTAL: Counter "node_net_udp_receive_buffer_errors_total" ["family"]
        "UDP datagrams that found the receiver's buffer full: ipv4, ipv6",
        from "/proc/net/snmp{,6} of process 1, Udp RcvbufErrors";
    NET_UDP_SEND_BUFFER_ERRORS_TOTAL: Counter "node_net_udp_send_buffer_errors_total" ["family"]
        "UDP datagrams that found the sender's buffer full: ipv4, ipv6",
        from "/proc/net/snmp{,6} of process 1, Udp SndbufErrors";
    NF_CONNTRACK_ENTRIES: Gauge "node_nf_conntrack_entries" []
        "Connections in the table of connection tracking",
        from "/proc/net/stat/nf_conntrack of process 1";
    NF_CONNTRACK_ENTRIES_LIMIT: Gauge "node_nf_conntrack_entries_limit" []
        "Connections that fit in the table of connection tracking",
        from "/proc/sys/net/netfilter/nf_conntrack_max";
    NF_CONNTRACK_DROPS_TOTAL: Counter "node_nf_conntrack_drops_total" ["reason"]
        "Losses of connection tracking: drop and insert_failed are packets, early_drop is connections evicted for new ones",
        from "/proc/net/stat/nf_conntrack of process 1";
}
