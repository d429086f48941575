//! Comparing what a text says with what was seen, and saying how they differ.

use super::redaction::redacted;
use super::{Document, Seen};

/// Whether what was seen is something else than what is said.
pub fn differs(said: &[String], seen: &[String]) -> bool {
    !fits(&redacted(said), &redacted(seen))
}

/// Whether these are the same lines. One that is `...` stands for any number of them.
fn fits(said: &[String], seen: &[String]) -> bool {
    match said.split_first() {
        None => seen.is_empty(),
        Some((line, rest)) if line.trim() == "..." => {
            (0..=seen.len()).any(|skipped| fits(rest, &seen[skipped..]))
        }
        Some((line, rest)) => seen.first() == Some(line) && fits(rest, &seen[1..]),
    }
}

/// What differs, command by command; none if nothing does. `name` is the document's.
pub fn report(document: &Document, name: &str, seen: &[Seen]) -> Option<String> {
    let mut report = String::new();
    for seen in seen {
        let command = &document.commands()[seen.command];
        if differs(&command.output, &seen.lines) {
            let text = command.text.replace('\n', "\n> ");
            let lines = changes(&command.output, &seen.lines);
            report += &["\n", name, ":", &command.line.to_string(), ": ", &text, "\n", &lines].concat();
        }
    }
    let hint =
        "\n(- what the text says, + what was seen; if that is right, BLESS=1 writes it into the text)\n";
    (!report.is_empty()).then(|| format!("a transcript is not what happens:\n{report}{hint}"))
}

/// The lines of both, those that are the same at the beginning and at the end once.
fn changes(said: &[String], seen: &[String]) -> String {
    let same = |(said, seen): &(&String, &String)| {
        redacted(std::slice::from_ref(*said)) == redacted(std::slice::from_ref(*seen))
    };
    let before = said.iter().zip(seen).take_while(same).count();
    let (said_rest, seen_rest) = (&said[before..], &seen[before..]);
    let after = said_rest.iter().rev().zip(seen_rest.iter().rev()).take_while(same).count();
    let marked = |mark: &str, lines: &[String]| {
        lines.iter().map(|line| format!("  {mark} {line}\n")).collect::<String>()
    };
    [
        marked(" ", &seen[..before]),
        marked("-", &said_rest[..said_rest.len() - after]),
        marked("+", &seen_rest[..seen_rest.len() - after]),
        marked(" ", &seen_rest[seen_rest.len() - after..]),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn dots_stand_for_lines() {
        let said = lines("one\n...\nlast");
        for (seen, fits) in
            [("one\nlast", true), ("one\n2\n3\nlast", true), ("one\n2\n3", false), ("2\nlast", false)]
        {
            assert_eq!(!differs(&said, &lines(seen)), fits, "{seen}");
        }
    }

    #[test]
    fn a_changed_output_is_shown_at_its_line() {
        let document =
            Document::parse("Text\n\n```console\n# ls /\nbin\netc\nusr\n```\n").expect("a good document");
        let seen = |text| vec![Seen { command: 0, lines: lines(text) }];
        assert_eq!(report(&document, "lab.md", &seen("bin\netc\nusr")), None);
        insta::assert_snapshot!(report(&document, "lab.md", &seen("bin\nlib\nusr")).expect("a difference"));
    }
}
