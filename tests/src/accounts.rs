//! A host with one user more, whom only a test and what it starts know.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::mounts;

/// The user to be known.
pub struct Account<'a> {
    /// The name, of the user's group too.
    pub name: &'a str,
    /// The id, of the user's group too.
    pub id: u32,
    /// The home.
    pub home: &'a Path,
    /// The first of 65536 subordinate ids, if there are any.
    pub subordinate: Option<u32>,
}

impl Account<'_> {
    /// Gives this thread, and what it starts, mounts of its own, in which `/etc` knows root and this user. The files lie
    /// in `folder`.
    pub fn bring(&self, folder: &Path) {
        mounts::own();
        let Self { name, id, home, subordinate } = self;
        let spans = subordinate.map(|first| format!("{name}:{first}:65536\n")).unwrap_or_default();
        let home = home.display();
        for (file, text) in [
            ("passwd", format!("root:x:0:0::/root:/bin/sh\n{name}:x:{id}:{id}::{home}:/bin/sh\n")),
            ("group", format!("root:x:0:\n{name}:x:{id}:\n")),
            ("subuid", spans.clone()),
            ("subgid", spans),
        ] {
            fs::write(folder.join(file), text).expect("a folder of our own");
            cover(&folder.join(file), &Path::new("/etc").join(file));
        }
    }
}

/// Shows one file in place of another, in this thread's mounts.
pub fn cover(ours: &Path, theirs: &Path) {
    assert!(theirs.exists(), "{} is needed to be covered", theirs.display());
    mount(Some(ours), theirs, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("a file over a file");
}
