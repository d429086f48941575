//! The rules, as data: a chain for each place on a packet's way.

use std::net::Ipv6Addr;

use crate::nftables::expression::{Connection, Expression as E, Meta, Payload, Register, Verdict};
use crate::nftables::{Chain, Family, Field, Hook, Rule, Ruleset, Set};

pub(super) const BRIDGES: Set = Set { name: "bridges", key: &[Field::Device], data: &[], intervals: false };
pub(super) const INTERNAL: Set = Set { name: "internal", key: &[Field::Device], data: &[], intervals: false };
/// Pairs of the same bridge twice: rules cannot compare two values of a packet with each other.
pub(super) const SAME: Set =
    Set { name: "same", key: &[Field::Device, Field::Device], data: &[], intervals: false };
/// The subnets of networks that are not internal, alone and with the bridge of each.
pub(super) const SUBNETS: Set = Set { name: "subnets", key: &[Field::Address], data: &[], intervals: true };
pub(super) const AT_HOME: Set =
    Set { name: "at_home", key: &[Field::Address, Field::Device], data: &[], intervals: true };
/// Published ports of one host address, and of all of them.
pub(super) const PUBLISHED_AT: Set = Set {
    name: "published_at",
    key: &[Field::Protocol, Field::Address, Field::Port],
    data: &[Field::Address, Field::Port],
    intervals: false,
};
pub(super) const PUBLISHED: Set = Set {
    name: "published",
    key: &[Field::Protocol, Field::Port],
    data: &[Field::Address, Field::Port],
    intervals: false,
};

/// Connections that are known, and those that belong to one (`enum ip_conntrack_info`, as bits).
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// The destination was changed (`IPS_DST_NAT`).
const DESTINATION_CHANGED: u32 = 1 << 5;
/// An address of this host (`RTN_LOCAL`).
const LOCAL: u32 = 2;

/// The rules for one family of addresses, without networks and ports.
///
/// With `router` false, what is neither from nor to a container is not forwarded; `None` leaves that as it is.
pub fn plan(family: Family, table: &str, router: Option<bool>) -> Ruleset {
    let ip = family.name();
    let chain = |name, hook, rules| Chain { name, hook, rules, drop: None };
    Ruleset {
        family,
        table: table.to_owned(),
        sets: vec![BRIDGES, INTERNAL, SAME, SUBNETS, AT_HOME, PUBLISHED_AT, PUBLISHED],
        chains: vec![
            chain("publish", None, publish(family)),
            chain("raw", Some(Hook::Raw), raw(family)),
            chain("incoming", Some(Hook::NatIncoming), vec![to_this_host(family)]),
            chain("outgoing", Some(Hook::NatOutgoing), vec![from_this_host(family)]),
            Chain { drop: router.map(|router| !router), ..chain("forward", Some(Hook::Forward), forward()) },
            chain("leaving", Some(Hook::NatLeaving), leaving(family, ip)),
        ],
    }
}

/// Packets from a bridge to a loopback address are forged: `route_localnet`, which lets the host's own loopback packets
/// out to a bridge, would let these in, to services that trust whoever reaches them (the flaw of CVE-2020-8558). IPv6
/// has no such switch.
fn raw(family: Family) -> Vec<Rule> {
    if family == Family::Ip6 {
        return Vec::new();
    }
    vec![rule(
        "iifname @bridges ip daddr 127.0.0.0/8 drop",
        [device_in(Meta::InputName, &BRIDGES), to_loopback(true), decide(Verdict::Drop)],
    )]
}

/// What comes in for this host may be for a published port. A packet from outside to 127.0.0.1 must not be: the change
/// of its destination would hide from the kernel that it is forged.
fn to_this_host(family: Family) -> Rule {
    match family {
        Family::Ip => rule(
            "ip daddr != 127.0.0.0/8 fib daddr type local jump publish",
            [to_loopback(false), is_local(), jump("publish")],
        ),
        Family::Ip6 => rule("fib daddr type local jump publish", [is_local(), jump("publish")]),
    }
}

/// What the host itself sends to a published port. To `::1` it cannot: no packet with that address leaves the host, and
/// IPv6 has no `route_localnet`. There the host's port refuses, and programs that tried `localhost` go on to 127.0.0.1.
fn from_this_host(family: Family) -> Rule {
    match family {
        Family::Ip => rule("fib daddr type local jump publish", [is_local(), jump("publish")]),
        Family::Ip6 => {
            let loopback = Ipv6Addr::LOCALHOST.octets().to_vec();
            let not_loopback = vec![
                E::Payload(Payload::destination(family), Register(0)),
                E::NotEqual(Register(0), loopback),
            ];
            rule(
                "ip6 daddr != ::1 fib daddr type local jump publish",
                [not_loopback, is_local(), jump("publish")],
            )
        }
    }
}

/// Looks the port up, first with its address. A rule whose key is not in the map ends there.
fn publish(family: Family) -> Vec<Rule> {
    let ip = family.name();
    // An address takes one register or four; protocols and ports take one.
    let address = Field::Address.registers(family);
    let protocol = E::Meta(Meta::Protocol, Register(0));
    let destination = E::Payload(Payload::destination(family), Register(1));
    let redirect = |map: &Set, port_at: Register| {
        vec![
            E::Payload(Payload::DESTINATION_PORT, port_at),
            E::InMap(Register(0), map.name),
            E::Redirect(family, Register(0), Register(address)),
        ]
    };
    vec![
        rule(
            format!("dnat {ip} to meta l4proto . {ip} daddr . th dport map @published_at"),
            [vec![protocol.clone(), destination], redirect(&PUBLISHED_AT, Register(1 + address))],
        ),
        rule(
            format!("dnat {ip} to meta l4proto . th dport map @published"),
            [vec![protocol], redirect(&PUBLISHED, Register(1))],
        ),
    ]
}

/// Who may send to whom. To accept here is not the last word: other tables may still drop.
fn forward() -> Vec<Rule> {
    let accept = || decide(Verdict::Accept);
    let drop = || decide(Verdict::Drop);
    let from = |set| device_in(Meta::InputName, set);
    let to = |set| device_in(Meta::OutputName, set);
    let same = vec![
        E::Meta(Meta::InputName, Register(0)),
        E::Meta(Meta::OutputName, Register(4)),
        E::InSet(Register(0), SAME.name),
    ];
    vec![
        rule(
            "ct state established,related accept",
            [connection(Connection::State, ESTABLISHED_OR_RELATED), accept()],
        ),
        // Packets between two ports of a bridge come here only with br_netfilter; those that a published port sent
        // back to their own bridge come in any case.
        rule("iifname . oifname @same accept", [same, accept()]),
        rule("iifname @internal drop", [from(&INTERNAL), drop()]),
        rule("oifname @internal drop", [to(&INTERNAL), drop()]),
        // Published ports can be reached from everywhere; nothing else can, not even by who has a route here.
        rule(
            "ct status dnat oifname @bridges accept",
            [connection(Connection::Status, DESTINATION_CHANGED), to(&BRIDGES), accept()],
        ),
        rule("oifname @bridges drop", [to(&BRIDGES), drop()]),
        rule("iifname @bridges accept", [from(&BRIDGES), accept()]),
    ]
}

/// Whose address a packet leaves with: the world does not know the containers' addresses.
fn leaving(family: Family, ip: &str) -> Vec<Rule> {
    let at_home = || {
        vec![
            E::Payload(Payload::source(family), Register(0)),
            E::Meta(Meta::OutputName, Register(Field::Address.registers(family))),
            E::InSet(Register(0), AT_HOME.name),
        ]
    };
    let masquerade = || vec![E::Masquerade];
    let from_subnets =
        vec![E::Payload(Payload::source(family), Register(0)), E::InSet(Register(0), SUBNETS.name)];
    let mut rules = vec![
        // A container that reaches itself or a neighbour by a published port must hear the answer from the host, not
        // from an address that it never asked.
        rule(
            format!("ct status dnat {ip} saddr . oifname @at_home masquerade"),
            [connection(Connection::Status, DESTINATION_CHANGED), at_home(), masquerade()],
        ),
        rule(format!("{ip} saddr . oifname @at_home accept"), [at_home(), decide(Verdict::Accept)]),
        rule(format!("{ip} saddr @subnets masquerade"), [from_subnets, masquerade()]),
    ];
    if family == Family::Ip {
        // A container cannot answer to 127.0.0.1: that would be itself.
        let from_loopback =
            vec![E::Payload(Payload::source(family).first(1), Register(0)), E::Equal(Register(0), vec![127])];
        rules.push(rule(
            "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
            [from_loopback, device_in(Meta::OutputName, &BRIDGES), masquerade()],
        ));
    }
    rules
}

fn rule<const N: usize>(text: impl Into<String>, parts: [Vec<E>; N]) -> Rule {
    Rule { text: text.into(), expressions: parts.into_iter().flatten().collect() }
}

fn decide(verdict: Verdict) -> Vec<E> {
    vec![E::Verdict(verdict)]
}

fn jump(chain: &'static str) -> Vec<E> {
    decide(Verdict::Jump(chain))
}

fn device_in(which: Meta, set: &Set) -> Vec<E> {
    vec![E::Meta(which, Register(0)), E::InSet(Register(0), set.name)]
}

fn is_local() -> Vec<E> {
    vec![E::DestinationType(Register(0)), E::Equal(Register(0), LOCAL.to_ne_bytes().to_vec())]
}

fn to_loopback(yes: bool) -> Vec<E> {
    let (register, first) = (Register(0), vec![127]);
    vec![
        E::Payload(Payload::destination(Family::Ip).first(1), register),
        if yes { E::Equal(register, first) } else { E::NotEqual(register, first) },
    ]
}

fn connection(what: Connection, bits: u32) -> Vec<E> {
    vec![E::Connection(what, Register(0)), E::Mask(Register(0), bits), E::NotEqual(Register(0), vec![0; 4])]
}
