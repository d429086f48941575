//! What root in a container may still ask of the kernel.

use std::fs;
use std::process::Command;

use testbed::engine::Engine;
use testbed::rootfs::Rootfs;

use crate::{import, probe, sh};

/// Docker's fourteen capabilities, as `capsh` spells them.
const BOUNDING: &str = "cap_chown,cap_dac_override,cap_fowner,cap_fsetid,cap_kill,cap_setgid,cap_setuid,cap_setpcap,\
    cap_net_bind_service,cap_net_raw,cap_sys_chroot,cap_mknod,cap_audit_write,cap_setfcap";

/// An engine with an image `tools` that has this project's probe, and libcap's `capsh` with its libraries.
fn engine() -> Engine {
    let engine = Engine::with_busybox();
    let root = Rootfs::busybox();
    fs::copy(probe(), root.join("bin/probe")).expect("a directory of our own");
    let capsh =
        ["/usr/sbin/capsh", "/sbin/capsh"].into_iter().find(|path| fs::exists(path).is_ok_and(|found| found));
    let capsh = capsh.expect("capsh is installed (apt install libcap2-bin)");
    fs::copy(capsh, root.join("bin/capsh")).expect("a directory of our own");
    let libraries = testbed::stdout(Command::new("ldd").arg(capsh));
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(&library[1..]);
        fs::create_dir_all(copy.parent().expect("it has one")).expect("a directory of our own");
        fs::copy(library, copy).expect("a directory of our own");
    }
    import(&engine, "tools", &root);
    engine
}

/// CVE-2022-24769 gave programs inheritable capabilities, which those with file capabilities then got back. The sets
/// are what Docker's are, to the bit, by libcap's own word.
#[test]
fn capabilities_as_capsh_prints_them() {
    let engine = engine();
    for (options, current, bounding, uid) in [
        (&[][..], BOUNDING, BOUNDING, "uid=0("),
        (&["--init"], BOUNDING, BOUNDING, "uid=0("),
        (&["--user", "user"], "", BOUNDING, "uid=1000("),
        (&["--cap-drop", "all"], "", "", "uid=0("),
    ] {
        let printed = engine.ok(&[&["run", "--rm"], options, &["tools", "capsh", "--print"]].concat());
        // `cap_x,cap_y=ep`: effective and permitted, and not inheritable.
        let current = if current.is_empty() { "=".to_owned() } else { format!("{current}=ep") };
        for line in
            [format!("Current: {current}"), format!("Bounding set ={bounding}"), "Ambient set =".to_owned()]
        {
            assert!(printed.lines().any(|printed| printed == line), "{options:?}: no {line} in {printed}");
        }
        assert!(printed.contains(uid), "{options:?}: {printed}");
        let status = "grep -E '^(CapInh|CapAmb|Seccomp|NoNewPrivs):' /proc/self/status";
        let status = engine.ok(&[&["run", "--rm"], options, &["tools", "sh", "-c", status]].concat());
        assert_eq!(
            status, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2",
            "{options:?}"
        );
    }
}

/// Calls that act on the whole machine are refused by the filter, and without it for want of the capability.
#[test]
fn calls_that_act_on_the_machine() {
    // What anybody may do to himself: only the filter refuses it.
    const HARMLESS: [&str; 6] = ["unshare", "clone", "clone3", "keyctl", "add_key", "io_uring_setup"];
    let engine = engine();
    let answers = |options: &[&str]| {
        let printed = engine.ok(&[&["run", "--rm"], options, &["tools", "probe", "calls"]].concat());
        let answers: Vec<(String, String)> = printed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(call, answer)| (call.to_owned(), answer.to_owned()))
            .collect();
        assert!(answers.len() > 30, "{printed}");
        answers
    };
    for options in [&[][..], &["--init"], &["--user", "user"], &["--cap-drop", "all"]] {
        for (call, answer) in answers(options) {
            // Programs take ENOSYS for "use the older call", whose flags the filter can look at.
            let expected = if call == "clone3" { "ENOSYS" } else { "EPERM" };
            assert_eq!(answer, expected, "{call} with {options:?}");
        }
    }
    for (call, answer) in answers(&["--security-opt", "seccomp=unconfined"]) {
        // ENOSYS: this kernel lacks it.
        let refused = ["EPERM", "EACCES", "ENOSYS"].contains(&answer.as_str());
        assert!(refused || call == "vsock" || HARMLESS.contains(&call.as_str()), "{call}: {answer}");
    }
}

/// CVE-2022-0492, and the escapes by which a file of the kernel's names a program that the host then runs.
#[test]
fn files_by_which_the_kernel_runs_a_program() {
    let engine = engine();
    let line = "
        for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug \
                    /proc/sys/kernel/poweroff_cmd /proc/sys/vm/panic_on_oom /proc/sys/fs/binfmt_misc/register \
                    /proc/sysrq-trigger /proc/irq/default_smp_affinity \
                    /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run /sys/power/state /sys/fs/cgroup/x \
                    $(find /sys/fs/cgroup -name release_agent -o -name cgroup.procs -o -name devices.allow -o -name notify_on_release); do
            (test -e $file || test ${file##*/} = x) && (echo '|/bin/sh' > $file) 2>/dev/null && echo \"$file is writable\"
        done
        for options in remount,rw remount,bind,rw; do
            for target in /sys /sys/fs/cgroup $(grep cgroup /proc/mounts | cut -d' ' -f2) /proc/sys /proc/sysrq-trigger /proc/kcore; do
                mount -o $options $target 2>/dev/null && echo \"$target can be mounted anew\"
                umount $target 2>/dev/null && echo \"$target can be unmounted\"
            done
        done
        mkdir /tmp/cgroup
        mount -t cgroup -o rdma none /tmp/cgroup 2>/dev/null && echo 'a hierarchy can be mounted'
        mount -t cgroup2 none /tmp/cgroup 2>/dev/null && echo 'the hierarchy can be mounted'
        mkdir /sys/fs/cgroup/x 2>/dev/null && echo 'a cgroup can be made'
        grep -c ' /sys/fs/cgroup' /proc/mounts";
    for options in [&[][..], &["--init"], &["--security-opt", "seccomp=unconfined"]] {
        let said = engine.ok(&[&["run", "--rm"], options, &["tools", "sh", "-c", line]].concat());
        let mounts: usize = said.parse().unwrap_or_else(|_| panic!("{options:?}: {said}"));
        assert!(mounts > 0, "the container sees its cgroups");
    }
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert!(!pattern.contains("/bin/sh"), "{pattern}");
}

/// A capability that is given back opens what it is for and nothing else.
#[test]
fn one_capability_is_not_all() {
    let engine = engine();
    let line = "(hostname x) 2>&1; (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null; echo $?; \
                probe calls | grep -E '^(init_module|kexec_load|reboot|open_by_handle_at|bpf) '";
    let said = engine.ok(&[
        "run",
        "--rm",
        "--cap-add",
        "SYS_PTRACE",
        "--cap-add",
        "NET_ADMIN",
        "tools",
        "sh",
        "-c",
        line,
    ]);
    assert_eq!(
        said,
        "hostname: sethostname: Operation not permitted\n1\nopen_by_handle_at EPERM\nbpf EPERM\nkexec_load EPERM\ninit_module EPERM\nreboot EPERM"
    );
}

/// Processes of the host's, the engine's own among them, do not exist for a container.
#[test]
fn the_hosts_processes_cannot_be_reached() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    let other: u32 = engine.inspect("other", "{{.State.Pid}}").parse().unwrap();
    let own = std::process::id();
    let line = format!(
        "for pid in {own} {other}; do kill -0 $pid 2>&1; ls /proc/$pid 2>&1 | grep -v 'No such file'; done; ls -d /proc/[0-9]* | wc -l; true"
    );
    let said = sh(&engine, &["--cap-add", "SYS_PTRACE", "--cap-add", "KILL"], &line);
    let no_such = |pid| format!("sh: can't kill pid {pid}: No such process");
    let expected = [no_such(own), no_such(other)];
    assert_eq!(said.lines().take(2).collect::<Vec<_>>(), expected, "{said}");
    assert!(said.lines().nth(2).unwrap().parse::<u32>().unwrap() < 5, "{said}");
}

/// A program that puts words into its terminal's input (`TIOCSTI`) has them run by the shell that started it. Without
/// `-t` the user's terminal is not the container's; with it, the container has one of its own.
#[test]
fn the_users_terminal_stays_outside() {
    let engine = Engine::with_busybox();
    let line = "(echo x > /dev/tty) 2>&1; ls -l /proc/self/fd 2>/dev/null | grep -c /dev/pts; true";
    let mut run = engine.command(&["run", "--rm", "-i", "busybox", "sh", "-c", line]);
    run.env("TERM", "dumb");
    let mut session = expectrl::Session::spawn(run).unwrap();
    session.set_expect_timeout(Some(std::time::Duration::from_secs(20)));
    let found = expectrl::Expect::expect(&mut session, expectrl::Eof).unwrap();
    let said = String::from_utf8_lossy(found.as_bytes()).replace('\r', "");
    assert_eq!(said, "sh: can't create /dev/tty: No such device or address\n0\n");
}
