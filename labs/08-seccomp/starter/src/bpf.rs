//! Instructions of classic BPF, and what a filter may load. Nothing is to be written here.
//!
//! The machine has one number, its accumulator. A program ends with an answer, and jumps only forward.

#![allow(dead_code)]

use libc::sock_filter;

/// Where the call's number is.
pub const NUMBER: u32 = 0;
/// Where the architecture is of which that is a number.
pub const ARCHITECTURE: u32 = 4;
/// Where the first argument is. Each has eight bytes, the lower half first.
pub const ARGUMENTS: u32 = 16;

/// The architecture that this program is made for (`AUDIT_ARCH_*` of linux/audit.h).
pub const MACHINE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
/// The bit by which x32's calls differ from those of x86-64. The architecture is the same for both.
pub const X32_BIT: u32 = 0x4000_0000;

/// Puts the 32 bits that are there into the accumulator.
pub fn load(from: u32) -> sock_filter {
    sock_filter { code: 0x20, jt: 0, jf: 0, k: from }
}

/// Leaves out `if_so` of the instructions that follow, if the accumulator equals `value`; otherwise `if_not`.
pub fn if_equal(value: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter { code: 0x15, jt: if_so, jf: if_not, k: value }
}

/// Likewise, if the accumulator is at least `value`.
pub fn if_at_least(value: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter { code: 0x35, jt: if_so, jf: if_not, k: value }
}

/// Ends the program with this answer, one of `libc::SECCOMP_RET_*`.
pub fn answer(value: u32) -> sock_filter {
    sock_filter { code: 0x06, jt: 0, jf: 0, k: value }
}
