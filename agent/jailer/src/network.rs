//! The job's network: a namespace with nothing in it but loopback.
//!
//! Making one is the longest single step of a start, so the supervisor may have this program make one ahead
//! and hand it over with a plan. The outer process joins it, and the job's first process is born there. Such
//! a namespace belongs to a user namespace that nobody is in any more: root of the job's own has no right
//! over it, and the supervisor needs none over networks of the host.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fstat, stat};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use assay_jailer::plan::Plan;
use assay_jailer::report::{Refusal, Stage};
use assay_jailer::wall::Wall;

use crate::{loopback, sys, wire};

/// Makes a namespace and hands it over on `control`.
pub(crate) fn make(control: BorrowedFd<'_>) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    loopback::raise()?;
    let network = rustix::fs::open("/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(wire::send(control, b"N", &[network.as_fd()])?)
}

/// Joins the namespace that the supervisor has made for this job; false where it gave none, and the job's
/// first process has to make one.
pub(crate) fn join(plan: &Plan, given: Option<OwnedFd>) -> Result<bool, Refusal> {
    let Some(given) = given.filter(|_| plan.keeps(Wall::NetworkNamespace)) else { return Ok(false) };
    let refuse = |what: &'static str| move |e| Refusal::new(Stage::Network, what, e);
    let ours = stat("/proc/self/ns/net").map_err(refuse("look at the network namespace"))?;
    let theirs = fstat(&given).map_err(refuse("look at the given network namespace"))?;
    if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) {
        return Err(Refusal::rule(Stage::Network, "the given network namespace is the host's"));
    }
    move_into_link_name_space(given.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(refuse("join the given network namespace"))?;
    Ok(true)
}
