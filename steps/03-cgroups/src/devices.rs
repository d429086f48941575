//! Device rules on cgroup v2: a BPF program, assembled here instruction by instruction.
//!
//! v1 had a controller with a list of rules. v2 has none: whoever makes a cgroup attaches a program to it, and the
//! kernel runs that program whenever a process inside opens a device or makes a node for one (kernel:
//! admin-guide/cgroup-v2.rst, "Device controller"; it is BPF, so only a privileged process can attach it).
//!
//! The program is called with `r1` pointing at what is asked:
//!
//! ```text
//! struct bpf_cgroup_dev_ctx {
//!     u32 access_type;    // low 16 bits: 1 block, 2 character; high 16 bits: 1 mknod, 2 read, 4 write, or several
//!     u32 major;
//!     u32 minor;
//! };
//! ```
//!
//! and what it leaves in `r0` is the answer: 1 allows, 0 forbids.

use std::fmt;

use crate::limits::{DeviceKind, DeviceRule};

/// One instruction: `struct bpf_insn` of linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What to do: the operation and where its operands are.
    pub code: u8,
    /// The destination register in the low half, the source register in the high one.
    pub registers: u8,
    /// For a jump: how many instructions to leave out. For a load: which byte to begin at.
    pub offset: i16,
    /// A number.
    pub immediate: i32,
}

/// A program for `BPF_PROG_TYPE_CGROUP_DEVICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

// The operations we need (kernel: bpf/standardization/instruction-set.rst).
const LOAD_WORD: u8 = 0x61; // dst = *(u32 *)(src + offset)
const MOVE: u8 = 0xb7; // dst = immediate
const MOVE_REGISTER: u8 = 0xbf; // dst = src
const AND: u8 = 0x57; // dst &= immediate
const SHIFT_RIGHT: u8 = 0x77; // dst >>= immediate
const JUMP_IF_EQUAL: u8 = 0x15; // if dst == immediate, leave out `offset` instructions
const JUMP_IF_NOT_EQUAL: u8 = 0x55; // if dst != immediate, likewise
const EXIT: u8 = 0x95; // return r0

// What each register holds once the program has begun.
const ANSWER: u8 = 0;
const REQUEST: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const BLOCK: i32 = 1;
const CHAR: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

impl Program {
    /// The program for these rules, of which the last one that speaks of a device counts; without one it is forbidden.
    ///
    /// Each rule becomes a few comparisons, any of which leads on to the next rule, and then its answer. Rules stand in
    /// reverse order, so that the last one is asked first.
    pub fn assemble(rules: &[DeviceRule]) -> Self {
        let mut program = Self(Vec::with_capacity(8 + 10 * rules.len()));
        // Take the request apart.
        program.push(LOAD_WORD, KIND, REQUEST, 0, 0);
        program.push(MOVE_REGISTER, ACCESS, KIND, 0, 0);
        program.push(AND, KIND, 0, 0, 0xffff);
        program.push(SHIFT_RIGHT, ACCESS, 0, 0, 16);
        program.push(LOAD_WORD, MAJOR, REQUEST, 4, 0);
        program.push(LOAD_WORD, MINOR, REQUEST, 8, 0);
        for rule in rules.iter().rev() {
            if program.rule(rule) {
                // It speaks of every device: nothing after it would be reached, and the kernel's verifier refuses
                // programs with such instructions.
                return program;
            }
        }
        program.answer(false);
        program
    }

    /// The instructions, as the kernel takes them.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// Adds a rule; returns whether it answers every request.
    fn rule(&mut self, rule: &DeviceRule) -> bool {
        let mut comparisons = Vec::new();
        let number = |number: u32| number.cast_signed();
        match rule.kind {
            DeviceKind::All => {}
            DeviceKind::Block => comparisons.push((JUMP_IF_NOT_EQUAL, KIND, BLOCK)),
            DeviceKind::Char => comparisons.push((JUMP_IF_NOT_EQUAL, KIND, CHAR)),
        }
        comparisons.extend(rule.major.map(|major| (JUMP_IF_NOT_EQUAL, MAJOR, number(major))));
        comparisons.extend(rule.minor.map(|minor| (JUMP_IF_NOT_EQUAL, MINOR, number(minor))));
        let access = |set: bool, bit: i32| if set { bit } else { 0 };
        let access = access(rule.mknod, MKNOD) | access(rule.read, READ) | access(rule.write, WRITE);
        let every = MKNOD | READ | WRITE;
        // A rule that allows must allow all that is asked: does the request keep a bit outside it? A rule that forbids
        // needs to forbid a part: has the request a bit inside it? `r1` is free by now; its value is not needed again.
        let (bits, elsewhere) =
            if rule.allow { (every & !access, JUMP_IF_NOT_EQUAL) } else { (access, JUMP_IF_EQUAL) };
        let unconditional = rule.allow && access == every;

        // Each comparison that fails jumps over what is left of this rule: the comparisons after it, the three
        // instructions that look at the access (unless all of it is allowed), and the two of the answer.
        let tail: i16 = if unconditional { 2 } else { 5 };
        for (i, &(code, register, value)) in comparisons.iter().enumerate() {
            let left = (comparisons.len() - i - 1) as i16;
            self.push(code, register, 0, left + tail, value);
        }
        if !unconditional {
            self.push(MOVE_REGISTER, REQUEST, ACCESS, 0, 0);
            self.push(AND, REQUEST, 0, 0, bits);
            self.push(elsewhere, REQUEST, 0, 2, 0);
        }
        self.answer(rule.allow);
        unconditional && comparisons.is_empty()
    }

    fn answer(&mut self, allow: bool) {
        self.push(MOVE, ANSWER, 0, 0, i32::from(allow));
        self.push(EXIT, 0, 0, 0, 0);
    }

    fn push(&mut self, code: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        self.0.push(Instruction { code, registers: destination | source << 4, offset, immediate });
    }
}

impl fmt::Display for Program {
    /// A disassembly, one line an instruction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            |register: u8| ["answer", "request", "kind", "access", "major", "minor"][usize::from(register)];
        for (at, Instruction { code, registers, offset, immediate }) in self.0.iter().enumerate() {
            let (to, from) = (name(registers & 15), name(registers >> 4));
            let target = at as i64 + 1 + i64::from(*offset);
            match *code {
                LOAD_WORD => writeln!(f, "{at:4}: {to} = word {offset} of {from}")?,
                MOVE => writeln!(f, "{at:4}: {to} = {immediate}")?,
                MOVE_REGISTER => writeln!(f, "{at:4}: {to} = {from}")?,
                AND => writeln!(f, "{at:4}: {to} &= {immediate:#x}")?,
                SHIFT_RIGHT => writeln!(f, "{at:4}: {to} >>= {immediate}")?,
                JUMP_IF_EQUAL => writeln!(f, "{at:4}: if {to} == {immediate} go to {target}")?,
                JUMP_IF_NOT_EQUAL => writeln!(f, "{at:4}: if {to} != {immediate} go to {target}")?,
                _ => writeln!(f, "{at:4}: exit")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would, on one request.
    fn run(program: &Program, kind: i32, access: i32, major: i64, minor: i64) -> bool {
        let request = [i64::from(access) << 16 | i64::from(kind), major, minor];
        let mut registers = [0_i64; 6];
        let mut at = 0;
        loop {
            let Instruction { code, registers: used, offset, immediate } = program.0[at];
            let (to, from) = (usize::from(used & 15), usize::from(used >> 4));
            at += 1;
            let immediate = i64::from(immediate);
            let jump = match code {
                LOAD_WORD => {
                    registers[to] = request[offset as usize / 4];
                    false
                }
                MOVE => {
                    registers[to] = immediate;
                    false
                }
                MOVE_REGISTER => {
                    registers[to] = registers[from];
                    false
                }
                AND => {
                    registers[to] &= immediate;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= immediate;
                    false
                }
                JUMP_IF_EQUAL => registers[to] == immediate,
                JUMP_IF_NOT_EQUAL => registers[to] != immediate,
                _ => return registers[0] == 1,
            };
            if jump {
                at += offset as usize;
            }
        }
    }

    #[test]
    fn dockers_defaults() {
        let program = Program::assemble(&DeviceRule::defaults());
        assert!(run(&program, CHAR, READ | WRITE, 1, 3), "null");
        assert!(run(&program, CHAR, READ, 136, 7), "a terminal");
        assert!(run(&program, BLOCK, MKNOD, 8, 0), "a node for a disk");
        assert!(!run(&program, BLOCK, READ, 8, 0), "a disk");
        assert!(!run(&program, BLOCK, MKNOD | READ, 8, 0), "more than the rule allows");
        assert!(!run(&program, CHAR, READ, 1, 1), "memory");
        assert!(!run(&program, BLOCK, READ, 1, 3), "not the same as null");
    }

    #[test]
    fn the_last_rule_counts() {
        let rule = |allow: bool, text: &str| DeviceRule { allow, ..text.parse().unwrap() };
        let program =
            Program::assemble(&[rule(true, "a *:* rwm"), rule(false, "c 10:* w"), rule(true, "c 10:200 rw")]);
        assert!(run(&program, BLOCK, READ | WRITE | MKNOD, 8, 1));
        assert!(run(&program, CHAR, READ, 10, 1));
        assert!(!run(&program, CHAR, READ | WRITE, 10, 1), "a part of it is forbidden");
        assert!(run(&program, CHAR, READ | WRITE, 10, 200));
        assert!(!run(&Program::assemble(&[]), CHAR, READ, 1, 3));
        let everything = Program::assemble(&[rule(false, "c 1:3 rwm"), DeviceRule::ALL]);
        assert!(
            run(&everything, CHAR, READ, 1, 3) && everything.0.len() == 8,
            "nothing that is never reached"
        );
    }

    #[test]
    fn as_it_reads() {
        insta::assert_snapshot!(
            Program::assemble(&["c 1:3 rwm".parse().unwrap(), "b 8:* rm".parse().unwrap()]),
            @r"
         0: kind = word 0 of request
         1: access = kind
         2: kind &= 0xffff
         3: access >>= 16
         4: major = word 4 of request
         5: minor = word 8 of request
         6: if kind != 1 go to 13
         7: if major != 8 go to 13
         8: request = access
         9: request &= 0x4
        10: if request != 0 go to 13
        11: answer = 1
        12: exit
        13: if kind != 2 go to 18
        14: if major != 1 go to 18
        15: if minor != 3 go to 18
        16: answer = 1
        17: exit
        18: answer = 0
        19: exit
        "
        );
    }
}
