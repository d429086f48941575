//! `bpf(2)`, as far as device programs need it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::devices::Program;

// Commands, types and flags of linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Cgroups below may attach programs of their own, and all must agree. Without it a container engine could not run
/// inside a container.
const ALLOW_MULTI: u32 = 2;

/// `union bpf_attr` for `BPF_PROG_LOAD`, up to the last field we set.
#[repr(C)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// For `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// For `BPF_PROG_QUERY`.
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    flags: u32,
    attached_flags: u32,
    ids: u64,
    count: u32,
}

/// For `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// Attaches the program to a cgroup v2 directory, in place of those that were attached to it before.
pub(crate) fn attach(cgroup: BorrowedFd<'_>, program: &Program) -> Result<(), Errno> {
    let before = attached(cgroup)?;
    let instructions = program.instructions();
    let program = descriptor(
        PROG_LOAD,
        &mut Load {
            kind: TYPE_CGROUP_DEVICE,
            instruction_count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            // Only helper functions care about the licence, and the program calls none.
            license: c"MIT".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel_version: 0,
            flags: 0,
        },
    )?;
    // The new one first: all attached programs must agree, so there is never a moment without rules.
    change(PROG_ATTACH, cgroup, &program, ALLOW_MULTI)?;
    for old in before {
        change(PROG_DETACH, cgroup, &old, 0)?;
    }
    Ok(())
}

/// The device programs that are attached to this very cgroup.
fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    // 64 is the most that the kernel lets one cgroup have (BPF_CGROUP_MAX_PROGS).
    let mut ids = [0_u32; 64];
    let mut query = Query {
        target: cgroup.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
        attached_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
    };
    bpf(PROG_QUERY, &mut query)?;
    ids[..query.count as usize]
        .iter()
        .map(|&id| descriptor(PROG_GET_FD_BY_ID, &mut ById { id, next: 0, flags: 0 }))
        .collect()
}

fn change(command: libc::c_long, cgroup: BorrowedFd<'_>, program: &OwnedFd, flags: u32) -> Result<(), Errno> {
    let target = cgroup.as_raw_fd().cast_unsigned();
    let program = program.as_raw_fd().cast_unsigned();
    bpf(command, &mut Attach { target, program, kind: ATTACH_CGROUP_DEVICE, flags }).map(drop)
}

fn descriptor<T>(command: libc::c_long, attributes: &mut T) -> Result<OwnedFd, Errno> {
    let fd = bpf(command, attributes)?;
    // SAFETY: these commands return a new descriptor that is ours alone (close-on-exec: the kernel always sets it).
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: `attributes` is the command's part of `union bpf_attr`, with its size; the kernel takes what lies beyond
    // as zero. The buffers it points to are alive and as long as it says.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(Errno::from_raw(io::Error::last_os_error().raw_os_error().unwrap_or_default()));
    }
    Ok(result)
}
