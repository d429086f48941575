//! What everybody on the host, and at first whoever shares the container's process ids, reads as the shim's arguments.

use std::path::Path;

use crate::error::{Error, Result};

/// Which fields of `/proc/self/stat` say where the arguments begin and end, counted from the one after the name
/// (`proc_pid_stat(5)`: 48 and 49).
const BEGIN: usize = 45;

/// Puts `title` in the place of this process's arguments.
///
/// A shim is a fork of the command, and would show its arguments for as long as the container lives: with `-e`, those
/// are passwords.
pub(super) fn set(title: &str) -> Result<()> {
    let path = Path::new("/proc/self/stat");
    let stat = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let addresses: Vec<usize> = fields.skip(BEGIN).take(2).filter_map(|field| field.parse().ok()).collect();
    let [begin, end] = addresses[..] else {
        return Err(Error::new(format!("{} does not say where the arguments are", path.display())));
    };
    let room = end.saturating_sub(begin);
    // One byte at least must stay zero: else the kernel takes what follows, the environment, for a part of the title.
    let length = title.len().min(room.saturating_sub(1));
    // SAFETY: the kernel put the arguments there, on the stack, for this process to read and write. No Rust object
    // lies there, and from here on nobody asks for the arguments.
    let arguments = unsafe { std::slice::from_raw_parts_mut(begin as *mut u8, room) };
    arguments.fill(0);
    arguments[..length].copy_from_slice(&title.as_bytes()[..length]);
    Ok(())
}
