//! The outer process: starts the job's first process, keeps its logs, and ends
//! it when the clock runs out or the supervisor goes away.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno as PollErrno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};

use assay_jailer::filter;
use assay_jailer::plan::{Ids, Plan};
use assay_jailer::report::{End, Refusal, Report, Stage, Walls};
use assay_jailer::ring::CAPACITY_MAX;
use assay_jailer::wall::Wall;
use libc::sock_filter;

use crate::devices;
use crate::init::{self, Inheritance};
use crate::logs::{self, Log};
use crate::network;
use crate::release::{outer_owner, release};
use crate::sys::{self, Side};
use crate::wire::{self, Message};

/// A running job as the outer process sees it.
struct Job {
    pid: Pid,
    handle: OwnedFd,
    /// Status socket; `None` once the job's first process has closed it.
    status: Option<OwnedFd>,
    stdout: Log,
    stderr: Log,
    cgroup: Option<OwnedFd>,
    filter: Vec<sock_filter>,
    walls: Option<Walls>,
    device_program: bool,
    /// The first word on how it ended.
    end: Option<End>,
    deadline: Instant,
}

/// Runs one job to its end and accounts for it, in `network` if that is given.
///
/// # Errors
/// Where the job could not even be started.
pub(crate) fn run(plan: &Plan, network: Option<OwnedFd>, control: BorrowedFd<'_>) -> Result<Report, Refusal> {
    let began = Instant::now();
    let mut job = start(plan, network, began)?;
    if job.end.is_some() {
        job.kill();
    }
    let watched = job.watch(control).inspect_err(|_| job.kill());
    let died_by = job.reap();
    watched.and_then(|()| job.drain())?;
    Ok(job.report(died_by, began))
}

fn start(plan: &Plan, network: Option<OwnedFd>, began: Instant) -> Result<Job, Refusal> {
    let refuse = |what: &'static str| move |e| Refusal::new(Stage::Logs, what, e);
    let (stdout, stdout_end) = logs::pipe(outer_owner(plan)).map_err(refuse("pipe"))?;
    let (stderr, stderr_end) = logs::pipe(outer_owner(plan)).map_err(refuse("pipe"))?;
    let (status, status_end) = wire::pair().map_err(|e| Refusal::new(Stage::Clone, "status socket", e))?;
    let cgroup = open_cgroup(plan)?;
    let device_program = limit_devices(plan, cgroup.as_ref())?;
    let filter = filter::program();
    let has_network = network::join(plan, network)?;
    let side = sys::clone_into_namespaces(cgroup.as_ref().map(AsFd::as_fd))
        .map_err(|e| Refusal::new(Stage::Clone, "clone into new namespaces", e))?;
    match side {
        Side::Child => {
            let inheritance =
                Inheritance { status: status_end, stdout: stdout_end, stderr: stderr_end, has_network };
            init::run(plan, &filter, inheritance)
        }
        Side::Parent(pid, handle) => {
            let log = |pipe, path, what| {
                let made = Log::create(pipe, path, log_capacity(plan)).map_err(refuse(what));
                // The first process still waits for its ids; both fail only where it is gone.
                made.inspect_err(|_| {
                    let _ = pidfd_send_signal(&handle, Signal::KILL);
                    let _ = waitpid(Some(pid), WaitOptions::empty());
                })
            };
            let stdout = log(stdout, &plan.logs.stdout, "stdout")?;
            let stderr = log(stderr, &plan.logs.stderr, "stderr")?;
            let released = release(pid, status.as_fd(), plan);
            Ok(Job {
                pid,
                handle,
                status: Some(status),
                stdout,
                stderr,
                cgroup,
                filter,
                walls: None,
                device_program,
                end: released.err().map(End::Refused),
                deadline: began.checked_add(Duration::from_millis(plan.timeout_ms)).unwrap_or(began),
            })
        }
    }
}

fn open_cgroup(plan: &Plan) -> Result<Option<OwnedFd>, Refusal> {
    let Some(path) = &plan.cgroup else { return Ok(None) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    Ok(Some(opened.map_err(|e| Refusal::new(Stage::Cgroup, path.display().to_string(), e))?))
}

fn log_capacity(plan: &Plan) -> u64 {
    if plan.keeps(Wall::LogCapacity) { plan.logs.limit_bytes } else { CAPACITY_MAX }
}

/// Attaches the device program to the job's cgroup, before anything is in it.
fn limit_devices(plan: &Plan, cgroup: Option<&OwnedFd>) -> Result<bool, Refusal> {
    let Some(cgroup) = cgroup.filter(|_| plan.keeps(Wall::DeviceFilter)) else { return Ok(false) };
    match sys::attach_device_program(cgroup.as_fd(), &devices::program()) {
        Ok(()) => Ok(true),
        // Without privilege there is no program, and no device that the caller could not open either.
        Err(e) if e.raw_os_error() == Some(libc::EPERM) && matches!(plan.ids, Ids::Single {}) => Ok(false),
        Err(e) => Err(Refusal::new(Stage::Devices, "attach the device program", e)),
    }
}

impl Job {
    fn kill(&self) {
        // A cgroup dies whole, frozen or not; else the namespace dies with its first process.
        if self.cgroup.as_ref().is_none_or(|cgroup| kill_cgroup(cgroup).is_err()) {
            self.kill_first();
        }
    }

    fn kill_first(&self) {
        // The only way to fail is that it is already gone.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }

    fn end_with(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.kill();
    }

    /// Serves the job's descriptors until its first process has said how it ended, or can no more.
    fn watch(&mut self, control: BorrowedFd<'_>) -> Result<(), Refusal> {
        while self.status.is_some() {
            let ready = self.wait(control).map_err(|e| Refusal::new(Stage::Watch, "poll", e))?;
            if ready.control && self.end.is_none() {
                self.end_with(End::Cancelled);
            }
            if Instant::now() >= self.deadline && self.end.is_none() {
                self.end_with(End::TimedOut);
            }
            if ready.status {
                self.hear(control);
            }
            for (log, is_ready) in [(&mut self.stdout, ready.stdout), (&mut self.stderr, ready.stderr)] {
                if is_ready {
                    log.pump().map_err(|e| Refusal::new(Stage::Watch, "log", e))?;
                }
            }
        }
        Ok(())
    }

    fn wait(&self, control: BorrowedFd<'_>) -> io::Result<Ready> {
        // Once the job is ending, the supervisor has no more to say.
        let sources = [
            self.end.is_none().then_some(control),
            self.status.as_ref().map(AsFd::as_fd),
            self.stdout.pipe(),
            self.stderr.pipe(),
        ];
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, self.patience()) {
            Ok(_) | Err(PollErrno::EINTR) => {}
            Err(other) => return Err(other.into()),
        }
        let mut answers = polled.iter().map(|p| p.any().unwrap_or(false));
        let mut ready = sources.iter().map(|s| s.is_some() && answers.next().unwrap_or(false));
        let mut next = || ready.next().unwrap_or(false);
        Ok(Ready { control: next(), status: next(), stdout: next(), stderr: next() })
    }

    fn patience(&self) -> PollTimeout {
        if self.end.is_some() {
            return PollTimeout::NONE;
        }
        let left = self.deadline.saturating_duration_since(Instant::now()).as_millis().saturating_add(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    /// Takes one message of the job's first process.
    fn hear(&mut self, control: BorrowedFd<'_>) {
        let Some(status) = &self.status else { return };
        match wire::receive_message(status.as_fd()) {
            Ok(Message::Confined { scratch, landlock_abi, time_namespace }) if self.walls.is_none() => {
                self.walls = Some(Walls {
                    seccomp_sha256: filter::digest(&self.filter),
                    seccomp_instructions: u32::try_from(self.filter.len()).unwrap_or(u32::MAX),
                    landlock_abi,
                    device_program: self.device_program,
                    cgroup_kill: self.cgroup.is_some(),
                    time_namespace,
                });
                if wire::send(control, b"S", &[scratch.as_fd()]).is_err() {
                    self.end_with(End::Cancelled);
                }
            }
            Ok(Message::Ended(raw)) => {
                self.end.get_or_insert_with(|| end_of(raw));
                // It has nothing more to do, and everybody else dies with it.
                self.kill_first();
                self.status = None;
            }
            Ok(Message::Refused(refusal)) => {
                self.end.get_or_insert(End::Refused(refusal));
            }
            Ok(Message::Gone) => {
                self.kill_first();
                self.status = None;
            }
            // Said before what is still to be read: it ended with a word of ours unread.
            Err(rustix::io::Errno::CONNRESET) => {}
            // Nonsense from a process that should not be able to speak any.
            Ok(_) | Err(_) => {
                self.kill();
                self.status = None;
            }
        }
    }

    /// Waits for the first process; the kernel lets it go only after every
    /// other process of its namespace.
    fn reap(&self) -> Option<i32> {
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(Some((_, status))) => return status.terminating_signal(),
                _ => return None,
            }
        }
    }

    /// Reads what is left in the pipes, once nobody is left to write.
    fn drain(&mut self) -> Result<(), Refusal> {
        for log in [&mut self.stdout, &mut self.stderr] {
            while let Some(pipe) = log.pipe() {
                let mut polled = [PollFd::new(pipe, PollFlags::POLLIN)];
                match poll(&mut polled, PollTimeout::ZERO) {
                    Err(PollErrno::EINTR) => {}
                    Err(e) => return Err(Refusal::new(Stage::Watch, "poll", e)),
                    Ok(0) => break,
                    Ok(_) => log.pump().map_err(|e| Refusal::new(Stage::Watch, "log", e))?,
                }
            }
        }
        Ok(())
    }

    fn report(self, died_by: Option<i32>, began: Instant) -> Report {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
        let end = self.end.unwrap_or_else(|| died_by.map_or_else(lost, End::Signaled));
        Report {
            end,
            wall_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            cpu_us: usage.as_ref().map_or(0, cpu_us),
            max_rss_kib: usage.map_or(0, |u| u64::try_from(u.max_rss()).unwrap_or(0)),
            stdout_bytes: self.stdout.seen(),
            stderr_bytes: self.stderr.seen(),
            walls: self.walls,
        }
    }
}

/// Which sources have something to say.
struct Ready {
    control: bool,
    status: bool,
    stdout: bool,
    stderr: bool,
}

fn lost() -> End {
    End::Refused(Refusal::rule(Stage::Watch, "the job's first process ended without a word"))
}

fn cpu_us(usage: &Usage) -> u64 {
    let micros = usage.user_time().num_microseconds().saturating_add(usage.system_time().num_microseconds());
    u64::try_from(micros).unwrap_or(0)
}

fn end_of(raw: i32) -> End {
    let status = ExitStatus::from_raw(raw);
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, Some(signal)) => End::Signaled(signal),
        (None, None) => lost(),
    }
}

fn kill_cgroup(cgroup: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(cgroup, "cgroup.kill", flags, Mode::empty())?;
    rustix::io::write(file, b"1")?;
    Ok(())
}
