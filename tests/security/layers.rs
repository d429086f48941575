//! What an image's layers hold besides files.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use testbed::engine::Engine;
use testbed::registry::{Compression, Image, Registry, tar_directory};
use testbed::rootfs::Rootfs;

use crate::{import, sh};

/// A link in one layer, and what goes through it in the next: each layer is unpacked by itself, so the link is not
/// there when the next one is, and in the container it leads nowhere but inside.
#[test]
fn a_layer_that_goes_through_the_link_of_another() {
    let (engine, registry) = (Engine::new(), Registry::start());
    let outside = engine.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    for (number, target) in
        [format!("{}", outside.display()), format!("../../../../../../../..{}", outside.display())]
            .iter()
            .enumerate()
    {
        let (lower, upper) = (Rootfs::busybox(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(target, lower.join("up")).unwrap();
        fs::create_dir(upper.path().join("up")).unwrap();
        for name in ["made", ".wh.kept", ".wh..wh..opq"] {
            fs::write(upper.path().join("up").join(name), "").unwrap();
        }
        let layers =
            [lower.path(), upper.path()].map(|path| (tar_directory(path), Compression::Gzip)).to_vec();
        let name = format!("evil{number}");
        registry.push(&name, "1", &Image { layers, ..Image::default() });
        let image = format!("{}/{name}:1", registry.host());
        assert_eq!(engine.ok(&["run", "--rm", &image, "ls", "/up/made"]), "/up/made");
        assert_eq!(Engine::entries(&outside), ["kept"]);
    }
}

/// A device node needs no permission to be in an archive, or to be made by a container that has `CAP_MKNOD`. What it
/// stands for, here the disk that this file lies on, must not be opened.
#[test]
fn the_hosts_disk() {
    let engine = Engine::with_busybox();
    let root = Rootfs::busybox();
    let disk = fs::metadata(".").unwrap().dev();
    let (major, minor) = (rustix::fs::major(disk), rustix::fs::minor(disk));
    let node = |name: &str, kind, major, minor| {
        mknod(&root.join(name), kind, Mode::S_IRWXU, makedev(major, minor)).unwrap();
    };
    node("disk", SFlag::S_IFBLK, major.into(), minor.into());
    node("mem", SFlag::S_IFCHR, 1, 1);
    node("kmsg", SFlag::S_IFCHR, 1, 11);
    import(&engine, "evil", &root);
    let line = format!(
        "mknod /made b {major} {minor}; mknod /vol/made b {major} {minor}; mknod /dev/made b {major} {minor}
         for node in /disk /mem /kmsg /made /vol/made /dev/made; do
             test -e $node || echo $node is missing
             (: < $node) 2>&1; (: >> $node) 2>&1
         done"
    );
    for options in
        [&[][..], &["--init"], &["--cap-add", "SYS_ADMIN"], &["--security-opt", "seccomp=unconfined"]]
    {
        let arguments = [&["run", "--rm", "-v", "vol:/vol"], options, &["evil", "sh", "-c", &line]].concat();
        let output = engine.run(&arguments);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.lines().count(), 12, "{options:?}: {output:?}");
        assert!(
            said.lines().all(|line| line.ends_with(": Operation not permitted")),
            "{options:?}: {output:?}"
        );
        sh(&engine, &["-v", "vol:/vol"], "rm /vol/made");
    }
}

/// A program that belongs to root and is set-user-ID makes root of whoever runs it, unless that was forbidden. The
/// folders of images and volumes are closed to the host's own users: else they would run it there (CVE-2021-41091).
#[test]
fn set_user_id() {
    let engine = Engine::with_busybox();
    let root = Rootfs::busybox();
    // A program of its own: busybox gives the privilege back.
    fs::copy(crate::probe(), root.join("bin/probe")).unwrap();
    fs::set_permissions(root.join("bin/probe"), std::os::unix::fs::PermissionsExt::from_mode(0o4755))
        .unwrap();
    import(&engine, "evil", &root);
    let user = |options: &[&str]| {
        engine.ok(&[&["run", "--rm", "--user", "user"], options, &["evil", "probe", "user"]].concat())
    };
    assert_eq!(user(&[]), "0");
    assert_eq!(user(&["--security-opt", "no-new-privileges"]), "1000");
    assert_eq!(user(&["--init", "--security-opt", "no-new-privileges"]), "1000");
    sh(&engine, &["-v", "vol:/vol"], "true");
    for folder in ["images", "layers", "containers", "volumes"] {
        let mode = fs::metadata(engine.data().join(folder)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700, "{folder}: {mode:o}");
    }
    assert_eq!(fs::metadata(engine.exec()).unwrap().mode() & 0o777, 0o700);
}
