//! `ps`: containers.

mod filters;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use mini_docker::container::{Container, State, Status};
use mini_docker::format::{moment, units};
use mini_docker::health::Wellness;
use mini_docker::networks::membership::{Connections, PublishedPort};
use mini_docker::{Engine, Error, Result};
use networking::{Port, Protocol};
use serde_json::{Value, json};

use super::output::{self, Columns};
use filters::Filters;

/// What `ps` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Print only IDs
    #[arg(short, long)]
    quiet: bool,
    /// Show the last created containers, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
    last: i64,
    /// Show the latest created container, whether it runs or not
    #[arg(short, long)]
    latest: bool,
    /// Show how much is in the writable layers
    #[arg(short, long)]
    size: bool,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Show only some: id, name, status, health, exited, label, ancestor, before, since, volume, network
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print a table, "json", or a Go template
    #[arg(long)]
    format: Option<String>,
}

const COLUMNS: Columns = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
];
const COLUMNS_WITH_SIZE: Columns = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
    ("SIZE", "Size"),
];
const HEADINGS: Columns = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("CREATED AT", "CreatedAt"),
    ("STATUS", "Status"),
    ("STATE", "State"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
    ("SIZE", "Size"),
    ("LABELS", "Labels"),
    ("MOUNTS", "Mounts"),
    ("NETWORKS", "Networks"),
    ("LOCAL VOLUMES", "LocalVolumes"),
];

impl Options {
    /// Prints the containers, the newest first.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, true);
        let filters = Filters::read(engine, &self.filter)?;
        let last = if self.latest { 1 } else { self.last };
        let all = self.all || last > 0 || filters.want_all();
        let mut shown = Vec::new();
        let (containers, broken) = engine.containers().readable()?;
        for container in containers {
            let state = engine.state(&container)?;
            if (all || state.status.is_alive()) && filters.fit(engine, &container, &state)? {
                shown.push((container, state));
            }
        }
        if let Ok(last @ 1..) = usize::try_from(last) {
            shown.truncate(last);
        }
        let rows = shown
            .iter()
            .map(|(container, state)| self.row(engine, container, state))
            .collect::<Result<Vec<_>>>()?;
        if self.quiet {
            rows.iter().for_each(|row| println!("{}", row["ID"].as_str().unwrap_or_default()));
            return Ok(told(&broken));
        }
        let columns = if self.size { COLUMNS_WITH_SIZE } else { COLUMNS };
        output::list(self.format.as_deref(), columns, HEADINGS, &rows)?;
        Ok(told(&broken))
    }

    fn row(&self, engine: &Engine, container: &Container, state: &State) -> Result<Value> {
        let shorten =
            |text: String, length| if self.no_trunc { text } else { output::shorten(&text, length) };
        let id = if self.no_trunc { container.id.clone() } else { container.short_id().to_owned() };
        let labels: Vec<String> =
            container.config.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mounts: Vec<String> = container
            .mounts
            .iter()
            .map(|mount| mount.name.clone().unwrap_or_else(|| mount.source.display().to_string()))
            .map(|mount| shorten(mount, 15))
            .collect();
        // Adding up a layer's files takes a while.
        let uses_size = self.size || self.format.as_ref().is_some_and(|format| format.contains(".Size"));
        let size = if uses_size { size(engine, container)? } else { String::new() };
        Ok(json!({
            "ID": id,
            "Image": shown_image(engine, container)?,
            "Command": format!("\"{}\"", shorten(command(container), 20)),
            "CreatedAt": moment::local(&container.created)?,
            "RunningFor": format!("{} ago", age(&container.created)?),
            "Status": status(state)?,
            "State": state.status.word(),
            "Ports": ports(engine, container)?,
            "Names": container.name,
            "Size": size,
            "Labels": labels.join(","),
            "Mounts": mounts.join(","),
            "Networks": container.host_config.network_mode,
            "LocalVolumes": container.mounts.iter().filter(|mount| mount.name.is_some()).count().to_string(),
        }))
    }
}

/// What the table shows of a container.
pub(crate) fn row(engine: &Engine, container: &Container, state: &State) -> Result<Value> {
    let options = Options {
        all: true,
        quiet: false,
        last: -1,
        latest: false,
        size: false,
        no_trunc: false,
        filter: Vec::new(),
        format: None,
    };
    options.row(engine, container, state)
}

/// Says which containers are missing from the list, and why; the exit code.
fn told(broken: &[Error]) -> u8 {
    broken.iter().for_each(super::report);
    u8::from(!broken.is_empty())
}

/// The program and its arguments as one text; an argument with a space in it is quoted.
fn command(container: &Container) -> String {
    let quoted = |word: String| if word.contains(' ') { format!("'{word}'") } else { word };
    container.command().into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The image as the user named it; its ID once that name means another.
fn shown_image(engine: &Engine, container: &Container) -> Result<String> {
    let name = &container.config.image;
    match engine.images().resolve(name) {
        Ok(image) if image.id.to_string() == container.image => Ok(name.clone()),
        Ok(_) | Err(image_pull::Error::NoSuchImage { .. }) => {
            let digits = container.image.strip_prefix("sha256:").unwrap_or(&container.image);
            Ok(digits.chars().take(12).collect())
        }
        Err(error) => Err(error.into()),
    }
}

/// `443/tcp, 0.0.0.0:8080->80/tcp`: which ports are only exposed, and where the others are published. As with Docker,
/// neighbours that are the same outside and inside become one range, and others follow by themselves.
fn ports(engine: &Engine, container: &Container) -> Result<String> {
    let directory = engine.containers().exec_directory(&container.id);
    let connections = Connections::read(&directory)?;
    if connections.networks.is_empty() {
        return Ok(String::new());
    }
    // Port inside, the host's address, port outside, protocol: the order in which they are shown.
    let mut all: Vec<(u16, Option<IpAddr>, u16, Protocol)> = Vec::new();
    for PublishedPort { protocol, host, target, .. } in &connections.ports {
        all.push((target.port(), Some(host.ip()), host.port(), *protocol));
    }
    for exposed in &container.config.exposed_ports {
        for Port { number, protocol } in networking::ports::parse_exposed(exposed)? {
            if all.iter().all(|&(inside, _, _, other)| (inside, other) != (number, protocol)) {
                all.push((number, None, number, protocol));
            }
        }
    }
    all.sort_unstable();
    let mut ranges: Vec<(Option<IpAddr>, Protocol, u16, u16)> = Vec::new();
    let mut others = Vec::new();
    for (inside, address, outside, protocol) in all {
        let last = ranges.iter_mut().rfind(|range| (range.0, range.1) == (address, protocol));
        match (last, address) {
            (_, Some(address)) if outside != inside => {
                others.push(format!("{}->{inside}/{protocol}", SocketAddr::new(address, outside)));
            }
            (Some((_, _, _, last)), _) if inside == *last + 1 => *last = inside,
            _ => ranges.push((address, protocol, inside, inside)),
        }
    }
    let range = |(address, protocol, first, last): (Option<IpAddr>, Protocol, u16, u16)| {
        let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match address {
            None => format!("{ports}/{protocol}"),
            Some(IpAddr::V4(address)) => format!("{address}:{ports}->{ports}/{protocol}"),
            Some(IpAddr::V6(address)) => format!("[{address}]:{ports}->{ports}/{protocol}"),
        }
    };
    Ok(ranges.into_iter().map(range).chain(others).collect::<Vec<_>>().join(", "))
}

fn size(engine: &Engine, container: &Container) -> Result<String> {
    let own = overlay_layers::usage(&engine.containers().directory(&container.id).join("upper"))?;
    let mut image = 0;
    for layer in &container.layers {
        image += engine.images().layers().size(layer)?;
    }
    Ok(format!("{} (virtual {})", units::decimal(own), units::decimal(own + image)))
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago`, `Created`.
fn status(state: &State) -> Result<String> {
    Ok(match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let health = state.health.as_ref().map_or(String::new(), |health| match health.status {
                Wellness::Starting => " (health: starting)".to_owned(),
                known => format!(" ({})", known.word()),
            });
            format!("Up {}{health}", age(&state.started_at)?)
        }
        Status::Paused => format!("Up {} (Paused)", age(&state.started_at)?),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, age(&state.finished_at)?),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, age(&state.finished_at)?),
    })
}

/// How long ago a recorded time was.
pub(crate) fn age(time: &str) -> Result<String> {
    let time: Timestamp =
        time.parse().map_err(|error| Error::new(format!("cannot read the time {time}: {error}")))?;
    // A clock that was set back must not make the past the future.
    let ago = Timestamp::now().duration_since(time).max(SignedDuration::ZERO);
    Ok(units::duration(Duration::from_secs(ago.as_secs().unsigned_abs())))
}
