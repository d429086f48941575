//! The mounts of a new container, and the volumes that it and others use.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use chroot::resolve::Rooted;
use image_pull::Image;
use nix::errno::Errno;
use overlay_layers::{Marks, Overlay};
use rustix::fs::OFlags;
use user_namespace::IdMaps;

use super::Engine;
use super::prune::Pruned;
use crate::container::{Container, Ids, MountKind, MountPoint};
use crate::create::Request;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::volumes::{self, Hold, Volume, users};
use crate::{files, mounts, skeleton};

impl Engine {
    /// Makes a volume.
    pub fn create_volume(&self, request: volumes::Request) -> Result<Volume> {
        self.make_volume(&self.volumes.hold()?, request)
    }

    /// Makes a volume, and tells of it; one that is there already is no news.
    fn make_volume(&self, hold: &Hold, request: volumes::Request) -> Result<Volume> {
        let is_new = request.name.as_ref().is_none_or(|name| self.volumes.find(name).is_err());
        let volume = self.volumes.create(hold, request)?;
        if is_new {
            self.journal.record(&[Event::volume("create", &volume.name, &[])]);
        }
        Ok(volume)
    }

    /// Removes a volume, whoever uses it, and tells of it.
    fn destroy_volume(&self, hold: &Hold, name: &str) -> Result<()> {
        self.volumes.remove(hold, name)?;
        self.journal.record(&[Event::volume("destroy", name, &[])]);
        Ok(())
    }

    /// Removes a volume that no container uses, whether it runs or not.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let hold = self.volumes.hold()?;
        let volume = self.volumes.find(name)?;
        let containers = self.containers.list()?;
        let ids: Vec<&str> = users(&containers, &volume.name).iter().map(|user| user.id.as_str()).collect();
        if ids.is_empty() {
            return self.destroy_volume(&hold, name);
        }
        Err(Error::new(format!("remove {name}: volume is in use - [{}]", ids.join(", "))))
    }

    /// Removes the volumes that no container uses and that are `wanted`; returns their names.
    pub fn prune_volumes(&self, wanted: impl Fn(&Volume) -> bool) -> Result<Pruned<String>> {
        let hold = self.volumes.hold()?;
        let containers = self.containers.list()?;
        let mut pruned = Pruned::default();
        for volume in self.volumes.list()? {
            if users(&containers, &volume.name).is_empty() && wanted(&volume) {
                let size = overlay_layers::usage(&volume.mountpoint).map_err(Error::from);
                match size.and_then(|size| self.destroy_volume(&hold, &volume.name).map(|()| size)) {
                    Ok(size) => {
                        pruned.freed += size;
                        pruned.removed.push(volume.name);
                    }
                    Err(error) => pruned.failures.push(error),
                }
            }
        }
        Ok(pruned)
    }

    /// Removes the volumes that came with a container, which is gone for everybody by now, and that nobody named; but
    /// not what another container uses too.
    pub(crate) fn remove_anonymous_volumes(&self, container: &Container) -> Result<()> {
        let mut names = container
            .mounts
            .iter()
            .filter(|mount| mount.anonymous)
            .filter_map(|mount| mount.name.as_ref())
            .peekable();
        if names.peek().is_none() {
            return Ok(());
        }
        let hold = self.volumes.hold()?;
        let others = self.containers.list()?;
        names
            .filter(|name| users(&others, name).is_empty())
            .try_for_each(|name| self.destroy_volume(&hold, name))
    }

    /// Provides the mounts of a new container, and calls `record`, which is to record it. Until then nobody can remove a
    /// volume of them.
    pub(super) fn with_mounts<T>(
        &self,
        image: &Image,
        mut request: Request,
        record: impl FnOnce(Request, Vec<MountPoint>) -> Result<T>,
    ) -> Result<T> {
        let image_volumes = &image.config.config.volumes;
        let is_volume = |request: &mounts::Request| request.mount.kind == MountKind::Volume;
        let uses_volumes = !image_volumes.is_empty()
            || !request.volumes_from.is_empty()
            || request.mounts.iter().any(is_volume);
        let hold = if uses_volumes { Some(self.volumes.hold()?) } else { None };
        let lent = self.lent(&request.volumes_from)?;
        let wanted = mounts::gather(lent, std::mem::take(&mut request.mounts), image_volumes)?;
        let maps = request.ids.as_ref().map(Ids::maps).transpose()?;
        let mut provided = Vec::new();
        let recorded = wanted
            .iter()
            .try_for_each(|wanted| {
                provided.push(match &hold {
                    Some(hold) if is_volume(wanted) => {
                        self.provide_volume(hold, image, wanted, maps.as_ref())?
                    }
                    _ => provide(wanted)?,
                });
                Ok(())
            })
            .and_then(|()| record(request, provided.clone()));
        if recorded.is_err()
            && let Some(hold) = &hold
        {
            // Those that nobody named, and that nobody lent, are this container's alone.
            let new = wanted.iter().zip(&provided).filter(|(wanted, _)| wanted.mount.name.is_none());
            new.filter_map(|(_, mount)| mount.name.as_ref())
                .try_for_each(|name| self.destroy_volume(hold, name))?;
        }
        recorded
    }

    /// The mounts of the containers that `texts` name.
    fn lent(&self, texts: &[String]) -> Result<Vec<MountPoint>> {
        let mut lent = Vec::new();
        for text in texts {
            let (name, writable) = mounts::parse_volumes_from(text)?;
            let donor = self.containers.find(name)?;
            for mount in donor.mounts.into_iter().filter(|mount| mount.kind != MountKind::Tmpfs) {
                // What the donor may only read, nobody else may write by way of it.
                let rw = mount.rw && writable.unwrap_or(true);
                lent.push(MountPoint { rw, ..mount });
            }
        }
        Ok(lent)
    }

    /// The volume that a mount is to show, made and filled if that is due.
    fn provide_volume(
        &self,
        hold: &Hold,
        image: &Image,
        wanted: &mounts::Request,
        maps: Option<&IdMaps>,
    ) -> Result<MountPoint> {
        let mut mount = wanted.mount.clone();
        let owner = maps.map(IdMaps::root).transpose()?;
        mount.anonymous |= mount.name.is_none();
        let volume = self.make_volume(
            hold,
            volumes::Request {
                name: mount.name.take(),
                labels: wanted.labels.clone(),
                options: wanted.driver_options.clone(),
                owner,
            },
        )?;
        self.volumes.finish_filling(hold, &volume)?;
        if volume.options.is_empty() && !wanted.no_copy && mount.subpath.is_none() {
            self.fill(hold, &volume, image, &mount.destination, maps)?;
        }
        if mount.subpath.is_some() && !volume.options.is_empty() && volume.source() == volume.mountpoint {
            return Err(Error::new(format!(
                "volume {} has a file system of its own: volume-subpath is for directories",
                volume.name
            )));
        }
        volume.source().clone_into(&mut mount.source);
        mount.driver_options.clone_from(&volume.options);
        mount.name = Some(volume.name);
        Ok(mount)
    }

    /// Fills a volume with what the image has at `path`.
    fn fill(
        &self,
        hold: &Hold,
        volume: &Volume,
        image: &Image,
        path: &Path,
        maps: Option<&IdMaps>,
    ) -> Result<()> {
        let Some(directory) = self.image_directory(image, path)? else { return Ok(()) };
        let root = maps.map(IdMaps::root).transpose()?.unwrap_or_default();
        let owners = |uid, gid| match maps {
            None => (uid, gid),
            // Who is nobody in the container has nothing there.
            Some(maps) => {
                (maps.uids.to_outside(uid).unwrap_or(root.0), maps.gids.to_outside(gid).unwrap_or(root.1))
            }
        };
        self.volumes.fill(hold, volume, directory.as_fd(), &owners, self.rootless.is_none())
    }

    /// The directory that an image has at `path`; `None` if there is none.
    ///
    /// The image's links are somebody else's, and so it is looked for as a container would find it: in the layers, shown
    /// as one tree that is attached nowhere, and that no link leads out of.
    fn image_directory(&self, image: &Image, path: &Path) -> Result<Option<OwnedFd>> {
        let Some(top) = image.chain.last() else { return Ok(None) };
        let mut lowers = self.images.layers().lowers(top)?;
        // Overlayfs wants two directories at least, and this one is in every container.
        lowers.push(skeleton::make(&self.folders.data)?);
        let tree = Overlay { lowers, upper: None, volatile: false, marks: self.marks() }.mount()?;
        match Rooted::new(&tree).open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if matches!(error.errno(), Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How the layers of this engine mark what they hide.
    pub(crate) fn marks(&self) -> Marks {
        if self.rootless.is_some() { Marks::User } else { Marks::Trusted }
    }
}

/// Makes what a mount needs on the host, if it is no volume.
fn provide(request: &mounts::Request) -> Result<MountPoint> {
    let mount = request.mount.clone();
    match mount.kind {
        MountKind::Bind if !mount.source.exists() => {
            if !request.make_source {
                return Err(Error::new(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    mount.source.display()
                )));
            }
            files::make_dir(&mount.source, false)?;
        }
        MountKind::Bind | MountKind::Volume | MountKind::Tmpfs => {}
    }
    Ok(mount)
}
