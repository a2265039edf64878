//! IDevID and IAK certificates (TCG "TPM 2.0 Keys for Device Identity and Attestation" 1.0): which
//! device a key of the TPM was certified for.

use assay_tpm::Public;
use const_oid::ObjectIdentifier;

use crate::certificate::Certificate;
use crate::der::{self, OCTET_STRING, Reader, SEQUENCE};
use crate::error::X509Error;
use crate::extension::OtherName;
use crate::oids;

/// What the certificate's authority says that it checked of the key (section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assurance {
    /// It lives in a TPM.
    Residency,
    /// It never leaves it.
    Fixed,
    /// It signs only what the TPM made.
    Restricted,
}

impl Assurance {
    /// Stable word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Residency => "residency",
            Self::Fixed => "fixed",
            Self::Restricted => "restricted",
        }
    }
}

/// A device, as its manufacturer's certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// hwType of hardwareModuleName (RFC 4108 5).
    pub hardware_type: Option<ObjectIdentifier>,
    /// hwSerialNum of hardwareModuleName; empty when absent.
    pub hardware_serial: Vec<u8>,
    /// identifierValue of permanentIdentifier (RFC 4043), or empty.
    pub permanent_id: String,
    /// What was checked of the key, by extended key usage or policy.
    pub assurances: Vec<Assurance>,
}

impl DeviceIdentity {
    /// Reads the names of a certificate.
    ///
    /// # Errors
    /// [`X509Error`] for a name of another form; offsets count from the name's value.
    pub fn of(certificate: &Certificate) -> Result<Self, X509Error> {
        let extensions = &certificate.extensions;
        let said = |oid| {
            extensions.policies.contains(&oid)
                || extensions.purposes.as_ref().is_some_and(|purposes| purposes.contains(&oid))
        };
        let assurances = [
            (oids::VERIFIED_RESIDENCY, Assurance::Residency),
            (oids::VERIFIED_FIXED, Assurance::Fixed),
            (oids::VERIFIED_RESTRICTED, Assurance::Restricted),
        ];
        let mut this = Self {
            hardware_type: None,
            hardware_serial: Vec::new(),
            permanent_id: String::new(),
            assurances: assurances.into_iter().filter(|(oid, _)| said(*oid)).map(|(_, said)| said).collect(),
        };
        for name in extensions.alt_name.iter().flat_map(|alt| &alt.other) {
            this.read(name)?;
        }
        Ok(this)
    }

    fn read(&mut self, name: &OtherName) -> Result<(), X509Error> {
        let mut reader = Reader::new(&name.value, 0);
        match name.kind {
            oids::HARDWARE_MODULE => {
                const FIELD: &str = "hardwareModuleName";
                let mut parts = reader.expect(SEQUENCE, FIELD)?.reader();
                self.hardware_type = Some(der::oid(parts.next(FIELD)?, FIELD)?);
                self.hardware_serial = parts.expect(OCTET_STRING, FIELD)?.value.to_vec();
                parts.finish(FIELD)
            }
            oids::PERMANENT_ID => {
                const FIELD: &str = "permanentIdentifier";
                let mut parts = reader.expect(SEQUENCE, FIELD)?.reader();
                if !parts.is_empty() {
                    let value = parts.next(FIELD)?;
                    self.permanent_id = der::text(&value);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether it names the TPM by its EK certificate: tcg-on-ek-permIdSha256, the SHA-256 of that
    /// certificate, as octets or as hexadecimal text.
    #[must_use]
    pub fn names_ek(&self, ek: &Certificate) -> bool {
        let digest = ek.fingerprint().0;
        let text = hex::encode(digest);
        self.hardware_type == Some(oids::EK_PERMANENT_ID_SHA256)
            && (self.hardware_serial == digest || self.hardware_serial.eq_ignore_ascii_case(text.as_bytes()))
    }
}

/// How a device certificate hangs together with an enrolled TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceBinding {
    /// It certifies the AK itself.
    AttestationKey,
    /// It names the EK certificate.
    EndorsementKey,
    /// Nothing here shows that its key is in this TPM.
    None,
}

/// How `certificate` is bound to a TPM with this AK and EK certificate.
#[must_use]
pub fn device_binding(
    certificate: &Certificate,
    identity: &DeviceIdentity,
    ak: &Public,
    ek: Option<&Certificate>,
) -> DeviceBinding {
    match () {
        () if certificate.key.is(ak) => DeviceBinding::AttestationKey,
        () if ek.is_some_and(|ek| identity.names_ek(ek)) => DeviceBinding::EndorsementKey,
        () => DeviceBinding::None,
    }
}
