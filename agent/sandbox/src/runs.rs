//! From the first run of a job to its last: restarts, pauses, one time limit over all of them.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use assay_jailer::plan::Plan;

use crate::error::SandboxError;
use crate::events::Event;
use crate::job::JobFile;
use crate::outcome::{Exit, Usage};
use crate::supervise::Finished;

/// How often a pause looks for a cancellation.
const TICK: Duration = Duration::from_millis(50);
/// Streams of which the run before the last is kept.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// What one run came to.
pub(crate) struct Run {
    pub(crate) finished: Finished,
    pub(crate) exit: Exit,
    pub(crate) usage: Usage,
}

/// What all of them came to.
pub(crate) struct Runs {
    /// The last.
    pub(crate) last: Run,
    /// Of all together.
    pub(crate) usage: Usage,
    /// How many there were after the first.
    pub(crate) restarts: u32,
}

/// What stays the same from run to run.
pub(crate) struct Course<'a> {
    pub(crate) job: &'a JobFile,
    pub(crate) dir: &'a Path,
    pub(crate) cancel: &'a AtomicBool,
    pub(crate) events: &'a dyn Fn(Event),
}

impl Course<'_> {
    /// Runs the job until it needs no further run.
    ///
    /// # Errors
    /// Those of `run_once`, and of the job's directory.
    pub(crate) fn run(
        &self,
        plan: &mut Plan,
        run_once: &dyn Fn(&mut Plan) -> Result<Run, SandboxError>,
    ) -> Result<Runs, SandboxError> {
        let begun = Instant::now();
        let left = || {
            let spent = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.job.timeout_ms.saturating_sub(spent)
        };
        let env = plan.env.len();
        let (mut usage, mut restarts) = (Usage::default(), 0u32);
        loop {
            plan.timeout_ms = left().max(1);
            plan.env.truncate(env);
            plan.env.push(format!("ASSAY_RESTART={restarts}"));
            let mut last = run_once(plan)?;
            usage = sum(usage, last.usage);
            let number = restarts.saturating_add(1);
            let Some(pause_ms) = self.pause(&last.exit, number).filter(|pause| *pause < left()) else {
                return Ok(Runs { last, usage, restarts });
            };
            (self.events)(Event::Restarting { number, exit: last.exit.clone(), pause_ms });
            if !self.wait(Duration::from_millis(pause_ms)) {
                last.exit = Exit::Cancelled;
                return Ok(Runs { last, usage, restarts });
            }
            self.set_logs_aside()?;
            restarts = number;
        }
    }

    /// Pause before restart `number`, when there is one.
    fn pause(&self, exit: &Exit, number: u32) -> Option<u64> {
        let failed = match exit {
            Exit::Code(code) => *code != 0,
            Exit::Signal(_) | Exit::OutOfMemory => true,
            Exit::TimedOut | Exit::Cancelled | Exit::Quota | Exit::Refused { .. } => false,
        };
        self.job.restart.as_ref().filter(|_| failed)?.pause_ms(number)
    }

    /// False when it was cancelled meanwhile.
    fn wait(&self, pause: Duration) -> bool {
        let begun = Instant::now();
        while !self.cancel.load(Ordering::Relaxed) {
            let Some(left) = pause.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
                return true;
            };
            thread::sleep(left.min(TICK));
        }
        false
    }

    /// The jailer makes new ones.
    fn set_logs_aside(&self) -> Result<(), SandboxError> {
        for stream in STREAMS {
            let (from, to) = (self.dir.join(stream), self.dir.join(format!("{stream}.before")));
            fs::rename(&from, &to).map_err(SandboxError::state(&from, "set aside"))?;
        }
        Ok(())
    }
}

fn sum(a: Usage, b: Usage) -> Usage {
    Usage {
        cpu_us: a.cpu_us.saturating_add(b.cpu_us),
        max_rss_kib: a.max_rss_kib.max(b.max_rss_kib),
        io_read_bytes: a.io_read_bytes.saturating_add(b.io_read_bytes),
        io_write_bytes: a.io_write_bytes.saturating_add(b.io_write_bytes),
        oom_kills: a.oom_kills.saturating_add(b.oom_kills),
        pids_refused: a.pids_refused.saturating_add(b.pids_refused),
        cpu_stall_us: a.cpu_stall_us.saturating_add(b.cpu_stall_us),
        memory_stall_us: a.memory_stall_us.saturating_add(b.memory_stall_us),
        io_stall_us: a.io_stall_us.saturating_add(b.io_stall_us),
    }
}
