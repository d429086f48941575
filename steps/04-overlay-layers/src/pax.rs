//! PAX extended headers (POSIX.1-2024, `pax`): records `LENGTH KEY=VALUE\n` that say what a tar header has no room
//! for, such as long names, nanoseconds and extended attributes.
//!
//! LENGTH counts the whole record, so a value may hold any byte. That matters: the value of `security.capability` is
//! binary and may well contain a newline (`cap_dac_override,cap_fowner` is byte 0x0a), which is why we do not use the
//! `tar` crate's parser: it splits at newlines.

use std::collections::BTreeMap;

use crate::times::Time;

/// The prefix under which every tool keeps an extended attribute; the rest of the key is the attribute's name.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of one extended header. Of two records with one key the later one counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pax {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    sparse_segments: Vec<(u64, u64)>,
    /// How much was read into the two above.
    bytes: u64,
}

impl Pax {
    /// Adds the records of one header to those already known, `max` bytes in all.
    pub(crate) fn parse(&mut self, mut data: &[u8], max: u64) -> Result<(), String> {
        self.bytes += data.len() as u64;
        if self.bytes > max {
            return Err(format!("extended headers of more than {max} bytes are refused"));
        }
        let mut sparse_offset = None;
        while !data.is_empty() {
            let malformed = || "malformed pax record".to_owned();
            let space = data.iter().take(20).position(|&b| b == b' ').ok_or_else(malformed)?;
            let length: usize = number(&data[..space]).ok_or_else(malformed)?;
            if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
                return Err(malformed());
            }
            let record = &data[space + 1..length - 1];
            data = &data[length..];
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(malformed)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                // GNU's sparse format 0.0 is the one user of repeated keys: offset, numbytes, offset, numbytes ...
                b"GNU.sparse.offset" => sparse_offset = Some(number(value).ok_or_else(malformed)?),
                b"GNU.sparse.numbytes" => {
                    let offset = sparse_offset.take().ok_or_else(malformed)?;
                    self.sparse_segments.push((offset, number(value).ok_or_else(malformed)?));
                }
                // POSIX: an empty value takes back what a global header said.
                _ if value.is_empty() && !key.starts_with(XATTR) => drop(self.records.remove(key)),
                _ => drop(self.records.insert(key.to_vec(), value.to_vec())),
            }
        }
        Ok(())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.records.get(key.as_bytes()).map(Vec::as_slice)
    }

    /// A decimal number; `Err` when the record is there but is none.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        self.get(key)
            .map(|value| number(value).ok_or_else(|| format!("pax record {key} is not a valid number")))
            .transpose()
    }

    /// A time: seconds, with any number of digits after the point.
    pub(crate) fn time(&self, key: &str) -> Result<Option<Time>, String> {
        self.get(key)
            .map(|value| Time::parse(value).ok_or_else(|| format!("pax record {key} is not a valid time")))
            .transpose()
    }

    /// The extended attributes: name and value.
    pub(crate) fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records
            .range(XATTR.to_vec()..)
            .map_while(|(key, value)| Some((key.strip_prefix(XATTR)?, value.as_slice())))
    }

    /// The data segments of GNU's sparse format 0.0: offset and length.
    pub(crate) fn sparse_segments(&self) -> &[(u64, u64)] {
        &self.sparse_segments
    }
}

/// An unsigned decimal number: digits and nothing else.
pub(crate) fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// One record, ready to be written.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    // The length counts its own digits: take the shortest spelling that is true.
    let rest = key.len() + value.len() + 3;
    let digits = |n: usize| n.to_string().len();
    let mut length = rest + digits(rest);
    if digits(length) > digits(rest) {
        length = rest + digits(length);
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for value in 0..1200 {
            let record = record(b"path", &vec![b'x'; value]);
            let mut pax = Pax::default();
            pax.parse(&record, 9999).unwrap();
            assert_eq!(pax.get("path").map_or(0, <[u8]>::len), value);
        }
    }

    #[test]
    fn values_may_hold_newlines_and_nul() {
        let mut pax = Pax::default();
        pax.parse(&record(b"SCHILY.xattr.user.a", b"\n7 a=b\n\0"), 9999).unwrap();
        assert_eq!(pax.xattrs().collect::<Vec<_>>(), [(&b"user.a"[..], &b"\n7 a=b\n\0"[..])]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in ["5 a=b", "99 a=b\n", "0 a=b\n", "x a=b\n", "6 a-b\n", "3 \n", "-6 a=b\n", "5 a=bc\n"] {
            assert!(Pax::default().parse(bad.as_bytes(), 9999).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times() {
        let time = |text: &str| Time::parse(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("12.0000000019"), Some((12, 1)));
        assert_eq!(time("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time("-0.25"), Some((-1, 750_000_000)));
        for text in ["12", "0", "12.5", "-1.5", "-0.25", "-7", "1700000000.000000001"] {
            assert_eq!(Time::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for bad in ["", ".", "1.x", "x", "--1", "1e3", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }
}
