//! `features`: what this runtime can do (runtime-spec, `features.md`).

use clap::Args;
use runtime::Result;
use serde_json::json;

/// Print what this runtime can do
#[derive(Args)]
pub(crate) struct Features {}

impl Features {
    #[expect(clippy::unnecessary_wraps, reason = "all commands are of one shape")]
    pub(crate) fn run(&self, version: &str) -> Result<()> {
        let Self {} = self;
        let features = json!({
            "ociVersionMin": "1.0.0",
            "ociVersionMax": version,
            "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
            "mountOptions": runtime::config::mount_options(),
            "linux": {
                "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
                "capabilities": capabilities::Set::named().names(),
                "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true },
                "seccomp": {
                    "enabled": true,
                    "actions": [
                        "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                        "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                    ],
                    "archs": seccomp::Architecture::ALL.iter().map(|architecture| architecture.name()).collect::<Vec<_>>(),
                    "knownFlags": [
                        "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
                    ],
                },
                "apparmor": { "enabled": true },
                "selinux": { "enabled": true },
                "intelRdt": { "enabled": false },
                "mountExtensions": { "idmap": { "enabled": true } },
            },
        });
        println!("{features:#}");
        Ok(())
    }
}
