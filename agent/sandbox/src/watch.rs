//! One run of the jailer, with an eye on what the kernel does not limit.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use assay_jailer::plan::Plan;

use crate::checkpoint::Checkpoint;
use crate::error::SandboxError;
use crate::supervise::{self, Finished};

/// How often a cancellation is passed on.
const TICK: Duration = Duration::from_millis(50);
/// Ticks from one look at the checkpoint to the next.
const TICKS_PER_LOOK: u32 = 5;

/// Runs one plan; true beside it when the job exceeded its checkpoint's cap.
///
/// # Errors
/// Those of [`supervise::run`].
pub(crate) fn run(
    jailer: &Path,
    plan: &Plan,
    dir: &Path,
    cancel: &AtomicBool,
    checkpoint: Option<&Checkpoint>,
) -> Result<(Finished, bool), SandboxError> {
    let run = |stop: &AtomicBool| {
        supervise::run(jailer, plan, dir, stop).inspect_err(|_| {
            log::error!("jailer: {}", supervise::last_words(dir));
        })
    };
    let Some(checkpoint) = checkpoint else { return run(cancel).map(|finished| (finished, false)) };
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let finished = thread::scope(|scope| {
        // The jailer dies with the thread that starts it, so it is the watcher that gets one of its own.
        let watcher = thread::Builder::new().name("checkpoint".to_owned());
        let watching = watcher.spawn_scoped(scope, || watch(checkpoint, cancel, &stop, &done));
        let finished = match watching {
            Ok(_) => run(&stop),
            Err(source) => Err(SandboxError::jailer("watch the checkpoint")(source)),
        };
        done.store(true, Ordering::Relaxed);
        finished
    })?;
    Ok((finished, checkpoint.is_over()))
}

fn watch(checkpoint: &Checkpoint, cancel: &AtomicBool, stop: &AtomicBool, done: &AtomicBool) {
    let mut tick = 0u32;
    while !done.load(Ordering::Relaxed) {
        let look = tick.is_multiple_of(TICKS_PER_LOOK);
        if cancel.load(Ordering::Relaxed) || (look && checkpoint.is_over()) {
            stop.store(true, Ordering::Relaxed);
        }
        tick = tick.wrapping_add(1);
        thread::sleep(TICK);
    }
}
