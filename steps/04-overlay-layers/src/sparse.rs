//! Sparse files: archives that leave out a file's holes and say where the remaining data belongs.
//!
//! GNU tar has written four formats (GNU tar manual, "Storing Sparse Files"): its own `S` members, and pax formats 0.0,
//! 0.1 and 1.0. All end up as one list of segments.

use std::io::BufRead;

use tar::{EntryType, GnuSparseHeader, Header};

use crate::entries::{BLOCK, Entries};
use crate::pax::{self, Pax};

/// The most segments a file may have: the list is kept in memory.
const SEGMENTS_MAX: usize = 1 << 20;

/// Where the data of a sparse file belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// The file's length, in bytes; the holes are in it.
    pub(crate) length: u64,
    /// Offset and length of each piece of data, ascending, not overlapping; the archive holds them one after the other.
    pub(crate) segments: Vec<(u64, u64)>,
}

/// The sparse map of the member whose header was just read, if it has one.
pub(crate) fn read<R: BufRead>(
    entries: &mut Entries<R>,
    header: &Header,
    pax: &Pax,
) -> Result<Option<Sparse>, String> {
    let malformed = || "its sparse map is malformed".to_owned();
    let (length, segments) = if header.entry_type() == EntryType::GNUSparse {
        let gnu = header.as_gnu().ok_or_else(malformed)?;
        (gnu.real_size().map_err(|_| malformed())?, gnu_map(entries, gnu)?)
    } else if pax.get("GNU.sparse.major") == Some(b"1") {
        let length = pax.number("GNU.sparse.realsize")?.ok_or_else(malformed)?;
        (length, data_map(entries)?)
    } else if let Some(length) = pax.number("GNU.sparse.size")? {
        let segments = match pax.get("GNU.sparse.map") {
            Some(map) => comma_map(map).ok_or_else(malformed)?,
            None => pax.sparse_segments().to_vec(),
        };
        (length, segments)
    } else {
        return Ok(None);
    };
    let sparse = Sparse { length, segments };
    if sparse.fits(entries.stored()) { Ok(Some(sparse)) } else { Err(malformed()) }
}

impl Sparse {
    /// Whether the segments ascend within the file and account for exactly the data that is stored.
    fn fits(&self, stored: u64) -> bool {
        let mut end = 0_u64;
        let mut total = 0_u64;
        for &(offset, length) in &self.segments {
            let Some(next) = offset.checked_add(length) else { return false };
            if offset < end || next > self.length {
                return false;
            }
            end = next;
            total += length;
        }
        total == stored
    }
}

/// GNU's own format: four segments in the header, then blocks of 21 more for as long as a flag says so.
fn gnu_map<R: BufRead>(entries: &mut Entries<R>, header: &tar::GnuHeader) -> Result<Vec<(u64, u64)>, String> {
    let mut segments = Vec::new();
    let add = |segments: &mut Vec<(u64, u64)>, descriptor: &GnuSparseHeader| {
        if descriptor.is_empty() {
            return Ok(());
        }
        let malformed = |_| "its sparse map is malformed".to_owned();
        segments.push((descriptor.offset().map_err(malformed)?, descriptor.length().map_err(malformed)?));
        within_limit(segments.len())
    };
    for descriptor in &header.sparse {
        add(&mut segments, descriptor)?;
    }
    let mut more = header.is_extended();
    while more {
        let mut extension = tar::GnuExtSparseHeader::new();
        extension.as_mut_bytes().copy_from_slice(&entries.block().map_err(|e| e.to_string())?);
        for descriptor in extension.sparse() {
            add(&mut segments, descriptor)?;
        }
        more = extension.is_extended();
    }
    Ok(segments)
}

/// Format 0.1: `offset,length,offset,length...` in one pax record.
fn comma_map(map: &[u8]) -> Option<Vec<(u64, u64)>> {
    let numbers = map.split(|&b| b == b',').map(pax::number).collect::<Option<Vec<u64>>>()?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|&[offset, length]| (offset, length)).collect())
}

/// Format 1.0: the map stands before the data, as decimal lines padded to whole blocks: the number of segments, then
/// an offset and a length for each.
fn data_map<R: BufRead>(entries: &mut Entries<R>) -> Result<Vec<(u64, u64)>, String> {
    let mut block = [0; BLOCK];
    let mut at = BLOCK;
    let mut line = || -> Result<u64, String> {
        let mut digits = Vec::new();
        loop {
            if at == BLOCK {
                block = entries.data_block().map_err(|e| e.to_string())?;
                at = 0;
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'\n' => break,
                // The longest number of 64 bits has 20 digits.
                _ if digits.len() < 20 => digits.push(byte),
                _ => return Err("its sparse map is malformed".into()),
            }
        }
        pax::number(&digits).ok_or_else(|| "its sparse map is malformed".into())
    };
    let count = line()? as usize;
    within_limit(count)?;
    (0..count).map(|_| Ok((line()?, line()?))).collect()
}

fn within_limit(segments: usize) -> Result<(), String> {
    if segments > SEGMENTS_MAX {
        return Err(format!("a sparse file of more than {SEGMENTS_MAX} pieces is refused"));
    }
    Ok(())
}
