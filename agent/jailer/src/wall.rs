//! The walls around a job, by name.

use serde::{Deserialize, Serialize};

/// One wall. A jailer built with the feature `broken-walls`, which no package
/// holds, leaves out those that its plan names, so that a test can show that
/// it notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// The system call filter.
    Seccomp,
    /// The Landlock fence.
    Landlock,
    /// Empty capability sets and locked secure bits.
    Capabilities,
    /// `no_new_privs`.
    NoNewPrivs,
    /// A session keyring of its own.
    Keyring,
    /// Resource limits.
    Rlimits,
    /// The device program on the job's cgroup.
    DeviceFilter,
    /// `nosuid` and `nodev` on whatever the image brings or the job writes, `noexec` on `/dev` and `/sys`.
    SafeMounts,
    /// Read-only inputs.
    ReadOnlyBinds,
    /// Read-only `/dev` and `/sys`.
    ReadOnlyTemplates,
    /// `/proc` with nothing but processes.
    ProcSubset,
    /// Of those, none that the job may not trace.
    HidePid,
    /// No tracing of the job's first process.
    NonDumpable,
    /// Closing of descriptors that nobody meant to pass on.
    CloseDescriptors,
    /// Death with the parent.
    DeathSignal,
    /// Death before the supervisor when the machine runs out of memory.
    OomScore,
    /// Size and file count of the writable layer.
    ScratchQuota,
    /// The capacity of the log rings.
    LogCapacity,
    /// Path resolution within the image and through no link.
    ConfinedPaths,
    /// Ids outside that are nobody's.
    IdRange,
    /// Network namespace.
    NetworkNamespace,
    /// Namespace of System V and POSIX messages.
    IpcNamespace,
    /// Host name namespace.
    UtsNamespace,
    /// cgroup namespace.
    CgroupNamespace,
    /// Clocks that start with the job.
    TimeNamespace,
    /// Detaching of the host's file systems.
    OldRoot,
}

impl Wall {
    /// Every wall.
    pub const ALL: [Self; 26] = [
        Self::Seccomp,
        Self::Landlock,
        Self::Capabilities,
        Self::NoNewPrivs,
        Self::Keyring,
        Self::Rlimits,
        Self::DeviceFilter,
        Self::SafeMounts,
        Self::ReadOnlyBinds,
        Self::ReadOnlyTemplates,
        Self::ProcSubset,
        Self::HidePid,
        Self::NonDumpable,
        Self::CloseDescriptors,
        Self::DeathSignal,
        Self::OomScore,
        Self::ScratchQuota,
        Self::LogCapacity,
        Self::ConfinedPaths,
        Self::IdRange,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::TimeNamespace,
        Self::OldRoot,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_all() {
        let refusal = serde_json::from_str::<Wall>("\"none\"").unwrap_err().to_string();
        let known: std::collections::BTreeSet<_> =
            refusal.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        let named = Wall::ALL.map(|wall| serde_json::to_value(wall).unwrap().as_str().unwrap().to_owned());
        assert_eq!(known, named.into_iter().collect());
    }
}
