//! The tables of numbers, against others'.

use std::collections::BTreeMap;
use std::fmt::Write;

use seccomp::{Architecture, calls};

/// Calls of the 32-bit ARM kernel that its `syscall.tbl` does not have: linux/arch/arm/include/uapi/asm/unistd.h, and a
/// second name of 341.
const ARM: [(&str, i32); 7] = [
    ("breakpoint", 0xf0001),
    ("cacheflush", 0xf0002),
    ("get_tls", 0xf0006),
    ("set_tls", 0xf0005),
    ("sync_file_range2", 341),
    ("usr26", 0xf0003),
    ("usr32", 0xf0004),
];

/// Marked `64` in `arch/x86/entry/syscalls/syscall_64.tbl`, and not replaced by one of `X32_OWN`.
const X86_64_ONLY: [&str; 14] = [
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "map_shadow_stack",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uprobe",
    "uretprobe",
    "uselib",
    "vserver",
];

/// Marked `x32` there, in the order of their numbers.
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

const X32_OWN_BEGIN: i32 = 512;

/// What the crate `syscalls` says, which is generated from the kernel's `syscall.tbl` files.
fn expected() -> BTreeMap<&'static str, [i32; 5]> {
    let mut rows: BTreeMap<&'static str, [i32; 5]> = BTreeMap::new();
    macro_rules! add {
        ($($architecture:ident in column $column:literal),*) => {$(
            for number in 0..=syscalls::$architecture::Sysno::last().id() {
                if let Some(call) = syscalls::$architecture::Sysno::new(number as usize) {
                    // One is a word of Rust.
                    let name = call.name().trim_start_matches("r#");
                    rows.entry(name).or_insert([-1; 5])[$column] = number;
                }
            }
        )*};
    }
    add!(x86_64 in column 0, x86 in column 1, aarch64 in column 3, arm in column 4);
    for (name, number) in ARM {
        rows.entry(name).or_insert([-1; 5])[4] = number;
    }
    // x32 has the numbers of x86_64, except where memory is laid out differently.
    for (name, numbers) in &mut rows {
        numbers[2] = match X32_OWN.iter().position(|own| own == name) {
            _ if X86_64_ONLY.contains(name) => -1,
            Some(at) => X32_OWN_BEGIN + at as i32,
            None => numbers[0],
        };
    }
    rows
}

/// After an update of `syscalls`: `UPDATE_CALLS=1 cargo test -p seccomp --test calls`.
#[test]
fn the_table_is_the_kernels() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/calls/table.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let (head, _) = text.split_once("    Call::new").unwrap();
    let mut wanted = head.to_owned();
    for (name, numbers) in expected() {
        let numbers =
            numbers.map(|number| if number > 0xffff { format!("{number:#x}") } else { number.to_string() });
        writeln!(wanted, "    Call::new(\"{name}\", [{}]),", numbers.join(", ")).unwrap();
    }
    wanted.push_str("];\n");
    if std::env::var_os("UPDATE_CALLS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    for (ours, theirs) in text.lines().zip(wanted.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(text, wanted);
}

#[test]
fn names_are_found_and_numbers_too() {
    for call in calls::all() {
        assert_eq!(calls::find(call.name()), Some(call));
        for architecture in Architecture::ALL {
            if let Some(number) = call.number(architecture) {
                let name = calls::name(number, architecture).unwrap();
                assert_eq!(calls::find(name).unwrap().number(architecture), Some(number));
            }
        }
    }
    assert_eq!(calls::find("no_such_call"), None);
    assert_eq!(calls::name(9999, Architecture::X86_64), None);
}

/// libc has the same numbers, from the C headers.
#[test]
fn numbers_that_libc_knows() {
    for (name, number) in [
        ("read", libc::SYS_read),
        ("clone3", libc::SYS_clone3),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("bpf", libc::SYS_bpf),
        ("umount2", libc::SYS_umount2),
    ] {
        let ours = calls::find(name).unwrap().number(Architecture::NATIVE);
        assert_eq!(ours.map(i64::from), Some(number), "{name}");
    }
}

/// From the header `asm/unistd_x32.h`.
#[test]
fn numbers_of_x32() {
    let number = |name: &str| calls::find(name).unwrap().number(Architecture::X32);
    for (name, expected) in [
        ("read", Some(0)),
        ("ioctl", Some(514)),
        ("execve", Some(520)),
        ("pwritev2", Some(547)),
        ("clone3", Some(435)),
        ("uselib", None),
        ("map_shadow_stack", None),
        ("chown32", None),
    ] {
        assert_eq!(number(name), expected.map(|number: u32| number | 0x4000_0000), "{name}");
    }
}
