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
    /// `nosuid` and `nodev` on the image, and `nodev` on the writable layer.
    SafeMounts,
    /// Read-only `/dev` and `/sys`.
    ReadOnlyTemplates,
    /// `/proc` with nothing but the job's own processes.
    ProcSubset,
    /// Closing of descriptors that nobody meant to pass on.
    CloseDescriptors,
    /// Death with the parent.
    DeathSignal,
    /// Size and file count of the writable layer.
    ScratchQuota,
    /// The capacity of the log rings.
    LogCapacity,
    /// Path resolution within the image and through no link.
    ConfinedPaths,
    /// Network namespace.
    NetworkNamespace,
    /// Namespace of System V and POSIX messages.
    IpcNamespace,
    /// Host name namespace.
    UtsNamespace,
    /// cgroup namespace.
    CgroupNamespace,
    /// Detaching of the host's file systems.
    OldRoot,
}
