//! What the user asked to see inside: `-v` and `--mount`, read into plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::container::{MountKind, MountPoint};
use crate::error::{Error, Result};
use crate::volumes;

/// A mount as it was asked for; a volume without a name is an anonymous one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The mount, with an empty source for a volume: where that lies is known when it is made.
    pub mount: MountPoint,
    /// Whether a missing source directory is made, as `-v` does and `--mount` does not.
    pub make_source: bool,
    /// Whether a new volume stays empty, instead of getting what the image has in its place.
    pub no_copy: bool,
    /// The labels of a volume that is made for it.
    pub labels: BTreeMap<String, String>,
    /// And its driver's options.
    pub driver_options: BTreeMap<String, String>,
}

impl Request {
    fn of(mount: MountPoint) -> Self {
        Self {
            mount,
            make_source: false,
            no_copy: false,
            labels: BTreeMap::new(),
            driver_options: BTreeMap::new(),
        }
    }
}

/// Reads `-v [SOURCE:]TARGET[:OPTIONS]`; relative sources (`./data`) are taken from `directory`.
pub fn parse_volume(text: &str, directory: &Path) -> Result<Request> {
    let invalid =
        |why: &str| Error::new(format!("invalid volume specification: '{text}': {why}")).with_exit_code(125);
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(invalid("expected [SOURCE:]TARGET[:OPTIONS]")),
    };
    let destination = destination(target)?;
    let mut mount = MountPoint { mode: options.to_owned(), ..empty(MountKind::Volume, destination) };
    let mut no_copy = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => mount.rw = false,
            "nocopy" => no_copy = true,
            // SELinux labels and hints for other systems mean nothing here.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
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
    if no_copy && mount.kind == MountKind::Bind {
        return Err(invalid("nocopy is for volumes"));
    }
    Ok(Request { make_source, no_copy, ..Request::of(mount) })
}

/// Reads `--mount type=…,source=…,target=…[,…]`.
pub fn parse_mount(text: &str, directory: &Path) -> Result<Request> {
    let invalid = |why: String| {
        Error::new(format!("invalid argument \"{text}\" for \"--mount\" flag: {why}")).with_exit_code(125)
    };
    let mut mount = empty(MountKind::Volume, PathBuf::new());
    let mut source = None;
    let (mut no_copy, mut labels, mut driver_options) = (false, BTreeMap::new(), BTreeMap::new());
    let fields = fields(text).map_err(&invalid)?;
    for field in &fields {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
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
            "readonly" | "ro" => mount.rw = !switch(key, value).map_err(&invalid)?,
            "bind-propagation" => needed()?.clone_into(&mut mount.propagation),
            "tmpfs-size" => mount.options.push(format!("size={}", needed()?)),
            "tmpfs-mode" => mount.options.push(format!("mode={}", needed()?)),
            "volume-nocopy" => no_copy = switch(key, value).map_err(&invalid)?,
            "volume-label" | "volume-opt" => {
                let (name, value) = needed()?.split_once('=').unwrap_or((needed()?, ""));
                let into = if key == "volume-label" { &mut labels } else { &mut driver_options };
                into.insert(name.to_owned(), value.to_owned());
            }
            "volume-subpath" => {
                let path = PathBuf::from(needed()?);
                let is_plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
                if path.as_os_str().is_empty() || !path.components().all(is_plain) {
                    return Err(invalid(format!(
                        "{field}: the subpath must be a relative path within the volume"
                    )));
                }
                mount.subpath = Some(path);
            }
            "volume-driver" if value.is_none_or(|driver| driver != volumes::DRIVER) => {
                return Err(invalid(format!("{field}: local is the one driver that volumes can have here")));
            }
            "consistency" | "volume-driver" => {}
            other => return Err(invalid(format!("unexpected key '{other}' in '{field}'"))),
        }
    }
    if mount.destination == Path::new("") {
        return Err(invalid("target is required".to_owned()));
    }
    let of_volumes = no_copy || !labels.is_empty() || !driver_options.is_empty() || mount.subpath.is_some();
    if of_volumes && mount.kind != MountKind::Volume {
        return Err(invalid(format!(
            "cannot mix 'volume-*' options with mount type '{}'",
            if mount.kind == MountKind::Bind { "bind" } else { "tmpfs" }
        )));
    }
    match (mount.kind, source) {
        (MountKind::Bind, Some(source)) => mount.source = directory.join(source),
        (MountKind::Bind, None) => return Err(invalid("source is required for a bind mount".to_owned())),
        (MountKind::Volume, Some(name)) => mount.name = Some(volume_name(name)?),
        (MountKind::Tmpfs, Some(_)) => return Err(invalid("a tmpfs has no source".to_owned())),
        (_, None) => {}
    }
    Ok(Request { no_copy, labels, driver_options, ..Request::of(mount) })
}

/// A field that is on or off, and on without a value; the words are those of Go's `strconv.ParseBool`.
fn switch(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    }
}

/// The fields of a line of comma-separated values (RFC 4180): a field in quotes may have commas in it, and quotes by two.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (part, after) = rest.split_once('"').ok_or("a quote is not closed")?;
                field.push_str(part);
                rest = after;
                match rest.strip_prefix('"') {
                    Some(after) => rest = after,
                    None => break,
                }
                field.push('"');
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err("there is something between a closing quote and the next comma".to_owned());
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
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
    Ok(Request::of(mount))
}

/// Reads `--volumes-from CONTAINER[:ro|rw]`: the container, and whether its volumes can be written here.
pub fn parse_volumes_from(text: &str) -> Result<(&str, Option<bool>)> {
    let (container, mode) = text.split_once(':').map_or((text, None), |(name, mode)| (name, Some(mode)));
    if container.is_empty() {
        return Err(Error::new("malformed volumes-from specification: missing container"));
    }
    match mode {
        None => Ok((container, None)),
        Some("rw" | "z" | "Z") => Ok((container, Some(true))),
        Some("ro") => Ok((container, Some(false))),
        Some(mode) => Err(Error::new(format!("invalid mode \"{mode}\" for volumes-from"))),
    }
}

/// All mounts of a new container: what other containers lend, over which the user's own go, and a volume for each path
/// of the image's that is nothing else.
pub fn gather(lent: Vec<MountPoint>, own: Vec<Request>, image: &BTreeSet<String>) -> Result<Vec<Request>> {
    let mut all: Vec<Request> = Vec::new();
    let lent = lent.into_iter().map(|mount| Request { no_copy: true, ..Request::of(mount) });
    for request in lent.chain(own) {
        all.retain(|earlier| earlier.mount.destination != request.mount.destination);
        all.push(request);
    }
    for path in image {
        let destination = destination(path)?;
        if all.iter().all(|request| request.mount.destination != destination) {
            all.push(Request::of(empty(MountKind::Volume, destination)));
        }
    }
    Ok(all)
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
        driver_options: BTreeMap::new(),
        subpath: None,
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
    Err(volumes::invalid_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(parse: fn(&str, &Path) -> Result<Request>, texts: &[&str]) -> String {
        let line = |text: &&str| match parse(text, Path::new("/here")) {
            Ok(Request { mount, make_source, no_copy, labels, driver_options }) => {
                let MountPoint { kind, name, source, destination, rw, propagation, options, subpath, .. } =
                    mount;
                let name = name.unwrap_or_default();
                let (source, destination) = (source.display(), destination.display());
                format!(
                    "{text}\n  {kind:?} {name:?} {source:?} -> {destination} rw={rw} {propagation:?} {options:?} make={make_source} nocopy={no_copy} {labels:?} {driver_options:?} {subpath:?}\n"
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
                "name:/data:ro,nocopy",
                "/a:/b:nocopy",
                "x:y",
                ":/x",
                "/a:/",
                "/a:/b:odd",
                "a:b:c:d"
            ]
        ));
    }

    #[test]
    fn volumes_from() {
        let table: Vec<String> = ["box", "box:ro", "box:rw", ":ro", "box:odd"]
            .into_iter()
            .map(|text| format!("{:?}", parse_volumes_from(text).map_err(|error| error.to_string())))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn what_goes_over_what() {
        let read = |text: &str| parse_volume(text, Path::new("/here")).unwrap();
        let lent = ["theirs:/a", "theirs2:/b:ro"].map(|text| read(text).mount).to_vec();
        let own = vec![read("mine:/b"), parse_tmpfs("/run").unwrap()];
        let image = ["/run/", "/data", "/b"].map(str::to_owned).into();
        let table: Vec<String> = gather(lent, own, &image)
            .unwrap()
            .iter()
            .map(|Request { mount, no_copy, .. }| {
                format!(
                    "{} {:?} {:?} rw={} nocopy={no_copy}",
                    mount.destination.display(),
                    mount.kind,
                    mount.name,
                    mount.rw
                )
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"));
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
                "source=name,target=/data,volume-nocopy,volume-label=a=b,volume-driver=local",
                "target=/data,volume-driver=nfs",
                "source=name,target=/data,volume-opt=type=tmpfs,\"volume-opt=o=size=1m,mode=700\"",
                "source=name,target=/data,volume-subpath=a/b",
                "source=name,target=/data,volume-subpath=../b",
                "source=name,target=/data,volume-subpath=/b",
                "type=bind,source=/a,target=/b,volume-subpath=b",
                "type=tmpfs,target=/b,volume-opt=o=x",
                "\"target=/data",
                "\"target=/da\"\"ta\"",
                "\"target=/data\"x",
                "type=bind,target=/b",
                "type=odd,target=/b",
                "source=/a",
                "type=bind,source=/a,target=/b,colour=red",
                "type",
            ]
        ));
    }
}
