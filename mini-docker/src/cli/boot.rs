//! `system start` and `system unit`: containers that come back after a reboot.

use mini_docker::{Engine, Error, Folders, Result, attach, boot};
use runtime::own_program;

use super::report;

/// Starts the containers whose restart policy wants it, the oldest first, since others may need them; prints the name of
/// each.
pub(crate) fn start(engine: &Engine) -> Result<u8> {
    own_program::run_read_only()?;
    super::sweep(engine, true);
    let mut code = 0;
    for container in engine.containers().list()?.into_iter().rev() {
        if !boot::is_wanted(&container.host_config.restart_policy, &engine.state(&container)?) {
            continue;
        }
        let started = (|| {
            if let Some(created) = engine.take_up(&container)? {
                attach::await_start(&mut engine.start(created, false, None)?)?;
            }
            Ok::<_, Error>(())
        })();
        match started {
            Ok(()) => println!("{}", container.name),
            Err(error) => {
                report(&Error::new(format!("container {} is not started: {error}", container.name)));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// Prints a unit that does so.
pub(crate) fn unit(folders: &Folders) -> Result<u8> {
    let program =
        std::env::current_exe().map_err(|error| Error::kernel("find this program's path", error))?;
    print!("{}", boot::unit(&program, folders, !nix::unistd::geteuid().is_root()));
    Ok(0)
}
