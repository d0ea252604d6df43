//! The machine.

super::catalog! {
    title: "Node", prefix: "node_", scope: Node;

    INFO: Gauge "node_info" ["hostname", "kernel_version"]
        "1, with the machine's name and kernel as labels",
        from "/proc/sys/kernel/{hostname,osrelease} of process 1";
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
    NET_INTERFACE_UP: Gauge "node_net_interface_up" ["interface"]
        "Whether the interface is up: 1 or 0",
        from "/sys/class/net/*/operstate of process 1";
    NET_INTERFACE_IP: Gauge "node_net_interface_ip" ["interface", "ip"]
        "1 for every address of an interface",
        from "addresses of process 1's network namespace";
}
