//! A container's program, up to the last step before it runs. Nothing is to be written here.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{AccessFlags, access, chdir};

use crate::config::{Config, Process};
use crate::{process, root};

/// A program that could run now.
pub struct Program(Command);

/// Makes the container around this process, which is in new namespaces: its name, its root, its working directory. Finds
/// the program in there. The host's files are out of reach afterwards.
pub fn prepare(bundle: &Path, config: &Config) -> Result<Program, String> {
    process::name_host(&config.hostname).map_err(|error| format!("name_host: {error}"))?;
    root::enter(&bundle.join(&config.root.path)).map_err(|error| format!("the root: {error}"))?;
    let Process { user, args, env, cwd } = &config.process;
    chdir(cwd).map_err(|error| format!("{}: {error}", cwd.display()))?;
    let [name, arguments @ ..] = args.as_slice() else { return Err("no program".into()) };
    let env = env.iter().filter_map(|variable| variable.split_once('='));
    let path = env.clone().find(|(name, _)| *name == "PATH").map_or("", |(_, path)| path);
    let mut command = Command::new(find(name, path)?);
    command.args(arguments).env_clear().envs(env).uid(user.uid).gid(user.gid);
    Ok(Program(command))
}

fn find(name: &str, path: &str) -> Result<PathBuf, String> {
    let mut candidates: Vec<PathBuf> =
        path.split(':').map(|directory| Path::new(directory).join(name)).collect();
    if name.contains('/') {
        candidates = vec![name.into()];
    }
    let found = candidates.into_iter().find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok());
    found.ok_or_else(|| format!("there is no program {name}"))
}

impl Program {
    /// Becomes the program. Returns only if that fails, with the reason.
    pub fn run(mut self) -> std::io::Error {
        self.0.exec()
    }
}
