//! Kernel, firmware, and signs that this is not bare metal.

use super::tree::Tree;
use crate::Fact;
use serde::{Deserialize, Serialize};

/// Makers and products in the firmware's tables that mean a virtual machine.
const VIRTUAL: [&str; 16] = [
    "QEMU",
    "KVM",
    "VMware",
    "VirtualBox",
    "innotek",
    "Xen",
    "Virtual Machine",
    "OpenStack",
    "Bochs",
    "BHYVE",
    "Parallels",
    "Google Compute Engine",
    "Amazon EC2",
    "DigitalOcean",
    "Hetzner vServer",
    "Apple Virtualization",
];

/// Files that container engines leave in a container.
const CONTAINER: [&str; 2] = [".dockerenv", "run/.containerenv"];

/// Kernel and boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// Release.
    pub release: Fact<String>,
    /// Build.
    pub version: Fact<String>,
    /// The distribution's name for itself.
    pub os: Fact<String>,
    /// Random identifier of this boot.
    pub boot_id: Fact<String>,
    /// Version of the loaded NVIDIA module; the library's driver version must equal it.
    pub nvidia_module: Fact<String>,
}

/// Maker and firmware, from the SMBIOS tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareFacts {
    /// Maker of the machine.
    pub system_vendor: Fact<String>,
    /// The machine's product name.
    pub product: Fact<String>,
    /// The mainboard's product name.
    pub board: Fact<String>,
    /// Maker of the firmware.
    pub bios_vendor: Fact<String>,
    /// Version of the firmware.
    pub bios_version: Fact<String>,
    /// Date of the firmware.
    pub bios_date: Fact<String>,
}

/// Signs that this is not bare metal; their absence proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualizationHints {
    /// CPUID says that a hypervisor is present.
    pub cpuid: Fact<bool>,
    /// The kernel's own view of a hypervisor.
    pub hypervisor: Fact<String>,
    /// A maker or product that means a virtual machine.
    pub product: Option<String>,
    /// Inside a container.
    pub container: bool,
}

impl VirtualizationHints {
    /// Whether any sign was found.
    #[must_use]
    pub fn any(&self) -> bool {
        let hypervisor = self.hypervisor.value().is_some() || self.cpuid.value() == Some(&true);
        hypervisor || self.product.is_some() || self.container
    }
}

/// Kernel described by the tree.
pub(super) fn kernel(tree: &Tree) -> KernelFacts {
    KernelFacts {
        release: tree.text("proc/sys/kernel/osrelease"),
        version: tree.text("proc/sys/kernel/version"),
        os: tree.text("etc/os-release").and_then(|text| pretty_name(&text).into()),
        boot_id: tree.text("proc/sys/kernel/random/boot_id"),
        nvidia_module: tree.text("sys/module/nvidia/version"),
    }
}

fn pretty_name(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// Firmware described by the tree.
pub(super) fn firmware(tree: &Tree) -> FirmwareFacts {
    let dmi = tree.at("sys/class/dmi/id");
    FirmwareFacts {
        system_vendor: dmi.text("sys_vendor"),
        product: dmi.text("product_name"),
        board: dmi.text("board_name"),
        bios_vendor: dmi.text("bios_vendor"),
        bios_version: dmi.text("bios_version"),
        bios_date: dmi.text("bios_date"),
    }
}

/// Signs of virtualization in the tree.
pub(super) fn virtualization(tree: &Tree) -> VirtualizationHints {
    let firmware = firmware(tree);
    let names = [firmware.system_vendor, firmware.product, firmware.bios_vendor];
    VirtualizationHints {
        cpuid: super::cpu::read(tree).hypervisor,
        hypervisor: tree.text("sys/hypervisor/type"),
        product: names.iter().filter_map(Fact::value).find(|name| virtual_name(name)).cloned(),
        container: CONTAINER.iter().any(|file| tree.exists(file)),
    }
}

/// Rented bare metal of one maker of virtual machines says so at the end of its product name.
fn virtual_name(name: &str) -> bool {
    VIRTUAL.iter().any(|sign| name.contains(sign)) && !name.ends_with(".metal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_a_virtual_machine() {
        for name in ["QEMU", "VMware, Inc.", "Amazon EC2", "Standard PC (KVM)"] {
            assert!(virtual_name(name), "{name}");
        }
        for name in ["Supermicro", "p5.48xlarge.metal", "Google"] {
            assert!(!virtual_name(name), "{name}");
        }
    }

    #[test]
    fn the_name_of_the_system() {
        let text = "NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";
        assert_eq!(pretty_name(text).as_deref(), Some("Debian GNU/Linux 13 (trixie)"));
        assert_eq!(pretty_name("NAME=x"), None);
    }
}
