use std::sync::LazyLock;

use super::*;

static PROGRAM: LazyLock<Vec<sock_filter>> = LazyLock::new(program);

/// What a filter answers to one call, by the rules of `linux/filter.h`.
fn run(program: &[sock_filter], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let word = |place: u32| match place {
        NUMBER => number,
        ARCH => arch,
        _ => {
            let half = (place - 16) / 4;
            let arg = args[usize::try_from(half / 2).unwrap()] >> (32 * (half % 2));
            u32::try_from(arg & 0xffff_ffff).unwrap()
        }
    };
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let i = &program[at];
        at += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { i.jt } else { i.jf });
        match i.code {
            0x20 => accumulator = word(i.k),
            0x54 => accumulator &= i.k,
            0x05 => at += usize::try_from(i.k).unwrap(),
            0x15 => branch(accumulator == i.k),
            0x35 => branch(accumulator >= i.k),
            0x45 => branch(accumulator & i.k != 0),
            0x06 => return i.k,
            other => panic!("{other:#x}"),
        }
    }
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

fn call(number: i64, args: [u64; 6]) -> u32 {
    run(&PROGRAM, ARCH_X86_64, u32::try_from(number).unwrap(), args)
}

fn with(number: i64, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    call(number, all)
}

#[test]
fn every_number_is_answered_as_listed() {
    let program = program();
    assert!(program.len() < 400, "{}", program.len());
    for number in 0..=0xffff {
        let expected = match verdict(number, ALLOWED.contains(&i64::from(number))) {
            _ if number > KNOWN_MAX => ENOSYS,
            Verdict::Allow => ALLOW,
            Verdict::Enosys => ENOSYS,
            Verdict::Eperm => EPERM,
            _ => continue,
        };
        assert_eq!(run(&program, ARCH_X86_64, number, [0; 6]), expected, "{number}");
    }
}

#[test]
fn foreign_conventions_kill() {
    let program = program();
    for number in [X32, X32 | 39, u32::MAX] {
        assert_eq!(run(&program, ARCH_X86_64, number, [0; 6]), KILL);
    }
    // AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64.
    for arch in [0x4000_0003, 0xc000_00b7] {
        assert_eq!(run(&program, arch, 0, [0; 6]), KILL);
    }
}

#[test]
fn namespaces_are_not_for_jobs() {
    let sigchld = 17;
    assert_eq!(with(libc::SYS_clone, &[sigchld]), ALLOW);
    // Threads of the C library.
    assert_eq!(with(libc::SYS_clone, &[0x003d_0f00]), ALLOW);
    for flag in [libc::CLONE_NEWNS, libc::CLONE_NEWCGROUP, libc::CLONE_NEWUTS, libc::CLONE_NEWIPC] {
        assert_eq!(with(libc::SYS_clone, &[u64::from(flag.unsigned_abs()) | sigchld]), EPERM);
    }
    for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWPID, libc::CLONE_NEWNET] {
        assert_eq!(with(libc::SYS_clone, &[u64::from(flag.unsigned_abs()) | sigchld]), EPERM);
    }
    assert_eq!(with(libc::SYS_clone3, &[]), ENOSYS);
    assert_eq!(with(libc::SYS_unshare, &[0]), EPERM);
    assert_eq!(with(libc::SYS_setns, &[0]), EPERM);
}

#[test]
fn sockets_are_local_or_internet() {
    let socket = |family: i32, kind: i32, protocol: i32| {
        let word = |value: i32| u64::from(value.unsigned_abs());
        with(libc::SYS_socket, &[word(family), word(kind), word(protocol)])
    };
    let (stream, datagram) = (libc::SOCK_STREAM, libc::SOCK_DGRAM);
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in [(stream, 0), (stream | libc::SOCK_CLOEXEC, 6), (datagram, 17)] {
            assert_eq!(socket(family, kind, protocol), ALLOW);
        }
        // Raw, ICMP, SCTP, MPTCP, UDP-Lite.
        for (kind, protocol) in
            [(libc::SOCK_RAW, 0), (datagram, 1), (stream, 132), (stream, 262), (datagram, 136)]
        {
            assert_eq!(socket(family, kind, protocol), EPERM, "{kind} {protocol}");
        }
        assert_eq!(socket(family, 0, 0), EPERM);
    }
    assert_eq!(socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0), ALLOW);
    assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW, 0), ALLOW);
    for protocol in 1..32 {
        assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol), EPERM, "{protocol}");
        assert_eq!(socket(libc::AF_NETLINK, datagram, protocol), EPERM, "{protocol}");
    }
    for family in
        (0..64).filter(|f| ![libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].contains(f))
    {
        assert_eq!(socket(family, stream, 0), EPERM, "{family}");
    }
    assert_eq!(with(libc::SYS_socketpair, &[1]), ALLOW);
    assert_eq!(with(libc::SYS_socketpair, &[30]), EPERM);
}

#[test]
fn only_listed_ioctls() {
    for request in (0..=0xffff).chain(IOCTLS.iter().map(|r| r ^ 0x4000_0000)).chain(IOCTLS.iter().copied()) {
        let expected = if IOCTLS.contains(&request) { ALLOW } else { EPERM };
        assert_eq!(with(libc::SYS_ioctl, &[0, u64::from(request)]), expected, "{request:#x}");
        // The kernel reads 32 bits, so the rest changes nothing.
        assert_eq!(with(libc::SYS_ioctl, &[0, u64::from(request) | 1 << 40]), expected);
    }
    for request in [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD, libc::TIOCCONS, libc::TIOCSCTTY] {
        assert_eq!(with(libc::SYS_ioctl, &[0, request]), EPERM);
    }
}

#[test]
fn only_plain_personalities() {
    assert_eq!(with(libc::SYS_personality, &[0]), ALLOW);
    assert_eq!(with(libc::SYS_personality, &[0xffff_ffff]), ALLOW);
    for value in [0x0004_0000, 0x0040_0000, 8, 1] {
        assert_eq!(with(libc::SYS_personality, &[value]), EPERM);
    }
}

#[test]
fn the_digest_covers_every_byte() {
    let whole = program();
    let mut other = program();
    other[10].jt ^= 1;
    assert_eq!(digest(&whole).len(), 64);
    assert_ne!(digest(&whole), digest(&other));
    assert_eq!(digest(&whole), digest(&program()));
}
