//! Between two runs of a container that its policy starts again.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::traffic::Client;
use crate::error::{Error, Result};
use crate::wire::{Connection, Frame, Received};

/// How long it is waited before the first restart.
const FIRST: Duration = Duration::from_millis(100);
/// How long at most.
const LONGEST: Duration = Duration::from_mins(1);
/// A run of that length counts as a success: the next wait is a first one again.
const SUCCESS: Duration = Duration::from_secs(10);

/// How long it is waited before restarts: twice as long each time, as Docker does it, so that a container which cannot
/// run does not keep the host busy.
#[derive(Debug, Default)]
pub(super) struct Delays {
    last: Option<Duration>,
}

impl Delays {
    /// The wait after a run that took `ran`.
    pub(super) fn next(&mut self, ran: Duration) -> Duration {
        let next = match self.last {
            Some(last) if ran < SUCCESS => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(next);
        next
    }
}

/// How the wait before a restart ended.
pub(super) enum Waited {
    /// Nobody objected.
    ToTheEnd,
    /// Somebody wants the container stopped: who waits for that.
    Stopped(Vec<Client>),
}

/// Waits for `delay`, and for who does not want the restart. Others who come meanwhile are told that there is nothing to
/// talk to by the end of their connection.
pub(super) fn await_restart(listener: &UnixListener, delay: Duration) -> Result<Waited> {
    use std::os::fd::AsFd;
    let deadline = Instant::now() + delay;
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Waited::ToTheEnd);
        }
        let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        fds.extend(clients.iter().map(|client| PollFd::new(client.connection.as_fd(), PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Error::kernel("wait for a restart", errno)),
        }
        let mut stopped = false;
        clients.retain_mut(|client| match client.connection.receive() {
            Ok(Received::Frames(frames)) => {
                stopped |= frames.iter().any(|frame| matches!(frame, Frame::Stop(_)));
                true
            }
            Ok(Received::Closed(_)) | Err(_) => false,
        });
        if stopped {
            return Ok(Waited::Stopped(clients));
        }
        if let Ok((socket, _)) = listener.accept() {
            clients.push(Client::new(Connection::new(socket), false, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_last_until_a_run_succeeds() {
        let mut delays = Delays::default();
        let table: String = [0, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0]
            .map(|seconds| format!("{seconds:>2} s: {:?}\n", delays.next(Duration::from_secs(seconds))))
            .concat();
        insta::assert_snapshot!(table);
    }
}
