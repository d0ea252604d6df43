//! Who made a socket: the current task, or any other.

use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task};

use crate::{
    mem::{Probed, Read, bytes, pointer},
    offsets::*,
};

/// A thread group and its cgroups.
#[derive(Clone, Copy)]
pub struct Owner {
    pub cgroup_v2: u64,
    pub cgroup_v1: u64,
    pub comm: [u8; 16],
    pub tgid: u32,
}

impl Owner {
    /// Nobody known.
    pub const NONE: Self = Self { cgroup_v2: 0, cgroup_v1: 0, comm: [0; 16], tgid: 0 };

    /// The current task. Only right in process context.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: the helpers have no preconditions; the pointer is the current task, alive while the program runs.
        unsafe {
            let task = bpf_get_current_task() as *const u8;
            Self {
                cgroup_v2: bpf_get_current_cgroup_id(),
                cgroup_v1: memory_cgroup(task),
                comm: leader_comm(task),
                tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
            }
        }
    }

    /// Any task.
    ///
    /// # Safety
    ///
    /// `task` is a `struct task_struct`.
    #[inline(always)]
    pub unsafe fn of(task: *const u8) -> Self {
        // SAFETY: the caller vouches for the pointer, the table for the offsets.
        unsafe {
            Self {
                cgroup_v2: kernfs_id(pointer(pointer(task, &TASK_CGROUPS), &CSS_SET_DFL)),
                cgroup_v1: memory_cgroup(task),
                comm: leader_comm(task),
                tgid: Probed::field(task, &TASK_TGID),
            }
        }
    }
}

/// The id of a `struct cgroup`: the inode of its directory.
///
/// # Safety
///
/// `cgroup` is a `struct cgroup` or null.
#[inline(always)]
pub unsafe fn kernfs_id(cgroup: *const u8) -> u64 {
    // SAFETY: as the caller says; a failed read gives zero.
    unsafe { Probed::field(pointer(cgroup, &CGROUP_KN), &KERNFS_ID) }
}

/// The task's cgroup on the hierarchy with the memory controller; 0 where that is not a v1 hierarchy.
#[inline(always)]
unsafe fn memory_cgroup(task: *const u8) -> u64 {
    if READ_CGROUP_V1.get() == 0 || !MEMORY_SUBSYS.exists() {
        return 0;
    }
    // SAFETY: `css_set.subsys` is an array of pointers indexed by `enum cgroup_subsys_id`.
    unsafe {
        let css_set = pointer(task, &TASK_CGROUPS);
        let slot = CSS_SET_SUBSYS.get() + MEMORY_SUBSYS.get() * size_of::<usize>();
        let css = Probed::at::<usize>(css_set, slot) as *const u8;
        kernfs_id(pointer(css, &CSS_CGROUP))
    }
}

/// The name of the thread group's leader: threads of one process often have names of their own.
#[inline(always)]
unsafe fn leader_comm(task: *const u8) -> [u8; 16] {
    // SAFETY: `task_struct.comm` is `char[TASK_COMM_LEN]`, 16 bytes.
    bytes(unsafe { Probed::field(pointer(task, &TASK_LEADER), &TASK_COMM) })
}
