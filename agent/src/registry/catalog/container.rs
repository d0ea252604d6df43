//! Containers, services and host executables: what they are and what they use.

super::catalog! {
    title: "Containers", prefix: "container_", scope: Container;

    INFO: Gauge "container_info" ["image", "systemd_triggered_by", "systemd_type"]
        "1 for every container whose metadata is known",
        from "container runtime";
    RESTARTS_TOTAL: Counter "container_restarts_total" []
        "Restarts of the container seen by the agent",
        from "start times of the container's processes";
    RESOURCES_CPU_LIMIT_CORES: Gauge "container_resources_cpu_limit_cores" []
        "CPU limit; absent without a limit",
        from "cgroup v1 cpu.cfs_quota_us / cpu.cfs_period_us, v2 cpu.max";
    RESOURCES_CPU_USAGE_SECONDS_TOTAL: Counter "container_resources_cpu_usage_seconds_total" []
        "CPU time used",
        from "cgroup v1 cpuacct.usage, v2 cpu.stat usage_usec";
    RESOURCES_CPU_THROTTLED_SECONDS_TOTAL: Counter "container_resources_cpu_throttled_seconds_total" []
        "Time during which the CPU limit kept the container from running",
        from "cgroup v1 cpu.stat throttled_time, v2 cpu.stat throttled_usec";
    RESOURCES_CPU_DELAY_SECONDS_TOTAL: Counter "container_resources_cpu_delay_seconds_total" []
        "Time that threads were runnable but waited for a CPU",
        from "iter/task, sched_info.run_delay";
    RESOURCES_CPU_PRESSURE_WAITING_SECONDS_TOTAL: Counter "container_resources_cpu_pressure_waiting_seconds_total" ["kind"]
        "Time during which some or all threads waited for a CPU",
        from "cgroup v2 cpu.pressure";
    RESOURCES_MEMORY_PRESSURE_WAITING_SECONDS_TOTAL: Counter "container_resources_memory_pressure_waiting_seconds_total" ["kind"]
        "Time during which some or all threads waited for memory",
        from "cgroup v2 memory.pressure";
    RESOURCES_IO_PRESSURE_WAITING_SECONDS_TOTAL: Counter "container_resources_io_pressure_waiting_seconds_total" ["kind"]
        "Time during which some or all threads waited for I/O",
        from "cgroup v2 io.pressure";
    RESOURCES_MEMORY_LIMIT_BYTES: Gauge "container_resources_memory_limit_bytes" []
        "Memory limit; absent without a limit",
        from "cgroup v1 memory.limit_in_bytes, v2 memory.max";
    RESOURCES_MEMORY_RSS_BYTES: Gauge "container_resources_memory_rss_bytes" []
        "Physical memory used, without the page cache",
        from "cgroup v1 memory.stat total_rss + total_mapped_file, v2 memory.stat anon + file_mapped";
    RESOURCES_MEMORY_CACHE_BYTES: Gauge "container_resources_memory_cache_bytes" []
        "Page cache charged to the container",
        from "cgroup v1 memory.stat total_cache, v2 memory.stat file";
    RESOURCES_DISK_READS_TOTAL: Counter "container_resources_disk_reads_total" ["mount_point", "device", "volume"]
        "Completed reads from a disk",
        from "cgroup v1 blkio.throttle.io_serviced, v2 io.stat rios";
    RESOURCES_DISK_WRITES_TOTAL: Counter "container_resources_disk_writes_total" ["mount_point", "device", "volume"]
        "Completed writes to a disk",
        from "cgroup v1 blkio.throttle.io_serviced, v2 io.stat wios";
    RESOURCES_DISK_READ_BYTES_TOTAL: Counter "container_resources_disk_read_bytes_total" ["mount_point", "device", "volume"]
        "Bytes read from a disk",
        from "cgroup v1 blkio.throttle.io_service_bytes, v2 io.stat rbytes";
    RESOURCES_DISK_WRITTEN_BYTES_TOTAL: Counter "container_resources_disk_written_bytes_total" ["mount_point", "device", "volume"]
        "Bytes written to a disk",
        from "cgroup v1 blkio.throttle.io_service_bytes, v2 io.stat wbytes";
}
