//! The kernel's part, played by us: what would a filter say to this call?

use crate::action::Action;
use crate::architecture::Architecture;
use crate::filter::Filter;
use crate::instruction::{
    AND, ARCHITECTURE, JUMP, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, JUMP_IF_GREATER, LOAD, NUMBER, RETURN,
};

/// A call as a filter sees it: `struct seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number.
    pub number: u32,
    /// The architecture, as the kernel reports it.
    pub audit: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Request {
    /// A call with this number; all arguments are 0.
    pub fn new(architecture: Architecture, number: u32) -> Self {
        Self { number, audit: architecture.audit(), arguments: [0; 6] }
    }

    /// The 32 bits at `offset`.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            NUMBER => Some(self.number),
            ARCHITECTURE => Some(self.audit),
            16..64 if offset.is_multiple_of(4) => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                Some(if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 })
            }
            _ => None,
        }
    }
}

impl Filter {
    /// What it answers; `None` if it is not a program that this crate writes.
    pub fn decide(&self, request: &Request) -> Option<Action> {
        let mut accumulator = 0_u32;
        let mut at = 0;
        loop {
            let instruction = self.instructions().get(at)?;
            at += 1;
            let value = instruction.value;
            let holds = match instruction.code {
                LOAD => {
                    accumulator = request.word(value)?;
                    continue;
                }
                AND => {
                    accumulator &= value;
                    continue;
                }
                JUMP => {
                    at += value as usize;
                    continue;
                }
                RETURN => return Some(Action::from_code(value)),
                JUMP_IF_EQUAL => accumulator == value,
                JUMP_IF_GREATER => accumulator > value,
                JUMP_IF_AT_LEAST => accumulator >= value,
                _ => return None,
            };
            at += usize::from(if holds { instruction.if_true } else { instruction.if_false });
        }
    }
}
