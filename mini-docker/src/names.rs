//! Random identities: an ID nobody else has, and a name people can remember.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// 64 random hexadecimal digits whose first twelve are not a number.
///
/// The short form also serves as the hostname, and a hostname that is a number is taken for an address by some
/// programs (Docker makes the same exception).
pub fn random_id() -> Result<String> {
    loop {
        let mut bytes = [0; 32];
        let length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| Error::kernel("get random numbers", errno))?;
        let id: String = bytes[..length].iter().map(|byte| format!("{byte:02x}")).collect();
        if id.len() == 64 && id[..12].parse::<u64>().is_err() {
            return Ok(id);
        }
    }
}

/// A name such as `patient_hopper`. `attempt` counts from 0; from the third on a digit is added, since by then
/// many names must be taken.
pub fn random_name(attempt: usize) -> String {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    // The clock's low digits, mixed with the process id, differ enough between commands; uniqueness is checked
    // by the caller in any case.
    let mut seed = nanoseconds as u64 ^ (u64::from(std::process::id()) << 32) ^ attempt as u64;
    let mut pick = |count: usize| {
        // One round of splitmix64.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % count
    };
    let name = format!("{}_{}", MOODS[pick(MOODS.len())], PEOPLE[pick(PEOPLE.len())]);
    if attempt < 2 { name } else { format!("{name}{}", pick(10)) }
}

/// Whether `name` may be a container's: Docker's rule, `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn is_valid(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() > 1
        && characters.all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character))
}

/// How one can be.
const MOODS: &[&str] = &[
    "able", "amused", "brave", "bright", "calm", "careful", "clever", "cosy", "curious", "daring", "eager",
    "fair", "festive", "fond", "frank", "gentle", "glad", "happy", "honest", "hopeful", "jolly", "keen",
    "kind", "lively", "lucid", "merry", "modest", "neat", "nimble", "open", "patient", "playful", "polite",
    "proud", "quick", "quiet", "ready", "serene", "sharp", "silent", "sincere", "steady", "sunny", "swift",
    "tidy", "upbeat", "vivid", "warm", "wise", "witty",
];

/// Who taught machines, or people, something.
const PEOPLE: &[&str] = &[
    "allen",
    "babbage",
    "backus",
    "bartik",
    "bell",
    "boole",
    "borg",
    "cerf",
    "codd",
    "conway",
    "curie",
    "darwin",
    "diffie",
    "dijkstra",
    "engelbart",
    "euclid",
    "euler",
    "floyd",
    "gauss",
    "goldberg",
    "hamilton",
    "hamming",
    "hoare",
    "holberton",
    "hopper",
    "kernighan",
    "khwarizmi",
    "knuth",
    "lamarr",
    "lamport",
    "liskov",
    "lovelace",
    "mccarthy",
    "meitner",
    "moore",
    "naur",
    "nightingale",
    "noether",
    "perlman",
    "popek",
    "ritchie",
    "shannon",
    "spaerck",
    "stallman",
    "thompson",
    "torvalds",
    "turing",
    "wilkes",
    "wirth",
    "zuse",
];
