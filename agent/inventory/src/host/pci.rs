//! Display controllers, from `/sys/bus/pci/devices`.

use super::tree::Tree;
use crate::Fact;
use serde::{Deserialize, Serialize};

/// Base class of display controllers (PCI Code and ID Assignment, 1.4).
const DISPLAY_CLASS: u32 = 0x03;

/// A display controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisplayDevice {
    /// `domain:bus:device.function`, the domain with four digits.
    pub address: String,
    /// Vendor.
    pub vendor: Fact<u32>,
    /// Device.
    pub device: Fact<u32>,
    /// The board maker's vendor.
    pub subsystem_vendor: Fact<u32>,
    /// The board maker's device.
    pub subsystem_device: Fact<u32>,
    /// Class, subclass and programming interface.
    pub class: u32,
    /// Kernel driver; "not supported" if none has claimed the device.
    pub driver: Fact<String>,
    /// Memory node that it is near to.
    pub numa_node: Fact<u32>,
    /// Speed of the link, as the kernel words it.
    pub link_speed: Fact<String>,
    /// Lanes of the link.
    pub link_width: Fact<u32>,
}

/// Display controllers described by the tree.
pub(super) fn read(tree: &Tree) -> Vec<DisplayDevice> {
    let folder = tree.at("sys/bus/pci/devices");
    folder.names("").into_iter().filter_map(|address| display(&folder, address)).collect()
}

fn display(folder: &Tree, address: String) -> Option<DisplayDevice> {
    let pci = folder.at(&address);
    let class = *pci.hex("class").value()?;
    (class >> 16 == DISPLAY_CLASS).then(|| DisplayDevice {
        vendor: pci.hex("vendor"),
        device: pci.hex("device"),
        subsystem_vendor: pci.hex("subsystem_vendor"),
        subsystem_device: pci.hex("subsystem_device"),
        class,
        driver: pci.link("driver"),
        numa_node: node(&pci),
        link_speed: pci.text("current_link_speed"),
        link_width: pci.number("current_link_width"),
        address,
    })
}

/// The kernel says -1 where there are no nodes.
fn node(pci: &Tree) -> Fact<u32> {
    pci.number::<i32>("numa_node").and_then(|node| u32::try_from(node).ok().into())
}
