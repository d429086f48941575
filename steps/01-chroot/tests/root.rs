//! Runs the step's program on a real root and looks at what the kernel did.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::rootfs::Rootfs;
use testbed::{output, programs, stdout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_chroot");

/// The step's program, with its root and options, ready for a command.
fn chroot(root: &Rootfs, options: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(options).arg(root.path());
    command
}

/// A shell line inside the root.
fn sh(root: &Rootfs, options: &[&str], line: &str) -> String {
    stdout(chroot(root, options).args(["/bin/sh", "-c", line]))
}

/// An example of this crate, copied into the root.
fn install(root: &Rootfs, example: &str) {
    let from = Path::new(PROGRAM).with_file_name("examples").join(example);
    programs::copy(from, root.join("bin").join(example));
}

fn naive() -> PathBuf {
    Path::new(PROGRAM).with_file_name("examples").join("naive")
}

#[test]
fn the_root_is_the_given_one_and_the_hosts_mounts_are_gone() {
    let root = Rootfs::busybox();
    root.write("marker", "inside\n");
    assert_eq!(sh(&root, &[], "cat /marker; pwd"), "inside\n/\n");
    let mounts = sh(&root, &[], "cut -d' ' -f5 /proc/self/mountinfo");
    for mount in mounts.lines() {
        let ours = ["/", "/proc", "/dev", "/sys"];
        let known = ours.iter().any(|path| mount == *path || mount.starts_with(&format!("{path}/")));
        assert!(known, "{mount} is not a mount of the container's");
    }
}

#[test]
fn nothing_is_mounted_on_the_host() {
    let root = Rootfs::busybox();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    sh(&root, &[], "true");
    assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").unwrap());
}

#[test]
fn the_classic_escape_leaves_chroot_but_not_pivot_root() {
    let root = Rootfs::busybox();
    install(&root, "escape");
    let attacked = output(Command::new(naive()).arg(root.path()).arg("/bin/escape"));
    assert!(attacked.status.success(), "{attacked:?}");
    assert_eq!(String::from_utf8_lossy(&attacked.stdout), "escaped: this / is not the one I was given\n");

    let held = output(chroot(&root, &[]).arg("/bin/escape"));
    assert_eq!(held.status.code(), Some(1), "{held:?}");
    assert_eq!(String::from_utf8_lossy(&held.stdout), "held: walking up ends at the root I was given\n");
}

#[test]
fn dev_holds_the_standard_devices_and_they_work() {
    let root = Rootfs::busybox();
    insta::assert_snapshot!(sh(
        &root,
        &[],
        "cd /dev; stat -c '%n %F %t:%T %a' full null random tty urandom zero; \
        for link in core fd ptmx stderr stdin stdout; do readlink $link; done; stat -c '%n %a' shm pts/ptmx; ls"
    ));
    assert_eq!(
        sh(&root, &[], "head -c 3 /dev/zero | wc -c; echo lost > /dev/null; wc -c < /dev/null"),
        "3\n0\n"
    );
    assert_eq!(sh(&root, &[], "ls -A /dev/shm /dev/mqueue"), "/dev/mqueue:\n\n/dev/shm:\n");
}

#[test]
fn masked_paths_are_empty_and_readonly_paths_refuse_writes() {
    let root = Rootfs::busybox();
    // Not every kernel has every path; those it has must show nothing.
    let paths = chroot::plan::MASKED_PATHS.join(" ");
    let look =
        format!("for p in {paths}; do if [ -d $p ]; then ls -A $p; elif [ -e $p ]; then cat $p; fi; done");
    assert_eq!(sh(&root, &[], &look), "");
    assert_eq!(sh(&root, &[], "stat -c %F /proc/interrupts"), "character special file\n");
    let line = "echo 1 > /proc/sys/kernel/panic || mkdir /sys/fs/x";
    let refused = output(chroot(&root, &[]).args(["/bin/sh", "-c", line]));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
}

#[test]
fn a_read_only_root_refuses_writes_but_its_tmpfs_do_not() {
    let root = Rootfs::busybox();
    let refused = output(chroot(&root, &["--read-only"]).args(["/bin/touch", "/new"]));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Read-only file system"));
    sh(&root, &["--read-only"], "touch /dev/shm/new");
    assert!(!root.join("new").exists());
}

#[test]
fn bind_mounts_show_the_hosts_files() {
    let (root, host) = (Rootfs::busybox(), tempfile::tempdir().unwrap());
    fs::write(host.path().join("file"), "from the host\n").unwrap();
    let source = host.path().display();
    let rw = format!("{source}:/data/deep");
    assert_eq!(
        sh(&root, &["--bind", &rw], "cat /data/deep/file; echo new > /data/deep/new"),
        "from the host\n"
    );
    assert_eq!(fs::read_to_string(host.path().join("new")).unwrap(), "new\n");

    let ro = format!("{source}:/data/deep:ro");
    let refused = output(chroot(&root, &["--bind", &ro]).args(["/bin/touch", "/data/deep/no"]));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Read-only file system"));

    let file = format!("{source}/file:/etc/greeting");
    assert_eq!(sh(&root, &["--bind", &file], "cat /etc/greeting"), "from the host\n");
}

#[test]
fn a_link_in_the_image_cannot_move_a_mount_outside() {
    let (root, host) = (Rootfs::busybox(), tempfile::tempdir().unwrap());
    let victim = host.path().join("victim");
    fs::create_dir(&victim).unwrap();
    // Absolute, and relative with more `..` than there are directories: both lead to the host if joined as text.
    symlink(&victim, root.join("absolute")).unwrap();
    symlink(format!("../../../../../../../..{}", victim.display()), root.join("relative")).unwrap();
    for link in ["absolute", "relative"] {
        let bind = format!("{}:/{link}", root.join("etc").display());
        let seen = sh(&root, &["--bind", &bind], &format!("ls {}", victim.display()));
        assert_eq!(seen, "group\npasswd\n", "the mount follows the link inside the root");
    }
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "nothing was made on the host");
}

/// What a link points at is made inside, wherever on the way to the mount point the link is.
#[test]
fn a_link_to_nothing_yet_is_followed_inside() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "from the host\n").unwrap();
    let source = host.path().display();
    for (target, made) in [("../made", "/made"), ("/made", "/made"), ("made/deep", "/a/made/deep")] {
        for (from, path, file) in [
            (format!("{source}"), "a/link", "file"),
            (format!("{source}"), "a/link/below", "below/file"),
            (format!("{source}/file"), "a/link", ""),
            (format!("{source}/file"), "a/link/below", "below"),
        ] {
            for path in [path.to_owned(), format!("/{path}"), format!("/b/../{path}")] {
                let root = Rootfs::busybox();
                fs::create_dir(root.join("a")).unwrap();
                fs::create_dir(root.join("b")).unwrap();
                symlink(target, root.join("a/link")).unwrap();
                let look = format!("cat {made}/{file}");
                let look = look.trim_end_matches('/');
                let seen = sh(&root, &["--bind", &format!("{from}:{path}")], look);
                assert_eq!(seen, "from the host\n", "{from} at {path}, where a/link is {target}");
            }
        }
    }
}

#[test]
fn an_image_that_makes_proc_or_dev_a_link_is_refused() {
    for name in ["proc", "dev", "sys"] {
        let root = Rootfs::busybox();
        symlink("/etc", root.join(name)).unwrap();
        let refused = output(chroot(&root, &[]).arg("/bin/true"));
        assert_eq!(refused.status.code(), Some(125));
        insta::allow_duplicates! {
            insta::assert_snapshot!(String::from_utf8_lossy(&refused.stderr).replace(name, "NAME"),
                @"chroot: cannot open, inside the root, /NAME: ELOOP: Too many symbolic links encountered (an image may not make this a symbolic link)");
        }
    }
}

#[test]
fn nothing_is_mounted_over_proc() {
    let root = Rootfs::busybox();
    symlink("/proc/sys", root.join("innocent")).unwrap();
    for target in ["/proc", "/proc/sys/kernel", "/innocent"] {
        let bind = format!("{}:{target}", root.join("etc").display());
        let refused = output(chroot(&root, &["--bind", &bind]).arg("/bin/true"));
        assert_eq!(refused.status.code(), Some(125), "{target}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("EPERM"), "{refused:?}");
    }
}

#[test]
fn what_cannot_run_is_told_apart() {
    let root = Rootfs::busybox();
    let said = |command: &[&str]| {
        let output = output(chroot(&root, &[]).args(command));
        format!("{} {}", output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr))
    };
    insta::assert_snapshot!(said(&["nothing"]), @r#"127 chroot: exec: "nothing": executable file not found in $PATH"#);
    insta::assert_snapshot!(said(&["/bin/nothing"]), @r#"127 chroot: exec: "/bin/nothing": no such file or directory"#);
    insta::assert_snapshot!(said(&["/etc/passwd"]), @r#"126 chroot: exec: "/etc/passwd": permission denied"#);
    insta::assert_snapshot!(said(&["/etc"]), @r#"126 chroot: exec: "/etc": permission denied"#);
    let missing = output(Command::new(PROGRAM).args(["/no/such/root", "/bin/true"]));
    assert_eq!(missing.status.code(), Some(125));
    insta::assert_snapshot!(String::from_utf8_lossy(&missing.stderr),
        @"chroot: cannot bind /no/such/root: ENOENT: No such file or directory");
}
