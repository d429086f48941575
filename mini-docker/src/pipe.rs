//! An archive that is written and read at once.

use std::io::{PipeReader, PipeWriter};

use crate::error::{Error, Result};

/// Lets `write` write, and `read` read what it has written, side by side; only the writer moves to another thread.
pub(crate) fn through<W: Send, R>(
    write: impl FnOnce(PipeWriter) -> Result<W> + Send,
    read: impl FnOnce(PipeReader) -> Result<R>,
) -> Result<(W, R)> {
    let (reader, writer) = std::io::pipe().map_err(|error| Error::kernel("make a pipe", error))?;
    std::thread::scope(|scope| {
        let written = scope.spawn(|| write(writer));
        let read = read(reader);
        let written = written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // The writer's complaint about a reader that is gone is only the echo of the reader's own.
        let read = read?;
        Ok((written?, read))
    })
}
