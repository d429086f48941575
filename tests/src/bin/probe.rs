//! `probe`: does, inside a container, what an attacker's program would and no shell can.
//!
//! - `probe calls`: makes system calls that act on the whole machine, and prints what the kernel said to each. The
//!   arguments are such that little happens where a call is allowed.
//! - `probe unix NAME`: connects to the abstract socket NAME.
//! - `probe key NAME`: prints the key NAME of the session keyring, if there is one.
//! - `probe user`: prints whose permissions it has.
//! - `probe watch SECRET FILE`: looks at every other process that it can see, for ever, and notes in FILE when SECRET
//!   was in its environment or its arguments, or the name of a file in its root or its working directory.

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["calls"] => calls(),
        ["unix", name] => println!("{}", connect(name)),
        ["key", name] => println!("{}", key(name)),
        ["user"] => println!("{}", nix::unistd::geteuid()),
        ["watch", secret, file] => watch(secret, Path::new(file)),
        _ => {
            eprintln!("usage: probe calls | unix NAME | key NAME | user | watch SECRET FILE");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Makes a system call; the name of its error.
fn call(number: libc::c_long, arguments: [u64; 5]) -> String {
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: every pointer among the arguments leads to memory of this process that lives until the call returns,
    // and the kernel checks the others.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    match Errno::result(result) {
        Ok(_) => "allowed".to_owned(),
        Err(errno) => format!("{errno:?}"),
    }
}

/// A pointer to a C string, as an argument.
fn text(text: &'static std::ffi::CStr) -> u64 {
    text.as_ptr() as u64
}

fn calls() {
    let cwd = i64::from(libc::AT_FDCWD) as u64;
    let own = fs::File::open("/proc/self/ns/net").expect("a process has namespaces");
    // The handle of inode 2, the root of most file systems, on whatever disk /etc/hosts lies ("shocker").
    let mount = fs::File::open("/etc/hosts").expect("every container has it");
    let handle: [u32; 4] = [8, 1, 2, 0];
    // The time as it is.
    let now: [i64; 2] = {
        let mut now = libc::timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: gettimeofday writes to `now`, which lives until it returns.
        unsafe { libc::gettimeofday(&raw mut now, std::ptr::null_mut()) };
        [now.tv_sec, now.tv_usec]
    };
    let newuser = libc::CLONE_NEWUSER as u64;
    let clone_args: [u64; 8] = [newuser, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    let map: [u32; 5] = [2, 4, 4, 1, 0];
    let event: [u32; 28] =
        [1, 112, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let attributes: [u64; 4] = [1, 0, 0, 0];
    let fifo: [u32; 1] = [1];
    let ring: [u32; 30] = [0; 30];
    let at = |words: &[u32]| words.as_ptr() as u64;
    for (name, number, arguments) in [
        ("setns", libc::SYS_setns, [own.as_raw_fd() as u64, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [text(c"none"), text(c"/proc"), text(c"tmpfs"), 0, 0]),
        ("umount2", libc::SYS_umount2, [text(c"/proc"), libc::MNT_DETACH as u64, 0, 0, 0]),
        ("pivot_root", libc::SYS_pivot_root, [text(c"/"), text(c"/"), 0, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [text(c"tmpfs"), 0, 0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [cwd, text(c"/proc"), 1, 0, 0]),
        ("mount_setattr", libc::SYS_mount_setattr, [cwd, text(c"/proc"), 0, attributes.as_ptr() as u64, 32]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [mount.as_raw_fd() as u64, at(&handle), 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0, (-3_i64) as u64, 0, 0, 0]),
        ("add_key", libc::SYS_add_key, [text(c"user"), text(c"probe"), text(c"x"), 1, (-1_i64) as u64]),
        ("bpf", libc::SYS_bpf, [0, at(&map), 20, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [at(&event), 0, u64::MAX, u64::MAX, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, at(&ring), 0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, [0, 0, 0, 0, 0]),
        ("init_module", libc::SYS_init_module, [0, 0, text(c""), 0, 0]),
        ("finit_module", libc::SYS_finit_module, [mount.as_raw_fd() as u64, text(c""), 0, 0, 0]),
        ("delete_module", libc::SYS_delete_module, [text(c"no_such_module"), 0, 0, 0, 0]),
        ("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, [text(c"/no/where"), 0, 0, 0, 0]),
        ("swapoff", libc::SYS_swapoff, [text(c"/no/where"), 0, 0, 0, 0]),
        ("acct", libc::SYS_acct, [text(c"/no/where"), 0, 0, 0, 0]),
        ("settimeofday", libc::SYS_settimeofday, [now.as_ptr() as u64, 0, 0, 0, 0]),
        ("sethostname", libc::SYS_sethostname, [text(c"x"), 1, 0, 0, 0]),
        ("syslog", libc::SYS_syslog, [3, 0, 0, 0, 0]),
        ("fanotify_init", libc::SYS_fanotify_init, [0, 0, 0, 0, 0]),
        ("vhangup", libc::SYS_vhangup, [0, 0, 0, 0, 0]),
        ("sched_setscheduler", libc::SYS_sched_setscheduler, [0, 1, at(&fifo), 0, 0]),
        ("vsock", libc::SYS_socket, [libc::AF_VSOCK as u64, libc::SOCK_STREAM as u64, 0, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        ("iopl", libc::SYS_iopl, [3, 0, 0, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        ("ioperm", libc::SYS_ioperm, [0x80, 1, 1, 0, 0]),
        // Last, since a user namespace changes what the other answers would be.
        ("clone", libc::SYS_clone, [newuser | libc::SIGCHLD as u64, 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [clone_args.as_ptr() as u64, 64, 0, 0, 0]),
        ("unshare", libc::SYS_unshare, [newuser, 0, 0, 0, 0]),
    ] {
        let before = std::process::id();
        let answer = call(number, arguments);
        if std::process::id() != before {
            // A clone that was allowed comes here too.
            std::process::exit(0);
        }
        println!("{name} {answer}");
    }
}

fn connect(name: &str) -> String {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).expect("a socket");
    let address = UnixAddr::new_abstract(name.as_bytes()).expect("a short name");
    match connect(socket.as_raw_fd(), &address) {
        Ok(()) => "connected".to_owned(),
        Err(errno) => format!("{errno:?}"),
    }
}

fn key(name: &str) -> String {
    const SEARCH: u64 = 10;
    const READ: u64 = 11;
    const SESSION: u64 = -3_i64 as u64;
    let name = CString::new(name).expect("a name without NUL");
    // SAFETY: both strings live until the call returns.
    let found =
        unsafe { libc::syscall(libc::SYS_keyctl, SEARCH, SESSION, c"user".as_ptr(), name.as_ptr(), 0) };
    let serial = match Errno::result(found) {
        Ok(serial) => serial,
        Err(errno) => return format!("{errno:?}"),
    };
    let mut secret = [0_u8; 64];
    // SAFETY: the kernel writes to `secret` no more than its length, which is passed beside it.
    let length = unsafe { libc::syscall(libc::SYS_keyctl, READ, serial, secret.as_mut_ptr(), secret.len()) };
    match Errno::result(length) {
        Ok(length) => String::from_utf8_lossy(&secret[..length as usize]).into_owned(),
        Err(errno) => format!("{errno:?}"),
    }
}

fn watch(secret: &str, file: &Path) -> ! {
    let mut notes = fs::File::create(file).expect("a volume");
    let mut note = |what: &str| writeln!(notes, "{what}").expect("a volume");
    loop {
        for entry in fs::read_dir("/proc").expect("a container has it").flatten() {
            let path = entry.path();
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            if pid == std::process::id() {
                continue;
            }
            for name in ["environ", "cmdline"] {
                let seen = fs::read(path.join(name)).unwrap_or_default();
                if seen.windows(secret.len()).any(|part| part == secret.as_bytes()) {
                    note(name);
                }
            }
            for name in ["root", "cwd"] {
                if path.join(name).join(secret).exists() {
                    note(name);
                }
            }
        }
    }
}
