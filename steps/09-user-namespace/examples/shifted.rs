//! `shifted DIRECTORY LOWER... -- COMMAND`: a command on an overlay of layers that stay as they are, and belong to others.
//!
//! Inside, the layers' files belong to 0, 33, 999, as the image's maker meant them; outside, the same processes and
//! files are 100000, 100033, 100999; and on the disk it is 0, 33, 999 again. What is written goes to DIRECTORY/upper.

use std::path::{Path, PathBuf};

use chroot::{Plan, Program, mount};
use overlay_layers::{Overlay, Upper};
use pid_namespace::Namespaces;
use user_namespace::{IdMaps, Scaffold, UserNamespace, root, shifted_overlay};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parts: Vec<&[String]> = arguments.splitn(2, |argument| argument == "--").collect();
    let [[directory, lowers @ ..], command] = parts.as_slice() else {
        anyhow::bail!("usage: shifted DIRECTORY LOWER... -- COMMAND [ARGUMENT...]");
    };
    let lowers: Vec<PathBuf> = lowers.iter().map(PathBuf::from).collect();
    let upper = Upper::make(Path::new(directory), &lowers[0])?;
    let overlay = Overlay { lowers, upper: Some(upper), ..Overlay::default() };

    let map: user_namespace::IdMap = "0 100000 65536".parse()?;
    let maps = IdMaps { uids: map.clone(), gids: map };
    let own = Namespaces::all().without(Namespaces::TIME).without(Namespaces::USER);
    let mut plan = Plan::container(&mount::mountinfo()?);
    root::adapt(&mut plan, &maps, own);

    let userns = UserNamespace::with(&maps)?;
    let mut scaffold = Scaffold::raise(Path::new("/run"), &mut plan, &maps)?;
    let tree = shifted_overlay(&overlay, &userns, &mut scaffold)?;
    let child = user_namespace::spawn(own, &maps, || {
        let entered = chroot::enter(&tree, Path::new("/"), &plan).map_err(user_namespace::Error::from);
        if let Err(error) = entered.and_then(|()| root::link_devices()) {
            eprintln!("shifted: {error}");
            return 125;
        }
        let error = Program::new(command).exec();
        eprintln!("shifted: {error}");
        error.exit_code()
    })?;
    scaffold.take_down()?;
    std::process::exit(child.wait()?.code().into());
}
