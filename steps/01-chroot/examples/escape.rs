//! `escape [COMMAND]`: the classic way out of a `chroot(2)`, for a process that may call `chroot` itself.
//!
//! The kernel stops `..` at exactly one directory: the process's root. A process standing *outside* its root
//! never meets that stop. So: change the root to a directory below while standing still, and walk up.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() {
    match escape() {
        Ok(true) => println!("escaped: this / is not the one I was given"),
        Ok(false) => {
            println!("held: walking up ends at the root I was given");
            std::process::exit(1);
        }
        Err(error) => {
            println!("held: {error}");
            std::process::exit(1);
        }
    }
    let mut arguments = std::env::args().skip(1);
    if let Some(program) = arguments.next() {
        let error = Command::new(&program).args(arguments).exec();
        eprintln!("escape: cannot run {program}: {error}");
        std::process::exit(127);
    }
}

fn escape() -> std::io::Result<bool> {
    let before = std::fs::metadata("/")?;
    let below = "/dev/shm/below";
    std::fs::create_dir_all(below)?;
    // The new root is below; the working directory is left where it was, now outside the root.
    std::os::unix::fs::chroot(below)?;
    for _ in 0..64 {
        std::env::set_current_dir("..")?;
    }
    std::os::unix::fs::chroot(".")?;
    let after = std::fs::metadata("/")?;
    Ok((before.dev(), before.ino()) != (after.dev(), after.ino()))
}
