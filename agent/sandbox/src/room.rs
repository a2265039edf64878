//! Rooms: what one job has to itself for as long as it is here.
//!
//! A room is a slot (a lock that dies with its supervisor), the 65,536 ids of
//! the slot's number, and the right to make cgroups in its name. The ids are
//! given to the next job only when nothing of the last one is left: no cgroup,
//! and no process, in whatever cgroup, that runs under one of them. Files of
//! theirs are only in the job's memory, which ends with its processes.
//!
//! A room that was held by a supervisor which died is swept when it is found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use assay_jailer::plan::{ID_RANGE, Ids};

use crate::cgroup::{Cgroup, Disk, Share, Tree, parse_cpus};
use crate::error::SandboxError;
use crate::job::{Limits, Resources};
use crate::sandbox::SandboxConfig;
use crate::store::{Slot, Store};

/// All rooms of one state directory.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// `None`: no cgroup is ours, which only jobs without cgroup limits do without.
    tree: Option<Tree>,
    given: Option<PathBuf>,
    state: PathBuf,
    share: Share,
    id_base: u32,
    count: u32,
    is_root: bool,
}

/// One job's room.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    rooms: &'a Rooms,
    slot: Slot,
    /// A run of the job was in no cgroup of the room's.
    has_strays: AtomicBool,
}

impl Rooms {
    /// Opens the rooms and ends what supervisors that died have left in them.
    ///
    /// # Errors
    /// If the configuration is wrong; a machine without cgroups is not an error here.
    pub(crate) fn open(store: &Store, config: &SandboxConfig) -> Result<Self, SandboxError> {
        let reserved = parse_cpus(&config.reserved_cpus)
            .ok_or_else(|| SandboxError::ReservedCpus(config.reserved_cpus.clone()))?;
        let tree = Tree::open(config.cgroup_parent.as_deref(), store.root())
            .inspect_err(|reason| log::info!("jobs have no cgroups: {reason}"))
            .ok();
        let rooms = Self {
            tree,
            given: config.cgroup_parent.clone(),
            state: store.root().to_owned(),
            share: Share { reserved, disk: Disk::of(store.root()), io: config.io },
            id_base: config.id_base,
            count: config.slots,
            is_root: rustix::process::geteuid().is_root(),
        };
        rooms.sweep_all(store)?;
        Ok(rooms)
    }

    /// Whether jobs can have cgroups with every limit.
    ///
    /// # Errors
    /// Why they cannot.
    pub(crate) fn can_limit(&self) -> Result<(), SandboxError> {
        match &self.tree {
            Some(tree) => tree.can_limit(),
            None => Tree::open(self.given.as_deref(), &self.state)?.can_limit(),
        }
    }

    /// Takes the first room that is free and empty.
    ///
    /// # Errors
    /// [`SandboxError::Busy`] if there is none.
    pub(crate) fn take(&self, store: &Store) -> Result<Room<'_>, SandboxError> {
        for number in 0..self.count {
            let Some(slot) = store.try_slot(number)? else { continue };
            if !slot.is_clean() && !self.sweep(number) {
                log::warn!("room {number} stays closed: something of its last job is left");
                continue;
            }
            slot.mark(false).map_err(SandboxError::state(&self.state, "mark a slot in"))?;
            return Ok(Room { rooms: self, slot, has_strays: AtomicBool::new(false) });
        }
        Err(SandboxError::Busy { slots: self.count })
    }

    /// Empties every room that nobody holds.
    fn sweep_all(&self, store: &Store) -> Result<(), SandboxError> {
        let slots = self.tree.as_ref().map_or_else(|| Ok(vec![]), Tree::slots);
        let slots = slots.inspect_err(|refusal| log::error!("what jobs have left: {refusal}"));
        let slots: BTreeSet<u32> = slots.into_iter().flatten().collect();
        for number in slots {
            if let Some(_held) = store.try_slot(number)? {
                log::warn!("ending what a job has left in room {number}");
                self.sweep(number);
            }
        }
        Ok(())
    }

    /// Ends what is left in a room. True if it is empty. The caller holds its slot.
    fn sweep(&self, number: u32) -> bool {
        let removed = self.tree.as_ref().is_none_or(|tree| tree.clear(number));
        removed && (!self.is_root || !is_inhabited(Path::new("/proc"), self.base(number)))
    }

    /// First id of a room.
    fn base(&self, number: u32) -> u32 {
        self.id_base.saturating_add(number.saturating_mul(ID_RANGE))
    }

    fn limited(&self, slot: u32, resources: &Resources) -> Result<Cgroup, SandboxError> {
        match &self.tree {
            Some(tree) => tree.limited(slot, resources, &self.share),
            // Says why there is none to the one whom it concerns.
            None => Tree::open(self.given.as_deref(), &self.state)?.limited(slot, resources, &self.share),
        }
    }
}

impl Room<'_> {
    /// The job's ids outside.
    pub(crate) fn ids(&self) -> Ids {
        match self.rooms.is_root {
            true => Ids::Range { base: self.rooms.base(self.slot.number) },
            false => Ids::Single {},
        }
    }

    /// A cgroup for one run of the job; each restart needs another.
    ///
    /// # Errors
    /// If the job's limits need one and it cannot be had.
    pub(crate) fn cgroup(&self, resources: &Resources) -> Result<Option<Cgroup>, SandboxError> {
        if resources.limits == Limits::Cgroup {
            return self.rooms.limited(self.slot.number, resources).map(Some);
        }
        let made = self.rooms.tree.as_ref().map(|tree| tree.bare(self.slot.number)).transpose();
        let made = made.inspect_err(|error| log::debug!("a job without a cgroup: {error}")).ok().flatten();
        if made.is_none() {
            self.has_strays.store(true, Ordering::Relaxed);
        }
        Ok(made)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        // Without a cgroup for each run there is no cheap proof that all is over; the next holder looks.
        let is_empty = !self.has_strays.load(Ordering::Relaxed)
            && self.rooms.tree.as_ref().is_some_and(|tree| tree.clear(self.slot.number));
        if is_empty && let Err(error) = self.slot.mark(true) {
            log::debug!("room {} is not marked as empty: {error}", self.slot.number);
        }
    }
}

/// True if a process listed in `proc` has a user or group id of the range from `base` on.
fn is_inhabited(proc: &Path, base: u32) -> bool {
    let Ok(entries) = fs::read_dir(proc) else { return true };
    let range = base..base.saturating_add(ID_RANGE);
    let statuses = entries.flatten().filter_map(|entry| {
        let is_process = entry.file_name().to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        // A process that has ended meanwhile has no status.
        is_process.then(|| fs::read_to_string(entry.path().join("status")).ok())?
    });
    statuses.into_iter().any(|status| ids(&status).any(|id| range.contains(&id)))
}

/// Real, effective, saved and file system ids of a `/proc/PID/status` (`proc_pid_status(5)`).
fn ids(status: &str) -> impl Iterator<Item = u32> {
    let lines =
        status.lines().filter_map(|line| line.strip_prefix("Uid:").or_else(|| line.strip_prefix("Gid:")));
    lines.flat_map(str::split_whitespace).filter_map(|id| id.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_id_of_the_range_is_an_inhabitant() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, status: &str| {
            fs::create_dir_all(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("status"), status).unwrap();
        };
        let base = 0x7000_0000;
        process("1", "Name:\tinit\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n");
        process("self", &format!("Uid:\t{base}\t0\t0\t0\n"));
        fs::create_dir(proc.path().join("7")).unwrap();
        assert!(!is_inhabited(proc.path(), base));
        process("8", &format!("Uid:\t0\t{}\t0\t0\n", base + ID_RANGE));
        assert!(!is_inhabited(proc.path(), base));
        process("9", &format!("Uid:\t0\t0\t{}\t0\n", base + ID_RANGE - 1));
        assert!(is_inhabited(proc.path(), base));
        process("9", &format!("Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t{base}\n"));
        assert!(is_inhabited(proc.path(), base));
        assert!(is_inhabited(Path::new("/nonexistent"), base));
    }

    fn config(state: &Path) -> SandboxConfig {
        SandboxConfig { slots: 2, cgroup_parent: Some(state.join("cgroups")), ..SandboxConfig::new(state) }
    }

    #[test]
    fn rooms_are_exclusive_and_their_ids_apart() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let rooms = Rooms::open(&store, &config(state.path())).unwrap();
        let (first, second) = (rooms.take(&store).unwrap(), rooms.take(&store).unwrap());
        assert_eq!((first.slot.number, second.slot.number), (0, 1));
        assert!(matches!(rooms.take(&store), Err(SandboxError::Busy { slots: 2 })));
        assert_eq!(rooms.base(1) - rooms.base(0), ID_RANGE);
        drop(first);
        assert_eq!(rooms.take(&store).unwrap().slot.number, 0);
    }

    #[test]
    fn a_room_with_something_in_it_is_passed_over() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        // The ids of the first room include this process's own.
        let mut rooms = Rooms::open(&store, &config(state.path())).unwrap();
        (rooms.is_root, rooms.id_base) = (true, rustix::process::geteuid().as_raw());
        assert_eq!(rooms.take(&store).unwrap().slot.number, 1);
        // Its last holder's word, given when it was empty, saves the search.
        store.try_slot(0).unwrap().unwrap().mark(true).unwrap();
        assert_eq!(rooms.take(&store).unwrap().slot.number, 0);
    }

    #[test]
    fn only_a_room_whose_every_run_had_a_cgroup_is_marked_as_empty() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let rooms = Rooms::open(&store, &config(state.path())).unwrap();
        drop(rooms.take(&store).unwrap());
        assert!(store.try_slot(0).unwrap().unwrap().is_clean());
        let resources = Resources {
            cpu_milli: 1000,
            memory_bytes: 1 << 20,
            disk_bytes: 1 << 20,
            pids: 1,
            gpus: 0,
            limits: Limits::Rlimit,
        };
        let room = rooms.take(&store).unwrap();
        // A directory of files is no cgroup.
        assert!(room.cgroup(&resources).unwrap().is_none());
        drop(room);
        assert!(!store.try_slot(0).unwrap().unwrap().is_clean());
    }

    #[test]
    fn limits_need_every_controller() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let config = config(state.path());
        let rooms = Rooms::open(&store, &config).unwrap();
        assert!(matches!(rooms.can_limit(), Err(SandboxError::NoControllers { .. })));
        let parent = config.cgroup_parent.unwrap();
        fs::create_dir(&parent).unwrap();
        fs::write(parent.join("cgroup.controllers"), "cpu cpuset io memory pids\n").unwrap();
        rooms.can_limit().unwrap();
    }

    #[test]
    fn a_wrong_list_of_processors_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let config = SandboxConfig { reserved_cpus: "two".into(), ..config(state.path()) };
        assert!(matches!(Rooms::open(&store, &config), Err(SandboxError::ReservedCpus(_))));
    }

    #[test]
    fn cgroups_of_a_dead_supervisor_are_removed_at_the_start() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::open(state.path()).unwrap();
        let rooms = Rooms::open(&store, &config(state.path())).unwrap();
        let tree = rooms.tree.as_ref().unwrap();
        let (dead, alive) = (tree.path_of_next(0), tree.path_of_next(1));
        fs::create_dir_all(&dead).unwrap();
        fs::create_dir_all(&alive).unwrap();
        let held = store.try_slot(1).unwrap().unwrap();
        Rooms::open(&store, &config(state.path())).unwrap();
        assert!(!dead.exists() && alive.exists());
        drop(held);
        Rooms::open(&store, &config(state.path())).unwrap();
        assert!(!alive.exists());
    }
}
