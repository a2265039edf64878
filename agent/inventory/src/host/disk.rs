//! Disks, from `/sys/block`.

use super::tree::Tree;
use crate::Fact;
use serde::{Deserialize, Serialize};

/// `size` counts sectors of 512 bytes whatever the disk's own are (Documentation/ABI, sysfs-block).
const SECTORS_PER_MIB: u64 = 2048;

/// A disk with a device behind it: no loop, no RAM disk, no mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// Kernel's name.
    pub name: String,
    /// Product name.
    pub model: Fact<String>,
    /// Serial number, where the kernel shows it.
    pub serial: Fact<String>,
    /// Size, in MiB.
    pub size_mib: Fact<u64>,
    /// Has moving parts.
    pub rotational: Fact<bool>,
    /// Can be taken out.
    pub removable: Fact<bool>,
}

/// Disks described by the tree.
pub(super) fn read(tree: &Tree) -> Vec<DiskFacts> {
    let folder = tree.at("sys/block");
    let names = folder.names("").into_iter();
    names.filter(|name| folder.exists(&format!("{name}/device"))).map(|name| disk(&folder, name)).collect()
}

fn disk(folder: &Tree, name: String) -> DiskFacts {
    let disk = folder.at(&name);
    DiskFacts {
        model: disk.text("device/model"),
        serial: disk.text("device/serial"),
        size_mib: disk.number::<u64>("size").map(|sectors| sectors / SECTORS_PER_MIB),
        rotational: disk.flag("queue/rotational"),
        removable: disk.flag("removable"),
        name,
    }
}
