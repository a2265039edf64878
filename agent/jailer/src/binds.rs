//! What a job gets beside its image: inputs, checkpoints, secrets, and places for its results.
//!
//! Sources are opened before the image is visible and go on as descriptors.
//! Places inside are made component by component, through no link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchown, fstat, mkdirat, openat,
    openat2, statat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, open_tree};

use assay_jailer::plan::{Plan, SECRETS_MAX, Secret};
use assay_jailer::report::{Refusal, Stage};
use assay_jailer::wall::Wall;

use crate::root::{CONFINED, DIRECTORY, READ_ONLY, attach, clone_flags, directory, errno, new_mount, refuse};
use crate::sys;

/// Where the host's own paths are resolved.
const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// Mounts of the plan's sources, with owners by `map` if there is one.
pub(crate) fn open(plan: &Plan, map: Option<BorrowedFd<'_>>) -> Result<Vec<OwnedFd>, Refusal> {
    let open = |bind: &assay_jailer::plan::Bind| {
        let refuse = |e: Errno| Refusal::new(Stage::Bind, bind.source.display().to_string(), e);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let source = openat2(CWD, &bind.source, flags, Mode::empty(), NO_LINKS).map_err(refuse)?;
        let kind = FileType::from_raw_mode(fstat(&source).map_err(refuse)?.st_mode);
        if !matches!(kind, FileType::Directory | FileType::RegularFile) {
            return Err(Refusal::rule(Stage::Bind, "neither a file nor a directory"));
        }
        if bind.writable && !is_private(&bind.source).map_err(refuse)? {
            return Err(Refusal::rule(Stage::Bind, "writable, and open to others of the host"));
        }
        let mount = open_tree(&source, "", clone_flags()).map_err(refuse)?;
        let mut attributes = READ_ONLY;
        if bind.writable || !plan.keeps(Wall::ReadOnlyBinds) {
            attributes &= !libc::MOUNT_ATTR_RDONLY;
        }
        if !plan.keeps(Wall::SafeMounts) {
            attributes &= !(libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID);
        }
        sys::mount_setattr(mount.as_fd(), attributes, map).map_err(|e| refuse(errno(e)))?;
        Ok(mount)
    };
    plan.binds.iter().map(open).collect()
}

/// True if a directory above the path is closed to everybody but the caller.
/// What a job writes belongs on disk to the id that the job has inside: its
/// root's programs with the set-user-id bit must be out of everybody's reach.
fn is_private(path: &Path) -> rustix::io::Result<bool> {
    for above in path.ancestors().skip(1) {
        let stat = statat(CWD, above, AtFlags::SYMLINK_NOFOLLOW)?;
        if stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A file system in memory with the plan's secrets, for the job alone; nothing if there are none.
///
/// With `is_outer` it is made in the host's user namespace, where `owner` is an id of the host's, and
/// where a kernel since 6.4 can be told not to swap it. Without, only a limit of the job's cgroup can.
pub(crate) fn make_secrets(
    plan: &Plan,
    owner: (Uid, Gid),
    is_outer: bool,
) -> Result<Option<OwnedFd>, Refusal> {
    if plan.secrets.is_empty() {
        return Ok(None);
    }
    let filled = match is_outer {
        true => match fill_secrets(plan, owner, &[("noswap", "")]) {
            Err(Errno::INVAL) => fill_secrets(plan, owner, &[]),
            other => other,
        },
        false => fill_secrets(plan, owner, &[]),
    };
    filled.map(Some).map_err(refuse(Stage::Secrets, "secrets"))
}

fn fill_secrets(
    plan: &Plan,
    (uid, gid): (Uid, Gid),
    further: &[(&str, &str)],
) -> rustix::io::Result<OwnedFd> {
    // A page for each, and one for each started page of content.
    let bytes: usize = plan
        .secrets
        .iter()
        .map(|s| (s.value_hex.len() / 2).saturating_add(8192))
        .fold(0, usize::saturating_add);
    let (size, inodes) = (bytes.to_string(), SECRETS_MAX.saturating_add(2).to_string());
    let options = [("size", size.as_str()), ("nr_inodes", inodes.as_str()), ("mode", "0500")];
    let options = [&options, further].concat();
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = new_mount("tmpfs", &options, attributes)?;
    for secret in &plan.secrets {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat2(&mount, secret.name.as_str(), flags, Mode::from_raw_mode(0o400), CONFINED)?;
        write_all(&file, &decode(&secret.value_hex)?)?;
        fchown(&file, Some(uid), Some(gid))?;
    }
    let top = openat(&mount, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    fchown(top, Some(uid), Some(gid))?;
    sys::mount_setattr(mount.as_fd(), READ_ONLY, None).map_err(errno)?;
    Ok(mount)
}

/// The job's user and group inside.
pub(crate) fn owner(plan: &Plan) -> (Uid, Gid) {
    (Uid::from_raw(plan.uid), Gid::from_raw(plan.gid))
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::write(file, bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

fn decode(hex: &str) -> rustix::io::Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = hex.as_bytes().chunks_exact(2);
    let bytes = pairs.map(|pair| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    bytes.collect::<Option<_>>().ok_or(Errno::INVAL)
}

/// The merged tree, before the job is in it.
pub(crate) struct Inside<'a> {
    pub(crate) root: BorrowedFd<'a>,
    pub(crate) plan: &'a Plan,
}

impl Inside<'_> {
    /// Makes the directories for the job's results; they are the job's.
    pub(crate) fn make_outputs(&self) -> Result<(), Refusal> {
        for path in &self.plan.outputs {
            self.walk(path, Some(owner(self.plan))).map_err(refuse(Stage::Output, path))?;
        }
        Ok(())
    }

    /// Attaches the mounts of the plan's binds in their order.
    pub(crate) fn attach_binds(&self, mounts: Vec<OwnedFd>) -> Result<(), Refusal> {
        if mounts.len() != self.plan.binds.len() {
            return Err(Refusal::rule(Stage::Bind, "not as many mounts as binds"));
        }
        for (bind, mount) in self.plan.binds.iter().zip(mounts) {
            if bind.writable {
                // The job may write, whoever it is, and what it writes is its own.
                let (uid, gid) = owner(self.plan);
                chownat(&mount, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
                    .map_err(refuse(Stage::Bind, &bind.target))?;
            }
            self.attach(mount, &bind.target)?;
        }
        Ok(())
    }

    /// Attaches the secrets.
    pub(crate) fn attach_secrets(&self, mount: OwnedFd) -> Result<(), Refusal> {
        self.attach(mount, Secret::DIR)
    }

    fn attach(&self, mount: OwnedFd, target: &str) -> Result<(), Refusal> {
        let attach = || {
            let is_directory = FileType::from_raw_mode(fstat(&mount)?.st_mode) == FileType::Directory;
            let place = if is_directory { self.walk(target, None)? } else { self.file(target)? };
            attach(&mount, place)
        };
        attach().map_err(refuse(Stage::BindPoint, target))
    }

    fn resolve(&self) -> ResolveFlags {
        if self.plan.keeps(Wall::ConfinedPaths) { CONFINED } else { ResolveFlags::empty() }
    }

    /// A directory below the root, made with its parents where missing; `owner` gets what is made.
    fn walk(&self, path: &str, owner: Option<(Uid, Gid)>) -> rustix::io::Result<OwnedFd> {
        let mut at = directory(self.root, ".")?;
        for name in path.split('/').filter(|c| !c.is_empty()) {
            match mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    let (uid, gid) = owner.unzip();
                    chownat(&at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
                }
                Err(Errno::EXIST) => {}
                Err(other) => return Err(other),
            }
            at = openat2(&at, name, DIRECTORY, Mode::empty(), self.resolve())?;
        }
        Ok(at)
    }

    /// A file below the root, made empty with its parents where missing.
    fn file(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.walk(parent, None)?;
        let make = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat2(&parent, name, make, Mode::from_raw_mode(0o644), self.resolve()) {
            Err(Errno::EXIST) => {
                openat2(&parent, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), self.resolve())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal() {
        assert_eq!(decode("00fFa1").unwrap(), [0, 255, 0xa1]);
        assert_eq!(decode("").unwrap(), [0u8; 0]);
        assert!(decode("0g").is_err());
    }
}
