//! The first record of a log: which format follows, and which banks (PFP 1.06, section 10.4.5.1,
//! `TCG_EfiSpecIdEvent`).

use crate::cursor::Cursor;
use crate::kind::EV_NO_ACTION;
use crate::{BootError, HashAlg, MAX_BANKS};

const SIGNATURE_LEN: usize = 16;
const PREFIX: &[u8] = b"Spec ID Event";
const CRYPTO_AGILE: &[u8; SIGNATURE_LEN] = b"Spec ID Event03\0";
/// TCG PC Client Implementation (BIOS) 1.21 and EFI Platform 1.22: both describe SHA-1 logs.
const LEGACY: [&[u8; SIGNATURE_LEN]; 2] = [b"Spec ID Event00\0", b"Spec ID Event02\0"];

/// A bank as declared: digests of a bank this crate does not compute have a length too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bank {
    pub(crate) alg: HashAlg,
    pub(crate) digest_len: usize,
}

/// What the first record says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Crypto-agile records follow, and before them `outside` bytes of vendor information that the
    /// event's size left out.
    CryptoAgile { banks: Vec<Bank>, outside: usize },
    /// SHA-1 records follow; the first record told so.
    Legacy,
    /// The first record is an event like any other of a SHA-1 log.
    None,
}

/// The first record's fields as read.
pub(crate) struct First<'a> {
    pub(crate) pcr: u32,
    pub(crate) kind: u32,
    pub(crate) digest: &'a [u8],
    pub(crate) data: &'a [u8],
    /// Offset of `data` in the log.
    pub(crate) data_offset: usize,
}

/// Reads the opening from the log's first record, which has the SHA-1 format in both formats.
pub(crate) fn opening(first: &First<'_>) -> Result<Opening, BootError> {
    if first.kind != EV_NO_ACTION || !first.data.starts_with(PREFIX) {
        return Ok(Opening::None);
    }
    check(first.pcr == 0, "Spec ID event PCRIndex", 0)?;
    check(first.digest.iter().all(|byte| *byte == 0), "Spec ID event digest", 8)?;
    let mut cursor = Cursor::new(first.data, first.data_offset);
    let signature = cursor.take(SIGNATURE_LEN, "signature")?;
    if signature == CRYPTO_AGILE {
        return crypto_agile(cursor);
    }
    let known = LEGACY.iter().any(|legacy| *legacy == signature);
    check(known, "signature", first.data_offset)?;
    Ok(Opening::Legacy)
}

fn crypto_agile(mut cursor: Cursor<'_>) -> Result<Opening, BootError> {
    cursor.u32("platformClass")?;
    cursor.u8("specVersionMinor")?;
    let offset = cursor.offset();
    check(cursor.u8("specVersionMajor")? == 2, "specVersionMajor", offset)?;
    cursor.u8("specErrata")?;
    cursor.u8("uintnSize")?;
    let banks = banks(&mut cursor)?;
    let outside = vendor_info(&mut cursor)?;
    Ok(Opening::CryptoAgile { banks, outside })
}

fn banks(cursor: &mut Cursor<'_>) -> Result<Vec<Bank>, BootError> {
    let offset = cursor.offset();
    let count = usize::try_from(cursor.u32("numberOfAlgorithms")?).unwrap_or(usize::MAX);
    check((1..=MAX_BANKS).contains(&count), "numberOfAlgorithms", offset)?;
    let mut banks: Vec<Bank> = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = cursor.offset();
        let bank = bank(cursor)?;
        let fresh = banks.iter().all(|other| other.alg != bank.alg);
        check(fresh, "algorithmId", offset)?;
        banks.push(bank);
    }
    Ok(banks)
}

fn bank(cursor: &mut Cursor<'_>) -> Result<Bank, BootError> {
    let alg = HashAlg::from_id(cursor.u16("algorithmId")?);
    let offset = cursor.offset();
    let digest_len = usize::from(cursor.u16("digestSize")?);
    let plausible = match alg.digest_len() {
        Some(len) => len == digest_len,
        None => (1..=64).contains(&digest_len),
    };
    check(plausible, "digestSize", offset)?;
    Ok(Bank { alg, digest_len })
}

/// Reads the vendor information to the end of the event; answers how much of it lies behind the
/// event, which is all of it or nothing.
fn vendor_info(cursor: &mut Cursor<'_>) -> Result<usize, BootError> {
    let len = usize::from(cursor.u8("vendorInfoSize")?);
    if cursor.remaining() == 0 {
        return Ok(len);
    }
    cursor.take(len, "vendorInfo")?;
    check(cursor.remaining() == 0, "Spec ID event eventSize", cursor.offset())?;
    Ok(0)
}

fn check(holds: bool, field: &'static str, offset: usize) -> Result<(), BootError> {
    if holds { Ok(()) } else { Err(BootError::CheckField { field, offset }) }
}
