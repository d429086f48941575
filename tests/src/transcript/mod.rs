//! Transcripts: examples in a text, of commands and what they print, that are run and compared.
//!
//! A Markdown file has fenced blocks with the info string `console`:
//!
//! ````markdown
//! ```console
//! # mini-docker run -d --name web busybox sleep 1000
//! 9b66e927511a260492ec0deca2f6d8f61201ce1380860a97fc2458a40276ca5e
//! # mini-docker run --rm busybox sh -c '
//! > exit 7'
//! [exit 7]
//! $ id -un
//! learner
//! ```
//! ````
//!
//! A line that begins with `# ` is a command run as root, one with `$ ` a command of an ordinary user, and `> ` goes on
//! with the command. The lines after it are what it prints, on both streams; a command that fails ends with a line
//! `[exit CODE]`. A line that is nothing but `...` stands for any number of lines. All blocks of a file are run in order
//! in one bash per user, so that folders, variables and containers stay from one block to the next.
//!
//! In a block with the info string `console,terminal` the commands run in a terminal, and what is typed into them stands
//! after their own prompt:
//!
//! ````markdown
//! ```console,terminal
//! # mini-docker run -it --name box ubuntu bash
//! root@62deec4411da:/# pwd
//! /
//! root@62deec4411da:/# ⌃P⌃Q
//! read escape sequence
//! ```
//! ````
//!
//! It is typed when the prompt is there. Keys on a line of their own (`⌃C`, `⌃D`, `⌃P⌃Q`) are pressed when the line above
//! them is there.
//!
//! Both the text and what is seen are compared without what differs from run to run ([`redaction`]). An ID, or a name that
//! the engine made up, may be used in commands as it stands in the text's examples: the real one is put in its place
//! ([`counterparts`]).

pub mod counterparts;
pub mod difference;
pub mod document;
pub mod redaction;
pub mod screen;
pub mod session;
mod shell;

use std::fs;
use std::path::Path;

pub use document::Document;
pub use session::{Session, Setting};

/// What a command of a document printed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The command: an index into [`Document::commands`].
    pub command: usize,
    /// The lines as they would stand in the document.
    pub lines: Vec<String>,
}

/// Runs all of a document's commands in a new session.
pub fn replay(document: &Document, setting: &Setting) -> Vec<Seen> {
    let mut session = Session::start(setting, document.has_ordinary_user());
    let seen = |(command, text)| Seen { command, lines: session.run(text) };
    document.commands().iter().enumerate().map(seen).collect()
}

/// Replays the document at `path`, and panics, with the differences, unless it prints what it says. With the environment
/// variable `BLESS`, what differs is written into the document instead.
pub fn verify(path: &Path, setting: &Setting) {
    let document = Document::read(path);
    let seen = replay(&document, setting);
    if std::env::var_os("BLESS").is_some_and(|value| !value.is_empty() && value != "0") {
        document.bless(path, &seen);
    } else if let Some(report) = difference::report(&document, &path.display().to_string(), &seen) {
        panic!("{report}");
    }
}

impl Document {
    /// Reads and parses a file.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text).unwrap_or_else(|error| panic!("{}:{error}", path.display()))
    }

    /// Writes what was seen in place of what differs from it. The file is left alone if nothing does.
    pub fn bless(&self, path: &Path, seen: &[Seen]) {
        let Some(text) = self.blessed(seen) else { return };
        let fresh = path.with_extension("md.new");
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, path))
            .expect("a document that can be written");
    }
}
