//! A file of the repository, and the part of it that a chapter asks for.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A file that is shown.
#[derive(Debug)]
pub struct Source {
    /// Below the repository's root.
    pub path: PathBuf,
    /// Its lines, without what ends them.
    pub lines: Vec<String>,
}

/// What opens a module of tests, and what marks the parts of a file that have no name of their own.
const TESTS: &str = "#[cfg(test)]";
const ANCHOR: &str = "// ANCHOR: ";
const ANCHOR_END: &str = "// ANCHOR_END: ";

/// Words that come before a name where it is defined.
const KINDS: &[&str] =
    &["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "union", "macro_rules!"];

impl Source {
    /// Reads the file `path` below `root`.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(root: &Path, path: &str) -> Result<Self> {
        let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        Ok(Self { path: path.into(), lines: text.lines().map(str::to_owned).collect() })
    }

    /// The lines, counted from 0, that are no tests.
    pub fn whole(&self) -> Range<usize> {
        let tests = self.lines.iter().position(|line| line == TESTS);
        let end = tests.unwrap_or(self.lines.len());
        0..self.lines[..end].iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1)
    }

    /// The lines between the comments `ANCHOR: name` and `ANCHOR_END: name`.
    ///
    /// # Errors
    /// If one of the two is not there.
    pub fn anchored(&self, name: &str) -> Result<Range<usize>> {
        let find = |mark: &str| {
            let wanted = format!("{mark}{name}");
            self.lines
                .iter()
                .position(|line| line.trim() == wanted)
                .with_context(|| format!("{} has no line `{wanted}`", self.path.display()))
        };
        let (begin, end) = (find(ANCHOR)? + 1, find(ANCHOR_END)?);
        if begin > end {
            bail!("{}: anchor {name} ends before it begins", self.path.display());
        }
        Ok(begin..end)
    }

    /// The lines of an item with its comments and attributes: `Name`, `Type::method`, or the beginning of an `impl` block
    /// up to its brace, as in `impl Display for Error`.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn item(&self, name: &str) -> Result<Range<usize>> {
        let all = 0..self.lines.len();
        let found = match name.split_once("::") {
            _ if name.starts_with("impl ") => self.blocks(&all, |line| begins(line, name)),
            Some((owner, method)) => self
                .blocks(&all, |line| is_impl_of(line, owner))
                .into_iter()
                .flat_map(|block| self.blocks(&block, |line| defines(line, method)))
                .collect(),
            None => self.blocks(&all, |line| defines(line, name)),
        };
        // Methods have names, too; what stands at the margin is meant first.
        let outer: Vec<_> = found.iter().filter(|range| !self.definition(range).starts_with(' ')).collect();
        match (&found[..], &outer[..]) {
            ([one], _) => Ok(one.clone()),
            (_, [one]) => Ok((*one).clone()),
            ([], _) => bail!("{} has no item `{name}`", self.path.display()),
            _ => bail!("{} has {} items `{name}`", self.path.display(), found.len()),
        }
    }

    /// The first line of an item that is no comment and no attribute.
    fn definition(&self, range: &Range<usize>) -> &str {
        self.lines[range.clone()].iter().find(|line| !is_introduction(line)).map_or("", String::as_str)
    }

    /// The items within `within` whose first line is one that is wanted.
    fn blocks(&self, within: &Range<usize>, wanted: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
        let lines = within.clone().filter(|&line| wanted(self.lines[line].trim_start()));
        lines.map(|line| self.introduction(line)..self.end(line)).collect()
    }

    /// Where the comments and attributes of the item that is defined at `line` begin.
    fn introduction(&self, line: usize) -> usize {
        (0..line).rev().take_while(|&above| is_introduction(&self.lines[above])).last().unwrap_or(line)
    }

    /// The line after the item that begins at `line`: in formatted code, its end is where its indentation is back.
    fn end(&self, line: usize) -> usize {
        let first = &self.lines[line];
        if first.ends_with(';') || (first.ends_with('}') && first.contains('{')) {
            return line + 1;
        }
        let margin = first.len() - first.trim_start().len();
        let closes = |line: &String| {
            let text = line.trim_start();
            line.len() - text.len() == margin
                && ["}", ")", "]", "\"", ";"].iter().any(|end| text.starts_with(end))
                && !text.ends_with('{')
        };
        self.lines[line + 1..].iter().position(closes).map_or(self.lines.len(), |last| line + last + 2)
    }
}

fn is_introduction(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("///")
        || line.starts_with("#[")
        || (line.starts_with("// ") && !line.starts_with("// ANCHOR"))
}

/// Whether a line begins the definition of `name`.
fn defines(line: &str, name: &str) -> bool {
    let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || "(<:{;=".contains(c)).collect();
    let kind = words.iter().position(|word| KINDS.contains(word));
    let introduced = |at: usize| {
        words[..at].iter().all(|word| {
            ["pub", "const", "unsafe", "async", "extern", "crate)", "super)", "in", "\"C\"", ""]
                .contains(word)
                || word.starts_with("pub(")
        })
    };
    kind.is_some_and(|at| {
        let at = if words[at] == "const" && words.get(at + 1) == Some(&"fn") { at + 1 } else { at };
        introduced(at) && words[at + 1..].iter().find(|word| !word.is_empty()) == Some(&name)
    })
}

/// Whether a line begins a block of methods of `owner`.
fn is_impl_of(line: &str, owner: &str) -> bool {
    let Some(rest) = line.strip_prefix("impl").and_then(|rest| rest.strip_suffix('{')) else { return false };
    let subject = rest.rsplit(" for ").next().unwrap_or(rest);
    subject.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == owner)
}

/// Whether a line begins with `words`, and not with a longer word.
fn begins(line: &str, words: &str) -> bool {
    line.strip_prefix(words).is_some_and(|rest| rest.starts_with([' ', '<', '{']) || rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"//! A file.

use std::fmt;

/// The longest name.
const MAX: usize = 5;

/// A list.
const LIST: &[&str] = &[
    "a",
];

/// A thing.
#[derive(Debug)]
pub struct Thing {
    size: u32,
}

impl Thing {
    /// Makes one.
    pub const fn new(size: u32) -> Self {
        Self { size }
    }

    // ANCHOR: middle
    fn half(&self) -> u32 { self.size / 2 }
    // ANCHOR_END: middle
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.size)
    }
}

fn long(
    one: u32,
) -> u32 {
    one
}

#[cfg(test)]
mod tests {}
"#;

    #[test]
    fn parts_of_a_file() {
        let source = Source { path: "file.rs".into(), lines: FILE.lines().map(str::to_owned).collect() };
        let names = [
            "MAX",
            "LIST",
            "Thing",
            "Thing::new",
            "new",
            "Thing::half",
            "impl fmt::Display for Thing",
            "long",
            "size",
            "Thing::none",
        ];
        let text = |part: Result<Range<usize>>| {
            part.map_or_else(|error| error.to_string(), |range| source.lines[range].join("\n"))
        };
        let items = names.map(|name| format!("== {name}\n{}", text(source.item(name))));
        let anchors = ["middle", "end"].map(|name| format!("== :{name}\n{}", text(source.anchored(name))));
        let whole = format!("== whole: {:?}", source.whole());
        let shown = [&items[..], &anchors, &[whole]].concat().join("\n");
        insta::assert_snapshot!(shown);
    }
}
