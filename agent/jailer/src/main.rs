//! `assay-jailer`: confines one job, starts it, waits for it, reports, dies.
//!
//! Not for people: the sandbox library starts it with one end of a socket as
//! standard input, on which it sends a plan (`assay_jailer::plan`), and reads
//! one line of JSON (`assay_jailer::report`) from standard output. With the
//! argument `network` it makes a network namespace for a later job instead.
//!
//! Two processes of this program live as long as the job. The outer one stays
//! in the host's namespaces, that of the network apart if the supervisor gave
//! one, keeps the clock and the logs, and never touches anything that the
//! image or the job made. The inner one is process 1 of the job's namespaces;
//! it builds the jail around itself and gives up every right before the
//! tenant's program exists.
//!
//! Trust boundary: the plan is trusted, the image's content and the job are
//! not. No path inside the image is ever resolved but by the kernel, within
//! the image, through no link.
//!
//! Non-goals: no hooks, no entering of a running job, no terminal, no volumes
//! named by a tenant, no devices beyond the five that every program expects.
//!
//! Linked statically and single-threaded, so that nothing is loaded from
//! outside and a child may go on without `exec`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use assay_jailer::plan::{PLAN_MAX, Plan};
use assay_jailer::report::{End, Refusal, Report, Stage};
use assay_jailer::wall::Wall;

mod binds;
mod devices;
mod fence;
mod init;
mod logs;
mod loopback;
mod network;
mod release;
mod root;
mod sys;
mod templates;
mod walls;
mod watch;
mod wire;

/// Takes memory from the kernel in few large pieces: the C library's own asks for each size anew.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let control = io::stdin();
    if std::env::args_os().nth(1).is_some_and(|word| word == "network") {
        // Whoever asked sees that nothing came.
        return network::make(control.as_fd()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let outcome = prepare().and_then(|(plan, network)| watch::run(&plan, network, control.as_fd()));
    let report = outcome.unwrap_or_else(refused);
    match print(&report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(3),
    }
}

/// Ties this process's life to the supervisor's and takes its plan.
fn prepare() -> Result<(Plan, Option<OwnedFd>), Refusal> {
    let (plan, network) = read_plan()?;
    #[cfg(feature = "broken-walls")]
    let plan = leave_out(plan)?;
    plan.validate().map_err(|e| Refusal::rule(Stage::Plan, e.to_string()))?;
    // Descriptors that the supervisor did not mean to pass on go no further.
    if plan.keeps(Wall::CloseDescriptors) {
        let meant: Vec<_> = network.iter().map(AsFd::as_fd).collect();
        sys::close_all_but(&meant).map_err(|e| Refusal::new(Stage::Plan, "close descriptors", e))?;
    }
    if plan.keeps(Wall::DeathSignal) {
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|e| Refusal::new(Stage::Plan, "death signal", e))?;
    }
    let parent = getppid().map_or(0, |p| p.as_raw_nonzero().get().unsigned_abs());
    if parent != plan.supervisor {
        return Err(Refusal::rule(Stage::Plan, "the supervisor is not the parent"));
    }
    Ok((plan, network))
}

fn read_plan() -> Result<(Plan, Option<OwnedFd>), Refusal> {
    let read = |e| Refusal::new(Stage::Plan, "read", e);
    let (length, network) = wire::receive_length(io::stdin().as_fd()).map_err(|e| read(e.into()))?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > PLAN_MAX {
        return Err(Refusal::rule(Stage::Plan, "longer than allowed"));
    }
    let mut text = vec![0; length];
    io::stdin().lock().read_exact(&mut text).map_err(read)?;
    let plan = serde_json::from_slice(&text).map_err(|e| Refusal::rule(Stage::Plan, e.to_string()))?;
    Ok((plan, network))
}

/// Adds the walls that a file beside this program names: a supervisor's plans leave out none.
#[cfg(feature = "broken-walls")]
fn leave_out(mut plan: Plan) -> Result<Plan, Refusal> {
    let refuse = |e: io::Error| Refusal::new(Stage::Plan, "walls to leave out", e);
    let list = std::env::current_exe().map_err(refuse)?.with_extension("without");
    if list.exists() {
        let walls: Vec<Wall> = serde_json::from_slice(&std::fs::read(list).map_err(refuse)?)
            .map_err(|e| Refusal::rule(Stage::Plan, e.to_string()))?;
        plan.without.extend(walls);
    }
    Ok(plan)
}

fn refused(refusal: Refusal) -> Report {
    Report {
        end: End::Refused(refusal),
        wall_us: 0,
        cpu_us: 0,
        max_rss_kib: 0,
        stdout_bytes: 0,
        stderr_bytes: 0,
        walls: None,
    }
}

fn print(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report).map_err(io::Error::other)?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)
}
