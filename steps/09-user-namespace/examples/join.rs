//! `join PID COMMAND`: runs a command as root of the user namespace, and with the mounts, of process PID.

use std::os::fd::AsFd;

use chroot::Program;
use nix::unistd::Pid;
use user_namespace::rootless;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pid, command @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: join PID COMMAND [ARGUMENT...]");
    };
    rootless::join(pid_namespace::join::open(Pid::from_raw(pid.parse()?))?.as_fd())?;
    anyhow::bail!(Program::new(command).exec())
}
