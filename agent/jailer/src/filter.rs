//! The system call filter, on x86-64: one allow-list, compiled to a binary
//! search over call numbers.
//!
//! What is not named answers `EPERM`. What programs probe and can do without
//! answers `ENOSYS`: calls newer than this list, and `clone3`, whose flags a
//! filter cannot see and for which the C library falls back to `clone`.
//! Foreign calling conventions (i386, x32) kill the process.
//!
//! The list is a subset of Docker's default profile for a container without
//! capabilities.

use libc::sock_filter;
use sha2::{Digest, Sha256};

mod calls;

pub use calls::{ALLOWED, IOCTLS};

/// Highest call number that this list knows; above, `ENOSYS`.
pub const KNOWN_MAX: u32 = 462;
/// Bit that marks calls of the x32 convention.
const X32: u32 = 0x4000_0000;
/// `AUDIT_ARCH_X86_64` of `linux/audit.h`.
const ARCH_X86_64: u32 = 0xc000_003e;
/// Every flag of `clone(2)` that creates a namespace.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
/// `SOCK_NONBLOCK` and the like lie above the socket's type.
const SOCKET_TYPE: u32 = 0xf;
/// `personality(2)`: query, and plain Linux.
const PERSONALITIES: [u32; 2] = [0, 0xffff_ffff];

/// Places in `struct seccomp_data` (`linux/seccomp.h`); of arguments, the low
/// half, which is all that the kernel reads of those that are judged here.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// What the filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Eperm,
    Enosys,
    Kill,
    Clone,
    Socket,
    SocketPair,
    Ioctl,
    Personality,
}

/// Answers for all numbers from the first member on, up to the next entry.
type Segment = (u32, Verdict);

/// [`ALLOWED`], by number.
fn allowed() -> Vec<bool> {
    let mut allowed = vec![false; usize::try_from(KNOWN_MAX).unwrap_or(0).saturating_add(1)];
    for call in ALLOWED {
        if let Some(entry) = usize::try_from(*call).ok().and_then(|number| allowed.get_mut(number)) {
            *entry = true;
        }
    }
    allowed
}

fn verdict(number: u32, is_allowed: bool) -> Verdict {
    match i64::from(number) {
        libc::SYS_clone => Verdict::Clone,
        libc::SYS_socket => Verdict::Socket,
        libc::SYS_socketpair => Verdict::SocketPair,
        libc::SYS_ioctl => Verdict::Ioctl,
        libc::SYS_personality => Verdict::Personality,
        libc::SYS_clone3 => Verdict::Enosys,
        _ if is_allowed => Verdict::Allow,
        _ => Verdict::Eperm,
    }
}

fn segments(numbers: impl Iterator<Item = Segment>) -> Vec<Segment> {
    let mut merged: Vec<Segment> = numbers.collect();
    merged.dedup_by(|later, earlier| later.1 == earlier.1);
    merged
}

fn call_segments() -> Vec<Segment> {
    let known = (0..).zip(allowed()).map(|(number, is_allowed)| (number, verdict(number, is_allowed)));
    segments(known.chain([(KNOWN_MAX.saturating_add(1), Verdict::Enosys), (X32, Verdict::Kill)]))
}

fn ioctl_segments() -> Vec<Segment> {
    let mut requests = IOCTLS.to_vec();
    requests.sort_unstable();
    let mut found = vec![(0, Verdict::Eperm)];
    for request in requests {
        match found.last_mut() {
            // The end of the run before is the start of this one.
            Some(last) if last.0 == request => *last = (request, Verdict::Allow),
            _ => found.push((request, Verdict::Allow)),
        }
        found.push((request.saturating_add(1), Verdict::Eperm));
    }
    segments(found.into_iter())
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}

fn load(place: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, place)
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(libc::BPF_JMP | test | libc::BPF_K, jt, jf, k)
}

fn answer(value: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

fn allow() -> sock_filter {
    answer(libc::SECCOMP_RET_ALLOW)
}

fn errno(number: i32) -> sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | number.unsigned_abs())
}

/// The whole filter.
#[must_use]
pub fn program() -> Vec<sock_filter> {
    let mut code = vec![
        load(ARCH),
        jump(libc::BPF_JEQ, ARCH_X86_64, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    code.extend(search(&call_segments()));
    code
}

/// SHA-256 of the instructions as the kernel takes them, in hexadecimal.
#[must_use]
pub fn digest(program: &[sock_filter]) -> String {
    let mut hash = Sha256::new();
    for i in program {
        hash.update(i.code.to_le_bytes());
        hash.update([i.jt, i.jf]);
        hash.update(i.k.to_le_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A binary search for the segment that the accumulator lies in.
fn search(segments: &[Segment]) -> Vec<sock_filter> {
    let (below, above) = segments.split_at(segments.len() / 2);
    let (true, Some((bound, _))) = (!below.is_empty(), above.first()) else {
        return above.first().map_or_else(Vec::new, |(_, verdict)| judge(*verdict));
    };
    let (below, above) = (search(below), search(above));
    let mut code = Vec::with_capacity(below.len().saturating_add(above.len()).saturating_add(2));
    match u8::try_from(below.len()) {
        Ok(skip) => code.push(jump(libc::BPF_JGE, *bound, skip, 0)),
        // Conditional jumps reach 255 instructions, this one any number.
        Err(_) => {
            code.push(jump(libc::BPF_JGE, *bound, 0, 1));
            let skip = u32::try_from(below.len()).unwrap_or(u32::MAX);
            code.push(instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, skip));
        }
    }
    code.extend(below);
    code.extend(above);
    code
}

fn judge(verdict: Verdict) -> Vec<sock_filter> {
    match verdict {
        Verdict::Allow => vec![allow()],
        Verdict::Eperm => vec![errno(libc::EPERM)],
        Verdict::Enosys => vec![errno(libc::ENOSYS)],
        Verdict::Kill => vec![answer(libc::SECCOMP_RET_KILL_PROCESS)],
        Verdict::Clone => {
            vec![load(argument(0)), jump(libc::BPF_JSET, NAMESPACE_FLAGS, 0, 1), errno(libc::EPERM), allow()]
        }
        Verdict::Socket => socket(),
        Verdict::SocketPair => one_of(0, &[libc::AF_UNIX.unsigned_abs()]),
        Verdict::Personality => one_of(0, &PERSONALITIES),
        Verdict::Ioctl => {
            let mut code = vec![load(argument(1))];
            code.extend(search(&ioctl_segments()));
            code
        }
    }
}

/// Allows if the argument is one of few values.
fn one_of(index: u32, values: &[u32]) -> Vec<sock_filter> {
    let mut code = vec![load(argument(index))];
    for value in values {
        code.extend([jump(libc::BPF_JEQ, *value, 0, 1), allow()]);
    }
    code.push(errno(libc::EPERM));
    code
}

/// Local sockets; TCP and UDP; routing questions, which libraries ask for the
/// addresses of interfaces. `AF_VSOCK` and friends are not separated by the
/// network namespace, the rest is needless kernel code.
fn socket() -> Vec<sock_filter> {
    let family = |family: i32, jt, jf| jump(libc::BPF_JEQ, family.unsigned_abs(), jt, jf);
    let mut code = vec![
        load(argument(0)),
        family(libc::AF_UNIX, 0, 1),
        allow(),
        family(libc::AF_INET, 7, 0),
        family(libc::AF_INET6, 6, 0),
        family(libc::AF_NETLINK, 1, 0),
        errno(libc::EPERM),
        load(argument(2)),
        jump(libc::BPF_JEQ, 0, 0, 1),
        allow(),
        errno(libc::EPERM),
        // The internet families land here.
        load(argument(1)),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, SOCKET_TYPE),
        jump(libc::BPF_JEQ, libc::SOCK_STREAM.unsigned_abs(), 2, 0),
        jump(libc::BPF_JEQ, libc::SOCK_DGRAM.unsigned_abs(), 1, 0),
        errno(libc::EPERM),
    ];
    code.extend(one_of(2, &[0, libc::IPPROTO_TCP.unsigned_abs(), libc::IPPROTO_UDP.unsigned_abs()]));
    code
}

#[cfg(test)]
mod tests;
