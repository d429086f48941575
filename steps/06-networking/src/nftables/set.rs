//! Sets and maps: what rules look things up in. Their elements come and go without any rule being touched.

use std::fmt;
use std::net::IpAddr;

use super::Family;
use super::batch::{Attributes, Batch, CREATE, EXCLUSIVE};
use super::ruleset::object;
use crate::ports::Protocol;
use crate::subnet::Subnet;

const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_DELSETELEM: u16 = 14;

const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_CONCAT: u32 = 0x80;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;

/// A note for `nft` (libnftnl, `NFTNL_UDATA_SET_KEYBYTEORDER`: 1 in four bytes), without which it reads a name backwards.
/// The kernel only keeps it.
const KEYS_IN_HOST_ORDER: [u8; 6] = [0, 4, 1, 0, 0, 0];

/// What a key or its value consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An address of the table's family.
    Address,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// The name of a device.
    Device,
}

impl Field {
    /// The number by which `nft` knows how to print it (nftables, `datatype.h`); the kernel only stores it.
    fn kind(self, family: Family) -> u32 {
        match (self, family) {
            (Self::Address, Family::Ip) => 7,
            (Self::Address, Family::Ip6) => 8,
            (Self::Protocol, _) => 12,
            (Self::Port, _) => 13,
            (Self::Device, _) => 41,
        }
    }

    /// How many bytes it takes: whole registers.
    fn length(self, family: Family) -> u32 {
        match (self, family) {
            (Self::Address, Family::Ip6) | (Self::Device, _) => 16,
            (Self::Address | Self::Protocol | Self::Port, _) => 4,
        }
    }

    /// How many registers it takes.
    pub(crate) fn registers(self, family: Family) -> u8 {
        (self.length(family) / 4) as u8
    }

    fn name(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Address, Family::Ip) => "ipv4_addr",
            (Self::Address, Family::Ip6) => "ipv6_addr",
            (Self::Protocol, _) => "inet_proto",
            (Self::Port, _) => "inet_service",
            (Self::Device, _) => "ifname",
        }
    }
}

/// A part of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One address.
    Address(IpAddr),
    /// All addresses of a subnet, for sets of intervals.
    Subnet(Subnet),
    /// A transport protocol.
    Protocol(Protocol),
    /// A port.
    Port(u16),
    /// The name of a device.
    Device(String),
}

impl Value {
    /// Appends the lowest value that it stands for, padded to whole registers.
    fn first(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Address(address) => put_address(bytes, *address),
            Self::Subnet(subnet) => put_address(bytes, subnet.network()),
            Self::Protocol(protocol) => bytes.extend([protocol.number(), 0, 0, 0]),
            Self::Port(port) => {
                bytes.extend(port.to_be_bytes());
                bytes.extend([0, 0]);
            }
            Self::Device(name) => {
                let start = bytes.len();
                bytes.extend(name.as_bytes());
                bytes.resize(start + 16, 0);
            }
        }
    }

    /// Appends the highest value that it stands for.
    fn last(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Subnet(subnet) => put_address(bytes, subnet.last_address()),
            _ => self.first(bytes),
        }
    }
}

fn put_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => bytes.extend(v4.octets()),
        IpAddr::V6(v6) => bytes.extend(v6.octets()),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Subnet(subnet) => subnet.fmt(f),
            Self::Protocol(protocol) => protocol.fmt(f),
            Self::Port(port) => port.fmt(f),
            Self::Device(name) => write!(f, "{name:?}"),
        }
    }
}

/// A set, or with `data` a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// What its keys consist of.
    pub key: &'static [Field],
    /// What a key of a map leads to; empty for a set.
    pub data: &'static [Field],
    /// Whether an element can stand for all addresses of a subnet.
    pub intervals: bool,
}

impl Set {
    /// Writes it in `nft`'s language, without elements.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, family: Family) -> fmt::Result {
        let kind =
            |fields: &[Field]| fields.iter().map(|field| field.name(family)).collect::<Vec<_>>().join(" . ");
        let (word, data) = if self.data.is_empty() {
            ("set", String::new())
        } else {
            ("map", format!(" : {}", kind(self.data)))
        };
        writeln!(f, "\t{word} {} {{", self.name)?;
        writeln!(f, "\t\ttype {}{data}", kind(self.key))?;
        if self.intervals {
            writeln!(f, "\t\tflags interval")?;
        }
        writeln!(f, "\t}}")
    }

    /// Makes the set, if it is not there.
    pub(crate) fn create(&self, batch: &mut Batch, family: Family, table: &str) {
        let Self { name, key, data, intervals } = self;
        // `nft` packs the numbers of several fields into one, six bits each.
        let kind = |fields: &[Field]| fields.iter().fold(0, |kind, field| kind << 6 | field.kind(family));
        let length = |fields: &[Field]| fields.iter().map(|field| field.length(family)).sum();
        let mut flags = 0;
        if *intervals {
            flags |= NFT_SET_INTERVAL;
        }
        if !data.is_empty() {
            flags |= NFT_SET_MAP;
        }
        // Intervals in several dimensions need another algorithm, which must know the fields one by one.
        let by_field = *intervals && key.len() > 1;
        if by_field {
            flags |= NFT_SET_CONCAT;
        }
        let number = batch.len();
        batch.push(NFT_MSG_NEWSET, CREATE, family, ("make the set", object(name, table)), |a| {
            a.text(1, table);
            a.text(2, name);
            a.number(3, flags);
            a.number(4, kind(key));
            a.number(5, length(key));
            if !data.is_empty() {
                a.number(6, kind(data));
                a.number(7, length(data));
            }
            if by_field {
                a.nested(9, |a| {
                    a.nested(2, |a| {
                        for field in *key {
                            a.nested(1, |a| a.number(1, field.length(family)));
                        }
                    });
                });
            }
            a.number(10, number);
            if *key == [Field::Device] {
                a.bytes(13, &KEYS_IN_HOST_ORDER);
            }
        });
    }

    /// Adds an element. If it must be `new`, one that is there is an error (EEXIST); so is, always, one that leads
    /// elsewhere.
    pub(crate) fn add(&self, batch: &mut Batch, family: Family, table: &str, element: &Element, new: bool) {
        let flags = CREATE | if new { EXCLUSIVE } else { 0 };
        self.element(batch, NFT_MSG_NEWSETELEM, flags, family, table, element);
    }

    /// Removes an element; one that is not there is an error (ENOENT).
    pub(crate) fn remove(&self, batch: &mut Batch, family: Family, table: &str, element: &Element) {
        self.element(batch, NFT_MSG_DELSETELEM, 0, family, table, element);
    }

    fn element(
        &self,
        batch: &mut Batch,
        kind: u16,
        flags: u16,
        family: Family,
        table: &str,
        element: &Element,
    ) {
        let attempt = if kind == NFT_MSG_NEWSETELEM { "add" } else { "remove" };
        let (mut first, mut last, mut data) = (Vec::new(), Vec::new(), Vec::new());
        for value in &element.key {
            value.first(&mut first);
            value.last(&mut last);
        }
        element.data.iter().for_each(|value| value.first(&mut data));
        let value = |a: &mut Attributes<'_>, kind, bytes: &[u8]| a.nested(kind, |a| a.bytes(1, bytes));
        let object = format!("{element} in {}", object(self.name, table));
        batch.push(kind, flags, family, (attempt, object), |a| {
            a.text(1, table);
            a.text(2, self.name);
            a.nested(3, |a| {
                a.nested(1, |a| {
                    value(a, 1, &first);
                    if !data.is_empty() {
                        value(a, 2, &data);
                    }
                    if self.intervals && self.key.len() > 1 {
                        value(a, 10, &last);
                    }
                });
                // In one dimension, an interval is two elements: its first value, and the first one behind it.
                if self.intervals
                    && self.key.len() == 1
                    && let Some(behind) = successor(&last)
                {
                    a.nested(1, |a| {
                        value(a, 1, &behind);
                        a.number(3, NFT_SET_ELEM_INTERVAL_END);
                    });
                }
            });
        });
    }
}

/// The next value of these bytes as one number; `None` after the last one.
fn successor(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut next = bytes.to_vec();
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(next);
        }
    }
    None
}

/// An element of a set, or a pair of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// What is looked up.
    pub key: Vec<Value>,
    /// What it leads to; empty in a set.
    pub data: Vec<Value>,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined =
            |values: &[Value]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" . ");
        f.write_str(&joined(&self.key))?;
        if self.data.is_empty() { Ok(()) } else { write!(f, " : {}", joined(&self.data)) }
    }
}
