//! A chapter with everything in its place.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use seccomp::{Profile, describe};

use crate::course::{self, Course};
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
    /// What the courses show, and where the chapters so far treat it.
    pub course: Course,
    /// What the chapters so far have shown.
    pub shown: Shown,
}

impl Composer {
    /// One that fetches from the repository at `root`.
    pub fn new(root: &Path, course: Course) -> Self {
        Self { root: root.to_owned(), course, shown: Shown::new() }
    }

    /// The text of the chapter `path`, whose directives and transcripts become what they stand for; but for the tables of
    /// points, which can be written only when all chapters are known ([`Composer::complete`]).
    ///
    /// # Errors
    /// What a directive asks for and is not there, with the chapter and the line.
    pub fn compose(&mut self, path: &Path, text: &str) -> Result<String> {
        let up = way_up(path);
        let mut composed = Vec::new();
        let mut place = Headings::default();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if transcript::opens(line) {
                let inside: Vec<&str> =
                    lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
                composed.push(transcript::show(&inside));
                continue;
            }
            let at = || format!("{}, line {}", path.display(), number + 1);
            place.pass(line);
            match Directive::of(line).with_context(at)? {
                Some(Directive::Treats(points)) => {
                    self.course.treat(&points, path, &place.name()).with_context(at)?;
                    composed.push(course::spots(&points));
                }
                Some(Directive::Points(_)) | None => composed.push(line.to_owned()),
                // HTML ends with a blank line: without one, what stands on the next line would be a part of it.
                Some(directive) => composed.push(self.carry_out(&directive, &up).with_context(at)? + "\n"),
            }
        }
        Ok(composed.join("\n"))
    }

    /// The text of the composed chapter `path`, with the tables of points in their places.
    ///
    /// # Errors
    /// A course that there is not, with the chapter.
    pub fn complete(&self, path: &Path, text: &str) -> Result<String> {
        let complete = |line: &str| match Directive::of(line) {
            Ok(Some(Directive::Points(course))) => self.course.table(&course, &way_up(path)),
            _ => Ok(line.to_owned()),
        };
        let lines: Result<Vec<String>> = text.lines().map(complete).collect();
        Ok(lines.with_context(|| path.display().to_string())?.join("\n"))
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
            Directive::Profile(file) => {
                let profile = Profile::read(self.root.join(file)).with_context(|| file.clone())?;
                let rows: Vec<String> = describe(&profile).iter().map(ToString::to_string).collect();
                Ok(format!("{}\n{}", describe::HEAD, rows.join("\n")))
            }
            Directive::Treats(_) | Directive::Points(_) => {
                unreachable!("these concern more than one chapter")
            }
        }
    }
}

/// The headings above a line.
#[derive(Debug, Default)]
struct Headings {
    chapter: String,
    section: String,
}

impl Headings {
    fn pass(&mut self, line: &str) {
        if let Some(title) = line.strip_prefix("# ").filter(|_| self.chapter.is_empty()) {
            title.clone_into(&mut self.chapter);
        } else if let Some(title) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            title.clone_into(&mut self.section);
        }
    }

    fn name(&self) -> String {
        match self.section.as_str() {
            "" => self.chapter.clone(),
            section => format!("{}: {section}", self.chapter),
        }
    }
}

/// What leads from a chapter to the book's root.
fn way_up(chapter: &Path) -> String {
    "../".repeat(chapter.components().count() - 1)
}
