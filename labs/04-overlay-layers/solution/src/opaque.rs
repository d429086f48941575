//! Opaque directories: those that show nothing of what is below them. Nothing is to be written here.

use std::ffi::CString;
use std::io::{Error, Result};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes `directory` opaque, by the extended attribute that overlayfs looks for.
#[allow(dead_code)]
pub fn make(directory: &Path) -> Result<()> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: path and name end with a zero, and the value is one byte long.
    let set = unsafe {
        libc::setxattr(path.as_ptr(), c"trusted.overlay.opaque".as_ptr(), c"y".as_ptr().cast(), 1, 0)
    };
    if set == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
