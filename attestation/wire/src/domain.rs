//! Domain tags: one for everything that is signed or hashed.

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// What a hash is over. Two domains never give the same hash for the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Domain {
    /// Node id, over the EK's TPMT_PUBLIC.
    NodeId,
    /// Validator id, over its Ed25519 public key.
    ValidatorId,
    /// Session id, over the SessionStart body.
    SessionId,
    /// Any envelope as stored, over its bytes: the link of a chain, a reference from another record.
    Envelope,
    /// Enrolment transcript, over request and challenge.
    EnrolTranscript,
    /// `extraData` of the enrolment quote.
    EnrolQuote,
    /// HMAC input of the enrolment answer.
    EnrolProof,
    /// `extraData` of the session's quote.
    SessionQuote,
    /// `extraData` of the session's GetTime.
    SessionTime,
    /// `extraData` of the quote over PCR 10, over challenge and node.
    ImaQuote,
    /// `extraData` of an anchor's quote.
    AnchorQuote,
    /// `extraData` of an anchor's GetTime.
    AnchorTime,
    /// The draw that picks anchor slots, over beacon and node id.
    AnchorSlot,
    /// Boot logs as they travel.
    BootLogs,
    /// A node's configuration as it was read.
    Config,
    /// A job file in canonical form.
    JobFile,
    /// A directory tree that a job reads.
    JobTree,
    /// HPKE's `info` of a job's secret, over session, node, job and network.
    JobSecret,
    /// What a job was confined by.
    JobConfinement,
    /// One raw sample: a Merkle leaf.
    MerkleLeaf,
    /// Two hashes below: a Merkle node.
    MerkleNode,
    /// A policy in canonical form.
    Policy,
    /// What a verifier remembers, in canonical form.
    State,
    /// Nonce of a GPU's report, over challenge, session, boot and AK name.
    GpuNonce,
}

impl Domain {
    /// The tag as it enters the hash.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::NodeId => "assay/1/node-id",
            Self::ValidatorId => "assay/1/validator-id",
            Self::SessionId => "assay/1/session-id",
            Self::Envelope => "assay/1/envelope",
            Self::EnrolTranscript => "assay/1/enrol-transcript",
            Self::EnrolQuote => "assay/1/enrol-quote",
            Self::EnrolProof => "assay/1/enrol-proof",
            Self::SessionQuote => "assay/1/session-quote",
            Self::SessionTime => "assay/1/session-time",
            Self::ImaQuote => "assay/1/ima-quote",
            Self::AnchorQuote => "assay/1/anchor-quote",
            Self::AnchorTime => "assay/1/anchor-time",
            Self::AnchorSlot => "assay/1/anchor-slot",
            Self::BootLogs => "assay/1/boot-logs",
            Self::Config => "assay/1/config",
            Self::JobFile => "assay/1/job-file",
            Self::JobTree => "assay/1/tree",
            Self::JobSecret => "assay/1/job-secret",
            Self::JobConfinement => "assay/1/job-confinement",
            Self::MerkleLeaf => "assay/1/merkle-leaf",
            Self::MerkleNode => "assay/1/merkle-node",
            Self::Policy => "assay/1/policy",
            Self::State => "assay/1/state",
            Self::GpuNonce => "assay/1/gpu-nonce",
        }
    }
}

/// SHA-256 over the tag, a zero byte and the parts, one after the other.
///
/// A caller that hashes more than one part gives all but the last a fixed length,
/// so that no two lists of parts make the same input.
pub fn hash(domain: Domain, parts: &[&[u8]]) -> Digest {
    let mut sha = Sha256::new();
    sha.update(domain.tag().as_bytes());
    sha.update([0]);
    for part in parts {
        sha.update(part);
    }
    Digest(sha.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_separate() {
        assert_ne!(hash(Domain::NodeId, &[b"x"]), hash(Domain::SessionId, &[b"x"]));
        assert_eq!(hash(Domain::NodeId, &[b"ab"]), hash(Domain::NodeId, &[b"a", b"b"]));
        let tagged = [Domain::NodeId.tag().as_bytes(), &[0], b"x"].concat();
        assert_eq!(hash(Domain::NodeId, &[b"x"]).0[..], Sha256::digest(tagged)[..]);
    }
}
