//! Running other programs, and knowing where the project is.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The project's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the project's root").to_owned()
}

/// Cargo, in the project's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Says what is run, runs it, and requires that it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// A command that is run as root: by sudo, if this program's user is another one.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg(program);
    sudo
}

/// Goes on as root, for the reason `why`: this program starts again by sudo, unless its user is root. What has to be built is
/// built before that, so that it belongs to the user.
pub(crate) fn become_root(why: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    eprintln!("{why}, so this goes on as root, by sudo.");
    let kept = ["PATH", "TMPDIR"].into_iter().filter_map(|name| {
        let mut word = OsString::from(format!("{name}="));
        word.push(std::env::var_os(name)?);
        Some(word)
    });
    // By its name: what was built may be this program as well.
    let this = std::env::args_os().next().context("this program has no name")?;
    let this = std::path::absolute(this).context("cannot find this program")?;
    // Cargo is usually in a folder of the user's, which sudo's own PATH does not have; and TMPDIR gets lost on the way, since
    // sudo is set-user-ID.
    let mut sudo = Command::new("sudo");
    sudo.args(["-E", "env"]).args(kept).arg(this).args(std::env::args_os().skip(1));
    Err(sudo.exec()).context("cannot run sudo; become root in another way, and run this again")
}

/// Gives what this program has built and made to the user who is root by means of sudo: else the user's own `cargo clean`
/// could not remove it.
pub(crate) fn hand_over() -> Result<()> {
    let (Ok(user), Ok(group)) = (std::env::var("SUDO_UID"), std::env::var("SUDO_GID")) else { return Ok(()) };
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let here = target_directory()?;
    // Above it are programs that cargo runs itself, which are built for this host whatever the target.
    let target = here.parent().context("this program is not in a target directory")?;
    let mut chown = Command::new("chown");
    chown.args(["-R", "--no-dereference", &format!("{user}:{group}")]).arg(target);
    output(&mut chown).map(drop)
}

/// The standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Builds `package`, optimised or not, and returns the path of its binary `name`.
pub(crate) fn build(package: &str, name: &str, release: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", package, "--bin", name]);
    if release {
        command.arg("--release");
    }
    run(&mut command)?;
    Ok(target_directory()?.join(if release { "release" } else { "debug" }).join(name))
}

/// Where cargo puts this host's binaries: this program is one of them.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program")?;
    Ok(this.parent().and_then(Path::parent).context("this program is not in a target directory")?.to_owned())
}

/// The path of `program`, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}
