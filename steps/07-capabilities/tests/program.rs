//! Runs the step's program, and asks the kernel what is left of root.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use testbed::rootfs::Rootfs;
use testbed::{output, programs, stdout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_capabilities");

fn program(root: &Rootfs, options: &[&str], command: &[&str]) -> Command {
    let mut program = Command::new(PROGRAM);
    program.args(options).arg(root.path()).args(command);
    program
}

/// The five sets, as the kernel prints them.
fn sets(options: &[&str]) -> String {
    let root = Rootfs::busybox();
    stdout(&mut program(&root, options, &["grep", "^Cap\\|NoNewPrivs", "/proc/self/status"]))
}

/// An example of this crate: beside its tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's program");
    test.ancestors().nth(2).expect("the target directory").join("examples").join(name)
}

#[test]
fn root_has_what_docker_gives_it() {
    insta::assert_snapshot!(sets(&[]));
}

#[test]
fn another_user_has_nothing_but_a_bound() {
    insta::assert_snapshot!(sets(&["--user", "1000"]));
}

#[test]
fn all_but_one_dropped_and_no_new_privileges() {
    insta::assert_snapshot!(sets(&[
        "--cap-drop",
        "all",
        "--cap-add",
        "net_bind_service",
        "--no-new-privileges"
    ]));
}

#[test]
fn what_is_dropped_is_refused() {
    let root = Rootfs::busybox();
    let run = |options: &[&str]| output(&mut program(&root, options, &["chown", "1000", "/etc/passwd"]));
    assert!(run(&[]).status.success());
    let refused = run(&["--cap-drop", "chown"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Operation not permitted"));
}

#[test]
fn a_set_user_id_program_gains_nothing_with_no_new_privileges() {
    let root = Rootfs::busybox();
    let file = root.join("bin/sets");
    programs::copy(example("sets"), &file);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let effective = |options: &[&str]| {
        let sets = stdout(&mut program(&root, options, &["sets"]));
        sets.lines().next().unwrap().to_owned()
    };
    let user = ["--user", "1000"];
    assert!(effective(&user).contains("CAP_CHOWN"), "{}", effective(&user));
    assert_eq!(effective(&[&user[..], &["--no-new-privileges"]].concat()), "effective    none");
}

#[test]
fn bad_names_are_one_line() {
    let root = Rootfs::busybox();
    for (options, error) in [
        (["--cap-add", "odd"], "capabilities: unknown capability: \"CAP_ODD\"\n"),
        (["--cap-drop", "CAP_"], "capabilities: unknown capability: \"CAP_\"\n"),
    ] {
        let refused = output(&mut program(&root, &options, &["true"]));
        assert_eq!(refused.status.code(), Some(125));
        assert_eq!(String::from_utf8_lossy(&refused.stderr), error);
    }
}

/// The class of attack: reading the host's files by their handles, without a path (`open_by_handle_at`, as the
/// "shocker" program did it to early Docker). The file system that the root lies on is the host's.
#[test]
fn no_file_of_the_hosts_is_opened_by_its_handle() {
    let root = Rootfs::busybox();
    programs::copy(example("by_handle"), root.join("bin/by_handle"));
    // On the root's file system, but outside the root.
    let secret = root.path().parent().unwrap().join(format!("secret-{}", std::process::id()));
    std::fs::write(&secret, "the host's\n").unwrap();
    let handle = stdout(Command::new(example("by_handle")).arg("name").arg(&secret));
    let attack =
        |options: &[&str]| output(&mut program(&root, options, &["by_handle", "open", "/", handle.trim()]));

    let naive = attack(&["--cap-add", "all"]);
    let held = attack(&[]);
    std::fs::remove_file(&secret).unwrap();
    assert_eq!(String::from_utf8_lossy(&naive.stdout), "the host's\n", "{naive:?}");
    assert!(held.stdout.is_empty());
    assert!(String::from_utf8_lossy(&held.stderr).contains("Operation not permitted"), "{held:?}");
}
