//! What the kernel says of the machine: processors, memory, disks, links, display devices.
//!
//! Everything is read from `/proc`, `/sys` and `/etc/os-release` under a root that the caller names, so
//! that tests can show any machine. Nothing is written, no program is run, and files are read up to a
//! limit.

mod cpu;
mod disk;
mod link;
mod memory;
mod pci;
mod system;
mod tree;

pub use cpu::CpuFacts;
pub use disk::DiskFacts;
pub use link::NicFacts;
pub use memory::{NumaNode, RamFacts};
pub use pci::DisplayDevice;
pub use system::{FirmwareFacts, KernelFacts, VirtualizationHints};

use serde::{Deserialize, Serialize};
use std::path::Path;
use tree::Tree;

/// Everything but GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInventory {
    /// Processors.
    pub cpu: CpuFacts,
    /// Memory.
    pub memory: RamFacts,
    /// Memory nodes and the processors near them.
    pub numa: Vec<NumaNode>,
    /// Disks with a device behind them.
    pub disks: Vec<DiskFacts>,
    /// Network interfaces but the loopback.
    pub nics: Vec<NicFacts>,
    /// Display controllers on the PCI bus, with and without a driver.
    pub display: Vec<DisplayDevice>,
    /// Maker and firmware.
    pub firmware: FirmwareFacts,
    /// Signs that this is not bare metal.
    pub virtualization: VirtualizationHints,
    /// Kernel and boot.
    pub kernel: KernelFacts,
}

impl HostInventory {
    /// Display controllers that no driver has claimed: GPUs that no library will list.
    pub fn display_without_driver(&self) -> impl Iterator<Item = &DisplayDevice> {
        self.display.iter().filter(|device| device.driver == crate::Fact::NotSupported)
    }
}

/// Reads the machine's description under `root`, which is `/` but for tests.
///
/// Never fails: what can't be read is a [`crate::Fact`] that says so.
#[must_use]
pub fn inventory(root: &Path) -> HostInventory {
    let tree = Tree::new(root);
    HostInventory {
        cpu: cpu::read(&tree),
        memory: memory::read(&tree),
        numa: memory::nodes(&tree),
        disks: disk::read(&tree),
        nics: link::read(&tree),
        display: pci::read(&tree),
        firmware: system::firmware(&tree),
        virtualization: system::virtualization(&tree),
        kernel: system::kernel(&tree),
    }
}
