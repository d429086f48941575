//! What the crate says that `execve` does, against what the kernel does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use capabilities::sets::Refused;
use capabilities::{Execution, FileCapabilities, Set, Sets, assume};
use nix::unistd::{Gid, Uid};

/// A process's way to a program: the sets it has then, and what it runs.
#[derive(Debug, Clone, Copy)]
struct Case {
    before: Sets,
    user: u32,
    file: Option<FileCapabilities>,
    set_user_id: bool,
    no_new_privileges: bool,
}

fn set(names: &str) -> Set {
    names.split_whitespace().fold(Set::EMPTY, |set, name| set.or(Set::of(name).expect("a capability")))
}

fn cases() -> Vec<Case> {
    let given = set("chown kill net_raw setpcap setuid setgid");
    let plain = Sets::of_container(given);
    let befores = [
        plain,
        Sets { permitted: set("chown"), effective: Set::EMPTY, ..plain },
        Sets { inheritable: set("chown net_raw"), ..plain },
        Sets { inheritable: set("chown"), ambient: set("chown"), ..plain },
    ];
    let file = |permitted, inheritable, effective| {
        Some(FileCapabilities { permitted: set(permitted), inheritable: set(inheritable), effective })
    };
    let files = [
        None,
        file("net_raw", "", true),
        file("net_raw", "", false),
        file("", "chown", true),
        file("sys_time", "", true),
        file("sys_time net_raw", "", false),
    ];
    let mut cases = Vec::new();
    for before in befores {
        for file in files {
            for user in [0, 1000] {
                for set_user_id in [false, true] {
                    for no_new_privileges in [false, true] {
                        cases.push(Case { before, user, file, set_user_id, no_new_privileges });
                    }
                }
            }
        }
    }
    cases
}

/// Runs a copy of `cat` as the case says; the sets it reads of itself. (Not busybox's: that gives up what it gained.)
fn kernel(case: Case, directory: &Path) -> Result<Sets, Refused> {
    let program = directory.join("cat");
    testbed::programs::copy("/bin/cat", &program);
    let mode = if case.set_user_id { 0o4755 } else { 0o755 };
    fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("a file of our own");
    if let Some(file) = case.file {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&program, "security.capability", &file.encode(), flags)
            .expect("a file system with attributes");
    }
    let mut command = Command::new(&program);
    command.arg("/proc/self/status");
    let become_it = move || {
        let failed = |error: capabilities::Error| std::io::Error::other(error.to_string());
        assume::bound(case.before.bounding).map_err(failed)?;
        assume::keep_across_user_change(true).map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(case.user), Gid::from_raw(case.user));
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
        assume::keep_across_user_change(false).map_err(failed)?;
        assume::set(&case.before).map_err(failed)?;
        if case.no_new_privileges {
            assume::forbid_new_privileges().map_err(failed)?;
        }
        Ok(())
    };
    // SAFETY: the calls above touch no lock of another thread's: they are system calls, and none of them fails.
    unsafe { command.pre_exec(become_it) };
    match command.output() {
        Ok(output) => {
            let status = String::from_utf8(output.stdout).expect("it is text");
            Ok(Sets::of_status(&status).expect("five sets"))
        }
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(Refused),
        Err(error) => panic!("{case:?}: {error}"),
    }
}

#[test]
fn the_rule_is_the_kernels() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut refused = 0;
    for case in cases() {
        let effective_user = if case.set_user_id && !case.no_new_privileges { 0 } else { case.user };
        let said = case.before.after_execve(Execution {
            user: case.user,
            effective_user,
            file: case.file,
            no_new_privileges: case.no_new_privileges,
        });
        refused += u32::from(said.is_err());
        assert_eq!(said, kernel(case, directory.path()), "{case:?}");
    }
    assert!(refused > 0, "no case was refused");
}
