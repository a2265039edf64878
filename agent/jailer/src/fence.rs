//! The second wall: Landlock, at the best ABI of the kernel.
//!
//! What it stops on its own, whatever the system call filter says: every mount
//! and change of roots, tracing of processes outside, device nodes and requests
//! to devices (ABI 5), signals and abstract sockets to processes outside (ABI
//! 6). Files below the root may be read, run and, where their mount is
//! writable, written.
//!
//! TCP is not ruled: the rules know ports and no addresses, and a job, which has
//! no interface but loopback, may use any port of it.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

use assay_jailer::report::{Refusal, Stage};

use crate::sys::{self, LandlockRuleset};

/// `LANDLOCK_ACCESS_FS_MAKE_CHAR` and `_MAKE_BLOCK`: handled, never granted.
const DEVICE_NODES: u64 = 1 << 6 | 1 << 11;
/// `LANDLOCK_ACCESS_FS_IOCTL_DEV`, likewise.
const DEVICE_REQUESTS: u64 = 1 << 15;
/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `_SIGNAL`.
const SCOPES: u64 = 1 << 0 | 1 << 1;

/// Every access right to files that an ABI knows.
const fn rights(abi: u32) -> u64 {
    let count = match abi {
        0 => 0,
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << count) - 1
}

/// Bytes of the attributes that an ABI knows.
const fn attribute_bytes(abi: u32) -> usize {
    match abi {
        0..4 => 8,
        4 | 5 => 16,
        _ => 24,
    }
}

/// What the fence rules at an ABI, and what it then grants below the root.
const fn rules(abi: u32) -> (LandlockRuleset, u64) {
    let handled = rights(abi);
    let scoped = if abi >= 6 { SCOPES } else { 0 };
    let rules = LandlockRuleset { handled_access_fs: handled, handled_access_net: 0, scoped };
    (rules, handled & !(DEVICE_NODES | DEVICE_REQUESTS))
}

/// The ABI of the kernel's answer; 0 for a kernel that was built or booted without Landlock. Any other
/// error may be a system call filter's and does not say that there is no fence.
fn abi(answer: io::Result<libc::c_long>) -> io::Result<u32> {
    match answer {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP)) => Ok(0),
        other => other.and_then(|abi| u32::try_from(abi).map_err(io::Error::other)),
    }
}

/// Fences this process and its children in and returns the ABI; 0 is a kernel without Landlock.
pub(crate) fn put_up() -> Result<u32, Refusal> {
    let refuse = |e: io::Error| Refusal::new(Stage::Landlock, "fence", e);
    let abi = abi(sys::landlock_abi()).map_err(refuse)?;
    if abi == 0 {
        return Ok(0);
    }
    let (rules, granted) = rules(abi);
    let rules = sys::landlock_ruleset(&rules, attribute_bytes(abi)).map_err(refuse)?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Refusal::new(Stage::Landlock, "open /", e))?;
    sys::landlock_allow(rules.as_fd(), root.as_fd(), granted).map_err(refuse)?;
    sys::landlock_restrict(rules.as_fd()).map_err(refuse)?;
    Ok(abi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_without_landlock_is_excused() {
        let failed = |errno| abi(Err(io::Error::from_raw_os_error(errno)));
        assert_eq!(abi(Ok(6)).unwrap(), 6);
        assert_eq!(failed(libc::ENOSYS).unwrap(), 0);
        assert_eq!(failed(libc::EOPNOTSUPP).unwrap(), 0);
        for errno in [libc::EPERM, libc::EACCES, libc::EINVAL, libc::ENOMEM] {
            assert_eq!(failed(errno).unwrap_err().raw_os_error(), Some(errno));
        }
    }

    #[test]
    fn rights_grow_with_the_abi() {
        // EXECUTE to MAKE_SYM; REFER; TRUNCATE; IOCTL_DEV.
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(rights), [0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff, 0xffff]);
        assert_eq!([1, 4, 6].map(attribute_bytes), [8, 16, 24]);
    }

    #[test]
    fn device_nodes_requests_and_scopes_are_ruled_and_not_granted() {
        // Bits of `linux/landlock.h`: MAKE_CHAR 6, MAKE_BLOCK 11, IOCTL_DEV 15; both scopes.
        for abi in 1..=8 {
            let (rules, granted) = rules(abi);
            let withheld = if abi < 5 { 1 << 6 | 1 << 11 } else { 1 << 6 | 1 << 11 | 1 << 15 };
            assert_eq!(rules.handled_access_fs & !granted, withheld, "{abi}");
            assert_eq!(granted & !rules.handled_access_fs, 0, "{abi}");
            assert_eq!(rules.scoped, if abi < 6 { 0 } else { 0b11 }, "{abi}");
        }
    }
}
