//! A profile as it is written: the shape of the JSON, with nothing said yet about its meaning.
//!
//! The format is Docker's (moby/profiles, seccomp/seccomp.go), which is that of the OCI runtime specification's
//! `linux.seccomp` and more: `archMap`, `comment`, `includes`, `excludes`, the older `name`. Go's JSON reads `null` as
//! "not there", and so do we. A field that we do not know may be one that forbids something: it is an error.

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Document {
    pub(crate) default_action: Verb,
    pub(crate) default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) architectures: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) arch_map: Vec<ArchMap>,
    pub(crate) flags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) listener_path: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) listener_metadata: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ArchMap {
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) sub_architectures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Entry {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) names: Vec<String>,
    pub(crate) action: Verb,
    pub(crate) errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) args: Vec<Argument>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) comment: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) includes: Requirements,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) excludes: Requirements,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Argument {
    pub(crate) index: u32,
    pub(crate) value: u64,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) value_two: u64,
    pub(crate) op: Operator,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Requirements {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) caps: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) arches: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) min_kernel: String,
}

/// An action, without its number.
#[derive(Deserialize, Clone, Copy)]
pub(crate) enum Verb {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
}

/// How an argument is compared.
#[derive(Deserialize, Clone, Copy)]
pub(crate) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    AtMost,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    AtLeast,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(json: D) -> Result<T, D::Error> {
    Option::deserialize(json).map(Option::unwrap_or_default)
}
