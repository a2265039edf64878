//! One try in a process of its own.

use std::io;
use std::ptr;

use assay_jailer::attempts::Outcome;

/// How long a try may take, microseconds; what blocks longer was let through.
pub(crate) const PATIENCE_US: i64 = 10_000_000;

/// The result of a system call.
pub(crate) type Tried = Result<(), i32>;

/// Error number of the last call.
pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// What a call's return value says.
pub(crate) fn tried(value: libc::c_long) -> Tried {
    if value == -1 { Err(errno()) } else { Ok(()) }
}

/// Runs a try in a child, so that it changes nothing here.
pub(crate) fn outcome(patience_us: i64, attempt: impl FnOnce() -> Tried) -> Outcome {
    // SAFETY: this program has one thread, so the child may go on.
    match unsafe { libc::fork() } {
        -1 => Outcome::Text(format!("fork: {}", errno())),
        0 => {
            set_timer(patience_us);
            let code = attempt().err().unwrap_or(0);
            // SAFETY: takes no pointer and does not return.
            unsafe { libc::_exit(code) }
        }
        child => wait(child),
    }
}

fn set_timer(microseconds: i64) {
    let (tv_sec, tv_usec) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let timer = libc::itimerval { it_interval: never, it_value: libc::timeval { tv_sec, tv_usec } };
    // SAFETY: `timer` lives across the call, and the old value is not wanted.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
}

fn wait(child: libc::pid_t) -> Outcome {
    let mut status = 0;
    // SAFETY: `status` lives across the call.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {
        if errno() != libc::EINTR {
            return Outcome::Text(format!("wait: {}", errno()));
        }
    }
    match (libc::WIFSIGNALED(status), libc::WEXITSTATUS(status)) {
        (true, _) if libc::WTERMSIG(status) == libc::SIGALRM => Outcome::Done,
        (true, _) => Outcome::Signal(libc::WTERMSIG(status)),
        (false, 0) => Outcome::Done,
        (false, errno) => Outcome::Errno(errno),
    }
}
