//! EK certificates: which key they are for and what kind of TPM they speak of.
//!
//! Only the certificate's structure is judged here. Its chain is not: a certificate
//! without a checked chain can lower a node's identity, never raise it.

use assay_ledger::enrolment::TpmClass;
use assay_tpm::{KeyKind, Public};
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// tcg-at-tpmManufacturer (TCG EK Credential Profile 2.5, 3.1.2).
const TPM_MANUFACTURER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.1");
/// tcg-at-tpmModel.
const TPM_MODEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.2");

/// TPM vendors by the id in the certificate (TCG TPM Vendor ID Registry) and what they make.
const VENDORS: [(&str, TpmClass); 17] = [
    ("id:414D4400", TpmClass::Firmware), // AMD
    ("id:494E5443", TpmClass::Firmware), // Intel
    ("id:51434F4D", TpmClass::Firmware), // Qualcomm
    ("id:49465800", TpmClass::Discrete), // Infineon
    ("id:53544D20", TpmClass::Discrete), // STMicroelectronics
    ("id:4E544300", TpmClass::Discrete), // Nuvoton
    ("id:4E545A00", TpmClass::Discrete), // Nationz
    ("id:41544D4C", TpmClass::Discrete), // Atmel
    ("id:534E5300", TpmClass::Discrete), // Sinosun
    ("id:00001014", TpmClass::Virtual),  // IBM, as libtpms certificates spell it
    ("id:49424D00", TpmClass::Virtual),  // IBM software TPM
    ("id:474F4F47", TpmClass::Virtual),  // Google Cloud
    ("id:4D534654", TpmClass::Virtual),  // Microsoft: simulator, Hyper-V, Azure
    ("id:564D5700", TpmClass::Virtual),  // VMware
    ("id:414D5A4E", TpmClass::Virtual),  // Amazon
    ("id:414C4942", TpmClass::Virtual),  // Alibaba Cloud
    ("id:58444D00", TpmClass::Virtual),  // Xen
];

/// `firmwareVersion` of software TPMs: the reference simulator's line, libtpms, a public cloud's.
const VIRTUAL_FIRMWARE: [u64; 3] = [0x2016_0511_0016_2800, 0x2019_1023_0016_3636, 0x2020_0312_0012_0003];

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EkCertificate {
    /// `subjectPublicKey` content.
    key: Vec<u8>,
    /// tpmManufacturer, such as `id:49465800`; empty when the SAN has none.
    pub(crate) manufacturer: String,
    /// tpmModel; empty when the SAN has none.
    pub(crate) model: String,
}

impl EkCertificate {
    /// Reads a certificate as it came from NV memory, where padding may follow it.
    pub(crate) fn parse(nv: &[u8]) -> Result<Self, String> {
        let der = trim(nv).ok_or("not a DER sequence")?;
        let certificate = Certificate::from_der(der).map_err(|e| e.to_string())?;
        let tbs = &certificate.tbs_certificate;
        let mut this = Self {
            key: tbs.subject_public_key_info.subject_public_key.raw_bytes().to_vec(),
            manufacturer: String::new(),
            model: String::new(),
        };
        if let Some((_, san)) = tbs.get::<SubjectAltName>().map_err(|e| e.to_string())? {
            this.read_names(&san);
        }
        Ok(this)
    }

    fn read_names(&mut self, san: &SubjectAltName) {
        let directories = san.0.iter().filter_map(|name| match name {
            GeneralName::DirectoryName(name) => Some(name),
            _ => None,
        });
        for attribute in directories.flat_map(|name| &name.0).flat_map(|rdn| rdn.0.iter()) {
            let text = text(&attribute.value.to_der().unwrap_or_default());
            match attribute.oid {
                TPM_MANUFACTURER => self.manufacturer = text,
                TPM_MODEL => self.model = text,
                _ => {}
            }
        }
    }

    /// Whether the certificate is for this EK.
    pub(crate) fn is_for(&self, ek: &Public) -> bool {
        match ek.kind() {
            KeyKind::Ecc { x, y, .. } => self.is_point(x, y),
            KeyKind::Rsa { modulus, exponent, .. } => self.is_rsa(modulus, *exponent),
        }
    }

    /// An uncompressed point (SEC 1 2.3.3); leading zeros of a coordinate do not count.
    fn is_point(&self, x: &[u8], y: &[u8]) -> bool {
        let Some((4, coordinates)) = self.key.split_first() else { return false };
        let (seen_x, seen_y) = coordinates.split_at(coordinates.len() / 2);
        seen_x.len() == seen_y.len() && strip(seen_x) == strip(x) && strip(seen_y) == strip(y)
    }

    /// RSAPublicKey ::= SEQUENCE { modulus, publicExponent } (RFC 8017 A.1.1).
    fn is_rsa(&self, modulus: &[u8], exponent: u32) -> bool {
        let exponent = if exponent == 0 { 65_537 } else { exponent };
        let read = || -> Option<bool> {
            let sequence = AnyRef::from_der(&self.key).ok()?;
            let (n, e) =
                sequence.sequence(|reader| Ok((UintRef::decode(reader)?, UintRef::decode(reader)?))).ok()?;
            let same = |a: &[u8], b: &[u8]| strip(a) == strip(b);
            Some(same(n.as_bytes(), modulus) && same(e.as_bytes(), &exponent.to_be_bytes()))
        };
        read().unwrap_or_default()
    }
}

fn strip(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// The DER sequence at the start of `nv`, without the padding behind it, and without the header
/// of the TCG's older NV layout (TCG PC Client 1.21, 7.4.5: TCG_PCCLIENT_STORED_CERT) before it.
fn trim(nv: &[u8]) -> Option<&[u8]> {
    let nv = match nv {
        [0x10, 0x01, 0x00, _, _, rest @ ..] => rest.strip_prefix(&[0x10, 0x02]).unwrap_or(rest),
        plain => plain,
    };
    let length = match nv {
        [0x30, 0x82, a, b, ..] => 4 + usize::from(u16::from_be_bytes([*a, *b])),
        [0x30, 0x81, a, ..] => 3 + usize::from(*a),
        [0x30, a @ 0..=0x7f, ..] => 2 + usize::from(*a),
        _ => return None,
    };
    nv.get(..length)
}

/// The text of a directory string; printable characters only.
fn text(der: &[u8]) -> String {
    let Ok(any) = AnyRef::from_der(der) else { return String::new() };
    if !matches!(any.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String) {
        return String::new();
    }
    let text = String::from_utf8_lossy(any.value());
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect()
}

/// What stands behind a TPM, from its certificate and `firmwareVersion`.
///
/// Virtual when anything says so; otherwise what the vendor table says.
pub(crate) fn class(certificate: Option<&EkCertificate>, firmware_version: Option<u64>) -> TpmClass {
    if firmware_version.is_some_and(|version| VIRTUAL_FIRMWARE.contains(&version)) {
        return TpmClass::Virtual;
    }
    let Some(certificate) = certificate else { return TpmClass::Unknown };
    let model = certificate.model.to_ascii_lowercase();
    if ["swtpm", "vtpm", "virtual", "simulat"].iter().any(|word| model.contains(word)) {
        return TpmClass::Virtual;
    }
    let vendor = VENDORS.iter().find(|(id, _)| certificate.manufacturer.eq_ignore_ascii_case(id));
    vendor.map_or(TpmClass::Unknown, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(manufacturer: &str, model: &str) -> EkCertificate {
        EkCertificate { key: vec![], manufacturer: manufacturer.into(), model: model.into() }
    }

    #[test]
    fn anything_virtual_makes_the_tpm_virtual() {
        let chip = certificate("id:49465800", "SLB9672");
        assert_eq!(class(Some(&chip), None), TpmClass::Discrete);
        assert_eq!(class(Some(&chip), Some(0x2019_1023_0016_3636)), TpmClass::Virtual);
        assert_eq!(class(Some(&certificate("id:49465800", "swtpm")), None), TpmClass::Virtual);
        assert_eq!(class(Some(&certificate("id:00001014", "x")), None), TpmClass::Virtual);
        assert_eq!(class(Some(&certificate("id:494E5443", "PTT")), Some(1)), TpmClass::Firmware);
        assert_eq!(class(Some(&certificate("id:12345678", "x")), None), TpmClass::Unknown);
        assert_eq!(class(None, Some(1)), TpmClass::Unknown);
    }

    #[test]
    fn only_a_whole_sequence_is_a_certificate() {
        assert_eq!(trim(&[0x30, 1, 9, 0xff]), Some(&[0x30, 1, 9][..]));
        assert_eq!(trim(&[0x30, 0x81, 1, 9, 0xff]), Some(&[0x30, 0x81, 1, 9][..]));
        assert_eq!(trim(&[0x30, 0x82, 0, 1, 9]), Some(&[0x30, 0x82, 0, 1, 9][..]));
        for bad in [&[0x30, 5, 1][..], &[], &[0x31, 0], &[0x30, 0x83, 0, 0, 1, 9]] {
            assert_eq!(trim(bad), None);
        }
        assert!(EkCertificate::parse(&[0x30, 1, 9]).is_err());
    }

    /// Every real certificate as it lies in NV parses, says who made it where it has a SAN, and is not
    /// taken for a virtual TPM's; the same one with and without its NV header reads alike.
    #[test]
    fn real_certificates_parse_and_are_not_virtual() {
        let data = std::env::var_os("ASSAY_DATA").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
            Into::into,
        );
        let Ok(files) = std::fs::read_dir(data.join("attestation/ekcerts")) else {
            eprintln!("SKIPPED: no data folder; set ASSAY_DATA");
            return;
        };
        let raw = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "der" || e == "cer");
        let mut keys = Vec::new();
        for path in files.map(|file| file.unwrap().path()).filter(raw) {
            let bytes = std::fs::read(&path).unwrap();
            let parsed = EkCertificate::parse(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_ne!(class(Some(&parsed), None), TpmClass::Virtual, "{}", path.display());
            assert!(EkCertificate::parse(&bytes[..bytes.len() / 2]).is_err());
            keys.push((bytes[..2] == [0x10, 0x01], parsed));
        }
        assert!(!keys.is_empty());
        for (_, headed) in keys.iter().filter(|(header, _)| *header) {
            assert!(keys.iter().any(|(header, plain)| !header && plain == headed), "{}", headed.model);
        }
    }
}
