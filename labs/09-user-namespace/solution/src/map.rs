//! Who is who. Nothing is to be written here.

use std::fmt;
use std::str::FromStr;

/// `USERS[,GROUPS]`. If there is one range, it is for both.
pub struct Map {
    pub users: Range,
    pub groups: Range,
}

/// `INSIDE:OUTSIDE:COUNT`. Shown as the kernel reads it, with blanks.
#[derive(Clone, Copy)]
pub struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

impl FromStr for Map {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (users, groups) = text.split_once(',').unwrap_or((text, text));
        Ok(Self { users: users.parse()?, groups: groups.parse()? })
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.split(':').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[inside, outside, count]) => Ok(Self { inside, outside, count }),
            _ => Err(format!("{text} is no range: INSIDE:OUTSIDE:COUNT")),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}
