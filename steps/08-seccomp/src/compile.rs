//! From rules to a program.
//!
//! The straight way, one comparison after another, costs a denied call some 400 comparisons. Most rules are "allow",
//! though, and neighbouring numbers have the same outcome: as ranges of numbers there are some 70, and a search by
//! halves takes seven comparisons.
//!
//! Calls that a filter allows without a look at their arguments cost nothing at all: the kernel tries each number when the
//! filter is installed, and remembers (Linux 5.11, `SECCOMP_ARCH_NATIVE` in kernel/seccomp.c).

use crate::action::Action;
use crate::architecture::Architecture;
use crate::assembler::{Assembler, Label};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::instruction::{
    AND, ARCHITECTURE, Instruction, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, JUMP_IF_GREATER, NUMBER, high, low,
};
use crate::profile::{Comparison, Condition};
use crate::rules::{Case, Outcome, Rules, Table, first};

/// The most that the kernel accepts (`BPF_MAXINSNS`).
const MOST: usize = 4096;

impl Rules {
    /// The program that decides as these rules do.
    pub fn compile(&self) -> Result<Filter> {
        let mut machines: Vec<u32> = Vec::new();
        for machine in self.tables.iter().map(|table| table.architecture.audit()) {
            // x32 is no machine of its own.
            if !machines.contains(&machine) {
                machines.push(machine);
            }
        }

        let mut program = Assembler::default();
        let mut other = program.end(Action::KillProcess);
        for &machine in machines.iter().rev() {
            let mut numbers = Vec::new();
            for (begin, leaf) in self.ranges(machine) {
                numbers.push((begin, program.leaf(leaf, self.default)));
            }
            let search = program.search(&numbers);
            let this = program.load(NUMBER, search);
            other = program.branch(JUMP_IF_EQUAL, machine, this, other);
        }
        program.load(ARCHITECTURE, other);

        let instructions = program.finish();
        if instructions.len() > MOST {
            return Err(Error::TooLong(instructions.len()));
        }
        Ok(Filter::new(instructions, self.flags))
    }

    /// The numbers of a machine's calls as ranges with the same outcome. See [`Rules::decide`] for the outcomes.
    fn ranges(&self, machine: u32) -> Vec<(u32, Leaf<'_>)> {
        let mut ranges = Ranges(Vec::new());
        let kill = Leaf::Fixed(Action::KillProcess);
        let here = |table: &&Table| table.architecture.audit() == machine;
        let (x32, own): (Vec<&Table>, Vec<&Table>) =
            self.tables.iter().filter(here).partition(|table| table.architecture == Architecture::X32);

        let beyond = ranges.table(own.first().copied(), 0, self.default).unwrap_or(kill);
        if machine == Architecture::X32.audit() {
            // Where bit 30 is set the call is one of x32: in the order of the numbers these are two blocks.
            const BIT: u32 = Architecture::X32_BIT;
            let x32_beyond = ranges.table(x32.first().copied(), BIT, self.default).unwrap_or(kill);
            ranges.push(2 * BIT, beyond);
            ranges.push(3 * BIT, x32_beyond);
            if x32.is_empty() {
                ranges.push(u32::MAX, Leaf::Fixed(self.default));
            }
        }
        ranges.0
    }
}

/// Where a search for a number ends.
#[derive(Clone, Copy, PartialEq)]
enum Leaf<'a> {
    Fixed(Action),
    Cases(&'a [Case], Width),
}

/// Of arguments.
#[derive(Clone, Copy, PartialEq)]
enum Width {
    Narrow,
    Wide,
}

impl<'a> Leaf<'a> {
    fn of(outcome: &'a Outcome, architecture: Architecture) -> Self {
        match outcome {
            Outcome::Fixed(action) => Self::Fixed(*action),
            Outcome::Cases(cases) => {
                Self::Cases(cases, if architecture.is_narrow() { Width::Narrow } else { Width::Wide })
            }
        }
    }
}

/// Ranges of numbers by where they begin, none of them like the one before it.
struct Ranges<'a>(Vec<(u32, Leaf<'a>)>);

impl<'a> Ranges<'a> {
    /// Adds a table, whose numbers are not below `begin`, and returns the outcome above the last; or adds the end of the
    /// process if there is no table.
    fn table(&mut self, table: Option<&'a Table>, begin: u32, default: Action) -> Option<Leaf<'a>> {
        let Some(table) = table else {
            self.push(begin, Leaf::Fixed(Action::KillProcess));
            return None;
        };
        let default = Leaf::Fixed(default);
        self.push(begin, default);
        for (number, outcome) in &table.calls {
            self.push(*number, Leaf::of(outcome, table.architecture));
            self.push(number + 1, default);
        }
        let Some((last, action)) = table.beyond else { return Some(default) };
        self.push(last + 1, Leaf::Fixed(action));
        Some(Leaf::Fixed(action))
    }

    /// From this number on, which is not below any before it, the outcome is this.
    fn push(&mut self, begin: u32, leaf: Leaf<'a>) {
        self.0.pop_if(|(last, _)| *last == begin);
        if self.0.last().is_none_or(|(_, last)| *last != leaf) {
            self.0.push((begin, leaf));
        }
    }
}

impl Assembler {
    fn leaf(&mut self, leaf: Leaf<'_>, default: Action) -> Label {
        match leaf {
            Leaf::Fixed(action) => self.end(action),
            Leaf::Cases(cases, width) => match one_argument(cases, width) {
                Some(argument) => self.ranges_of(argument, cases, width, default),
                None => self.chain(cases, width, default),
            },
        }
    }

    /// Cases one after another.
    fn chain(&mut self, cases: &[Case], width: Width, default: Action) -> Label {
        let mut otherwise = self.end(default);
        for case in cases.iter().rev() {
            let mut then = self.end(case.action);
            for condition in case.conditions.iter().rev() {
                then = self.condition(condition, width, then, otherwise);
            }
            otherwise = then;
        }
        otherwise
    }

    /// Cases that all are about one argument, as ranges of its values. Between the numbers that they compare with,
    /// nothing changes; so the plain reading of the rules, asked once for each piece, says what the tree must answer.
    fn ranges_of(&mut self, argument: u8, cases: &[Case], width: Width, default: Action) -> Label {
        let mut begins = vec![0];
        for value in cases.iter().flat_map(|case| &case.conditions).map(|condition| condition.value as u32) {
            begins.extend([Some(value), value.checked_add(1)].into_iter().flatten());
        }
        begins.sort_unstable();
        begins.dedup();
        let decide = |value| first(cases, |_| value, width == Width::Narrow, default);
        let mut ranges: Vec<(u32, Label)> = Vec::new();
        for begin in begins {
            let end = self.end(decide(u64::from(begin)));
            if ranges.last().is_none_or(|&(_, last)| last != end) {
                ranges.push((begin, end));
            }
        }
        let search = self.search(&ranges);
        let lower = self.load(low(argument), search);
        if width == Width::Narrow {
            return lower;
        }
        // All that is compared with has an upper half of zero, so every other upper half has one outcome.
        let large = self.end(decide(1 << 32));
        let upper = self.branch(JUMP_IF_EQUAL, 0, lower, large);
        self.load(high(argument), upper)
    }

    /// One condition: where to go if it holds, and if not.
    fn condition(&mut self, condition: &Condition, width: Width, yes: Label, no: Label) -> Label {
        let Condition { argument, comparison, value } = *condition;
        match comparison {
            Comparison::Equal => self.equal(argument, u64::MAX, value, width, yes, no),
            Comparison::NotEqual => self.equal(argument, u64::MAX, value, width, no, yes),
            Comparison::MaskedEqual(mask) => self.equal(argument, mask, value, width, yes, no),
            Comparison::Greater => self.order(argument, JUMP_IF_GREATER, value, width, yes, no),
            Comparison::AtLeast => self.order(argument, JUMP_IF_AT_LEAST, value, width, yes, no),
            Comparison::AtMost => self.order(argument, JUMP_IF_GREATER, value, width, no, yes),
            Comparison::Less => self.order(argument, JUMP_IF_AT_LEAST, value, width, no, yes),
        }
    }

    /// Whether the bits of `mask` are those of `value`: both halves must agree.
    fn equal(&mut self, argument: u8, mask: u64, value: u64, width: Width, yes: Label, no: Label) -> Label {
        let lower = self.half(low(argument), mask as u32, value as u32, yes, no);
        if width == Width::Narrow {
            return lower;
        }
        self.half(high(argument), (mask >> 32) as u32, (value >> 32) as u32, lower, no)
    }

    fn half(&mut self, offset: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        if mask == 0 {
            return yes;
        }
        let mut compare = self.branch(JUMP_IF_EQUAL, value, yes, no);
        if mask != u32::MAX {
            compare = self.then(Instruction::new(AND, mask), compare);
        }
        self.load(offset, compare)
    }

    /// Whether the argument is greater (or at least) `value`: the upper half decides, unless it is the same.
    fn order(&mut self, argument: u8, code: u16, value: u64, width: Width, yes: Label, no: Label) -> Label {
        let compare = self.branch(code, value as u32, yes, no);
        let lower = self.load(low(argument), compare);
        if width == Width::Narrow {
            return lower;
        }
        let upper = (value >> 32) as u32;
        let same = self.branch(JUMP_IF_EQUAL, upper, lower, no);
        let greater = self.branch(JUMP_IF_GREATER, upper, yes, same);
        self.load(high(argument), greater)
    }
}

/// The argument that all these cases are about, if there is only one and its values fit into the lower half.
fn one_argument(cases: &[Case], width: Width) -> Option<u8> {
    let argument = cases.first()?.conditions.first()?.argument;
    let simple = |condition: &Condition| {
        condition.argument == argument
            && !matches!(condition.comparison, Comparison::MaskedEqual(_))
            && (width == Width::Narrow || u32::try_from(condition.value).is_ok())
    };
    cases.iter().all(|case| matches!(case.conditions.as_slice(), [only] if simple(only))).then_some(argument)
}
