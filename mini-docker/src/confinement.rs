//! What keeps a container's programs from doing what root may: capabilities, filters on system calls, `no_new_privs`, and
//! the security modules of the kernel.

use std::path::Path;

use capabilities::{Set, Sets, assume};
use seccomp::{Facts, Filter, Profile};

use crate::error::{Error, Result};
use crate::host_config::HostConfig;
use crate::users::Identity;

/// How a container's programs are confined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confinement {
    /// What is left of root.
    pub capabilities: Set,
    /// Which system calls there are.
    pub seccomp: Seccomp,
    /// Whether no program can gain privileges by being executed.
    pub no_new_privileges: bool,
    /// What the kernel's security module is to know the program as, if it is not to be told nothing.
    pub security_module: Option<SecurityModule>,
    /// Whether `/proc` and `/sys` are shown whole.
    pub system_paths_shown: bool,
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

/// What the user's `--security-opt` say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Options {
    no_new_privileges: bool,
    seccomp: Option<Seccomp>,
    apparmor: Option<String>,
    labels: Vec<String>,
    system_paths_shown: bool,
}

/// The confinement that `host` asks for, as far as `available` goes: the bounding set of this process.
pub fn from_host_config(host: &HostConfig, available: Set) -> Result<Confinement> {
    let options = options(&host.security_opt)?;
    let capabilities = if host.privileged {
        available
    } else {
        for (list, names) in [("CapAdd", &host.cap_add), ("CapDrop", &host.cap_drop)] {
            capabilities::choice::check(names)
                .map_err(|error| Error::new(format!("invalid {list}: {error}")))?;
        }
        capabilities::choose(&host.cap_add, &host.cap_drop, available)?
    };
    Ok(Confinement {
        capabilities,
        seccomp: match &options.seccomp {
            Some(chosen) => chosen.clone(),
            None if host.privileged => Seccomp::Unconfined,
            None => Seccomp::Builtin,
        },
        no_new_privileges: options.no_new_privileges,
        security_module: options.security_module(host.privileged)?,
        system_paths_shown: options.system_paths_shown || host.privileged,
    })
}

/// Reads `--security-opt`: `KEY=VALUE`, or Docker's older `KEY:VALUE`.
fn options(texts: &[String]) -> Result<Options> {
    let mut options = Options::default();
    for text in texts {
        let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => options.no_new_privileges = true,
            ("no-new-privileges", "false") => options.no_new_privileges = false,
            ("seccomp", "unconfined") => options.seccomp = Some(Seccomp::Unconfined),
            ("seccomp", "builtin") => options.seccomp = Some(Seccomp::Builtin),
            ("seccomp", profile) if !profile.is_empty() => {
                options.seccomp = Some(Seccomp::Profile(Box::new(Profile::parse(profile)?)));
            }
            ("apparmor", name) if !name.is_empty() => options.apparmor = Some(name.to_owned()),
            ("label", label) if !label.is_empty() => options.labels.push(label.to_owned()),
            ("systempaths", "unconfined") => options.system_paths_shown = true,
            _ => return Err(Error::new(format!("invalid --security-opt: \"{text}\""))),
        }
    }
    Ok(options)
}

impl Options {
    /// What the host's security module is told. One that the host has not is an error: whoever names a profile counts
    /// on being protected by it.
    fn security_module(&self, privileged: bool) -> Result<Option<SecurityModule>> {
        if let Some(profile) = self.apparmor.as_ref().filter(|name| *name != "unconfined") {
            if !Path::new("/sys/kernel/security/apparmor").exists() {
                return Err(Error::new(format!(
                    "cannot apply the AppArmor profile {profile}: this kernel has AppArmor switched off (see 'mini-docker doctor')"
                )));
            }
            return Ok(Some(SecurityModule::AppArmor(profile.clone())));
        }
        if self.labels.is_empty() || self.labels == ["disable"] || privileged {
            return Ok(None);
        }
        if !Path::new("/sys/fs/selinux/enforce").exists() {
            return Err(Error::new(format!(
                "cannot apply the SELinux label {}: this kernel has SELinux switched off (see 'mini-docker doctor')",
                self.labels.join(",")
            )));
        }
        Ok(Some(SecurityModule::SeLinux(context(&self.labels)?)))
    }
}

/// The `SELinux` context of labels such as `type:container_t`: the usual one of containers, with these parts replaced.
fn context(labels: &[String]) -> Result<String> {
    let mut parts = ["system_u", "system_r", "container_t", "s0"].map(str::to_owned);
    for label in labels {
        let place = match label.split_once(':') {
            Some(("user", _)) => 0,
            Some(("role", _)) => 1,
            Some(("type", _)) => 2,
            Some(("level", _)) => 3,
            _ => return Err(Error::new(format!("invalid --security-opt: \"label={label}\""))),
        };
        label.split_once(':').map_or("", |(_, value)| value).clone_into(&mut parts[place]);
    }
    Ok(parts.join(":"))
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
        let facts = || Facts::of_host(self.capabilities.bits());
        Ok(match &self.seccomp {
            Seccomp::Unconfined => None,
            Seccomp::Builtin => Some(Profile::builtin().compile(&facts()?)?),
            Seccomp::Profile(profile) => Some(profile.compile(&facts()?)?),
        })
    }

    /// Gives up what the program shall not have, and becomes its user.
    ///
    /// To install a filter takes `CAP_SYS_ADMIN`, or `no_new_privs`: with that it comes as late as it can, since it might
    /// refuse the calls that are made here; without, it must come first. Groups come before the user, since only
    /// root may change them; the bounding set before `CAP_SETPCAP` has gone.
    pub fn assume(&self, identity: &Identity, filter: Option<&Filter>) -> Result<()> {
        let (early, late) = if self.no_new_privileges { (None, filter) } else { (filter, None) };
        early.map_or(Ok(()), Filter::install)?;
        assume::bound(self.capabilities)?;
        assume::keep_across_user_change(true)?;
        identity.assume()?;
        assume::keep_across_user_change(false)?;
        assume::set(&Sets::of_container(self.capabilities))?;
        if self.no_new_privileges {
            assume::forbid_new_privileges()?;
        }
        Ok(late.map_or(Ok(()), Filter::install)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_options() {
        let table: String = [
            "no-new-privileges",
            "no-new-privileges:true",
            "no-new-privileges=false",
            "no-new-privileges=odd",
            "seccomp=unconfined",
            "seccomp=builtin",
            "seccomp",
            "seccomp={\"defaultAction\": \"SCMP_ACT_ALLOW\"}",
            "seccomp={}",
            "apparmor=unconfined",
            "apparmor=mine",
            "apparmor",
            "label=disable",
            "label:type:svirt_t",
            "systempaths=unconfined",
            "systempaths=odd",
            "odd=1",
            "",
        ]
        .into_iter()
        .map(|text| match options(&[text.to_owned()]) {
            Ok(options) => format!("{text}\n  {options:?}\n"),
            Err(error) => format!("{text}\n  {error}\n"),
        })
        .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn contexts() {
        let of = |labels: &[&str]| context(&labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["type:svirt_t", "level:s0:c1,c2"]).unwrap(), "system_u:system_r:svirt_t:s0:c1,c2");
        insta::assert_snapshot!(of(&["odd"]).unwrap_err(), @r#"invalid --security-opt: "label=odd""#);
    }
}
