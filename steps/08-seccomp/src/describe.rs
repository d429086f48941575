//! A profile as a table for people.

use std::collections::BTreeSet;
use std::fmt;

use crate::action::Action;
use crate::calls;
use crate::facts::capability_names;
use crate::profile::{Profile, Rule};

/// What a profile says about a call, in one of its rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The call's name.
    pub call: String,
    /// What becomes of it.
    pub action: Action,
    /// Which arguments it must have; empty if any will do.
    pub condition: String,
    /// What the container or its host must have; empty if nothing.
    pub needs: String,
}

impl fmt::Display for Row {
    /// A row of a Markdown table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, action, condition, needs } = self;
        write!(f, "| `{call}` | {action} | {condition} | {needs} |")
    }
}

/// The head of a Markdown table of rows.
pub const HEAD: &str = "| call | outcome | if | needs |\n|---|---|---|---|";

/// The rows of a profile in alphabetical order, those of calls that no rule names among them. What becomes of a call
/// under several rules, and under none, is in [`crate::rules`].
pub fn describe(profile: &Profile) -> Vec<Row> {
    let named: BTreeSet<&str> =
        profile.rules.iter().flat_map(|rule| &rule.names).map(String::as_str).collect();
    let rest = calls::all().iter().map(calls::Call::name).filter(|name| !named.contains(name));
    let rest = rest.map(|name| Row {
        call: name.to_owned(),
        action: profile.default,
        condition: String::new(),
        needs: String::new(),
    });
    let mut rows: Vec<Row> = profile.rules.iter().flat_map(rows).chain(rest).collect();
    rows.sort();
    rows
}

fn rows(rule: &Rule) -> impl Iterator<Item = Row> {
    let glue = if rule.any_is_enough() { " or " } else { " and " };
    let conditions: Vec<String> = rule.conditions.iter().map(ToString::to_string).collect();
    let (condition, needs) = (conditions.join(glue), needs(rule));
    rule.names.iter().map(move |name| Row {
        call: name.clone(),
        action: rule.action,
        condition: condition.clone(),
        needs: needs.clone(),
    })
}

fn needs(rule: &Rule) -> String {
    let mut needs = capability_names(rule.includes.capabilities);
    if !rule.includes.architectures.is_empty() {
        needs.push(rule.includes.architectures.join(" or "));
    }
    needs.extend(rule.includes.kernel.map(|version| format!("Linux {version}")));
    needs.extend(capability_names(rule.excludes.capabilities).iter().map(|name| format!("no {name}")));
    needs.extend(rule.excludes.architectures.iter().map(|name| format!("not {name}")));
    needs.extend(rule.excludes.kernel.map(|version| format!("before Linux {version}")));
    needs.join(", ")
}
