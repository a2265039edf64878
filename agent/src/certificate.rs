//! Certificate files as owners and TPM makers hand them out: DER, PEM, or a maker's JSON around DER.
//!
//! Nothing is judged here: the bytes go to validators, who trust none of them before they have checked.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use assay_wire::limits;
use base64ct::{Base64Url, Base64UrlUnpadded, Encoding as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

/// Most bytes of a file or an answer.
pub const MAX_BYTES: usize = 64 << 10;
/// Most certificates in one file: the key's own and what validators take of its issuers' fits.
const MOST: usize = limits::CERTIFICATES;

/// Reads the certificates of a file, in their order.
///
/// # Errors
/// What the system said, or that the file is too long or holds no certificate.
pub fn read(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than any certificate"));
    }
    parse(&bytes).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))
}

/// The certificates in DER, one, or PEM, up to eight; none longer than validators take.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn parse(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let all = match is_der(bytes) {
        true => vec![bytes.to_vec()],
        false => from_pem(bytes).ok_or("neither DER nor PEM")?,
    };
    match all.iter().map(Vec::len).max() {
        None => Err("neither DER nor PEM".to_owned()),
        _ if all.len() > MOST => Err(format!("more than {MOST} certificates")),
        Some(len) if len > limits::CERTIFICATE => {
            Err(format!("a certificate of {len} bytes; validators take {}", limits::CERTIFICATE))
        }
        _ => Ok(all),
    }
}

/// One more than allowed at most.
fn from_pem(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).take(MOST + 1).collect();
    let all: Vec<Vec<u8>> = all.ok()?.into_iter().map(|one| one.as_ref().to_vec()).collect();
    all.iter().all(|one| is_der(one)).then_some(all)
}

/// The certificate in a maker's answer: DER, or JSON with DER in base64url under `certificate`.
#[must_use]
pub fn from_answer(body: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Answer {
        certificate: String,
    }
    if is_der(body) {
        return Some(body.to_vec());
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    // The padding may come percent-encoded.
    let text = answer.certificate.replace("%3D", "=").replace("%3d", "=");
    let der = Base64Url::decode_vec(&text).or_else(|_| Base64UrlUnpadded::decode_vec(&text)).ok()?;
    is_der(&der).then_some(der)
}

/// X.690, 8.9: a SEQUENCE with a long length, as each certificate is.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x83, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DER: [u8; 6] = [0x30, 0x82, 0, 2, 0xfb, 0xff];
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIAAvv/\n-----END CERTIFICATE-----\n";

    #[test]
    fn der_and_pem_are_read_and_nothing_else() {
        assert_eq!(parse(&DER), Ok(vec![DER.to_vec()]));
        assert_eq!(parse(PEM.as_bytes()), Ok(vec![DER.to_vec()]));
        assert_eq!(parse(PEM.repeat(MOST).as_bytes()), Ok(vec![DER.to_vec(); MOST]));
        let other = PEM.replace("CERTIFICATE", "PUBLIC KEY");
        for bad in ["", "nonsense", &other, &PEM.replace("MIIA", "AAAA"), &PEM[..40]] {
            assert_eq!(parse(bad.as_bytes()), Err("neither DER nor PEM".to_owned()), "{bad}");
        }
    }

    #[test]
    fn what_validators_would_not_take_is_refused_by_its_reason() {
        assert_eq!(parse(PEM.repeat(MOST + 1).as_bytes()), Err("more than 8 certificates".to_owned()));
        let long = |len: usize| [&DER[..], &vec![0; len - DER.len()]].concat();
        assert!(parse(&long(limits::CERTIFICATE)).is_ok());
        assert!(parse(&long(limits::CERTIFICATE + 1)).unwrap_err().contains("8193 bytes"));
    }

    #[test]
    fn a_makers_answer_is_der_or_json() {
        assert_eq!(from_answer(&DER), Some(DER.to_vec()));
        let json = |text: &str| format!("{{\"pubhash\": \"x\", \"certificate\": \"{text}\"}}");
        assert_eq!(from_answer(json("MIIAAvv_").as_bytes()), Some(DER.to_vec()));
        let padded = [&DER[..], &[7]].concat();
        for text in ["MIIAAvv_Bw==", "MIIAAvv_Bw%3D%3D", "MIIAAvv_Bw"] {
            assert_eq!(from_answer(json(text).as_bytes()), Some(padded.clone()), "{text}");
        }
        for bad in ["{}", "<html>", "", &json("MIIAAvv/"), &json("AAAA"), "[1]"] {
            assert_eq!(from_answer(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_file_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ek.pem");
        std::fs::write(&path, PEM).unwrap();
        assert_eq!(read(&path).unwrap(), [DER.to_vec()]);
        std::fs::write(&path, [&DER[..], &vec![0; MAX_BYTES]].concat()).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read(&dir.path().join("none")).is_err());
    }
}
