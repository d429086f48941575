//! One instruction of classic BPF, and how it reads.
//!
//! The machine of 1992 (`bpf(4)` of the BSDs; kernel: networking/filter.rst): one accumulator of 32 bits, jumps forward
//! only and so no loops. A filter for system calls may load nothing but this:
//!
//! ```text
//! struct seccomp_data {
//!     int   nr;                   // 0
//!     __u32 arch;                 // 4
//!     __u64 instruction_pointer;  // 8
//!     __u64 args[6];              // 16, 24, 32, …
//! };
//! ```

use std::fmt;

use crate::action::Action;

/// `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// For a conditional jump: how many instructions to leave out if the condition holds.
    pub if_true: u8,
    /// And if it does not.
    pub if_false: u8,
    /// A number.
    pub value: u32,
}

// The operations that filters need.
/// A = the 32 bits at `value`.
pub const LOAD: u16 = 0x20;
/// A = A & `value`.
pub const AND: u16 = 0x54;
/// Leave out `value` instructions.
pub const JUMP: u16 = 0x05;
/// Jump on A == `value`.
pub const JUMP_IF_EQUAL: u16 = 0x15;
/// Jump on A > `value`.
pub const JUMP_IF_GREATER: u16 = 0x25;
/// Jump on A >= `value`.
pub const JUMP_IF_AT_LEAST: u16 = 0x35;
/// End with the answer `value`.
pub const RETURN: u16 = 0x06;

/// Where the call's number is.
pub const NUMBER: u32 = 0;
/// Where the architecture is.
pub const ARCHITECTURE: u32 = 4;

/// Where the lower half of an argument is, 0 to 5. All our architectures are little-endian.
pub const fn low(argument: u8) -> u32 {
    16 + 8 * argument as u32
}

/// Where the upper half of an argument is.
pub const fn high(argument: u8) -> u32 {
    low(argument) + 4
}

impl Instruction {
    /// An instruction without jumps to choose from.
    pub const fn new(code: u16, value: u32) -> Self {
        Self { code, if_true: 0, if_false: 0, value }
    }
}

/// A program as text, one line an instruction.
pub(crate) struct Listing<'a>(pub(crate) &'a [Instruction]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: u32| if value > 0xffff { format!("{value:#x}") } else { value.to_string() };
        for (at, &Instruction { code, if_true, if_false, value }) in self.0.iter().enumerate() {
            let target = |skip: u32| at + 1 + skip as usize;
            write!(f, "{at:4}: ")?;
            let comparison = match code {
                LOAD => {
                    writeln!(f, "load {}", Field(value))?;
                    continue;
                }
                AND => {
                    writeln!(f, "and {value:#x}")?;
                    continue;
                }
                JUMP => {
                    writeln!(f, "go to {}", target(value))?;
                    continue;
                }
                RETURN => {
                    writeln!(f, "{}", Action::from_code(value))?;
                    continue;
                }
                JUMP_IF_EQUAL => "==",
                JUMP_IF_GREATER => ">",
                JUMP_IF_AT_LEAST => ">=",
                other => {
                    writeln!(f, "{other:#x} {if_true} {if_false} {value}")?;
                    continue;
                }
            };
            let (yes, no) = (target(if_true.into()), target(if_false.into()));
            writeln!(f, "if {comparison} {} go to {yes} else {no}", number(value))?;
        }
        Ok(())
    }
}

/// A part of `struct seccomp_data`.
struct Field(u32);

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            NUMBER => f.write_str("number"),
            ARCHITECTURE => f.write_str("architecture"),
            at @ 16..64 if at % 8 == 0 => write!(f, "argument {}, lower half", (at - 16) / 8),
            at @ 16..64 if at % 4 == 0 => write!(f, "argument {}, upper half", (at - 16) / 8),
            at => write!(f, "word at {at}"),
        }
    }
}
