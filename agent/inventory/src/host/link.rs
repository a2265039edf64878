//! Network interfaces, from `/sys/class/net`.

use super::tree::Tree;
use crate::Fact;
use serde::{Deserialize, Serialize};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicFacts {
    /// Kernel's name.
    pub name: String,
    /// Hardware address.
    pub mac: Fact<String>,
    /// Link speed in Mbit/s; an interface that is down has none.
    pub speed_mbps: Fact<u32>,
    /// `up`, `down` or what else the kernel says.
    pub state: Fact<String>,
    /// Kernel driver; interfaces without a device have none.
    pub driver: Fact<String>,
    /// There is a device behind it.
    pub physical: bool,
}

/// Network interfaces described by the tree.
pub(super) fn read(tree: &Tree) -> Vec<NicFacts> {
    let folder = tree.at("sys/class/net");
    let names =
        folder.names("").into_iter().filter(|name| name != "lo" && folder.exists(&format!("{name}/address")));
    names.map(|name| nic(&folder, name)).collect()
}

fn nic(folder: &Tree, name: String) -> NicFacts {
    let nic = folder.at(&name);
    NicFacts {
        mac: nic.text("address"),
        speed_mbps: speed(&nic),
        state: nic.text("operstate"),
        driver: nic.link("device/driver"),
        physical: nic.exists("device"),
        name,
    }
}

/// The kernel says -1 or refuses to answer where there is no link.
fn speed(nic: &Tree) -> Fact<u32> {
    match nic.number::<i64>("speed") {
        Fact::Value(speed) => u32::try_from(speed).ok().into(),
        Fact::NotSupported | Fact::Error(_) => Fact::NotSupported,
    }
}
