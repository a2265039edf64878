//! `User` of an image's configuration: `uid`, `uid:gid`, `name`, `name:group`
//! (OCI image-spec 1.1 config.md), looked up in the image's own files. A user without a
//! group has the one of its line in `/etc/passwd`, and group 0 without such a line.

use std::path::PathBuf;

use rustix::fs::fgetxattr;
use rustix::io::Errno;

use assay_jailer::plan::ID_RANGE;

use crate::confined::{Dir, read_bounded};
use crate::error::SandboxError;

/// Most bytes of `/etc/passwd` or `/etc/group` that are read.
const TABLE_MAX: u64 = 1 << 20;

/// User and group id inside the job.
///
/// # Errors
/// [`SandboxError::Image`] if a name is unknown or an id is out of range.
pub(crate) fn resolve(user: &str, layers: &[PathBuf]) -> Result<(u32, u32), SandboxError> {
    let (user, group) = user.split_once(':').map_or((user, None), |(u, g)| (u, Some(g)));
    let (uid, own_group) = match user {
        "" => (Some(0), Some(0)),
        _ => match user.parse() {
            // The file may say more of a number; a number does without it, and without one that is a link.
            Ok(uid) => (Some(uid), lookup(layers, "passwd", Column::Id(uid)).map_or(None, |row| row.1)),
            Err(_) => lookup(layers, "passwd", Column::Name(user))?,
        },
    };
    let gid = match group {
        None => Some(own_group.unwrap_or(0)),
        Some(group) => match group.parse() {
            Ok(gid) => Some(gid),
            Err(_) => lookup(layers, "group", Column::Name(group))?.0,
        },
    };
    let in_range = |id: Option<u32>| id.filter(|id| *id < ID_RANGE);
    in_range(uid)
        .zip(in_range(gid))
        .ok_or_else(|| SandboxError::image("config", "has a User that its files do not know, or above 65535"))
}

/// What a line of a table is found by.
#[derive(Clone, Copy)]
enum Column<'a> {
    Name(&'a str),
    Id(u32),
}

/// Third and fourth column of the first such line in a table of `/etc`.
fn lookup(
    layers: &[PathBuf],
    table: &str,
    by: Column<'_>,
) -> Result<(Option<u32>, Option<u32>), SandboxError> {
    let text = read_table(layers, table)?;
    let rows = text.lines().map(|line| {
        let mut columns = line.split(':');
        let name = columns.next();
        let mut ids = columns.skip(1).map(|id| id.parse::<u32>().ok());
        (name, ids.next().flatten(), ids.next().flatten())
    });
    let mut found = rows.filter(|(name, id, _)| match by {
        Column::Name(wanted) => *name == Some(wanted),
        Column::Id(wanted) => *id == Some(wanted),
    });
    Ok(found.next().map_or((None, None), |(_, id, group)| (id, group)))
}

/// The topmost layer's file; what a whiteout or an opaque directory hides is not read.
fn read_table(layers: &[PathBuf], table: &str) -> Result<String, SandboxError> {
    let error = |e: Errno| SandboxError::ReadImage { path: format!("/etc/{table}"), source: e.into() };
    for layer in layers.iter().rev() {
        let etc = match Dir::open(layer).and_then(|l| l.dir("etc")) {
            Err(Errno::NOENT) => continue,
            other => other.map_err(error)?,
        };
        if etc.stat(table).map_err(error)?.is_some() {
            let file = etc.read(table).map_err(error)?;
            let bytes = read_bounded(file, TABLE_MAX)
                .map_err(|source| SandboxError::ReadImage { path: format!("/etc/{table}"), source })?;
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        if fgetxattr(&etc, "user.overlay.opaque", &mut [0u8; 1]).is_ok() {
            break;
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        let lower = tempfile::tempdir().unwrap();
        let upper = tempfile::tempdir().unwrap();
        std::fs::create_dir(lower.path().join("etc")).unwrap();
        std::fs::write(lower.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:\n")
            .unwrap();
        std::fs::write(lower.path().join("etc/group"), "staff:x:50:\nbig:x:70000:\n").unwrap();
        let layers = [lower.path().to_owned(), upper.path().to_owned()];
        let get = |user: &str| resolve(user, &layers).ok();
        assert_eq!(get(""), Some((0, 0)));
        assert_eq!(get("7"), Some((7, 0)));
        assert_eq!(get("7:8"), Some((7, 8)));
        assert_eq!((get("1000"), get("1000:8")), (Some((1000, 1001)), Some((1000, 8))));
        assert_eq!(get("app"), Some((1000, 1001)));
        assert_eq!(get("app:staff"), Some((1000, 50)));
        for unknown in ["nobody", "app:none", "app:big", "70000", "-1", "7:70000"] {
            assert_eq!(get(unknown), None, "{unknown}");
        }
    }
}
