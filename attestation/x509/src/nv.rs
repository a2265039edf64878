//! From what lies in a TPM's NV memory, or in a file, to the certificate's own bytes.

use base64ct::{Base64, Encoding as _};

use crate::der::{SEQUENCE, header};
use crate::error::X509Error;
use crate::quirk::{Quirk, Quirks};

/// The longest certificate with its padding; the longest NV index that PC Client TPMs have is 2 KiB.
pub const MAX_NV: usize = 8 << 10;

/// The DER at the start of `nv`.
///
/// Padding after it and the header before it are quirks; what the header says must fit.
pub(crate) fn trim<'a>(nv: &'a [u8], quirks: &mut Quirks) -> Result<&'a [u8], X509Error> {
    const FIELD: &str = "NV certificate";
    if nv.len() > MAX_NV {
        return Err(X509Error::Oversized { field: FIELD, len: nv.len(), max: MAX_NV });
    }
    let (nv, skipped) = match nv {
        // TCG_TAG_PCCLIENT_STORED_CERT, TCG_PCCLIENT_FULL_CERT, size of tag and certificate,
        // TCG_TAG_PCCLIENT_FULL_CERT.
        [0x10, 0x01, 0x00, a, b, 0x10, 0x02, rest @ ..] => {
            let size = usize::from(u16::from_be_bytes([*a, *b]));
            let size = size.checked_sub(2).filter(|size| *size <= rest.len());
            let size = size.ok_or(X509Error::Truncated { field: "TCG_PCCLIENT_STORED_CERT", offset: 3 })?;
            quirks.insert(Quirk::NvHeader);
            let (stored, after) = rest.split_at_checked(size).unwrap_or((rest, &[]));
            padding(after, 7 + size, quirks)?;
            (stored, 7)
        }
        plain => (plain, 0),
    };
    let (tag, head, len) = header(nv, FIELD, skipped)?;
    if tag != SEQUENCE {
        return Err(X509Error::Tag { field: FIELD, offset: skipped, expected: SEQUENCE, seen: tag });
    }
    let truncated = X509Error::Truncated { field: FIELD, offset: skipped };
    let (der, after) = nv.split_at_checked(head + len).ok_or(truncated)?;
    padding(after, skipped + der.len(), quirks)?;
    Ok(der)
}

/// One value throughout, as erased or zeroed memory has it.
fn padding(after: &[u8], offset: usize, quirks: &mut Quirks) -> Result<(), X509Error> {
    let Some(fill) = after.first() else { return Ok(()) };
    let other = after.iter().position(|byte| byte != fill);
    match (fill, other) {
        (0 | 0xff, None) => {
            quirks.insert(Quirk::NvPadding);
            Ok(())
        }
        (0 | 0xff, Some(at)) => Err(X509Error::Trailing { field: "NV padding", offset: offset + at }),
        _ => Err(X509Error::Trailing { field: "NV certificate", offset }),
    }
}

/// The DER in a PEM file with one certificate (RFC 7468, section 5). Text around it is ignored.
///
/// # Errors
/// [`X509Error::Pem`], [`X509Error::Oversized`] for a file that holds more than one certificate could.
pub fn pem_to_der(text: &str) -> Result<Vec<u8>, X509Error> {
    const MAX: usize = 4 * MAX_NV;
    let pem = |detail| X509Error::Pem { detail };
    if text.len() > MAX {
        return Err(X509Error::Oversized { field: "PEM", len: text.len(), max: MAX });
    }
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").ok_or_else(|| pem("no certificate"))?;
    let (body, after) = rest.split_once("-----END CERTIFICATE-----").ok_or_else(|| pem("no end line"))?;
    if after.contains("-----BEGIN") {
        return Err(pem("more than one object"));
    }
    base64(body).ok_or_else(|| pem("not base64"))
}

/// Base64 with line breaks.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let dense: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Base64::decode_vec(&dense).ok()
}

/// A certificate as PEM with lines of 64 characters.
#[must_use]
pub fn der_to_pem(der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(nv: &[u8]) -> Result<(Vec<u8>, Vec<Quirk>), X509Error> {
        let mut quirks = Quirks::new();
        trim(nv, &mut quirks).map(|der| (der.to_vec(), quirks.into_iter().collect()))
    }

    #[test]
    fn padding_and_header_come_off() {
        let der = vec![0x30, 1, 9];
        assert_eq!(trimmed(&der), Ok((der.clone(), vec![])));
        for fill in [0, 0xff] {
            assert_eq!(trimmed(&[0x30, 1, 9, fill, fill]), Ok((der.clone(), vec![Quirk::NvPadding])));
        }
        let headed = [0x10, 1, 0, 0, 5, 0x10, 2, 0x30, 1, 9];
        assert_eq!(trimmed(&headed), Ok((der.clone(), vec![Quirk::NvHeader])));
        let both = [&headed[..], &[0xff; 9]].concat();
        assert_eq!(trimmed(&both), Ok((der, vec![Quirk::NvPadding, Quirk::NvHeader])));
    }

    #[test]
    fn nothing_else_may_follow_or_precede() {
        for bad in [
            &[][..],
            &[0x30],
            &[0x31, 0],
            &[0x30, 5, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 1, 9, 7],
            &[0x30, 1, 9, 0xff, 0],
            &[0x30, 1, 9, 0, 0xff],
            &[0x10, 1, 0, 0, 1, 0x10, 2, 0x30, 1, 9],
            &[0x10, 1, 0, 0, 6, 0x10, 2, 0x30, 1, 9],
            &[0x10, 1, 0, 0, 4, 0x10, 2, 0x30, 1, 9],
            &[0x10, 1, 1, 0, 5, 0x10, 2, 0x30, 1, 9],
        ] {
            assert!(trimmed(bad).is_err(), "{bad:x?}");
        }
        assert!(matches!(trimmed(&vec![0x30; MAX_NV + 1]), Err(X509Error::Oversized { .. })));
    }

    #[test]
    fn what_follows_is_told_by_its_offset() {
        let trailing = |nv: &[u8], field: &'static str, offset| {
            assert_eq!(trimmed(nv), Err(X509Error::Trailing { field, offset }), "{nv:x?}");
        };
        let (plain, headed) = ([0x30, 1, 9], [0x10, 1, 0, 0, 5, 0x10, 2, 0x30, 1, 9]);
        for nv in [&plain[..], &headed] {
            trailing(&[nv, &[0xff, 0xff, 0]].concat(), "NV padding", nv.len() + 2);
            trailing(&[nv, &[0, 0xff]].concat(), "NV padding", nv.len() + 1);
            trailing(&[nv, &[7]].concat(), "NV certificate", nv.len());
        }
        // Padding inside of what the header counts.
        let inside = [0x10, 1, 0, 0, 7, 0x10, 2, 0x30, 1, 9, 0xff, 0];
        trailing(&inside, "NV padding", 11);
    }

    #[test]
    fn pem_is_one_certificate() {
        let der = vec![7; 100];
        let pem = der_to_pem(&der);
        assert_eq!(pem_to_der(&format!("about it\n{pem}\n")), Ok(der));
        assert!(pem_to_der(&format!("{pem}{pem}")).is_err());
        assert!(pem_to_der(&pem.replace("END", "ENDE")).is_err());
        assert!(pem_to_der(&pem.replace("Bw", "B!")).is_err());
        assert!(pem_to_der("").is_err());
    }
}
