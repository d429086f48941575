//! Containers that go: by a user's wish, or because nothing else can be done with them.

use super::Engine;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::store::Held;

impl Engine {
    /// Removes a container, with `volumes` also those that nobody named. One that runs is refused, or with
    /// `force` killed first.
    pub fn remove(&self, container: &Container, force: bool, volumes: bool) -> Result<()> {
        if self.take_away(container, force, volumes)? {
            self.tell(container, "destroy", &[]);
        }
        Ok(())
    }

    /// Removes a container that was created and never told of, because its start is made again.
    pub fn withdraw(&self, container: &Container) -> Result<()> {
        self.take_away(container, false, true).map(drop)
    }

    /// Removes a container; whether it was still there.
    fn take_away(&self, container: &Container, force: bool, volumes: bool) -> Result<bool> {
        let Some(held) = self.hold_ended(container, force)? else { return Ok(false) };
        self.clean_cgroup(container)?;
        self.release_networks(container)?;
        // From now on no other container can be made of its volumes.
        let held = self.containers.retire(held)?;
        if volumes {
            self.remove_anonymous_volumes(container)?;
        }
        self.containers.remove(held)?;
        Ok(true)
    }

    /// Removes a container whose record cannot be read, and ends it before. Left are the volumes that only the record would
    /// tell of, to be pruned, and a cgroup below a parent of the user's.
    pub fn remove_broken(&self, id: &str) -> Result<()> {
        let unread = Container { id: id.to_owned(), ..Container::default() };
        self.hold_ended(&unread, true)?.map_or(Ok(()), |held| self.remove_unread(held))
    }

    /// Holds a container that does not run, or with `force` is killed; `None` if it is gone then, having removed itself.
    fn hold_ended(&self, container: &Container, force: bool) -> Result<Option<Held>> {
        // Where nobody has it in hand it does not run, whatever its records say.
        if let Ok(Some(held)) = self.containers.try_hold(&container.id) {
            return Ok(Some(held));
        }
        loop {
            if self.state(container)?.status.is_alive() {
                if !force {
                    return Err(Error::new(format!(
                        "cannot remove container \"/{}\": container is running: stop the container before removing or force remove",
                        container.name
                    )));
                }
                self.end(container, libc::SIGKILL as u8, None)?;
            }
            match self.hold_resting(container) {
                // Somebody has started it between our looks.
                Ok(None) => {}
                Err(error) if error.is_missing() => return Ok(None),
                held => return held,
            }
        }
    }

    /// Removes a held container with what its ID leads to, for want of a record.
    pub(super) fn remove_unread(&self, held: Held) -> Result<()> {
        let unread = Container { id: held.id.clone(), ..Container::default() };
        self.clean_cgroup(&unread)?;
        self.release_networks(&unread)?;
        self.networks.forget(&unread.id)?;
        self.containers.remove(held)
    }
}
