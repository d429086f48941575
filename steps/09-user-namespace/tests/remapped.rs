//! Containers that the host's root starts under other ids.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use common::{Host, PROGRAM, SUBORDINATE, complaint, example, open_to_all};
use overlay_layers::Marks;
use testbed::rootfs::Rootfs;
use testbed::{output, programs, stdout};

/// A shell line inside, by the step's program.
fn sh(root: &Rootfs, options: &[&str], line: &str) -> String {
    stdout(Command::new(PROGRAM).args(options).arg(root.path()).args(["sh", "-c", line]))
}

/// Owner and group on the disk.
fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path.as_ref()).expect("it is there");
    (metadata.uid(), metadata.gid())
}

/// A directory where everybody may make files, and may keep others from removing them.
fn shared() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).expect("our own directory");
    directory
}

#[test]
fn root_inside_is_somebody_else_outside() {
    let (root, shared) = (Rootfs::busybox(), shared());
    let bind = format!("{}:/shared", shared.path().display());
    let seen = sh(
        &root,
        &["--bind", &bind],
        "id -u; cat /proc/self/uid_map /proc/self/gid_map; touch /shared/root; chown 33:999 /shared/root; \
         touch /shared/more; stat -c '%u %g' /shared/root",
    );
    let lines: Vec<String> =
        seen.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, ["0", "0 100000 65536", "0 100000 65536", "33 999"]);
    assert_eq!(owner(shared.path().join("root")), (100_033, 100_999));
    assert_eq!(owner(shared.path().join("more")), (100_000, 100_000));
}

#[test]
fn files_keep_their_owners_inside_and_on_the_disk() {
    let root = Rootfs::busybox();
    root.write("theirs", "");
    root.write("foreign", "");
    chown(root.join("theirs"), Some(33), Some(999)).unwrap();
    // Beyond the map.
    chown(root.join("foreign"), Some(70_000), Some(70_000)).unwrap();
    let seen = sh(&root, &[], "stat -c '%u %g' /bin/busybox /theirs /foreign; touch /new; chown 5:6 /new");
    assert_eq!(seen, "0 0\n33 999\n65534 65534\n");
    assert_eq!(owner(root.join("new")), (5, 6));
    assert_eq!(owner(root.join("theirs")), (33, 999));
}

#[test]
fn the_furniture_is_that_of_any_container() {
    let root = Rootfs::busybox();
    let seen = sh(
        &root,
        &["--cap-add", "all"],
        "cd /dev; stat -c '%n %F %t:%T %a %u' full null random tty urandom zero; \
         for link in core fd ptmx stderr stdin stdout; do readlink $link; done; \
         head -c 3 /dev/zero | wc -c; echo lost > null; stat -c '%F' null; \
         grep -o 'gid=[0-9]*,mode=620' /proc/mounts; ls -A mqueue shm; \
         echo 1 > /proc/sys/kernel/panic || echo read-only; mknod /tmp-node c 1 3 || echo no nodes",
    );
    insta::assert_snapshot!(seen);
}

#[test]
fn the_hosts_mounts_do_not_change() {
    let root = Rootfs::busybox();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    sh(&root, &[], "true");
    assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").unwrap());
}

#[test]
fn a_tree_that_holds_the_scaffold_does_not_show_it() {
    let root = Rootfs::busybox();
    let seen = sh(&root, &["--bind", "/:/host"], "grep -c ' /host/tmp tmpfs' /proc/mounts; true");
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let there = before.lines().filter(|line| line.split(' ').nth(4) == Some("/tmp")).count();
    assert_eq!(seen.trim(), there.to_string());
}

#[test]
fn a_shared_tree_may_lie_where_nobody_else_can_go() {
    let root = Rootfs::busybox();
    // Its parent is root's alone.
    let parent = tempfile::tempdir().unwrap();
    let shared = parent.path().join("shared");
    fs::create_dir(&shared).unwrap();
    open_to_all(&shared);
    fs::write(shared.join("file"), "seen\n").unwrap();
    let bind = format!("{}:/shared", shared.display());
    let file = format!("{}/file:/etc/deep/file", shared.display());
    let line = "cat /shared/file /etc/deep/file; stat -c %u /shared/file; touch /shared/new || echo refused";
    assert_eq!(sh(&root, &["--bind", &bind, "--bind", &file], line), "seen\nseen\n65534\nrefused\n");
}

/// Two layers and a container on them: `base` has files of three owners, `top` one more.
struct Layers {
    base: Rootfs,
    top: tempfile::TempDir,
    own: tempfile::TempDir,
}

impl Layers {
    fn new() -> Self {
        let directory = || tempfile::tempdir().expect("a temporary directory");
        let layers = Self { base: Rootfs::busybox(), top: directory(), own: directory() };
        layers.base.write("page", "base\n");
        layers.base.write("gone", "");
        chown(layers.base.join("page"), Some(33), Some(999)).expect("these tests run as root");
        open_to_all(layers.base.path());
        open_to_all(layers.top.path());
        fs::write(layers.top.path().join("top"), "").expect("a fresh directory");
        layers
    }

    fn run(&self, line: &str) -> String {
        let mut command = Command::new(example("layers"));
        command.arg(self.own.path()).arg(self.top.path()).arg(self.base.path());
        stdout(command.args(["--", "sh", "-c", line]))
    }
}

#[test]
fn layers_are_shown_under_other_owners_without_a_copy() {
    let layers = Layers::new();
    let seen = layers.run(
        "stat -c '%u %g' /page /top /bin; echo more >> /page; touch /new; chown 5:6 /new; rm /gone; \
         rm -r /etc; mkdir /etc; cat /page",
    );
    assert_eq!(seen, "33 999\n0 0\n0 0\nbase\nmore\n");

    // The layers are as they were, and what was written is stored under the ids that it has inside.
    assert_eq!(fs::read_to_string(layers.base.join("page")).unwrap(), "base\n");
    assert_eq!(owner(layers.base.join("page")), (33, 999));
    let upper = layers.own.path().join("upper");
    assert_eq!(owner(upper.join("new")), (5, 6));
    assert_eq!(owner(upper.join("page")), (33, 999));
    let whiteout = fs::symlink_metadata(upper.join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let lowers = [layers.top.path().to_owned(), layers.base.path().to_owned()];
    let changes = overlay_layers::changes(&upper, &lowers, Marks::Trusted).unwrap();
    let changes: String = changes.iter().map(|change| format!("{change}\n")).collect();
    insta::assert_snapshot!(changes);

    // A second start goes on from there.
    assert_eq!(
        layers.run("cat /page; ls -A /etc/* /gone 2> /dev/null; stat -c '%u' /new"),
        "base\nmore\n5\n"
    );
}

#[test]
fn a_file_outside_belongs_to_the_shifted_owner() {
    let layers = Layers::new();
    // The kernel's own word for it: what a process of the host sees of the container's root.
    let mut command = Command::new(example("layers"));
    command.arg(layers.own.path()).arg(layers.top.path()).arg(layers.base.path());
    command.args(["--", "sh", "-c", "echo $$ > /started; sleep 1000"]);
    let mut running = command.spawn().unwrap();
    let upper = layers.own.path().join("upper");
    testbed::until("the container starts", || {
        fs::read_to_string(upper.join("started")).is_ok_and(|text| !text.is_empty())
    });
    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let child = fs::read_to_string(children).unwrap().trim().to_owned();
    let process = Path::new("/proc").join(&child);
    let seen = (owner(&process), owner(process.join("root/page")), owner(process.join("root/started")));
    let killed = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.parse().unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    );
    killed.unwrap();
    running.wait().unwrap();
    assert_eq!(seen, ((100_000, 100_000), (100_033, 100_999), (100_000, 100_000)));
}

#[test]
fn file_capabilities_of_a_layer_work() {
    let layers = Layers::new();
    let program = layers.base.join("grep");
    programs::copy(layers.base.join("bin/busybox"), &program);
    // struct vfs_cap_data (linux/capability.h), revision 2 with the effective bit: CAP_NET_RAW, number 13.
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    rustix::fs::setxattr(&program, "security.capability", &bytes, rustix::fs::XattrFlags::empty()).unwrap();
    let line = "busybox su user -c '/grep CapEff /proc/self/status'";
    assert_eq!(layers.run(line), "CapEff:\t0000000000002000\n");
}

#[test]
fn a_program_of_the_attackers_waits_on_the_host_only_if_root_is_the_hosts() {
    let host = Host::new();
    let root = Rootfs::busybox();
    programs::copy(example("plant"), root.join("bin/plant"));
    let secret = host.path().join("secret");
    fs::write(&secret, "for root only\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    // Everybody can get at it, as at a home directory with mode 755.
    let attack = |command: &mut Command, shared: &Path| {
        stdout(command.arg(root.path()).args(["plant", "/shared"]));
        let planted = shared.join("open");
        // Run where it lies: a copy would not be set-user-ID.
        let seen = stdout(host.user("/bin/busybox").arg("env").arg(&planted).arg(&secret));
        (owner(&planted).0, seen)
    };

    let open = shared();
    let naive = attack(Command::new(example("naive-root")).arg(open.path()), open.path());
    assert_eq!(naive, (0, "as user 0: for root only\n".to_owned()));

    let open = shared();
    let bind = format!("{}:/shared", open.path().display());
    let held = attack(Command::new(PROGRAM).args(["--cap-add", "all", "--bind", &bind]), open.path());
    assert_eq!(held, (100_000, "as user 100000: permission denied\n".to_owned()));
}

#[test]
fn a_secret_of_the_hosts_stays_one() {
    let (root, host) = (Rootfs::busybox(), tempfile::tempdir().unwrap());
    open_to_all(host.path());
    let shadow = host.path().join("shadow");
    fs::write(&shadow, "root:secret\n").unwrap();
    fs::set_permissions(&shadow, fs::Permissions::from_mode(0o640)).unwrap();
    let read = ["sh", "-c", "cat /shared/shadow; echo mine > /shared/new"];
    let naive = stdout(Command::new(example("naive-root")).arg(host.path()).arg(root.path()).args(read));
    assert_eq!(naive, "root:secret\n");
    fs::remove_file(host.path().join("new")).unwrap();

    let bind = format!("{}:/shared", host.path().display());
    let mut command = Command::new(PROGRAM);
    let held = output(command.args(["--cap-add", "all", "--bind", &bind]).arg(root.path()).args(read));
    assert_eq!(String::from_utf8_lossy(&held.stdout), "");
    assert_eq!(String::from_utf8_lossy(&held.stderr).matches("Permission denied").count(), 2, "{held:?}");
    assert!(!host.path().join("new").exists());
}

#[test]
fn all_capabilities_are_for_what_belongs_to_the_namespace() {
    let root = Rootfs::busybox();
    let line = "hostname inside && echo hostname; mount -t tmpfs none /mnt && echo tmpfs; \
        busybox mount -o remount,ro /sys/fs/cgroup/.. || echo no host; \
        echo 0 > /proc/sysrq-trigger || echo no sysrq";
    fs::create_dir(root.join("mnt")).unwrap();
    let mut command = Command::new(PROGRAM);
    let done = output(command.args(["--cap-add", "all"]).arg(root.path()).args(["sh", "-c", line]));
    insta::assert_snapshot!(String::from_utf8_lossy(&done.stdout));
}

#[test]
fn ids_by_the_name_of_a_user() {
    let (host, root) = (Host::new(), Rootfs::busybox());
    let run = |user: &str| {
        let mut command = host.root(PROGRAM);
        command.args(["--remap", user]).arg(root.path()).args(["cat", "/proc/self/uid_map"]);
        command
    };
    let map = stdout(&mut run("tester"));
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", &SUBORDINATE.to_string(), "65536"]);
    let said: String =
        ["default", "nobody", "root", "tester:root"].map(|user| complaint(&mut run(user), &host)).concat();
    insta::assert_snapshot!(said);
}

#[test]
fn bad_maps_and_roots_are_one_line() {
    let (host, root) = (Host::new(), Rootfs::busybox());
    let run = |maps: &[&str]| {
        let mut command = host.root(PROGRAM);
        command.args(maps.iter().flat_map(|map| ["--map", map]));
        command.arg(root.path()).arg("true");
        command
    };
    let mut said: String = [&["0:1:0"][..], &["0:1:5", "4:9:1"], &["5:100000:10"]]
        .map(|maps| complaint(&mut run(maps), &host))
        .concat();
    // procfs has no owners to map.
    said += &complaint(host.root(PROGRAM).args(["/proc", "true"]), &host);
    said += &complaint(host.root(PROGRAM).args(["/no/such", "true"]), &host);
    insta::assert_snapshot!(said);
}
