//! Where a program comes from: whether it is a file of the container's own root, and so surely not the engine's binary.
//!
//! What the kernel would run for a path can be another file than its last link names: a script's interpreter, a dynamic
//! program's loader, what a link of `/proc` leads to (CVE-2019-5736). Each of those is looked at. The answer holds until
//! the program starts because nobody else can reach the root yet: a container that shares anything with others is
//! started through the read-only mount in any case ([`crate::own_program`]).

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use chroot::Program;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, statx};
use rustix::io::Errno;

/// How much of a file the kernel looks at to tell its format (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;
/// How many scripts may be one another's interpreter (`exec_binprm` in the kernel's `fs/exec.c`).
const MAX_SCRIPTS: usize = 5;
/// The longest name of a loader (`PATH_MAX`).
const MAX_PATH: u64 = 4096;
/// An ELF file of this machine's: magic, 64 bits, its byte order; then, 18 bytes into it, its processor (`elf(5)`).
const ELF: &[u8] = &[0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "little") { 1 } else { 2 }];
const MACHINE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
/// The size of a program header, and the type of the one that names the loader.
const PROGRAM_HEADER: usize = 56;
const INTERPRETER: u32 = 3;

/// Whether everything that `program` may turn out to be is a file of the root's own file system, in a format that the
/// kernel runs by itself. What cannot be told is no.
pub(crate) fn is_of_the_root(program: &Program) -> bool {
    let Ok(Some((root, _))) = place(Path::new("/")) else { return false };
    // The name may be found in several directories, and which of those the user may run is the kernel's to say.
    program.candidates().iter().all(|path| runs_from(root, Path::new(path), MAX_SCRIPTS).unwrap_or(false))
}

/// Whether running `path` runs files of the mount `root` alone.
fn runs_from(root: u64, path: &Path, scripts: usize) -> Result<bool, Errno> {
    match place(path)? {
        // Nothing will be run.
        None => return Ok(true),
        Some((mount, FileType::RegularFile)) if mount == root => {}
        Some(_) => return Ok(false),
    }
    let file = File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
    let mut head = [0; HEAD];
    let length = rustix::io::pread(&file, &mut head, 0)?;
    let head = &head[..length];
    if let Some(line) = head.strip_prefix(b"#!") {
        return match interpreter(line) {
            Some(interpreter) if scripts > 0 => runs_from(root, interpreter, scripts - 1),
            _ => Ok(false),
        };
    }
    // Other formats are the business of interpreters that the host's administrator has chosen (binfmt_misc), and the
    // image may have put anything in their place.
    if !head.starts_with(ELF) || u16::from_ne_bytes(field(head, 18)?) != MACHINE {
        return Ok(false);
    }
    match loader(&file, head)? {
        Some(loader) => {
            let place = place(Path::new(OsStr::from_bytes(&loader)))?;
            Ok(place.is_none_or(|place| place == (root, FileType::RegularFile)))
        }
        None => Ok(true),
    }
}

/// The mount that the file at `path` is in, and what kind of file it is; `None` if there is nothing of that name.
fn place(path: &Path) -> Result<Option<(u64, FileType)>, Errno> {
    match statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE | StatxFlags::MNT_ID) {
        Ok(status) if StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::MNT_ID) => {
            Ok(Some((status.stx_mnt_id, FileType::from_raw_mode(status.stx_mode.into()))))
        }
        // Before Linux 5.8.
        Ok(_) => Err(Errno::NOSYS),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The interpreter that a script's first line names, without its `#!` (`load_script` in the kernel's
/// `fs/binfmt_script.c`). `None` if there is none, or the line is cut off.
fn interpreter(line: &[u8]) -> Option<&Path> {
    let end = line.iter().position(|byte| *byte == b'\n')?;
    let mut words = line[..end].split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let word = words.next()?;
    // The kernel takes a name up to the first NUL.
    let name = word.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
    Some(Path::new(OsStr::from_bytes(name)))
}

/// The loader of the ELF file that begins with `head`, if it needs one. ENOEXEC if the file is not as it should be.
fn loader(file: &File, head: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let read = |length: usize, at: u64| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, at).map(|()| bytes).map_err(|_| Errno::NOEXEC)
    };
    let headers = u64::from_ne_bytes(field(head, 32)?);
    let (size, count) = (u16::from_ne_bytes(field(head, 54)?), u16::from_ne_bytes(field(head, 56)?));
    if usize::from(size) != PROGRAM_HEADER {
        return Err(Errno::NOEXEC);
    }
    for header in read(PROGRAM_HEADER * usize::from(count), headers)?.chunks_exact(PROGRAM_HEADER) {
        if u32::from_ne_bytes(field(header, 0)?) != INTERPRETER {
            continue;
        }
        let (at, length) = (u64::from_ne_bytes(field(header, 8)?), u64::from_ne_bytes(field(header, 32)?));
        if length > MAX_PATH {
            return Err(Errno::NOEXEC);
        }
        let mut name = read(length as usize, at)?;
        let end = name.iter().position(|byte| *byte == 0).ok_or(Errno::NOEXEC)?;
        name.truncate(end);
        return Ok(Some(name));
    }
    Ok(None)
}

/// A number's bytes, `at` that many bytes into `bytes`.
fn field<const LENGTH: usize>(bytes: &[u8], at: usize) -> Result<[u8; LENGTH], Errno> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Errno::NOEXEC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_first_line() {
        let table: String = [
            &b"/bin/sh\necho"[..],
            b" \t/bin/sh -e\n",
            b"/proc/self/exe import\n",
            b"\n",
            b"  \n",
            b"/bin/sh",
            b"/bin/sh\0hidden\n",
        ]
        .into_iter()
        .map(|line| {
            format!("{:<24} {:?}\n", format!("{:?}", String::from_utf8_lossy(line)), interpreter(line))
        })
        .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_is_run_in_the_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let script = |name: &str, interpreter: &str| {
            std::fs::write(at(name), format!("#!{interpreter}\n")).expect("a fresh folder");
        };
        for (name, program) in [("static", "/proc/self/exe"), ("dynamic", "/bin/ls")] {
            std::fs::copy(program, at(name)).expect("room for a copy");
        }
        std::os::unix::fs::symlink("/proc/version", at("link")).expect("a fresh folder");
        std::fs::write(at("text"), "no program").expect("a fresh folder");
        std::fs::write(at("cut"), &std::fs::read(at("static")).expect("our copy")[..100]).expect("a folder");
        script("script", &at("static").display().to_string());
        script("second", &at("script").display().to_string());
        script("elsewhere", "/proc/version");
        script("nowhere", "/no/where");
        script("endless", &at("endless").display().to_string());
        let (root, _) = place(folder.path()).expect("we made it").expect("it is there");
        let (loaders, _) = place(Path::new("/lib64/ld-linux-x86-64.so.2"))
            .expect("a path")
            .unwrap_or((0, FileType::Unknown));
        let table: String = [
            "static",
            "script",
            "second",
            "missing",
            "nowhere",
            "link",
            "text",
            "cut",
            "elsewhere",
            "endless",
        ]
        .into_iter()
        .map(|name| format!("{name:<10} {:?}\n", runs_from(root, &at(name), MAX_SCRIPTS)))
        .collect();
        insta::assert_snapshot!(table);
        assert_eq!(runs_from(root, &at("dynamic"), MAX_SCRIPTS), Ok(root == loaders || loaders == 0));
    }

    #[test]
    fn the_loaders_of_programs_here() {
        let loader_of = |path: &str| {
            let file = File::open(path).expect("the host has it");
            let mut head = [0; HEAD];
            file.read_exact_at(&mut head, 0).expect("it is longer");
            loader(&file, &head).expect("it is a program").map(|name| String::from_utf8(name).expect("text"))
        };
        // This test is static, as all our programs are.
        assert_eq!(loader_of("/proc/self/exe"), None);
        assert!(loader_of("/bin/ls").expect("Debian's are dynamic").contains("ld-linux"));
    }
}
