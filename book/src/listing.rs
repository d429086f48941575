//! Code, as it is shown: under a caption that says from which file and lines it is, and leads to that file.

use std::ops::Range;
use std::path::Path;

use similar::TextDiff;

use crate::source::Source;

/// Where the files that listings lead to are copied, in the built book.
pub const SOURCES: &str = "source";

/// Parts of a file one below the other. `up` leads from the chapter to the book's root.
pub fn parts(source: &Source, parts: &[Range<usize>], up: &str) -> String {
    let lines: Vec<String> = parts.iter().map(count).collect();
    let code: Vec<String> = parts.iter().map(|part| dedent(&source.lines[part.clone()])).collect();
    let caption = format!("{}, {}", link(&source.path, up), lines.join(", "));
    figure(&caption, language(&source.path), &code.join("\n\n"))
}

/// A file without its tests, folded.
pub fn whole(source: &Source, up: &str) -> String {
    let range = source.whole();
    let shown =
        figure(&link(&source.path, up), language(&source.path), &source.lines[range.clone()].join("\n"));
    fold(&format!("<code>{}</code> ({} lines)", source.path.display(), range.len()), &shown)
}

/// The way from one file to another, folded.
pub fn diff(old: &Source, new: &Source, up: &str) -> String {
    let text = |source: &Source| source.lines[source.whole()].join("\n") + "\n";
    let (before, after) = (text(old), text(new));
    let diff = TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).to_string();
    let caption = format!("from {} to {}", link(&old.path, up), link(&new.path, up));
    let title = format!("What is new since <code>{}</code>", old.path.display());
    fold(&title, &figure(&caption, "diff", diff.trim_end()))
}

fn figure(caption: &str, language: &str, code: &str) -> String {
    // Longer than any fence in the code itself.
    format!(
        "<figure class=\"listing\">\n<figcaption>{caption}</figcaption>\n\n`````{language}\n{code}\n`````\n\n</figure>"
    )
}

fn fold(title: &str, content: &str) -> String {
    format!("<details>\n<summary>{title}</summary>\n\n{content}\n\n</details>")
}

fn link(path: &Path, up: &str) -> String {
    format!("<a href=\"{up}{SOURCES}/{0}.txt\"><code>{0}</code></a>", path.display())
}

fn count(part: &Range<usize>) -> String {
    match part.len() {
        1 => format!("line {}", part.end),
        _ => format!("lines {}–{}", part.start + 1, part.end),
    }
}

fn language(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => "rust",
        Some("json") => "json",
        Some("toml") => "toml",
        _ => "text",
    }
}

/// The lines without the indentation that they share.
fn dedent(lines: &[String]) -> String {
    let indentation = |line: &String| line.len() - line.trim_start().len();
    let margin = lines.iter().filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    let lines: Vec<&str> = lines.iter().map(|line| line.get(margin..).unwrap_or("")).collect();
    lines.join("\n")
}
