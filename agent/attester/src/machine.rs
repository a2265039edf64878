//! Certificates of the machine that its maker left in NV storage: platform certificates, IDevID and IAK.
//!
//! They say more about a node and decide nothing about its identity, so what cannot be read or
//! is no certificate is passed over, with a reason for the owner.

use std::ops::RangeInclusive;

use tss_esapi::Context;

use crate::{error::TpmError, nv};

/// For the platform's maker (TCG Registry of Reserved TPM 2.0 Handles and Localities 1.1, 2.2.2).
const PLATFORM: RangeInclusive<u32> = 0x01C0_8000..=0x01C0_FFFF;
/// IDevID and IAK, at the start of the range of the TCG's infrastructure work group (the same; TCG
/// TPM 2.0 Provisioning Guidance 1.0, table 2).
const DEVICE: RangeInclusive<u32> = 0x01C9_0000..=0x01C9_00FF;
/// Inside it: policies of the keys, no certificates (TPM 2.0 Keys for Device Identity and
/// Attestation 1.0, 7.3.2).
const DEVICE_POLICIES: RangeInclusive<u32> = 0x01C9_0010..=0x01C9_001F;

/// Most certificates of a kind that are taken; validators take as many.
pub const MOST_CERTIFICATES: usize = 8;
/// Longest certificate that is taken, in bytes.
pub const LONGEST_CERTIFICATE: usize = 8 << 10;

/// A certificate index of the machine that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedIndex {
    /// The NV index.
    pub index: u32,
    /// Why, in words.
    pub reason: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MachineCertificates {
    pub(crate) platform: Vec<Vec<u8>>,
    pub(crate) device: Vec<Vec<u8>>,
    pub(crate) skipped: Vec<SkippedIndex>,
}

/// Reads them all.
///
/// # Errors
///
/// [`TpmError::ListNv`], or a state of the TPM.
pub(crate) fn discover(context: &mut Context) -> Result<MachineCertificates, TpmError> {
    let mut found = MachineCertificates::default();
    found.platform = certificates(context, &PLATFORM, &mut found.skipped)?;
    found.device = certificates(context, &DEVICE, &mut found.skipped)?;
    Ok(found)
}

fn certificates(
    context: &mut Context,
    range: &RangeInclusive<u32>,
    skipped: &mut Vec<SkippedIndex>,
) -> Result<Vec<Vec<u8>>, TpmError> {
    let mut taken = Vec::new();
    for index in nv::indices(context, range)? {
        if DEVICE_POLICIES.contains(&index) {
            continue;
        }
        let contents = match nv::read(context, index) {
            Ok(contents) => judged(contents, taken.len()),
            Err(error @ TpmError::ReadEkCertificate { .. }) => Err(words(&error)),
            Err(state) => return Err(state),
        };
        match contents {
            Ok(certificate) => taken.push(certificate),
            Err(reason) => skipped.push(SkippedIndex { index, reason }),
        }
    }
    Ok(taken)
}

/// The contents, if they can be a certificate and there is room for one more.
fn judged(contents: Option<Vec<u8>>, taken: usize) -> Result<Vec<u8>, String> {
    let contents = contents.ok_or("it was never written")?;
    match contents.as_slice() {
        _ if taken >= MOST_CERTIFICATES => {
            Err(format!("there are more than {MOST_CERTIFICATES} of its kind"))
        }
        bytes if bytes.len() > LONGEST_CERTIFICATE => {
            Err(format!("it has more than {LONGEST_CERTIFICATE} bytes"))
        }
        // X.690, 8.9: a constructed SEQUENCE, long form; no certificate fits a short one.
        [0x30, 0x81..=0x83, ..] => Ok(contents),
        _ => Err("it holds no DER certificate".to_owned()),
    }
}

fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", words(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_as_a_certificate_is_taken() {
        let certificate = vec![0x30, 0x82, 1, 0, 2];
        assert_eq!(judged(Some(certificate.clone()), 0), Ok(certificate.clone()));
        assert!(judged(Some(certificate.clone()), MOST_CERTIFICATES - 1).is_ok());
        assert!(judged(Some(certificate), MOST_CERTIFICATES).unwrap_err().contains("more than 8"));
        let long = [vec![0x30, 0x82], vec![0; LONGEST_CERTIFICATE - 1]].concat();
        assert!(judged(Some(long), 0).unwrap_err().contains("bytes"));
        for odd in [&[][..], &[0x30], &[0x30, 0x05, 1, 1, 1, 1, 1], &[0xff; 40], &[0; 34]] {
            assert!(judged(Some(odd.to_vec()), 0).unwrap_err().contains("no DER"), "{odd:?}");
        }
        assert!(judged(None, 0).unwrap_err().contains("never written"));
    }
}
