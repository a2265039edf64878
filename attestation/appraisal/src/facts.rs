//! Facts: what an appraisal found out, for pages and JSON. A fact is not a check.

use serde::Serialize;

/// Everything an appraisal can say about its subject; parts that it did not reach are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The node, from its enrolment record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeFacts>,
    /// The sessions, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionFacts>,
    /// What a claim proves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<UptimeFacts>,
    /// What each GPU did, by index, over all sessions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuUse>,
    /// Jobs with a receipt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobFacts>,
}

/// A node, as its enrolment record has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeFacts {
    /// Node id in hex.
    pub id: String,
    /// `discrete`, `firmware`, `virtual` or `unknown`.
    pub tpm_class: &'static str,
    /// Manufacturer and model from the EK certificate; empty when there is none.
    pub tpm_model: String,
    /// Key type of the EK.
    pub ek: String,
    /// The pinned authority that vouches for the EK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Machines that pinned authorities say it is in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Devices that pinned authorities say its keys are of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Name of the validator that enrolled it.
    pub enrolled_by: String,
    /// Unix time in ms.
    pub enrolled_ms: u64,
    /// Unix time in ms.
    pub expires_ms: u64,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionFacts {
    /// Session id in hex.
    pub id: String,
    /// The agent's version, by its own word.
    pub agent: String,
    /// CPU model, by the node's word.
    pub cpu: String,
    /// Logical CPUs, by the node's word.
    pub cpus: u32,
    /// Memory in MiB, by the node's word.
    pub memory_mib: u64,
    /// Kernel release, by the node's word.
    pub kernel: String,
    /// A virtualization hint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtualization: Option<String>,
    /// The GPU table, by the node's word.
    pub gpus: Vec<assay_gpu::GpuIdentity>,
    /// What its GPUs and switches signed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceFacts>,
    /// What the node says is simulated.
    pub simulated: Vec<&'static str>,
    /// TPM resets so far.
    pub reset_count: u32,
    /// TPM firmware version in hex.
    pub firmware_version: String,
    /// The boot.
    pub boot: BootFacts,
    /// Beats in the chain.
    pub beats: u64,
    /// Good anchors.
    pub anchors: u64,
    /// Whether it ended in order.
    pub ended: bool,
}

/// A device's own report, and how far it holds. A check is absent where there was nothing to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceFacts {
    /// Index in the session's GPU table; absent for a switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<u8>,
    /// `HOPPER`, `BLACKWELL` or `LS10`.
    pub architecture: &'static str,
    /// What its certificate calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The device's identifier from its certificate, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pdi: Option<String>,
    /// Project, its SKU and the chip's SKU, as the device signed them, such as `G520-0200-885`. What the
    /// GPU table calls the device stays the node's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// Driver, as the device signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Video BIOS, as the device signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vbios: Option<String>,
    /// The report's signature holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<bool>,
    /// The certificates lead to the maker's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<bool>,
    /// Certificate and report name one firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwid: Option<bool>,
    /// The report is over this session's nonce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<bool>,
    /// The measurements are those of reference values; true only where each that the report asks for is at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measurements: Option<bool>,
    /// No certificate was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<bool>,
    /// The library that gave the report is a simulation.
    pub simulated: bool,
    /// Everything that G3 asks of one device holds.
    pub attested: bool,
}

/// What the boot evidence shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BootFacts {
    /// `crypto-agile` or `sha1-legacy`; absent without a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
    /// Bytes of the firmware log.
    pub log_bytes: usize,
    /// Events in it.
    pub events: usize,
    /// Records of the userspace log.
    pub userspace_records: usize,
    /// PCRs that the log explains.
    pub pcrs_replayed: usize,
    /// Secure Boot, when the log says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
    /// What the firmware calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Authenticode SHA-256 digests of what was booted, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
    /// The release that the boot matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Entries of the IMA log that the TPM vouches for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ima_entries: Option<usize>,
}

/// What a claim proves about time. Powered and reachable are different numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UptimeFacts {
    /// Seconds that the TPM proves.
    pub powered_s: u64,
    /// Seconds that validators observed.
    pub reachable_s: u64,
    /// First bound of the claim, in Unix ms.
    pub from_ms: u64,
    /// Last bound of the claim, in Unix ms.
    pub to_ms: u64,
    /// From the first to the last bound of the claim, in seconds.
    pub span_s: u64,
    /// Receipts of this many operators were asked for.
    pub receipts_t: usize,
    /// Of this many that the trust file names.
    pub receipts_n: usize,
    /// Beats in all sessions.
    pub beats: u64,
    /// Mean bytes of a beat's envelope.
    pub beat_bytes: u64,
    /// Good anchors in all sessions.
    pub anchors: u64,
    /// Slots that asked for an anchor and got none.
    pub anchors_missed: u64,
    /// What earned nothing on the powered track.
    pub powered_gaps: Vec<GapFacts>,
    /// What earned nothing on the reachable track.
    pub reachable_gaps: Vec<GapFacts>,
}

/// A stretch that earned nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapFacts {
    /// Unix time in ms.
    pub from_ms: u64,
    /// Unix time in ms.
    pub to_ms: u64,
    /// Stable word.
    pub reason: &'static str,
}

/// What one GPU did over a claim, by its counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GpuUse {
    /// Index in the session's table.
    pub index: u8,
    /// Product name, by the node's word.
    pub name: String,
    /// Energy used, in mJ.
    pub energy_mj: u64,
    /// Mean utilization over the beats that had one, 0 to 1000.
    pub utilization_per_mille: u64,
    /// Highest share of memory in use, 0 to 1000.
    pub memory_per_mille: u64,
    /// Beats with data.
    pub beats: u64,
}

/// One job, by its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobFacts {
    /// Digest of the job file in hex.
    pub job: String,
    /// Digest of the image's manifest in hex.
    pub image: String,
    /// How it ended.
    pub exit: String,
    /// Milliseconds from start to exit.
    pub wall_ms: u64,
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Peak resident memory in KiB.
    pub max_rss_kib: u64,
    /// What held the limits.
    pub limits: String,
    /// How ids were mapped.
    pub ids: String,
    /// Its network.
    pub network: String,
    /// Collected files: path, size and SHA-256.
    pub outputs: Vec<(String, u64, String)>,
    /// Entries of the output directories that were not collected.
    pub outputs_skipped: u64,
    /// Hash of what confined it, in hex.
    pub policy: String,
    /// Tree hash of its checkpoint in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
}
