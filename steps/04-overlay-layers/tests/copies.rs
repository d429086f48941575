//! Trees as archives, and archives put into trees that are in use.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use common::{Archive, assert_same, open, tree, unpack};
use overlay_layers::{Ownership, extract, write_tree};
use tar::EntryType;

const AS_THEY_ARE: &(dyn Fn(u32, u32) -> (u32, u32) + Sync) = &|uid, gid| (uid, gid);

/// Copies `from` of one directory into another, under another name.
fn copy(from: &Path, start: &str, to: &Path, name: &str, ownership: Ownership<'_>) -> Result<(), String> {
    let mut archive = Vec::new();
    let (from, to) = (open(from), open(to));
    let written =
        write_tree(from.as_fd(), Path::new(start), Path::new(name), AS_THEY_ARE, &mut archive).unwrap();
    assert_eq!(written, archive.len() as u64);
    extract(to.as_fd(), &*archive, ownership, true).map(drop).map_err(|error| error.to_string())
}

fn source() -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    let archive = Archive::new()
        .with("tree/", EntryType::Directory, "", b"", |header| {
            header.set_mode(0o1750);
            header.set_uid(7);
        })
        .with("tree/program", EntryType::Regular, "", b"x", |header| {
            header.set_mode(0o4755);
            header.set_gid(8);
        })
        .member("tree/other", EntryType::Link, "tree/program", b"")
        .symlink("tree/link", "/etc/passwd")
        .member("tree/fifo", EntryType::Fifo, "", b"")
        .directory("tree/empty/")
        .file("tree/data", "data");
    unpack(source.path(), &archive.bytes()).unwrap();
    fs::write(source.path().join("tree/.wh.data"), "no whiteout").unwrap();
    source
}

#[test]
fn a_copy_is_the_same_in_every_respect() {
    let (source, target) = (source(), tempfile::tempdir().unwrap());
    copy(source.path(), "tree", target.path(), "copy", Ownership::Kept(AS_THEY_ARE)).unwrap();
    assert_same(&tree(&source.path().join("tree")), &tree(&target.path().join("copy")));
    let names = |path: &Path| {
        [fs::metadata(path.join("program")).unwrap().ino(), fs::metadata(path.join("other")).unwrap().ino()]
    };
    // One file alone, under another name.
    copy(source.path(), "tree/data", target.path(), "one", Ownership::Kept(AS_THEY_ARE)).unwrap();
    assert_eq!(fs::read_to_string(target.path().join("one")).unwrap(), "data");
    let [first, second] = names(&target.path().join("copy"));
    assert_eq!(first, second);
}

#[test]
fn what_is_given_away_loses_its_privileges() {
    let (source, target) = (source(), tempfile::tempdir().unwrap());
    let before = fs::metadata(target.path()).unwrap();
    copy(source.path(), "tree", target.path(), "", Ownership::Given(5, 6)).unwrap();
    let program = fs::metadata(target.path().join("program")).unwrap();
    assert_eq!((program.uid(), program.gid(), program.mode() & 0o7777), (5, 6, 0o755));
    // The top of what is copied without its name is the caller's.
    let after = fs::metadata(target.path()).unwrap();
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
}

#[test]
fn nothing_gives_way_to_another_kind() {
    let (source, target) = (source(), tempfile::tempdir().unwrap());
    let all = |target: &Path| copy(source.path(), "tree", target, "", Ownership::Given(0, 0));
    fs::create_dir(target.path().join("data")).unwrap();
    insta::assert_snapshot!(all(target.path()).unwrap_err(), @r#"cannot overwrite directory "data" with non-directory"#);
    fs::remove_dir(target.path().join("data")).unwrap();
    fs::write(target.path().join("empty"), "").unwrap();
    insta::assert_snapshot!(all(target.path()).unwrap_err(), @r#"cannot overwrite non-directory "empty" with directory"#);
}

#[test]
fn a_link_in_the_target_leads_nowhere_else() {
    let (target, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim");
    fs::write(&victim, "whole").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&victim, Some(1), Some(1)).unwrap();
    symlink(&victim, target.path().join("file")).unwrap();
    symlink(outside.path(), target.path().join("directory")).unwrap();
    let archive = Archive::new().file("file", "new").file("directory/victim", "new").bytes();
    // The second link leads to where there is nothing, below the target.
    let refused = extract(open(target.path()).as_fd(), &*archive, Ownership::Given(0, 0), false);
    assert!(refused.is_err());
    assert_eq!(fs::read_to_string(target.path().join("file")).unwrap(), "new");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "whole");
    let kept = fs::metadata(&victim).unwrap();
    assert_eq!((kept.uid(), kept.mode() & 0o777), (1, 0o600));
}
