//! Published ports as they are stored: by the container's port, where on the host it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use networking::{Mapping, Port, ports};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where on the host a port is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    /// The host's address; empty for all.
    #[serde(rename = "HostIp")]
    pub host_ip: String,
    /// A port or a range of ports of which one is taken; empty for one that is free.
    pub host_port: String,
}

/// Bindings by the container's port, such as `80/tcp`.
pub type Bindings = BTreeMap<String, Vec<PortBinding>>;

/// Reads `--publish`.
pub fn bindings(texts: &[String]) -> Result<Bindings> {
    let mut bindings = Bindings::new();
    for text in texts {
        for mapping in ports::parse(text)? {
            let (first, last) = (*mapping.host_ports.start(), *mapping.host_ports.end());
            let host_port = match (first, last) {
                (0, _) => String::new(),
                _ if first == last => first.to_string(),
                _ => format!("{first}-{last}"),
            };
            let host_ip = mapping.host.map(|address| address.to_string()).unwrap_or_default();
            bindings
                .entry(mapping.container.to_string())
                .or_default()
                .push(PortBinding { host_ip, host_port });
        }
    }
    Ok(bindings)
}

/// The ports that `--expose`, or an image, names: `80/tcp` each.
pub fn exposed(texts: &[String]) -> Result<BTreeSet<String>> {
    let mut exposed = BTreeSet::new();
    for text in texts {
        exposed.extend(ports::parse_exposed(text)?.iter().map(Port::to_string));
    }
    Ok(exposed)
}

/// What is to be published: the bindings, and with `all` every exposed port that has none, anywhere.
pub fn mappings(bindings: &Bindings, all: bool, exposed: &BTreeSet<String>) -> Result<Vec<Mapping>> {
    let mut mappings = Vec::new();
    for (port, places) in bindings {
        for PortBinding { host_ip, host_port } in places {
            let address = match host_ip.as_str() {
                "" => String::new(),
                v6 if v6.contains(':') => format!("[{v6}]"),
                v4 => v4.to_owned(),
            };
            mappings.extend(ports::parse(&format!("{address}:{host_port}:{port}"))?);
        }
    }
    for port in exposed.iter().filter(|port| all && !bindings.contains_key(*port)) {
        let anywhere =
            ports::parse(port).map_err(|error| Error::new(format!("exposed port {port}: {error}")))?;
        mappings.extend(anywhere);
    }
    Ok(mappings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let texts =
            ["8080:80", "127.0.0.1:53:53/udp", "90-92:90-92", "443", "8000-8005:81", "[::1]:7:7", "80"];
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        let bindings = bindings(&texts).unwrap();
        let exposed = exposed(&["80/tcp".to_owned(), "9000-9001".to_owned()]).unwrap();
        let lines = |all| {
            let mappings = mappings(&bindings, all, &exposed).unwrap();
            mappings.iter().map(|mapping| format!("{mapping}\n")).collect::<String>()
        };
        insta::assert_snapshot!(format!("{}\nand with all exposed ones:\n{}", lines(false), lines(true)));
    }
}
