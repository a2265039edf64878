//! Sizes that no message may exceed, in bytes unless said otherwise.

/// Any envelope: an exported claim with its evidence fits.
pub const ENVELOPE: usize = 4 << 20;
/// One beat, with sixteen GPUs and sixteen jobs.
pub const BEAT: usize = 4 << 10;
/// One boot log (firmware or userspace).
pub const BOOT_LOG: usize = 1 << 20;
/// All logs of one session together, that of IMA among them: an envelope holds them and the rest.
pub const IMA_LOG: usize = 3 << 20;
/// One TPM structure or signature as it travels.
pub const TPM_STRUCTURE: usize = 4 << 10;
/// One certificate as read from the TPM's NV memory.
pub const CERTIFICATE: usize = 8 << 10;
/// Certificates of one kind that a node may send: the chain of an authority on the die fits.
pub const CERTIFICATES: usize = 8;
/// All certificates that a node sends together.
pub const CERTIFICATES_TOTAL: usize = 40 << 10;
/// An enrolment request: those, public areas and an owner's transfer.
pub const ENROL_REQUEST: usize = 48 << 10;
/// Nesting of arrays and maps.
pub const DEPTH: usize = 12;
/// Items in one message, keys and values counted: a decoded item may take many times its encoding.
pub const ITEMS: usize = ENVELOPE / BYTES_PER_ITEM;
/// Bytes of a limit that bring one item with them, where the limit is above an envelope's.
pub const BYTES_PER_ITEM: usize = 16;
