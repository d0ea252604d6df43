//! Offsets of kernel structures, read from BTF when the agent starts and given to the programs as constants.
//!
//! The verifier sees a global of read-only data as a known number, so a typed load at such an offset is checked like
//! one the compiler laid out, and a branch on an absent field vanishes.

/// The value of an offset that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// One structure member, or one enumerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The global in the kernel half.
    pub global: &'static str,
    /// Structure or enum.
    pub container: &'static str,
    /// Member path with dots through embedded structures, or the enumerator's name.
    pub path: &'static str,
    /// What is wanted of it.
    pub want: Want,
}

/// What a global holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Byte offset of the member; features that read its structure need it.
    Required,
    /// Byte offset of the member, or [`ABSENT`].
    Optional,
    /// Bit offset of the member, a bit field, or [`ABSENT`].
    Bit,
    /// Value of the enumerator, or [`ABSENT`].
    Enumerator,
    /// Size of the structure in bytes, or [`ABSENT`]; the path is empty.
    Size,
    /// Number of parameters of the function that stands in the container's place, or [`ABSENT`].
    Parameters,
}

/// Calls a macro with the whole table.
#[macro_export]
macro_rules! for_each_offset {
    ($callback:ident) => {
        $callback! {
            SOCK_FAMILY = "sock" "__sk_common.skc_family" Required,
            SOCK_STATE = "sock" "__sk_common.skc_state" Required,
            SOCK_DPORT = "sock" "__sk_common.skc_dport" Required,
            SOCK_NUM = "sock" "__sk_common.skc_num" Required,
            SOCK_DADDR = "sock" "__sk_common.skc_daddr" Required,
            SOCK_SADDR = "sock" "__sk_common.skc_rcv_saddr" Required,
            SOCK_V6_DADDR = "sock" "__sk_common.skc_v6_daddr" Optional,
            SOCK_V6_SADDR = "sock" "__sk_common.skc_v6_rcv_saddr" Optional,
            SOCK_NET = "sock" "__sk_common.skc_net" Required,
            SOCK_ERR = "sock" "sk_err" Required,
            SOCK_FLAGS = "sock" "__sk_common.skc_flags" Required,
            SOCK_PROTOCOL = "sock" "sk_protocol" Required,
            SOCK_TYPE = "sock" "sk_type" Optional,
            SOCK_CGROUP = "sock" "sk_cgrp_data.cgroup" Optional,
            SOCK_SHUTDOWN = "sock" "sk_shutdown" Optional,
            SOCK_BACKLOG = "sock" "sk_ack_backlog" Optional,
            SOCK_BACKLOG_MAX = "sock" "sk_max_ack_backlog" Optional,
            SOCK_DROPS = "sock" "sk_drops.counter" Optional,
            SOCK_DEAD_BIT = "sock_flags" "SOCK_DEAD" Enumerator,
            SOCK_SOCKET = "sock" "sk_socket" Optional,
            SOCK_KERN_BIT = "sock" "sk_kern_sock" Bit,
            SOCKET_INODE = "socket_alloc" "vfs_inode" Required,
            INODE_NUMBER = "inode" "i_ino" Optional,
            SOCK_DROP_COUNTERS = "sock" "sk_drop_counters" Optional,
            DROPS_FIRST = "numa_drop_counters" "drops0" Optional,
            DROPS_SECOND = "numa_drop_counters" "drops1" Optional,
            UDP_RECVMSG_PARAMETERS = "udp_recvmsg" "" Parameters,
            SOCK_DONE_BIT = "sock_flags" "SOCK_DONE" Enumerator,
            NET_INUM = "net" "ns.inum" Required,
            TCP_BYTES_SENT = "tcp_sock" "bytes_sent" Required,
            TCP_BYTES_RETRANS = "tcp_sock" "bytes_retrans" Required,
            TCP_BYTES_RECEIVED = "tcp_sock" "bytes_received" Required,
            TCP_TOTAL_RETRANS = "tcp_sock" "total_retrans" Required,
            TCP_SRTT = "tcp_sock" "srtt_us" Required,
            TCP_MIN_RTT = "tcp_sock" "rtt_min" Optional,
            TCP_SEGS_OUT = "tcp_sock" "segs_out" Optional,
            INET_SPORT = "inet_sock" "inet_sport" Required,
            MPTCP_FIRST = "mptcp_sock" "first" Optional,
            FILE_INODE = "file" "f_inode" Required,
            FILE_PRIVATE = "file" "private_data" Required,
            INODE_MODE = "inode" "i_mode" Required,
            SOCKET_SK = "socket" "sk" Required,
            SOCKET_TYPE = "socket" "type" Required,
            TASK_TGID = "task_struct" "tgid" Required,
            TASK_PID = "task_struct" "pid" Required,
            TASK_LEADER = "task_struct" "group_leader" Required,
            TASK_COMM = "task_struct" "comm" Required,
            TASK_FILES = "task_struct" "files" Required,
            TASK_CGROUPS = "task_struct" "cgroups" Required,
            TASK_START = "task_struct" "start_boottime" Required,
            TASK_FLAGS = "task_struct" "flags" Required,
            TASK_SIGNAL = "task_struct" "signal" Optional,
            SIGNAL_RLIM = "signal_struct" "rlim" Optional,
            TASK_DELAYS = "task_struct" "delays" Optional,
            DELAYS_BLKIO = "task_delay_info" "blkio_delay" Optional,
            TASK_RUN_DELAY = "task_struct" "sched_info.run_delay" Optional,
            TASK_STACK = "task_struct" "stack" Optional,
            TASK_PT_REGS_FUNC = "bpf_func_id" "BPF_FUNC_task_pt_regs" Enumerator,
            REGS_SIZE = "pt_regs" "" Size,
            REGS_ORIG_AX = "pt_regs" "orig_ax" Optional,
            REGS_SI = "pt_regs" "si" Optional,
            REGS_SYSCALLNO = "pt_regs" "syscallno" Optional,
            REGS_REGS = "pt_regs" "regs" Optional,
            CSS_SET_DFL = "css_set" "dfl_cgrp" Required,
            CSS_SET_SUBSYS = "css_set" "subsys" Required,
            CSS_CGROUP = "cgroup_subsys_state" "cgroup" Required,
            CGROUP_KN = "cgroup" "kn" Required,
            CGROUP_ROOT = "cgroup" "root" Required,
            CGROUP_ROOT_ID = "cgroup_root" "hierarchy_id" Required,
            CGROUP_ROOT_MASK = "cgroup_root" "subsys_mask" Required,
            KERNFS_ID = "kernfs_node" "id" Required,
            BIO_BDEV = "bio" "bi_bdev" Optional,
            BIO_DISK = "bio" "bi_disk" Optional,
            BIO_OPF = "bio" "bi_opf" Required,
            BIO_SIZE = "bio" "bi_iter.bi_size" Required,
            BIO_VEC = "bio" "bi_io_vec" Required,
            BVEC_PAGE = "bio_vec" "bv_page" Required,
            BDEV_DISK = "block_device" "bd_disk" Required,
            DISK_MAJOR = "gendisk" "major" Required,
            DISK_MINOR = "gendisk" "first_minor" Required,
            PAGE_HEAD = "page" "compound_head" Optional,
            PAGE_MEMCG_DATA = "page" "memcg_data" Optional,
            PAGE_MEMCG = "page" "mem_cgroup" Optional,
            MEMCG_CGROUP = "mem_cgroup" "css.cgroup" Optional,
            TASK_LAST_QUEUED = "task_struct" "sched_info.last_queued" Optional,
            TASK_CFS_RQ = "task_struct" "se.cfs_rq" Optional,
            CFS_RQ_RQ = "cfs_rq" "rq" Required,
            RQ_CLOCK = "rq" "clock" Required,
            REQUEST_QUEUE = "request" "q" Required,
            REQUEST_FLAGS = "request" "cmd_flags" Required,
            REQUEST_LEFT = "request" "__data_len" Required,
            REQUEST_START = "request" "start_time_ns" Required,
            REQUEST_DISK = "request" "rq_disk" Optional,
            QUEUE_DISK = "request_queue" "disk" Optional,
            MEMORY_SUBSYS = "cgroup_subsys_id" "memory_cgrp_id" Enumerator,
        }
    };
}

macro_rules! table {
    ($($global:ident = $container:literal $path:literal $want:ident,)*) => {
        /// Every offset the kernel half reads.
        pub const ALL: &[Offset] = &[$(Offset {
            global: stringify!($global),
            container: $container,
            path: $path,
            want: Want::$want,
        },)*];
    };
}

for_each_offset!(table);
