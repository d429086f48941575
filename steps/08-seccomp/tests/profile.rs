//! Profiles: what is read, what is refused and how, and what the default one says.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use seccomp::facts::{Version, capabilities};
use seccomp::profile::Architectures;
use seccomp::{Action, Architecture, Facts, Profile, Rules, calls, describe};

fn facts(names: &[&str]) -> Facts {
    let capabilities = capabilities(names.iter().copied()).unwrap();
    Facts { architecture: Architecture::X86_64, capabilities, kernel: Version(6, 1) }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let rule = |rest: &str| {
        format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"], {rest}}}]}}"#)
    };
    let allow = |rest: &str| rule(&format!(r#""action": "SCMP_ACT_ALLOW", {rest}"#));
    let top = |rest: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", {rest}}}"#);
    let wrong = [
        "{}".to_owned(),
        "[".to_owned(),
        r#"{"defaultAction": "SCMP_ACT_PERHAPS"}"#.to_owned(),
        r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.to_owned(),
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#.to_owned(),
        top(r#""defaultErrnoRet": 4096"#),
        top(r#""defaultErrnoRet": -1"#),
        top(r#""default_errno_ret": 1"#),
        top(r#""listenerMetadata": "x""#),
        top(r#""flags": ["SECCOMP_FILTER_FLAG_NONE"]"#),
        top(r#""flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#),
        top(r#""architectures": ["SCMP_ARCH_Z80"]"#),
        top(r#""archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["amd64"]}]"#),
        top(
            r#""architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": null}]"#,
        ),
        top(r#""syscalls": [{"action": "SCMP_ACT_ALLOW"}]"#),
        top(r#""syscalls": [{"name": "read", "names": ["write"], "action": "SCMP_ACT_ALLOW"}]"#),
        top(r#""syscalls": [{"names": ["read", ""], "action": "SCMP_ACT_ALLOW"}]"#),
        top(r#""syscalls": [{"names": ["read"]}]"#),
        rule(r#""action": "SCMP_ACT_NOTIFY""#),
        rule(r#""action": "SCMP_ACT_NOTIFY", "errnoRet": 1"#),
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock",
            "syscalls": [{"names": ["mkdir", "write"], "action": "SCMP_ACT_NOTIFY"}]}"#
            .replace("\n           ", ""),
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock",
            "syscalls": [{"names": ["shutdown"], "action": "SCMP_ACT_NOTIFY"}]}"#
            .replace("\n           ", ""),
        rule(r#""action": "SCMP_ACT_TRACE", "errnoRet": 65536"#),
        rule(r#""action": "SCMP_ACT_KILL", "errnoRet": 1"#),
        allow(r#""arguments": []"#),
        allow(r#""args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]"#),
        allow(
            r#""args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 9, "value": 0, "op": "SCMP_CMP_EQ"}]"#,
        ),
        allow(r#""args": [{"index": 0, "value": 18446744073709551616, "op": "SCMP_CMP_EQ"}]"#),
        allow(r#""args": [{"index": 0, "value": 0, "op": "SCMP_CMP_ALMOST"}]"#),
        allow(r#""args": [{"index": 0, "op": "SCMP_CMP_EQ"}]"#),
        allow(r#""includes": {"caps": ["CAP_SYS_ROOT"]}"#),
        allow(r#""excludes": {"minKernel": "4"}"#),
        allow(r#""excludes": {"minKernel": "4.8.1"}"#),
        allow(r#""includes": {"kernel": "4.8"}"#),
    ];
    let errors: Vec<String> = wrong
        .iter()
        .map(|json| {
            let error = Profile::parse(json).expect_err(json).to_string();
            assert!(!error.contains('\n'), "{error}");
            format!("{json}\n    {error}")
        })
        .collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn files_that_cannot_be_read() {
    let error = Profile::read("/nonexistent/profile.json").unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot read the seccomp profile /nonexistent/profile.json: ENOENT: No such file or directory"
    );
}

/// Go writes empty lists as null; Docker's first profiles had one name a rule.
#[test]
fn old_and_generated_profiles_are_read() {
    let profile = Profile::parse(
        r#"{
            "defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": null, "architectures": null, "flags": null,
            "archMap": [
                {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]},
                {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null},
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}
            ],
            "syscalls": [
                {"name": "read", "action": "SCMP_ACT_ALLOW", "args": null, "comment": "", "includes": {}, "excludes": null},
                {"names": ["a_call_of_the_future"], "action": "SCMP_ACT_TRACE", "args": []}
            ]
        }"#,
    )
    .unwrap();
    let by_kernel = vec![(Architecture::X86_64, vec![Architecture::X86])];
    assert_eq!(profile.architectures, Architectures::ByKernel(by_kernel));
    assert_eq!((profile.default, profile.rules[1].action), (Action::KillThread, Action::Trace(1)));
    assert_eq!(profile.rules[0].names, ["read"]);
    let rules = Rules::of(&profile, &facts(&[]));
    assert_eq!(rules.tables.len(), 2);
    assert_eq!(rules.tables[0].calls.len(), 1, "a name that nobody knows is skipped");
}

/// As it stands in the middle of an OCI `config.json`.
#[test]
fn a_profile_inside_another_document() {
    #[derive(Debug, serde::Deserialize)]
    struct Linux {
        seccomp: Profile,
    }
    let json = r#"{"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}}"#;
    let linux: Linux = serde_json::from_str(json).unwrap();
    assert_eq!((linux.seccomp.flags, linux.seccomp.default), (2, Action::Errno(1)));
    let error = serde_json::from_str::<Linux>(&json.replace("_LOG", "_LOUD")).unwrap_err().to_string();
    assert!(error.starts_with("invalid seccomp profile: flags: unknown flag"), "{error}");
}

#[test]
fn rules_count_where_they_fit() {
    let profile = |when: &str| {
        Profile::parse(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["mount"], "action": "SCMP_ACT_ALLOW", {when}}}]}}"#
        ))
        .unwrap()
    };
    let counts = |when: &str, facts: &Facts| !Rules::of(&profile(when), facts).tables[0].calls.is_empty();
    let (plain, admin) = (facts(&[]), facts(&["CAP_SYS_ADMIN"]));
    let both = facts(&["CAP_SYS_ADMIN", "CAP_BPF"]);
    for (when, expected) in [
        (r#""includes": {"caps": ["CAP_SYS_ADMIN"]}"#, [false, true, true]),
        (r#""includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}"#, [false, false, true]),
        (r#""excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}"#, [true, false, false]),
        (r#""includes": {"arches": ["arm64", "amd64"]}"#, [true; 3]),
        (r#""includes": {"arches": ["arm64", "s390x"]}"#, [false; 3]),
        (r#""excludes": {"arches": ["amd64"]}"#, [false; 3]),
        (r#""excludes": {"arches": ["s390x"]}"#, [true; 3]),
        (r#""includes": {"minKernel": "6.1"}"#, [true; 3]),
        (r#""includes": {"minKernel": "6.2"}"#, [false; 3]),
        (r#""includes": {"minKernel": "5.19"}"#, [true; 3]),
        (r#""excludes": {"minKernel": "6.1"}"#, [false; 3]),
        (r#""excludes": {"minKernel": "10.0"}"#, [true; 3]),
    ] {
        assert_eq!([plain, admin, both].map(|facts| counts(when, &facts)), expected, "{when}");
    }
}

#[test]
fn versions_of_kernels() {
    for (release, version) in [
        ("6.12.4-amd64", Some(Version(6, 12))),
        ("5.15-rc1", Some(Version(5, 15))),
        ("4.19.0", Some(Version(4, 19))),
        ("6", None),
        ("next", None),
    ] {
        assert_eq!(Version::of_release(release), version, "{release}");
    }
    assert!(Version(10, 0) > Version(9, 9) && Facts::of_host(0).unwrap().kernel >= Version(5, 12));
}

#[test]
fn every_name_of_the_default_profile_is_known() {
    let profile = Profile::builtin();
    for name in profile.rules.iter().flat_map(|rule| &rule.names) {
        assert!(calls::find(name).is_some(), "{name}");
    }
    assert!(profile.rules.iter().all(|rule| !rule.comment.is_empty()));
}

/// What the default profile refuses to a container with Docker's capabilities: a change here needs a reason.
#[test]
fn what_the_default_profile_refuses() {
    let docker = facts(&["CAP_CHOWN", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_NET_RAW"]);
    let rules = Rules::of(&Profile::builtin(), &docker);
    let outcome = |call: &calls::Call| {
        let number = call.number(Architecture::X86_64)?;
        Some(rules.decide(Architecture::X86_64.audit(), number, &[u64::MAX; 6]))
    };
    let refused: BTreeSet<String> = calls::all()
        .iter()
        .filter_map(|call| Some(format!("{}: {}", call.name(), outcome(call)?)))
        .filter(|line| !line.ends_with(": allow"))
        .collect();
    insta::assert_snapshot!(refused.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_table_for_people() {
    let rows = describe(&Profile::builtin());
    let picked = ["clone", "clone3", "mount", "personality", "ptrace", "read", "add_key", "modify_ldt"];
    let picked: Vec<String> =
        rows.iter().filter(|row| picked.contains(&row.call.as_str())).map(ToString::to_string).collect();
    insta::assert_snapshot!(format!("{}\n{}", describe::HEAD, picked.join("\n")));
    for call in calls::all() {
        assert!(rows.iter().any(|row| row.call == call.name()), "{}", call.name());
    }
}
