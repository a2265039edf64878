//! CPU time of the calling thread.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CPU time that this thread has spent so far (clock_gettime(2), `CLOCK_THREAD_CPUTIME_ID`).
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
