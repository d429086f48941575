//! A container with an init process: this binary is process 1, and the program is its child.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use pid_namespace::{Exit, descriptors, init};

use crate::error::Error;
use crate::process::{Ready, become_program};
use crate::talk::{Report, pipe};

/// What the binary is called when it is process 1 of a container with `--init`; its argument is the program's id.
pub const INIT: &str = "mini-docker-init";

/// Starts the program in a child, and looks after it.
///
/// This process has the command's environment, arguments and memory, with whatever secrets are in them, and in the
/// container they could be read from `/proc/1`. So it becomes itself once more, with nothing but the child's id. The
/// child waits for that: its pipe is closed by the kernel when this process is as confined as the child will be.
pub(crate) fn become_init(ready: &Ready<'_>, own: &OwnedFd, report: Report) -> u8 {
    let (word, mut speaker) = match pipe() {
        Ok((word, speaker)) => (word, File::from(speaker)),
        Err(error) => return report.fail(&error),
    };
    // The report's pipe moves into the child: process 1 must not hold it.
    let main = match init::start(move || become_main(ready, report, word)) {
        Ok(main) => main,
        Err(error) => {
            eprintln!("Error: {error}");
            return 125;
        }
    };
    let error = match ready.confine().and_then(|()| ready.seal()) {
        Ok(()) => {
            let argument = std::ffi::CString::new(main.pid().to_string()).expect("a number has no NUL in it");
            let name = std::ffi::CString::new(INIT).expect("nor has this name");
            let nothing: [&std::ffi::CStr; 0] = [];
            let flags = nix::fcntl::AtFlags::AT_EMPTY_PATH;
            let Err(errno) = nix::unistd::execveat(own, c"", &[name, argument], &nothing, flags);
            Error::kernel("become the init process", errno)
        }
        Err(error) => error,
    };
    if let Err(failure) = speaker.write_all(error.to_string().as_bytes()) {
        eprintln!("Error: {error} ({failure})");
    }
    drop(speaker);
    // The end of this process would be the child's, which has to tell the parent first.
    main.wait().map_or(125, Exit::code)
}

/// Becomes the program as soon as process 1 is confined.
fn become_main(ready: &Ready<'_>, report: Report, word: OwnedFd) -> u8 {
    let mut failure = String::new();
    let heard = descriptors::keep_only(&[report.as_fd(), word.as_fd()]).map_err(Error::from).and_then(|()| {
        let mut word = File::from(word);
        word.read_to_string(&mut failure).map_err(|error| Error::kernel("hear from process 1", error))
    });
    match heard {
        Ok(0) => become_program(ready, report),
        Ok(_) => report.fail(&Error::new(failure)),
        Err(error) => report.fail(&error),
    }
}
