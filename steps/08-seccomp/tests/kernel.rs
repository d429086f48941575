//! Filters as the kernel runs them, and the step's programs. To be run as root.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::process::Command;

use nix::errno::Errno;
use seccomp::facts::capabilities;
use seccomp::{Architecture, Facts, Filter, Instruction, Profile, calls};
use testbed::rootfs::Rootfs;
use testbed::{output, stdout};

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// What `body` returned.
    Code(i32),
    Signal(i32),
}

/// Runs `body` in a child process under a filter, and tells how it ended. Neither may allocate: the tests run in threads,
/// and the child has only one of them, so that the allocator's lock may be held for ever.
fn under(filter: Option<&Filter>, body: impl FnOnce() -> i32) -> End {
    const NOT_INSTALLED: i32 = 254;
    // SAFETY: the child does not allocate, and ends by _exit.
    match unsafe { libc::fork() } {
        0 => {
            let installed = filter
                .is_none_or(|filter| nix::sys::prctl::set_no_new_privs().is_ok() && filter.install().is_ok());
            let code = if installed { body() } else { NOT_INSTALLED };
            // SAFETY: _exit takes no memory.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` lives until the call returns.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(waited, child);
            if libc::WIFSIGNALED(status) {
                return End::Signal(libc::WTERMSIG(status));
            }
            let code = libc::WEXITSTATUS(status);
            assert_ne!(code, NOT_INSTALLED, "the filter could not be installed");
            End::Code(code)
        }
    }
}

/// Makes a call, all of whose arguments are `argument`; the errno, or 0.
fn errno(number: u32, argument: u64) -> i32 {
    let a = argument as i64;
    // SAFETY: the tests pass numbers that are no valid addresses, or calls that take none.
    let result = unsafe { libc::syscall(i64::from(number), a, a, a, a, a, a) };
    if result == -1 { Errno::last_raw() } else { 0 }
}

fn number(name: &str) -> u32 {
    calls::find(name).unwrap().number(Architecture::NATIVE).unwrap()
}

fn builtin(names: &[&str]) -> Filter {
    let capabilities = capabilities(names.iter().copied()).unwrap();
    Profile::builtin().compile(&Facts::of_host(capabilities).unwrap()).unwrap()
}

fn parse(json: &str) -> Filter {
    Profile::parse(json).unwrap().compile(&Facts::of_host(0).unwrap()).unwrap()
}

/// A test that this host cannot do is said aloud, or not allowed to be left out at all.
fn skip(needed: bool, reason: &str) -> bool {
    if needed {
        return false;
    }
    assert!(std::env::var_os("MINI_DOCKER_NO_SKIP").is_none(), "skipping is not allowed here: {reason}");
    // Not `eprintln!`: the test harness swallows what that says.
    std::io::stderr().write_all(format!("SKIP: {reason}\n").as_bytes()).unwrap();
    true
}

#[test]
fn the_default_profile_refuses() {
    let filter = builtin(&[]);
    let refused = [
        "acct",
        "add_key",
        "bpf",
        "chroot",
        "clock_settime",
        "delete_module",
        "fanotify_init",
        "finit_module",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "init_module",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "kcmp",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "mbind",
        "migrate_pages",
        "mount",
        "mount_setattr",
        "move_mount",
        "move_pages",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pidfd_getfd",
        "pivot_root",
        "process_madvise",
        "quotactl",
        "reboot",
        "request_key",
        "set_mempolicy",
        "setdomainname",
        "sethostname",
        "setns",
        "settimeofday",
        "swapoff",
        "swapon",
        "syslog",
        "umount2",
        "unshare",
        "userfaultfd",
        "vhangup",
    ];
    for name in refused {
        let number = number(name);
        // No valid argument, so nothing happens should the call be made.
        assert_eq!(under(Some(&filter), || errno(number, u64::MAX)), End::Code(libc::EPERM), "{name}");
    }
    // It is the filter that refused these: without it, the kernel goes on to the arguments.
    for name in ["acct", "chroot", "keyctl", "mount", "open_tree", "setns", "swapon", "umount2", "unshare"] {
        let number = number(name);
        assert_ne!(under(None, || errno(number, u64::MAX)), End::Code(libc::EPERM), "{name}");
    }
    for (name, argument) in [("unshare", libc::CLONE_NEWUSER as u64), ("unshare", libc::CLONE_NEWNS as u64)] {
        let number = number(name);
        assert_eq!(under(Some(&filter), || errno(number, argument)), End::Code(libc::EPERM));
    }
}

#[test]
fn the_default_profile_looks_at_arguments() {
    let filter = builtin(&[]);
    let end = |name: &str, argument: u64| {
        let number = number(name);
        under(Some(&filter), || errno(number, argument))
    };
    let (refused, made) = (End::Code(libc::EPERM), End::Code(0));
    for family in [libc::AF_VSOCK, libc::AF_ALG] {
        assert_eq!(end("socket", family as u64), refused, "{family}");
    }
    // The other arguments make no socket, but the kernel was asked.
    assert_ne!(end("socket", libc::AF_INET as u64), refused);
    for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        assert_eq!(end("personality", persona), made, "{persona:#x}");
    }
    // READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE, and one of the good ones with something above it.
    for persona in [0x40_0000, 0x4_0000, 0x1_0000_0008] {
        assert_eq!(end("personality", persona), refused, "{persona:#x}");
    }
    // As i386 and x86_64 pass it, the flags come first.
    for namespace in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWPID, libc::CLONE_NEWCGROUP] {
        let flags = (namespace | libc::SIGCHLD) as u64;
        assert_eq!(end("clone", flags), refused, "{namespace:#x}");
    }
    let fork = || {
        // SAFETY: both processes do nothing but end.
        match unsafe { libc::fork() } {
            // SAFETY: likewise.
            0 => unsafe { libc::_exit(0) },
            child => i32::from(child < 0),
        }
    };
    assert_eq!(under(Some(&filter), fork), made);
}

/// A C library that learns of no newer call goes on with an older one.
#[test]
fn calls_that_the_profile_does_not_know() {
    let filter = builtin(&[]);
    for number in [number("clone3"), number("removexattrat") + 1, 500, 9999] {
        assert_eq!(under(Some(&filter), || errno(number, u64::MAX)), End::Code(libc::ENOSYS), "{number}");
    }
    // A hole below the newest call that it knows.
    assert_eq!(under(Some(&filter), || errno(400, 0)), End::Code(libc::EPERM));
}

#[test]
fn capabilities_open_calls() {
    let filter = builtin(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]);
    for name in ["mount", "setns", "unshare", "clone3", "chroot", "open_tree"] {
        let number = number(name);
        let end = under(Some(&filter), || errno(number, u64::MAX));
        assert!(![libc::EPERM, libc::ENOSYS].map(End::Code).contains(&end), "{name}: {end:?}");
    }
    let keyctl = number("keyctl");
    assert_eq!(under(Some(&filter), || errno(keyctl, u64::MAX)), End::Code(libc::EPERM));
}

#[test]
fn actions() {
    let with = |action: &str| {
        parse(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["getppid"], "action": {action}}}]}}"#
        ))
    };
    let getppid = number("getppid");
    let end = |action: &str| under(Some(&with(action)), || errno(getppid, 0));
    assert_eq!(end(r#""SCMP_ACT_ERRNO""#), End::Code(libc::EPERM));
    assert_eq!(end(r#""SCMP_ACT_ERRNO", "errnoRet": 101"#), End::Code(101));
    assert_eq!(end(r#""SCMP_ACT_ERRNO", "errnoRet": 0"#), End::Code(0));
    assert_eq!(end(r#""SCMP_ACT_LOG""#), End::Code(0));
    // Nobody traces it.
    assert_eq!(end(r#""SCMP_ACT_TRACE""#), End::Code(libc::ENOSYS));
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"] {
        assert_eq!(end(&format!(r#""SCMP_ACT_{action}""#)), End::Signal(libc::SIGSYS), "{action}");
    }
}

#[test]
fn every_operator() {
    let kill = number("kill");
    // The second argument is no signal: EINVAL if the call is made.
    for (op, value, two, matching) in [
        ("EQ", 1_u64 << 40 | 7, 0, [false, true, false]),
        ("NE", 1 << 40 | 7, 0, [true, false, true]),
        ("LT", 1 << 40 | 7, 0, [true, false, false]),
        ("LE", 1 << 40 | 7, 0, [true, true, false]),
        ("GE", 1 << 40 | 7, 0, [false, true, true]),
        ("GT", 1 << 40 | 7, 0, [false, false, true]),
        ("MASKED_EQ", 1 << 40 | 1, 1_u64 << 40, [true, false, true]),
    ] {
        let filter = parse(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99,
            "args": [{{"index": 1, "value": {value}, "valueTwo": {two}, "op": "SCMP_CMP_{op}"}}]}}]}}"#
        ));
        let seen =
            [6_u64, 7, 8].map(|low| under(Some(&filter), || errno(kill, 1 << 40 | low)) == End::Code(99));
        assert_eq!(seen, matching, "{op}");
    }
}

/// `int 0x80` from a 64-bit program makes a call of i386.
#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_i386() {
    fn int80(number: u32) -> i32 {
        let result: i32;
        // SAFETY: `rbx`, which the compiler keeps for itself, is put back; the arguments are no addresses.
        unsafe {
            std::arch::asm!(
                "push rbx", "mov ebx, -1", "int 0x80", "pop rbx",
                inlateout("eax") number => result, in("ecx") -1, in("edx") -1, in("esi") -1, in("edi") -1,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        if (-4095..0).contains(&result) { -result } else { 0 }
    }
    const GETPID: u32 = 20;
    const MOUNT: u32 = 21;
    if skip(under(None, || int80(GETPID)) == End::Code(0), "this kernel runs no programs of i386") {
        return;
    }
    let filter = builtin(&[]);
    assert_eq!(under(Some(&filter), || int80(GETPID)), End::Code(0));
    assert_eq!(under(Some(&filter), || int80(MOUNT)), End::Code(libc::EPERM));
    assert_eq!(under(Some(&filter), || int80(number("clone3"))), End::Code(libc::ENOSYS));
    assert_eq!(under(Some(&filter), || int80(9999)), End::Code(libc::ENOSYS));
    // On x86_64, 21 is `access`, which is let through: the number alone would have told nothing.
    assert_eq!(under(Some(&filter), || errno(MOUNT, u64::MAX)), End::Code(libc::EINVAL));
    // An architecture that the profile does not list is the end.
    let native = parse(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    assert_eq!(under(Some(&native), || int80(GETPID)), End::Signal(libc::SIGSYS));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_x32() {
    let filter = builtin(&[]);
    let x32 = |name: &str| calls::find(name).unwrap().number(Architecture::X32).unwrap();
    let (mount, getpid) = (x32("mount"), x32("getpid"));
    assert_eq!(under(Some(&filter), || errno(mount, u64::MAX)), End::Code(libc::EPERM));
    // Most kernels are made without x32, and say so once the filter has let the call through.
    let end = under(Some(&filter), || errno(getpid, 0));
    assert!([0, libc::ENOSYS].map(End::Code).contains(&end), "{end:?}");
    let native = parse(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    assert_eq!(under(Some(&native), || errno(getpid, 0)), End::Signal(libc::SIGSYS));
}

#[test]
fn what_the_kernel_refuses_is_explained() {
    let allow = Filter::from_bytes(&parse(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).to_bytes()).unwrap();
    let jumps_out = Filter::new(vec![Instruction::new(0x05, 7)], 0);
    let flagged = Filter::new(allow.instructions().to_vec(), 1 << 30);
    for filter in [jumps_out, flagged, Filter::new(vec![], 0)] {
        let error = filter.install().unwrap_err().to_string();
        assert!(error.starts_with("cannot install the seccomp filter: EINVAL"), "{error}");
    }
    // Without privileges and without no_new_privs.
    let nobody = || {
        // SAFETY: setresuid takes no memory; by number, since libc's would tell the other threads.
        let dropped = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        match allow.install() {
            _ if dropped != 0 => 1,
            Err(seccomp::Error::Install { errno: Errno::EACCES, hint }) => {
                i32::from(!hint.contains("no_new_privs"))
            }
            _ => 2,
        }
    };
    assert_eq!(under(None, nobody), End::Code(0));
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_seccomp");

fn program(root: &Rootfs, options: &[&str], script: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(options).arg(root.path()).args(["/bin/sh", "-c", script]);
    command
}

#[test]
fn a_shell_works_under_the_default_profile() {
    let root = Rootfs::busybox();
    let script = "
        set -e
        grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t'
        seq 1 1000 | sort -rn | head -n 1
        mkdir -p /dir/below && echo text > /dir/below/file && cp -a /dir /copy && ln -s file /copy/link
        mv /copy /moved && ls /moved/below && chown 1:1 /moved && stat -c %u /moved && rm -r /dir /moved
        (trap 'echo caught' USR1; kill -USR1 $(sh -c 'echo $PPID'); wait) & wait
        id -u; hostname > /dev/null; ps > /dev/null; df / > /dev/null; usleep 1
        ! mount -t tmpfs none /bin 2>&1
        ! hostname other 2>&1";
    let said = stdout(&mut program(&root, &[], script));
    insta::assert_snapshot!(said);
}

#[test]
fn the_programs_options() {
    let root = Rootfs::busybox();
    // What a root does without a filter, and with the one for its capability.
    for options in [&["--unconfined"][..], &["--cap", "CAP_SYS_ADMIN"]] {
        assert_eq!(
            stdout(&mut program(&root, options, "mount -t tmpfs none /bin && echo mounted")),
            "mounted\n"
        );
    }
    root.write(
        "profile.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["uname"], "action": "SCMP_ACT_KILL"}]}"#,
    );
    let profile = root.join("profile.json");
    let profile = ["--profile", profile.to_str().unwrap()];
    let status = output(&mut program(&root, &profile, "uname; echo $?; exec uname")).status;
    assert_eq!(status.code(), Some(128 + libc::SIGSYS));
    let missing = output(&mut program(&root, &["--profile", "/nonexistent"], "true"));
    assert_eq!(
        (missing.status.code(), String::from_utf8(missing.stderr).unwrap().as_str()),
        (
            Some(125),
            "seccomp: cannot read the seccomp profile /nonexistent: ENOENT: No such file or directory\n"
        )
    );
    assert_eq!(output(Command::new(PROGRAM).arg(root.path()).arg("nothing")).status.code(), Some(127));

    let table = stdout(Command::new(PROGRAM).arg("--table"));
    assert!(table.contains("\n| `mount` | allow |  | CAP_SYS_ADMIN |\n"), "{table}");
    let listing = stdout(Command::new(PROGRAM).arg("--disassemble"));
    assert!(listing.starts_with("   0: load architecture\n"), "{listing}");
}
