//! A program, written backwards.
//!
//! Jumps lead forward only. Whoever writes the last instruction first knows, at every jump, how far its target is; there
//! is nothing to patch afterwards.

use crate::action::Action;
use crate::instruction::{Instruction, JUMP, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD, RETURN};

/// An instruction that was written already: how many were written before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// The program so far, its end first.
#[derive(Default)]
pub(crate) struct Assembler {
    reversed: Vec<Instruction>,
    /// Where each answer was written last, to be shared by all that lead to it.
    ends: Vec<(u32, Label)>,
}

impl Assembler {
    /// The program, begin first.
    pub(crate) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// An end with this answer.
    pub(crate) fn end(&mut self, action: Action) -> Label {
        let value = action.code();
        match self.ends.iter().find(|(code, _)| *code == value) {
            Some((_, label)) => *label,
            None => self.new_end(value),
        }
    }

    /// Loads the word at `offset`, then goes on at `next`.
    pub(crate) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.then(Instruction::new(LOAD, offset), next)
    }

    /// An instruction that cannot jump, then goes on at `next`.
    pub(crate) fn then(&mut self, instruction: Instruction, next: Label) -> Label {
        if self.distance(next) > 0 {
            self.relay(next);
        }
        self.push(instruction)
    }

    /// A choice between two ways on.
    pub(crate) fn branch(&mut self, code: u16, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        // What the second may need moves the first away by one.
        let yes = self.within_reach(yes, 1);
        let no = self.within_reach(no, 0);
        let (if_true, if_false) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(Instruction { code, if_true, if_false, value })
    }

    /// A search for the range that the accumulator lies in. Each begins at its number, and ends where the next begins;
    /// the first begins at 0.
    pub(crate) fn search(&mut self, ranges: &[(u32, Label)]) -> Label {
        match *ranges {
            [(_, only)] => only,
            // One number in the midst of a range.
            [(_, around), (number, inside), (next, after)] if around == after && next == number + 1 => {
                self.branch(JUMP_IF_EQUAL, number, inside, around)
            }
            _ => {
                let (below, above) = ranges.split_at(ranges.len() / 2);
                let begin = above[0].0;
                let above = self.search(above);
                let below = self.search(below);
                self.branch(JUMP_IF_AT_LEAST, begin, above, below)
            }
        }
    }

    fn push(&mut self, instruction: Instruction) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len() - 1)
    }

    fn new_end(&mut self, value: u32) -> Label {
        let label = self.push(Instruction::new(RETURN, value));
        self.ends.retain(|(code, _)| *code != value);
        self.ends.push((value, label));
        label
    }

    /// How many instructions a jump leaves out, if it is written next.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0 - 1
    }

    /// `label`, or a place that leads there and is near enough for a conditional jump, which has eight bits for it,
    /// even after `more` instructions.
    fn within_reach(&mut self, label: Label, more: usize) -> Label {
        let near = |assembler: &Self, label| u8::try_from(assembler.distance(label) + more).is_ok();
        if near(self, label) {
            return label;
        }
        let target = self.reversed[label.0];
        let latest = self.ends.iter().find(|(code, _)| target.code == RETURN && *code == target.value);
        match latest {
            Some(&(_, latest)) if near(self, latest) => latest,
            _ => self.relay(label),
        }
    }

    /// Leads to `label` from here: another copy of an end, or a jump, which has 32 bits for the distance.
    fn relay(&mut self, label: Label) -> Label {
        let target = self.reversed[label.0];
        if target.code == RETURN {
            return self.new_end(target.value);
        }
        let distance = self.distance(label);
        self.push(Instruction::new(JUMP, distance as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::Listing;

    #[test]
    fn what_is_far_is_reached_by_a_relay() {
        let mut program = Assembler::default();
        let deny = program.end(Action::Errno(1));
        let far = program.load(0, deny);
        let mut middle = program.end(Action::Allow);
        for at in 0..300 {
            middle = program.load(at * 4 % 64, middle);
        }
        program.branch(JUMP_IF_EQUAL, 7, far, deny);
        let program = program.finish();
        let begin = Listing(&program[..3]).to_string();
        assert_eq!(begin, "   0: if == 7 go to 2 else 1\n   1: EPERM\n   2: go to 304\n");
    }
}
