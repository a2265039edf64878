//! Memory and its nodes, from `/proc/meminfo` and `/sys/devices/system/node`.

use super::tree::Tree;
use crate::Fact;
use serde::{Deserialize, Serialize};

/// Memory, in MiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RamFacts {
    /// What the kernel manages.
    pub total_mib: Fact<u64>,
    /// What a new program could get without swapping.
    pub available_mib: Fact<u64>,
    /// Swap.
    pub swap_mib: Fact<u64>,
}

/// A memory node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaNode {
    /// Its number.
    pub id: u32,
    /// Processors near it, as ranges.
    pub cpus: Fact<String>,
    /// Its memory, in MiB.
    pub memory_mib: Fact<u64>,
}

/// Memory described by the tree.
pub(super) fn read(tree: &Tree) -> RamFacts {
    let info = tree.text("proc/meminfo");
    RamFacts {
        total_mib: mib(&info, "MemTotal:"),
        available_mib: mib(&info, "MemAvailable:"),
        swap_mib: mib(&info, "SwapTotal:"),
    }
}

/// Memory nodes described by the tree.
pub(super) fn nodes(tree: &Tree) -> Vec<NumaNode> {
    let folder = tree.at("sys/devices/system/node");
    let names = folder.names("");
    let ids = names.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok());
    let mut nodes: Vec<NumaNode> = ids.map(|id| node(&folder, id)).collect();
    nodes.sort_by_key(|node| node.id);
    nodes
}

fn node(folder: &Tree, id: u32) -> NumaNode {
    let cpus = folder.text(&format!("node{id}/cpulist"));
    let memory_mib = mib(&folder.text(&format!("node{id}/meminfo")), "MemTotal:");
    NumaNode { id, cpus, memory_mib }
}

/// The number after `key`, which the kernel gives in KiB; lines of nodes begin with the node's name.
fn mib(info: &Fact<String>, key: &str) -> Fact<u64> {
    info.clone().and_then(|info| {
        let mut rest = info.lines().filter_map(|line| line.split_once(key)).map(|(_, rest)| rest);
        let kib = rest.next().and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib / 1024).into()
    })
}
