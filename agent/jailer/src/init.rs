//! The job's first process: builds the jail around itself, starts the job's
//! program in it, reaps what is left behind, and passes the exit status on.
//!
//! When it ends, the kernel kills every other process of its pid namespace,
//! which is how daemonized leftovers die. It stands behind the same walls as
//! the job, cannot be traced or killed by it, and holds nothing but the status
//! socket and the job's standard streams by the time the program runs.

use std::ffi::{CString, NulError};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::sock_filter;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;

use assay_jailer::plan::Plan;
use assay_jailer::report::{Refusal, Stage};
use assay_jailer::wall::Wall;

use crate::{fence, loopback, root, sys, walls, wire};

/// What the outer process leaves to the job's first process.
pub(crate) struct Inheritance {
    /// The status socket.
    pub(crate) status: OwnedFd,
    /// Write end for standard output.
    pub(crate) stdout: OwnedFd,
    /// Write end for standard error.
    pub(crate) stderr: OwnedFd,
    /// Whether this process was born in the job's network namespace.
    pub(crate) has_network: bool,
}

/// Runs the job's first process to its end.
pub(crate) fn run(plan: &Plan, filter: &[sock_filter], inheritance: Inheritance) -> ! {
    let Inheritance { status, stdout, stderr, has_network } = inheritance;
    // The outer process's descriptors are not this process's to hold, least of
    // all its end of the status socket, whose closing says that it is gone.
    let close = plan.keeps(Wall::CloseDescriptors);
    if close && sys::close_all_but(&[status.as_fd(), stdout.as_fd(), stderr.as_fd()]).is_err() {
        sys::exit_now(1);
    }
    let started = leave_namespaces(plan, has_network)
        .and_then(|()| confine(plan, filter, status.as_fd(), stdout, stderr))
        .and_then(|()| start(plan, status.as_fd()));
    match started {
        Ok(job) => reap_until(job, status.as_fd()),
        Err(refusal) => wire::send_refusal(status.as_fd(), &refusal),
    }
    sys::exit_now(0)
}

/// Everything between the namespaces and the job's program.
fn confine(
    plan: &Plan,
    filter: &[sock_filter],
    status: BorrowedFd<'_>,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> Result<(), Refusal> {
    // Until the outer process has written the id maps, nothing else may happen.
    let (go, mounts) = wire::receive(status).map_err(|e| Refusal::new(Stage::Ids, "wait for id maps", e))?;
    if go.is_empty() {
        sys::exit_now(1);
    }
    // For the job's program, too. No handler of this process's own may meet the kernel's signals of faults.
    sys::default_signals().map_err(|e| Refusal::new(Stage::Privileges, "signals", e))?;
    walls::become_namespace_root(plan)?;
    walls::die_with_parent(plan, Stage::Ids)?;
    rustix::process::setsid().map_err(|e| Refusal::new(Stage::Ids, "new session", e))?;
    let root = root::build(plan, mounts)?;
    let time_namespace =
        plan.keeps(Wall::TimeNamespace) && walls::zero_clocks(|offsets| root.write_clock_offsets(offsets))?;
    let scratch = root.enter(plan)?;
    install_stdio(stdout, stderr)?;
    if plan.keeps(Wall::Rlimits) {
        walls::limit_resources(&plan.rlimits)?;
    }
    if plan.keeps(Wall::Keyring) {
        walls::new_keyring()?;
    }
    walls::drop_privileges(plan)?;
    let landlock_abi = if plan.keeps(Wall::Landlock) { fence::put_up()? } else { 0 };
    // Whoever died before the death signal was last asked for sends none.
    if !wire::is_peer_alive(status) {
        sys::exit_now(1);
    }
    if plan.keeps(Wall::Seccomp) {
        sys::install_filter(filter).map_err(|e| Refusal::new(Stage::Seccomp, "install the filter", e))?;
    }
    wire::send_confined(status, scratch.as_fd(), landlock_abi, time_namespace)
        .map_err(|e| Refusal::new(Stage::Scratch, "hand over the writable layer", e))
}

/// Leaves the namespaces that one is not only born into. The cgroup namespace's root is the cgroup that
/// this process was born into. Needs no mapped id; the outer process maps them meanwhile.
fn leave_namespaces(plan: &Plan, has_network: bool) -> Result<(), Refusal> {
    let makes_network = plan.keeps(Wall::NetworkNamespace) && !has_network;
    let optional = [
        (makes_network, UnshareFlags::NEWNET),
        (plan.keeps(Wall::IpcNamespace), UnshareFlags::NEWIPC),
        (plan.keeps(Wall::UtsNamespace), UnshareFlags::NEWUTS),
        (plan.keeps(Wall::CgroupNamespace), UnshareFlags::NEWCGROUP),
    ];
    let kept = optional.into_iter().filter(|(is_kept, _)| *is_kept);
    let flags = kept.fold(UnshareFlags::NEWNS, |flags, (_, flag)| flags | flag);
    sys::unshare(flags).map_err(|e| Refusal::new(Stage::Clone, "unshare namespaces", e))?;
    // Without a namespace of its own, the name would be the host's.
    if plan.keeps(Wall::UtsNamespace) {
        rustix::system::sethostname(plan.hostname.as_bytes())
            .map_err(|e| Refusal::new(Stage::Network, "host name", e))?;
    }
    match makes_network {
        true => loopback::raise().map_err(|e| Refusal::new(Stage::Network, "loopback", e)),
        false => Ok(()),
    }
}

fn install_stdio(stdout: OwnedFd, stderr: OwnedFd) -> Result<(), Refusal> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Refusal::new(Stage::Dev, "open /dev/null", e))?;
    for (target, source) in [null, stdout, stderr].into_iter().enumerate() {
        let target = i32::try_from(target).unwrap_or_default();
        sys::install_stdio(source.as_fd(), target)
            .map_err(|e| Refusal::new(Stage::Dev, "standard streams", e))?;
    }
    Ok(())
}

/// Starts the process that becomes the job's program.
fn start(plan: &Plan, status: BorrowedFd<'_>) -> Result<Pid, Refusal> {
    let job = || {
        let Err(refusal) = become_job(plan);
        wire::send_refusal(status, &refusal);
    };
    sys::spawn(job).map_err(|e| Refusal::new(Stage::Fork, "fork", e))
}

fn become_job(plan: &Plan) -> Result<std::convert::Infallible, Refusal> {
    let fail = |stage, what: &'static str| move |e: Errno| Refusal::new(stage, what, e);
    rustix::process::setsid().map_err(fail(Stage::Exec, "new session"))?;
    rustix::process::chdir(plan.cwd.as_str()).map_err(|e| Refusal::new(Stage::Workdir, &plan.cwd, e))?;
    if plan.keeps(Wall::CloseDescriptors) {
        sys::close_from_on_exec(3).map_err(|e| Refusal::new(Stage::Exec, "close descriptors", e))?;
    }
    let argv = c_strings(&plan.argv)?;
    let env = c_strings(&plan.env)?;
    Err(exec_in_path(plan, &argv, &env))
}

fn c_strings(items: &[String]) -> Result<Vec<CString>, Refusal> {
    let strings = items.iter().map(|s| CString::new(s.as_str())).collect::<Result<_, NulError>>();
    strings.map_err(|_| Refusal::rule(Stage::Plan, "NUL byte"))
}

/// `execvp(3)` with the job's own `PATH`.
fn exec_in_path(plan: &Plan, argv: &[CString], env: &[CString]) -> Refusal {
    let name = plan.argv.first().map_or("", String::as_str);
    let path = plan.env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    let candidates: Vec<String> = match name.contains('/') {
        true => vec![name.to_owned()],
        false => path.split(':').filter(|d| d.starts_with('/')).map(|d| format!("{d}/{name}")).collect(),
    };
    let mut last = Refusal::new(Stage::Exec, name, Errno::NOENT);
    for candidate in candidates {
        let Ok(program) = CString::new(candidate.as_str()) else { continue };
        let error = sys::exec(&program, argv, env);
        // What exists but does not run is worth more to the reader than what does not exist.
        if error.kind() != std::io::ErrorKind::NotFound {
            last = Refusal::new(Stage::Exec, candidate, error);
        }
    }
    last
}

/// Waits for everyone; the job's own end is the end.
fn reap_until(job: Pid, status: BorrowedFd<'_>) {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, ended))) if pid == job => return wire::send_ended(status, ended.as_raw()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
