//! Every system call by number, with zeros.

use std::io;

use assay_jailer::attempts::{Kind, Outcome};

use crate::child::{self, tried};

/// Last number that is tried.
const LAST: i64 = 470;
/// How long calls may take that are meant to block, microseconds.
const SHORT_US: i64 = 50_000;

pub(crate) fn run(say: &mut impl FnMut(Kind, String, Outcome) -> io::Result<()>) -> io::Result<()> {
    (0..=LAST).try_for_each(|number| say(Kind::Call, number.to_string(), call(number)))
}

/// With zeros, the kernel answers at once or does harm to the caller alone, but for calls that wait.
fn call(number: i64) -> Outcome {
    let waits = [
        libc::SYS_pause,
        libc::SYS_select,
        libc::SYS_pselect6,
        libc::SYS_ppoll,
        libc::SYS_rt_sigsuspend,
        libc::SYS_rt_sigtimedwait,
    ];
    let patience = if waits.contains(&number) { SHORT_US } else { child::PATIENCE_US };
    child::outcome(patience, || {
        // SAFETY: no pointer is passed but null. Whatever the call does to this
        // process, a child that ends now, is part of the answer.
        tried(unsafe { libc::syscall(number, 0usize, 0usize, 0usize, 0usize, 0usize, 0usize) })
    })
}
