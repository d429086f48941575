//! Files that are copied into containers and out of them, while what runs there has other plans.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use testbed::engine::Engine;
use testbed::until;

use crate::roots::{Scene, meanwhile};

/// A container with a volume at `/vol`.
fn container(engine: &Engine, line: &str) {
    let line = format!("{line}; echo ready; sleep 1000");
    engine.ok(&["run", "-d", "--name", "box", "-v", "shared:/vol", "busybox", "sh", "-c", &line]);
    until("it is ready", || engine.ok(&["logs", "box"]).contains("ready"));
}

/// Links that lead outside, for whoever follows them on the host: no file comes from there, and none goes there.
#[test]
fn links_of_the_containers() {
    let scene = Scene::new();
    fs::write(scene.engine.folder().join("file"), "new").unwrap();
    container(&scene.engine, "mkdir /vol/dir");
    scene.engine.ok(&["create", "--name", "resting", "-v", "shared:/vol", "busybox"]);
    let secrets = scene.engine.folder().join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("key"), "secret").unwrap();
    let volume = scene.engine.data().join("volumes/shared/_data");
    for (number, link) in scene.links().iter().enumerate() {
        symlink(link, volume.join(format!("out{number}"))).unwrap();
        symlink(link.replace("outside", "secrets"), volume.join(format!("in{number}"))).unwrap();
        symlink(link.replace("outside", "secrets/key"), volume.join(format!("key{number}"))).unwrap();
        for name in ["box", "resting"] {
            for to in [format!("out{number}"), format!("out{number}/"), format!("out{number}/x")] {
                scene.engine.run(&["cp", "file", &format!("{name}:/vol/{to}")]);
            }
            for from in [format!("in{number}/key"), format!("in{number}/."), format!("key{number}")] {
                scene.engine.run(&["cp", "-L", &format!("{name}:/vol/{from}"), "got"]);
                let got = scene.engine.folder().join("got");
                let leaked = [got.clone(), got.join("key")]
                    .iter()
                    .any(|path| fs::read(path).is_ok_and(|text| text == b"secret"));
                assert!(!leaked, "{name}:{from}");
            }
            scene.is_untouched(link);
        }
    }
}

/// CVE-2018-15664: between the look at a path and the copy, a part of it becomes a link.
#[test]
fn a_directory_that_becomes_a_link() {
    let scene = Scene::new();
    let secrets = scene.engine.folder().join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("key"), "secret").unwrap();
    fs::create_dir_all(scene.engine.folder().join("tree/deep")).unwrap();
    fs::write(scene.engine.folder().join("tree/deep/x"), "new").unwrap();
    container(&scene.engine, "mkdir -p /vol/a/tree/deep /vol/b; echo mine > /vol/b/key");
    let volume = scene.engine.data().join("volumes/shared/_data");
    symlink(&scene.outside, volume.join("out")).unwrap();
    symlink(&secrets, volume.join("in")).unwrap();
    let swap = || {
        for (directory, link) in [("a", "out"), ("b", "in")] {
            renameat_with(CWD, volume.join(directory), CWD, volume.join(link), RenameFlags::EXCHANGE)
                .expect("both are there");
        }
    };
    meanwhile(swap, || {
        let mut copied = 0;
        for _ in 0..60 {
            copied += u32::from(scene.engine.run(&["cp", "tree", "box:/vol/a"]).status.success());
            scene.is_untouched("a copy into what is a link by now");
            copied += u32::from(scene.engine.run(&["cp", "-L", "box:/vol/b/key", "got"]).status.success());
            let got = fs::read_to_string(scene.engine.folder().join("got")).unwrap_or_default();
            assert_ne!(got, "secret");
        }
        assert!(copied > 0, "there was no race");
    });
}

/// A device node is the device, for whoever may open it: it does not come along. And no file is opened that is one by
/// the time it is read.
#[test]
fn devices_and_pipes_stay_inside() {
    let scene = Scene::new();
    container(
        &scene.engine,
        "mkdir /dir; mknod -m 666 /dir/disk b 7 0; mknod /dir/pipe p; echo x > /dir/file",
    );
    scene.engine.ok(&["cp", "-a", "box:/dir", "got"]);
    let got = scene.engine.folder().join("got");
    assert_eq!(Engine::entries(&got), ["file", "pipe"]);
    assert!(!Path::new(&got).join("disk").exists());
}
