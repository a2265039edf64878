//! A session: one run of the agent in one boot, opened under a TPM quote.
//!
//! The session's keys are inside the quote's `extraData`, so whatever the session
//! key signs afterwards inherits the boot verdict.

use assay_gpu::GpuIdentity;
use assay_gpu::device::DeviceEvidence;
use assay_wire::{Digest, Domain, VerifyingKey, cbor, hash};
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};
use minicbor::{Decode, Encode};

use crate::ByteVec;

/// The SHA-256 PCRs that a session quotes, in order.
pub const SESSION_PCRS: [u8; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15];

/// A part of the node that is simulated, by its own word; it can only lower an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Simulated {
    /// The TPM is software.
    #[n(0)]
    Tpm,
    /// The firmware log was written by a generator, not by firmware.
    #[n(1)]
    BootLog,
    /// The GPU library is a simulation.
    #[n(2)]
    Gpu,
}

impl Simulated {
    /// The word for people and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tpm => "tpm",
            Self::BootLog => "boot-log",
            Self::Gpu => "gpu",
        }
    }
}

/// Where an earlier session's chain ended, as far as the node's ledger knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Head {
    /// The session.
    #[n(0)]
    pub session: Digest,
    /// Sequence number of its last beat; 0 when it had none.
    #[n(1)]
    pub seq: u64,
    /// Hash of that beat's envelope, or the session id when it had none.
    #[n(2)]
    pub head: Digest,
}

/// What kind of machine the node says it is: a claim, shown to people, believed by nobody.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Machine {
    /// CPU model name.
    #[n(0)]
    pub cpu: String,
    /// Logical CPUs.
    #[n(1)]
    pub cpus: u32,
    /// Memory in MiB.
    #[n(2)]
    pub memory_mib: u64,
    /// Kernel release.
    #[n(3)]
    pub kernel: String,
    /// A virtualization hint, when there is one.
    #[n(4)]
    pub virtualization: Option<String>,
}

/// The body that the opening quote binds. Its hash is the session's id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionStart {
    /// The node.
    #[n(0)]
    pub node: Digest,
    /// Envelope hash of the enrolment record.
    #[n(1)]
    pub enrolment: Digest,
    /// [`BootLogs::digest`].
    #[n(2)]
    pub boot_logs: Digest,
    /// Ed25519 key of the session.
    #[n(3)]
    pub key: VerifyingKey,
    /// X25519 key of the session.
    #[n(4)]
    pub sealing_key: Digest,
    /// The validator's nonce for this session.
    #[n(5)]
    pub challenge: Digest,
    /// Envelope hash of the newest beacon the node had.
    #[n(6)]
    pub beacon: Digest,
    /// Milliseconds since boot (CLOCK_BOOTTIME) when the body was made.
    #[n(7)]
    pub mono_ms: u64,
    /// Where the session before this one ended; absent in a fresh ledger.
    #[n(8)]
    pub previous: Option<Head>,
    /// The agent's version.
    #[n(9)]
    pub agent: String,
    /// Hash of the configuration in force.
    #[n(10)]
    pub config: Digest,
    /// The machine, as the node describes it.
    #[n(11)]
    pub machine: Machine,
    /// The GPUs, in the order that beats refer to.
    #[n(12)]
    pub gpus: Vec<GpuIdentity>,
    /// What is simulated, ascending.
    #[n(13)]
    pub simulated: Vec<Simulated>,
}

impl SessionStart {
    /// The session's id.
    pub fn id(&self) -> Digest {
        hash(Domain::SessionId, &[&cbor::to_vec(self)])
    }
}

/// `extraData` of the quote that opens session `id`.
pub fn quote_extra_data(id: &Digest) -> Digest {
    hash(Domain::SessionQuote, &[&id.0])
}

/// `extraData` of the GetTime that opens session `id`.
pub fn time_extra_data(id: &Digest) -> Digest {
    hash(Domain::SessionTime, &[&id.0])
}

/// `extraData` of the quote over [`IMA_PCR`] that comes with an IMA log.
///
/// It is taken before the log is read, and the log before the session's body is made: the log may
/// hold more than the PCR, never less, and the session's id covers it.
pub fn ima_extra_data(challenge: &Digest, node: &Digest) -> Digest {
    hash(Domain::ImaQuote, &[&challenge.0, &node.0])
}

/// The PCR that Linux's IMA extends. It moves with every file that is measured, so it is quoted apart.
pub const IMA_PCR: u8 = 10;

/// The logs behind the quoted PCRs, raw as the kernel and systemd give them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BootLogs {
    /// Firmware log (TCG PC Client PFP); absent where the kernel has none.
    #[n(0)]
    pub firmware: Option<ByteVec>,
    /// systemd's userspace log (CEL-JSON), when there is one.
    #[n(1)]
    pub userspace: Option<ByteVec>,
    /// IMA log, when there is one.
    #[n(2)]
    pub ima: Option<ByteVec>,
}

impl BootLogs {
    /// The hash that a session start carries.
    pub fn digest(&self) -> Digest {
        hash(Domain::BootLogs, &[&cbor::to_vec(self)])
    }
}

/// One PCR of the SHA-256 bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PcrValue {
    /// Index.
    #[n(0)]
    pub pcr: u8,
    /// Value.
    #[n(1)]
    pub value: Digest,
}

/// A signature by the TPM with what it is over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attested {
    /// TPMS_ATTEST, raw.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE, raw.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

/// Boot evidence; the payload of an envelope of kind `evidence`, `kid` the session's id,
/// signed by the session key that it carries.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Evidence {
    /// The enrolment record's envelope.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub enrolment: Vec<u8>,
    /// The session's body.
    #[n(1)]
    pub session: SessionStart,
    /// Quote over [`SESSION_PCRS`] with `extraData` = [`quote_extra_data`].
    #[n(2)]
    pub quote: Attested,
    /// GetTime with `extraData` = [`time_extra_data`]: the power-on instant.
    #[n(3)]
    pub time: Attested,
    /// The quoted PCRs, in the order of [`SESSION_PCRS`].
    #[n(4)]
    pub pcrs: Vec<PcrValue>,
    /// The logs.
    #[n(5)]
    pub logs: BootLogs,
    /// Envelopes of further enrolment records of the same EK and AK, by other validators.
    #[n(6)]
    pub further: Vec<ByteVec>,
    /// PCR 10 as it was quoted, when the logs hold one of IMA.
    #[n(7)]
    pub ima: Option<ImaQuote>,
    /// What the session's GPUs and switches signed over this session, at most [`MAX_DEVICES`]; absent
    /// where none of them signs.
    #[cbor(n(8), decode_with = "read_devices")]
    pub devices: Option<Vec<DeviceEvidence>>,
}

/// Up to [`MAX_DEVICES`]; the next one is not read.
fn read_devices<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Option<Vec<DeviceEvidence>>, Error> {
    if decoder.datatype()? == Type::Null {
        return decoder.null().map(|()| None);
    }
    let at = decoder.position();
    let mut list = Vec::new();
    for item in decoder.array_iter::<DeviceEvidence>()? {
        if list.len() == MAX_DEVICES {
            return Err(Error::message("evidence of more devices than a session has").at(at));
        }
        list.push(item?);
    }
    Ok(Some(list))
}

/// The most devices that one session has evidence of: 64 GPUs and the switches between them.
pub const MAX_DEVICES: usize = 96;

/// [`IMA_PCR`] of the SHA-256 bank, and a quote over it alone with `extraData` = [`ima_extra_data`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ImaQuote {
    /// The quote.
    #[n(0)]
    pub quote: Attested,
    /// The value.
    #[n(1)]
    pub value: Digest,
}

/// An orderly end; the payload of an envelope of kind `session-end`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionEnd {
    /// Sequence number of the last beat; 0 when there was none.
    #[n(0)]
    pub seq: u64,
    /// Hash of that beat's envelope, or the session id.
    #[n(1)]
    pub head: Digest,
    /// Milliseconds since boot.
    #[n(2)]
    pub mono_ms: u64,
}

#[cfg(test)]
mod tests {
    use assay_gpu::device::Architecture;

    use super::*;

    #[test]
    fn evidence_is_of_as_many_devices_as_a_session_has() {
        let device = DeviceEvidence {
            gpu: Some(1),
            architecture: Architecture::Hopper,
            report: vec![1],
            chain: vec![vec![2]],
            ocsp: vec![],
            simulated: true,
        };
        let encoded = |count| minicbor::to_vec(vec![device.clone(); count]).unwrap();
        let read = |bytes: &[u8]| read_devices(&mut Decoder::new(bytes), &mut ());
        assert_eq!(read(&minicbor::to_vec(None::<u8>).unwrap()).unwrap(), None);
        for count in [0, 2, MAX_DEVICES] {
            assert_eq!(read(&encoded(count)).unwrap(), Some(vec![device.clone(); count]));
        }
        assert!(read(&encoded(MAX_DEVICES + 1)).is_err());
    }
}
