//! Programs that a test makes, to run them where they lie.
//!
//! Each is written by a process of its own. Another test's thread may fork while this process has a file open to
//! write: the child has the descriptor too, until it becomes its program, and for so long the file cannot be run
//! (ETXTBSY).

use std::path::Path;
use std::process::Command;

use crate::stdout;

/// Copies a program.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    stdout(Command::new("cp").arg(from.as_ref()).arg(to.as_ref()));
}

/// Writes a program that is text.
pub fn write(path: impl AsRef<Path>, text: &str) {
    let line = r#"printf %s "$1" > "$0" && chmod 755 "$0""#;
    stdout(Command::new("sh").args(["-c", line]).arg(path.as_ref()).arg(text));
}
