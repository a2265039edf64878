//! What a job was confined by, as one value: the receipt's policy hash is over it.
//!
//! Deterministic CBOR; whoever has the job file, the release's walls and the facts that the
//! receipt states makes the same value, and so the same hash.

use assay_wire::{Digest, Domain, cbor, hash};
use minicbor::{Decode, Encode};

/// Something that was mounted for the job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mount {
    /// `input`, `checkpoint`, `output` or `secrets`.
    #[n(0)]
    pub kind: String,
    /// Where the job saw it.
    #[n(1)]
    pub target: String,
    /// Whether the job could write to it.
    #[n(2)]
    pub writable: bool,
}

/// A named number: a limit of `setrlimit(2)`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Limit {
    /// Its name, such as `open_files`.
    #[n(0)]
    pub name: String,
    /// Its value.
    #[n(1)]
    pub value: u64,
}

/// A wall that the jailer reported.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Wall {
    /// Its name, such as `seccomp`.
    #[n(0)]
    pub name: String,
    /// What it was: a hash, a version, a list.
    #[n(1)]
    pub value: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Confinement {
    /// Thousandths of a processor.
    #[n(0)]
    pub cpu_milli: u64,
    /// Memory, bytes.
    #[n(1)]
    pub memory_bytes: u64,
    /// Writable space, bytes.
    #[n(2)]
    pub disk_bytes: u64,
    /// Processes and threads.
    #[n(3)]
    pub pids: u32,
    /// `cgroup` or `rlimit`.
    #[n(4)]
    pub limits: String,
    /// `range` or `single`.
    #[n(5)]
    pub ids: String,
    /// `none` or `egress`.
    #[n(6)]
    pub network: String,
    /// Wall clock, milliseconds.
    #[n(7)]
    pub timeout_ms: u64,
    /// Mounts in the order in which they were attached.
    #[n(8)]
    pub mounts: Vec<Mount>,
    /// Limits of each process.
    #[n(9)]
    pub rlimits: Vec<Limit>,
    /// What the jailer built, in its order.
    #[n(10)]
    pub walls: Vec<Wall>,
}

impl Confinement {
    /// The policy hash of a receipt.
    #[must_use]
    pub fn digest(&self) -> Digest {
        hash(Domain::JobConfinement, &[&cbor::to_vec(self)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confinement() -> Confinement {
        Confinement {
            cpu_milli: 1,
            memory_bytes: 2,
            disk_bytes: 3,
            pids: 4,
            limits: "cgroup".into(),
            ids: "range".into(),
            network: "none".into(),
            timeout_ms: 5,
            mounts: vec![Mount { kind: "input".into(), target: "/in".into(), writable: false }],
            rlimits: vec![Limit { name: "open_files".into(), value: 6 }],
            walls: vec![Wall { name: "seccomp".into(), value: "07".into() }],
        }
    }

    #[test]
    fn every_part_counts() {
        let changes: [fn(&mut Confinement); 13] = [
            |c| c.cpu_milli = 0,
            |c| c.memory_bytes = 0,
            |c| c.disk_bytes = 0,
            |c| c.pids = 0,
            |c| c.limits = "rlimit".into(),
            |c| c.ids = "single".into(),
            |c| c.network = "egress".into(),
            |c| c.timeout_ms = 0,
            |c| c.mounts[0].writable = true,
            |c| c.mounts[0].target = "/out".into(),
            |c| c.rlimits[0].value = 7,
            |c| c.walls[0].value = "08".into(),
            |c| c.walls.clear(),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut other = confinement();
            change(&mut other);
            assert_ne!(other.digest(), confinement().digest(), "{n}");
        }
    }

    #[test]
    fn is_one_encoding() {
        let bytes = cbor::to_vec(&confinement());
        assert_eq!(cbor::from_slice::<Confinement>("confinement", &bytes, 4096), Ok(confinement()));
    }
}
