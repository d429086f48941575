//! Who runs what, from where, and with which privileges.

use std::path::Path;

use capabilities::{Set, Sets};
use chroot::Program;
use seccomp::Profile;

use super::document::{self, Capabilities};
use super::{absolute, at};
use crate::confinement::{Confinement, Seccomp, SecurityModule};
use crate::error::Result;
use crate::plan::{Process, User};
use crate::rlimits::{self, Rlimit};
use crate::schedule::Schedule;

/// The largest umask: permissions, and no more.
const MAX_UMASK: u32 = 0o777;

pub(super) fn read(process: &document::Process, seccomp: Option<&Profile>) -> Result<Process> {
    if process.args.is_empty() || process.args[0].is_empty() {
        return Err(at("process.args", "names no program"));
    }
    for (number, entry) in process.env.iter().enumerate() {
        if !entry.contains('=') || entry.starts_with('=') || entry.contains('\0') {
            return Err(at(
                format!("process.env[{number}]"),
                format!("{entry:?} is not of the form NAME=VALUE"),
            ));
        }
    }
    if process.args.iter().any(|argument| argument.contains('\0')) {
        return Err(at("process.args", "has a NUL in it"));
    }
    let user = &process.user;
    if let Some(umask) = user.umask.filter(|umask| *umask > MAX_UMASK) {
        return Err(at("process.user.umask", format!("{umask} is above 0777")));
    }
    if let Some(score) = process.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(at("process.oomScoreAdj", format!("{score} is not between -1000 and 1000")));
    }
    Ok(Process {
        program: Program { args: process.args.clone(), env: process.env.clone() },
        user: User::Numbers { uid: user.uid, gid: user.gid, groups: user.additional_gids.clone() },
        working_dir: absolute("process.cwd", &process.cwd)?.to_owned(),
        umask: Some(user.umask.unwrap_or(0o022)),
        rlimits: rlimits(&process.rlimits)?,
        oom_score_adj: process.oom_score_adj,
        schedule: Schedule::default(),
        confinement: Confinement {
            capabilities: process.capabilities.as_ref().map_or(Ok(Sets::default()), capabilities)?,
            seccomp: seccomp
                .map_or(Seccomp::Unconfined, |profile| Seccomp::Profile(Box::new(profile.clone()))),
            no_new_privileges: process.no_new_privileges,
            security_module: security_module(process)?,
        },
        descriptors: 0,
    })
}

/// The five sets. As runc has it, a name that this kernel has not is an error.
fn capabilities(sets: &Capabilities) -> Result<Sets> {
    let set = |name: &str, names: &[String]| {
        names.iter().enumerate().try_fold(Set::EMPTY, |set, (number, text)| {
            let one = Set::of(text).ok().filter(|_| text.starts_with("CAP_"));
            one.map(|one| set.or(one)).ok_or_else(|| {
                at(format!("process.capabilities.{name}[{number}]"), format!("{text:?} is no capability"))
            })
        })
    };
    let all = Sets {
        effective: set("effective", &sets.effective)?,
        permitted: set("permitted", &sets.permitted)?,
        inheritable: set("inheritable", &sets.inheritable)?,
        bounding: set("bounding", &sets.bounding)?,
        ambient: set("ambient", &sets.ambient)?,
    };
    if !all.permitted.contains(all.effective) {
        let missing = all.effective.without(all.permitted);
        return Err(at("process.capabilities.effective", format!("{missing} must be in permitted too")));
    }
    // The kernel makes nothing ambient that is not both (capabilities(7)); runc leaves such ones out, and so do we.
    let ambient = all.ambient.and(all.permitted).and(all.inheritable);
    Ok(Sets { ambient, ..all })
}

fn rlimits(limits: &[document::Rlimit]) -> Result<Vec<Rlimit>> {
    let mut found: Vec<Rlimit> = Vec::new();
    for (number, limit) in limits.iter().enumerate() {
        let field = format!("process.rlimits[{number}]");
        let name = limit.r#type.strip_prefix("RLIMIT_").map(str::to_lowercase).unwrap_or_default();
        if rlimits::resource(&name).is_none() {
            return Err(at(format!("{field}.type"), format!("{:?} is no limit", limit.r#type)));
        }
        if limit.soft > limit.hard {
            return Err(at(format!("{field}.soft"), format!("{} is above the hard limit", limit.soft)));
        }
        if found.iter().any(|other| other.name == name) {
            return Err(at(format!("{field}.type"), format!("{} is limited twice", limit.r#type)));
        }
        let value = |limit: u64| Some(limit).filter(|&limit| limit != u64::MAX);
        found.push(Rlimit { name, soft: value(limit.soft), hard: value(limit.hard) });
    }
    Ok(found)
}

/// What the host's security module is told. One that the host has not is an error: who names a profile counts on it.
fn security_module(process: &document::Process) -> Result<Option<SecurityModule>> {
    let modules = [
        ("process.apparmorProfile", &process.apparmor_profile, "/sys/kernel/security/apparmor"),
        ("process.selinuxLabel", &process.selinux_label, "/sys/fs/selinux/enforce"),
    ];
    for (field, name, sign) in modules {
        if !(name.is_empty() || name == "unconfined" || Path::new(sign).exists()) {
            return Err(at(
                field,
                format!("{name:?} cannot be applied: this kernel has that module switched off"),
            ));
        }
    }
    Ok(match (process.apparmor_profile.as_str(), process.selinux_label.as_str()) {
        ("" | "unconfined", "") => None,
        ("" | "unconfined", label) => Some(SecurityModule::SeLinux(label.to_owned())),
        (profile, _) => Some(SecurityModule::AppArmor(profile.to_owned())),
    })
}
