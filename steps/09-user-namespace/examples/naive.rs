//! `naive SHARED ROOTFS COMMAND`: a container as in steps 1 and 2, which sees the host's directory SHARED as `/shared`.
//! Its root is the host's: what `plant.rs` leaves in that directory makes anybody on the host root.

use std::path::Path;

use chroot::mount::Attributes;
use chroot::{Plan, Program, mount, plan};
use pid_namespace::{Namespaces, spawn};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shared, rootfs, command @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: naive SHARED ROOTFS COMMAND [ARGUMENT...]");
    };
    let mut plan = Plan::container(&mount::mountinfo()?);
    plan.mounts.push(plan::bind(shared, "/shared", Attributes::default()));
    // Everything is its own, except who it is.
    let own = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID | Namespaces::CGROUP;
    let child = spawn(own, None, || {
        let entered = mount::clone_tree(Path::new(rootfs), true)
            .and_then(|tree| chroot::enter(&tree, Path::new(rootfs), &plan));
        let error = match entered {
            Ok(()) => Program::new(command).exec().to_string(),
            Err(error) => error.to_string(),
        };
        eprintln!("naive: {error}");
        125
    })?;
    std::process::exit(child.wait()?.code().into());
}
