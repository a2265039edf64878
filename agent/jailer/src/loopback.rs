//! The loopback interface of a new network namespace, brought up by `RTM_NEWLINK` (`rtnetlink(7)`).
//!
//! A supervisor whose filter has taken the internet's sockets from it still has routing sockets.

use std::io;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// `RTM_NEWLINK` of `linux/rtnetlink.h`.
const NEWLINK: u16 = 16;
/// `NLM_F_REQUEST` and `NLM_F_ACK` of `linux/netlink.h`.
const REQUEST_WITH_ANSWER: u16 = 1 | 4;
/// `NLMSG_ERROR`, which is also the answer to what succeeded.
const ERROR: u16 = 2;
/// Loopback is the first interface of every namespace (`LOOPBACK_IFINDEX` of `net/flow.h`).
const LOOPBACK: u32 = 1;
/// `IFF_UP` of `linux/if.h`.
const UP: u32 = 1;

/// Brings up the loopback interface of this thread's network namespace.
pub(crate) fn raise() -> io::Result<()> {
    // No protocol is number 0, `NETLINK_ROUTE`.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 256];
    // The kernel answers before it returns from the request.
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    judge(answer.get(..length).unwrap_or_default())
}

/// `struct nlmsghdr`, then `struct ifinfomsg`.
fn request() -> [u8; 32] {
    let mut request = [0; 32];
    let fields: [(usize, &[u8]); 6] = [
        (0, &32u32.to_ne_bytes()),
        (4, &NEWLINK.to_ne_bytes()),
        (6, &REQUEST_WITH_ANSWER.to_ne_bytes()),
        // Family, padding and type of the interface stay unspecified.
        (20, &LOOPBACK.to_ne_bytes()),
        (24, &UP.to_ne_bytes()),
        // Which flags are to be changed.
        (28, &UP.to_ne_bytes()),
    ];
    for (at, bytes) in fields {
        request.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    }
    request
}

/// `struct nlmsghdr`, then an errno below zero, or zero.
fn judge(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
    let errno = answer.get(16..20).and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)));
    match (kind, errno) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(errno)) => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
        _ => Err(Errno::BADMSG.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_error_or_none() {
        let answer = |kind: u16, errno: i32| {
            let header = [&36u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
            judge(&[&header[..], &errno.to_ne_bytes()].concat()).map_err(|e| e.raw_os_error())
        };
        assert_eq!(answer(ERROR, 0), Ok(()));
        assert_eq!(answer(ERROR, -libc::EPERM), Err(Some(libc::EPERM)));
        assert_eq!(answer(NEWLINK, 0), Err(Some(libc::EBADMSG)));
        assert!(judge(&[0; 19]).is_err());
    }
}
