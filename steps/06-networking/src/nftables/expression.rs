//! The instructions of rules.

use super::Family;
use super::batch::Attributes;

/// One of sixteen registers of four bytes; longer values go into several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u8);

impl Register {
    /// Their numbers begin here (`NFT_REG32_00`).
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }
}

/// What is known about a packet beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// The device that it came in by; 16 bytes.
    InputName = 6,
    /// The device that it leaves by; 16 bytes.
    OutputName = 7,
    /// The number of its protocol, such as 6 for TCP; one byte.
    Protocol = 16,
}

/// What is known about the connection that a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// New, established and so on, as bits.
    State = 0,
    /// What was done to it, such as the change of its destination, as bits.
    Status = 2,
}

/// A part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Of which header: 1 is that of IP, 2 that of TCP or UDP.
    header: u32,
    offset: u32,
    length: u32,
}

impl Payload {
    /// The port that it is sent to.
    pub const DESTINATION_PORT: Self = Self { header: 2, offset: 2, length: 2 };

    /// The address that it comes from.
    pub fn source(family: Family) -> Self {
        match family {
            Family::Ip => Self { header: 1, offset: 12, length: 4 },
            Family::Ip6 => Self { header: 1, offset: 8, length: 16 },
        }
    }

    /// The address that it is sent to.
    pub fn destination(family: Family) -> Self {
        match family {
            Family::Ip => Self { header: 1, offset: 16, length: 4 },
            Family::Ip6 => Self { header: 1, offset: 24, length: 16 },
        }
    }

    /// Only its first bytes.
    pub fn first(self, length: u32) -> Self {
        Self { length, ..self }
    }
}

/// What becomes of a packet, or of its way through the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is gone.
    Drop,
    /// It may go on, as far as this chain is concerned.
    Accept,
    /// Another chain's rules come first.
    Jump(&'static str),
}

/// One instruction. Those that test end the rule if the test fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Load what is known about the packet.
    Meta(Meta, Register),
    /// Load what is known about its connection; four bytes in the host's order.
    Connection(Connection, Register),
    /// Load a part of the packet.
    Payload(Payload, Register),
    /// Load the kind of the destination address (`RTN_*`, 2 is this host's own) out of the routing tables.
    DestinationType(Register),
    /// Load a constant.
    Constant(Vec<u8>, Register),
    /// Keep only these bits of a register.
    Mask(Register, u32),
    /// Test that a value is this one.
    Equal(Register, Vec<u8>),
    /// Test that a value is not this one.
    NotEqual(Register, Vec<u8>),
    /// Test that a value is in a set.
    InSet(Register, &'static str),
    /// Test that a value is a key of a map, and load what it leads to into the same register.
    InMap(Register, &'static str),
    /// Change the destination to the address and the port in these registers.
    Redirect(Family, Register, Register),
    /// Change the source to the address of the device that the packet leaves by.
    Masquerade,
    /// Decide.
    Verdict(Verdict),
}

impl Expression {
    /// Appends the instruction as a list element of `NFTA_RULE_EXPRESSIONS`.
    pub(crate) fn encode(&self, list: &mut Attributes<'_>) {
        let data = |a: &mut Attributes<'_>, kind, value: &[u8]| a.nested(kind, |a| a.bytes(1, value));
        let mut put = |name: &str, fill: &dyn Fn(&mut Attributes<'_>)| {
            list.nested(1, |a| {
                a.text(1, name);
                a.nested(2, |a| fill(a));
            });
        };
        let compare = |operator: u32, register: Register, value: Vec<u8>| {
            move |a: &mut Attributes<'_>| {
                a.number(1, register.number());
                a.number(2, operator);
                data(a, 3, &value);
            }
        };
        match self {
            Self::Meta(key, register) => put("meta", &|a| {
                a.number(1, register.number());
                a.number(2, *key as u32);
            }),
            Self::Connection(key, register) => put("ct", &|a| {
                a.number(1, register.number());
                a.number(2, *key as u32);
            }),
            Self::Payload(part, register) => put("payload", &|a| {
                a.number(1, register.number());
                a.number(2, part.header);
                a.number(3, part.offset);
                a.number(4, part.length);
            }),
            Self::DestinationType(register) => put("fib", &|a| {
                a.number(1, register.number());
                a.number(2, 3); // NFT_FIB_RESULT_ADDRTYPE
                a.number(3, 2); // NFTA_FIB_F_DADDR
            }),
            Self::Constant(value, register) => put("immediate", &|a| {
                a.number(1, register.number());
                data(a, 2, value);
            }),
            Self::Mask(register, mask) => put("bitwise", &|a| {
                a.number(1, register.number());
                a.number(2, register.number());
                a.number(3, 4);
                data(a, 4, &mask.to_ne_bytes());
                data(a, 5, &[0; 4]);
            }),
            Self::Equal(register, value) => put("cmp", &compare(0, *register, value.clone())),
            Self::NotEqual(register, value) => put("cmp", &compare(1, *register, value.clone())),
            Self::InSet(register, set) => put("lookup", &|a| {
                a.text(1, set);
                a.number(2, register.number());
            }),
            Self::InMap(register, map) => put("lookup", &|a| {
                a.text(1, map);
                a.number(2, register.number());
                a.number(3, register.number());
            }),
            Self::Redirect(family, address, port) => put("nat", &|a| {
                a.number(1, 1); // NFT_NAT_DNAT
                a.number(2, u32::from(family.number()));
                a.number(3, address.number());
                a.number(5, port.number());
            }),
            Self::Masquerade => put("masq", &|_| ()),
            Self::Verdict(verdict) => put("immediate", &|a| {
                a.number(1, 0); // NFT_REG_VERDICT
                a.nested(2, |a| {
                    a.nested(2, |a| match verdict {
                        Verdict::Drop => a.number(1, libc::NF_DROP as u32),
                        Verdict::Accept => a.number(1, libc::NF_ACCEPT as u32),
                        Verdict::Jump(chain) => {
                            a.number(1, (-3_i32).cast_unsigned()); // NFT_JUMP
                            a.text(2, chain);
                        }
                    });
                });
            }),
        }
    }
}
