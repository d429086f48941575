//! What keeps a container's programs from doing what root may: capabilities, filters on system calls, `no_new_privs`, and
//! the security modules of the kernel.

use std::path::Path;

use capabilities::{Sets, assume};
use seccomp::profile::Listener;
use seccomp::{Facts, Filter, Profile};

use crate::error::{Error, Result};
use crate::users::Identity;

/// How a container's programs are confined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confinement {
    /// What is left of root: the sets that the program starts from, whoever runs it.
    pub capabilities: Sets,
    /// Which system calls there are.
    pub seccomp: Seccomp,
    /// Whether no program can gain privileges by being executed.
    pub no_new_privileges: bool,
    /// What the kernel's security module is to know the program as, if it is not to be told nothing.
    pub security_module: Option<SecurityModule>,
}

/// Which system calls a container's programs may make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seccomp {
    /// Those of the default profile.
    #[default]
    Builtin,
    /// Those of the user's profile.
    Profile(Box<Profile>),
    /// All.
    Unconfined,
}

/// A security module and the name of what it applies to the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecurityModule {
    /// `AppArmor`, and a profile that the host has loaded.
    AppArmor(String),
    /// `SELinux`, and a context.
    SeLinux(String),
}

impl SecurityModule {
    /// Asks the module to confine the next program that this process becomes (`apparmor(7)`, `setexeccon(3)`). The
    /// host's `/proc` must be there: a container's could be a forgery, which takes the text and does nothing.
    pub fn prepare(&self) -> Result<()> {
        let (file, text) = match self {
            Self::AppArmor(profile) => ("/proc/thread-self/attr/apparmor/exec", format!("exec {profile}")),
            Self::SeLinux(context) => ("/proc/thread-self/attr/exec", context.clone()),
        };
        tracing::info!("ask for confinement: {text}");
        std::fs::write(file, &text)
            .map_err(|error| Error::file(&format!("write \"{text}\" to"), Path::new(file), error))
    }
}

impl Confinement {
    /// The filter on system calls, if there is to be one.
    pub fn filter(&self) -> Result<Option<Filter>> {
        let facts = || Facts::of_host(self.capabilities.bounding.bits());
        Ok(match &self.seccomp {
            Seccomp::Unconfined => None,
            Seccomp::Builtin => Some(Profile::builtin().compile(&facts()?)?),
            Seccomp::Profile(profile) => Some(profile.compile(&facts()?)?),
        })
    }

    /// Whoever is asked about system calls, if the filter leaves some to be decided.
    pub fn listener(&self) -> Option<&Listener> {
        match &self.seccomp {
            Seccomp::Profile(profile) => profile.listener.as_ref(),
            Seccomp::Builtin | Seccomp::Unconfined => None,
        }
    }

    /// Gives up what the program shall not have, and becomes its user. `install` puts the filter on.
    ///
    /// To install a filter takes `CAP_SYS_ADMIN`, or `no_new_privs`: with that it comes as late as it can, since it might
    /// refuse the calls that are made here; without, it must come first. Groups come before the user, since only
    /// root may change them; the bounding set before `CAP_SETPCAP` has gone.
    pub fn assume(&self, identity: &Identity, install: impl FnOnce() -> Result<()>) -> Result<()> {
        if !self.no_new_privileges {
            install()?;
        }
        assume::bound(self.capabilities.bounding)?;
        assume::keep_across_user_change(true)?;
        identity.assume()?;
        assume::keep_across_user_change(false)?;
        assume::set(&self.capabilities)?;
        if self.no_new_privileges {
            assume::forbid_new_privileges()?;
        }
        Ok(())
    }
}
