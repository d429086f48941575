//! What a file gives to whoever runs it: the extended attribute `security.capability`, as `setcap(8)` writes it.
//!
//! It is how `ping` may open raw sockets without being set-user-ID root. An image's layers carry it (step 4), and in a
//! container it works as on the host, within the bounding set.

use std::path::Path;

use chroot::Error as KernelError;

use crate::error::{Error, Result};
use crate::set::Set;

/// The attribute's name.
const ATTRIBUTE: &str = "security.capability";
/// `VFS_CAP_REVISION_*`, the high byte of the first word (`linux/capability.h`): two words a set.
const REVISION_2: u32 = 0x0200_0000;
/// The same, with the id of the user that counts as root.
const REVISION_3: u32 = 0x0300_0000;
const REVISION_MASK: u32 = 0xff00_0000;
/// `VFS_CAP_FLAGS_EFFECTIVE`.
const EFFECTIVE: u32 = 1;

/// The capabilities of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileCapabilities {
    /// Given to everybody, within the bounding set.
    pub permitted: Set,
    /// Kept by those who have them inheritable.
    pub inheritable: Set,
    /// Whether what is permitted is effective at once: for programs that know nothing of capabilities.
    pub effective: bool,
}

impl FileCapabilities {
    /// Those of the file at `path`; `None` if it has none.
    ///
    /// # Errors
    /// What the kernel refuses, and attributes of an unknown form.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let mut bytes = [0; 64];
        match rustix::fs::getxattr(path, ATTRIBUTE, &mut bytes) {
            Ok(length) => Self::decode(&bytes[..length]).map(Some),
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
            Err(errno) => Err(KernelError::new("read the capabilities of", path.display(), errno).into()),
        }
    }

    /// Reads `struct vfs_cap_data`: little-endian words, of which each set has a low and a high one.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let words: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|chunk| u32::from_le_bytes(chunk.try_into().expect("chunks of four")))
            .collect();
        let (magic, words) = match words.as_slice() {
            [magic, a, b, c, d] if magic & REVISION_MASK == REVISION_2 => (magic, [*a, *b, *c, *d]),
            [magic, a, b, c, d, _root] if magic & REVISION_MASK == REVISION_3 => (magic, [*a, *b, *c, *d]),
            _ => return Err(Error::File("it is neither of revision 2 nor of revision 3")),
        };
        let set = |low: u32, high: u32| Set::from_bits(u64::from(low) | u64::from(high) << 32);
        Ok(Self {
            permitted: set(words[0], words[2]),
            inheritable: set(words[1], words[3]),
            effective: magic & EFFECTIVE != 0,
        })
    }

    /// The attribute's bytes, in revision 2.
    pub fn encode(self) -> Vec<u8> {
        let half = |set: Set, shift: u32| (set.bits() >> shift) as u32;
        let magic = REVISION_2 | if self.effective { EFFECTIVE } else { 0 };
        [
            magic,
            half(self.permitted, 0),
            half(self.inheritable, 0),
            half(self.permitted, 32),
            half(self.inheritable, 32),
        ]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let file = FileCapabilities {
            permitted: Set::of("net_raw").unwrap(),
            inheritable: Set::of("bpf").unwrap(),
            effective: true,
        };
        assert_eq!(FileCapabilities::decode(&file.encode()).unwrap(), file);
        for odd in [&[][..], &[0; 20], &[1; 21], &[2; 24]] {
            assert!(FileCapabilities::decode(odd).is_err(), "{odd:?}");
        }
    }
}
