//! What jobs could leave behind on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::eventually;

/// What there is at one moment.
#[derive(Debug)]
pub struct Residue {
    /// Mounts that this process sees.
    mounts: usize,
    /// Loop devices in use.
    loops: usize,
    /// This process's descriptors.
    descriptors: BTreeSet<String>,
    /// Namespaces with a member, with a descriptor anywhere, or kept by a mount.
    namespaces: BTreeSet<String>,
    /// Directories of cgroup v2.
    cgroups: BTreeSet<PathBuf>,
}

/// What there is now.
pub fn residue() -> Residue {
    let loops = entries(Path::new("/sys/block"));
    Residue {
        mounts: fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(),
        loops: loops.iter().filter(|disk| disk.join("loop/backing_file").exists()).count(),
        descriptors: descriptors(),
        namespaces: namespaces(),
        cgroups: cgroups(),
    }
}

impl Residue {
    /// Waits until nothing is left of what has come since, nor of jobs with these ids. Others on this
    /// machine may have jobs of their own meanwhile; those end.
    pub fn wait_until_gone(&self, ids: &Range<u32>) {
        let after = residue();
        assert_eq!((after.mounts, after.loops), (self.mounts, self.loops));
        assert_eq!(after.descriptors, self.descriptors);
        let left: BTreeSet<_> = after.namespaces.difference(&self.namespaces).cloned().collect();
        eventually("no namespace of a job", || namespaces().is_disjoint(&left));
        let left: BTreeSet<_> = after.cgroups.difference(&self.cgroups).cloned().collect();
        eventually("no cgroup of a job", || left.iter().all(|path| !path.exists()));
        eventually("no process of a job", || processes(ids).is_empty());
        // The kernel frees keyrings a little later.
        eventually("no keyring of a job", || keyrings(ids) == 0);
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn all_processes() -> impl Iterator<Item = (u32, PathBuf)> {
    entries(Path::new("/proc")).into_iter().filter_map(|path| {
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        Some((pid, path))
    })
}

fn namespaces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, process) in all_processes() {
        let links = [process.join("ns"), process.join("fd")].into_iter().flat_map(|dir| entries(&dir));
        let links = links.filter_map(|link| Some(fs::read_link(link).ok()?.display().to_string()));
        found.extend(links.filter(|link| is_namespace(link)));
        let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        let kept = mounts.lines().filter(|line| line.contains(" - nsfs "));
        found.extend(kept.filter_map(|line| line.split(' ').nth(3)).map(str::to_owned));
    }
    found
}

/// `net:[4026531840]` and the like.
fn is_namespace(link: &str) -> bool {
    let number = link.split_once(":[").map(|(kind, number)| (kind, number.trim_end_matches(']')));
    number.is_some_and(|(kind, number)| {
        !matches!(kind, "pipe" | "socket" | "anon_inode") && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// This process's own.
fn descriptors() -> BTreeSet<String> {
    let dir = fs::read_dir("/proc/self/fd").unwrap();
    // Not the one by which they are read.
    let number = |entry: fs::DirEntry| {
        let path = fs::read_link(entry.path()).ok()?;
        (!path.ends_with("fd")).then(|| entry.file_name().display().to_string())
    };
    dir.filter_map(|entry| number(entry.ok()?)).collect()
}

fn cgroups() -> BTreeSet<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let top = mounts.lines().find(|l| l.contains(" - cgroup2 ")).and_then(|l| l.split(' ').nth(4));
    let mut queue: Vec<PathBuf> = top.into_iter().map(PathBuf::from).collect();
    let mut found = BTreeSet::new();
    while let Some(dir) = queue.pop() {
        queue.extend(entries(&dir).into_iter().filter(|path| path.is_dir()));
        found.insert(dir);
    }
    found
}

/// Processes whose user is one of these.
pub fn processes(ids: &Range<u32>) -> Vec<u32> {
    let is_theirs = |(pid, path): (u32, PathBuf)| {
        let status = fs::read_to_string(path.join("status")).ok()?;
        let uid = status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().next()?;
        ids.contains(&uid.parse().ok()?).then_some(pid)
    };
    all_processes().filter_map(is_theirs).collect()
}

/// Keys and keyrings whose owner is one of these.
fn keyrings(ids: &Range<u32>) -> usize {
    let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
    let owners = keys.lines().filter_map(|line| line.split_whitespace().nth(5)?.parse::<u32>().ok());
    owners.filter(|owner| ids.contains(owner)).count()
}
