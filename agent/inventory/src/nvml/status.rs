//! Whether GPUs can be asked at all, and why not.

use serde::{Deserialize, Serialize};
use std::fmt;

/// State of the GPU library and its child process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GpuStatus {
    /// The library answers.
    Ready,
    /// The library can't be loaded.
    LibraryMissing {
        /// What the loader said.
        reason: String,
    },
    /// The library finds no kernel driver.
    DriverNotLoaded,
    /// Library and kernel driver are of different versions.
    VersionMismatch,
    /// The library may not open the devices.
    NoPermission,
    /// The library answered something that can't be used.
    Failed {
        /// What it answered.
        reason: String,
    },
    /// A call did not return within its deadline; the child was killed.
    Hung {
        /// Milliseconds since the call was given up.
        for_ms: u64,
    },
    /// The child ended by itself.
    ChildDied {
        /// Signal or exit status.
        reason: String,
        /// Milliseconds since then.
        for_ms: u64,
    },
}

impl GpuStatus {
    /// Stable code for health items.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ready => "gpu.ready",
            Self::LibraryMissing { .. } => "gpu.library-missing",
            Self::DriverNotLoaded => "gpu.driver-not-loaded",
            Self::VersionMismatch => "gpu.version-mismatch",
            Self::NoPermission => "gpu.no-permission",
            Self::Failed { .. } => "gpu.failed",
            Self::Hung { .. } => "gpu.hung",
            Self::ChildDied { .. } => "gpu.child-died",
        }
    }

    /// What the machine's owner can do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ready => None,
            Self::LibraryMissing { .. } => Some("install the NVIDIA driver, or set the library's path"),
            Self::DriverNotLoaded => Some("load the kernel module: modprobe nvidia"),
            Self::VersionMismatch => Some("the driver was updated: reboot to load its kernel module"),
            Self::NoPermission => Some("let the agent's user open /dev/nvidia*"),
            Self::Failed { .. } | Self::ChildDied { .. } => Some("see the kernel log for lines with NVRM"),
            Self::Hung { .. } => Some("the driver does not answer: see the kernel log, then reset or reboot"),
        }
    }
}

impl fmt::Display for GpuStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::LibraryMissing { reason } => write!(f, "library missing: {reason}"),
            Self::DriverNotLoaded => f.write_str("kernel driver not loaded"),
            Self::VersionMismatch => f.write_str("library and kernel driver differ in version"),
            Self::NoPermission => f.write_str("no permission to open the devices"),
            Self::Failed { reason } => write!(f, "library failed: {reason}"),
            Self::Hung { for_ms } => write!(f, "library hung, given up {for_ms} ms ago"),
            Self::ChildDied { reason, for_ms } => {
                write!(f, "library's process died {for_ms} ms ago: {reason}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_the_state() {
        let json = serde_json::to_string(&GpuStatus::Hung { for_ms: 7 }).unwrap();
        assert_eq!(json, r#"{"state":"hung","for_ms":7}"#);
        assert_eq!(serde_json::from_str::<GpuStatus>(&json).unwrap(), GpuStatus::Hung { for_ms: 7 });
    }

    #[test]
    fn only_a_ready_library_needs_no_hint() {
        assert_eq!(GpuStatus::Ready.hint(), None);
        assert!(GpuStatus::VersionMismatch.hint().is_some_and(|hint| hint.contains("reboot")));
    }
}
