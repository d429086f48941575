//! `naive ROOTFS COMMAND`: what `chroot(8)` does, in its whole length. `escape.rs` breaks it.

use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rootfs, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: naive ROOTFS COMMAND [ARGUMENT...]");
        std::process::exit(125);
    };
    // Only the meaning of "/" changes. The mounts, the working directory's past and all privileges stay.
    if let Err(error) = std::os::unix::fs::chroot(rootfs).and_then(|()| std::env::set_current_dir("/")) {
        eprintln!("naive: cannot change the root to {rootfs}: {error}");
        std::process::exit(125);
    }
    let error = Command::new(program).args(rest).exec();
    eprintln!("naive: cannot run {program}: {error}");
    std::process::exit(127);
}
