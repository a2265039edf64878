//! What can be wrong with the bytes of a log.

use crate::corim::CorimFault;

/// Why bytes are no acceptable event log; offsets count from the start of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// There is no byte to parse.
    #[error("the log is empty")]
    Empty,
    /// More than [`crate::MAX_LOG_BYTES`].
    #[error("the log has {bytes} bytes, more than {}", crate::MAX_LOG_BYTES)]
    LogTooLong {
        /// Bytes presented.
        bytes: usize,
    },
    /// A field ends after the log does.
    #[error("{field} at offset {offset} is cut off")]
    ReadField {
        /// The field that could not be read, in the specification's words.
        field: &'static str,
        /// Where the field begins.
        offset: usize,
    },
    /// A field has a value that the specification does not allow.
    #[error("{field} at offset {offset} has a value that is not allowed")]
    CheckField {
        /// The offending field, in the specification's words.
        field: &'static str,
        /// Where the field or its structure begins.
        offset: usize,
    },
    /// A PCR index of [`crate::PCR_COUNT`] or more.
    #[error("event at offset {offset} names PCR {pcr}, which does not exist")]
    PcrIndex {
        /// The index as logged.
        pcr: u32,
        /// Where the event begins.
        offset: usize,
    },
    /// Event data longer than [`crate::MAX_EVENT_BYTES`].
    #[error("event data of {bytes} bytes at offset {offset} exceeds {}", crate::MAX_EVENT_BYTES)]
    EventTooLong {
        /// Length as logged.
        bytes: usize,
        /// Where the length stands.
        offset: usize,
    },
    /// More than [`crate::MAX_EVENTS`] events.
    #[error("more than {} events; the next begins at offset {offset}", crate::MAX_EVENTS)]
    TooManyEvents {
        /// Where the first event too many begins.
        offset: usize,
    },
    /// An event's digests are none, or more than the banks of the Spec ID event.
    #[error("event at offset {offset} has {count} digests")]
    DigestCount {
        /// Number of digests as logged.
        count: u32,
        /// Where the count stands.
        offset: usize,
    },
    /// A digest of a bank that the Spec ID event does not declare, or the second one of a bank.
    #[error("digest at offset {offset} is of algorithm {id:#06x}, undeclared or repeated")]
    DigestAlgorithm {
        /// TPM_ALG_ID as logged.
        id: u16,
        /// Where the digest begins.
        offset: usize,
    },
    /// Every bank lacks the digest of some extended event, so that nothing can be replayed.
    #[error("no declared bank has a digest in every event")]
    NoCompleteBank,
    /// A StartupLocality event that is not exactly the structure, not in PCR 0, repeated, or late.
    #[error("StartupLocality event at offset {offset}: {reason}")]
    StartupLocality {
        /// What is wrong with it.
        reason: &'static str,
        /// Where the event begins.
        offset: usize,
    },
    /// An H-CRTM event outside PCR 0, or after PCR 0 was extended: the TPM can't have done that.
    #[error("H-CRTM event at offset {offset} does not open PCR 0")]
    Hcrtm {
        /// Where the event begins.
        offset: usize,
    },
    /// A record for PCR 0xFFFFFFFF that is not the log's last, or whose type is not EV_NO_ACTION.
    #[error("record for PCR 0xFFFFFFFF at offset {offset} is not a final EV_NO_ACTION record")]
    TailRecord {
        /// Where the record begins.
        offset: usize,
    },
    /// A userspace log does not open with a record separator, or one of its records does not end with
    /// a line feed (RFC 7464, section 2.1).
    #[error("userspace record at offset {offset} is not framed as RFC 7464 says")]
    FrameRecord {
        /// Where the record begins.
        offset: usize,
    },
    /// A userspace record longer than [`crate::MAX_EVENT_BYTES`].
    #[error("userspace record of {bytes} bytes at offset {offset} exceeds {}", crate::MAX_EVENT_BYTES)]
    RecordTooLong {
        /// Length of the record.
        bytes: usize,
        /// Where the record begins.
        offset: usize,
    },
    /// A userspace record that is no JSON object, nests too deep, or has a member twice.
    #[error("userspace record at offset {offset}: {reason}")]
    ParseJson {
        /// What the JSON parser says.
        reason: String,
        /// Where the record begins.
        offset: usize,
    },
    /// A member of a userspace record is missing, unknown, or of the wrong type or value.
    #[error("{member} of the userspace record at offset {offset} is missing or not allowed")]
    CheckMember {
        /// The member, as the TCG Canonical Event Log format or systemd names it.
        member: &'static str,
        /// Where the record begins.
        offset: usize,
    },
    /// An IMA log longer than [`crate::MAX_IMA_LOG_BYTES`].
    #[error("the IMA log has {bytes} bytes, more than {}", crate::MAX_IMA_LOG_BYTES)]
    ImaLogTooLong {
        /// Bytes presented.
        bytes: usize,
    },
    /// More than [`crate::MAX_IMA_ENTRIES`] entries of an IMA log.
    #[error("more than {} IMA entries; the next begins at offset {offset}", crate::MAX_IMA_ENTRIES)]
    TooManyEntries {
        /// Where the first entry too many begins.
        offset: usize,
    },
    /// Template data of an IMA entry longer than [`crate::MAX_IMA_DATA_BYTES`].
    #[error("IMA template data of {bytes} bytes at offset {offset} exceeds {}", crate::MAX_IMA_DATA_BYTES)]
    ImaDataTooLong {
        /// Length as logged.
        bytes: usize,
        /// Where the length stands.
        offset: usize,
    },
    /// A line of an ASCII IMA log has a template whose fields are not known, so that its template
    /// data can't be rebuilt from the text. The binary log has it.
    #[error("IMA entry at offset {offset} has a template that only the binary log can show")]
    ImaTemplate {
        /// Where the line begins.
        offset: usize,
    },
    /// A CoRIM that is not one, or does not keep to its profile.
    #[error("CoRIM: {fault} at offset {offset}")]
    Corim {
        /// What is wrong.
        fault: CorimFault,
        /// Where; 0 for what is missing from the whole.
        offset: usize,
    },
}
