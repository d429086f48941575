//! A finished filter, to be kept, passed on, shown and installed.

use std::fmt;
use std::os::fd::OwnedFd;

use crate::error::{Error, Result};
use crate::install;
use crate::instruction::{Instruction, Listing};

/// Set the filter for all threads (Linux 3.17).
pub(crate) const FLAG_TSYNC: u32 = 1;
/// Have the kernel log what is refused with more than an errno (Linux 4.14).
pub(crate) const FLAG_LOG: u32 = 1 << 1;
/// Do not slow the process down against speculative store bypass (Linux 4.17).
pub(crate) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// Make a descriptor for a listener (Linux 5.0).
pub(crate) const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// With [`FLAG_TSYNC`], fail with ESRCH for a thread that is in the way (Linux 5.7).
pub(crate) const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// Only a signal that kills ends a call that a listener has heard of (Linux 5.19).
pub(crate) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// A program that the kernel runs before each system call, with the flags it is to be installed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    instructions: Vec<Instruction>,
    flags: u32,
}

impl Filter {
    /// From instructions, of which there is at least one, and `SECCOMP_FILTER_FLAG_*`.
    pub fn new(instructions: Vec<Instruction>, flags: u32) -> Self {
        Self { instructions, flags }
    }

    /// The program, as the kernel takes it.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// `SECCOMP_FILTER_FLAG_*`.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether it has calls that a listener is asked about.
    pub fn has_listener(&self) -> bool {
        self.flags & FLAG_NEW_LISTENER != 0
    }

    /// The filter as bytes in this machine's order: the flags, then eight bytes an instruction.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + 8 * self.instructions.len());
        bytes.extend(self.flags.to_ne_bytes());
        for Instruction { code, if_true, if_false, value } in &self.instructions {
            bytes.extend(code.to_ne_bytes());
            bytes.extend([*if_true, *if_false]);
            bytes.extend(value.to_ne_bytes());
        }
        bytes
    }

    /// The reverse. What the bytes say is checked by nobody but the kernel.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let error = || Error::Bytes(bytes.len());
        let (flags, program) = bytes.split_first_chunk().ok_or_else(error)?;
        let (instructions, rest) = program.as_chunks::<8>();
        if instructions.is_empty() || !rest.is_empty() {
            return Err(error());
        }
        let instruction = |&[a, b, if_true, if_false, c, d, e, f]: &[u8; 8]| Instruction {
            code: u16::from_ne_bytes([a, b]),
            if_true,
            if_false,
            value: u32::from_ne_bytes([c, d, e, f]),
        };
        Ok(Self {
            instructions: instructions.iter().map(instruction).collect(),
            flags: u32::from_ne_bytes(*flags),
        })
    }

    /// Puts it on this thread and on all that it will start, for good: a filter cannot be taken off, and what is executed
    /// later has it too. A second one is asked as well, and the stricter answer counts.
    ///
    /// This takes `no_new_privs` (`prctl(2)`) or `CAP_SYS_ADMIN`: a filter on a set-user-ID program could make its
    /// `setuid` fail in silence, and leave it running as root. Without `no_new_privs`, then, the filter comes before
    /// capabilities are dropped, and must allow what that takes.
    ///
    /// If it has a listener, the result is the descriptor that this one gets calls from, and answers them through. With it
    /// closed, calls that it would be asked about fail with ENOSYS.
    pub fn install(&self) -> Result<Option<OwnedFd>> {
        tracing::info!(
            "seccomp: from here on a filter of {} instructions decides about every system call",
            self.instructions.len()
        );
        install::install(&self.instructions, self.flags)
    }
}

impl fmt::Display for Filter {
    /// A disassembly, one line an instruction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Listing(&self.instructions).fmt(f)
    }
}
