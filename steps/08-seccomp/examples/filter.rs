//! `filter`: a filter by hand, six instructions that refuse one call: `mkdirat` fails with EPERM, even for root.

use nix::errno::Errno;
use nix::sys::stat::Mode;
use seccomp::instruction::{ARCHITECTURE, Instruction, JUMP_IF_EQUAL, LOAD, NUMBER, RETURN};
use seccomp::{Action, Architecture, Filter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machine = Architecture::NATIVE.audit();
    let mkdirat = u32::try_from(libc::SYS_mkdirat)?;
    let refuse = Action::Errno(Errno::EPERM as u16).code();
    // A number means nothing without its architecture, so that is looked at first, and others' calls are refused.
    let program = vec![
        Instruction::new(LOAD, ARCHITECTURE),
        Instruction { code: JUMP_IF_EQUAL, if_true: 0, if_false: 2, value: machine },
        Instruction::new(LOAD, NUMBER),
        Instruction { code: JUMP_IF_EQUAL, if_true: 0, if_false: 1, value: mkdirat },
        Instruction::new(RETURN, refuse),
        Instruction::new(RETURN, Action::Allow.code()),
    ];
    let filter = Filter::new(program, 0);
    print!("{filter}");

    nix::sys::prctl::set_no_new_privs()?;
    filter.install()?;
    let made = nix::sys::stat::mkdirat(nix::fcntl::AT_FDCWD, "/tmp/seccomp-example", Mode::S_IRWXU);
    println!("mkdirat: {made:?}");
    Ok(())
}
