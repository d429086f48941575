//! DNS messages (RFC 1035, section 4), as far as a server that answers for a few names must understand them.
//!
//! Only the header and the question of a query are read. What follows (EDNS, signatures, types that are not invented
//! yet) is for whom the query is forwarded to, and nothing in it can make this server refuse.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The header: a number, flags, and how many questions, answers and other records follow.
pub(super) const HEADER: usize = 12;
/// What a client without EDNS takes in one datagram.
pub(super) const DATAGRAM: usize = 512;
/// How long an answer may be remembered, in seconds. Docker's.
const TTL: u32 = 600;

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const IN: u16 = 1;

/// Why a query has no answer (RFC 1035, RCODE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Format = 1,
    Server = 2,
    NotImplemented = 4,
}

/// A query with one question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    bytes: &'a [u8],
    /// Where the question ends.
    end: usize,
    kind: u16,
    class: u16,
}

impl<'a> Query<'a> {
    /// Reads a query. What is wrong with it is answered with a failure; what is not even one (`None`), not at all.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Option<Failure>> {
        let header = bytes.get(..HEADER).ok_or(None)?;
        // An answer to an answer could go on for ever.
        if header[2] & 0x80 != 0 {
            return Err(None);
        }
        if header[2] & 0x78 != 0 {
            return Err(Some(Failure::NotImplemented));
        }
        if header[4..6] != [0, 1] {
            return Err(Some(Failure::Format));
        }
        let malformed = Some(Failure::Format);
        let mut position = HEADER;
        loop {
            match *bytes.get(position).ok_or(malformed)? {
                0 => break,
                // A question that refers to a name earlier in the message can only mean itself.
                length if length > 63 => return Err(malformed),
                length => position += 1 + usize::from(length),
            }
        }
        if position - HEADER > 254 {
            return Err(malformed);
        }
        let end = position + 5;
        let rest = bytes.get(position + 1..end).ok_or(malformed)?;
        let number = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
        Ok(Self { bytes, end, kind: number(0), class: number(2) })
    }

    /// The name that is asked for, in lower case and without the point at its end; `None` if no name of ours can be
    /// meant.
    pub(super) fn name(&self) -> Option<String> {
        let mut name = String::new();
        let mut position = HEADER;
        while let Some(length @ 1..) = self.bytes.get(position).map(|length| usize::from(*length)) {
            let label = self.bytes.get(position + 1..=position + length)?;
            let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'.';
            if !label.iter().all(plain) {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            position += 1 + length;
        }
        Some(name)
    }

    /// Whether it is about the Internet: other classes are a curiosity.
    pub(super) fn is_internet(&self) -> bool {
        self.class == IN
    }

    /// The address whose name is asked for: `2.0.18.172.in-addr.arpa`, or 32 digits and `.ip6.arpa`.
    pub(super) fn reverse(&self) -> Option<IpAddr> {
        if self.kind != PTR {
            return None;
        }
        let name = self.name()?;
        if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
            let address: Ipv4Addr = reversed.parse().ok()?;
            let [d, c, b, a] = address.octets();
            return Some([a, b, c, d].into());
        }
        let digits: Vec<&str> = name.strip_suffix(".ip6.arpa")?.split('.').collect();
        if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
            return None;
        }
        let bits = u128::from_str_radix(&digits.into_iter().rev().collect::<String>(), 16).ok()?;
        Some(Ipv6Addr::from_bits(bits).into())
    }

    /// The addresses of a name that exists: those of the kind that was asked for, perhaps none. More than `limit` bytes
    /// have room for are left out, and the client is told so (TC): it asks again over TCP.
    pub(super) fn addresses(&self, addresses: &[IpAddr], limit: usize) -> Vec<u8> {
        let mut answer = self.begin(0);
        for address in addresses {
            let record = match (self.kind, address) {
                (A, IpAddr::V4(v4)) => v4.octets().to_vec(),
                (AAAA, IpAddr::V6(v6)) => v6.octets().to_vec(),
                _ => continue,
            };
            if answer.len() + 12 + record.len() > limit {
                truncated(&mut answer);
                break;
            }
            append(&mut answer, self.kind, &record);
        }
        answer
    }

    /// The name of an address.
    pub(super) fn pointer(&self, name: &str) -> Vec<u8> {
        let mut answer = self.begin(0);
        let mut record = Vec::new();
        for label in name.split('.').filter(|label| (1..64).contains(&label.len())) {
            record.push(label.len() as u8);
            record.extend(label.as_bytes());
        }
        record.push(0);
        append(&mut answer, PTR, &record);
        answer
    }

    /// Another server's answer to this query is one: it has the `number` that it was sent with, and repeats the question.
    pub(super) fn is_answered_by(&self, answer: &[u8], number: u16) -> bool {
        answer.get(..2) == Some(&number.to_be_bytes())
            && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
            && answer
                .get(HEADER..self.end)
                .is_some_and(|question| question.eq_ignore_ascii_case(&self.bytes[HEADER..self.end]))
    }

    /// An answer without records.
    fn begin(&self, failure: u8) -> Vec<u8> {
        let mut answer = header(self.bytes, failure);
        answer[5] = 1;
        answer.extend(&self.bytes[HEADER..self.end]);
        answer
    }

    /// Says that there is no answer.
    pub(super) fn fail(&self, failure: Failure) -> Vec<u8> {
        self.begin(failure as u8)
    }
}

/// Says what is wrong with a query, of which there is at least a header.
pub(super) fn refuse(query: &[u8], failure: Failure) -> Vec<u8> {
    header(query, failure as u8)
}

/// Whether a server could not or would not answer (SERVFAIL, REFUSED): another one may.
pub(super) fn is_failure(answer: &[u8]) -> bool {
    answer.get(3).is_some_and(|flags| matches!(flags & 0x0f, 2 | 5))
}

/// Notes that an answer is not whole, so that the client asks again over TCP.
pub(super) fn truncated(answer: &mut [u8]) {
    if let Some(flags) = answer.get_mut(2) {
        *flags |= 0x02;
    }
}

/// The header of an answer: the query's number, its opcode, its wish for recursion, and that there is some.
fn header(query: &[u8], failure: u8) -> Vec<u8> {
    let mut header = vec![0; HEADER];
    header[..2].copy_from_slice(&query[..2]);
    header[2] = 0x80 | query[2] & 0x79;
    header[3] = 0x80 | failure;
    header
}

/// Appends a record about the name that was asked for.
fn append(answer: &mut Vec<u8>, kind: u16, record: &[u8]) {
    let count = u16::from_be_bytes([answer[6], answer[7]]) + 1;
    answer[6..8].copy_from_slice(&count.to_be_bytes());
    // The name is a reference to the one in the question, which begins behind the header.
    answer.extend([0xc0, HEADER as u8]);
    answer.extend(kind.to_be_bytes());
    answer.extend(IN.to_be_bytes());
    answer.extend(TTL.to_be_bytes());
    answer.extend((record.len() as u16).to_be_bytes());
    answer.extend(record);
}
