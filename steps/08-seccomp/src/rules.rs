//! From a profile and facts to what holds: for each architecture, for each number, what becomes of the call.
//!
//! This is what Docker and runc do with libseccomp, with these rules of theirs:
//!
//! - A rule whose `includes` and `excludes` do not fit the facts is not there.
//! - A rule whose action is the default action is not there either. (So such a rule makes no exception to a broader one.)
//! - Conditions of one rule must all hold, unless two of them are about the same argument: then any of them is enough.
//! - A rule without conditions beats all rules with conditions for the same call; of several, the first.
//! - A call above the last one that the profile names fails with ENOSYS, unless the default is to let it happen: it was
//!   made after the profile, and a C library that sees ENOSYS goes on with an older call, where EPERM would make it give
//!   up.
//! - A call of an architecture that is not listed kills. libseccomp kills the thread; as a process that lost a thread
//!   often hangs, here it is the process.
//! - On architectures with 32-bit arguments, only the lower halves of arguments and values are compared.
//!
//! Where rules with conditions overlap and differ in their actions, libseccomp does not say which one counts. Here it is
//! the first.

use std::fmt;

use crate::action::Action;
use crate::architecture::Architecture;
use crate::calls::{self, Call};
use crate::facts::Facts;
use crate::filter::{FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV};
use crate::profile::{Architectures, Comparison, Condition, Profile, Rule, When};

/// What holds for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A table for each architecture, the kernel's own first.
    pub tables: Vec<Table>,
    /// What becomes of calls that are in no table.
    pub default: Action,
    /// `SECCOMP_FILTER_FLAG_*` for the kernel.
    pub flags: u32,
}

/// What holds for the calls of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which.
    pub architecture: Architecture,
    /// Numbers and what becomes of them, in the order of the numbers; the others get the default.
    pub calls: Vec<(u32, Outcome)>,
    /// The largest number that the profile knows, and what becomes of those above it.
    pub beyond: Option<(u32, Action)>,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Always the same.
    Fixed(Action),
    /// The action of the first case that holds, and the default if none does.
    Cases(Vec<Case>),
}

/// A rule with conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// All must hold. At least one, and no two on the same argument.
    pub conditions: Vec<Condition>,
    /// Then this becomes of the call.
    pub action: Action,
}

impl Rules {
    /// What `profile` means for a container with these facts.
    pub fn of(profile: &Profile, facts: &Facts) -> Self {
        let rules: Vec<&Rule> = profile.rules.iter().filter(|rule| counts(rule, facts)).collect();
        let named: Vec<(&'static Call, &Rule)> = rules
            .iter()
            .flat_map(|rule| rule.names.iter().filter_map(|name| Some((calls::find(name)?, *rule))))
            .collect();
        let tables: Vec<Table> = architectures(profile, facts.architecture)
            .into_iter()
            .map(|architecture| table(architecture, &named, profile.default))
            .collect();
        // The kernel wants a listener exactly where there is something to be asked.
        let flags = if tables.iter().any(Table::asks) {
            profile.flags | FLAG_NEW_LISTENER
        } else {
            profile.flags & !FLAG_WAIT_KILLABLE_RECV
        };
        Self { tables, default: profile.default, flags }
    }

    /// What becomes of a call; the plain reading of the rules, which the compiled filter must agree with. `audit` is
    /// the architecture as the kernel reports it.
    pub fn decide(&self, audit: u32, number: u32, arguments: &[u64; 6]) -> Action {
        let of_x32 = |table: &Table| table.architecture == Architecture::X32;
        let mut tables = self.tables.iter().filter(|table| table.architecture.audit() == audit).peekable();
        if tables.peek().is_none() {
            return Action::KillProcess;
        }
        let marked = audit == Architecture::X32.audit() && number & Architecture::X32_BIT != 0;
        match tables.find(|table| of_x32(table) == marked) {
            Some(table) => table.decide(number, arguments, self.default),
            // A tracer that wants no call to be made sets the number to -1.
            None if number == u32::MAX => self.default,
            None => Action::KillProcess,
        }
    }
}

impl Table {
    /// Whether a listener is asked about one of its calls.
    fn asks(&self) -> bool {
        self.calls.iter().any(|(_, outcome)| match outcome {
            Outcome::Fixed(action) => *action == Action::Notify,
            Outcome::Cases(cases) => cases.iter().any(|case| case.action == Action::Notify),
        })
    }

    fn decide(&self, number: u32, arguments: &[u64; 6], default: Action) -> Action {
        if let Some((last, action)) = self.beyond
            && number > last
        {
            return action;
        }
        match self.calls.binary_search_by_key(&number, |&(number, _)| number) {
            Ok(at) => self.calls[at].1.decide(arguments, self.architecture.is_narrow(), default),
            Err(_) => default,
        }
    }
}

impl Outcome {
    fn decide(&self, arguments: &[u64; 6], narrow: bool, default: Action) -> Action {
        match self {
            Self::Fixed(action) => *action,
            Self::Cases(cases) => first(cases, |argument| arguments[usize::from(argument)], narrow, default),
        }
    }
}

/// The action of the first case that holds.
pub(crate) fn first(cases: &[Case], argument: impl Fn(u8) -> u64, narrow: bool, default: Action) -> Action {
    let holds = |condition: &Condition| condition.holds(argument(condition.argument), narrow);
    cases.iter().find(|case| case.conditions.iter().all(holds)).map_or(default, |case| case.action)
}

impl Condition {
    /// Whether it holds of an argument with this value, of which only the lower half counts if `narrow`.
    pub fn holds(&self, argument: u64, narrow: bool) -> bool {
        let seen = |value: u64| if narrow { value & u64::from(u32::MAX) } else { value };
        let (argument, value) = (seen(argument), seen(self.value));
        match self.comparison {
            Comparison::NotEqual => argument != value,
            Comparison::Less => argument < value,
            Comparison::AtMost => argument <= value,
            Comparison::Equal => argument == value,
            Comparison::AtLeast => argument >= value,
            Comparison::Greater => argument > value,
            Comparison::MaskedEqual(mask) => argument & seen(mask) == value,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: u64| if value > 0xff { format!("{value:#x}") } else { value.to_string() };
        let (argument, value) = (self.argument, number(self.value));
        match self.comparison {
            Comparison::NotEqual => write!(f, "argument {argument} != {value}"),
            Comparison::Less => write!(f, "argument {argument} < {value}"),
            Comparison::AtMost => write!(f, "argument {argument} <= {value}"),
            Comparison::Equal => write!(f, "argument {argument} == {value}"),
            Comparison::AtLeast => write!(f, "argument {argument} >= {value}"),
            Comparison::Greater => write!(f, "argument {argument} > {value}"),
            Comparison::MaskedEqual(mask) => write!(f, "argument {argument} & {} == {value}", number(mask)),
        }
    }
}

impl Rule {
    /// Whether one of its conditions is enough. runc made each condition a rule of its own before libseccomp could take
    /// several, and still does where two are about the same argument, since profiles rely on it.
    pub fn any_is_enough(&self) -> bool {
        self.conditions
            .iter()
            .enumerate()
            .any(|(at, one)| self.conditions[..at].iter().any(|other| other.argument == one.argument))
    }

    fn cases(&self) -> impl Iterator<Item = Case> {
        let size = if self.any_is_enough() { 1 } else { self.conditions.len().max(1) };
        self.conditions
            .chunks(size)
            .map(|conditions| Case { conditions: conditions.to_vec(), action: self.action })
    }
}

fn counts(rule: &Rule, facts: &Facts) -> bool {
    let Rule { includes, excludes, .. } = rule;
    let named = |when: &When| when.architectures.iter().any(|name| name == facts.architecture.short_name());
    let included = includes.capabilities & !facts.capabilities == 0
        && (includes.architectures.is_empty() || named(includes))
        && includes.kernel.is_none_or(|least| facts.kernel >= least);
    let excluded = excludes.capabilities & facts.capabilities != 0
        || named(excludes)
        || excludes.kernel.is_some_and(|least| facts.kernel >= least);
    included && !excluded
}

/// The kernel's own architecture, and those that the profile adds.
fn architectures(profile: &Profile, own: Architecture) -> Vec<Architecture> {
    let listed: &[Architecture] = match &profile.architectures {
        Architectures::Always(listed) => listed,
        Architectures::ByKernel(map) => {
            map.iter().find(|(kernel, _)| *kernel == own).map_or(&[], |(_, others)| others)
        }
    };
    let mut all = vec![own];
    for &architecture in listed {
        if !all.contains(&architecture) {
            all.push(architecture);
        }
    }
    all
}

fn table(architecture: Architecture, named: &[(&'static Call, &Rule)], default: Action) -> Table {
    // Each as (number, position): sorted, calls stand together and rules keep their order.
    let mut entries: Vec<(u32, usize)> = named
        .iter()
        .enumerate()
        .filter_map(|(at, (call, _))| Some((call.number(architecture)?, at)))
        .collect();
    entries.sort_unstable();
    let mut calls: Vec<(u32, Outcome)> = Vec::with_capacity(entries.len());
    for same in entries.chunk_by(|one, other| one.0 == other.0) {
        let rules = || same.iter().map(|&(_, at)| named[at].1).filter(|rule| rule.action != default);
        if let Some(rule) = rules().find(|rule| rule.conditions.is_empty()) {
            calls.push((same[0].0, Outcome::Fixed(rule.action)));
        } else {
            let cases: Vec<Case> = rules().flat_map(Rule::cases).collect();
            if !cases.is_empty() {
                calls.push((same[0].0, Outcome::Cases(cases)));
            }
        }
    }
    if architecture == Architecture::X86 {
        multiplex(&mut calls, named, default);
    }

    // Of all names, even those of rules that changed nothing.
    let named = entries.last().map(|&(last, _)| last);
    let last = named.max(calls.last().map(|&(last, _)| last));
    let beyond = last
        .filter(|_| !default.is_permissive() && default != Action::NO_SUCH_CALL)
        .map(|last| (last, Action::NO_SUCH_CALL));
    Table { architecture, calls, beyond }
}

/// Rules for `socket`, `semop` and their like also hold for the older calls that do the same by a number in their first
/// argument; libseccomp does so too. Rules with conditions cannot be carried over: the arguments are in memory there,
/// which a filter does not see.
fn multiplex(calls: &mut Vec<(u32, Outcome)>, named: &[(&'static Call, &Rule)], default: Action) {
    for (name, through, value) in calls::MULTIPLEXED {
        let place = calls.binary_search_by_key(&through, |&(number, _)| number);
        if place.is_ok_and(|at| matches!(calls[at].1, Outcome::Fixed(_))) {
            continue;
        }
        let rule = named
            .iter()
            .find(|(call, rule)| call.name() == name && rule.conditions.is_empty() && rule.action != default);
        let Some((_, rule)) = rule else { continue };
        let case = Case {
            conditions: vec![Condition { argument: 0, comparison: Comparison::Equal, value }],
            action: rule.action,
        };
        match place.map(|at| &mut calls[at].1) {
            Ok(Outcome::Cases(cases)) => cases.push(case),
            Ok(Outcome::Fixed(_)) => {}
            Err(at) => calls.insert(at, (through, Outcome::Cases(vec![case]))),
        }
    }
}
