//! A measurement report: SPDM 1.1 GET_MEASUREMENTS (10.11.1) and its answer (10.11.2), as a device
//! signs them.

use assay_tpm::{Curve, SignatureHash, TpmError, verify_ecdsa};
use assay_x509::{EcCurve, PublicKey};

use super::cursor::Cursor;
use super::error::DeviceError;
use super::facts::ReportFacts;
use super::opaque::{self, OpaqueField};

/// SPDMVersion.
const VERSION: u64 = 0x11;
/// RequestResponseCode of the request.
const GET_MEASUREMENTS: u64 = 0xe0;
/// RequestResponseCode of the answer.
const MEASUREMENTS: u64 = 0x60;
/// The request's Param1: with a signature.
const SIGNED: u64 = 1;
/// The request's Param2: all blocks.
const ALL_BLOCKS: u64 = 0xff;
/// MeasurementSpecification: DMTF.
const DMTF: u64 = 1;
/// The most blocks of a report; GPUs have as many, switches fewer.
const MAX_BLOCKS: u64 = 64;
/// Bytes of a digest: SHA-384.
const DIGEST_LEN: usize = 48;
/// Bytes of a measurement besides its value: value type and value size.
const VALUE_HEAD: u64 = 3;
/// Bit 7 of a value type: raw bytes instead of a digest.
const RAW: u8 = 0x80;
/// Bytes of one number of the signature.
const SCALAR_LEN: usize = 48;
/// The most bytes that may follow the signature.
const MAX_TRAILING: usize = 3;

/// One measurement block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// Its index, from 1.
    pub index: u8,
    /// DMTFSpecMeasurementValueType; bit 7 says that the value is raw bytes and no digest.
    pub value_type: u8,
    /// The value: the 48 bytes of a SHA-384 digest, or raw bytes of any number.
    pub value: Vec<u8>,
}

impl Measurement {
    /// The digest; `None` of raw bytes, however many they are.
    #[must_use]
    pub fn digest(&self) -> Option<&[u8; 48]> {
        if self.value_type & RAW == 0 { self.value.as_slice().try_into().ok() } else { None }
    }
}

/// Why a report's signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// The key is none on P-384, or its point isn't on the curve.
    #[error("the key is not one on P-384")]
    Key,
    /// r or s is 0 or not below the order of the curve.
    #[error("a number of the signature is out of range")]
    Range,
    /// Everything else is well, and the signature does not hold.
    #[error("the signature does not hold")]
    Invalid,
}

/// A report as it came: read, not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    bytes: Vec<u8>,
    request_nonce: [u8; 32],
    responder_nonce: [u8; 32],
    measurements: Vec<Measurement>,
    opaque: Vec<OpaqueField>,
    facts: ReportFacts,
    /// Where the signature begins.
    signed: usize,
    r: [u8; SCALAR_LEN],
    s: [u8; SCALAR_LEN],
    trailing: usize,
}

impl Report {
    /// The longest report that is read, as NVML's buffer has it.
    pub const MAX: usize = 8 << 10;

    /// Reads request, answer and signature. The signature lies where the lengths inside the answer
    /// say; at most three bytes may follow it, which nothing covers and nobody reads.
    ///
    /// # Errors
    /// [`DeviceError`] names the field and its offset.
    pub fn parse(bytes: &[u8]) -> Result<Self, DeviceError> {
        if bytes.len() > Self::MAX {
            return Err(DeviceError::Oversized { field: "report", len: bytes.len(), max: Self::MAX });
        }
        let mut cursor = Cursor::new(bytes);
        let request_nonce = request(&mut cursor)?;
        let measurements = measurements(&mut cursor)?;
        let responder_nonce = cursor.array("responder nonce")?;
        let opaque_len = usize::try_from(cursor.number::<2>("OpaqueLength")?).unwrap_or(usize::MAX);
        let opaque = opaque::read(cursor.sub(opaque_len, "OpaqueData")?)?;
        let signed = cursor.offset();
        let (r, s) = (cursor.array("signature")?, cursor.array("signature")?);
        let trailing = cursor.rest().len();
        if trailing > MAX_TRAILING {
            return Err(DeviceError::Trailing { field: "report", offset: cursor.offset() });
        }
        let facts = ReportFacts::of(&opaque);
        let bytes = bytes.to_vec();
        Ok(Self {
            bytes,
            request_nonce,
            responder_nonce,
            measurements,
            opaque,
            facts,
            signed,
            r,
            s,
            trailing,
        })
    }

    /// The bytes as they came, those after the signature included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the caller asked the device to sign.
    #[must_use]
    pub const fn request_nonce(&self) -> &[u8; 32] {
        &self.request_nonce
    }

    /// The device's own nonce.
    #[must_use]
    pub const fn responder_nonce(&self) -> &[u8; 32] {
        &self.responder_nonce
    }

    /// The blocks, in order of their index.
    #[must_use]
    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    /// The opaque fields in their order; no type stands there twice.
    #[must_use]
    pub fn opaque(&self) -> &[OpaqueField] {
        &self.opaque
    }

    /// r and s of the signature, 48 bytes each, big-endian.
    #[must_use]
    pub const fn signature(&self) -> (&[u8; 48], &[u8; 48]) {
        (&self.r, &self.s)
    }

    /// How many bytes follow the signature, at most three.
    #[must_use]
    pub const fn trailing(&self) -> usize {
        self.trailing
    }

    /// What the opaque fields say, for use.
    #[must_use]
    pub const fn facts(&self) -> &ReportFacts {
        &self.facts
    }

    /// Whether the holder of `key` signed request and answer: ECDSA on P-384 with SHA-384 (FIPS 186-5,
    /// 6.4.2).
    ///
    /// Of the two signatures (r, s) and (r, n - s) both hold, as the standard has it: devices produce
    /// either, and both say the same of the same bytes. Whoever needs to know a report again compares
    /// what is signed, not the signature.
    ///
    /// # Errors
    /// [`SignatureFault`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), SignatureFault> {
        let PublicKey::Ec { curve: EcCurve::P384, point } = key else { return Err(SignatureFault::Key) };
        let signed = self.bytes.get(..self.signed).unwrap_or_default();
        let result = verify_ecdsa(Curve::P384, point, SignatureHash::Sha384, signed, &self.r, &self.s);
        result.map_err(|error| match error {
            TpmError::SignatureInvalid => SignatureFault::Invalid,
            TpmError::SignatureRange => SignatureFault::Range,
            _ => SignatureFault::Key,
        })
    }
}

fn request(cursor: &mut Cursor<'_>) -> Result<[u8; 32], DeviceError> {
    cursor.constant::<1>("request SPDMVersion", VERSION)?;
    cursor.constant::<1>("request RequestResponseCode", GET_MEASUREMENTS)?;
    cursor.constant::<1>("request Param1", SIGNED)?;
    cursor.constant::<1>("request Param2", ALL_BLOCKS)?;
    let nonce = cursor.array("request nonce")?;
    cursor.constant::<1>("request SlotID", 0)?;
    Ok(nonce)
}

fn measurements(cursor: &mut Cursor<'_>) -> Result<Vec<Measurement>, DeviceError> {
    cursor.constant::<1>("response SPDMVersion", VERSION)?;
    cursor.constant::<1>("response RequestResponseCode", MEASUREMENTS)?;
    cursor.constant::<1>("response Param1", 0)?;
    cursor.constant::<1>("response Param2", 0)?;
    let offset = cursor.offset();
    let blocks = cursor.number::<1>("NumberOfBlocks")?;
    if !(1..=MAX_BLOCKS).contains(&blocks) {
        let detail = "not from 1 to 64";
        return Err(DeviceError::Value { field: "NumberOfBlocks", offset, detail });
    }
    let len = usize::try_from(cursor.number::<3>("MeasurementRecordLength")?).unwrap_or(usize::MAX);
    let mut record = cursor.sub(len, "MeasurementRecord")?;
    let measurements = (1..=blocks).map(|index| block(&mut record, index)).collect::<Result<_, _>>()?;
    match record.rest() {
        [] => Ok(measurements),
        _ => Err(DeviceError::Trailing { field: "MeasurementRecord", offset: record.offset() }),
    }
}

/// A digest has its one length; raw bytes have any that fits in the record.
fn block(record: &mut Cursor<'_>, index: u64) -> Result<Measurement, DeviceError> {
    record.constant::<1>("block Index", index)?;
    record.constant::<1>("block MeasurementSpecification", DMTF)?;
    let offset = record.offset();
    let seen = record.number::<2>("block MeasurementSize")?;
    let [value_type] = record.array("DMTFSpecMeasurementValueType")?;
    let len = match value_type & RAW {
        0 => {
            record.constant::<2>("DMTFSpecMeasurementValueSize", DIGEST_LEN as u64)?;
            DIGEST_LEN as u64
        }
        _ => record.number::<2>("DMTFSpecMeasurementValueSize")?,
    };
    let expected = VALUE_HEAD + len;
    if seen != expected {
        return Err(DeviceError::Constant { field: "block MeasurementSize", offset, seen, expected });
    }
    let value = record.take(usize::try_from(len).unwrap_or(usize::MAX), "DMTFSpecMeasurementValue")?;
    let index = u8::try_from(index).unwrap_or(u8::MAX);
    Ok(Measurement { index, value_type, value: value.to_vec() })
}
