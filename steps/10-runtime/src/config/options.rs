//! A mount's options (runtime-spec, `config.md`, "Linux mount options").

use chroot::mount::{Change, Propagation};

use super::at;
use crate::error::Result;

/// `MOUNT_ATTR_*` of `mount_setattr(2)`.
const READ_ONLY: u64 = 0x1;
const NO_SUID: u64 = 0x2;
const NO_DEV: u64 = 0x4;
const NO_EXEC: u64 = 0x8;
const ACCESS_TIME: u64 = 0x70;
const NO_ACCESS_TIME: u64 = 0x10;
const STRICT_ACCESS_TIME: u64 = 0x20;
const NO_DIR_ACCESS_TIME: u64 = 0x80;
const NO_SYMLINKS: u64 = 0x20_0000;

/// Flags of a mount, and what each sets and clears. With an `r` before it, it is for all that is mounted below too.
const FLAGS: [(&str, u64, u64); 17] = [
    ("ro", READ_ONLY, 0),
    ("rw", 0, READ_ONLY),
    ("nosuid", NO_SUID, 0),
    ("suid", 0, NO_SUID),
    ("nodev", NO_DEV, 0),
    ("dev", 0, NO_DEV),
    ("noexec", NO_EXEC, 0),
    ("exec", 0, NO_EXEC),
    ("noatime", NO_ACCESS_TIME, ACCESS_TIME),
    ("atime", 0, ACCESS_TIME),
    ("relatime", 0, ACCESS_TIME),
    ("norelatime", 0, ACCESS_TIME),
    ("strictatime", STRICT_ACCESS_TIME, ACCESS_TIME),
    ("nodiratime", NO_DIR_ACCESS_TIME, 0),
    ("diratime", 0, NO_DIR_ACCESS_TIME),
    ("nosymfollow", NO_SYMLINKS, 0),
    ("symfollow", 0, NO_SYMLINKS),
];

/// Flags that file systems take for themselves, and what undoes each, which is how it is anyway.
const OF_THE_FILE_SYSTEM: [(&str, &str); 4] =
    [("sync", "async"), ("dirsync", ""), ("lazytime", "nolazytime"), ("mand", "nomand")];

const PROPAGATIONS: [(&str, Propagation); 4] = [
    ("private", Propagation::Private),
    ("slave", Propagation::Slave),
    ("shared", Propagation::Shared),
    ("unbindable", Propagation::Unbindable),
];

/// Options, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Whether a piece of the host's tree is bound, and if so, whether with what is mounted in it.
    pub(super) bind: Option<bool>,
    /// Flags of the mount itself.
    pub(super) change: Change,
    /// Flags of all that is mounted in it too.
    pub(super) change_all: Change,
    /// Where later mounts travel, and whether that is for all that is mounted in it too.
    pub(super) propagation: Option<(Propagation, bool)>,
    /// Whether the directory's contents are copied into the new file system.
    pub(super) copy_up: bool,
    /// Whether its owners are mapped, and if so, whether those of all that is mounted in it too.
    pub(super) mapped: Option<bool>,
    /// Whether nothing is mounted, but what is there already is changed.
    pub(super) remount: bool,
    /// The file system's own.
    pub(super) data: Vec<(String, Option<String>)>,
}

impl Options {
    pub(super) fn read(field: &str, texts: &[String]) -> Result<Self> {
        let mut options = Self::default();
        for text in texts {
            options.add(text).map_err(|reason| at(field, format!("{text:?} {reason}")))?;
        }
        Ok(options)
    }

    fn add(&mut self, text: &str) -> Result<(), &'static str> {
        if let Some(change) = flag(text) {
            self.change = then(self.change, change);
        } else if let Some(change) = text.strip_prefix('r').and_then(flag) {
            self.change_all = then(self.change_all, change);
        } else if let Some(propagation) = propagation(text) {
            self.propagation = Some(propagation);
        } else {
            match text {
                "bind" => self.bind = Some(self.bind.unwrap_or(false)),
                "rbind" => self.bind = Some(true),
                "tmpcopyup" => self.copy_up = true,
                "idmap" | "ridmap" => self.mapped = Some(text == "ridmap"),
                "defaults" | "loud" => {}
                "remount" => self.remount = true,
                "iversion" | "noiversion" | "silent" => return Err("is not supported"),
                "" => return Err("is no option"),
                _ => self.add_data(text),
            }
        }
        Ok(())
    }

    fn add_data(&mut self, text: &str) {
        if OF_THE_FILE_SYSTEM.iter().any(|(_, usual)| *usual == text) {
            return;
        }
        self.data.push(match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        });
    }

    /// The first option that only a new file system can have.
    pub(super) fn only_of_file_systems(&self) -> Option<&str> {
        let flag = self.data.iter().map(|(key, _)| key.as_str()).next();
        if self.copy_up { Some("tmpcopyup") } else { flag }
    }

    /// Whether the mount is to be read-only.
    pub(super) fn is_read_only(&self) -> bool {
        self.change.set & READ_ONLY != 0
    }

    /// Whether the mount is to be read-only, which for a new file system comes last: others may be mounted in it.
    pub(super) fn take_read_only(&mut self) -> bool {
        let read_only = self.is_read_only();
        self.change.set &= !READ_ONLY;
        read_only
    }
}

fn flag(text: &str) -> Option<Change> {
    let found = FLAGS.iter().find(|(name, _, _)| *name == text);
    found.map(|&(_, set, clear)| Change { set, clear })
}

/// One change and then another: the later one counts.
fn then(first: Change, second: Change) -> Change {
    let touched = second.set | second.clear;
    Change { set: first.set & !touched | second.set, clear: first.clear & !second.set | second.clear }
}

fn propagation(text: &str) -> Option<(Propagation, bool)> {
    let find = |text: &str| PROPAGATIONS.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
    find(text).map(|kind| (kind, false)).or_else(|| Some((find(text.strip_prefix('r')?)?, true)))
}

/// Where mounts made below the root travel (`linux.rootfsPropagation`); without a word, nowhere.
pub(super) fn of_the_root(text: &str) -> Result<Propagation> {
    if text.is_empty() {
        return Ok(Propagation::Private);
    }
    propagation(text)
        .map(|(kind, _)| kind)
        .ok_or_else(|| at("linux.rootfsPropagation", format!("{text:?} is unknown")))
}

/// All options that are known, sorted.
pub(super) fn known() -> Vec<String> {
    let flags = FLAGS.iter().flat_map(|(name, _, _)| [(*name).to_owned(), format!("r{name}")]);
    let own = OF_THE_FILE_SYSTEM.iter().flat_map(|(name, usual)| [(*name).to_owned(), (*usual).to_owned()]);
    let propagations = PROPAGATIONS.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("r{name}")]);
    let others = ["bind", "rbind", "idmap", "ridmap", "remount", "tmpcopyup", "defaults"].map(str::to_owned);
    let mut all: Vec<String> =
        flags.chain(own).chain(propagations).chain(others).filter(|name| !name.is_empty()).collect();
    all.sort();
    all
}
