//! Messages between the jailer's outer process and the job's first process, and the plan's beginning.
//!
//! A `SOCK_SEQPACKET` pair: one message is one packet, descriptors ride along.
//! The tenant's program never holds an end of it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use assay_jailer::plan::{BINDS_MAX, LAYERS_MAX};
use assay_jailer::report::Refusal;

/// Most bytes in one message; a longer refusal is cut.
const MESSAGE_MAX: usize = 4096;

/// Most descriptors in one message.
const FDS_MAX: usize = LAYERS_MAX + BINDS_MAX + 1;

/// What the job's first process tells the outer one.
pub(crate) enum Message {
    /// All walls are up, Landlock at this ABI, the clocks in a namespace of their own or not.
    Confined {
        /// The writable layer.
        scratch: OwnedFd,
        landlock_abi: u32,
        time_namespace: bool,
    },
    /// The job's program ended with this status of `wait(2)`.
    Ended(i32),
    /// The job's program will not run.
    Refused(Refusal),
    /// The other end is closed.
    Gone,
}

/// Both ends of a new connection.
pub(crate) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one packet with descriptors.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet with its descriptors; an empty one means that the other end is closed.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> rustix::io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let (length, fds) = receive_into(socket, &mut bytes, RecvFlags::empty())?;
    bytes.truncate(length);
    Ok((bytes, fds))
}

/// Receives the length that a plan begins with, and the one descriptor that may ride along.
pub(crate) fn receive_length(control: BorrowedFd<'_>) -> rustix::io::Result<([u8; 4], Option<OwnedFd>)> {
    let mut length = [0; 4];
    let (received, mut fds) = receive_into(control, &mut length, RecvFlags::WAITALL)?;
    match (received, fds.pop(), fds.is_empty()) {
        (4, fd, true) => Ok((length, fd)),
        _ => Err(Errno::BADMSG),
    }
}

fn receive_into(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    flags: RecvFlags,
) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    if got.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok((got.bytes, fds))
}

/// Tells the outer process why the job's program will not run.
pub(crate) fn send_refusal(socket: BorrowedFd<'_>, refusal: &Refusal) {
    let mut refusal = refusal.clone();
    refusal.detail = refusal.detail.chars().take(512).collect();
    let mut bytes = vec![b'E'];
    bytes.extend(serde_json::to_vec(&refusal).unwrap_or_default());
    // If the outer process is gone, nobody is left to be told.
    let _ = send(socket, &bytes, &[]);
}

/// Tells the outer process how the job's program ended.
pub(crate) fn send_ended(socket: BorrowedFd<'_>, status: i32) {
    let mut bytes = vec![b'X'];
    bytes.extend(status.to_le_bytes());
    let _ = send(socket, &bytes, &[]);
}

/// Tells the outer process that all walls are up, and hands it the writable layer.
pub(crate) fn send_confined(
    socket: BorrowedFd<'_>,
    scratch: BorrowedFd<'_>,
    landlock_abi: u32,
    time_namespace: bool,
) -> rustix::io::Result<()> {
    let mut bytes = vec![b'W', u8::from(time_namespace)];
    bytes.extend(landlock_abi.to_le_bytes());
    send(socket, &bytes, &[scratch])
}

/// True while the other end is open and silent, which is all it should be.
pub(crate) fn is_peer_alive(socket: BorrowedFd<'_>) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(socket, &mut [0u8; 1], flags), Err(Errno::AGAIN))
}

/// Receives and decodes one message of the job's first process.
pub(crate) fn receive_message(socket: BorrowedFd<'_>) -> rustix::io::Result<Message> {
    let (bytes, mut fds) = receive(socket)?;
    match (bytes.split_first(), fds.pop()) {
        (None, _) => Ok(Message::Gone),
        (Some((b'X', rest)), None) => {
            Ok(Message::Ended(i32::from_le_bytes(rest.try_into().map_err(|_| Errno::BADMSG)?)))
        }
        (Some((b'W', [time, abi @ ..])), Some(scratch)) => Ok(Message::Confined {
            scratch,
            landlock_abi: u32::from_le_bytes(abi.try_into().map_err(|_| Errno::BADMSG)?),
            time_namespace: *time == 1,
        }),
        (Some((b'E', rest)), None) => {
            Ok(Message::Refused(serde_json::from_slice(rest).map_err(|_| Errno::BADMSG)?))
        }
        _ => Err(Errno::BADMSG),
    }
}
