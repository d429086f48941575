//! The ways to number calls that a program may choose from.
//!
//! A 64-bit kernel also runs 32-bit programs, whose calls have other numbers: 1 is `write` on `x86_64` and `exit` on i386.
//! And it is the program that chooses, call by call: any `x86_64` process can execute `int 0x80`, and its call is one of
//! i386. A filter that looks at the number only is no filter.

use std::fmt;

/// A way to number calls, with a width of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit Intel and AMD.
    X86_64,
    /// 32-bit Intel: i386.
    X86,
    /// 32-bit pointers on `x86_64`: its calls are marked by bit 30 of the number, see [`Architecture::X32_BIT`].
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM.
    Arm,
}

impl Architecture {
    /// All that this crate has numbers for, in the order of the enum.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// The bit that tells x32's calls from those of `x86_64`, which the kernel reports as the same architecture.
    pub const X32_BIT: u32 = 0x4000_0000;

    /// That of this program, and so that of the kernel.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// Its name in a profile's `architectures` and `archMap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// Its name in a rule's `includes` and `excludes`.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// What the kernel calls it when it asks a filter (`AUDIT_ARCH_*` of linux/audit.h): the machine's number in ELF
    /// files, with bits for 64-bit and little-endian.
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether its arguments have 32 bits. The kernel shows a filter 64 all the same; of the upper half, a caller may
    /// have made anything.
    pub const fn is_narrow(self) -> bool {
        matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "i386",
            Self::X32 => "x32",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
        })
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("this crate has the numbers of system calls for x86_64 and aarch64 only");
