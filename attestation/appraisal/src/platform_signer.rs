//! Signers of machines' certificates: whom a trust file believes on which machine a TPM is in.
//!
//! Makers of machines sign platform certificates with keys that are no authority's (RFC 5755 4.5), and
//! device certificates through authorities. Neither says anything of TPMs: none of these ends the chain of
//! an EK certificate, and no `[[ca]]` signs for machines.

use std::collections::BTreeSet;

use assay_x509::{Certificate, Entry, Role, Store, VendorClass, der_to_pem};
use serde::Deserialize;

use crate::trust::{TrustError, quoted, value};

/// A signer of platform or device certificates that the verifier vouches for by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformSigner {
    /// Its name.
    pub name: String,
    /// Its certificate: the signer's own, or that of an authority above it.
    pub certificate: Certificate,
}

/// `[[platform_signer]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    name: String,
    certificate: String,
}

impl PlatformSigner {
    /// A signer from a certificate's file, DER or PEM.
    ///
    /// # Errors
    /// [`TrustError`] names the key of the trust file.
    pub fn read(name: &str, file: &[u8]) -> Result<Self, TrustError> {
        if name.is_empty() {
            return Err(value("platform_signer.name", "empty"));
        }
        let certificate = Certificate::from_file(file).map_err(|source| TrustError::Certificate {
            file: "trust file",
            field: "platform_signer.certificate",
            source,
        })?;
        Ok(Self { name: name.to_owned(), certificate })
    }

    /// Its section of a trust file.
    pub fn to_toml(&self) -> String {
        let (name, pem) = (quoted(&self.name), der_to_pem(self.certificate.der()));
        format!("\n[[platform_signer]]\nname = {name}\ncertificate = \"\"\"\n{pem}\"\"\"\n")
    }
}

/// Reads the sections of a trust file.
pub(crate) fn read_all(sections: &[Section]) -> Result<Vec<PlatformSigner>, TrustError> {
    let mut seen = BTreeSet::new();
    let read = |section: &Section| {
        let signer = PlatformSigner::read(&section.name, section.certificate.as_bytes())?;
        match seen.insert(signer.certificate.fingerprint()) {
            true => Ok(signer),
            false => Err(value("platform_signer.certificate", "the same certificate twice")),
        }
    };
    sections.iter().map(read).collect()
}

/// Those that are authorities, for chains to end at.
pub(crate) fn authorities(signers: &[PlatformSigner]) -> Store {
    let mut store = Store::default();
    for signer in signers {
        // One that is no authority ends no chain: it signs itself, or nothing.
        let _ = store.add(Entry {
            name: signer.name.clone(),
            vendor: None,
            class: VendorClass::Unknown,
            role: Role::Pinned,
            source: String::new(),
            certificate: signer.certificate.clone(),
        });
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Trust;
    use crate::world::{Draft, basic, key};

    const FILE: &str = "schema = 1\npolicy = \"open\"\n[network]\nid = \"n\"\nreceipt_threshold = 1\n\
        beacon_period_ms = 5000\nanchor_per_mille = 0\n[[validator]]\nname = \"v\"\noperator = \"o\"\n\
        key = \"0101010101010101010101010101010101010101010101010101010101010101\"\n";

    fn signer(ca: bool) -> PlatformSigner {
        let draft = Draft::authority("maker", "maker", &key(9)).with(0, basic(ca, None));
        PlatformSigner::read("maker", &draft.sign(&key(9))).unwrap()
    }

    fn field(text: &str) -> String {
        match Trust::parse(text) {
            Err(TrustError::Value { field, .. }) => field,
            Err(TrustError::Certificate { field, .. }) => field.to_owned(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_signer_need_be_no_authority_and_vouches_for_no_tpm() {
        for ca in [false, true] {
            let signer = signer(ca);
            let trust = Trust::parse(&format!("{FILE}{}", signer.to_toml())).unwrap();
            assert_eq!(trust.platform_signers, std::slice::from_ref(&signer));
            assert_eq!(trust.store, Trust::parse(FILE).unwrap().store, "no anchor of EK certificates");
            assert_eq!(authorities(&trust.platform_signers).entries().len(), usize::from(ca));
            assert_eq!(Trust::parse(&trust.to_toml()), Ok(trust));
        }
    }

    #[test]
    fn wrong_signers_are_refused_by_name() {
        let good = signer(false).to_toml();
        assert_eq!(field(&format!("{FILE}{good}{good}")), "platform_signer.certificate");
        assert_eq!(field(&format!("{FILE}{}", good.replace("MII", "M!I"))), "platform_signer.certificate");
        assert_eq!(field(&format!("{FILE}{}", good.replace("maker", ""))), "platform_signer.name");
        // As an EK's authority it is refused, and the file says where it belongs.
        let ca = good.replace("platform_signer", "ca").replace("name =", "class = \"discrete\"\nname =");
        let fault = Trust::parse(&format!("{FILE}{ca}")).unwrap_err();
        assert!(fault.to_string().contains("[[platform_signer]]"), "{fault}");
    }
}
