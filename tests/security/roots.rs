//! An image's file system is somebody else's, and so is what a volume holds: wherever the engine makes, mounts or
//! reads something for a container, there may be a link that leads elsewhere.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use testbed::engine::Engine;
use testbed::rootfs::Rootfs;

use crate::{import, sh};

/// An engine, and an empty folder of the host's that must stay so.
pub(crate) struct Scene {
    pub(crate) engine: Engine,
    pub(crate) outside: PathBuf,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let engine = Engine::with_busybox();
        let outside = engine.folder().join("outside");
        fs::create_dir(&outside).expect("a fresh folder");
        Self { engine, outside }
    }

    /// Links that lead outside for whoever follows them on the host.
    pub(crate) fn links(&self) -> [String; 3] {
        let outside = self.outside.display();
        [format!("{outside}"), format!("../../../../../../..{outside}"), format!("/proc/self/root{outside}")]
    }

    /// Nothing was made outside.
    pub(crate) fn is_untouched(&self, how: &str) {
        assert_eq!(Engine::entries(&self.outside), Vec::<String>::new(), "{how}");
    }
}

/// Makes what stands in the way at a path.
type Obstacle<'a> = Box<dyn Fn(&Path) + 'a>;

/// Puts something in the way, and the directories above it.
fn put(root: &Rootfs, place: &str, what: impl FnOnce(&Path)) {
    let path = root.join(&place[1..]);
    fs::create_dir_all(path.parent().expect("it is below the root")).expect("a directory of our own");
    if path.is_file() {
        fs::remove_file(&path).expect("a file of our own");
    } else if path.exists() {
        fs::rename(&path, root.join("moved")).expect("a directory of our own");
    }
    what(&path);
}

fn fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a directory of our own");
}

/// CVE-2019-19921, CVE-2021-30465 and their like: an image with links, files and pipes where directories are due, and
/// directories where files are. Either the container is refused, or it is as any other.
#[test]
fn an_image_with_something_in_every_place() {
    const PLACES: [&str; 10] = [
        "/proc",
        "/sys",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/etc",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/sys/fs/cgroup",
    ];
    let scene = Scene::new();
    let line = "grep -q '^proc /proc proc' /proc/mounts && test ! -w /proc/sys/kernel/core_pattern && \
                echo written > /etc/hosts; touch /sys/x /dev/pts/x /sys/fs/cgroup/x 2>/dev/null; echo whole";
    for place in PLACES {
        let [absolute, relative, magic] = scene.links();
        let kinds: [(&str, Obstacle<'_>); 6] = [
            ("absolute link", Box::new(|path| symlink(&absolute, path).unwrap())),
            ("relative link", Box::new(|path| symlink(&relative, path).unwrap())),
            ("magic link", Box::new(|path| symlink(&magic, path).unwrap())),
            ("file", Box::new(|path| fs::write(path, "").unwrap())),
            ("pipe", Box::new(fifo)),
            ("directory", Box::new(|path| fs::create_dir(path).unwrap())),
        ];
        for (kind, make) in kinds {
            let root = Rootfs::busybox();
            put(&root, place, make);
            import(&scene.engine, "evil", &root);
            let output = scene.engine.run(&["run", "--rm", "evil", "sh", "-c", line]);
            let (said, error) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let refused = output.status.code() == Some(125)
                && error.starts_with("Error: ")
                && error.lines().count() == 1;
            assert!(refused || said == "whole\n", "{kind} at {place}: {said}{error}");
            // These are not put somewhere else.
            if kind.ends_with("link") && ["/proc", "/sys", "/dev"].contains(&place) {
                assert!(error.contains("ELOOP"), "{kind} at {place}: {error}");
            }
            scene.is_untouched(&format!("{kind} at {place}"));
        }
    }
}

/// CVE-2019-16884: an image, or a volume, with a `/proc` of its own makes the engine write to it what should have
/// gone to the kernel.
#[test]
fn a_proc_of_ones_own() {
    let scene = Scene::new();
    let root = Rootfs::busybox();
    for directory in ["proc/self/attr", "proc/sys/kernel", "proc/thread-self/attr/apparmor"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in [
        "proc/self/attr/exec",
        "proc/sys/kernel/core_pattern",
        "proc/thread-self/attr/apparmor/exec",
        "proc/fake",
    ] {
        root.write(file, "fake");
    }
    symlink("/proc", root.join("link")).unwrap();
    symlink("proc/sys", root.join("sys-link")).unwrap();
    import(&scene.engine, "evil", &root);
    let line = "ls /proc/fake; cat /proc/sys/kernel/core_pattern /proc/self/attr/exec";
    let output = scene.engine.run(&["run", "--rm", "evil", "sh", "-c", line]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("fake"), "{output:?}");
    for target in
        ["/proc", "/proc/self/attr", "/proc/sys", "/link", "/link/self", "/sys-link", "/sys-link/kernel"]
    {
        let volume = format!("{}:{target}", scene.outside.display());
        for option in [["-v", &volume], ["-v", &format!("named:{target}")], ["--tmpfs", target]] {
            let refused = scene.engine.fails(&["run", "--rm", option[0], option[1], "evil", "true"]);
            assert!(refused.contains("/proc, on ") && refused.contains("EPERM"), "{option:?}: {refused}");
        }
    }
    scene.is_untouched("volumes over /proc");
}

/// CVE-2025-31133: what hides a file is a mount of `/dev/null`. In a `/dev` of the container's own that is a link, and
/// the file shows what it leads to, writable.
#[test]
fn a_dev_of_ones_own() {
    let scene = Scene::new();
    let dev = scene.engine.folder().join("dev");
    let look = "cat /proc/kcore /proc/keys; echo bad > /proc/kcore";
    for target in ["../proc/sys/kernel/core_pattern", "/etc/passwd", "/proc/self/root/etc/passwd"] {
        fs::create_dir(&dev).unwrap();
        symlink(target, dev.join("null")).unwrap();
        let refused = scene.engine.fails(&["run", "--rm", "-v", "./dev:/dev", "busybox", "sh", "-c", look]);
        assert!(refused.starts_with("125 ") && refused.contains("ELOOP"), "{target}: {refused}");
        fs::remove_dir_all(&dev).unwrap();
    }
    // Without one nothing can be hidden, so nothing is started.
    fs::create_dir(&dev).unwrap();
    let refused = scene.engine.fails(&["run", "--rm", "-v", "./dev:/dev", "busybox", "sh", "-c", look]);
    assert!(refused.starts_with("125 ") && refused.contains("/dev/null"), "{refused}");
}

/// Mounts and working directories behind a link of the image's.
#[test]
fn targets_behind_links() {
    let scene = Scene::new();
    for (number, link) in scene.links().into_iter().enumerate() {
        let root = Rootfs::busybox();
        symlink(&link, root.join("link")).unwrap();
        let image = format!("linked{number}");
        import(&scene.engine, &image, &root);
        for options in [
            ["-v", "./source:/link/x"],
            ["-v", "named:/link/x"],
            ["--tmpfs", "/link/x"],
            ["--tmpfs", "/link"],
            ["-w", "/link"],
            ["-w", "/link/x"],
            ["--device", "/dev/null:/link/x"],
        ] {
            let output = scene.engine.run(&[
                "run",
                "--rm",
                options[0],
                options[1],
                &image,
                "sh",
                "-c",
                "touch /link/y /link/x/y; pwd",
            ]);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() || error.starts_with("Error: ") || error.starts_with("touch: "),
                "{options:?}: {output:?}"
            );
            scene.is_untouched(&format!("{options:?} with {link}"));
        }
    }
}

/// A new volume gets what the image has in its place; an image may say that this is a link to somewhere.
#[test]
fn a_volume_filled_through_a_link() {
    let scene = Scene::new();
    let secret = scene.engine.folder().join("secrets");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "secret").unwrap();
    let target = secret.display();
    for (number, link) in [
        format!("{target}"),
        format!("../../../../../../..{target}"),
        format!("/proc/self/root{target}"),
        format!("/proc/self/cwd/../../..{target}"),
    ]
    .iter()
    .enumerate()
    {
        let root = Rootfs::busybox();
        symlink(link, root.join("data")).unwrap();
        fs::create_dir(root.join("inner")).unwrap();
        symlink(link, root.join("inner/data")).unwrap();
        let image = format!("linked{number}");
        import(&scene.engine, &image, &root);
        for path in ["/data", "/inner/data", "/inner"] {
            let volume = format!("v{number}{}:{path}", path.replace('/', "_"));
            scene.engine.run(&["run", "--rm", "-v", &volume, &image, "true"]);
        }
    }
    for volume in Engine::entries(&scene.engine.data().join("volumes")) {
        let data = scene.engine.data().join("volumes").join(&volume).join("_data");
        // A link is copied as the link that it is.
        let has_key = !data.join("data").is_symlink() && data.join("key").exists();
        assert!(!has_key, "{volume} has a file of the host's");
    }
}

/// Does something over and over while containers start.
pub(crate) fn meanwhile(disturb: impl Fn() + Sync, body: impl FnOnce()) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                disturb();
            }
        });
        let _stop = Stop(&stop);
        body();
    });
}

/// CVE-2021-30465: between the look at a mount's target and the mount, another container that has the same volume puts
/// a link in the target's place.
#[test]
fn a_target_that_becomes_a_link() {
    let scene = Scene::new();
    let [_, relative, _] = scene.links();
    sh(&scene.engine, &["-v", "shared:/vol"], &format!("mkdir /vol/a; ln -s {relative} /vol/link"));
    let volume = scene.engine.data().join("volumes/shared/_data");
    let (directory, link) = (volume.join("a"), volume.join("link"));
    // As the other container would; what it calls them makes no difference.
    let swap = || renameat_with(CWD, &directory, CWD, &link, RenameFlags::EXCHANGE).expect("both are there");
    meanwhile(swap, || {
        for _ in 0..60 {
            let output = scene.engine.run(&[
                "run",
                "--rm",
                "-v",
                "shared:/vol",
                "-v",
                "./inner:/vol/a/b",
                "busybox",
                "grep",
                "-c",
                "outside/b",
                "/proc/self/mountinfo",
            ]);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(error.is_empty() || error.starts_with("Error: "), "{error}");
            scene.is_untouched("a mount below the link");
        }
    });
}

/// The same race for a device: its mode must not be set on whatever is called so by now.
#[test]
fn a_device_that_becomes_a_link() {
    let scene = Scene::new();
    let victim = scene.engine.folder().join("victim");
    fs::write(&victim, "").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    sh(&scene.engine, &["-v", "shared:/vol"], "mkdir /vol/a");
    let volume = scene.engine.data().join("volumes/shared/_data");
    let (node, link) = (volume.join("a/node"), volume.join("link"));
    symlink(&victim, &link).unwrap();
    let swap = || {
        // Until there is a node, it fails.
        if renameat_with(CWD, &link, CWD, &node, RenameFlags::EXCHANGE).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(1));
            renameat_with(CWD, &node, CWD, &link, RenameFlags::empty())
                .expect("the link, back over the node");
        }
    };
    meanwhile(swap, || {
        for _ in 0..60 {
            // If the swap was quick there is no node in the end, and that is an error.
            scene.engine.run(&[
                "run",
                "--rm",
                "-v",
                "shared:/vol",
                "--device",
                "/dev/null:/vol/a/node",
                "busybox",
                "true",
            ]);
            assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o600);
        }
    });
}

/// Whom the program runs as is looked up in the image's files, which may be anything.
#[test]
fn accounts_that_are_no_files() {
    let scene = Scene::new();
    let stranger = scene.engine.folder().join("stranger");
    fs::write(&stranger, "stranger:x:4242:4242::/:/bin/sh\n").unwrap();
    // More than anybody's accounts; the one that is looked for comes last.
    let large = [&b"\n".repeat(64 << 20)[..], &fs::read(&stranger).unwrap()].concat();
    // Not that of an earlier run, which may lie there still.
    let message = format!("a message for somebody else: {}", scene.engine.folder().display());
    fs::write("/dev/kmsg", format!("<7>{message}\n")).unwrap();
    let node = |minor| {
        move |path: &Path| {
            use nix::sys::stat::{Mode, SFlag, makedev, mknod};
            mknod(path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, minor)).unwrap();
        }
    };
    let link = |target: String| move |path: &Path| symlink(&target, path).unwrap();
    let kinds: [(&str, Obstacle<'_>); 9] = [
        ("link outside", Box::new(link(stranger.display().to_string()))),
        ("relative link outside", Box::new(link(format!("../../../../../..{}", stranger.display())))),
        ("endless link", Box::new(link("/dev/zero".to_owned()))),
        ("the kernel's messages", Box::new(link("/proc/kmsg".to_owned()))),
        ("pipe", Box::new(fifo)),
        ("null", Box::new(node(3))),
        ("zero", Box::new(node(5))),
        ("directory", Box::new(|path| fs::create_dir(path).unwrap())),
        ("large file", Box::new(|path| fs::write(path, &large).unwrap())),
    ];
    for (kind, make) in kinds {
        let root = Rootfs::busybox();
        put(&root, "/etc/passwd", &make);
        import(&scene.engine, "evil", &root);
        let mut run =
            scene.engine.command(&["run", "--name", "box", "--user", "stranger", "evil", "id", "-u"]);
        let begun = std::time::Instant::now();
        let output = run.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.starts_with("Error: "), "{kind}: {output:?}");
        assert!(begun.elapsed().as_secs() < 5, "{kind} takes {:?}", begun.elapsed());
        scene.engine.ok(&["rm", "box"]);
    }
    assert!(kernel_messages().contains(&message), "reading took them from the host");
}

/// What waits in `/proc/kmsg`, which gives each message once.
fn kernel_messages() -> String {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open("/proc/kmsg")
        .expect("root reads it");
    let mut text = Vec::new();
    // It ends with EAGAIN.
    file.read_to_end(&mut text).expect_err("it never ends");
    String::from_utf8_lossy(&text).into_owned()
}
