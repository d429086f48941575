//! What the user asked to see inside: `-v` and `--mount`, read into plain data.

use std::path::{Component, Path, PathBuf};

use crate::container::{MountKind, MountPoint};
use crate::error::{Error, Result};

/// A mount as it was asked for; a volume without a name is an anonymous one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The mount, with an empty source for a volume: where that lies is known when it is made.
    pub mount: MountPoint,
    /// Whether a missing source directory is made, as `-v` does and `--mount` does not.
    pub make_source: bool,
}

/// Reads `-v [SOURCE:]TARGET[:OPTIONS]`; relative sources (`./data`) are taken from `directory`.
pub fn parse_volume(text: &str, directory: &Path) -> Result<Request> {
    let invalid = |why: &str| Error::new(format!("invalid volume specification: '{text}': {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(invalid("expected [SOURCE:]TARGET[:OPTIONS]")),
    };
    let destination = destination(target)?;
    let mut mount = MountPoint { mode: options.to_owned(), ..empty(MountKind::Volume, destination) };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => mount.rw = false,
            // SELinux labels and hints for other systems mean nothing here; `nocopy` concerns filling.
            "rw" | "z" | "Z" | "nocopy" | "consistent" | "cached" | "delegated" => {}
            "rprivate" | "private" | "rslave" | "slave" | "rshared" | "shared" => {
                option.clone_into(&mut mount.propagation);
            }
            other => return Err(invalid(&format!("unknown option \"{other}\""))),
        }
    }
    let mut make_source = false;
    match source {
        None => {}
        Some("") => return Err(invalid("the source is empty")),
        Some(source) if source.starts_with(['/', '.', '~']) => {
            mount.kind = MountKind::Bind;
            mount.source = directory.join(source);
            make_source = true;
        }
        Some(name) => mount.name = Some(volume_name(name)?),
    }
    Ok(Request { mount, make_source })
}

/// Reads `--mount type=…,source=…,target=…[,…]`.
pub fn parse_mount(text: &str, directory: &Path) -> Result<Request> {
    let invalid =
        |why: String| Error::new(format!("invalid argument \"{text}\" for \"--mount\" flag: {why}"));
    let mut mount = empty(MountKind::Volume, PathBuf::new());
    let mut source = None;
    for field in text.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let needed =
            || value.ok_or_else(|| invalid(format!("invalid field '{field}' must be a key=value pair")));
        match key {
            "type" => {
                mount.kind = match needed()? {
                    "bind" => MountKind::Bind,
                    "volume" => MountKind::Volume,
                    "tmpfs" => MountKind::Tmpfs,
                    other => return Err(invalid(format!("mount type \"{other}\" is not known"))),
                }
            }
            "source" | "src" => source = Some(needed()?),
            "target" | "dst" | "destination" => mount.destination = destination(needed()?)?,
            "readonly" | "ro" => mount.rw = matches!(value, Some("0" | "false")),
            "bind-propagation" => needed()?.clone_into(&mut mount.propagation),
            "tmpfs-size" => mount.options.push(format!("size={}", needed()?)),
            "tmpfs-mode" => mount.options.push(format!("mode={}", needed()?)),
            "consistency" | "volume-nocopy" => {}
            other => return Err(invalid(format!("unexpected key '{other}' in '{field}'"))),
        }
    }
    if mount.destination == Path::new("") {
        return Err(invalid("target is required".to_owned()));
    }
    match (mount.kind, source) {
        (MountKind::Bind, Some(source)) => mount.source = directory.join(source),
        (MountKind::Bind, None) => return Err(invalid("source is required for a bind mount".to_owned())),
        (MountKind::Volume, Some(name)) => mount.name = Some(volume_name(name)?),
        (MountKind::Tmpfs, Some(_)) => return Err(invalid("a tmpfs has no source".to_owned())),
        (_, None) => {}
    }
    Ok(Request { mount, make_source: false })
}

/// Reads `--tmpfs TARGET[:OPTIONS]`, options as mount(8) takes them.
pub fn parse_tmpfs(text: &str) -> Result<Request> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut mount = empty(MountKind::Tmpfs, destination(target)?);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.rw = false,
            "rw" => mount.rw = true,
            other => mount.options.push(other.to_owned()),
        }
    }
    Ok(Request { mount, make_source: false })
}

/// Refuses two mounts at one place.
pub fn require_distinct(requests: &[Request]) -> Result<()> {
    for (index, request) in requests.iter().enumerate() {
        let target = &request.mount.destination;
        if requests[..index].iter().any(|earlier| earlier.mount.destination == *target) {
            return Err(Error::new(format!("Duplicate mount point: {}", target.display())));
        }
    }
    Ok(())
}

fn empty(kind: MountKind, destination: PathBuf) -> MountPoint {
    MountPoint {
        kind,
        name: None,
        source: PathBuf::new(),
        destination,
        mode: String::new(),
        rw: true,
        propagation: String::new(),
        anonymous: false,
        options: Vec::new(),
    }
}

/// Where to mount: an absolute path, other than the root itself, with `.` and `..` taken out.
fn destination(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(Error::new(format!("invalid mount path: '{text}' mount path must be absolute")));
    }
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => _ = clean.pop(),
            _ => {}
        }
    }
    if clean == Path::new("/") {
        return Err(Error::new(format!("invalid mount path: '{text}': destination can't be '/'")));
    }
    Ok(clean)
}

/// A volume's name: Docker's rule is that of container names.
fn volume_name(name: &str) -> Result<String> {
    if crate::names::is_valid(name) {
        return Ok(name.to_owned());
    }
    Err(Error::new(format!(
        "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
         allowed. If you intended to pass a host directory, use absolute path"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(parse: fn(&str, &Path) -> Result<Request>, texts: &[&str]) -> String {
        let line = |text: &&str| match parse(text, Path::new("/here")) {
            Ok(Request { mount, make_source }) => {
                let MountPoint { kind, name, source, destination, rw, propagation, options, .. } = mount;
                let name = name.unwrap_or_default();
                let (source, destination) = (source.display(), destination.display());
                format!(
                    "{text}\n  {kind:?} {name:?} {source:?} -> {destination} rw={rw} {propagation:?} {options:?} make={make_source}\n"
                )
            }
            Err(error) => format!("{text}\n  {error}\n"),
        };
        texts.iter().map(line).collect()
    }

    #[test]
    fn volumes() {
        insta::assert_snapshot!(table(
            parse_volume,
            &[
                "/data",
                "name:/data",
                "/a:/b",
                "./a:/b:ro",
                "/a:/b:ro,rslave",
                "/a:/b/../c",
                "a b:/x",
                "x:y",
                ":/x",
                "/a:/",
                "/a:/b:odd",
                "a:b:c:d"
            ]
        ));
    }

    #[test]
    fn tmpfs() {
        insta::assert_snapshot!(table(
            |text, _| parse_tmpfs(text),
            &["/run", "/run:size=64m,mode=1777,exec", "/run:ro", "run", "/:size=1m", "/run:"]
        ));
    }

    #[test]
    fn mounts() {
        insta::assert_snapshot!(table(
            parse_mount,
            &[
                "type=bind,source=/a,target=/b",
                "type=bind,src=a,dst=/b,readonly",
                "source=name,target=/data",
                "target=/data",
                "type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770",
                "type=bind,target=/b",
                "type=odd,target=/b",
                "source=/a",
                "type=bind,source=/a,target=/b,colour=red",
                "type",
            ]
        ));
    }
}
