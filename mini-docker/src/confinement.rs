//! How a container is confined: what `--cap-add`, `--security-opt` and `--privileged` say.

use std::path::Path;

use capabilities::{Set, Sets};
use runtime::confinement::{Confinement, Seccomp, SecurityModule};
use seccomp::Profile;

use crate::error::{Error, Result};
use crate::host_config::HostConfig;

/// What the user's `--security-opt` say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Options {
    no_new_privileges: bool,
    seccomp: Option<Seccomp>,
    apparmor: Option<String>,
    labels: Vec<String>,
    system_paths_shown: bool,
}

/// The confinement that `host` asks for, as far as `available` goes: the bounding set of this process. And whether `/proc`
/// and `/sys` are shown whole.
pub fn from_host_config(host: &HostConfig, available: Set) -> Result<(Confinement, bool)> {
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
    let confinement = Confinement {
        capabilities: Sets::of_container(capabilities),
        seccomp: match &options.seccomp {
            Some(chosen) => chosen.clone(),
            None if host.privileged => Seccomp::Unconfined,
            None => Seccomp::Builtin,
        },
        no_new_privileges: options.no_new_privileges,
        security_module: options.security_module(host.privileged)?,
    };
    Ok((confinement, options.system_paths_shown || host.privileged))
}

/// The `AppArmor` profile and the `SELinux` label that `host` names; empty where it names none.
pub fn names(host: &HostConfig) -> Result<(String, String)> {
    let options = options(&host.security_opt)?;
    let label = if options.labels.is_empty() || options.labels == ["disable"] {
        String::new()
    } else {
        context(&options.labels)?
    };
    Ok((options.apparmor.unwrap_or_default(), label))
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
