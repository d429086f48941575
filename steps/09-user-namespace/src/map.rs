//! Which ids in a user namespace are which ids outside.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use chroot::Error as KernelError;

use crate::error::{Error, Result};

/// A map may have this many lines (Linux 4.15; before that, five).
const MAX_RANGES: usize = 340;
/// The kernel takes a map in one `write(2)` that is shorter than a page, and the smallest pages have this many bytes.
/// With long numbers that is reached well before 340 lines.
const MAX_TEXT: usize = 4095;

/// One line of a map: `count` ids from `inside` on are those from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id in the namespace.
    pub inside: u32,
    /// The first id that it stands for in the parent namespace.
    pub outside: u32,
    /// How many ids, at least one. Neither end may reach 4294967295, which means "no id" (`user_namespaces(7)`).
    pub count: u32,
}

/// The text of `/proc/PID/uid_map` or `/proc/PID/gid_map`, checked as the kernel checks it.
///
/// An id that no range covers has no meaning on the other side: files of such owners show as the *overflow* user
/// (65534, `nobody`), and no process can take the id on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    ranges: Vec<Range>,
}

/// The two maps of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// Of user ids.
    pub uids: IdMap,
    /// Of group ids.
    pub gids: IdMap,
}

impl IdMap {
    /// A map of `ranges`.
    ///
    /// # Errors
    /// [`Error::Map`] for what the kernel would answer with EINVAL, and says no more of.
    pub fn new(ranges: Vec<Range>) -> Result<Self> {
        let refuse = |reason: String| Err(Error::Map(reason));
        if ranges.is_empty() {
            return refuse("it has no range".to_owned());
        }
        if ranges.len() > MAX_RANGES {
            return refuse(format!("it has {} ranges, and the kernel takes {MAX_RANGES}", ranges.len()));
        }
        for range in &ranges {
            if range.count == 0 {
                return refuse(format!("the range {range} holds no id"));
            }
            if range.end(range.inside).is_none() || range.end(range.outside).is_none() {
                return refuse(format!("the range {range} goes beyond 4294967294, the last id"));
            }
        }
        for (number, range) in ranges.iter().enumerate() {
            for other in &ranges[..number] {
                if range.overlaps(other, |range| range.inside) {
                    return refuse(format!("the ranges {other} and {range} share ids inside"));
                }
                if range.overlaps(other, |range| range.outside) {
                    return refuse(format!("the ranges {other} and {range} share ids outside"));
                }
            }
        }
        let map = Self { ranges };
        let length = map.to_string().len();
        if length > MAX_TEXT {
            return refuse(format!("its text has {length} bytes, and the kernel takes {MAX_TEXT}"));
        }
        Ok(map)
    }

    /// Every id is itself: the map of the first user namespace.
    pub fn identity() -> Self {
        Self { ranges: vec![Range { inside: 0, outside: 0, count: u32::MAX }] }
    }

    /// Only root: 0 inside is `outside`.
    pub fn root_only(outside: u32) -> Self {
        Self { ranges: vec![Range { inside: 0, outside, count: 1 }] }
    }

    /// Its ranges, in order.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The id outside that `inside` stands for.
    pub fn to_outside(&self, inside: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| {
            let offset = inside.checked_sub(range.inside)?;
            (offset < range.count).then(|| range.outside + offset)
        })
    }

    /// The id inside that stands for `outside`.
    pub fn to_inside(&self, outside: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| {
            let offset = outside.checked_sub(range.outside)?;
            (offset < range.count).then(|| range.inside + offset)
        })
    }
}

impl IdMaps {
    /// Both [`IdMap::identity`]. A namespace with these gives no other ids; its root has privileges over what belongs
    /// to the namespace only.
    pub fn identity() -> Self {
        Self { uids: IdMap::identity(), gids: IdMap::identity() }
    }

    /// Both [`IdMap::root_only`]: what anybody may set up for themselves.
    pub fn root_only(uid: u32, gid: u32) -> Self {
        Self { uids: IdMap::root_only(uid), gids: IdMap::root_only(gid) }
    }

    /// The ids outside of root, 0, and of its group. Without them nobody inside could set anything up.
    ///
    /// # Errors
    /// [`Error::Map`] if the maps lack one.
    pub fn root(&self) -> Result<(u32, u32)> {
        match (self.uids.to_outside(0), self.gids.to_outside(0)) {
            (Some(uid), Some(gid)) => Ok((uid, gid)),
            _ => Err(Error::Map("it does not hold root, 0".to_owned())),
        }
    }

    /// The maps of a process, given by its directory, such as `/proc/self`, as this process sees their outside.
    ///
    /// # Errors
    /// What the kernel refuses; and a map not written yet ([`Error::Map`]).
    pub fn of_process(process: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<IdMap> {
            let path = process.join(name);
            std::fs::read_to_string(&path)
                .map_err(|error| KernelError::new("read", path.display(), error))?
                .parse()
        };
        Ok(Self { uids: read("uid_map")?, gids: read("gid_map")? })
    }
}

impl Range {
    /// The id after the last, counted from `first`.
    fn end(self, first: u32) -> Option<u32> {
        first.checked_add(self.count)
    }

    /// Whether two ranges share ids on one side.
    fn overlaps(self, other: &Self, side: fn(Self) -> u32) -> bool {
        let (first, second) = (u64::from(side(self)), u64::from(side(*other)));
        first < second + u64::from(other.count) && second < first + u64::from(self.count)
    }
}

impl FromStr for Range {
    type Err = Error;

    /// Reads three numbers, between spaces as the kernel writes them, or between colons as command lines take them.
    fn from_str(text: &str) -> Result<Self> {
        let words = text.split(|separator: char| separator == ':' || separator.is_ascii_whitespace());
        let numbers: Option<Vec<u32>> =
            words.filter(|word| !word.is_empty()).map(|word| word.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[inside, outside, count]) => Ok(Self { inside, outside, count }),
            _ => Err(Error::Map(format!("\"{text}\" is not of the form INSIDE:OUTSIDE:COUNT"))),
        }
    }
}

impl FromStr for IdMap {
    type Err = Error;

    /// Reads one range a line.
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.lines().map(str::parse).collect::<Result<_>>()?)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

impl fmt::Display for IdMap {
    /// As the kernel takes it: a line for each range, and no newline after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.ranges.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_form_is_read_and_written() {
        let map: IdMap =
            "         0       1000          1\n         1     100000      65536\n".parse().unwrap();
        assert_eq!(map.to_string(), "0 1000 1\n1 100000 65536");
        assert_eq!("0:1000:1\n1:100000:65536".parse::<IdMap>().unwrap(), map);
        assert_eq!("0 0 4294967295".parse::<IdMap>().unwrap(), IdMap::identity());
    }

    #[test]
    fn ids_go_in_and_out() {
        let map: IdMap = "0 1000 1\n1 100000 65536".parse().unwrap();
        for (inside, outside) in [(0, 1000), (1, 100_000), (1000, 100_999), (65_536, 165_535)] {
            assert_eq!(map.to_outside(inside), Some(outside));
            assert_eq!(map.to_inside(outside), Some(inside));
        }
        assert_eq!(map.to_outside(65_537), None);
        for outside in [0, 999, 1001, 165_536] {
            assert_eq!(map.to_inside(outside), None);
        }
        assert_eq!(IdMap::identity().to_outside(u32::MAX), None);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_with_a_reason() {
        let many = |count: u32, step: u32| {
            let line = |number: u32| format!("{0} {0} 1\n", number * step);
            (0..count).map(line).collect::<String>()
        };
        let said: String = [
            "",
            "0 1000",
            "0 1000 1 1",
            "0 -1 1",
            "0:100000:x",
            "0 1000 0",
            "0 1 4294967295",
            "4294967295 0 1",
            "0 1000 10\n9 2000 1",
            "0 1000 10\n10 1009 1",
            &many(341, 1),
            &many(340, 1_000_000),
        ]
        .into_iter()
        .map(|text| {
            let error = text.parse::<IdMap>().unwrap_err();
            format!("{}\n  {error}\n", text.lines().take(2).collect::<Vec<_>>().join(" | "))
        })
        .collect();
        insta::assert_snapshot!(said);
        assert!(many(340, 1).parse::<IdMap>().is_ok());
    }
}
