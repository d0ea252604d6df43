//! Containers, services and host executables: what they are and what they use.

super::catalog! {
    title: "Containers", prefix: "container_", scope: Container;

    INFO: Gauge "container_info" ["image", "systemd_triggered_by", "systemd_type"]
        "1 for every container whose metadata is known, and for every service that systemd describes",
        from "container runtime; systemd over D-Bus";
    KUBERNETES_INFO: Gauge "container_kubernetes_info"
        ["namespace", "pod", "container", "owner_kind", "owner_name", "node", "label_*"]
        "1 for every container of a pod that Kubernetes lists; every --kubernetes-label is one of the last labels",
        from "kubelet or API server, with --kubelet or --kubernetes-api";
    RESTARTS_TOTAL: Counter "container_restarts_total" []
        "Restarts of the container seen by the agent",
        from "tp_btf/cgroup_mkdir of the container's own cgroup, and start times of its processes";
    OOM_KILLS_TOTAL: Counter "container_oom_kills_total" []
        "Processes killed for want of memory",
        from "the larger one of tp_btf/mark_victim since the start of the agent and cgroup v1 memory.oom_control oom_kill, v2 memory.events oom_kill";
    RESOURCES_CPU_LIMIT_CORES: Gauge "container_resources_cpu_limit_cores" []
        "CPU limit; absent without a limit",
        from "cgroup v1 cpu.cfs_quota_us / cpu.cfs_period_us, v2 cpu.max";
    RESOURCES_CPU_USAGE_SECONDS_TOTAL: Counter "container_resources_cpu_usage_seconds_total" []
        "CPU time used",
        from "cgroup v1 cpuacct.usage, v2 cpu.stat usage_usec; v2 also for services that have no v1 cgroup of their own";
    RESOURCES_CPU_USER_SECONDS_TOTAL: Counter "container_resources_cpu_user_seconds_total" []
        "CPU time used in user mode",
        from "cgroup v1 cpuacct.stat user, v2 cpu.stat user_usec";
    RESOURCES_CPU_SYSTEM_SECONDS_TOTAL: Counter "container_resources_cpu_system_seconds_total" []
        "CPU time used in the kernel",
        from "cgroup v1 cpuacct.stat system, v2 cpu.stat system_usec";
    RESOURCES_CPU_PERIODS_TOTAL: Counter "container_resources_cpu_periods_total" []
        "Periods of the CPU limit in which the container ran; stands still without a limit",
        from "cgroup cpu.stat nr_periods";
    RESOURCES_CPU_THROTTLED_PERIODS_TOTAL: Counter "container_resources_cpu_throttled_periods_total" []
        "Periods in which the container used up its CPU limit and had to wait for the next one",
        from "cgroup cpu.stat nr_throttled";
    RESOURCES_CPU_THROTTLED_SECONDS_TOTAL: Counter "container_resources_cpu_throttled_seconds_total" []
        "Time during which the CPU limit kept the container from running",
        from "cgroup v1 cpu.stat throttled_time, v2 cpu.stat throttled_usec";
    RESOURCES_CPU_DELAY_SECONDS_TOTAL: Counter "container_resources_cpu_delay_seconds_total" []
        "Time that threads were runnable but waited for a CPU",
        from "iter/task, sched_info.run_delay; after the last pass the same by tp_btf/sched_process_exit; /proc/PID/task/TID/schedstat where the iterator does not work";
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
    RESOURCES_MEMORY_EFFECTIVE_LIMIT_BYTES: Gauge "container_resources_memory_effective_limit_bytes" []
        "Smallest memory limit of the container and of the cgroups around it, as of its pod; absent without any",
        from "cgroup v1 memory.stat hierarchical_memory_limit, v2 memory.max of each cgroup up to the mount's root";
    RESOURCES_MEMORY_WORKING_SET_BYTES: Gauge "container_resources_memory_working_set_bytes" []
        "Memory in use without inactive page cache, by which the kubelet evicts",
        from "cgroup v1 memory.usage_in_bytes - total_inactive_file, v2 memory.current - inactive_file";
    RESOURCES_MEMORY_SWAP_BYTES: Gauge "container_resources_memory_swap_bytes" []
        "Swap used",
        from "cgroup v1 memory.stat total_swap, v2 memory.swap.current";
    RESOURCES_MEMORY_SWAP_LIMIT_BYTES: Gauge "container_resources_memory_swap_limit_bytes" []
        "Swap limit; absent without a limit. v1 limits memory and swap together: what is above the limit of memory",
        from "cgroup v1 memory.memsw.limit_in_bytes - memory.limit_in_bytes, v2 memory.swap.max";
    RESOURCES_MEMORY_MAJOR_FAULTS_TOTAL: Counter "container_resources_memory_major_faults_total" []
        "Page faults that had to wait for a disk",
        from "cgroup v1 memory.stat total_pgmajfault, v2 memory.stat pgmajfault";
    RESOURCES_MEMORY_EVENTS_TOTAL: Counter "container_resources_memory_events_total" ["event"]
        "How often the container met its memory limits: `high` throttled, `max` had to reclaim, `oom` found nothing to reclaim; v1 counts `max` only",
        from "cgroup v1 memory.failcnt, v2 memory.events";
    RESOURCES_MEMORY_RSS_BYTES: Gauge "container_resources_memory_rss_bytes" []
        "Physical memory used, without the page cache",
        from "cgroup v1 memory.stat total_rss + total_mapped_file, v2 memory.stat anon + file_mapped";
    RESOURCES_MEMORY_CACHE_BYTES: Gauge "container_resources_memory_cache_bytes" []
        "Page cache charged to the container",
        from "cgroup v1 memory.stat total_cache, v2 memory.stat file";
    RESOURCES_TASKS: Gauge "container_resources_tasks" []
        "Threads",
        from "cgroup pids.current, else threads seen by iter/task";
    RESOURCES_TASKS_LIMIT: Gauge "container_resources_tasks_limit" []
        "Limit of threads; absent without a limit",
        from "cgroup pids.max";
    RESOURCES_OPEN_FILES: Gauge "container_resources_open_files" []
        "Open files of all processes, sockets included",
        from "iter/task_file";
    RESOURCES_OPEN_SOCKETS: Gauge "container_resources_open_sockets" []
        "Open sockets of all processes",
        from "iter/task_file";
    RESOURCES_OPEN_FILES_LIMIT_RATIO: Gauge "container_resources_open_files_limit_ratio" []
        "Of the process nearest to its limit of open files, the part of the limit that is used",
        from "iter/task_file, rlim[RLIMIT_NOFILE]";
    RESOURCES_DISK_READS_TOTAL: Counter "container_resources_disk_reads_total" ["mount_point", "device", "volume"]
        "Completed reads from a disk",
        from "cgroup v2 io.stat rios, else tp_btf/block_bio_queue, else v1 blkio.throttle.io_serviced";
    RESOURCES_DISK_WRITES_TOTAL: Counter "container_resources_disk_writes_total" ["mount_point", "device", "volume"]
        "Completed writes to a disk",
        from "cgroup v2 io.stat wios, else tp_btf/block_bio_queue, else v1 blkio.throttle.io_serviced";
    RESOURCES_DISK_READ_BYTES_TOTAL: Counter "container_resources_disk_read_bytes_total" ["mount_point", "device", "volume"]
        "Bytes read from a disk",
        from "cgroup v2 io.stat rbytes, else tp_btf/block_bio_queue, else v1 blkio.throttle.io_service_bytes";
    RESOURCES_DISK_WRITTEN_BYTES_TOTAL: Counter "container_resources_disk_written_bytes_total" ["mount_point", "device", "volume"]
        "Bytes written to a disk",
        from "cgroup v2 io.stat wbytes, else tp_btf/block_bio_queue, else v1 blkio.throttle.io_service_bytes";
    RESOURCES_DISK_SIZE_BYTES: Gauge "container_resources_disk_size_bytes" ["mount_point", "device", "volume"]
        "Size of a file system on a block device that the container may write to; of a service, those on disks it has written to",
        from "statfs of the mount point as the container sees it";
    RESOURCES_DISK_USED_BYTES: Gauge "container_resources_disk_used_bytes" ["mount_point", "device", "volume"]
        "Used space of the file system, by whomever",
        from "statfs of the mount point as the container sees it";
    RESOURCES_DISK_RESERVED_BYTES: Gauge "container_resources_disk_reserved_bytes" ["mount_point", "device", "volume"]
        "Free space of the file system that only the superuser may use",
        from "statfs of the mount point as the container sees it";
    RESOURCES_DISK_DISCARDS_TOTAL: Counter "container_resources_disk_discards_total" ["mount_point", "device", "volume"]
        "Completed discards on a disk",
        from "cgroup v2 io.stat dios, where that counts; else v1 blkio.throttle.io_serviced, without block/io";
    RESOURCES_DISK_DISCARDED_BYTES_TOTAL: Counter "container_resources_disk_discarded_bytes_total" ["mount_point", "device", "volume"]
        "Bytes discarded on a disk",
        from "cgroup v2 io.stat dbytes, where that counts; else v1 blkio.throttle.io_service_bytes, without block/io";
    RESOURCES_DISK_DELAY_SECONDS_TOTAL: Counter "container_resources_disk_delay_seconds_total" []
        "Time that threads waited for block devices",
        from "iter/task and tp_btf/sched_process_exit, delays.blkio_delay; with kernel.task_delayacct=1";
    RESOURCES_GPU_USAGE_PERCENT: Gauge "container_resources_gpu_usage_percent" ["gpu_uuid"]
        "Percent of the last 15 s in which a GPU computed for the container",
        from "NVML, utilization by process";
    RESOURCES_GPU_MEMORY_USAGE_PERCENT: Gauge "container_resources_gpu_memory_usage_percent" ["gpu_uuid"]
        "Percent of the last 15 s in which a GPU's memory was read or written for the container",
        from "NVML, utilization by process";
}
