//! The report: how the job ended, one line of JSON on standard output.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Operation of the jailer that can fail, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading the plan and checking who sent it.
    Plan,
    /// Creating the log files and pipes.
    Logs,
    /// Opening the job's cgroup.
    Cgroup,
    /// Creating the namespaces with the job's first process.
    Clone,
    /// Writing the id maps of the user namespace, or becoming its root.
    Ids,
    /// Attaching the image's layers.
    Layers,
    /// Opening an input or the place of checkpoints.
    Bind,
    /// Writing the secrets.
    Secrets,
    /// Creating the network and host name.
    Network,
    /// Mounting `/proc`.
    Proc,
    /// Building `/dev`.
    Dev,
    /// Building `/sys`.
    Sys,
    /// Creating the writable layer.
    Scratch,
    /// Stacking the layers.
    Overlay,
    /// Attaching `/proc`, `/dev` and `/sys` in the image.
    Mountpoint,
    /// Attaching an input, checkpoints or secrets in the image; the job's own fault.
    BindPoint,
    /// Creating an output directory; the job's own fault.
    Output,
    /// Making the image the root and detaching the host's.
    Pivot,
    /// Moving to a time namespace.
    Time,
    /// Resource limits.
    Limits,
    /// Giving up capabilities and ids.
    Privileges,
    /// The Landlock fence.
    Landlock,
    /// The device program of the cgroup.
    Devices,
    /// Installing the system call filters.
    Seccomp,
    /// Starting the job's process.
    Fork,
    /// Entering the working directory; the job's own fault.
    Workdir,
    /// Executing the job's program; the job's own fault.
    Exec,
    /// Watching the job.
    Watch,
}

impl Stage {
    /// True where a wrong job, not a wrong machine, is the likely cause.
    #[must_use]
    pub fn is_job_fault(self) -> bool {
        matches!(self, Self::Output | Self::BindPoint | Self::Workdir | Self::Exec)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An operation that failed before the job's program ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{stage}: {detail} (errno {errno})")]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Which operation.
    pub stage: Stage,
    /// The kernel's error number, 0 where it was not the kernel that refused.
    pub errno: i32,
    /// What was being done.
    pub detail: String,
}

impl Refusal {
    /// A refusal by the kernel.
    pub fn new(stage: Stage, detail: impl Into<String>, errno: impl Into<std::io::Error>) -> Self {
        let errno = errno.into().raw_os_error().unwrap_or(0);
        Self { stage, errno, detail: detail.into() }
    }

    /// A refusal by the jailer itself.
    pub fn rule(stage: Stage, detail: impl Into<String>) -> Self {
        Self { stage, errno: 0, detail: detail.into() }
    }
}

/// How the job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum End {
    /// The job's first process returned this code.
    Exited(u8),
    /// The job's first process was killed by this signal.
    Signaled(i32),
    /// The wall clock ran out and the job was killed.
    TimedOut,
    /// The supervisor closed its socket and the job was killed.
    Cancelled,
    /// The job's program never ran.
    Refused(Refusal),
}

/// What confined the job, for its policy's hash. All other walls stand in any case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walls {
    /// SHA-256 of the system call filter's instructions, hexadecimal.
    pub seccomp_sha256: String,
    /// Its length, instructions.
    pub seccomp_instructions: u32,
    /// Landlock ABI, 0 where the kernel has none.
    pub landlock_abi: u32,
    /// True if the cgroup's device program is attached; false without a cgroup.
    pub device_program: bool,
    /// True if the job is killed by `cgroup.kill`; else its namespace dies with its first process.
    pub cgroup_kill: bool,
    /// True if the kernel has time namespaces.
    pub time_namespace: bool,
}

/// The account of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// From plan read to the last process gone, microseconds.
    pub wall_us: u64,
    /// User and system time of all of the job's waited-for processes, microseconds.
    pub cpu_us: u64,
    /// Largest resident set of any of the job's processes, KiB.
    pub max_rss_kib: u64,
    /// Bytes written to standard output, kept or not.
    pub stdout_bytes: u64,
    /// Bytes written to standard error, kept or not.
    pub stderr_bytes: u64,
    /// What confined it; nothing if its program never ran.
    pub walls: Option<Walls>,
}
