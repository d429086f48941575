//! Whose ids a user may hand out: `/etc/subuid` and `/etc/subgid` (`subuid(5)`).
//!
//! An ordinary user has one id, and a container needs many: files of its image belong to `www-data` or `postgres`. So
//! the administrator gives each user a range of ids that nobody else has. They are worth nothing on the host; in a
//! container they are its users.

use std::path::Path;

use chroot::Error as KernelError;

use crate::error::{Error, Result};
use crate::map::{IdMap, IdMaps, Range};

const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The user whose ids containers get by `--userns-remap=default`: Docker's, so that one entry serves both engines.
pub const DEFAULT_USER: &str = "dockremap";

/// How many ids a user is advised to be given: what `useradd(8)` gives.
const USUAL_COUNT: u32 = 65_536;
/// Where `useradd(8)` begins (`SUB_UID_MIN` of `login.defs(5)`).
const USUAL_FIRST: u32 = 100_000;

/// A range of ids: `count` from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// A user, as files name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name, if it has one: a user known to a directory service only is in no file.
    pub name: Option<String>,
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// The texts of the four files that know users and their ids.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
    /// `/etc/subuid`.
    pub subuid: String,
    /// `/etc/subgid`.
    pub subgid: String,
}

impl Accounts {
    /// Reads the files. One that is not there is an empty one.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn read() -> Result<Self> {
        let read = |path: &str| match std::fs::read(Path::new(path)) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(KernelError::new("read", path, error)),
        };
        Ok(Self { passwd: read(PASSWD)?, group: read(GROUP)?, subuid: read(SUBUID)?, subgid: read(SUBGID)? })
    }

    /// The user `uid`, who has the group `gid` now.
    pub fn user(&self, uid: u32, gid: u32) -> User {
        let name = named(&self.passwd, &uid.to_string()).map(|(name, _)| name.to_owned());
        User { name, uid, gid }
    }

    /// The maps of a container that an ordinary user runs: 0 inside is the user, and what follows are the ids given to
    /// it, in the files' order.
    ///
    /// # Errors
    /// [`Error::NoIds`]. The user can have [`IdMaps::root_only`] then.
    pub fn own_maps(&self, user: &User) -> Result<IdMaps> {
        let uids = spans(&self.subuid, user.name.as_deref(), user.uid);
        let gids = spans(&self.subgid, user.name.as_deref(), user.uid);
        let refuse = |file| self.no_ids(file, user.name.clone().unwrap_or_else(|| user.uid.to_string()));
        if uids.is_empty() {
            return Err(refuse(SUBUID));
        }
        if gids.is_empty() {
            return Err(refuse(SUBGID));
        }
        let after = |own: u32, spans: &[Span]| {
            let own = Span { first: own, count: 1 };
            map(std::iter::once(own).chain(spans.iter().copied()))
        };
        Ok(IdMaps { uids: after(user.uid, &uids)?, gids: after(user.gid, &gids)? })
    }

    /// The maps of a container that root runs with another user's ids: Docker's `--userns-remap`. 0 inside is the first
    /// of the ids given to the user, who is not mapped itself. `text` is `default`, or a user and perhaps a group, each
    /// by name or by number.
    ///
    /// # Errors
    /// Users and groups that there are not, and such without ids.
    pub fn remapped(&self, text: &str) -> Result<IdMaps> {
        let (user, group) = match text.split_once(':') {
            None if text == "default" => (DEFAULT_USER, None),
            None => (text, None),
            Some((user, group)) => (user, Some(group)),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(Error::Remap(text.to_owned()));
        }
        let (name, uid) = named(&self.passwd, user).ok_or_else(|| Error::Unknown {
            kind: "user",
            name: user.to_owned(),
            file: PASSWD,
            advice: if text == "default" {
                format!(" (run: useradd --system --no-create-home {DEFAULT_USER} && {})", self.advice(user))
            } else {
                String::new()
            },
        })?;
        let (group_name, gid) = match group {
            // Like newgidmap: a user's entry in /etc/subgid has the *user's* name.
            None => (name, uid),
            Some(group) => named(&self.group, group).ok_or_else(|| Error::Unknown {
                kind: "group",
                name: group.to_owned(),
                file: GROUP,
                advice: String::new(),
            })?,
        };
        let uids = spans(&self.subuid, Some(name), uid);
        let gids = spans(&self.subgid, Some(group_name), gid);
        if uids.is_empty() {
            return Err(self.no_ids(SUBUID, name.to_owned()));
        }
        if gids.is_empty() {
            // usermod(8) writes such lines for users only.
            let line = format!("{group_name}:{}:{USUAL_COUNT}", unused(&[&self.subuid, &self.subgid]));
            return Err(match group {
                None => self.no_ids(SUBGID, name.to_owned()),
                Some(_) => Error::NoIds {
                    file: SUBGID,
                    name: group_name.to_owned(),
                    advice: format!("run: echo {line} >> {SUBGID}"),
                },
            });
        }
        Ok(IdMaps { uids: map(uids)?, gids: map(gids)? })
    }

    fn no_ids(&self, file: &'static str, name: String) -> Error {
        let advice = format!("run: {}", self.advice(&name));
        Error::NoIds { file, name, advice }
    }

    /// The command that gives a user ids that nobody has yet.
    fn advice(&self, name: &str) -> String {
        let first = unused(&[&self.subuid, &self.subgid]);
        let last = first + (USUAL_COUNT - 1);
        format!("usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {name}")
    }
}

/// The ids that `text`, one of the two files, gives to a user; lines may know it by name or by number.
pub fn spans(text: &str, name: Option<&str>, id: u32) -> Vec<Span> {
    let number = id.to_string();
    entries(text)
        .filter(|(owner, _)| *owner == number || Some(*owner) == name)
        .map(|(_, span)| span)
        .collect()
}

/// The entries of one of the two files, `OWNER:FIRST:COUNT` each. What is none is passed over, as shadow's tools do.
fn entries(text: &str) -> impl Iterator<Item = (&str, Span)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let span = Span { first: first.parse().ok()?, count: count.parse().ok()? };
        (span.count > 0 && fields.next().is_none()).then_some((owner, span))
    })
}

/// The first id, of those that are usually given, after all that are given already.
fn unused(texts: &[&str]) -> u32 {
    let ends = texts
        .iter()
        .flat_map(|text| entries(text))
        .map(|(_, span)| span.first.saturating_add(span.count))
        .filter(|end| *end < u32::MAX - USUAL_COUNT);
    ends.max().unwrap_or(USUAL_FIRST).max(USUAL_FIRST)
}

/// Spans in a row, from 0 inside.
fn map(spans: impl IntoIterator<Item = Span>) -> Result<IdMap> {
    let mut inside = 0_u32;
    let mut ranges = Vec::new();
    for Span { first, count } in spans {
        ranges.push(Range { inside, outside: first, count });
        inside = inside
            .checked_add(count)
            .ok_or_else(|| Error::Map("the ranges have more ids than there are".to_owned()))?;
    }
    IdMap::new(ranges)
}

/// The name and number of an entry of `/etc/passwd` or `/etc/group`, found by either. A name may look like a number:
/// it comes first.
fn named<'a>(text: &'a str, wanted: &str) -> Option<(&'a str, u32)> {
    let entries = || {
        text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?.parse().ok()?);
            Some((name, number))
        })
    };
    let number: Option<u32> = wanted.parse().ok();
    entries().find(|(name, _)| *name == wanted).or_else(|| entries().find(|(_, id)| Some(*id) == number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbob:x:1001:100::/:/bin/sh\n\
                carol:x:1002:1002::/:/bin/sh\n4242:x:77:77::/:/bin/sh\nodd line\n"
                .to_owned(),
            group: "users:x:100:\nshared:x:500:alice\n".to_owned(),
            subuid: "alice:100000:65536\n# a comment\n1001:165536:1000\nbob:300000:10\ncarol:x:1\ncarol:400000:0\n\
                77:500000:5\n"
                .to_owned(),
            subgid: "alice:100000:65536\nbob:165536:65536\nshared:600000:7\n".to_owned(),
        }
    }

    fn printed(maps: Result<IdMaps>) -> String {
        match maps {
            Ok(IdMaps { uids, gids }) => format!("users {uids}\ngroups {gids}\n").replace('\n', "\n  "),
            Err(error) => format!("{error}\n"),
        }
    }

    #[test]
    fn an_ordinary_user_is_root_and_the_rest_follows() {
        let accounts = accounts();
        let said: String = [(1000, 1000), (1001, 100), (1002, 1002), (0, 0), (5555, 5555)]
            .into_iter()
            .map(|(uid, gid)| {
                let user = accounts.user(uid, gid);
                format!("{user:?}\n  {}\n", printed(accounts.own_maps(&user)))
            })
            .collect();
        insta::assert_snapshot!(said);
    }

    #[test]
    fn what_userns_remap_takes() {
        let said: String = [
            "alice",
            "1000",
            "alice:shared",
            "1000:500",
            "bob",
            "4242",
            "carol",
            "alice:users",
            "default",
            "nobody",
            "alice:nogroup",
            "",
            ":",
            "alice:",
            "alice:1:2",
        ]
        .into_iter()
        .map(|text| format!("{text}\n  {}\n", printed(accounts().remapped(text))))
        .collect();
        insta::assert_snapshot!(said);
    }

    #[test]
    fn a_hosts_first_user_is_advised_the_usual_ids() {
        let accounts = Accounts { passwd: accounts().passwd, ..Accounts::default() };
        assert!(printed(accounts.remapped("alice")).contains("--add-subuids 100000-165535"));
    }
}
