//! Setting the maps of a process that is in a new user namespace.
//!
//! A map is written once, by a process of the parent namespace, and says which of the parent's ids become reachable. So
//! the kernel looks at the writer (`user_namespaces(7)`, "Defining user and group ID mappings"):
//!
//! - who has `CAP_SETUID` (for groups `CAP_SETGID`) in the parent namespace could become those users anyway, and may
//!   write any map;
//! - everybody may map themselves, and nobody else. For groups only after `deny` was written to `/proc/PID/setgroups`:
//!   who could give up a group could reach files that exclude its members (CVE-2014-8989);
//! - for everything else there are two set-user-ID programs, `newuidmap(1)` and `newgidmap(1)`, which look into
//!   `/etc/subuid` and `/etc/subgid` and write the map.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chroot::Error as KernelError;
use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::thread::CapabilitySet;

use crate::error::{Error, Result};
use crate::map::{IdMap, IdMaps};

const SET_USER_ID: u32 = 0o4000;

/// How a map gets to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// This process writes it.
    Direct,
    /// This process writes it, and may, since it maps nobody but the writer.
    Oneself,
    /// A set-user-ID program writes it.
    Helper,
}

impl Way {
    /// The way for `map`, if the writer has the id `own`, and is `privileged` or not: whether it has the capability to
    /// take on any id.
    pub fn of(map: &IdMap, own: u32, privileged: bool) -> Self {
        match map.ranges() {
            _ if privileged => Self::Direct,
            [range] if range.outside == own && range.count == 1 => Self::Oneself,
            _ => Self::Helper,
        }
    }
}

/// Sets the maps of `process`, a child user namespace's first process.
///
/// # Errors
/// What the kernel refuses, and [`Error::Helper`].
pub fn assign(process: Pid, maps: &IdMaps) -> Result<()> {
    let capabilities = rustix::thread::capabilities(None)
        .map_err(|errno| KernelError::new("look at", "this process's capabilities", errno))?
        .effective;
    let gid = nix::unistd::getegid().as_raw();
    let way = Way::of(&maps.gids, gid, capabilities.contains(CapabilitySet::SETGID));
    if way == Way::Oneself {
        write(process, "setgroups", "deny")?;
    }
    set(process, &GROUPS, &maps.gids, way)?;
    let uid = nix::unistd::geteuid().as_raw();
    set(process, &USERS, &maps.uids, Way::of(&maps.uids, uid, capabilities.contains(CapabilitySet::SETUID)))
}

/// What differs between the two maps.
struct Kind {
    /// The file in `/proc/PID`.
    file: &'static str,
    /// The program that writes it for others.
    program: &'static str,
    /// Where that looks.
    allowed: &'static str,
}

const USERS: Kind = Kind { file: "uid_map", program: "newuidmap", allowed: "/etc/subuid" };
const GROUPS: Kind = Kind { file: "gid_map", program: "newgidmap", allowed: "/etc/subgid" };

fn set(process: Pid, kind: &Kind, map: &IdMap, way: Way) -> Result<()> {
    let text = map.to_string();
    tracing::info!("{} of process {process}: {}", kind.file, text.replace('\n', ", "));
    if way == Way::Helper { ask(process, kind, map) } else { write(process, kind.file, &text) }
}

/// Writes a file of `/proc/PID`, in one call: the kernel takes no second one.
fn write(process: Pid, file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{process}/{file}");
    std::fs::write(&path, text).map_err(|error| {
        let error = KernelError::new("write", path, error);
        let hint = match error.errno() {
            Errno::EPERM if file == "setgroups" => {
                "groups are denied in the parent namespace, or the map is set"
            }
            Errno::EPERM => {
                "the map is set already, or names ids that are not this namespace's: see /proc/self/uid_map"
            }
            Errno::EACCES => "the process belongs to another user",
            _ => return error.into(),
        };
        error.hint(hint).into()
    })
}

/// Lets the set-user-ID program write the map.
fn ask(process: Pid, kind: &Kind, map: &IdMap) -> Result<()> {
    let refuse = |reason: String, advice: String| Error::Helper {
        pid: process.as_raw(),
        program: kind.program,
        reason,
        advice,
    };
    let path = find(kind.program)
        .ok_or_else(|| refuse("it is not installed".to_owned(), "install the package uidmap".to_owned()))?;
    if !is_privileged(&path) {
        let reason = format!("{} is not set-user-ID root", path.display());
        return Err(refuse(reason, format!("as root, run: chmod u+s {}", path.display())));
    }
    let mut command = Command::new(&path);
    command.arg(process.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
    for range in map.ranges() {
        command.args([range.inside, range.outside, range.count].map(|number| number.to_string()));
    }
    tracing::info!("run {} for process {process}", path.display());
    let output = command.output().map_err(|error| KernelError::new("run", path.display(), error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it does not say why");
    let reason = said.strip_prefix(kind.program).map_or(said, |rest| rest.trim_start_matches([':', ' ']));
    let advice = if reason.contains("not permitted") {
        // The program found the range in the file, and the kernel found the program without privileges.
        "is it on a file system mounted nosuid, or is no_new_privs set?".to_owned()
    } else {
        format!("the ranges must lie within those of this user in {}", kind.allowed)
    };
    Err(refuse(reason.to_owned(), advice))
}

/// Where `program` is: in `PATH`, or where Debian has it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin")])
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok())
}

/// Whether a program gives privileges to who runs it: set-user-ID, or by file capabilities, as Fedora has it.
pub(crate) fn is_privileged(program: &Path) -> bool {
    let set_user_id =
        std::fs::metadata(program).is_ok_and(|metadata| metadata.permissions().mode() & SET_USER_ID != 0);
    set_user_id || rustix::fs::getxattr(program, "security.capability", &mut [0_u8; 64]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_which_map() {
        let map = |text: &str| text.parse::<IdMap>().unwrap();
        assert_eq!(Way::of(&map("0 1000 1"), 1000, false), Way::Oneself);
        assert_eq!(Way::of(&map("5 1000 1"), 1000, false), Way::Oneself);
        assert_eq!(Way::of(&map("0 1001 1"), 1000, false), Way::Helper);
        assert_eq!(Way::of(&map("0 1000 2"), 1000, false), Way::Helper);
        assert_eq!(Way::of(&map("0 1000 1\n1 100000 65536"), 1000, false), Way::Helper);
        assert_eq!(Way::of(&map("0 1000 1\n1 100000 65536"), 1000, true), Way::Direct);
    }
}
