//! Whatever happens, no data is lost, nothing is stuck, the next command works, and nothing stays behind.
//!
//! | what happens | where |
//! |---|---|
//! | a command, a shim, or a container's first process is killed, at every stage of what is done | [`kills`] |
//! | a disk is full, or cannot be written to | [`disk`] |
//! | two commands at once are at work on one container | [`races`] |
//! | somebody else has written into a record | [`records`] |
//! | the host reboots | [`reboot`] |

mod disk;
mod kills;
mod leftovers;
mod races;
mod reboot;
mod records;
