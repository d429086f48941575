//! `layers DIRECTORY LOWER... -- COMMAND`: a command on an overlay, whose layers belong to others inside than outside.
//!
//! Run by root, nothing is copied and no owner changed: inside, files belong to 0, 33, 999, as the image's maker meant
//! them; outside, the same files are those of 100000, 100033, 100999; and on the disk it is 0, 33, 999. What is written
//! goes to DIRECTORY/upper, and is 0, 33, 999 there as well. Run by an ordinary user, the layers are this user's own.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::Result;
use chroot::{Plan, Program, mount};
use overlay_layers::{Marks, Overlay, Upper};
use pid_namespace::{Child, Namespaces};
use user_namespace::{IdMap, IdMaps, Scaffold, UserNamespace, root, rootless, shifted_overlay};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parts: Vec<&[String]> = arguments.splitn(2, |argument| argument == "--").collect();
    let [[directory, lowers @ ..], command] = parts.as_slice() else {
        anyhow::bail!("usage: layers DIRECTORY LOWER... -- COMMAND [ARGUMENT...]");
    };
    let lowers: Vec<PathBuf> = lowers.iter().map(PathBuf::from).collect();
    // All but the user namespace, which comes first, and that of time, in which no process can be started.
    let own = Namespaces::all().without(Namespaces::TIME).without(Namespaces::USER);
    let plan = Plan::container(&mount::mountinfo()?);

    let start = if nix::unistd::geteuid().is_root() { start_remapped } else { start_as_user };
    let child = start(Path::new(directory), lowers, plan, own, command)?;
    std::process::exit(child.wait()?.code().into());
}

/// The overlay is the host's; only what it shows is shifted.
fn start_remapped(
    directory: &Path,
    lowers: Vec<PathBuf>,
    mut plan: Plan,
    own: Namespaces,
    command: &[String],
) -> Result<Child> {
    let map: IdMap = "0 100000 65536".parse()?;
    let maps = IdMaps { uids: map.clone(), gids: map };
    root::adapt(&mut plan, &maps, own);
    let upper = Upper::make(directory, &lowers[0])?;
    let overlay = Overlay { lowers, upper: Some(upper), ..Overlay::default() };

    let userns = UserNamespace::with(&maps)?;
    let mut scaffold = Scaffold::raise(Path::new("/run"), &mut plan, &maps)?;
    let tree = shifted_overlay(&overlay, &userns, &mut scaffold)?;
    let child = user_namespace::spawn(own, None, &maps, || become_program(&tree, &plan, command))?;
    scaffold.take_down()?;
    Ok(child)
}

/// The overlay is the namespace's, and so its marks are attributes that users may set.
fn start_as_user(
    directory: &Path,
    lowers: Vec<PathBuf>,
    mut plan: Plan,
    own: Namespaces,
    command: &[String],
) -> Result<Child> {
    let (maps, _) = rootless::own_maps()?;
    root::adapt(&mut plan, &maps, own);
    root::host_devices(&mut plan);
    rootless::enter(&maps)?;
    let upper = Upper::make(directory, &lowers[0])?;
    let overlay = Overlay { lowers, upper: Some(upper), marks: Marks::User, ..Overlay::default() };
    Ok(pid_namespace::spawn(own, None, || match overlay.mount() {
        Ok(tree) => become_program(&tree, &plan, command),
        Err(error) => report(&error.into()),
    })?)
}

fn become_program(tree: &OwnedFd, plan: &Plan, command: &[String]) -> u8 {
    if let Err(error) = root::enter(tree, plan) {
        return report(&error.into());
    }
    let error = Program::new(command).exec();
    eprintln!("layers: {error}");
    error.exit_code()
}

fn report(error: &anyhow::Error) -> u8 {
    eprintln!("layers: {error:#}");
    125
}
