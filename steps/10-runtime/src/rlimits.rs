//! Limits of processes, each by itself (`getrlimit(2)`).

use rustix::process::Resource;

use crate::error::{Error, Result};

/// A limit of what a process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// What is limited, by its name in [`NAMES`].
    pub name: String,
    /// Where the limit is; the process may raise it. `None` is no limit.
    pub soft: Option<u64>,
    /// How far the process may raise it. `None` is no limit.
    pub hard: Option<u64>,
}

/// Names and what they limit. `RLIMIT_` and the name in capitals is the kernel's.
pub const NAMES: &[(&str, Resource)] = &[
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// What `name` limits; none for a name that there is not.
pub fn resource(name: &str) -> Option<Resource> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource)
}

/// Sets the limits of this process, which what it starts inherits.
///
/// # Errors
/// EPERM for raising a hard limit without `CAP_SYS_RESOURCE`.
pub fn apply(rlimits: &[Rlimit]) -> Result<()> {
    for Rlimit { name, soft, hard } in rlimits {
        let Some(resource) = resource(name) else {
            return Err(Error::new(format!("invalid ulimit type: {name}")));
        };
        let number = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
        let (said_soft, said_hard) = (number(*soft), number(*hard));
        tracing::info!("setrlimit: {name} = {said_soft}, at most {said_hard}");
        let limit = rustix::process::Rlimit { current: *soft, maximum: *hard };
        rustix::process::setrlimit(resource, limit)
            .map_err(|errno| Error::kernel(format!("limit {name} to {said_soft}:{said_hard}"), errno))?;
    }
    Ok(())
}
