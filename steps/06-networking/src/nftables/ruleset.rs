//! A table with its sets, chains and rules, as data: it can be printed in `nft`'s language, and installed.

use std::fmt;

use super::batch::{APPEND, Batch, CREATE};
use super::expression::Expression;
use super::set::Set;
use super::{Family, Socket};
use crate::error::{Error, Result};

const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_DELRULE: u16 = 8;

/// A place on a packet's way at which a chain is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// It came in; nobody has looked at it or remembered its connection yet.
    Raw,
    /// It came in, and its destination may be changed.
    NatIncoming,
    /// A program of this host sends it, and its destination may be changed.
    NatOutgoing,
    /// It goes from one device to another.
    Forward,
    /// It leaves, and its source may be changed.
    NatLeaving,
}

impl Hook {
    /// The kind of chain, the number of the hook (`NF_INET_*`), and the place among other chains there, for which
    /// `nft` has names.
    fn place(self) -> (&'static str, u32, i32) {
        match self {
            Self::Raw => ("filter", 0, -300),
            Self::NatIncoming => ("nat", 0, -100),
            Self::NatOutgoing => ("nat", 3, -100),
            Self::Forward => ("filter", 2, 0),
            Self::NatLeaving => ("nat", 4, 100),
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "type filter hook prerouting priority raw",
            Self::NatIncoming => "type nat hook prerouting priority dstnat",
            Self::NatOutgoing => "type nat hook output priority -100",
            Self::Forward => "type filter hook forward priority filter",
            Self::NatLeaving => "type nat hook postrouting priority srcnat",
        })
    }
}

/// A list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Where it is run; `None` if other rules jump there.
    pub hook: Option<Hook>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
    /// Drop what no rule decides. `None` keeps an existing chain's policy; a new one's is to accept.
    pub drop: Option<bool>,
}

/// A rule: instructions, and what they are in `nft`'s language. That the two agree is what a test is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule as `nft list ruleset` prints it.
    pub text: String,
    /// What is sent to the kernel.
    pub expressions: Vec<Expression>,
}

/// A table and all that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The packets that it is about.
    pub family: Family,
    /// Its name.
    pub table: String,
    /// Its sets and maps.
    pub sets: Vec<Set>,
    /// Its chains; those that others jump to come first.
    pub chains: Vec<Chain>,
}

impl Ruleset {
    /// Makes the table, or brings an older one up to date: rules are replaced, elements of sets stay.
    pub(crate) fn install(&self, batch: &mut Batch) {
        let Self { family, table, sets, chains } = self;
        let named = |name: &str| object(name, table);
        batch
            .push(NFT_MSG_NEWTABLE, CREATE, *family, ("make the table", table.clone()), |a| a.text(1, table));
        for set in sets {
            set.create(batch, *family, table);
        }
        for Chain { name, hook, drop, .. } in chains {
            batch.push(NFT_MSG_NEWCHAIN, CREATE, *family, ("make the chain", named(name)), |a| {
                a.text(1, table);
                a.text(3, name);
                let Some(hook) = hook else { return };
                let (kind, number, priority) = hook.place();
                a.nested(4, |a| {
                    a.number(1, number);
                    a.number(2, priority.cast_unsigned());
                });
                if let Some(drop) = drop {
                    a.number(5, if *drop { libc::NF_DROP } else { libc::NF_ACCEPT } as u32);
                }
                a.text(7, kind);
            });
            batch.push(NFT_MSG_DELRULE, 0, *family, ("empty the chain", named(name)), |a| {
                a.text(1, table);
                a.text(2, name);
            });
        }
        for Chain { name, rules, .. } in chains {
            for Rule { text, expressions } in rules {
                let object = format!("{text:?} to {}", named(name));
                batch.push(NFT_MSG_NEWRULE, CREATE | APPEND, *family, ("add the rule", object), |a| {
                    a.text(1, table);
                    a.text(2, name);
                    a.nested(4, |list| expressions.iter().for_each(|expression| expression.encode(list)));
                });
            }
        }
    }

    /// Makes the table, or brings an older one up to date.
    pub fn ensure(&self, socket: &Socket) -> Result<()> {
        let mut batch = Batch::default();
        self.install(&mut batch);
        batch.commit(socket).map_err(Error::from)
    }
}

/// Removes a table with all that is in it; one that is not there is made first, so that it is not an error.
pub(crate) fn remove_table(batch: &mut Batch, family: Family, table: &str) {
    for kind in [NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE] {
        let flags = if kind == NFT_MSG_NEWTABLE { CREATE } else { 0 };
        batch.push(kind, flags, family, ("remove the table", table.to_owned()), |a| a.text(1, table));
    }
}

/// An object of a table, for errors.
pub(crate) fn object(name: &str, table: &str) -> String {
    format!("{name} of the table {table}")
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {} {{", self.family.name(), self.table)?;
        let mut first = true;
        for set in &self.sets {
            separate(f, &mut first)?;
            set.write(f, self.family)?;
        }
        for chain in &self.chains {
            separate(f, &mut first)?;
            writeln!(f, "\tchain {} {{", chain.name)?;
            if let Some(hook) = chain.hook {
                let policy = if chain.drop == Some(true) { "drop" } else { "accept" };
                writeln!(f, "\t\t{hook}; policy {policy};")?;
            }
            for rule in &chain.rules {
                writeln!(f, "\t\t{}", rule.text)?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

/// An empty line between two parts.
fn separate(f: &mut fmt::Formatter<'_>, first: &mut bool) -> fmt::Result {
    if std::mem::take(first) { Ok(()) } else { writeln!(f) }
}
