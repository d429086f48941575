//! A user namespace where others are already.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::errno::Errno;
use pid_namespace::Namespaces;

/// A process in a user namespace of its own, which ends with the test.
struct Holder(Child);

impl Holder {
    fn new() -> Self {
        let holder =
            Self(Command::new("unshare").args(["--user", "sleep", "1000"]).spawn().expect("unshare"));
        let own = fs::read_link("/proc/self/ns/user").expect("our own");
        testbed::until("a namespace", || fs::read_link(holder.path("ns/user")).is_ok_and(|name| name != own));
        for map in ["uid_map", "gid_map"] {
            fs::write(holder.path(map), "0 100000 65536").expect("it lives");
        }
        holder
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("our own child");
    }
}

/// Its root has privileges over whoever comes in: one that still is the host's root must have hidden by then.
#[test]
fn who_enters_is_hidden_before() {
    let holder = Holder::new();
    let userns = File::open(holder.path("ns/user")).expect("it lives");
    let mut visitor = Command::new("true");
    let enter = move || {
        let hidden = || match nix::sys::prctl::get_dumpable() {
            Ok(false) => Ok(()),
            seen => Err(chroot::Error::new("find hidden", "a process", seen.err().unwrap_or(Errno::EXDEV))),
        };
        let child = user_namespace::spawn_in(userns.as_fd(), Namespaces::NONE, hidden, || 0);
        child.and_then(|child| Ok(child.wait()?)).map(drop).map_err(std::io::Error::other)
    };
    // SAFETY: the child has one thread, and memory of its own.
    unsafe { visitor.pre_exec(enter) };
    assert!(visitor.status().expect("it enters, and is hidden").success());
}
