//! QEMU: a machine as a process of the user's.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::initramfs;
use super::kernel::Kernel;
use crate::command;

/// The disk's size in bytes. The file is sparse: it takes what is written.
const DISK: u64 = 4 << 30;

/// The file at the other end of the machine's second serial line.
const REPORT: &str = "report";

/// Runs the machine with its console on this process's terminal, until it ends.
pub(super) fn converse(folder: &Path, kernel: &Kernel) -> Result<()> {
    command::run(&mut qemu(folder, kernel)?)
}

/// Runs the machine with its console on standard output, for at most `patience`; what it reports at the end.
pub(super) fn watch(folder: &Path, kernel: &Kernel, patience: Duration) -> Result<String> {
    let mut command = qemu(folder, kernel)?;
    let mut machine = command.stdin(Stdio::null()).spawn().context("cannot run qemu-system-x86_64")?;
    let ended = wait(&mut machine, patience);
    if !matches!(ended, Ok(true)) {
        machine.kill().context("cannot stop the virtual machine")?;
        machine.wait().context("cannot wait for the virtual machine")?;
    }
    let reported =
        fs::read_to_string(folder.join(REPORT)).context("cannot read what the machine reported")?;
    if ended? {
        return Ok(reported);
    }
    bail!(
        "the virtual machine did not end within {} minutes; it reported: {reported}",
        patience.as_secs() / 60
    )
}

/// Whether the machine ends, successfully, within this time.
fn wait(machine: &mut Child, patience: Duration) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if let Some(status) = machine.try_wait().context("cannot wait for the virtual machine")? {
            return if status.success() { Ok(true) } else { bail!("qemu-system-x86_64: {status}") };
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(false)
}

/// The machine: two processors, a disk, and two serial lines, one for the console and one for the report.
fn qemu(folder: &Path, kernel: &Kernel) -> Result<Command> {
    let Some(qemu) = command::find("qemu-system-x86_64") else {
        bail!("the virtual machine needs qemu-system-x86_64; run: cargo xtask setup --tests");
    };
    File::create(folder.join("disk")).and_then(|disk| disk.set_len(DISK)).context("cannot make a disk")?;
    let mut command = Command::new(qemu);
    command.current_dir(folder);
    // Not KVM: it is missing in most virtual machines and in CI, and on some hosts it can be opened and then hangs.
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072"]);
    // Nothing but what is named here; a reboot, which is what a panic leads to, is an end.
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-serial", "mon:stdio", "-serial", &format!("file:{REPORT}")]);
    // Whether the host writes the disk back does not matter: it lives for one boot.
    command.args(["-drive", "file=disk,format=raw,if=virtio,cache=unsafe"]);
    command.arg("-kernel").arg(&kernel.image).args(["-initrd", initramfs::NAME]);
    // What follows `--` are arguments of process 1. Of what the kernel says, only the
    // critical is worth a line: it calls an unknown mount option an error, and to try one is how we ask for it.
    let line = "console=ttyS0 loglevel=3 panic=-1 cgroup_no_v1=all -- vm --guest";
    command.args(["-append", line]);
    Ok(command)
}
