//! Programs do what the rules say: for every number, for arguments on both sides of every value that is compared with.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use seccomp::facts::Version;
use seccomp::profile::{Architectures, Comparison, Condition, Rule, When};
use seccomp::simulate::Request;
use seccomp::{Action, Architecture, Error, Facts, Filter, Instruction, Profile, Rules, calls};
use seccompiler::{BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

const X86_64: Facts = Facts { architecture: Architecture::X86_64, capabilities: 0, kernel: Version(6, 12) };
const AARCH64: Facts = Facts { architecture: Architecture::Aarch64, ..X86_64 };

fn rule(names: &[&str], action: Action, conditions: &[Condition]) -> Rule {
    Rule {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        action,
        conditions: conditions.to_vec(),
        comment: String::new(),
        includes: When::default(),
        excludes: When::default(),
    }
}

fn condition(argument: u8, comparison: Comparison, value: u64) -> Condition {
    Condition { argument, comparison, value }
}

fn profile(default: Action, others: &[Architecture], rules: Vec<Rule>) -> Profile {
    let architectures = Architectures::Always(others.to_vec());
    Profile { default, architectures, flags: 0, rules, listener: None }
}

/// What the profile's text says, read in the slowest way: the rules of `seccomp::rules`, once more.
fn naive(profile: &Profile, others: &[Architecture], facts: &Facts, request: &Request) -> Action {
    let x32 = request.audit == Architecture::X32.audit() && request.number & Architecture::X32_BIT != 0;
    let listed = [facts.architecture].into_iter().chain(others.iter().copied());
    let mut listed = listed.filter(|architecture| architecture.audit() == request.audit).collect::<Vec<_>>();
    if listed.is_empty() {
        return Action::KillProcess;
    }
    listed.retain(|architecture| (*architecture == Architecture::X32) == x32);
    let Some(&architecture) = listed.first() else {
        return if request.number == u32::MAX { profile.default } else { Action::KillProcess };
    };
    let number = |name: &str| calls::find(name)?.number(architecture);
    let named = profile.rules.iter().flat_map(|rule| rule.names.iter().map(move |name| (name, rule)));
    let last = named.clone().filter_map(|(name, _)| number(name)).max();
    let closed = !matches!(profile.default, Action::Allow | Action::Log | Action::Trace(_));
    if closed && last.is_some_and(|last| request.number > last) {
        return Action::Errno(38);
    }
    let here: Vec<&Rule> = named
        .filter(|(name, rule)| number(name) == Some(request.number) && rule.action != profile.default)
        .map(|(_, rule)| rule)
        .collect();
    if let Some(always) = here.iter().find(|rule| rule.conditions.is_empty()) {
        return always.action;
    }
    let holds = |condition: &&Condition| {
        let seen = |value: u64| if architecture.is_narrow() { u64::from(value as u32) } else { value };
        let (argument, value) = (seen(request.arguments[condition.argument as usize]), seen(condition.value));
        match condition.comparison {
            Comparison::NotEqual => argument != value,
            Comparison::Less => argument < value,
            Comparison::AtMost => argument <= value,
            Comparison::Equal => argument == value,
            Comparison::AtLeast => argument >= value,
            Comparison::Greater => argument > value,
            Comparison::MaskedEqual(mask) => argument & seen(mask) == value,
        }
    };
    for rule in here {
        let arguments: BTreeSet<u8> = rule.conditions.iter().map(|condition| condition.argument).collect();
        let any = arguments.len() < rule.conditions.len();
        let mut conditions = rule.conditions.iter();
        if if any { conditions.any(|one| holds(&one)) } else { conditions.all(|one| holds(&one)) } {
            return rule.action;
        }
    }
    profile.default
}

/// The numbers worth asking for: all that there are, and the edges of everything.
fn numbers() -> impl Iterator<Item = u32> {
    let low = (0..600).chain([0xeffff, 0xf0001, 0xf0002, 0xf0005, 0xf0007, 0x3fff_ffff]);
    low.flat_map(|number| [number, number | 0x4000_0000, number | 0x8000_0000, number | 0xc000_0000])
        .chain([u32::MAX - 1, u32::MAX])
}

/// Values on both sides of each that a profile compares with, and with another upper half.
fn values(profile: &Profile) -> Vec<u64> {
    let compared = profile.rules.iter().flat_map(|rule| &rule.conditions).map(|condition| condition.value);
    let mut values: BTreeSet<u64> = [0, 1, u64::MAX, 1 << 32].into();
    for value in compared {
        values.extend([
            value.wrapping_sub(1),
            value,
            value.wrapping_add(1),
            value ^ 1 << 32,
            value ^ 1 << 63,
        ]);
    }
    values.into_iter().collect()
}

fn audits() -> BTreeSet<u32> {
    Architecture::ALL.map(Architecture::audit).into_iter().chain([0x8000_0016]).collect()
}

/// Compares the program with the rules, at every number, with each value in each argument while the others are `rest`.
fn check(profile: &Profile, facts: &Facts, values: &[u64], rest: &[u64; 6]) -> Filter {
    let rules = Rules::of(profile, facts);
    let filter = rules.compile().unwrap();
    // A call without conditions has one outcome, whatever its arguments.
    let conditional: BTreeSet<&str> = profile
        .rules
        .iter()
        .filter(|rule| !rule.conditions.is_empty())
        .flat_map(|rule| rule.names.iter().map(String::as_str))
        .chain(["socketcall", "ipc"])
        .collect();
    for audit in audits() {
        for number in numbers() {
            let mut requests = vec![Request { audit, number, arguments: *rest }];
            let here = Architecture::ALL.into_iter().filter(|architecture| architecture.audit() == audit);
            if here
                .filter_map(|architecture| calls::name(number, architecture))
                .any(|name| conditional.contains(name))
            {
                for argument in 0..6 {
                    for &value in values {
                        let mut arguments = *rest;
                        arguments[argument] = value;
                        requests.push(Request { audit, number, arguments });
                    }
                }
            }
            for request in requests {
                let expected = rules.decide(audit, number, &request.arguments);
                assert_eq!(filter.decide(&request), Some(expected), "{request:x?}\n{filter}");
            }
        }
    }
    filter
}

#[test]
fn the_default_profile_everywhere() {
    let profile = Profile::builtin();
    let values = values(&profile);
    for bits in [0, 1 << 21, u64::MAX] {
        for facts in [X86_64, AARCH64] {
            let filter = check(&profile, &Facts { capabilities: bits, ..facts }, &values, &[0; 6]);
            assert!(filter.instructions().len() < 400, "{}", filter.instructions().len());
        }
    }
}

#[test]
fn a_small_profile_as_a_program() {
    let rules = vec![
        rule(&["read", "write", "exit_group", "close_range"], Action::Allow, &[]),
        rule(&["clone"], Action::Allow, &[condition(0, Comparison::MaskedEqual(0x7e02_0000), 0)]),
        rule(
            &["personality"],
            Action::Allow,
            &[condition(0, Comparison::Equal, 0), condition(0, Comparison::Equal, 8)],
        ),
        rule(
            &["lseek"],
            Action::Log,
            &[condition(1, Comparison::AtLeast, 1 << 40), condition(2, Comparison::NotEqual, 2)],
        ),
    ];
    let profile = profile(Action::Errno(1), &[Architecture::X86], rules);
    let filter = check(&profile, &X86_64, &values(&profile), &[0; 6]);
    insta::assert_snapshot!(filter);
}

#[test]
fn the_simplest_profiles() {
    for default in [Action::Allow, Action::KillProcess, Action::Errno(38)] {
        for others in [vec![], Architecture::ALL.to_vec()] {
            check(&profile(default, &others, Vec::new()), &X86_64, &[], &[0; 6]);
        }
    }
    let nothing = profile(Action::Allow, &[], Vec::new()).compile(&X86_64).unwrap();
    insta::assert_snapshot!(nothing);
}

/// The semantics that surprise, each as in libseccomp and runc.
#[test]
fn rules_that_meet() {
    let decide = |default: Action, rules: Vec<Rule>, name: &str, argument: u64| {
        let rules = Rules::of(&profile(default, &[], rules), &X86_64);
        let number = calls::find(name).unwrap().number(Architecture::X86_64).unwrap();
        rules.decide(Architecture::X86_64.audit(), number, &[argument, 0, 0, 0, 0, 0])
    };
    let deny = Action::Errno(1);
    let equal = |value| condition(0, Comparison::Equal, value);
    // One without conditions beats those with, wherever it stands; of two, the first.
    let rules = vec![
        rule(&["dup"], Action::Log, &[equal(1)]),
        rule(&["dup"], Action::Trap, &[]),
        rule(&["dup"], Action::Allow, &[]),
    ];
    assert_eq!(decide(deny, rules, "dup", 1), Action::Trap);
    // A rule that repeats the default is not there.
    let rules = vec![rule(&["dup"], deny, &[]), rule(&["dup"], Action::Allow, &[])];
    assert_eq!(decide(deny, rules, "dup", 1), Action::Allow);
    // Of overlapping rules with conditions, the first.
    let rules = vec![
        rule(&["dup"], Action::Log, &[condition(0, Comparison::Less, 5)]),
        rule(&["dup"], Action::Allow, &[condition(0, Comparison::Less, 9)]),
    ];
    assert_eq!(
        [4, 8, 9].map(|value| decide(deny, rules.clone(), "dup", value)),
        [Action::Log, Action::Allow, deny]
    );
    // Conditions on different arguments must all hold; of several on one, one.
    let rules = vec![rule(&["dup"], Action::Allow, &[equal(3), condition(1, Comparison::Equal, 0)])];
    assert_eq!([3, 4].map(|value| decide(deny, rules.clone(), "dup", value)), [Action::Allow, deny]);
    let rules =
        vec![rule(&["dup"], Action::Allow, &[equal(3), equal(4), condition(1, Comparison::Equal, 7)])];
    assert_eq!(
        [3, 4, 5].map(|value| decide(deny, rules.clone(), "dup", value)),
        [Action::Allow, Action::Allow, deny]
    );
    // Above the last call that is named, ENOSYS; the name counts even in a rule that is not there.
    let rules = vec![rule(&["read"], Action::Allow, &[]), rule(&["mseal"], deny, &[])];
    assert_eq!(decide(deny, rules.clone(), "mseal", 0), deny);
    assert_eq!(decide(deny, rules.clone(), "setxattrat", 0), Action::NO_SUCH_CALL);
    assert_eq!(decide(Action::Log, rules, "setxattrat", 0), Action::Log);
}

/// i386 makes `socket` in two ways.
#[test]
fn calls_through_another_call() {
    let decide = |rules: Vec<Rule>, default, which: u64| {
        let rules = Rules::of(&profile(default, &[Architecture::X86], rules), &X86_64);
        rules.decide(Architecture::X86.audit(), 102, &[which, 0, 0, 0, 0, 0])
    };
    let (deny, allow) = (Action::Errno(1), Action::Allow);
    let refused = vec![rule(&["socket"], deny, &[]), rule(&["semop"], deny, &[])];
    assert_eq!([1, 2].map(|which| decide(refused.clone(), allow, which)), [deny, allow]);
    let allowed = vec![rule(&["socket", "connect"], allow, &[])];
    assert_eq!([1, 2, 3].map(|which| decide(allowed.clone(), deny, which)), [allow, deny, allow]);
    // i386 has no other way to `send`.
    let send = vec![rule(&["read", "send"], allow, &[])];
    assert_eq!([9, 1].map(|which| decide(send.clone(), deny, which)), [allow, deny]);
    // What cannot be seen there is not allowed there.
    let some = vec![rule(&["socket"], allow, &[condition(0, Comparison::Equal, 1)])];
    assert_eq!(decide(some, deny, 1), deny);
    let all = vec![rule(&["socketcall"], allow, &[]), rule(&["socket"], Action::Trap, &[])];
    assert_eq!(decide(all, deny, 1), allow);
}

/// Far more than 255 instructions lie between the search and what it finds; and at last, more than the kernel takes.
#[test]
fn large_programs() {
    let large = |count: u64| {
        let native = |call: &&calls::Call| call.number(Architecture::X86_64).is_some();
        let rules = calls::all()
            .iter()
            .filter(native)
            .take(200)
            .enumerate()
            .flat_map(|(at, call)| {
                (0..count).map(move |i| {
                    let value = (i << 33) | (at as u64 * 8);
                    let conditions =
                        [condition(0, Comparison::AtMost, value), condition(1, Comparison::Greater, value)];
                    rule(&[call.name()], [Action::Allow, Action::Log][i as usize % 2], &conditions)
                })
            })
            .collect();
        profile(Action::Errno(1), &[], rules)
    };
    let one = large(1);
    let filter = check(&one, &X86_64, &[0, 7, 400, 1 << 33], &[1 << 40; 6]);
    assert!(filter.instructions().len() > 2000);
    let error = large(3).compile(&X86_64).unwrap_err();
    assert!(matches!(error, Error::TooLong(_)), "{error}");
    assert!(error.to_string().contains("the kernel accepts 4096"), "{error}");
}

#[test]
fn bytes_and_back() {
    let filter = Profile::builtin().compile(&X86_64).unwrap();
    assert_eq!(Filter::from_bytes(&filter.to_bytes()), Ok(filter));
    for bytes in [&[][..], &[0; 4], &[0; 11], &[0; 13]] {
        assert_eq!(Filter::from_bytes(bytes), Err(Error::Bytes(bytes.len())));
    }
}

const NAMES: [&str; 11] = [
    "read",
    "write",
    "open",
    "clone",
    "ioctl",
    "socket",
    "socketcall",
    "mount",
    "mseal",
    "cacheflush",
    "send",
];

fn any_action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![
        Action::Allow,
        Action::Log,
        Action::Errno(1),
        Action::Errno(38),
        Action::Trace(7),
        Action::Trap,
        Action::KillThread,
        Action::KillProcess,
    ])
}

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        prop::sample::select(vec![
            u64::from(u32::MAX),
            1 << 32,
            (1 << 32) + 1,
            u64::MAX - 1,
            u64::MAX,
            1 << 63
        ]),
        any::<u64>(),
    ]
}

prop_compose! {
    fn any_condition()(argument in 0_u8..3, kind in 0..7, value in any_value(), mask in any_value()) -> Condition {
        let (comparison, value) = match kind {
            0 => (Comparison::NotEqual, value),
            1 => (Comparison::Less, value),
            2 => (Comparison::AtMost, value),
            3 => (Comparison::Equal, value),
            4 => (Comparison::AtLeast, value),
            5 => (Comparison::Greater, value),
            _ => (Comparison::MaskedEqual(mask), value & mask),
        };
        Condition { argument, comparison, value }
    }
}

prop_compose! {
    fn any_rule()(
        names in prop::sample::subsequence(NAMES.to_vec(), 1..4),
        action in any_action(),
        conditions in prop::collection::vec(any_condition(), 0..4),
    ) -> Rule {
        rule(&names, action, &conditions)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_profile(
        default in any_action(),
        others in prop::sample::subsequence(Architecture::ALL.to_vec(), 0..5),
        native in prop::sample::select(vec![X86_64, AARCH64]),
        rules in prop::collection::vec(any_rule(), 0..6),
        arguments in prop::collection::vec(prop::array::uniform6(any_value()), 8),
    ) {
        let profile = profile(default, &others, rules);
        let rules = Rules::of(&profile, &native);
        let filter = rules.compile().unwrap();
        let mut values = values(&profile);
        values.truncate(24);
        for audit in audits() {
            for number in numbers() {
                for mut arguments in arguments.iter().copied() {
                    arguments[usize::from(number as u8 % 3)] = values[number as usize % values.len()];
                    let request = Request { audit, number, arguments };
                    let expected = rules.decide(audit, number, &arguments);
                    prop_assert_eq!(filter.decide(&request), Some(expected), "{:x?}\n{}", request, filter);
                    // The naive reading does not know of calls through calls.
                    if audit != Architecture::X86.audit() {
                        prop_assert_eq!(naive(&profile, &others, &native, &request), expected, "{:x?}", request);
                    }
                }
            }
        }
    }

    /// Another compiler, where it can do the same: one architecture, one action, every condition of a rule.
    #[test]
    fn another_compiler_agrees(
        rules in prop::collection::vec((prop::sample::select(NAMES[..6].to_vec()), prop::collection::btree_map(0_u8..3, any_condition(), 1..4)), 0..6),
        arguments in prop::collection::vec(prop::array::uniform6(any_value()), 20),
    ) {
        let rules: Vec<Rule> = rules
            .into_iter()
            .map(|(name, conditions)| {
                let conditions: Vec<Condition> =
                    conditions.into_iter().map(|(argument, condition)| Condition { argument, ..condition }).collect();
                rule(&[name], Action::Errno(5), &conditions)
            })
            .collect();
        let theirs = theirs(&rules);
        let profile = profile(Action::Allow, &[], rules);
        let ours = profile.compile(&X86_64).unwrap();
        let mut values = values(&profile);
        values.truncate(24);
        for number in 0..500 {
            for mut arguments in arguments.iter().copied() {
                for &value in &values {
                    arguments[number as usize % 3] = value;
                    let request = Request { audit: Architecture::X86_64.audit(), number, arguments };
                    prop_assert_eq!(ours.decide(&request), theirs.decide(&request), "{:x?}\n{}", request, ours);
                }
            }
        }
    }
}

fn theirs(rules: &[Rule]) -> Filter {
    let mut map: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in rules {
        let conditions = rule.conditions.iter().map(|condition| {
            let operator = match condition.comparison {
                Comparison::NotEqual => SeccompCmpOp::Ne,
                Comparison::Less => SeccompCmpOp::Lt,
                Comparison::AtMost => SeccompCmpOp::Le,
                Comparison::Equal => SeccompCmpOp::Eq,
                Comparison::AtLeast => SeccompCmpOp::Ge,
                Comparison::Greater => SeccompCmpOp::Gt,
                Comparison::MaskedEqual(mask) => SeccompCmpOp::MaskedEq(mask),
            };
            SeccompCondition::new(condition.argument, SeccompCmpArgLen::Qword, operator, condition.value)
                .unwrap()
        });
        let number = calls::find(&rule.names[0]).unwrap().number(Architecture::X86_64).unwrap();
        map.entry(number.into()).or_default().push(SeccompRule::new(conditions.collect()).unwrap());
    }
    let (allow, deny) = (seccompiler::SeccompAction::Allow, seccompiler::SeccompAction::Errno(5));
    let filter = SeccompFilter::new(map, allow, deny, seccompiler::TargetArch::x86_64).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    let instructions = program.iter().map(|one| Instruction {
        code: one.code,
        if_true: one.jt,
        if_false: one.jf,
        value: one.k,
    });
    Filter::new(instructions.collect(), 0)
}
