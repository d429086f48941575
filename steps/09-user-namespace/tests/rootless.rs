//! Containers that an ordinary user starts, who is made for the test and known to its commands only.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Host, PROGRAM, SUBORDINATE, UID, complaint, example, give};
use testbed::rootfs::Rootfs;
use testbed::{output, programs, stdout};

/// A root that belongs to the user.
fn root() -> Rootfs {
    let root = Rootfs::busybox();
    give(root.path());
    root
}

fn sh(host: &Host, root: &Rootfs, line: &str) -> Command {
    let mut command = host.user(PROGRAM);
    command.arg(root.path()).args(["sh", "-c", line]);
    command
}

/// What the standard output was, of a command that may complain.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn an_ordinary_user_is_root_inside() {
    let host = Host::new();
    let root = root();
    let seen = stdout(&mut sh(
        &host,
        &root,
        "id -u; cat /proc/self/uid_map; cat /proc/self/setgroups; touch /new; chown 33:999 /new; touch /mine; \
         stat -c '%u' /bin/busybox /new; echo $$; ls /proc | grep -c '^[0-9]'",
    ));
    let (uid, first) = (UID.to_string(), SUBORDINATE.to_string());
    #[rustfmt::skip]
    let expected =
        ["0", "0", &uid, "1", "1", &first, "65536", "allow", "0", "33", "1", "3"];
    assert_eq!(words(&seen), expected);
    let new = fs::metadata(root.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (SUBORDINATE + 32, SUBORDINATE + 998));
    assert_eq!(fs::metadata(root.join("mine")).unwrap().uid(), UID);
}

#[test]
fn the_devices_are_the_hosts_and_the_rest_is_its_own() {
    let host = Host::new();
    let root = root();
    let seen = stdout(&mut sh(
        &host,
        &root,
        "cd /dev; stat -c '%n %F %t:%T %u' full null random urandom zero; echo lost > null; \
         head -c 3 zero | wc -c; readlink fd ptmx; ls -A mqueue shm; stat -f -c %T /proc pts",
    ));
    insta::assert_snapshot!(seen);
}

#[test]
fn without_subordinate_ids_there_is_root_alone() {
    let host = Host::with_ids("", "");
    let root = root();
    let ran = output(&mut sh(
        &host,
        &root,
        "id -u; cat /proc/self/uid_map; cat /proc/self/setgroups; chown 33 /etc/passwd || echo no other; \
         grep -c devpts.*gid /proc/mounts",
    ));
    let uid = UID.to_string();
    let seen = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(words(&seen), ["0", "0", &uid, "1", "deny", "no", "other", "0"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    insta::assert_snapshot!(said.lines().next().unwrap(), @"user-namespace: no user but root: /etc/subuid gives no ids to tester (run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 tester)");
}

#[test]
fn layers_of_a_users_own() {
    let host = Host::new();
    let base = root();
    let (top, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(top.path().join("top"), "").unwrap();
    base.write("gone", "");
    [base.path(), top.path(), own.path()].iter().for_each(|directory| give(directory));
    let run = |line: &str| {
        let mut command = host.user(example("layers"));
        command.arg(own.path()).arg(top.path()).arg(base.path()).args(["--", "sh", "-c", line]);
        stdout(&mut command)
    };
    let line = "stat -c '%u' /top /bin; rm /gone; rm -r /etc; mkdir /etc; touch /new; chown 5:6 /new";
    assert_eq!(run(line), "0\n0\n");
    assert_eq!(run("ls -A /etc; ls /gone 2> /dev/null; stat -c '%u %g' /new"), "5 6\n");
    assert_eq!(fs::metadata(own.path().join("upper/new")).unwrap().uid(), SUBORDINATE + 4);
    // Opaque by an attribute that a user may set.
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(own.path().join("upper/etc"), "user.overlay.opaque", &mut value);
    assert_eq!(&value[..length.unwrap()], b"y");
}

#[test]
fn a_later_command_joins() {
    let host = Host::new();
    let root = root();
    let mut running =
        sh(&host, &root, "echo started; exec sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 8];
    std::io::Read::read_exact(running.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"started\n");

    // The program itself, which waits outside of the container: root of the namespace, with the host's files.
    let pid = running.id().to_string();
    let namespace = |process: &str| fs::read_link(Path::new("/proc").join(process).join("ns/user")).unwrap();
    let joined = |host: &Host, line: &str| {
        let mut command = host.user(example("join"));
        command.args([&pid, "/bin/busybox", "sh", "-c", line]);
        output(&mut command)
    };
    let line =
        format!("readlink /proc/self/ns/user; id -u; cat /etc/subuid; touch {}/new", host.home().display());
    let seen = joined(&host, &line);
    let child = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    // What lives in there can be reached from there, whoever it is.
    let deeper = joined(&host, &format!("kill -9 {child}"));
    running.wait().unwrap();

    let text = String::from_utf8_lossy(&seen.stdout).into_owned();
    let mut lines = text.lines();
    assert!(seen.status.success(), "{seen:?}");
    assert_ne!(lines.next().unwrap(), namespace("self").to_string_lossy());
    assert_eq!(lines.next(), Some("0"));
    assert_eq!(lines.next(), Some(format!("tester:{SUBORDINATE}:65536").as_str()));
    assert!(deeper.status.success(), "{deeper:?}");
}

#[test]
fn what_is_not_given_is_refused_in_one_line() {
    let host = Host::new();
    let root = root();
    let run = |maps: &[&str]| {
        let mut command = host.user(PROGRAM);
        command.args(maps.iter().flat_map(|map| ["--map", map]));
        command.arg(root.path()).arg("true");
        command
    };
    let own = format!("0:{UID}:1");
    let said: String = [&["0:0:1"][..], &[&own, "1:0:1"], &[&own, "1:7000000:65537"], &[&own, "1:100000:10"]]
        .map(|maps| complaint(&mut run(maps), &host))
        .concat();
    let said = said.lines().map(|line| without_pid(line) + "\n").collect::<String>();
    insta::assert_snapshot!(said);
}

#[test]
fn a_missing_helper_is_told_with_its_package() {
    let mut said = String::new();
    // A copy has lost the bit that makes it root.
    let powerless = |mode: u32| {
        let mut host = Host::new();
        let powerless = host.path().join("copy");
        programs::copy("/usr/bin/newgidmap", &powerless);
        fs::set_permissions(&powerless, fs::Permissions::from_mode(mode)).unwrap();
        host.cover(Path::new("/usr/bin/newgidmap"), &powerless);
        host
    };
    for mode in [0o755, 0o644] {
        let host = powerless(mode);
        let root = root();
        said += &without_pid(complaint(&mut sh(&host, &root, "true"), &host).trim_end());
        said += "\n";
        let seen = stdout(&mut host.user(example("obstacles")));
        assert!(seen.contains("newgidmap is not"), "{seen}");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn what_stands_in_the_way_of_a_user_without_ids() {
    let host = Host::with_ids("", "");
    let seen = stdout(&mut host.user(example("obstacles")));
    assert!(seen.contains("/etc/subuid gives no ids to tester"), "{seen}");
    assert!(seen.contains("usermod --add-subuids 100000-165535"), "{seen}");
    assert!(seen.contains("XDG_RUNTIME_DIR is not set"), "{seen}");
    // Here it works: these very tests show it.
    assert!(!seen.contains("user namespaces:"), "{seen}");
    assert_eq!(stdout(&mut host.root(example("obstacles"))), "");
}

#[test]
fn in_a_chroot_there_is_no_user_namespace() {
    let host = Host::new();
    let root = root();
    programs::copy(PROGRAM, root.join("bin/program"));
    root.write("etc/passwd", format!("tester:x:{UID}:{UID}::/:/bin/sh\n"));
    for directory in ["proc", "inner"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    let line = format!(
        "busybox mount -t proc proc {0}/proc && exec busybox chroot {0} /bin/busybox start-stop-daemon -S \
         -c {UID}:{UID} -x /bin/program -- --map 0:{UID}:1 /inner true",
        root.path().display()
    );
    let said = complaint(host.root("/bin/busybox").args(["sh", "-c", &line]), &host);
    insta::assert_snapshot!(said, @"user-namespace: cannot make a user namespace: EPERM: Operation not permitted (this host keeps ordinary users from it, or this process is in a chroot: `mini-docker doctor` says what to do)");
}

#[test]
fn the_hosts_mounts_do_not_change() {
    let host = Host::new();
    let root = root();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    stdout(&mut sh(&host, &root, "true"));
    complaint(host.user(PROGRAM).args(["--map", "0:0:1"]).arg(root.path()).arg("true"), &host);
    assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").unwrap());
}

/// Process ids differ.
fn without_pid(line: &str) -> String {
    let words = line.split(' ').map(|word| if word.parse::<u32>().is_ok() { "N" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
