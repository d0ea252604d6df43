//! Files as kernels from 5.10 to 6.18 write them, with every key, in their order.

use super::*;

/// 5.10 has six keys; later ones added bursts, and put others in between.
#[test]
fn cpu_stat_of_the_unified_hierarchy() {
    let kernels = [
        "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnr_periods 40\nnr_throttled 3\n\
         throttled_usec 500000\n",
        "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnr_periods 40\nnr_throttled 3\n\
         throttled_usec 500000\nnr_bursts 1\nburst_usec 7\n",
        "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnice_usec 9\n\
         core_sched.force_idle_usec 0\nnr_periods 40\nnr_throttled 3\nthrottled_usec 500000\nnr_bursts 1\n\
         burst_usec 7\n",
    ];
    for text in kernels {
        let files = [("docker/abc/cpu.stat", text), ("docker/abc/cpu.max", "50000 100000\n")];
        let (_root, mounts) = host(&[("cgroup2", "", "nsdelegate")], &files);
        let expected = Cpu {
            usage_seconds: Some(2.5),
            user_seconds: Some(1.5),
            system_seconds: Some(1.0),
            throttled_seconds: Some(0.5),
            periods: Some(40),
            throttled_periods: Some(3),
            limit_cores: Some(0.5),
        };
        assert_eq!(read(&mounts, &paths()).cpu, expected, "{text}");
    }
}

const V2_STAT_5_10: &str = "anon 100\nfile 300\nkernel_stack 1\npercpu 1\nsock 1\nshmem 1\nfile_mapped 20\nfile_dirty 7\n\
    file_writeback 1\nanon_thp 0\ninactive_anon 90\nactive_anon 10\ninactive_file 60\nactive_file 240\nunevictable 0\n\
    slab_reclaimable 5\nslab_unreclaimable 5\nslab 10\nworkingset_refault_anon 0\nworkingset_refault_file 2\n\
    pgfault 500\npgmajfault 11\npgrefill 0\n";
const V2_STAT_6_18: &str = "anon 100\nfile 300\nkernel 50\nkernel_stack 1\npagetables 1\nsec_pagetables 0\npercpu 1\n\
    sock 1\nvmalloc 0\nshmem 1\nzswap 0\nzswapped 0\nfile_mapped 20\nfile_dirty 7\nfile_writeback 1\nswapcached 0\n\
    anon_thp 0\nfile_thp 0\nshmem_thp 0\ninactive_anon 90\nactive_anon 10\ninactive_file 60\nactive_file 240\n\
    unevictable 0\nslab_reclaimable 5\nslab_unreclaimable 5\nslab 10\nworkingset_refault_anon 0\npgdemote_kswapd 0\n\
    pgscan 0\npgsteal 0\npgfault 500\npgmajfault 11\nhugetlb 0\n";

#[test]
fn memory_of_the_unified_hierarchy() {
    let kernels = [
        (V2_STAT_5_10, "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n"),
        (V2_STAT_6_18, "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 1\nsock_throttled 0\n"),
    ];
    for (stat, events) in kernels {
        let files = [
            ("docker/abc/memory.stat", stat),
            ("docker/abc/memory.events", events),
            ("docker/abc/memory.current", "460\n"),
            ("docker/abc/memory.max", "2048\n"),
            ("docker/abc/memory.swap.current", "12\n"),
            ("docker/abc/memory.swap.max", "1024\n"),
        ];
        let (_root, mounts) = host(&[("cgroup2", "", "nsdelegate")], &files);
        let expected = Memory {
            rss_bytes: Some(120),
            cache_bytes: Some(300),
            working_set_bytes: Some(400),
            swap_bytes: Some(12),
            limit_bytes: Some(2048),
            effective_limit_bytes: Some(2048),
            swap_limit_bytes: Some(1024),
            major_faults: Some(11),
            events: MemoryEvents { high: Some(1), max: Some(2), oom: Some(3), oom_kill: Some(4) },
        };
        assert_eq!(read(&mounts, &paths()).memory, expected, "{stat}");
    }
}

/// 6.18 lists swap also in `memory.stat` only when it is accounted; without `swapaccount=1` 5.10 has neither that line
/// nor the files of memory and swap together.
#[test]
fn memory_of_v1() {
    let own = "cache 1\nrss 2\nrss_huge 0\nshmem 0\nmapped_file 3\ndirty 0\nwriteback 0\n";
    let limits = "pgpgin 1\npgfault 9\npgmajfault 1\ninactive_file 4\nhierarchical_memory_limit 524288\n";
    let total = "total_cache 40\ntotal_rss 30\ntotal_rss_huge 0\ntotal_shmem 0\ntotal_mapped_file 5\n\
                 total_pgfault 500\ntotal_pgmajfault 11\ntotal_inactive_file 25\ntotal_active_file 15\n";
    let unaccounted = [own, limits, total].concat();
    let accounted =
        [own, "swap 6\n", limits, "hierarchical_memsw_limit 4194304\n", total, "total_swap 8\n"].concat();
    let base = Memory {
        rss_bytes: Some(35),
        cache_bytes: Some(40),
        working_set_bytes: Some(55),
        limit_bytes: Some(1_048_576),
        effective_limit_bytes: Some(524_288),
        major_faults: Some(11),
        events: MemoryEvents { max: Some(17), oom_kill: Some(2), ..MemoryEvents::default() },
        ..Memory::default()
    };
    let with_swap = Memory { swap_bytes: Some(8), swap_limit_bytes: Some(3_145_728), ..base };
    for (stat, memsw, expected) in [(&unaccounted, None, base), (&accounted, Some("4194304\n"), with_swap)] {
        let mut files = vec![
            ("memory/docker/abc/memory.stat", stat.as_str()),
            ("memory/docker/abc/memory.usage_in_bytes", "80\n"),
            ("memory/docker/abc/memory.limit_in_bytes", "1048576\n"),
            ("memory/docker/abc/memory.failcnt", "17\n"),
            ("memory/docker/abc/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ];
        files.extend(memsw.map(|text| ("memory/docker/abc/memory.memsw.limit_in_bytes", text)));
        let (_root, mounts) = host(&V1, &files);
        assert_eq!(read(&mounts, &paths()).memory, expected, "{stat}");
    }
}

#[test]
fn a_working_set_is_never_negative() {
    let files = [
        ("memory/docker/abc/memory.stat", "total_inactive_file 100\n"),
        ("memory/docker/abc/memory.usage_in_bytes", "80\n"),
    ];
    let (_root, mounts) = host(&V1, &files);
    assert_eq!(read(&mounts, &paths()).memory.working_set_bytes, Some(0), "the kernel's own sums lag behind");
}

#[test]
fn cpu_and_tasks_of_v1() {
    for stat in [
        "nr_periods 40\nnr_throttled 3\nthrottled_time 250000000\n",
        "nr_periods 40\nnr_throttled 3\nthrottled_time 250000000\nwait_sum 5\nnr_bursts 0\nburst_time 0\n",
    ] {
        let ticks = rustix::param::clock_ticks_per_second();
        let time = format!("user {ticks}\nsystem {}\n", ticks / 2);
        let files = [
            ("cpu,cpuacct/docker/abc/cpuacct.usage", "1500000000\n"),
            ("cpu,cpuacct/docker/abc/cpuacct.stat", &*time),
            ("cpu,cpuacct/docker/abc/cpu.stat", stat),
            ("cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "150000\n"),
            ("cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            ("pids/docker/abc/pids.current", "7\n"),
            ("pids/docker/abc/pids.max", "64\n"),
        ];
        let (_root, mounts) = host(&V1, &files);
        let read = read(&mounts, &paths());
        let expected = Cpu {
            usage_seconds: Some(1.5),
            user_seconds: Some(1.0),
            system_seconds: Some(0.5),
            throttled_seconds: Some(0.25),
            periods: Some(40),
            throttled_periods: Some(3),
            limit_cores: Some(1.5),
        };
        assert_eq!(read.cpu, expected, "{stat}");
        assert_eq!(read.tasks, Tasks { current: Some(7), limit: Some(64) });
    }
}

#[test]
fn pressure_and_tasks_of_the_unified_hierarchy() {
    // 5.10 has no line `full` for the CPU; 5.13 added it.
    let files = [
        ("docker/abc/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n"),
        ("docker/abc/memory.pressure", "some avg10=0.00 total=1\nfull avg10=0.00 total=3000000\n"),
        ("docker/abc/io.pressure", "some total=4000000\nfull total=5000000\n"),
        ("docker/abc/pids.current", "3\n"),
        ("docker/abc/pids.max", "100\n"),
    ];
    let (_root, mounts) = host(&[("cgroup2", "", "rw")], &files);
    let read = read(&mounts, &CgroupPaths { v1: None, v2: Some(CONTAINER.into()) });
    let stall = |some_seconds, full_seconds| Stall { some_seconds, full_seconds };
    let pressure = Pressure {
        cpu: stall(Some(2.0), None),
        memory: stall(Some(1e-6), Some(3.0)),
        io: stall(Some(4.0), Some(5.0)),
    };
    assert_eq!(read.pressure, pressure);
    assert_eq!(read.tasks, Tasks { current: Some(3), limit: Some(100) });
}

#[test]
fn disks_of_the_unified_hierarchy() {
    let text = "8:16 \n7:7 (unknown) 8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n\
                253:0 rbytes=9 wbytes=0 rios=1 wios=0 dbytes=0 dios=0 cost.usage=3 cost.wait=0\n254:0 \n";
    let (_root, mounts) = host(&[("cgroup2", "", "rw")], &[("docker/abc/io.stat", text)]);
    let disk =
        |device, [reads, writes, read_bytes, written_bytes, discards, discarded_bytes]: [u64; 6]| DiskIo {
            device,
            reads: Some(reads),
            writes: Some(writes),
            read_bytes: Some(read_bytes),
            written_bytes: Some(written_bytes),
            discards: Some(discards),
            discarded_bytes: Some(discarded_bytes),
        };
    let mapped = DeviceId { major: 253, minor: 0 };
    let expected = [disk(device(0), [3, 4, 1, 2, 6, 5]), disk(mapped, [1, 0, 9, 0, 0, 0])];
    assert_eq!(read(&mounts, &paths()).disks, expected);
}

/// The files of the group alone are read where there are none that include the groups below. A device with nothing but
/// zeros is one that the kernel does not count.
#[test]
fn disks_of_v1() {
    let zeros = "8:32 Read 0\n8:32 Write 0\n8:32 Sync 0\n8:32 Async 0\n8:32 Discard 0\n8:32 Total 0\n";
    let operations =
        format!("8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Async 0\n8:0 Discard 0\n{zeros}Total 3\n");
    let bytes = format!("8:0 Read 512\n8:16 Write 1024\n8:16 Discard 9\n{zeros}Total 1536\n");
    let expected = [
        DiskIo {
            reads: Some(1),
            writes: Some(2),
            discards: Some(0),
            read_bytes: Some(512),
            ..DiskIo::new(device(0))
        },
        DiskIo { written_bytes: Some(1024), discarded_bytes: Some(9), ..DiskIo::new(device(16)) },
    ];
    for suffix in ["", "_recursive"] {
        let name = |name: &str| format!("blkio/docker/abc/blkio.throttle.{name}{suffix}");
        let (serviced, service_bytes) = (name("io_serviced"), name("io_service_bytes"));
        let alone = ("blkio/docker/abc/blkio.throttle.io_serviced", "8:48 Read 1\n");
        let mut files = vec![(&*serviced, &*operations), (&*service_bytes, &*bytes)];
        if !suffix.is_empty() {
            files.push(alone);
        }
        let (_root, mounts) = host(&V1, &files);
        assert_eq!(read(&mounts, &paths()).disks, expected, "{suffix}");
    }
    let (_root, mounts) = host(&V1, &[("blkio/docker/abc/blkio.throttle.io_serviced", "Total 0\n")]);
    assert_eq!(read(&mounts, &paths()).disks, [], "6.18 lists no device without a throttling limit");
}
