//! Whom a container's program runs as: names are looked up in the image's own files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::unistd::{Gid, Uid};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::plan::User;

/// The longest `/etc/passwd` or `/etc/group` that is read, in bytes: an image could hold an endless one.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// Ids to run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids, ascending, without repeats. Its own group is among them: else a program that drops
    /// its group could read what that group is denied (CVE-2023-25173).
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

impl Identity {
    /// Who `user` is in the root that this process is in.
    pub(crate) fn find(user: &User) -> Result<Self> {
        match user {
            User::Named { user, groups } => {
                let group = accounts("/etc/group")?;
                let mut identity = resolve(user, &accounts("/etc/passwd")?, &group)?;
                identity.join(groups, &group)?;
                Ok(identity)
            }
            User::Numbers { uid, gid, groups } => {
                let home = home(*uid, &accounts("/etc/passwd")?);
                Ok(Self { uid: *uid, gid: *gid, groups: groups.clone(), home })
            }
        }
    }

    /// Becomes this user: groups first, since only root may change them.
    pub fn assume(&self) -> Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|&group| Gid::from_raw(group)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let joined = match nix::unistd::setgroups(&groups) {
            // In the namespace of a user without subordinate ids nobody may, and there is no other group to be in.
            Err(nix::errno::Errno::EPERM) if self.groups.is_empty() || self.groups == [self.gid] => Ok(()),
            joined => joined,
        };
        joined
            .and_then(|()| nix::unistd::setresgid(gid, gid, gid))
            .and_then(|()| nix::unistd::setresuid(uid, uid, uid))
            .map_err(|errno| Error::kernel(format!("become user {uid}"), errno))
    }

    /// Adds the groups called, or numbered, `names`, by the text of `/etc/group`.
    pub fn join(&mut self, names: &[String], group: &str) -> Result<()> {
        for name in names {
            self.groups.push(group_id(name, group)?);
        }
        self.groups.sort_unstable();
        self.groups.dedup();
        Ok(())
    }
}

/// Who `spec` is, by the texts of `/etc/passwd` and `/etc/group` (`passwd(5)`, `group(5)`).
///
/// `spec` is `USER[:GROUP]`, each a name or a number; empty is root. A number need not be in the files. Without
/// a group, the user's own group and those that list the user as a member apply.
pub fn resolve(spec: &str, passwd: &str, group: &str) -> Result<Identity> {
    let (user, wanted_group) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();

    // A name is matched before a number, as useradd allows names of digits.
    let by_name = entries(passwd).find(|entry| entry[0] == user);
    let entry =
        by_name.or_else(|| entries(passwd).find(|entry| number.is_some() && field(entry, 2) == number));
    let uid = match (&entry, number) {
        (Some(entry), _) => {
            field(entry, 2).ok_or_else(|| Error::new(format!("/etc/passwd has no id for {user}")))?
        }
        (None, Some(number)) => number,
        (None, None) => {
            return Err(Error::new(format!(
                "unable to find user {user}: no matching entries in passwd file"
            )));
        }
    };
    let own_group = entry.as_ref().and_then(|entry| field(entry, 3)).unwrap_or(0);
    let home = entry.as_ref().and_then(|entry| entry.get(5)).filter(|home| !home.is_empty()).unwrap_or(&"/");

    let (gid, mut groups) = match wanted_group.filter(|group| !group.is_empty()) {
        Some(wanted) => (group_id(wanted, group)?, Vec::new()),
        None => (own_group, memberships(entry.as_ref().map(|entry| entry[0]), group)),
    };
    // The largest id stands for "no change" in the system calls, and Docker stops at half of the range.
    if let Some(id) = [uid, gid].into_iter().find(|id| i32::try_from(*id).is_err()) {
        return Err(Error::new(format!("uids and gids must be in range 0-2147483647, and {id} is not")));
    }
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity { uid, gid, groups, home: (*home).to_owned() })
}

/// The text of one of the image's account files; empty if the image has none.
fn accounts(path: &str) -> Result<String> {
    // NONBLOCK: opening a fifo that an image put there must not hang.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(Error::file("read the image's", Path::new(path), errno)),
    };
    let failed = |error| Error::file("read the image's", Path::new(path), error);
    // A link may lead into /proc, where to read is to act: /proc/kmsg gives each of the kernel's messages once, and
    // the host would miss those that were read here.
    let status = rustix::fs::fstatfs(&file).map_err(|errno| failed(errno.into()))?;
    if !file.metadata().map_err(failed)?.is_file() || status.f_type == libc::PROC_SUPER_MAGIC {
        return Err(Error::new(format!("the image's {path} is not a file")));
    }
    let mut text = Vec::new();
    file.take(MAX_ACCOUNTS).read_to_end(&mut text).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The home directory of the user with this number; `/` if it has none.
fn home(uid: u32, passwd: &str) -> String {
    let entry = entries(passwd).find(|entry| field(entry, 2) == Some(uid));
    let home = entry.and_then(|entry| entry.get(5).copied()).filter(|home| !home.is_empty());
    home.unwrap_or("/").to_owned()
}

/// The id of the group called, or numbered, `wanted`.
fn group_id(wanted: &str, group: &str) -> Result<u32> {
    let named = entries(group).find(|entry| entry[0] == wanted).and_then(|entry| field(&entry, 2));
    named.or_else(|| wanted.parse().ok()).ok_or_else(|| {
        Error::new(format!("unable to find group {wanted}: no matching entries in group file"))
    })
}

/// The groups that list `user` as a member.
fn memberships(user: Option<&str>, group: &str) -> Vec<u32> {
    let Some(user) = user else { return Vec::new() };
    entries(group)
        .filter(|entry| entry.get(3).is_some_and(|members| members.split(',').any(|member| member == user)))
        .filter_map(|entry| field(&entry, 2))
        .collect()
}

/// The fields of each line; comments and empty lines are left out.
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(':').collect())
}

fn field(entry: &[&str], index: usize) -> Option<u32> {
    entry.get(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\n\nanna:x:1000:1001:Anna:/home/anna:/bin/sh\n\
        65534:x:7:8::/:\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:root,anna\nstaff:x:50:anna\nanna:x:1001:\n";

    #[test]
    fn users_and_groups() {
        let table: String = [
            "",
            "0",
            "anna",
            "1000",
            "4242",
            "anna:staff",
            "anna:0",
            "4242:4243",
            ":50",
            "65534",
            "nobody",
            "anna:none",
            "-1",
        ]
        .into_iter()
        .map(|spec| match resolve(spec, PASSWD, GROUP) {
            Ok(Identity { uid, gid, groups, home }) => {
                format!("{spec:>10} -> {uid} {gid} {groups:?} {home}\n")
            }
            Err(error) => format!("{spec:>10} -> {error}\n"),
        })
        .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn more_groups() {
        let mut identity = resolve("anna", PASSWD, GROUP).unwrap();
        identity.join(&["4242".to_owned(), "root".to_owned(), "adm".to_owned()], GROUP).unwrap();
        assert_eq!(identity.groups, [0, 4, 50, 1001, 4242]);
        let error = identity.join(&["none".to_owned()], GROUP).unwrap_err();
        insta::assert_snapshot!(error, @"unable to find group none: no matching entries in group file");
    }

    #[test]
    fn an_image_without_the_files() {
        let identity = resolve("", "", "").unwrap();
        assert_eq!(identity, Identity { uid: 0, gid: 0, groups: vec![0], home: "/".to_owned() });
    }
}
