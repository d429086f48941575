//! The engine: what commands ask for, in terms of images and containers. What concerns networks is in `networks`, and
//! what a request means before anything is made, in `settle`.

pub mod exec;
mod life;
mod networks;
pub mod prune;
mod removal;
mod settle;
pub mod view;
mod volumes;
mod watch;

pub use networks::network_ahead;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cgroups::Hierarchy;
use image_pull::{Hold, Image, Reference, Removal, Store};
use overlay_layers::{ChainId, Marks};
use pid_namespace::Namespaces;
use runtime::network::Network;
use runtime::own_program;
use runtime::{Given, Join};
use user_namespace::IdMaps;

use crate::container::{Container, State};
use crate::create::{self, Request};
use crate::error::{Error, Result};
use crate::events::{Event, Journal};
use crate::neighbour;
use crate::networks::Networks;
use crate::plan::{self, Facts, Launch};
use crate::rootless::Rootless;
use crate::sharing::Sharing;
use crate::shim::{self, Supplies, Task};
use crate::store::{Containers, Held, UNKNOWN_EXIT};
use crate::volumes::{Volumes, look_up};
use crate::wire::Connection;
use crate::{delegated, skeleton};

/// How long a shim that says it runs is given to answer: it is about to listen, or about to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where things are kept.
#[derive(Debug, Clone)]
pub struct Folders {
    /// What lasts: images, layers, containers, volumes.
    pub data: PathBuf,
    /// What a reboot ends: sockets.
    pub exec: PathBuf,
}

/// Images and containers of one data folder.
#[derive(Debug)]
pub struct Engine {
    folders: Folders,
    images: Store,
    containers: Containers,
    networks: Networks,
    volumes: Volumes,
    journal: Journal,
    /// Whose subordinate ids containers get, if not the host's own.
    remap: Option<String>,
    /// The namespaces that it is in, if it is an ordinary user's.
    rootless: Option<Rootless>,
}

/// A container that was just created, and is still held.
#[derive(Debug)]
pub struct Created {
    /// Its record.
    pub container: Container,
    held: Held,
    launch: Launch,
    /// Whether nobody has heard of it yet.
    is_new: bool,
    /// Its network namespace, if that is on its way.
    network: Option<Network>,
}

impl Created {
    /// Gives it the network namespace that [`Engine::make_network`] has begun.
    #[must_use]
    pub fn with_network(self, network: Option<Network>) -> Self {
        Self { network, ..self }
    }

    /// What the user asked for and does not get in full.
    pub fn warnings(&self) -> &[String] {
        &self.launch.warnings
    }
}

impl Engine {
    /// Opens what lies in `folders`, and makes what is missing.
    ///
    /// With `remap`, `default` or `USER[:GROUP]`, new containers have the subordinate ids of that user: root inside is
    /// nobody outside.
    pub fn open(folders: Folders, remap: Option<String>, rootless: Option<Rootless>) -> Result<Self> {
        let marks = if rootless.is_some() { Marks::User } else { Marks::Trusted };
        let images = Store::open(&folders.data)?.with_marks(marks);
        let containers = Containers::open(&folders.data, &folders.exec)?;
        let networks =
            Networks::open(&folders.data, &folders.exec, rootless.as_ref().map(Rootless::ports).transpose()?);
        let volumes = Volumes::open(&folders.data);
        let journal = Journal::of(&folders.data);
        Ok(Self { folders, images, containers, networks, volumes, journal, remap, rootless })
    }

    /// The images.
    pub fn images(&self) -> &Store {
        &self.images
    }

    /// The containers.
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    /// The networks.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The volumes.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Whether it is an ordinary user's.
    pub fn is_rootless(&self) -> bool {
        self.rootless.is_some()
    }

    /// What has happened.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Records what has happened to a container.
    pub fn tell(&self, container: &Container, action: &str, attributes: &[(&str, &str)]) {
        self.journal.record(&[Event::container(container, action, attributes)]);
    }

    /// Where things are kept.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Creates a container. The hold on the images keeps this one from being removed until the container is
    /// recorded; from then on the record does.
    pub fn create(&self, image: &Image, _hold: &Hold, request: Request) -> Result<Created> {
        let held = self.containers.begin()?;
        match self.create_in(image, request, &held) {
            Ok((container, launch)) => Ok(Created { container, held, launch, is_new: true, network: None }),
            Err(error) => {
                self.containers.remove(held)?;
                Err(error)
            }
        }
    }

    fn create_in(&self, image: &Image, mut request: Request, held: &Held) -> Result<(Container, Launch)> {
        self.settle_sharing(&mut request)?;
        self.settle_networks(&mut request)?;
        self.settle_ids(&mut request)?;
        let name = self.containers.claim_name(&held.id, request.name.as_deref())?;
        let created = self.with_mounts(image, request, |request, mounts| {
            let container = create::container(&held.id, name.clone(), image, request, mounts)?;
            // What cannot be started should not be created.
            let launch = self.launch(&container)?;
            self.containers.finish(&container)?;
            Ok((container, launch))
        });
        if created.is_err() {
            self.containers.release_name(&held.id, &name)?;
        }
        created
    }

    /// A running container, to join `namespaces` of.
    fn neighbour(&self, container: &Container, namespaces: Namespaces) -> Result<Join> {
        let state = self.state(container)?;
        match self.connect(container)? {
            Some(shim) if state.status.has_process() => {
                neighbour::find(container, &state, shim.peer()?, namespaces)
            }
            _ => Err(Error::new(format!(
                "cannot join the {namespaces} namespace of container {}: it is not running",
                container.id
            ))),
        }
    }

    /// The containers whose namespaces are joined.
    fn neighbours(&self, sharing: &Sharing) -> Result<Vec<Join>> {
        let find = |(namespaces, id): (_, &str)| {
            let container = self.containers.find(id)?;
            self.neighbour(&container, namespaces)
        };
        sharing.joined().into_iter().map(find).collect()
    }

    /// The directories of a container's image, topmost first.
    pub fn layers(&self, container: &Container) -> Result<Vec<PathBuf>> {
        match container.layers.last() {
            Some(top) => Ok(self.images.layers().lowers(top)?),
            None => Ok(Vec::new()),
        }
    }

    /// How `container` would be started.
    pub fn launch(&self, container: &Container) -> Result<Launch> {
        let mountinfo = chroot::mount::mountinfo()?;
        // The files in its `/etc` are those of the container whose network it shares.
        let owner = container.host_config.network_mode.strip_prefix("container:").unwrap_or(&container.id);
        let own_ids =
            self.rootless.as_ref().map(|_| IdMaps::of_process(Path::new("/proc/self"))).transpose()?;
        let facts = Facts {
            directory: self.containers.directory(&container.id),
            etc: self.containers.directory(owner),
            layers: self.layers(container)?,
            skeleton: skeleton::make(&self.folders.data)?,
            stage: self.folders.exec.clone(),
            hierarchy: match &own_ids {
                None => Some(Hierarchy::detect_in(mountinfo.as_bytes())?),
                Some(own_ids) => delegated::hierarchy(own_ids)?,
            },
            mountinfo,
            capabilities: capabilities::assume::available()?,
            oom_score_adj: own_oom_score()?,
            own_ids,
        };
        plan::launch(container, &facts)
    }

    /// Starts a container. What its shim says, from its start on, comes through the connection. If `attached`, that
    /// includes the container's output; `size` is that of the user's terminal, lines and columns.
    pub fn start(&self, created: Created, attached: bool, size: Option<(u16, u16)>) -> Result<Connection> {
        let Created { container, held, mut launch, is_new, network } = created;
        let supplied = protect(&launch).and_then(|()| {
            let supplies = self.supply(&container, &mut launch)?;
            match network.map(Network::get).transpose() {
                Ok(made) => Ok(Supplies { network: made.filter(|_| launch.takes_network()), ..supplies }),
                Err(error) => {
                    self.networks.release(&container.id, &self.containers.exec_directory(&container.id))?;
                    Err(error.into())
                }
            }
        });
        let supplies = match supplied {
            Ok(supplies) => supplies,
            Err(error) if container.host_config.auto_remove => {
                let held = self.containers.retire(held)?;
                self.remove_anonymous_volumes(&container)?;
                self.containers.remove(held)?;
                return Err(error);
            }
            Err(error) => {
                // One whose start is made again is told of then.
                if is_new && error.exit_code() != Some(own_program::AGAIN) {
                    self.tell(&container, "create", &[]);
                }
                self.containers.settle(&held)?;
                return Err(error);
            }
        };
        shim::start(self, Task { container, held, launch, supplies, size, attached, is_new })
    }

    /// Gets what a start needs of others: their namespaces, addresses and ports. The machines that volumes are on, `launch`
    /// has by address then.
    pub(crate) fn supply(&self, container: &Container, launch: &mut Launch) -> Result<Supplies> {
        for given in &mut launch.plan.given {
            if let Given::Filesystem(mount) = given {
                look_up(mount)?;
            }
        }
        let neighbours = self.neighbours(&launch.sharing)?;
        if let (Some(_), Some(cgroup)) = (&self.rootless, &launch.plan.cgroup) {
            delegated::record(&self.containers.exec_directory(&container.id), cgroup.hierarchy())?;
        }
        Ok(Supplies { neighbours, wiring: self.wire(container)?, network: None })
    }

    /// The descriptors that a shim needs of the engine's.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rootless.iter().flat_map(Rootless::descriptors)
    }

    /// Connects to the shim of a running container; `None` if it ends before that.
    pub fn connect(&self, container: &Container) -> Result<Option<Connection>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match shim::connect(&self.containers, &container.id) {
                Ok(connection) => return Ok(Some(connection)),
                Err(error) if Instant::now() > deadline => {
                    return Err(Error::new(format!(
                        "the shim of container {} does not answer: {error}",
                        container.short_id()
                    )));
                }
                Err(_) if !self.state(container)?.status.is_alive() => return Ok(None),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Where `container` is in its life.
    pub fn state(&self, container: &Container) -> Result<State> {
        self.containers.state(&container.id)
    }

    /// Removes an image, or the name that was given if it has others.
    ///
    /// A container protects the image it was created from: its last name can be taken only with `force`. While the
    /// container runs, the image then stays, without a name, and by its ID it cannot be removed at all.
    pub fn remove_image(&self, text: &str, force: bool) -> Result<Vec<Removal>> {
        let image = self.images.resolve(text)?;
        let short = image_pull::store::short(&image.id);
        let by_id = is_id(text, &image);
        let containers = self.containers.list()?;
        let users = containers.iter().filter(|container| container.image == image.id.to_string());
        let mut stays = false;
        for container in users.filter(|_| by_id || image.names.len() <= 1) {
            let user = container.short_id();
            let running = self.state(container)?.status.is_alive();
            stays |= running;
            let conflict = match (by_id, running) {
                (true, true) => format!(
                    "unable to delete {short} (cannot be forced) - image is being used by running container {user}"
                ),
                (true, false) if !force => format!(
                    "unable to delete {short} (must be forced) - image is being used by stopped container {user}"
                ),
                (false, _) if !force => format!(
                    "unable to remove repository reference \"{text}\" (must force) - container {user} is using its referenced image {short}"
                ),
                _ => continue,
            };
            return Err(Error::new(format!("conflict: {conflict}")));
        }
        let in_use: Vec<ChainId> = containers.iter().flat_map(|container| container.layers.clone()).collect();
        let removed = match text.parse::<Reference>() {
            Ok(name) if stays => vec![self.images.untag(&name.or_latest())?],
            _ => self.images.remove(text, force, &in_use)?,
        };
        let id = image.id.to_string();
        let events: Vec<Event> = removed
            .iter()
            .filter_map(|removal| match removal {
                Removal::Untagged(name) => Some(Event::image("untag", &id, &name.familiar())),
                Removal::Image(id) => Some(Event::image("delete", &id.to_string(), &id.to_string())),
                Removal::Layer(_) => None,
            })
            .collect();
        self.journal.record(&events);
        Ok(removed)
    }

    /// Puts right what commands and shims left that were killed. A `thorough` look goes through everything.
    ///
    /// One container that cannot be put right does not keep the others from it; the reasons are returned.
    pub fn sweep(&self, thorough: bool) -> Vec<Error> {
        match self.containers.abandoned(thorough) {
            Ok(abandoned) => abandoned.into_iter().filter_map(|held| self.put_right(held).err()).collect(),
            Err(error) => vec![error],
        }
    }

    /// Ends whatever is left in a container's cgroup, and removes it. An ordinary user's may have none: the end of the
    /// first process was that of all.
    fn clean_cgroup(&self, container: &Container) -> Result<()> {
        let Some(cgroup) = self.cgroup(container)? else { return Ok(()) };
        cgroup.kill()?;
        Ok(cgroup.remove()?)
    }

    fn put_right(&self, held: Held) -> Result<()> {
        let container = match self.containers.read_held(&held) {
            Ok(Some(container)) => container,
            Ok(None) => return self.containers.remove(held),
            // Somebody has asked for its removal: it is to come to its end without a record, too.
            Err(_) if held.is_retired() => return self.remove_unread(held),
            Err(error) => return Err(error),
        };
        // Held by us, it looks as its shim left it.
        let was_alive = self.state(&container)?.status.is_alive();
        self.clean_cgroup(&container)?;
        self.release_networks(&container)?;
        if was_alive {
            self.tell(&container, "die", &[("exitCode", &UNKNOWN_EXIT.to_string())]);
        }
        if container.host_config.auto_remove {
            if was_alive {
                self.tell(&container, "destroy", &[]);
            }
            let held = self.containers.retire(held)?;
            self.remove_anonymous_volumes(&container)?;
            self.containers.remove(held)
        } else if held.is_retired() {
            self.containers.remove(held)
        } else {
            self.containers.settle(&held)
        }
    }
}

/// Fails with [`own_program::AGAIN`] if `launch` must be made by a binary that its container could not write to, and this
/// one is not.
fn protect(launch: &Launch) -> Result<()> {
    if launch.is_exposed() { Ok(own_program::require_read_only()?) } else { Ok(()) }
}

/// How soon this process is killed when memory runs out, -1000 to 1000.
fn own_oom_score() -> Result<i32> {
    let path = Path::new("/proc/self/oom_score_adj");
    let text = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    text.trim().parse().map_err(|_| Error::new(format!("{} holds no number", path.display())))
}

/// Whether `text` means the image by its ID and not by a name.
fn is_id(text: &str, image: &Image) -> bool {
    let named = text.parse::<Reference>().is_ok_and(|name| image.names.contains(&name.or_latest()));
    !named && image.id.hex().starts_with(text.strip_prefix("sha256:").unwrap_or(text))
}

/// Docker's default data folder has a fixed place, and so has ours; an ordinary user has folders of their own.
pub fn default_folders() -> Result<Folders> {
    if nix::unistd::geteuid().is_root() {
        return Ok(Folders {
            data: Path::new("/var/lib/mini-docker").to_owned(),
            exec: Path::new("/run/mini-docker").to_owned(),
        });
    }
    Ok(Folders { data: user_namespace::folders::data()?, exec: user_namespace::folders::exec()? })
}
