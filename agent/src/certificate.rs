//! Certificate files as owners and TPM makers hand them out: DER, PEM, or a maker's JSON around DER.
//!
//! Nothing is judged here: the bytes go to validators, who trust none of them before they have checked.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use base64ct::{Base64Url, Base64UrlUnpadded, Encoding as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

/// Most bytes of a file or an answer.
pub const MAX_BYTES: usize = 64 << 10;
/// Most certificates in one file.
const MOST: usize = 8;

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
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "neither DER nor PEM"))
}

/// The certificates in DER, one, or PEM, up to eight.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    if is_der(bytes) {
        return Some(vec![bytes.to_vec()]);
    }
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).take(MOST + 1).collect();
    let all: Vec<Vec<u8>> = all.ok()?.into_iter().map(|one| one.as_ref().to_vec()).collect();
    let good = (1..=MOST).contains(&all.len()) && all.iter().all(|one| is_der(one));
    good.then_some(all)
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
        assert_eq!(parse(&DER), Some(vec![DER.to_vec()]));
        assert_eq!(parse(PEM.as_bytes()), Some(vec![DER.to_vec()]));
        assert_eq!(parse(PEM.repeat(3).as_bytes()), Some(vec![DER.to_vec(); 3]));
        let other = PEM.replace("CERTIFICATE", "PUBLIC KEY");
        for bad in ["", "nonsense", &PEM.repeat(9), &other, &PEM.replace("MIIA", "AAAA"), &PEM[..40]] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
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
