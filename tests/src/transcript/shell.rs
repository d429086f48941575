//! A bash in a pseudo-terminal, which runs one command after the other.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use expectrl::session::OsSession;
use expectrl::{Expect, Session};
use nix::sys::signal::{SigHandler, Signal};

use super::document::{self, After, Step};
use super::redaction::redacted;
use super::screen;

/// How long anything may take, an image's pull on a busy machine among it.
const PATIENCE: Duration = Duration::from_secs(90);
/// Around what the driver says to us, on the terminal: nobody else writes this character.
const MARK: char = '\x1c';

/// What bash does: it is told how to run the command in a file, and says when it begins and how it ended.
///
/// An interrupt ends the command, and not bash.
const DRIVER: &str = r#"
trap : INT
while IFS= read -r way; do
    case $way in
        plain*) printf '\034begins\034'; . "$FOLDER/command" </dev/null >"$FOLDER/output-${way#plain }" 2>&1 ;;
        terminal) printf '\034begins\034'; . "$FOLDER/command" ;;
        *) continue ;;
    esac
    printf '\034%d\034' $?
done
"#;

/// A bash, and the folder with which it is told what to do.
pub(super) struct Shell {
    terminal: OsSession,
    /// What came from it and was not looked at yet.
    unread: Vec<u8>,
    folder: PathBuf,
    commands: usize,
}

/// Why a command has no end.
#[derive(Debug)]
pub(super) struct Stuck {
    /// What its terminal showed so far.
    pub(super) shown: Vec<String>,
    /// What was waited for.
    pub(super) wanted: String,
}

/// What was there when a wait was over.
struct Shown {
    lines: Vec<String>,
    /// The exit code, if the command has ended.
    end: Option<i32>,
}

impl Shell {
    /// Starts `bash`, which is bash or a program that becomes it, with these lines before the driver's. `folder` exists,
    /// is empty, and may be written to by whoever bash runs as.
    pub(super) fn start(mut bash: Command, prelude: &str, folder: &Path) -> Self {
        let script = folder.join("driver");
        fs::write(&script, format!("FOLDER={}\n{prelude}\n{DRIVER}", folder.display()))
            .expect("a fresh folder");
        bash.arg(script);
        // Who was started in the background ignores interrupts, and so would all that is started from there.
        // SAFETY: the default action is no handler of ours, and is set between fork and exec.
        unsafe {
            bash.pre_exec(|| {
                nix::sys::signal::signal(Signal::SIGINT, SigHandler::SigDfl)?;
                Ok(())
            });
        }
        let mut terminal = Session::spawn(bash).expect("a terminal");
        // As wide as examples in a text are.
        terminal.get_process_mut().set_window_size(110, 40).expect("our own terminal");
        Self { terminal, unread: Vec::new(), folder: folder.to_owned(), commands: 0 }
    }

    /// Runs a command without a terminal; the lines that it prints, and its exit code.
    pub(super) fn plain(&mut self, text: &str) -> Result<(Vec<String>, i32), Stuck> {
        self.commands += 1;
        self.begin(text, &format!("plain {}", self.commands))?;
        let end = self.wait(&Wanted::End)?.end.unwrap_or_default();
        let output = self.folder.join(format!("output-{}", self.commands));
        let output = fs::read(output).expect("what the driver wrote");
        Ok((String::from_utf8_lossy(&output).lines().map(str::to_owned).collect(), end))
    }

    /// Runs a command in the terminal, and types into it; what the terminal shows, and the command's exit code.
    pub(super) fn interactive(&mut self, text: &str, steps: &[Step]) -> Result<(Vec<String>, i32), Stuck> {
        self.begin(text, "terminal")?;
        let mut seen = Vec::new();
        let mut typed: Option<&Step> = None;
        for step in steps {
            let wanted = match &step.after {
                After::Prompt => Wanted::Prompt,
                After::Line(line) => Wanted::Line(redacted(std::slice::from_ref(line))),
            };
            let mut shown = self.wait(&wanted).map_err(|stuck| stuck.after(&seen))?;
            without_echo(&mut shown.lines, typed);
            let prompt = shown.lines.pop_if(|line| {
                shown.end.is_none() && step.after == After::Prompt && document::prompt(line).is_some()
            });
            seen.append(&mut shown.lines);
            if let Some(end) = shown.end {
                return Ok((seen, end));
            }
            seen.push(format!("{}{}", prompt.unwrap_or_default(), step.typed));
            self.terminal.send(&step.bytes).expect("our own terminal");
            typed = Some(step);
        }
        let mut shown = self.wait(&Wanted::End).map_err(|stuck| stuck.after(&seen))?;
        without_echo(&mut shown.lines, typed);
        seen.append(&mut shown.lines);
        Ok((seen, shown.end.unwrap_or_default()))
    }

    fn begin(&mut self, text: &str, way: &str) -> Result<(), Stuck> {
        fs::write(self.folder.join("command"), format!("{text}\n")).expect("our own folder");
        self.terminal.send_line(way).expect("our own terminal");
        self.wait(&Wanted::Begin).map(|_| ())
    }

    /// Waits until what is wanted is there, or the command has ended.
    fn wait(&mut self, wanted: &Wanted) -> Result<Shown, Stuck> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(length) = wanted.is_there(&self.unread) {
                let rest = self.unread.split_off(length);
                return Ok(Shown::of(&std::mem::replace(&mut self.unread, rest)));
            }
            let mut bytes = [0; 4096];
            // Not with `expect`, which would never sleep.
            let problem = match self.terminal.try_read(&mut bytes) {
                Ok(0) => "the shell has ended".to_owned(),
                Ok(length) => {
                    self.unread.extend_from_slice(&bytes[..length]);
                    continue;
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => error.to_string(),
                Err(_) if Instant::now() > deadline => "it took too long".to_owned(),
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(3));
                    continue;
                }
            };
            let shown = screen::lines(&std::mem::take(&mut self.unread));
            return Err(Stuck { shown, wanted: format!("{wanted}: {problem}") });
        }
    }
}

impl Stuck {
    fn after(mut self, seen: &[String]) -> Self {
        self.shown.splice(0..0, seen.iter().cloned());
        self
    }
}

impl Shown {
    fn of(bytes: &[u8]) -> Self {
        match end(bytes) {
            Some((at, end)) => Self { lines: screen::lines(&bytes[..at]), end: Some(end) },
            None => Self { lines: screen::lines(bytes), end: None },
        }
    }
}

/// Where the driver says that the command has ended, and its exit code.
fn end(bytes: &[u8]) -> Option<(usize, i32)> {
    let text = bytes.strip_suffix(&[MARK as u8])?;
    let at = text.iter().rposition(|byte| *byte == MARK as u8)?;
    Some((at, std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()?))
}

/// Takes away what the terminal shows because it was typed.
fn without_echo(lines: &mut Vec<String>, typed: Option<&Step>) {
    let is_echo = |line: &String| match typed {
        None => false,
        Some(step) if step.after == After::Prompt && *line == step.typed => true,
        // Keys are shown as ^C, or not at all.
        Some(step) => {
            step.typed.starts_with('⌃') && (line.is_empty() || *line == step.typed.replace('⌃', "^"))
        }
    };
    if lines.first().is_some_and(is_echo) {
        lines.remove(0);
    }
}

/// What is waited for.
enum Wanted {
    Begin,
    Prompt,
    Line(Vec<String>),
    End,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin => f.write_str("the shell"),
            Self::Prompt => f.write_str("a prompt"),
            Self::Line(line) => write!(f, "a line like {:?}", line.concat()),
            Self::End => f.write_str("its end"),
        }
    }
}

impl Wanted {
    /// How many of these bytes one has to read until it is there.
    fn is_there(&self, bytes: &[u8]) -> Option<usize> {
        let is_there = match self {
            Self::Begin => {
                let begins = format!("{MARK}begins{MARK}");
                let at = bytes.windows(begins.len()).position(|window| window == begins.as_bytes());
                return at.map(|at| at + begins.len());
            }
            _ if end(bytes).is_some() => true,
            Self::Prompt => {
                let lines = screen::lines(bytes);
                lines.last().is_some_and(|line| document::prompt(line).is_some_and(|prompt| prompt == line))
            }
            Self::Line(line) => {
                // It is whole when its end was written.
                let is_like = |shown: &String| redacted(std::slice::from_ref(shown)) == *line;
                bytes.ends_with(b"\n") && screen::lines(bytes).iter().any(is_like)
            }
            Self::End => false,
        };
        is_there.then_some(bytes.len())
    }
}
