//! A profile: what is allowed to whom, as a file says it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::action::Action;
use crate::architecture::Architecture;
use crate::document::{Argument, Document, Entry, Operator, Requirements, Verb};
use crate::error::{Error, Result};
use crate::facts::{self, Facts, Version};
use crate::filter::{FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_WAIT_KILLABLE_RECV, Filter};
use crate::rules::Rules;

/// A checked profile, in Docker's format or the OCI runtime specification's (`linux.seccomp`).
///
/// Docker switches seccomp off for an empty profile; here a profile without `defaultAction` is an error, since nobody
/// means that by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What becomes of a call that no rule speaks of.
    pub default: Action,
    /// The architectures that programs may use besides the kernel's own.
    pub architectures: Architectures,
    /// `SECCOMP_FILTER_FLAG_*` for the kernel.
    pub flags: u32,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Whoever is asked about the calls of [`Action::Notify`]; there is one if and only if a rule has that action.
    pub listener: Option<Listener>,
}

/// A program that decides about calls while they wait (OCI runtime specification, `config-linux.md`, "Seccomp").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The Unix socket that it listens on.
    pub path: PathBuf,
    /// What it is told with each container.
    pub metadata: String,
}

/// Which architectures a profile is for. The kernel's own is always among them (libseccomp begins every filter with it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Architectures {
    /// The same on every host (`architectures`).
    Always(Vec<Architecture>),
    /// For each kernel's architecture its others (`archMap`).
    ByKernel(Vec<(Architecture, Vec<Architecture>)>),
}

/// One entry of `syscalls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The calls' names. Those that no architecture has are skipped, as in libseccomp: a profile may be newer than we.
    pub names: Vec<String>,
    /// What becomes of them.
    pub action: Action,
    /// Provided that all of these hold; but see [`Rules`] for several on the same argument.
    pub conditions: Vec<Condition>,
    /// What the author says about it.
    pub comment: String,
    /// The rule counts only if all of these are so.
    pub includes: When,
    /// The rule does not count if any of these is so.
    pub excludes: When,
}

/// What a rule may require.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Capabilities, as bits.
    pub capabilities: u64,
    /// Kernel's architectures, by Docker's names; it is enough to be one of them.
    pub architectures: Vec<String>,
    /// The kernel's version or a later one.
    pub kernel: Option<Version>,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

/// How an argument is compared. All comparisons are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `SCMP_CMP_NE`
    NotEqual,
    /// `SCMP_CMP_LT`
    Less,
    /// `SCMP_CMP_LE`
    AtMost,
    /// `SCMP_CMP_EQ`
    Equal,
    /// `SCMP_CMP_GE`
    AtLeast,
    /// `SCMP_CMP_GT`
    Greater,
    /// `SCMP_CMP_MASKED_EQ`: only the bits of this mask are compared.
    MaskedEqual(u64),
}

/// The largest errno that the kernel returns from a filter (`MAX_ERRNO`); above it, it would return this one.
const MAX_ERRNO: u32 = 4095;

impl Profile {
    /// Reads a profile from its JSON.
    pub fn parse(json: &str) -> Result<Self> {
        let document: Document =
            serde_json::from_str(json).map_err(|error| Error::Syntax(error.to_string()))?;
        document.try_into()
    }

    /// Reads a profile from a file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&std::fs::read_to_string(path).map_err(Error::read(path))?)
    }

    /// The default: as strict as Docker's.
    pub fn builtin() -> Self {
        Self::parse(BUILTIN).expect("a test reads the profile that this crate comes with")
    }

    /// The filter for a container with these facts.
    pub fn compile(&self, facts: &Facts) -> Result<Filter> {
        Rules::of(self, facts).compile()
    }
}

/// The default profile's text.
pub const BUILTIN: &str = include_str!("../default.json");

impl<'de> Deserialize<'de> for Profile {
    /// For documents that contain a profile, such as an OCI `config.json`.
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        Document::deserialize(json)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl TryFrom<Document> for Profile {
    type Error = Error;

    fn try_from(document: Document) -> Result<Self> {
        let default = action("defaultAction", document.default_action, document.default_errno_ret)?;
        if default == Action::Notify {
            return Err(Error::at(
                "defaultAction",
                "SCMP_ACT_NOTIFY cannot be the default: the start makes calls before anybody can answer",
            ));
        }
        if !(document.architectures.is_empty() || document.arch_map.is_empty()) {
            return Err(Error::at("architectures", "use either this or archMap"));
        }
        let architectures = if document.arch_map.is_empty() {
            Architectures::Always(known("architectures", &document.architectures)?)
        } else {
            let mut by_kernel = Vec::new();
            for (at, entry) in document.arch_map.iter().enumerate() {
                let place = format!("archMap[{at}]");
                let own = known(&place, std::slice::from_ref(&entry.architecture))?;
                let others = known(&place, &entry.sub_architectures)?;
                by_kernel.extend(own.into_iter().map(|own| (own, others.clone())));
            }
            Architectures::ByKernel(by_kernel)
        };
        let flags = match document.flags {
            // As runc: without this flag, kernels before 5.16 slow every filtered process down.
            None => FLAG_SPEC_ALLOW,
            Some(names) => names.iter().try_fold(0, |flags, name| Ok(flags | flag(name)?))?,
        };
        let rules = document.syscalls.into_iter().enumerate().map(|(at, entry)| rule(at, entry));
        let rules = rules.collect::<Result<Vec<_>>>()?;
        let listener = listener(document.listener_path, document.listener_metadata, &rules)?;
        if listener.is_none() && flags & FLAG_WAIT_KILLABLE_RECV != 0 {
            return Err(Error::at("flags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs SCMP_ACT_NOTIFY"));
        }
        Ok(Self { default, architectures, flags, rules, listener })
    }
}

/// The calls that whoever installs a filter makes before there can be an answer: with `sendmsg` the listener is handed out,
/// with `shutdown` it is told that this was all, and with `write` a failure would be told. To be asked about them would mean
/// to wait for ever.
const UNLISTENED: [&str; 3] = ["sendmsg", "shutdown", "write"];

/// Who is asked, if a rule wants somebody to be.
fn listener(path: String, metadata: String, rules: &[Rule]) -> Result<Option<Listener>> {
    if path.is_empty() && !metadata.is_empty() {
        return Err(Error::at("listenerMetadata", "is for nobody without listenerPath"));
    }
    let mut asked = rules.iter().enumerate().filter(|(_, rule)| rule.action == Action::Notify).peekable();
    if asked.peek().is_none() {
        return Ok(None);
    }
    if path.is_empty() {
        return Err(Error::at("listenerPath", "is missing: SCMP_ACT_NOTIFY asks whoever listens there"));
    }
    for (at, rule) in asked {
        if let Some(name) = rule.names.iter().find(|name| UNLISTENED.contains(&name.as_str())) {
            return Err(Error::at(
                format!("syscalls[{at}]"),
                format!(
                    "SCMP_ACT_NOTIFY cannot be used for {name}: the start takes it before anybody can answer"
                ),
            ));
        }
    }
    Ok(Some(Listener { path: path.into(), metadata }))
}

fn rule(at: usize, entry: Entry) -> Result<Rule> {
    let place = || format!("syscalls[{at}]");
    let names = match (entry.name.is_empty(), entry.names.is_empty()) {
        (true, false) => entry.names,
        (false, true) => vec![entry.name],
        (true, true) => return Err(Error::at(place(), "it names no system call")),
        (false, false) => return Err(Error::at(place(), "use either name or names")),
    };
    if names.iter().any(String::is_empty) {
        return Err(Error::at(place(), "an empty name is not a system call"));
    }
    let action = action(&place(), entry.action, entry.errno_ret)?;
    let conditions = entry.args.iter().enumerate().map(|(i, argument)| {
        condition(argument).map_err(|reason| Error::at(format!("{}.args[{i}]", place()), reason))
    });
    let conditions = conditions.collect::<Result<_>>()?;
    let when = |which, requirements| {
        when(requirements).map_err(|reason| Error::at(format!("{}.{which}", place()), reason))
    };
    Ok(Rule {
        names,
        action,
        conditions,
        comment: entry.comment,
        includes: when("includes", entry.includes)?,
        excludes: when("excludes", entry.excludes)?,
    })
}

fn action(place: &str, verb: Verb, number: Option<u32>) -> Result<Action> {
    let refuse = |reason: String| Err(Error::at(place, reason));
    match (verb, number) {
        // runc's default for both is EPERM.
        (Verb::Errno, number) => match number.unwrap_or(libc::EPERM as u32) {
            number @ 0..=MAX_ERRNO => Ok(Action::Errno(number as u16)),
            number => refuse(format!("errno {number} is above {MAX_ERRNO}")),
        },
        (Verb::Trace, number) => match u16::try_from(number.unwrap_or(libc::EPERM as u32)) {
            Ok(number) => Ok(Action::Trace(number)),
            Err(_) => refuse("a tracer can be told a number up to 65535".to_owned()),
        },
        // So the OCI runtime specification wants it.
        (_, Some(number)) => refuse(format!("this action cannot return errno {number}")),
        (Verb::Allow, None) => Ok(Action::Allow),
        (Verb::Log, None) => Ok(Action::Log),
        (Verb::Notify, None) => Ok(Action::Notify),
        (Verb::Trap, None) => Ok(Action::Trap),
        (Verb::KillThread, None) => Ok(Action::KillThread),
        (Verb::KillProcess, None) => Ok(Action::KillProcess),
    }
}

fn condition(argument: &Argument) -> Result<Condition, String> {
    let (comparison, value) = match argument.op {
        Operator::NotEqual => (Comparison::NotEqual, argument.value),
        Operator::Less => (Comparison::Less, argument.value),
        Operator::AtMost => (Comparison::AtMost, argument.value),
        Operator::Equal => (Comparison::Equal, argument.value),
        Operator::AtLeast => (Comparison::AtLeast, argument.value),
        Operator::Greater => (Comparison::Greater, argument.value),
        // Here alone, `value` is the mask. Like libseccomp, compare no bit outside it.
        Operator::MaskedEqual => {
            (Comparison::MaskedEqual(argument.value), argument.value_two & argument.value)
        }
    };
    match argument.index {
        index @ 0..=5 => Ok(Condition { argument: index as u8, comparison, value }),
        index => Err(format!("there is no argument {index}: they are 0 to 5")),
    }
}

fn when(requirements: Requirements) -> Result<When, String> {
    Ok(When {
        capabilities: facts::capabilities(requirements.caps.iter().map(String::as_str))?,
        architectures: requirements.arches,
        kernel: match requirements.min_kernel.as_str() {
            "" => None,
            version => Some(version.parse()?),
        },
    })
}

/// Those of these architectures that we have tables for. The others are machines that this program does not run on.
fn known(place: &str, names: &[String]) -> Result<Vec<Architecture>> {
    let mut found = Vec::new();
    for name in names {
        match Architecture::ALL.into_iter().find(|architecture| architecture.name() == name) {
            Some(architecture) => found.push(architecture),
            None if ELSEWHERE.contains(&name.trim_start_matches("SCMP_ARCH_")) => {}
            None => return Err(Error::at(place, format!("unknown architecture {name:?}"))),
        }
    }
    Ok(found)
}

/// The runtime specification's architectures that we have no tables for.
const ELSEWHERE: [&str; 18] = [
    "LOONGARCH64",
    "M68K",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PARISC",
    "PARISC64",
    "PPC",
    "PPC64",
    "PPC64LE",
    "RISCV64",
    "S390",
    "S390X",
    "SH",
    "SHEB",
];

fn flag(name: &str) -> Result<u32> {
    match name {
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(FLAG_TSYNC),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(FLAG_SPEC_ALLOW),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Ok(FLAG_WAIT_KILLABLE_RECV),
        other => Err(Error::at("flags", format!("unknown flag {other:?}"))),
    }
}
