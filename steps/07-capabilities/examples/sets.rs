//! `sets [FILE]`: the five capability sets of this process, and what they would be after running FILE.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use capabilities::sets::Refused;
use capabilities::{Execution, FileCapabilities, Sets};

const SET_USER_ID: u32 = 0o4000;

fn main() -> anyhow::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let sets = Sets::of_status(&status)?;
    println!("{sets}");
    let Some(path) = std::env::args().nth(1) else { return Ok(()) };

    let path = Path::new(&path);
    let metadata = std::fs::metadata(path)?;
    let user = nix::unistd::getuid().as_raw();
    let set_user_id = metadata.mode() & SET_USER_ID != 0;
    let execution = Execution {
        user,
        effective_user: if set_user_id { metadata.uid() } else { nix::unistd::geteuid().as_raw() },
        file: FileCapabilities::read(path)?,
        no_new_privileges: status.contains("NoNewPrivs:\t1"),
    };
    match sets.after_execve(execution) {
        Ok(after) => println!("\nafter running {}:\n{after}", path.display()),
        Err(Refused) => println!("\nrunning {} would be refused (EPERM)", path.display()),
    }
    Ok(())
}
