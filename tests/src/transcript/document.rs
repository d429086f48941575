//! The text: which commands it has, and what it says that they print.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{Seen, difference};

/// A Markdown file's lines and the commands in its blocks.
#[derive(Debug, Clone)]
pub struct Document {
    lines: Vec<String>,
    commands: Vec<Command>,
}

/// A command, and what it is said to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The line of the file it begins at, counted from 1.
    pub line: usize,
    /// What is given to the shell.
    pub text: String,
    /// Who runs it.
    pub who: Who,
    /// Whether it runs in a terminal.
    pub terminal: bool,
    /// What it prints, as it stands in the text, without empty lines at the end.
    pub output: Vec<String>,
    /// Where in the file that stands, counted from 0.
    place: Range<usize>,
}

/// Whose command it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// After `# `.
    Root,
    /// After `$ `.
    Ordinary,
}

/// Something done at the keyboard while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What must be there first.
    pub after: After,
    /// What is typed, as it stands in the text.
    pub typed: String,
    /// The same as the terminal gets it.
    pub bytes: Vec<u8>,
}

/// What is waited for before something is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// A program's prompt.
    Prompt,
    /// A line like this one.
    Line(String),
}

/// The prompts of programs in containers: bash's, busybox's, those of a bash without settings, of redis-cli and of psql.
static PROMPT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(?:[\w.-]+@[\w.-]+:\S*[#$]|\[[\w.-]+@[\w.-]+ \S+\][#$]|(?:/\S*|~) [#$]|(?:ba)?sh-[\d.]+[#$]|[\w.:-]+>|\w+=[#>]) ",
    )
    .expect("a regular expression")
});

/// Keys that are held down with Ctrl, and nothing else.
static KEYS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^(?:⌃[A-Z\\\\])+$").expect("a regular expression"));

/// The prompt that a line begins with.
pub fn prompt(line: &str) -> Option<&str> {
    PROMPT.find(line).map(|found| found.as_str())
}

impl Document {
    /// Finds the commands. An error begins with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut document = Self { lines, commands: Vec::new() };
        // The fence that the block we are in began with, and what kind it is.
        let mut block: Option<(String, Kind)> = None;
        for number in 0..document.lines.len() {
            let line = document.lines[number].clone();
            let Some((fence, kind)) = &block else {
                block = opening(&line);
                continue;
            };
            if line.trim_start().starts_with(fence.as_str()) && line.trim_matches([' ', '`', '~']).is_empty()
            {
                block = None;
            } else if let Kind::Console { terminal } = kind {
                let goes_on = number > 0 && opening(&document.lines[number - 1]).is_none();
                document.line(number, &line, *terminal, goes_on)?;
            }
        }
        if let Some((fence, _)) = block {
            return Err(format!("{}: a block is not closed by {fence}", document.lines.len()));
        }
        for command in &mut document.commands {
            let stays =
                command.output.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
            command.output.truncate(stays);
            command.place.end = command.place.start + stays;
        }
        for command in &document.commands {
            command.steps()?;
        }
        Ok(document)
    }

    /// Takes one line of a console's block.
    fn line(&mut self, number: usize, line: &str, terminal: bool, goes_on: bool) -> Result<(), String> {
        let who = match line.split_at_checked(2) {
            Some(("# ", _)) => Some(Who::Root),
            Some(("$ ", _)) => Some(Who::Ordinary),
            _ => None,
        };
        if let Some(who) = who {
            let (text, place) = (line[2..].to_owned(), number + 1..number + 1);
            self.commands.push(Command { line: number + 1, text, who, terminal, output: Vec::new(), place });
            return Ok(());
        }
        let wrong = |what: &str| format!("{}: {what}: {line}", number + 1);
        let command = self.commands.last_mut().filter(|_| goes_on);
        let command = command.ok_or_else(|| wrong("a block begins with a command"))?;
        match line.strip_prefix("> ") {
            Some(more) if command.output.is_empty() => {
                command.text.push('\n');
                command.text.push_str(more);
                command.place = number + 1..number + 1;
            }
            _ => {
                command.output.push(line.to_owned());
                command.place.end = number + 1;
            }
        }
        Ok(())
    }

    /// The commands, in order.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Whether an ordinary user is needed.
    pub fn has_ordinary_user(&self) -> bool {
        self.commands.iter().any(|command| command.who == Who::Ordinary)
    }

    /// The text with what was seen in place of what differs from it; none if nothing does.
    pub fn blessed(&self, seen: &[Seen]) -> Option<String> {
        let mut lines = self.lines.clone();
        let mut is_changed = false;
        // From the end, so that the places before stay where they are.
        for seen in seen.iter().rev() {
            let command = &self.commands[seen.command];
            if difference::differs(&command.output, &seen.lines) {
                lines.splice(command.place.clone(), seen.lines.iter().cloned());
                is_changed = true;
            }
        }
        is_changed.then(|| lines.join("\n") + "\n")
    }
}

/// What a block of the file is to us.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Console { terminal: bool },
    Other,
}

/// The fence and the kind of the block that a line begins.
fn opening(line: &str) -> Option<(String, Kind)> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|mark| ['`', '~'].contains(mark))?;
    let length = line.chars().take_while(|other| *other == mark).count();
    if length < 3 || line[length..].contains('`') {
        return None;
    }
    let mut words = line[length..].split(',').map(str::trim);
    let kind = match words.next() {
        Some("console") => Kind::Console { terminal: words.any(|word| word == "terminal") },
        _ => Kind::Other,
    };
    Some((line[..length].to_owned(), kind))
}

impl Command {
    /// What is typed into it. An error begins with its line.
    pub fn steps(&self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        if !self.terminal {
            return Ok(steps);
        }
        for (index, line) in self.output.iter().enumerate() {
            let keys = |typed: &str| {
                typed.split('⌃').filter_map(|key| key.bytes().next()).map(|key| key & 0x1f).collect()
            };
            if KEYS.is_match(line.trim()) {
                let number = self.place.start + index + 1;
                let above = index.checked_sub(1).and_then(|above| self.output.get(above));
                let above = above.filter(|above| prompt(above).is_none());
                let above =
                    above.ok_or_else(|| format!("{number}: keys need a line above that they wait for"))?;
                let (after, typed) = (After::Line(above.clone()), line.trim().to_owned());
                steps.push(Step { after, bytes: keys(&typed), typed });
            } else if let Some(prompt) = prompt(line) {
                let typed = line[prompt.len()..].to_owned();
                let bytes =
                    if KEYS.is_match(&typed) { keys(&typed) } else { format!("{typed}\n").into_bytes() };
                steps.push(Step { after: After::Prompt, typed, bytes });
            }
        }
        Ok(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A title, which is no command

```console
# mini-docker run -d \\
>     busybox sleep 9
9b66e927511a260492ec0deca2f6d8f61201ce1380860a97fc2458a40276ca5e
# false
[exit 1]

$ echo one; echo; echo two
one

two
```

````markdown
```console
# not to be run
```
````

~~~console,terminal
# mini-docker run -it ubuntu bash
root@62deec4411da:/# pwd
/
root@62deec4411da:/# ⌃P⌃Q
read escape sequence
# mini-docker logs -f web
listening
⌃C
[exit 130]
~~~
";

    #[test]
    fn commands_and_what_is_typed_into_them() {
        let document = Document::parse(TEXT).expect("a good document");
        let shown: String = document
            .commands()
            .iter()
            .map(|command| format!("{command:#?}\n{:#?}\n", command.steps().expect("good steps")))
            .collect();
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn what_is_no_transcript_is_said_where() {
        let errors: String = [
            "```console\nno command\n```\n",
            "# first\n\n```console\n# true\n```\n\n```console\nleft over\n```\n",
            "```console\n# true\n",
            "```console,terminal\n# mini-docker attach web\n⌃C\n```\n",
        ]
        .iter()
        .map(|text| Document::parse(text).expect_err("a bad document") + "\n")
        .collect();
        insta::assert_snapshot!(errors);
    }

    #[test]
    fn only_what_differs_is_blessed() {
        let document = Document::parse(TEXT).expect("a good document");
        let mut seen: Vec<Seen> = document
            .commands()
            .iter()
            .enumerate()
            .map(|(command, text)| Seen { command, lines: text.output.clone() })
            .collect();
        assert_eq!(document.blessed(&seen), None);
        // Another ID is no difference; another exit code is one.
        let id = &mut seen[0].lines[0];
        *id = id.replace('9', "8");
        assert_eq!(document.blessed(&seen), None);
        seen[1].lines = vec!["more".to_owned(), "[exit 2]".to_owned()];
        let blessed = document.blessed(&seen).expect("a difference");
        assert_eq!(blessed, TEXT.replace("[exit 1]", "more\n[exit 2]"));
    }
}
