//! What stands in a chapter between `{{#` and `}}`, alone on its line.
//!
//! | directive | what it becomes |
//! |---|---|
//! | `{{#code FILE:ANCHOR}}` | the lines between two comments |
//! | `{{#code FILE#ITEM, ITEM}}` | items by their names, with their comments |
//! | `{{#file FILE}}` | a whole file without its tests, folded |
//! | `{{#diff OLD NEW}}` | how one file differs from another, folded |
//! | `{{#figure NAME CAPTION}}` | a picture of `figures/` |
//! | `{{#profile FILE}}` | a seccomp profile as a table |
//! | `{{#treats NUMBER, NUMBER}}` | the spots that links to these points of the courses lead to |
//! | `{{#points COURSE}}` | a table of a course's points, and where each is treated |

use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

/// A directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// Parts of a file.
    Code(String, Part),
    /// A whole file.
    File(String),
    /// The way from one file to another.
    Diff(String, String),
    /// A picture and what is said below it.
    Figure(String, String),
    /// A profile of calls.
    Profile(String),
    /// Points of the courses that are treated from here on.
    Treats(Vec<String>),
    /// All points of a course.
    Points(String),
}

/// Which parts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What lies between two comments.
    Anchor(String),
    /// Items, by name.
    Items(Vec<String>),
}

impl Directive {
    /// The directive that a line of a chapter is, if it is one.
    ///
    /// # Errors
    /// One that cannot be read, or stands beside other text.
    pub fn of(line: &str) -> Result<Option<Self>> {
        let Some((before, rest)) = line.split_once("{{#") else { return Ok(None) };
        let body = rest.strip_suffix("}}").filter(|_| before.is_empty());
        body.with_context(|| format!("a directive stands alone on its line: {line}"))?.parse().map(Some)
    }
}

impl FromStr for Directive {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, what) = text.split_once(' ').with_context(|| format!("what of {text}?"))?;
        match kind {
            "code" => {
                if let Some((file, items)) = what.split_once('#') {
                    return Ok(Self::Code(file.to_owned(), Part::Items(list(items))));
                }
                let (file, anchor) = what
                    .split_once(':')
                    .with_context(|| format!("which part of {what}? (FILE:ANCHOR or FILE#ITEM)"))?;
                Ok(Self::Code(file.to_owned(), Part::Anchor(anchor.to_owned())))
            }
            "file" => Ok(Self::File(what.to_owned())),
            "diff" => {
                let (old, new) =
                    what.split_once(' ').with_context(|| format!("what is {what} compared with?"))?;
                Ok(Self::Diff(old.to_owned(), new.to_owned()))
            }
            "figure" => {
                let (name, caption) =
                    what.split_once(' ').with_context(|| format!("figure {what} has no caption"))?;
                Ok(Self::Figure(name.to_owned(), caption.to_owned()))
            }
            "profile" => Ok(Self::Profile(what.to_owned())),
            "treats" => Ok(Self::Treats(list(what))),
            "points" => Ok(Self::Points(what.to_owned())),
            _ => bail!("there is no directive {kind}"),
        }
    }
}

/// What stands between commas.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(|item| item.trim().to_owned()).collect()
}
