//! Commands and their output, as they are shown. That they are true is the tests' business, which run them.

/// The fence that opens a transcript.
pub const FENCE: &str = "```console";

/// Who types the commands of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Root,
    Ordinary,
    Both,
}

/// Whether a line of a chapter opens a transcript.
pub fn opens(line: &str) -> bool {
    line.strip_prefix(FENCE).is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
}

/// A transcript, whose lines are those within its fence, under a badge that says who types it.
pub fn show(lines: &[&str]) -> String {
    let types = |prompt: &str| lines.iter().any(|line| line.starts_with(prompt));
    let who = match (types("# "), types("$ ")) {
        (true, true) => Who::Both,
        (true, false) => Who::Root,
        (false, _) => Who::Ordinary,
    };
    let (class, badge) = match who {
        Who::Root => ("root", "as root"),
        Who::Ordinary => ("user", "as an ordinary user"),
        Who::Both => ("root", "as root (#) and as an ordinary user ($)"),
    };
    let text = lines.join("\n");
    format!(
        "<figure class=\"transcript {class}\">\n<figcaption>{badge}</figcaption>\n\n{FENCE}\n{text}\n```\n\n</figure>"
    )
}
