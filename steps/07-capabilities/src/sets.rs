//! The five sets of a process, and what becomes of them when it runs a program.

use std::fmt;

use crate::error::{Error, Result};
use crate::file::FileCapabilities;
use crate::set::Set;

/// The capability sets of a process (`capabilities(7)`, "Thread capability sets").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sets {
    /// What the kernel looks at when it decides.
    pub effective: Set,
    /// What may be made effective.
    pub permitted: Set,
    /// What survives an `execve` of a file that agrees. Hardly anybody uses it; in a container it is empty, since it
    /// would give a user other than root what only root should have (CVE-2022-24769).
    pub inheritable: Set,
    /// What no `execve` can go beyond, whatever the file. What is taken out of it never comes back.
    pub bounding: Set,
    /// What survives an `execve` of an ordinary file, also for a user other than root (Linux 4.3).
    pub ambient: Set,
}

/// What is run, and by whom: what decides about the sets afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Execution {
    /// The real user id.
    pub user: u32,
    /// The effective user id after the call: the file's owner where it is a set-user-ID program.
    pub effective_user: u32,
    /// What the file itself gives.
    pub file: Option<FileCapabilities>,
    /// Whether `no_new_privs` is set.
    pub no_new_privileges: bool,
}

/// The kernel refuses to run the file (EPERM): it would not get what its author said that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Sets {
    /// What a container's first program starts from, whoever runs it: `execve` takes away what is not for its user.
    pub const fn of_container(given: Set) -> Self {
        Self {
            effective: given,
            permitted: given,
            bounding: given,
            inheritable: Set::EMPTY,
            ambient: Set::EMPTY,
        }
    }

    /// The sets in the text of `/proc/PID/status`.
    ///
    /// # Errors
    /// [`Error::Status`] names the line that is not there.
    pub fn of_status(status: &str) -> Result<Self> {
        let set = |name: &'static str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let bits = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
            bits.map(Set::from_bits).ok_or(Error::Status(name))
        };
        Ok(Self {
            effective: set("CapEff")?,
            permitted: set("CapPrm")?,
            inheritable: set("CapInh")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
        })
    }

    /// What `execve` makes of them (`capabilities(7)`, "Transformation of capabilities during `execve()`").
    ///
    /// # Errors
    /// [`Refused`] if the bounding set keeps from the file what it insists on.
    pub fn after_execve(self, execution: Execution) -> Result<Self, Refused> {
        let Execution { user, effective_user, file, no_new_privileges } = execution;
        let is_root = user == 0 || effective_user == 0;
        let set_user_id = user != effective_user;

        let gain = |from: FileCapabilities| {
            self.inheritable.and(from.inheritable).or(from.permitted.and(self.bounding))
        };
        // A program that knows nothing of capabilities cannot do with less than its file says; root's neither.
        if let Some(file) = file
            && file.effective
            && !gain(file).contains(file.permitted)
        {
            return Err(Refused);
        }
        // For root, every file gives everything; only a set-user-ID root program with capabilities of its own is held
        // to those.
        let held_to_its_own = set_user_id && file.is_some();
        let given = if is_root && !held_to_its_own {
            FileCapabilities {
                permitted: Set::from_bits(u64::MAX),
                inheritable: Set::from_bits(u64::MAX),
                effective: effective_user == 0,
            }
        } else {
            file.unwrap_or_default()
        };
        let ambient = if file.is_some() || set_user_id { Set::EMPTY } else { self.ambient };
        let mut permitted = gain(given).or(ambient);
        if no_new_privileges {
            permitted = permitted.and(self.permitted);
        }
        let effective = if given.effective { permitted } else { ambient };
        Ok(Self { effective, permitted, inheritable: self.inheritable, bounding: self.bounding, ambient })
    }
}

impl fmt::Display for Sets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "effective    {}", self.effective)?;
        writeln!(f, "permitted    {}", self.permitted)?;
        writeln!(f, "inheritable  {}", self.inheritable)?;
        writeln!(f, "bounding     {}", self.bounding)?;
        write!(f, "ambient      {}", self.ambient)
    }
}
