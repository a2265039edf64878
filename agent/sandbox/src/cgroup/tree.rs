//! Where jobs may have cgroups, and the way there.
//!
//! A cgroup that hands controllers to its children must hold no process itself
//! ("No Internal Process Constraint"; the hierarchy's root is exempt). So the
//! supervisor's own cgroup, delegated to it by systemd, is divided in two:
//!
//! ```text
//! assay-core.service/          delegated: cgroup.subtree_control is ours to write
//! ├── core/                    the supervisor and whatever it has started
//! └── jobs/TAG-SLOT-PID-RUN/   one per run of a job
//! ```
//!
//! A cgroup that nobody delegated is not touched: it has another writer
//! (systemd's CGROUP_DELEGATION document).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{Access, getxattr};
use sha2::{Digest, Sha256};

use super::support::{EXTRA, NEEDED, controllers, lacking};
use super::{Bounds, Cgroup, Share, cpus, error, remove, set, write};
use crate::error::SandboxError;
use crate::job::Resources;

/// Leaf for the supervisor below a delegated cgroup.
const SUPERVISOR: &str = "core";
/// Parent of the jobs' cgroups below a delegated cgroup.
const JOBS: &str = "jobs";
/// The same below the root of a hierarchy.
const JOBS_OF_ROOT: &str = "assay";
/// Marks of a delegated cgroup: systemd sets the first from version 251 on, the second before.
const MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];
/// How often what another process is changing at the same moment is tried again.
const TRIES: usize = 16;

/// A place for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Directory that the caller says is ours alone.
    Given(PathBuf),
    /// The hierarchy's root, on a machine without systemd.
    Root(PathBuf),
    /// A cgroup that was delegated to us.
    Delegated(PathBuf),
}

impl Place {
    /// The cgroup whose controllers can be handed on.
    pub(super) fn base(&self) -> &Path {
        match self {
            Self::Given(path) | Self::Root(path) | Self::Delegated(path) => path,
        }
    }

    /// The controllers that it can hand on.
    ///
    /// # Errors
    /// [`SandboxError::NoControllers`] where one that is needed is not among them.
    fn controllers(&self) -> Result<Vec<String>, SandboxError> {
        let there = controllers(&self.base().join("cgroup.controllers"));
        let missing = lacking(&there, &NEEDED);
        match missing.is_empty() {
            true => Ok(there),
            false => Err(SandboxError::NoControllers {
                missing: missing.join(", "),
                parent: self.base().to_owned(),
            }),
        }
    }

    fn jobs(&self) -> PathBuf {
        match self {
            Self::Given(path) => path.clone(),
            Self::Root(path) => path.join(JOBS_OF_ROOT),
            Self::Delegated(path) => path.join(JOBS),
        }
    }

    /// The place of this process, if it has one.
    ///
    /// # Errors
    /// [`SandboxError::NoPlace`] with the reason.
    pub(super) fn find() -> Result<Self, SandboxError> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let no_place = |reason| SandboxError::NoPlace { reason };
        let mount = hierarchy(&read("/proc/self/mountinfo"))
            .ok_or_else(|| no_place("no cgroup v2 hierarchy is mounted"))?;
        let own = mount
            .own(&read("/proc/self/cgroup"))
            .ok_or_else(|| no_place("this process is outside of the mounted cgroup v2 hierarchy"))?;
        Self::of(&own).ok_or_else(|| no_place("this process's cgroup is not delegated to it"))
    }

    /// The place of a process whose cgroup is `own`.
    fn of(own: &Path) -> Option<Self> {
        // Only the root of a hierarchy has no type (Core Interface Files).
        if !own.join("cgroup.type").exists() {
            return Some(Self::Root(own.to_owned()));
        }
        let above = own.parent().filter(|_| own.ends_with(SUPERVISOR));
        let delegated = [Some(own), above].into_iter().flatten().find(|dir| is_delegated(dir));
        delegated.map(|dir| Self::Delegated(dir.to_owned()))
    }
}

/// A mounted cgroup v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Which of its directories is mounted there.
    root: PathBuf,
}

impl Mount {
    /// Directory of the cgroup that a `/proc/PID/cgroup` names.
    fn own(&self, groups: &str) -> Option<PathBuf> {
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        let is_plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        // A relative path may be empty, and joining that would end in a slash.
        is_plain.then(|| match below.as_os_str().is_empty() {
            true => self.point.clone(),
            false => self.point.join(below),
        })
    }
}

/// The hierarchy of a `mountinfo` (`proc_pid_mountinfo(5)`).
pub(super) fn hierarchy(mounts: &str) -> Option<Mount> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        after.starts_with("cgroup2 ").then(|| Mount { point: point.into(), root: root.into() })
    };
    mounts.lines().find_map(mount)
}

/// Whether a sandbox that this process opened could give jobs cgroups with every limit. Changes nothing.
///
/// # Errors
/// [`SandboxError::NoPlace`] or [`SandboxError::NoControllers`], with the reason.
pub fn own_place() -> Result<(), SandboxError> {
    let place = Place::find()?;
    place.controllers()?;
    let control = place.base().join("cgroup.subtree_control");
    let reason = "this process's cgroup is not this user's to divide";
    rustix::fs::access(&control, Access::WRITE_OK).map_err(|_| SandboxError::NoPlace { reason })
}

fn is_delegated(dir: &Path) -> bool {
    let mut value = [0; 2];
    MARKS.into_iter().any(|mark| getxattr(dir, mark, &mut value) == Ok(1) && value.first() == Some(&b'1'))
}

/// The cgroups of one state directory's jobs.
#[derive(Debug)]
pub(crate) struct Tree {
    place: Place,
    jobs: PathBuf,
    tag: String,
    runs: AtomicU64,
    /// Whether the controllers that jobs can do without were offered to their cgroups.
    extra_tried: AtomicBool,
}

impl Tree {
    /// The place for the jobs of the state directory `state`: `given`, or this process's own.
    ///
    /// # Errors
    /// If there is none, or it cannot be divided.
    pub(crate) fn open(given: Option<&Path>, state: &Path) -> Result<Self, SandboxError> {
        let place = given.map_or_else(Place::find, |path| Ok(Place::Given(path.to_owned())))?;
        Self::at(place, state)
    }

    fn at(place: Place, state: &Path) -> Result<Self, SandboxError> {
        let state = fs::canonicalize(state).map_err(SandboxError::state(state, "resolve"))?;
        let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
        let tag = hex::encode(digest).chars().take(12).collect();
        if let Place::Delegated(base) = &place {
            vacate(base)?;
        }
        Ok(Self {
            jobs: place.jobs(),
            place,
            tag,
            runs: AtomicU64::new(0),
            extra_tried: AtomicBool::new(false),
        })
    }

    /// Whether jobs can have every limit here.
    ///
    /// # Errors
    /// [`SandboxError::NoControllers`].
    pub(crate) fn can_limit(&self) -> Result<(), SandboxError> {
        self.place.controllers().map(drop)
    }

    /// Removes the cgroups of a slot, with everything in them. True if none is left.
    pub(crate) fn clear(&self, slot: u32) -> bool {
        let cgroups = match self.cgroups() {
            Ok(cgroups) => cgroups,
            Err(refusal) => {
                log::error!("cgroups of room {slot}: {refusal}");
                return false;
            }
        };
        // One that stays does not keep the others.
        let of_slot = cgroups.into_iter().filter(|(of, _)| *of == slot);
        of_slot.fold(true, |all, (_, path)| remove(&path) && all)
    }

    /// Slots of which there are cgroups.
    ///
    /// # Errors
    /// If the kernel does not list them.
    pub(crate) fn slots(&self) -> Result<Vec<u32>, SandboxError> {
        Ok(self.cgroups()?.into_iter().map(|(slot, _)| slot).collect())
    }

    fn cgroups(&self) -> Result<Vec<(u32, PathBuf)>, SandboxError> {
        let entries = match fs::read_dir(&self.jobs) {
            // Nobody has made the directory yet, or the last one has removed it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            other => other.map_err(error(&self.jobs))?,
        };
        let slot =
            |name: &str| name.strip_prefix(&self.tag)?.strip_prefix('-')?.split('-').next()?.parse().ok();
        let of_ours = |entry: io::Result<fs::DirEntry>| match entry {
            Ok(e) => e.file_name().to_str().and_then(slot).map(|slot| Ok((slot, e.path()))),
            Err(e) => Some(Err(error(&self.jobs)(e))),
        };
        entries.filter_map(of_ours).collect()
    }

    /// A cgroup without limits. Its name was never used before: the kernel kills
    /// whatever is born into a cgroup that was killed.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn bare(&self, slot: u32) -> Result<Cgroup, SandboxError> {
        self.make(slot, |_| Ok(()), Cgroup::bare)
    }

    /// A cgroup with every limit.
    ///
    /// # Errors
    /// [`SandboxError::NoControllers`] where this machine cannot limit; else what the kernel refused.
    pub(crate) fn limited(
        &self,
        slot: u32,
        resources: &Resources,
        share: &Share,
    ) -> Result<Cgroup, SandboxError> {
        self.make(slot, Self::hand_on_controllers, |path| {
            let cpus = self.cpus(&share.reserved)?;
            Cgroup::limited(path, &Bounds { resources, cpus: &cpus, disk: share.disk, io: share.io })
        })
    }

    /// A path that no cgroup of this slot has had before.
    pub(crate) fn path_of_next(&self, slot: u32) -> PathBuf {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        self.jobs.join(format!("{}-{slot}-{}-{run}", self.tag, std::process::id()))
    }

    fn make(
        &self,
        slot: u32,
        prepare: impl Fn(&Self) -> Result<(), SandboxError>,
        make: impl Fn(PathBuf) -> Result<Cgroup, SandboxError>,
    ) -> Result<Cgroup, SandboxError> {
        let path = self.path_of_next(slot);
        let mut made =
            Err(SandboxError::Cgroup { path: self.jobs.clone(), source: io::ErrorKind::NotFound.into() });
        for _ in 0..TRIES {
            fs::create_dir_all(&self.jobs).map_err(error(&self.jobs))?;
            made = prepare(self).and_then(|()| make(path.clone()));
            // Another supervisor, the last one in it, has just removed the directory.
            if !matches!(&made, Err(SandboxError::Cgroup { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !self.jobs.exists())
            {
                break;
            }
        }
        made
    }

    /// Processors that jobs may use, all but `reserved`.
    ///
    /// # Errors
    /// If none is left, or the kernel does not say which there are.
    fn cpus(&self, reserved: &BTreeSet<u32>) -> Result<BTreeSet<u32>, SandboxError> {
        let path = self.place.base().join("cpuset.cpus.effective");
        let text = fs::read_to_string(&path).map_err(error(&path))?;
        let all = cpus::parse(&text).ok_or_else(|| error(&path)(io::ErrorKind::InvalidData.into()))?;
        let left: BTreeSet<u32> = all.difference(reserved).copied().collect();
        if left.is_empty() {
            return Err(SandboxError::NoCpus);
        }
        Ok(left)
    }

    /// Enables every controller for the jobs' cgroups.
    fn hand_on_controllers(&self) -> Result<(), SandboxError> {
        let handed = controllers(&self.jobs.join("cgroup.subtree_control"));
        let is_whole = lacking(&handed, &NEEDED).is_empty();
        if self.extra_tried.swap(true, Ordering::Relaxed) && is_whole {
            return Ok(());
        }
        let there = self.place.controllers()?;
        // From the top down: a cgroup can hand on only what it was given.
        let steps: &[&Path] =
            if self.jobs == self.place.base() { &[&self.jobs] } else { &[self.place.base(), &self.jobs] };
        for step in steps {
            let control = step.join("cgroup.subtree_control");
            NEEDED.iter().try_for_each(|name| write(&control, &format!("+{name}")))?;
            for name in EXTRA.iter().filter(|name| there.iter().any(|t| t == *name)) {
                // What these would set to nothing is out of a job's reach by other walls, too.
                if let Err(refusal) = set(&control, &format!("+{name}")) {
                    log::warn!("cgroup controller {name} cannot be handed to jobs: {refusal}");
                }
            }
        }
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if matches!(self.place, Place::Root(_)) {
            // Stays as long as another supervisor has a job in it.
            let _ = fs::remove_dir(&self.jobs);
        }
    }
}

/// Moves every process of a delegated cgroup to its leaf for the supervisor.
fn vacate(base: &Path) -> Result<(), SandboxError> {
    let (procs, leaf) = (base.join("cgroup.procs"), base.join(SUPERVISOR));
    for _ in 0..TRIES {
        let pids = fs::read_to_string(&procs).map_err(error(&procs))?;
        if pids.trim().is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&leaf).map_err(error(&leaf))?;
        for pid in pids.lines() {
            match write(&leaf.join("cgroup.procs"), pid) {
                // It has ended in the meantime.
                Err(SandboxError::Cgroup { source, .. }) if source.raw_os_error() == Some(ESRCH) => {}
                other => other?,
            }
        }
    }
    Err(error(&procs)(io::ErrorKind::ResourceBusy.into()))
}

/// No such process.
const ESRCH: i32 = rustix::io::Errno::SRCH.raw_os_error();

#[cfg(test)]
mod tests;
