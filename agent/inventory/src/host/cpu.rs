//! Processors, from `/proc/cpuinfo` (proc(5)).

use super::tree::Tree;
use crate::Fact;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The machine's processors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFacts {
    /// Product name of the first one.
    pub model: Fact<String>,
    /// Vendor's identifier of the first one.
    pub vendor: Fact<String>,
    /// Packages.
    pub sockets: Fact<usize>,
    /// Cores in all packages.
    pub cores: Fact<usize>,
    /// Hardware threads that the kernel uses.
    pub threads: usize,
    /// CPUID says that a hypervisor is present (leaf 1, ECX bit 31).
    pub hypervisor: Fact<bool>,
}

/// Processors described by the tree.
pub(super) fn read(tree: &Tree) -> CpuFacts {
    let text = tree.text("proc/cpuinfo");
    let info = text.value().map(String::as_str).unwrap_or_default();
    let first = |key| Fact::from(values(info, key).next().map(str::to_owned));
    let sockets: BTreeSet<&str> = values(info, "physical id").collect();
    let cores: BTreeSet<(&str, &str)> = values(info, "physical id").zip(values(info, "core id")).collect();
    let flags = first("flags");
    CpuFacts {
        model: first("model name"),
        vendor: first("vendor_id"),
        sockets: Some(sockets.len()).filter(|count| *count > 0).into(),
        cores: Some(cores.len()).filter(|count| *count > 0).into(),
        threads: values(info, "processor").count(),
        hypervisor: flags.map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
    }
}

/// The values of all lines `key : value`.
fn values<'a>(info: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(move |(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}
