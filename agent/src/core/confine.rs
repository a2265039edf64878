//! Core gives up the network.
//!
//! A filter on system calls leaves `socket(2)` only the families that core needs:
//! unix sockets for link and the command line, netlink for what children set up in
//! namespaces of their own. Everything that could reach a network card or another
//! machine fails with EACCES, in core and in everything that it starts from then on.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Families that stay.
const ALLOWED: [libc::c_int; 2] = [libc::AF_UNIX, libc::AF_NETLINK];
/// `io_uring_setup(2)`, the same number on every architecture: a ring opens sockets by itself, and no
/// filter sees it.
const IO_URING_SETUP: i64 = 425;
/// What the x32 ABI adds to a number of a system call; kernels that have it take `socket` that way, too.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Takes the network from this thread and from all threads and processes that it starts.
///
/// It cannot be given back. Sets `no_new_privs`.
///
/// # Errors
/// What the kernel said.
pub(super) fn no_network() -> Result<(), Error> {
    apply_filter(&program()?)
}

fn program() -> Result<BpfProgram, Error> {
    let mut rules = BTreeMap::from([(libc::SYS_socket, vec![other_families()?]), (IO_URING_SETUP, vec![])]);
    #[cfg(target_arch = "x86_64")]
    {
        rules.insert(libc::SYS_socket + X32, vec![]);
        rules.insert(IO_URING_SETUP + X32, vec![]);
    }
    let denied = SeccompAction::Errno(libc::EACCES.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch)?;
    Ok(BpfProgram::try_from(filter)?)
}

/// Matches `socket` with a family that is none of [`ALLOWED`].
fn other_families() -> Result<SeccompRule, Error> {
    let differs = |family: &libc::c_int| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()))
    };
    let conditions = ALLOWED.iter().map(differs).collect::<Result<_, _>>()?;
    Ok(SeccompRule::new(conditions)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket, socketpair};

    fn open(family: AddressFamily, kind: SockType) -> Result<(), Errno> {
        socket(family, kind, SockFlag::empty(), None).map(drop)
    }

    /// A thread of its own: the filter stays with it, and dies with it.
    #[test]
    fn a_confined_thread_has_unix_sockets_and_no_network() {
        assert_eq!(open(AddressFamily::Inet, SockType::Datagram), Ok(()));
        std::thread::spawn(|| {
            no_network().unwrap();
            for family in [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Packet] {
                assert_eq!(open(family, SockType::Datagram), Err(Errno::EACCES), "{family:?}");
                assert_eq!(open(family, SockType::Stream), Err(Errno::EACCES), "{family:?}");
            }
            assert_eq!(open(AddressFamily::Vsock, SockType::Stream), Err(Errno::EACCES));
            assert_eq!(open(AddressFamily::Unix, SockType::Stream), Ok(()));
            assert_eq!(open(AddressFamily::Netlink, SockType::Raw), Ok(()));
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).unwrap();
        })
        .join()
        .unwrap();
    }

    /// What core starts cannot reach the network either: neither threads nor processes.
    #[test]
    fn children_inherit_it() {
        let connect = || std::net::TcpStream::connect(("127.0.0.1", 9)).map_err(|e| e.kind()).unwrap_err();
        assert_ne!(connect(), std::io::ErrorKind::PermissionDenied);
        std::thread::spawn(move || {
            no_network().unwrap();
            let inner = std::thread::spawn(connect).join().unwrap();
            assert_eq!(inner, std::io::ErrorKind::PermissionDenied);
            let script = "exec 3<>/dev/tcp/127.0.0.1/9";
            let child = std::process::Command::new("bash").args(["-c", script]).output();
            let Ok(child) = child else { return eprintln!("SKIPPED: no bash to start as a child") };
            let said = String::from_utf8_lossy(&child.stderr).to_lowercase();
            assert!(!child.status.success() && said.contains("permission denied"), "{said}");
        })
        .join()
        .unwrap();
    }
}
