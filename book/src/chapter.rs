//! A chapter with everything in its place.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::directive::{Directive, Part};
use crate::source::Source;
use crate::{listing, transcript};

/// Which lines of which files have been shown, counted from 0.
pub type Shown = BTreeMap<PathBuf, Vec<Range<usize>>>;

/// Puts everything into chapters.
#[derive(Debug)]
pub struct Composer {
    /// The repository's root.
    root: PathBuf,
    /// What the chapters so far have shown.
    pub shown: Shown,
}

impl Composer {
    /// One that fetches from the repository at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), shown: Shown::new() }
    }

    /// The text of the chapter `path`, whose directives and transcripts become what they stand for.
    ///
    /// # Errors
    /// What a directive asks for and is not there, with the chapter and the line.
    pub fn compose(&mut self, path: &Path, text: &str) -> Result<String> {
        let up = "../".repeat(path.components().count() - 1);
        let mut composed = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if transcript::opens(line) {
                let inside: Vec<&str> =
                    lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
                composed.push(transcript::show(&inside));
                continue;
            }
            let at = || format!("{}, line {}", path.display(), number + 1);
            match Directive::of(line).with_context(at)? {
                Some(directive) => composed.push(self.carry_out(&directive, &up).with_context(at)?),
                None => composed.push(line.to_owned()),
            }
        }
        Ok(composed.join("\n"))
    }

    fn carry_out(&mut self, directive: &Directive, up: &str) -> Result<String> {
        match directive {
            Directive::Code(file, part) => {
                let source = Source::read(&self.root, file)?;
                let parts = match part {
                    Part::Anchor(name) => vec![source.anchored(name)?],
                    Part::Items(names) => {
                        names.iter().map(|name| source.item(name)).collect::<Result<_>>()?
                    }
                };
                let text = listing::parts(&source, &parts, up);
                self.shown.entry(source.path).or_default().extend(parts);
                Ok(text)
            }
            Directive::File(file) => {
                let source = Source::read(&self.root, file)?;
                let text = listing::whole(&source, up);
                let whole = source.whole();
                self.shown.entry(source.path).or_default().push(whole);
                Ok(text)
            }
            Directive::Diff(old, new) => {
                let (old, new) = (Source::read(&self.root, old)?, Source::read(&self.root, new)?);
                let text = listing::diff(&old, &new, up);
                // It is linked, though no lines of it count as shown.
                for source in [old, new] {
                    self.shown.entry(source.path).or_default();
                }
                Ok(text)
            }
            Directive::Figure(name, caption) => {
                let path = format!("book/figures/{name}.svg");
                let picture = fs::read_to_string(self.root.join(&path))
                    .with_context(|| format!("cannot read {path}"))?;
                // A blank line would end the HTML within the Markdown.
                let picture: Vec<&str> = picture.lines().filter(|line| !line.trim().is_empty()).collect();
                Ok(format!(
                    "<figure class=\"picture\">\n{}\n<figcaption>{caption}</figcaption>\n</figure>",
                    picture.join("\n")
                ))
            }
        }
    }
}
