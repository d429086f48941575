//! Which certificate authorities to believe.
//!
//! A static binary finds itself on any distribution, or in a container that has no certificates at all. So: the
//! host's own bundle if it has one (an administrator may have added or removed authorities there), else Mozilla's list as
//! compiled in.

use std::path::Path;

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::error::{Error, Result};
use crate::hosts::Registries;

/// Where distributions keep all authorities in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/pki/tls/cacert.pem",            // OpenELEC
    "/etc/ssl/cert.pem",                  // Alpine
];

/// Docker's directory of authorities by registry: `HOST[:PORT]/*.crt`.
const CERTS_D: &str = "/etc/docker/certs.d";

/// The authorities to believe when `authority` (`HOST[:PORT]`) shows its certificate.
///
/// On a host without a bundle, a registry with its own authority under [`CERTS_D`] is believed by that one alone.
///
/// # Errors
/// A bundle named by `SSL_CERT_FILE`, or a file under [`CERTS_D`], that cannot be read.
pub(crate) fn for_host(authority: &str) -> Result<RootCerts> {
    let mut certificates = bundle()?;
    // The name comes out of a URL, so it has no slash; a name of dots alone would still leave the directory.
    if !authority.starts_with('.') {
        certificates.extend(own_authorities(&Path::new(CERTS_D).join(authority))?);
    }
    Ok(if certificates.is_empty() { RootCerts::WebPki } else { RootCerts::from(certificates) })
}

/// Whether a certificate of this host is to be checked at all.
pub(crate) fn is_checked(registries: &Registries, authority: &str) -> bool {
    !registries.is_insecure(authority)
}

/// The host's authorities; empty if it has none. `SSL_CERT_FILE`, which OpenSSL and Go honour, comes first.
fn bundle() -> Result<Vec<Certificate<'static>>> {
    if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
        return read(Path::new(&file));
    }
    match BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
        Some(path) => read(path),
        None => Ok(Vec::new()),
    }
}

fn own_authorities(directory: &Path) -> Result<Vec<Certificate<'static>>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::system("list the directory", directory)(error)),
    };
    let mut certificates = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::system("list the directory", directory))?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            certificates.extend(read(&path)?);
        }
    }
    Ok(certificates)
}

/// The certificates of a PEM file. What else is in it, and what cannot be parsed, is passed over: bundles have comments
/// and the odd certificate that is too old to read.
fn read(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path).map_err(Error::system("read the certificates in", path))?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    Ok(parse_pem(&pem).filter_map(certificate).collect())
}
