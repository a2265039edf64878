//! A device's certificates: five of them, in order, from the report's key to the maker's root.

use assay_x509::{
    Certificate, EcCurve, Hash, KeyUsage, PublicKey, Quirk, Seconds, SignatureAlgorithm,
    SignatureFault as X509SignatureFault,
};
use const_oid::ObjectIdentifier;

use super::architecture::{Architecture, Pdi};
use super::error::DeviceError;
use super::pem;
use super::roots::Roots;

/// Certificates of a device's chain: the report's key, the device, its provisioner, its family, the
/// root.
const LEN: usize = 5;
/// Where the device's own certificate stands.
pub(super) const DEVICE: usize = 1;
/// Digits of a device's serial: a prefix of one byte and the PDI.
const SERIAL_DIGITS: usize = 18;

/// Extensions that may be critical: basicConstraints, keyUsage, both forms of the firmware's digest.
const KNOWN: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.23.133.5.4.1"),
    ObjectIdentifier::new_unwrap("2.23.133.5.4.1.1"),
];

/// Deviations from DER that are overlooked: serial numbers that a device made from a digest.
const OVERLOOKED: [Quirk; 3] = [Quirk::PaddedSerial, Quirk::NonPositiveSerial, Quirk::LongSerial];

/// Certificates as they came, the leaf's first: read, not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceChain {
    certificates: Vec<Certificate>,
}

/// Who a device is, by its own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The subject's serialNumber: 18 hexadecimal digits, as written.
    pub serial: String,
    /// Its first byte: 4 for a GPU or 5 for a switch in the upper half; in the lower one which of the
    /// chip's processors holds the key.
    pub prefix: u8,
    /// The rest.
    pub pdi: Pdi,
    /// The subject's commonName, such as `GH100 A01 GSP BROM`.
    pub model: String,
}

impl DeviceIdentity {
    /// Who a device's own certificate is for.
    pub(super) fn of(certificate: &Certificate) -> Result<Self, DeviceError> {
        let identity = |detail| DeviceError::Identity { index: DEVICE, detail };
        let subject = &certificate.subject;
        let serial = subject.serial_number().ok_or_else(|| identity("not one serialNumber"))?;
        let model = subject.common_name().ok_or_else(|| identity("not one commonName"))?;
        let digits = serial.len() == SERIAL_DIGITS && serial.bytes().all(|digit| digit.is_ascii_hexdigit());
        let halves = if digits { serial.split_at_checked(2) } else { None };
        let numbers = halves.and_then(|(prefix, pdi)| {
            Some((u8::from_str_radix(prefix, 16).ok()?, u64::from_str_radix(pdi, 16).ok()?))
        });
        let (prefix, pdi) =
            numbers.ok_or_else(|| identity("its serialNumber is not 18 hexadecimal digits"))?;
        Ok(Self { serial: serial.to_owned(), prefix, pdi: Pdi(pdi), model: model.to_owned() })
    }

    /// Whether the certificate is one of a device of this architecture: by prefix and by model.
    #[must_use]
    pub fn is(&self, architecture: Architecture) -> bool {
        let kind = if architecture.is_switch() { 5 } else { 4 };
        self.prefix >> 4 == kind && Architecture::of_model(&self.model) == Some(architecture)
    }
}

/// Why a chain does not hold. Positions count from the leaf, which is 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Another number of certificates than a device's five, or than a RIM's signer may have.
    #[error("{seen} certificates, which is not a chain's number")]
    Count {
        /// How many there are.
        seen: usize,
    },
    /// The last certificate is not the pinned one.
    #[error("the last certificate is not the pinned root")]
    Root,
    /// A deviation from DER.
    #[error("certificate {index}: {quirk}")]
    Encoding {
        /// The position.
        index: usize,
        /// Name of the deviation.
        quirk: &'static str,
    },
    /// A key that is none on P-384.
    #[error("certificate {index}: the key is not one on P-384")]
    Key {
        /// The position.
        index: usize,
    },
    /// Not signed with ECDSA and SHA-384.
    #[error("certificate {index}: not signed with ECDSA and SHA-384")]
    Algorithm {
        /// The position.
        index: usize,
    },
    /// The issuer's name is not the next subject's.
    #[error("certificate {index}: its issuer is not the subject of the next one")]
    Name {
        /// The position.
        index: usize,
    },
    /// It lacks basicConstraints with cA.
    #[error("certificate {index} is not an authority")]
    NotAuthority {
        /// The position.
        index: usize,
    },
    /// keyUsage is absent or lacks what the position needs.
    #[error("certificate {index}: keyUsage does not allow its use")]
    Usage {
        /// The position.
        index: usize,
    },
    /// More authorities below it than it allows.
    #[error("certificate {index} allows {allowed} authorities below it")]
    PathLength {
        /// The position.
        index: usize,
        /// Its limit.
        allowed: u32,
    },
    /// A critical extension that nobody here knows.
    #[error("certificate {index}: unknown critical extension {oid}")]
    Extension {
        /// The position.
        index: usize,
        /// The extension.
        oid: ObjectIdentifier,
    },
    /// Not in force at the time of verification.
    #[error("certificate {index} is not in force at that time")]
    Validity {
        /// The position.
        index: usize,
    },
    /// The next certificate's key did not sign it.
    #[error("certificate {index}: {fault}")]
    Signature {
        /// The position.
        index: usize,
        /// Why the signature doesn't count.
        fault: X509SignatureFault,
    },
}

impl DeviceChain {
    /// The most certificates that are read; more than a chain has, so that a judgement can say so.
    pub const MAX: usize = 8;

    /// Reads certificates in PEM, in their order. Text around the blocks is ignored.
    ///
    /// # Errors
    /// [`DeviceError`] names the certificate or the place in the text.
    pub fn from_pem(text: &str) -> Result<Self, DeviceError> {
        Self::from_der(&pem::certificates(text)?)
    }

    /// Reads certificates from their DER, in their order.
    ///
    /// # Errors
    /// [`DeviceError`] names the certificate.
    pub fn from_der(list: &[Vec<u8>]) -> Result<Self, DeviceError> {
        if list.len() > Self::MAX {
            return Err(DeviceError::TooMany { field: "certificates", max: Self::MAX });
        }
        let certificates = (0..list.len()).map(|index| certificate(list, index)).collect::<Result<_, _>>()?;
        Ok(Self { certificates })
    }

    /// The certificates, the leaf's first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Their DER.
    #[must_use]
    pub fn der(&self) -> Vec<Vec<u8>> {
        self.certificates.iter().map(|certificate| certificate.der().to_vec()).collect()
    }

    /// The certificate whose key signs reports.
    ///
    /// # Errors
    /// [`DeviceError::NoCertificate`].
    pub fn leaf(&self) -> Result<&Certificate, DeviceError> {
        self.certificates.first().ok_or(DeviceError::NoCertificate { index: 0 })
    }

    /// Who the device is, by the second certificate: a claim until [`DeviceChain::judge`] holds.
    ///
    /// # Errors
    /// [`DeviceError::NoCertificate`], [`DeviceError::Identity`].
    pub fn identity(&self) -> Result<DeviceIdentity, DeviceError> {
        DeviceIdentity::of(self.certificates.get(DEVICE).ok_or(DeviceError::NoCertificate { index: DEVICE })?)
    }

    /// Whether the certificates are a device's chain to the pinned root, all in force at `at`.
    ///
    /// Their order is part of the evidence: nothing is sorted or looked up. The root's own signature
    /// says nothing that its bytes don't and isn't checked.
    ///
    /// # Errors
    /// The first [`ChainFault`], cheap rules before signatures.
    pub fn judge(&self, roots: &Roots, at: Seconds) -> Result<(), ChainFault> {
        if self.certificates.len() != LEN {
            return Err(ChainFault::Count { seen: self.certificates.len() });
        }
        if self.certificates.last().map(Certificate::der) != Some(roots.device()) {
            return Err(ChainFault::Root);
        }
        for (index, certificate) in self.certificates.iter().enumerate() {
            form(index, certificate, &OVERLOOKED)?;
            role(index, certificate)?;
            if !certificate.is_valid_at(at) {
                return Err(ChainFault::Validity { index });
            }
        }
        for (index, pair) in self.certificates.windows(2).enumerate() {
            if let [child, issuer] = pair {
                link(index, child, issuer)?;
            }
        }
        Ok(())
    }
}

/// One certificate of a list, whether or not the others can be read.
pub(super) fn certificate(list: &[Vec<u8>], index: usize) -> Result<Certificate, DeviceError> {
    let der = list.get(index).ok_or(DeviceError::NoCertificate { index })?;
    Certificate::parse(der).map_err(|error| DeviceError::Certificate { index, error })
}

/// What holds for every certificate, but for deviations from DER that are overlooked.
pub(crate) fn form(index: usize, certificate: &Certificate, overlooked: &[Quirk]) -> Result<(), ChainFault> {
    if let Some(quirk) = certificate.quirks.iter().find(|quirk| !overlooked.contains(quirk)) {
        return Err(ChainFault::Encoding { index, quirk: quirk.name() });
    }
    if !matches!(certificate.key, PublicKey::Ec { curve: EcCurve::P384, .. }) {
        return Err(ChainFault::Key { index });
    }
    if certificate.algorithm() != SignatureAlgorithm::Ecdsa(Hash::Sha384) {
        return Err(ChainFault::Algorithm { index });
    }
    match certificate.extensions.critical().find(|oid| !KNOWN.contains(oid)) {
        Some(oid) => Err(ChainFault::Extension { index, oid }),
        None => Ok(()),
    }
}

/// The leaf signs data; the others sign certificates (RFC 5280 4.2.1.3 and 4.2.1.9).
pub(crate) fn role(index: usize, certificate: &Certificate) -> Result<(), ChainFault> {
    let extensions = &certificate.extensions;
    let Some(below) = index.checked_sub(1) else {
        let signs = extensions.key_usage.is_some_and(|usage| usage.contains(KeyUsage::DIGITAL_SIGNATURE));
        return if signs { Ok(()) } else { Err(ChainFault::Usage { index }) };
    };
    let Some(constraints) = extensions.basic_constraints.filter(|constraints| constraints.ca) else {
        return Err(ChainFault::NotAuthority { index });
    };
    if !extensions.key_usage.is_some_and(|usage| usage.contains(KeyUsage::KEY_CERT_SIGN)) {
        return Err(ChainFault::Usage { index });
    }
    match constraints.path_len {
        Some(allowed) if usize::try_from(allowed).is_ok_and(|allowed| below > allowed) => {
            Err(ChainFault::PathLength { index, allowed })
        }
        _ => Ok(()),
    }
}

pub(crate) fn link(index: usize, child: &Certificate, issuer: &Certificate) -> Result<(), ChainFault> {
    if child.issuer.as_bytes() != issuer.subject.as_bytes() {
        return Err(ChainFault::Name { index });
    }
    child.verify(&issuer.key).map_err(|fault| ChainFault::Signature { index, fault })
}
