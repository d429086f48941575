//! Which images there are.

/// An image, and what it stands in for.
#[derive(Debug, Clone)]
pub struct StandIn {
    /// The repository in the registry: `library/ubuntu`.
    pub repository: &'static str,
    /// Its tags.
    pub tags: &'static [&'static str],
    /// What it is really, as the label `mini-docker.stand-in` says.
    pub really: &'static str,
    /// When it is said to have been made.
    pub created: &'static str,
    /// Its layers, lowest first.
    pub layers: &'static [Layer],
    /// The program that it starts.
    pub command: &'static [&'static str],
    /// The ports it listens on: `80/tcp`.
    pub ports: &'static [&'static str],
    /// Where it keeps data, which is also where its program starts.
    pub data: Option<&'static str>,
}

/// A layer of some of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Debian's base system.
    Debian,
    /// The programs that show processes, on Debian.
    Procps,
    /// Redis, on Debian.
    Redis,
    /// A root file system out of the static busybox of Debian's.
    Busybox,
    /// A tutorial's page of this project, to be served.
    Tutorial,
    /// A page that says it is the first version.
    First,
    /// A page that says it is the second version.
    Second,
    /// PostgreSQL, on Debian.
    Postgres,
    /// What starts it as its image does: with a password, on a volume.
    PostgresEntry,
    /// A whale that speaks, for a shell.
    Whale,
}

impl Layer {
    /// How it was made, as an image's history says.
    pub fn made_by(self) -> &'static str {
        match self {
            Self::Debian => "mmdebstrap --variant=minbase",
            Self::Procps => "apt-get install procps",
            Self::Redis => "apt-get install redis-server",
            Self::Busybox => "apt-get install busybox-static; busybox --install -s /bin",
            Self::Tutorial => "write /www/tutorial/index.html",
            Self::First | Self::Second => "write /www/index.html",
            Self::Postgres => "apt-get install postgresql",
            Self::PostgresEntry => "write /usr/local/bin/docker-entrypoint.sh",
            Self::Whale => "write /usr/local/bin/cowsay",
        }
    }
}

/// How a page is served.
const HTTPD: &[&str] = &["httpd", "-f", "-p", "80", "-h", "/www"];

/// An image of Debian's that stands in for another.
const fn debian(repository: &'static str, tags: &'static [&'static str], really: &'static str) -> StandIn {
    StandIn {
        repository,
        tags,
        really,
        created: "2026-01-02T03:04:05Z",
        layers: &[Layer::Debian, Layer::Procps],
        command: &["/bin/bash"],
        ports: &[],
        data: None,
    }
}

/// An image of busybox with a shell.
const fn busybox(repository: &'static str, tags: &'static [&'static str], really: &'static str) -> StandIn {
    let layers = &[Layer::Busybox];
    StandIn { layers, command: &["/bin/sh"], ..debian(repository, tags, really) }
}

/// An image that serves a page.
const fn page(repository: &'static str, tags: &'static [&'static str], layers: &'static [Layer]) -> StandIn {
    let really = "busybox's httpd and a page of mini-docker's";
    StandIn { layers, command: HTTPD, ports: &["80/tcp"], ..busybox(repository, tags, really) }
}

/// All images.
pub fn images() -> Vec<StandIn> {
    const DEBIAN: &str = "Debian with procps";
    const BUSYBOX: &str = "Debian's static busybox";
    let demo = "nigelpoulton/tu-demo";
    vec![
        debian("library/ubuntu", &["latest"], DEBIAN),
        StandIn { created: "2023-05-30T00:00:00Z", ..debian("library/ubuntu", &["18.04"], DEBIAN) },
        StandIn { created: "2021-08-31T00:00:00Z", ..debian("library/ubuntu", &["16.04"], DEBIAN) },
        StandIn {
            layers: &[Layer::Debian],
            command: &["bash"],
            ..debian("library/debian", &["latest"], "Debian")
        },
        StandIn { command: &["sh"], ..busybox("library/busybox", &["latest"], BUSYBOX) },
        busybox("library/alpine", &["latest"], BUSYBOX),
        // Newer than the one called latest, which is the newest that was released.
        StandIn { created: "2026-02-03T04:05:06Z", ..busybox("library/alpine", &["edge"], BUSYBOX) },
        StandIn {
            layers: &[Layer::Debian, Layer::Redis],
            // The image's own network is what protects it, as in Docker's.
            command: &["redis-server", "--protected-mode", "no"],
            ports: &["6379/tcp"],
            data: Some("/data"),
            ..debian("library/redis", &["latest"], "Debian with redis-server")
        },
        StandIn {
            layers: &[Layer::Debian, Layer::Postgres, Layer::PostgresEntry],
            command: &["docker-entrypoint.sh"],
            ports: &["5432/tcp"],
            data: Some("/var/lib/postgresql/data"),
            ..debian("library/postgres", &["15.1-alpine"], "Debian with PostgreSQL")
        },
        StandIn {
            layers: &[Layer::Busybox, Layer::Whale],
            ..busybox("docker/whalesay", &["latest"], "busybox and a script of mini-docker's")
        },
        page("docker/getting-started", &["latest"], &[Layer::Busybox, Layer::Tutorial]),
        page(demo, &["latest", "v2"], &[Layer::Busybox, Layer::Second]),
        page(demo, &["v1"], &[Layer::Busybox, Layer::First]),
    ]
}
