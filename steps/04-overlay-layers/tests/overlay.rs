//! Overlays, mounted for real. They have no place in any tree (they are reached through their descriptor), so nothing
//! is left of them when the test ends, however it ends.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Archive, assert_same, describe, through, tree, unpack};
use overlay_layers::{Marks, Overlay, Upper, changes, usage, write_layer};
use tar::EntryType;

/// A layer beside others in a temporary directory.
fn layer(directory: &Path, name: &str, archive: &Archive) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir(&path).unwrap();
    unpack(&path, &archive.bytes()).unwrap();
    path
}

fn base() -> Archive {
    Archive::new()
        .with("./", EntryType::Directory, "", b"", |h| h.set_mode(0o755))
        .directory("etc/")
        .file("etc/passwd", "root")
        .file("etc/group", "root")
        .directory("opt/")
        .directory("opt/deep/")
        .file("opt/deep/a", "a")
        .file("opt/deep/b", "b")
        .directory("var/")
        .directory("var/lib/")
        .file("var/lib/state", "1")
        .symlink("lib", "usr/lib")
        .file("old", "old")
}

fn diff(upper: &Path, lowers: &[PathBuf]) -> String {
    let changes = changes(upper, lowers, Marks::Trusted).unwrap();
    changes.iter().map(|change| format!("{change}\n")).collect()
}

/// Mounts the layers with an upper directory, runs `change` in the merged tree, and returns the upper.
fn changed(directory: &Path, lowers: &[PathBuf], change: impl FnOnce(&Path)) -> PathBuf {
    let upper = Upper::make(directory, &lowers[0]).unwrap();
    let overlay = Overlay { lowers: lowers.to_vec(), upper: Some(upper.clone()), ..Overlay::default() };
    let mount = overlay.mount().unwrap();
    change(&through(&mount));
    upper.upper
}

/// What a container might do.
fn busy(root: &Path) {
    let at = |path: &str| root.join(path);
    fs::write(at("etc/passwd"), "root\nuser").unwrap();
    fs::remove_file(at("etc/group")).unwrap();
    fs::remove_dir_all(at("opt/deep")).unwrap();
    fs::create_dir(at("opt/deep")).unwrap();
    fs::write(at("opt/deep/b"), "b").unwrap();
    fs::write(at("opt/deep/c"), "c").unwrap();
    fs::remove_file(at("lib")).unwrap();
    fs::create_dir(at("lib")).unwrap();
    fs::write(at("lib/so"), "elf").unwrap();
    fs::remove_file(at("old")).unwrap();
    symlink("x".repeat(120), at("old")).unwrap();
    fs::create_dir(at("new")).unwrap();
    fs::write(at("new/one"), "1").unwrap();
    fs::hard_link(at("new/one"), at("new/two")).unwrap();
    fs::set_permissions(at("new/one"), fs::Permissions::from_mode(0o4711)).unwrap();
    chown(at("new"), Some(3_000_000), Some(12)).unwrap();
    fs::write(at("new/.wh-not"), "").unwrap();
    let long = format!("new/{}", "long".repeat(40));
    fs::write(at(&long), "long").unwrap();
    rustix::fs::setxattr(at("new/one"), "trusted.note", b"a\nb", rustix::fs::XattrFlags::empty()).unwrap();
    let (null, fifo) = (rustix::fs::makedev(1, 3), rustix::fs::FileType::Fifo);
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(rustix::fs::CWD, at("new/null"), rustix::fs::FileType::CharacterDevice, mode, null)
        .unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("new/fifo"), fifo, mode, 0).unwrap();
    std::os::unix::net::UnixListener::bind(at("new/socket")).unwrap();
}

const BUSY: &str = "\
C /etc
D /etc/group
C /etc/passwd
C /lib
A /lib/so
A /new
A /new/.wh-not
A /new/fifo
A /new/LONG
A /new/null
A /new/one
A /new/socket
A /new/two
C /old
C /opt
C /opt/deep
D /opt/deep/a
C /opt/deep/b
A /opt/deep/c
";

#[test]
fn the_upper_layer_wins() {
    let directory = tempfile::tempdir().unwrap();
    let bottom = layer(directory.path(), "bottom", &base());
    let middle =
        Archive::new().file("etc/.wh.group", "").file("opt/deep/.wh..wh..opq", "").file("opt/deep/c", "c");
    let middle = layer(directory.path(), "middle", &middle);
    let top = layer(directory.path(), "top", &Archive::new().file("old", "new").file(".wh.lib", ""));
    let mount = Overlay { lowers: vec![top, middle, bottom], ..Overlay::default() }.mount().unwrap();
    let root = through(&mount);
    assert_eq!(fs::read_to_string(root.join("old")).unwrap(), "new");
    assert_eq!(fs::read_to_string(root.join("etc/passwd")).unwrap(), "root");
    assert!(!root.join("etc/group").exists());
    assert!(fs::symlink_metadata(root.join("lib")).is_err());
    let deep: Vec<_> = fs::read_dir(root.join("opt/deep")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(deep, ["c"]);
    let error = fs::write(root.join("old"), "x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
}

#[test]
fn two_hundred_layers() {
    let directory = tempfile::tempdir().unwrap();
    // Long paths, so that all of them would never fit into the one page of mount(2).
    let layers = directory.path().join("layers-in-a-directory-with-a-long-name".repeat(3));
    fs::create_dir(&layers).unwrap();
    let mut lowers: Vec<PathBuf> = (0..200)
        .map(|i| {
            let archive =
                Archive::new().file(&format!("file{i}"), &i.to_string()).file("top", &i.to_string());
            layer(&layers, &format!("{i:064}"), &archive)
        })
        .collect();
    lowers.reverse();
    // Both ways in: what is too long for the call, or would be read as a list, goes by descriptor.
    let odd = layer(&layers, &format!("odd,na:me\\{}", "x".repeat(150)), &Archive::new().file("odd", "odd"));
    lowers.push(odd);
    let upper = Upper::make(directory.path(), &lowers[0]).unwrap();
    let overlay = Overlay { lowers, upper: Some(upper), ..Overlay::default() };
    let one_string = Overlay { lowers: overlay.lowers[..150].to_vec(), ..overlay.clone() };
    for lowest in [0, 50] {
        let mount = if lowest == 0 { overlay.mount() } else { one_string.mount_in_one_string() }.unwrap();
        let root = through(&mount);
        assert_eq!(fs::read_to_string(root.join("top")).unwrap(), "199");
        for i in lowest..200 {
            assert_eq!(fs::read_to_string(root.join(format!("file{i}"))).unwrap(), i.to_string());
        }
        assert_eq!(root.join("odd").exists(), lowest == 0);
        fs::write(root.join("file199"), "changed").unwrap();
        fs::remove_file(root.join("file199")).unwrap();
        drop(mount);
        fs::remove_file(overlay.upper.as_ref().unwrap().upper.join("file199")).unwrap();
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.path().to_str().unwrap()), "a mount was left");
}

#[test]
fn the_kernels_refusal_is_passed_on() {
    let directory = tempfile::tempdir().unwrap();
    let overlay = Overlay { lowers: vec![directory.path().join("missing"); 2], ..Overlay::default() };
    let error = overlay.mount().unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("ENOENT"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn the_plan_is_plain_data() {
    let overlay = Overlay {
        lowers: vec!["/layers/b".into(), "/layers/a".into()],
        upper: Some(Upper { upper: "/c/upper".into(), work: "/c/work".into() }),
        volatile: true,
        marks: Marks::User,
    };
    let plan: Vec<_> = overlay.plan().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(plan.join("\n"), @r"
    redirect_dir=nofollow
    index=off
    metacopy=off
    xino=off
    userxattr
    lowerdir+=/layers/b
    lowerdir+=/layers/a
    upperdir=/c/upper
    workdir=/c/work
    volatile
    ");
}

#[test]
fn changes_as_docker_diff_lists_them() {
    let directory = tempfile::tempdir().unwrap();
    let lowers = [layer(directory.path(), "base", &base())];
    let upper = changed(directory.path(), &lowers, busy);
    assert_eq!(diff(&upper, &lowers).replace(&"long".repeat(40), "LONG"), BUSY);
    assert_eq!(
        usage(&upper).unwrap(),
        fs::metadata(upper.join("etc/passwd")).unwrap().len() + 1 + 1 + 3 + 120 + 1 + 4
    );
}

#[test]
fn a_directory_that_was_only_copied_up_is_no_change() {
    let directory = tempfile::tempdir().unwrap();
    let lowers = [layer(directory.path(), "base", &base())];
    let upper = changed(directory.path(), &lowers, |root| {
        // Copied up with the directories above it, and unchanged.
        let times = fs::metadata(root.join("var/lib")).unwrap();
        fs::set_permissions(root.join("var/lib"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(root.join("var/lib"), times.permissions()).unwrap();
        // Here only the directory's own mode is different.
        fs::set_permissions(root.join("opt/deep"), fs::Permissions::from_mode(0o700)).unwrap();
        // Added and removed again: only the directory's time tells.
        fs::write(root.join("etc/x"), "").unwrap();
        fs::remove_file(root.join("etc/x")).unwrap();
    });
    assert!(upper.join("var/lib").is_dir(), "overlayfs copied it up");
    assert_eq!(diff(&upper, &lowers), "C /etc\nC /opt\nC /opt/deep\n");
}

#[test]
fn changes_against_many_layers() {
    let directory = tempfile::tempdir().unwrap();
    let bottom = layer(directory.path(), "bottom", &base());
    let middle =
        Archive::new().file(".wh.old", "").file(".wh.opt", "").directory("opt/").file("etc/new", "1");
    let middle = layer(directory.path(), "middle", &middle);
    let lowers = [middle, bottom];
    let upper = changed(directory.path(), &lowers, |root| {
        assert!(!root.join("opt/deep").exists() && !root.join("old").exists());
        fs::write(root.join("old"), "again").unwrap();
        fs::create_dir(root.join("opt/deep")).unwrap();
        fs::write(root.join("opt/deep/a"), "new").unwrap();
        fs::remove_dir_all(root.join("etc")).unwrap();
    });
    // What a middle layer hides does not count: these are new, and not changed.
    assert_eq!(diff(&upper, &lowers), "D /etc\nA /old\nC /opt\nA /opt/deep\nA /opt/deep/a\n");
}

#[test]
fn a_written_layer_gives_the_same_tree_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let lowers = [layer(directory.path(), "base", &base())];
    let upper = changed(directory.path(), &lowers, busy);
    fs::remove_file(upper.join("new/socket")).unwrap();
    let mut tar = Vec::new();
    let written = write_layer(&upper, &lowers, Marks::Trusted, &mut tar).unwrap();
    assert_eq!(written.tar_size, tar.len() as u64);
    assert_eq!(written.diff_id.0, overlay_layers::Digest::of(&tar));

    let again = directory.path().join("again");
    fs::create_dir(&again).unwrap();
    unpack(&again, &tar).unwrap();
    let show = |top: &Path| {
        let mount = Overlay { lowers: vec![top.to_owned(), lowers[0].clone()], ..Overlay::default() }
            .mount()
            .unwrap();
        tree(&through(&mount))
    };
    let (mut one, mut two) = (show(&upper), show(&again));
    // A layer has no member for its root.
    assert!(one.remove(Path::new(".")).is_some() && two.remove(Path::new(".")).is_some());
    assert!(one.len() > 15);
    assert_same(&one, &two);
    // And it is the same layer again.
    let mut second = Vec::new();
    assert_eq!(write_layer(&again, &lowers, Marks::Trusted, &mut second).unwrap(), written);
    assert!(tar == second);
}

/// Gives everything the same time.
fn set_times(upper: &Path) {
    for path in tree(upper).keys() {
        let time = rustix::fs::Timespec { tv_sec: 1_234_567_890, tv_nsec: 0 };
        let stamps = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, upper.join(path), &stamps, nofollow).unwrap();
    }
}

#[test]
fn a_layer_is_reproducible() {
    let directory = tempfile::tempdir().unwrap();
    let lowers = [layer(directory.path(), "base", &base())];
    let mut tars = Vec::new();
    for run in ["one", "two"] {
        let place = directory.path().join(run);
        fs::create_dir(&place).unwrap();
        let upper = changed(&place, &lowers, busy);
        set_times(&upper);
        // Reading changes access times, and must not show.
        fs::read(upper.join("new/one")).unwrap();
        let mut tar = Vec::new();
        write_layer(&upper, &lowers, Marks::Trusted, &mut tar).unwrap();
        tars.push(tar);
    }
    assert!(tars[0] == tars[1], "the same changes gave different bytes");
}

#[test]
fn gnu_tar_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let lowers = [layer(directory.path(), "base", &base())];
    let upper = changed(directory.path(), &lowers, busy);
    set_times(&upper);
    let path = directory.path().join("layer.tar");
    let written = write_layer(&upper, &lowers, Marks::Trusted, fs::File::create(&path).unwrap()).unwrap();
    assert_eq!(written.tar_size, fs::metadata(&path).unwrap().len());
    let listed = Command::new("tar").args(["--numeric-owner", "--utc", "-tvf"]).arg(&path).output().unwrap();
    assert!(listed.status.success() && listed.stderr.is_empty(), "GNU tar complains: {listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    insta::assert_snapshot!(listed.replace(&"long".repeat(40), "LONG").replace(&"x".repeat(120), "X"), @r"
    drwxr-xr-x 0/0               0 2009-02-13 23:31 etc/
    ---------- 0/0               0 1970-01-01 00:00 etc/.wh.group
    -rw-r--r-- 0/0               9 2009-02-13 23:31 etc/passwd
    drwxr-xr-x 0/0               0 2009-02-13 23:31 lib/
    ---------- 0/0               0 1970-01-01 00:00 lib/.wh..wh..opq
    -rw-r--r-- 0/0               3 2009-02-13 23:31 lib/so
    drwxr-xr-x 3000000/12        0 2009-02-13 23:31 new/
    -rw-r--r-- 0/0               0 2009-02-13 23:31 new/.wh-not
    prw-r----- 0/0               0 2009-02-13 23:31 new/fifo
    -rw-r--r-- 0/0               4 2009-02-13 23:31 new/LONG
    crw-r----- 0/0             1,3 2009-02-13 23:31 new/null
    -rws--x--x 0/0               1 2009-02-13 23:31 new/one
    hrws--x--x 0/0               0 2009-02-13 23:31 new/two link to new/one
    lrwxrwxrwx 0/0               0 2009-02-13 23:31 old -> X
    drwxr-xr-x 0/0               0 2009-02-13 23:31 opt/
    drwxr-xr-x 0/0               0 2009-02-13 23:31 opt/deep/
    ---------- 0/0               0 1970-01-01 00:00 opt/deep/.wh..wh..opq
    -rw-r--r-- 0/0               1 2009-02-13 23:31 opt/deep/b
    -rw-r--r-- 0/0               1 2009-02-13 23:31 opt/deep/c
    ");
}

#[test]
fn a_whole_tree_is_a_layer_too() {
    let directory = tempfile::tempdir().unwrap();
    let root = layer(directory.path(), "root", &base());
    let mut tar = Vec::new();
    write_layer(&root, &[], Marks::Trusted, &mut tar).unwrap();
    let again = directory.path().join("again");
    fs::create_dir(&again).unwrap();
    unpack(&again, &tar).unwrap();
    let (mut one, mut two) = (tree(&root), tree(&again));
    assert!(one.remove(Path::new(".")).is_some() && two.remove(Path::new(".")).is_some());
    assert_same(&one, &two);
}

#[test]
fn the_root_of_a_container_looks_like_its_images() {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::new().with("./", EntryType::Directory, "", b"", |h| {
        h.set_mode(0o1751);
        h.set_uid(5);
    });
    let root = layer(directory.path(), "root", &archive);
    let upper = Upper::make(directory.path(), &root).unwrap();
    assert_eq!(describe(&upper.upper), describe(&root));
    assert_eq!(fs::metadata(&upper.upper).unwrap().uid(), 5);
    // A container that is started again finds what it wrote.
    fs::write(upper.upper.join("kept"), "").unwrap();
    assert_eq!(Upper::make(directory.path(), &root).unwrap(), upper);
    assert!(upper.upper.join("kept").exists());
}
