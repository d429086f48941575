//! `by_handle name FILE`, `by_handle open MOUNT HANDLE`: a file opened without a path, by its handle.
//!
//! A handle is little more than an inode's number, and can be guessed: the root directory of an ext4 file system is
//! always number 2. `open_by_handle_at(2)` finds the file on the file system that MOUNT lies on, wherever it is there,
//! and no mount namespace and no `pivot_root` is in the way: a container that shares one file with the host can read
//! them all. `CAP_DAC_READ_SEARCH` is what it takes, and that is why no container has it.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};

/// The bytes of a handle that any file system of Linux uses (`MAX_HANDLE_SZ`).
const MAX_BYTES: usize = 128;

/// `struct file_handle`, with room for its bytes.
#[repr(C)]
struct Handle {
    length: libc::c_uint,
    kind: libc::c_int,
    bytes: [u8; MAX_BYTES],
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["name", file] => name(file).map(|handle| println!("{handle}")),
        ["open", mount, handle] => open(mount, handle).map(|text| print!("{text}")),
        _ => Err(std::io::Error::other("usage: by_handle name FILE | by_handle open MOUNT HANDLE")),
    };
    if let Err(error) = done {
        eprintln!("by_handle: {error}");
        std::process::exit(1);
    }
}

/// The handle of a file: its kind, a colon, and its bytes in hexadecimal.
fn name(file: &str) -> std::io::Result<String> {
    let path = CString::new(file)?;
    let mut handle = Handle { length: MAX_BYTES as u32, kind: 0, bytes: [0; MAX_BYTES] };
    let mut mount = 0;
    // SAFETY: the handle has as much room as it says, and all pointers outlive the call.
    let result = unsafe {
        libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), (&raw mut handle).cast(), &raw mut mount, 0)
    };
    nix::errno::Errno::result(result)?;
    let bytes: String =
        handle.bytes[..handle.length as usize].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}:{bytes}", handle.kind))
}

/// The text of the file with this handle, on the file system that `mount` lies on.
fn open(mount: &str, handle: &str) -> std::io::Result<String> {
    let malformed = || std::io::Error::other("a handle is KIND:HEXADECIMAL");
    let (kind, digits) = handle.split_once(':').ok_or_else(malformed)?;
    let mut parsed =
        Handle { length: 0, kind: kind.parse().map_err(|_| malformed())?, bytes: [0; MAX_BYTES] };
    for (place, pair) in parsed.bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
        *place = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        parsed.length += 1;
    }
    let mount = std::fs::File::open(mount)?;
    // SAFETY: the handle has the length that it says, and outlives the call.
    let result =
        unsafe { libc::open_by_handle_at(mount.as_raw_fd(), (&raw mut parsed).cast(), libc::O_RDONLY) };
    let fd = nix::errno::Errno::result(result)?;
    let mut text = String::new();
    // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
    unsafe { std::fs::File::from_raw_fd(fd) }.read_to_string(&mut text)?;
    Ok(text)
}
