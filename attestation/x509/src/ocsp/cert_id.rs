//! CertID (RFC 6960 4.1.1): which certificate is asked about.

use const_oid::ObjectIdentifier;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384};

use super::request::{element, octets, sequence};
use crate::certificate::{self, Certificate};
use crate::der::{self, NULL, OCTET_STRING, OID, Reader, SEQUENCE};
use crate::error::{X509Error, value};
use crate::oids;
use crate::quirk::Quirks;

/// Hashes of issuers in a CertID. SHA-1 will do: it picks among known issuers, and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertIdHash {
    /// SHA-1: the one that every responder knows (RFC 5019 2.1.1).
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl CertIdHash {
    const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha384];

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => oids::SHA1,
            Self::Sha256 => oids::SHA256,
            Self::Sha384 => oids::SHA384,
        }
    }

    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
        }
    }
}

/// An issuer's name and key under every hash that is known, to find answers by.
pub(super) struct IssuerNames([(Vec<u8>, Vec<u8>); 3]);

impl IssuerNames {
    pub(super) fn of(issuer: &Certificate) -> Self {
        let pair =
            |hash: CertIdHash| (hash.digest(issuer.subject.as_bytes()), hash.digest(issuer.key_bits()));
        Self(CertIdHash::ALL.map(pair))
    }
}

/// A CertID as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertId {
    hash: Option<CertIdHash>,
    name: Vec<u8>,
    key: Vec<u8>,
    serial: Vec<u8>,
}

impl CertId {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, X509Error> {
        const FIELD: &str = "certID";
        let mut parts = reader.expect(SEQUENCE, FIELD)?.reader();
        let mut algorithm = parts.expect(SEQUENCE, "hashAlgorithm")?.reader();
        let oid = der::oid(algorithm.next("hashAlgorithm")?, "hashAlgorithm")?;
        let hash = CertIdHash::ALL.into_iter().find(|hash| hash.oid() == oid);
        if let Some(null) = algorithm.optional(NULL, "hashAlgorithm")?
            && !null.value.is_empty()
        {
            return Err(value("hashAlgorithm", null.offset, "a NULL with content"));
        }
        if hash.is_some() {
            algorithm.finish("hashAlgorithm")?;
        }
        let mut digest = |field| parts.expect(OCTET_STRING, field).map(|tlv| tlv.value.to_vec());
        let (name, key) = (digest("issuerNameHash")?, digest("issuerKeyHash")?);
        let serial = certificate::serial(&mut parts, &mut Quirks::new())?;
        parts.finish(FIELD)?;
        Ok(Self { hash, name, key, serial })
    }

    /// Whether it is about the certificate with this serial number of the issuer with these names.
    pub(super) fn names(&self, serial: &[u8], issuer: &IssuerNames) -> bool {
        let by = CertIdHash::ALL.iter().zip(&issuer.0).find(|(hash, _)| Some(**hash) == self.hash);
        self.serial == serial && by.is_some_and(|(_, (name, key))| *name == self.name && *key == self.key)
    }

    /// The CertID of `certificate` under `issuer`, as DER.
    pub(super) fn encode(hash: CertIdHash, certificate: &Certificate, issuer: &Certificate) -> Vec<u8> {
        let algorithm = sequence(&[&element(OID, hash.oid().as_bytes()), &element(NULL, &[])]);
        let name = octets(&hash.digest(issuer.subject.as_bytes()));
        let key = octets(&hash.digest(issuer.key_bits()));
        sequence(&[&algorithm, &name, &key, &element(der::INTEGER, &certificate.serial)])
    }
}
