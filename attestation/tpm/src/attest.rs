//! `TPMS_ATTEST` (Part 2, 10.12): what a TPM signed, as a quote or as a time.
//!
//! Only the two types that evidence uses are read; any other is a typed error, and asking for a
//! quote where a time was signed (or the reverse) is another.

use crate::error::TpmError;
use crate::pcr::PcrSelection;
use crate::wire::{Reader, Writer};

/// `TPM_GENERATED_VALUE`: a restricted key never signs caller data that starts with it, so its
/// presence under such a key shows that the TPM made the structure (Part 2, 6.2).
const MAGIC: u32 = 0xFF54_4347;
/// `TPM_ST_ATTEST_QUOTE`.
const ST_QUOTE: u16 = 0x8018;
/// `TPM_ST_ATTEST_TIME`.
const ST_TIME: u16 = 0x8019;
/// Largest `TPM2B_NAME` and `TPM2B_DATA`: an algorithm and a SHA-512 digest.
const MAX_NAME: usize = 66;
/// Largest `TPM2B_DIGEST`: SHA-512.
const MAX_DIGEST: usize = 64;

/// `TPMS_CLOCK_INFO`. In clear only when the signing key is in the endorsement hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM was powered, as the owner lets it say: the owner can advance it.
    pub clock: u64,
    /// TPM resets since the last clear.
    pub reset_count: u32,
    /// TPM restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether `clock` has surely never shown a higher value; false after an unclean power loss.
    pub safe: bool,
}

/// `TPMS_QUOTE_INFO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteInfo {
    /// The PCRs that were quoted, in the order in which they were hashed.
    pub selection: Vec<PcrSelection>,
    /// Digest over their values by the signing scheme's hash; see [`crate::pcr_digest`].
    pub pcr_digest: Vec<u8>,
}

impl QuoteInfo {
    /// Whether the quote covers no PCR at all: well signed, and saying nothing.
    #[must_use]
    pub fn covers_nothing(&self) -> bool {
        self.selection.iter().all(|entry| entry.pcrs.is_empty())
    }
}

/// `TPMS_TIME_ATTEST_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeInfo {
    /// Milliseconds since the TPM was powered on; nobody can set it.
    pub time: u64,
    /// The clock at the same moment.
    pub clock_info: ClockInfo,
    /// The TPM maker's firmware version.
    pub firmware_version: u64,
}

/// The part of a [`Attest`] that depends on its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttestBody {
    /// `TPM_ST_ATTEST_QUOTE`, by `TPM2_Quote`.
    Quote(QuoteInfo),
    /// `TPM_ST_ATTEST_TIME`, by `TPM2_GetTime`.
    Time(TimeInfo),
}

/// `TPMS_ATTEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    /// Qualified name of the signing key; see [`crate::qualified_name`].
    pub qualified_signer: Vec<u8>,
    /// What the caller asked to be bound into the attestation.
    pub extra_data: Vec<u8>,
    /// Clock, resets and restarts.
    pub clock_info: ClockInfo,
    /// The TPM maker's firmware version.
    pub firmware_version: u64,
    /// The attested facts.
    pub body: AttestBody,
}

impl Attest {
    /// Reads a whole `TPMS_ATTEST` (without the `TPM2B_ATTEST` size).
    ///
    /// # Errors
    /// [`TpmError::BadValue`] for a wrong magic number or a `safe` that is no boolean,
    /// [`TpmError::Unsupported`] for another attestation type or PCR bank,
    /// [`TpmError::DuplicateBank`], and length errors including [`TpmError::TrailingBytes`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new(bytes);
        let kind = read_header(&mut reader)?;
        let attest = Self {
            qualified_signer: reader.sized("qualifiedSigner", MAX_NAME)?.to_vec(),
            extra_data: reader.sized("extraData", MAX_NAME)?.to_vec(),
            clock_info: ClockInfo::read(&mut reader)?,
            firmware_version: reader.u64("firmwareVersion")?,
            body: AttestBody::read(kind, &mut reader)?,
        };
        reader.finish().map(|()| attest)
    }

    /// The structure as a TPM would marshal it: what software that plays a TPM in tests signs.
    ///
    /// # Errors
    /// [`TpmError::TooLarge`] when a buffer or the bank list does not fit its size field.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TpmError> {
        let mut writer = Writer::default();
        writer.u32(MAGIC);
        writer.u16(self.body.kind());
        writer.sized("qualifiedSigner", &self.qualified_signer)?;
        writer.sized("extraData", &self.extra_data)?;
        self.clock_info.write(&mut writer);
        writer.u64(self.firmware_version);
        self.body.write(&mut writer)?;
        Ok(writer.into_bytes())
    }

    /// The quote, where one is due.
    ///
    /// # Errors
    /// [`TpmError::AttestType`] when the TPM attested a time.
    pub const fn quote(&self) -> Result<&QuoteInfo, TpmError> {
        match &self.body {
            AttestBody::Quote(info) => Ok(info),
            other @ AttestBody::Time(_) => {
                Err(TpmError::AttestType { expected: ST_QUOTE, found: other.kind() })
            }
        }
    }

    /// The time, where one is due.
    ///
    /// # Errors
    /// [`TpmError::AttestType`] when the TPM attested PCRs.
    pub const fn time(&self) -> Result<&TimeInfo, TpmError> {
        match &self.body {
            AttestBody::Time(info) => Ok(info),
            other @ AttestBody::Quote(_) => {
                Err(TpmError::AttestType { expected: ST_TIME, found: other.kind() })
            }
        }
    }
}

/// Magic and type; the type is checked here so that its error carries its own offset.
fn read_header(reader: &mut Reader<'_>) -> Result<u16, TpmError> {
    let magic = reader.u32("magic")?;
    if magic != MAGIC {
        return Err(TpmError::BadValue { field: "magic", offset: 0, value: magic.into() });
    }
    let offset = reader.offset();
    let kind = reader.u16("type")?;
    match kind {
        ST_QUOTE | ST_TIME => Ok(kind),
        _ => Err(TpmError::Unsupported { field: "type", offset, value: kind.into() }),
    }
}

impl AttestBody {
    const fn kind(&self) -> u16 {
        match self {
            Self::Quote(_) => ST_QUOTE,
            Self::Time(_) => ST_TIME,
        }
    }

    fn read(kind: u16, reader: &mut Reader<'_>) -> Result<Self, TpmError> {
        if kind == ST_TIME {
            return Ok(Self::Time(TimeInfo {
                time: reader.u64("time.time")?,
                clock_info: ClockInfo::read(reader)?,
                firmware_version: reader.u64("time.firmwareVersion")?,
            }));
        }
        Ok(Self::Quote(QuoteInfo {
            selection: PcrSelection::read_list(reader)?,
            pcr_digest: reader.sized("pcrDigest", MAX_DIGEST)?.to_vec(),
        }))
    }

    fn write(&self, writer: &mut Writer) -> Result<(), TpmError> {
        match self {
            Self::Quote(info) => {
                PcrSelection::write_list(&info.selection, writer)?;
                writer.sized("pcrDigest", &info.pcr_digest)
            }
            Self::Time(info) => {
                writer.u64(info.time);
                info.clock_info.write(writer);
                writer.u64(info.firmware_version);
                Ok(())
            }
        }
    }
}

impl ClockInfo {
    fn read(reader: &mut Reader<'_>) -> Result<Self, TpmError> {
        Ok(Self {
            clock: reader.u64("clockInfo.clock")?,
            reset_count: reader.u32("clockInfo.resetCount")?,
            restart_count: reader.u32("clockInfo.restartCount")?,
            safe: read_yes_no(reader, "clockInfo.safe")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.clock);
        writer.u32(self.reset_count);
        writer.u32(self.restart_count);
        writer.u8(self.safe.into());
    }
}

/// `TPMI_YES_NO` (Part 2, 9.2).
fn read_yes_no(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, TpmError> {
    let offset = reader.offset();
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(TpmError::BadValue { field, offset, value: value.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HashAlg;
    use crate::testing::{quote, time};

    #[test]
    fn both_types_survive_the_round_trip() {
        for attest in [quote(), time()] {
            assert_eq!(Attest::parse(&attest.to_bytes().unwrap()), Ok(attest));
        }
    }

    #[test]
    fn each_type_is_refused_where_the_other_is_due() {
        let due_quote = TpmError::AttestType { expected: 0x8018, found: 0x8019 };
        assert_eq!(time().quote(), Err(due_quote));
        let due_time = TpmError::AttestType { expected: 0x8019, found: 0x8018 };
        assert_eq!(quote().time(), Err(due_time));
        assert!(quote().quote().is_ok() && time().time().is_ok());
    }

    #[test]
    fn magic_and_type_are_checked() {
        let mut bytes = quote().to_bytes().unwrap();
        bytes[3] ^= 1;
        let magic = TpmError::BadValue { field: "magic", offset: 0, value: 0xFF54_4346 };
        assert_eq!(Attest::parse(&bytes), Err(magic));
        let mut bytes = quote().to_bytes().unwrap();
        // TPM_ST_ATTEST_CERTIFY
        bytes[5] = 0x17;
        let kind = TpmError::Unsupported { field: "type", offset: 4, value: 0x8017 };
        assert_eq!(Attest::parse(&bytes), Err(kind));
    }

    #[test]
    fn safe_is_a_boolean() {
        let attest = quote();
        let offset = 6 + 2 + attest.qualified_signer.len() + 2 + attest.extra_data.len() + 16;
        let mut bytes = attest.to_bytes().unwrap();
        bytes[offset] = 2;
        let bad = TpmError::BadValue { field: "clockInfo.safe", offset, value: 2 };
        assert_eq!(Attest::parse(&bytes), Err(bad));
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        for attest in [quote(), time()] {
            let mut bytes = attest.to_bytes().unwrap();
            for len in 0..bytes.len() {
                let error = Attest::parse(&bytes[..len]).unwrap_err();
                assert!(matches!(error, TpmError::Truncated { offset, .. } if offset <= len));
            }
            let offset = bytes.len();
            bytes.push(0);
            assert_eq!(Attest::parse(&bytes), Err(TpmError::TrailingBytes { offset }));
        }
    }

    #[test]
    fn buffers_are_bounded() {
        let name = Attest { qualified_signer: vec![0; 67], ..quote() };
        let error = Attest::parse(&name.to_bytes().unwrap()).unwrap_err();
        assert_eq!(error, TpmError::TooLarge { field: "qualifiedSigner", offset: 6, size: 67, max: 66 });
        let nonce = Attest { extra_data: vec![0; 67], ..quote() };
        let error = Attest::parse(&nonce.to_bytes().unwrap()).unwrap_err();
        assert!(matches!(error, TpmError::TooLarge { field: "extraData", size: 67, .. }));
        let body = AttestBody::Quote(QuoteInfo { selection: vec![], pcr_digest: vec![0; 65] });
        let error = Attest::parse(&Attest { body, ..quote() }.to_bytes().unwrap()).unwrap_err();
        assert!(matches!(error, TpmError::TooLarge { field: "pcrDigest", size: 65, .. }));
    }

    #[test]
    fn an_empty_selection_covers_nothing() {
        assert!(!quote().quote().unwrap().covers_nothing());
        let none = PcrSelection { alg: HashAlg::Sha1, pcrs: crate::PcrSet::default() };
        for selection in [vec![], vec![none]] {
            assert!(QuoteInfo { selection, pcr_digest: vec![] }.covers_nothing());
        }
    }

    #[test]
    fn too_many_banks_are_not_written() {
        let entry = quote().quote().unwrap().selection[0];
        let written = |banks| {
            let body = AttestBody::Quote(QuoteInfo { selection: vec![entry; banks], pcr_digest: vec![] });
            Attest { body, ..quote() }.to_bytes()
        };
        let error = written(17).unwrap_err();
        assert!(matches!(error, TpmError::TooLarge { field: "pcrSelect.count", size: 17, .. }));
        assert!(written(16).is_ok(), "as many as a TPM can have");
    }
}
