//! A process that is root inside and nobody special outside.

use std::fs;
use std::io::{Read, Result, Write, pipe};

use nix::errno::Errno;
use nix::unistd::{Gid, Pid, Uid, geteuid, setgroups, setresgid, setresuid};

use crate::map::Map;
use crate::process;

/// Runs `body`, which returns an exit code, in a new process: in a user namespace with this map, as its root. Returns the
/// process's number. If the map is refused, `body` does not run, and nobody is left.
pub fn start(map: &Map, body: impl FnOnce() -> u8) -> Result<Pid> {
    let (mut gate, mut opener) = pipe()?;
    let Some(child) = process::spawn()? else {
        // While this copy is open, the gate is never seen to be closed.
        drop(opener);
        let code = match gate.read(&mut [0]) {
            Ok(1) => become_root().map_or_else(report, |()| body()),
            // The parent has failed, and says why.
            _ => 125,
        };
        std::process::exit(code.into())
    };
    let opened = write_maps(child, map).and_then(|()| opener.write_all(&[1]));
    drop(opener);
    if let Err(error) = opened {
        process::wait_for(child)?;
        return Err(error);
    }
    Ok(child)
}

/// Writes the maps of `child`, of users and of groups.
fn write_maps(child: Pid, map: &Map) -> Result<()> {
    let write = |file: &str, text: &str| fs::write(format!("/proc/{child}/{file}"), text);
    // Who could give up a group could reach files that exclude its members: an ordinary user's map has this price.
    if !geteuid().is_root() {
        write("setgroups", "deny")?;
    }
    write("gid_map", &map.groups.to_string())?;
    write("uid_map", &map.users.to_string())
}

/// Becomes user 0 and group 0 of this namespace, without other groups.
fn become_root() -> Result<()> {
    match setgroups(&[]) {
        // Where it is denied, the groups stay.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

fn report(error: std::io::Error) -> u8 {
    eprintln!("box: become_root: {error}");
    125
}
