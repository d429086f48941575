//! Which servers stand for a host name in a reference: mirrors, and who may be spoken to without TLS.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;
use ureq::http::Uri;

use crate::error::{Error, Result};
use crate::reference::DEFAULT_HOST;

/// Where `docker.io` really answers.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// The administrator's settings about registries.
///
/// ```json
/// {
///   "registry-mirrors": ["https://mirror.example"],
///   "insecure-registries": ["registry.lan:5000", "10.0.0.0/8"],
///   "mirrors": { "ghcr.io": ["https://mirror.example/ghcr"] }
/// }
/// ```
///
/// The first two are spelt as in Docker's `daemon.json`, which can be given as it is; there, mirrors are for `docker.io`
/// only. `mirrors` says the same for any host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// By host: base URLs that are tried in this order before the host itself.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// `HOST`, `HOST:PORT` or `ADDRESS/PREFIX` that may use plain HTTP, or TLS with any certificate.
    pub insecure: Vec<String>,
}

/// The settings as written. Other keys of a `daemon.json` are not ours to judge.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct File {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
    mirrors: BTreeMap<String, Vec<String>>,
}

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `SCHEME://HOST[:PORT][/PREFIX]`; the protocol's paths begin with `/v2/` behind it.
    pub base: String,
    /// What it is to the registry.
    pub role: Role,
}

/// What a server is to the registry it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Somebody's copy: it is not told the registry's credentials.
    Mirror,
    /// The registry itself.
    Registry,
    /// The registry without TLS: only tried when with TLS no HTTP answer came at all.
    WithoutTls,
}

impl Registries {
    /// Reads the settings from a file. The file must be there.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(Error::system("read the settings in", path))?;
        Self::from_json(&json, &path.display().to_string())
    }

    /// Reads the settings from JSON. `file` is its name for errors.
    pub fn from_json(json: &[u8], file: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Setting { setting: file.to_owned(), reason };
        let mut settings: File = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        if !settings.registry_mirrors.is_empty() {
            settings.mirrors.entry(DEFAULT_HOST.to_owned()).or_default().extend(settings.registry_mirrors);
        }
        for mirror in settings.mirrors.values_mut().flatten() {
            match mirror.parse::<Uri>() {
                Ok(uri)
                    if matches!(uri.scheme_str(), Some("http" | "https"))
                        && uri.query().is_none()
                        && !uri.authority().is_none_or(|authority| authority.as_str().contains('@')) => {}
                _ => {
                    return Err(wrong(format!(
                        "mirror {mirror:?} is not of the form https://HOST[:PORT][/PATH]"
                    )));
                }
            }
            mirror.truncate(mirror.trim_end_matches('/').len());
        }
        Ok(Self { mirrors: settings.mirrors, insecure: settings.insecure_registries })
    }

    /// The servers to ask for repositories of `host` (as [`Reference::host`](crate::Reference::host) gives it), in order.
    pub fn endpoints(&self, host: &str) -> Vec<Endpoint> {
        let mirror = |base: &String| Endpoint { base: base.clone(), role: Role::Mirror };
        let mut endpoints: Vec<Endpoint> = self.mirrors.get(host).into_iter().flatten().map(mirror).collect();
        let server = if host == DEFAULT_HOST { DOCKER_HUB } else { host };
        endpoints.push(Endpoint { base: format!("https://{server}"), role: Role::Registry });
        if self.is_insecure(server) {
            endpoints.push(Endpoint { base: format!("http://{server}"), role: Role::WithoutTls });
        }
        endpoints
    }

    /// Whether `authority` (`HOST` or `HOST:PORT`) may be trusted without a valid certificate: it is this machine, or
    /// the administrator said so.
    pub fn is_insecure(&self, authority: &str) -> bool {
        let host = host_only(authority);
        let address = host.parse::<IpAddr>().ok();
        host == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self.insecure.iter().any(|entry| match entry.split_once('/') {
                Some((network, prefix)) => {
                    address.is_some_and(|address| in_network(address, network, prefix))
                }
                None => entry == authority || entry == host,
            })
    }

    /// Whether `authority` may be spoken to in plain HTTP: it is insecure, or a mirror configured as `http://`.
    pub fn may_be_plain(&self, authority: &str) -> bool {
        let configured = |mirror: &String| {
            mirror.parse::<Uri>().is_ok_and(|uri| {
                uri.scheme_str() == Some("http")
                    && uri.authority().is_some_and(|known| known.as_str() == authority)
            })
        };
        self.is_insecure(authority) || self.mirrors.values().flatten().any(configured)
    }
}

/// A host without its port, and an IPv6 address without its brackets.
fn host_only(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// Whether an address begins with the first `prefix` bits of `network`.
fn in_network(address: IpAddr, network: &str, prefix: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let (Ok(network), Ok(prefix)) = (network.parse::<IpAddr>(), prefix.parse::<u32>()) else { return false };
    let ((address, width), (network, network_width)) = (bits(address), bits(network));
    let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
    width == network_width && prefix <= width && address & mask == network & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_of_servers() {
        let json = br#"{"registry-mirrors":["https://mirror.example/"],"insecure-registries":["old.lan:5000","10.0.0.0/8","fd00::/8"],
            "mirrors":{"ghcr.io":["http://127.0.0.1:9/ghcr","http://cache.lan"]},"log-driver":"json-file"}"#;
        let registries = Registries::from_json(json, "daemon.json").expect("valid");
        let hosts = [
            "docker.io",
            "ghcr.io",
            "localhost",
            "localhost:5000",
            "127.8.9.1:5000",
            "[::1]:5000",
            "old.lan:5000",
            "old.lan:5001",
            "10.1.2.3",
            "11.1.2.3",
            "[fd12::1]:80",
            "[fe80::1]",
            "localhost.example",
        ];
        let table: String = hosts
            .iter()
            .map(|host| {
                let servers: Vec<String> = registries
                    .endpoints(host)
                    .into_iter()
                    .map(|e| format!("{:?} {}", e.role, e.base))
                    .collect();
                format!("{host:<18} {}\n", servers.join(", "))
            })
            .collect();
        insta::assert_snapshot!(table);
        assert!(registries.may_be_plain("cache.lan"), "configured as http://");
        assert!(!registries.may_be_plain("cache.lan:81") && !registries.may_be_plain("mirror.example"));
    }

    #[test]
    fn mirrors_that_are_no_urls() {
        for mirror in ["mirror.example", "ftp://a", "https://a?b=c", "file:///etc", "https://user:secret@a"] {
            let json = format!(r#"{{"registry-mirrors":["{mirror}"]}}"#);
            let error = Registries::from_json(json.as_bytes(), "daemon.json").expect_err(mirror);
            assert!(error.to_string().starts_with("cannot use daemon.json: mirror"), "{error}");
        }
    }
}
