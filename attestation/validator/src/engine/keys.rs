//! Which node a TPM key belongs to: one TPM is one node.
//!
//! A node id is the hash of an EK's public area, so no other TPM can take it. But one TPM has
//! several EKs (ECC and RSA, and one per template), a public area can be dressed up around one
//! key, and an AK can be carried to another enrolment. So the *keys* are indexed, without what
//! surrounds them: EKs that activated a credential, keys in EK certificates that a node sent,
//! AKs that were activated. One that is another node's already is refused.
//!
//! A certificate proves nothing about who sent it: it is public. A node could send a
//! stranger's and have the stranger refused. So a key that is only certified yields to a node
//! that proves it and whose identity reaches further, or that an administrator allows; a key
//! that was proven yields to nobody.

use assay_ledger::enrolment::{EnrolRequest, EnrolmentRecord};
use assay_tpm::{Curve, KeyKind, Public};
use assay_wire::{Digest, Envelope, Kind};
use assay_x509::{Certificate, EcCurve, PublicKey};

use super::Refused;
use crate::store::{KeyHolder, Role, Store, StoreError};

/// Which of a TPM's EKs names the node: the first of these that has a certificate (DESIGN 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    P256,
    P384,
    Rsa2048,
    Other,
}

/// A public key and nothing around it: rank, then the key with its leading zeros settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TpmKey {
    rank: Rank,
    bytes: Vec<u8>,
}

impl TpmKey {
    fn ecc(rank: Rank, x: &[u8], y: &[u8]) -> Option<Self> {
        let width = if rank == Rank::P384 { 48 } else { 32 };
        Some(Self { rank, bytes: [b"E", &*padded(x, width)?, &*padded(y, width)?].concat() })
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        let modulus = strip(modulus);
        let exponent = if strip(exponent).is_empty() { &[1, 0, 1] } else { strip(exponent) };
        let rank = if modulus.len() == 256 { Rank::Rsa2048 } else { Rank::Other };
        // The exponent's length stands before it, so that two pairs are never one string.
        let length = u8::try_from(exponent.len()).unwrap_or(u8::MAX);
        Self { rank, bytes: [b"R", &[length][..], exponent, modulus].concat() }
    }

    /// The key of a public area.
    pub(super) fn of_public(public: &Public) -> Option<Self> {
        match public.kind() {
            KeyKind::Rsa { modulus, exponent, .. } => Some(Self::rsa(modulus, &exponent.to_be_bytes())),
            KeyKind::Ecc { curve: Curve::P256, x, y } => Self::ecc(Rank::P256, x, y),
            KeyKind::Ecc { curve: Curve::P384, x, y } => Self::ecc(Rank::P384, x, y),
        }
    }

    /// The subject's key in a certificate as it lies in NV memory, read as an appraisal reads it.
    fn of_certificate(nv: &[u8]) -> Option<Self> {
        match Certificate::from_nv(nv).ok()?.key {
            PublicKey::Rsa { modulus, exponent } => Some(Self::rsa(&modulus, &exponent)),
            PublicKey::Ec { curve, point } => {
                let rank = match curve {
                    EcCurve::P256 => Rank::P256,
                    EcCurve::P384 => Rank::P384,
                    EcCurve::P521 => return None,
                };
                // An uncompressed point (SEC 1 2.3.3).
                let (4, point) = point.split_first()? else { return None };
                let (x, y) = point.split_at_checked(point.len() / 2)?;
                Self::ecc(rank, x, y)
            }
            PublicKey::Other(_) => None,
        }
    }
}

fn strip(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn padded(bytes: &[u8], width: usize) -> Option<Vec<u8>> {
    let bytes = strip(bytes);
    Some([vec![0; width.checked_sub(bytes.len())?], bytes.to_vec()].concat())
}

/// All keys that a request brings, each with how the node would have it.
#[derive(Debug)]
pub(super) struct Keys {
    ek_public: Vec<u8>,
    keys: Vec<(Role, TpmKey)>,
}

fn refused(code: &str, message: &str) -> Refused {
    Refused::new(403, code, message)
}

impl Keys {
    /// Reads a request's keys and holds the EK to being the canonical one.
    ///
    /// # Errors
    /// `enrolment.ek`, `enrolment.ak`, `enrolment.certificate` for what has no key that we know,
    /// `enrolment.ek-canonical` when a certificate is for an EK that should have been used.
    pub(super) fn read(request: &EnrolRequest) -> Result<Self, Refused> {
        let of = |bytes: &[u8]| Public::parse(bytes).ok().as_ref().and_then(TpmKey::of_public);
        let ek = of(&request.ek_public)
            .ok_or_else(|| refused("enrolment.ek", "the EK is of no kind that names a node"))?;
        let ak =
            of(&request.ak_public).ok_or_else(|| refused("enrolment.ak", "the AK is of no known kind"))?;
        let mut keys = vec![(Role::Ek, ek.clone())];
        for certificate in &request.ek_certificates {
            let key = TpmKey::of_certificate(certificate).ok_or_else(|| {
                refused("enrolment.certificate", "an EK certificate has no key of a kind that TPMs have")
            })?;
            if key.rank < ek.rank {
                let message =
                    "the TPM has a certificate for an EK that comes before this one: enrol with that";
                return Err(refused("enrolment.ek-canonical", message));
            }
            keys.push((Role::Certified, key));
        }
        keys.push((Role::Ak, ak));
        Ok(Self { ek_public: request.ek_public.clone(), keys })
    }

    /// Holds every key to being nobody else's.
    ///
    /// `weight` is the node's identity axis once that is known, `None` before it has proven
    /// anything, when keys that are only certified are passed over.
    pub(super) fn check(
        &self,
        store: &Store,
        node: &Digest,
        weight: Option<u8>,
        allowed: bool,
    ) -> Result<Result<(), Refused>, StoreError> {
        if store.ek_public(node)?.is_some_and(|known| known != self.ek_public) {
            return Ok(Err(refused("enrolment.node-ek", "this node id belongs to another EK")));
        }
        for (role, key) in &self.keys {
            let Some(holder) = store.key_holder(&key.bytes)? else { continue };
            let yields = holder.role == Role::Certified
                && (allowed || weight.is_none_or(|weight| weight > holder.weight));
            if holder.node != *node && !yields {
                return Ok(Err(known(*role, &holder)));
            }
        }
        Ok(Ok(()))
    }

    /// Gives the keys to the node, which has proven what [`Role`] says.
    pub(super) fn index(
        &self,
        store: &Store,
        node: &Digest,
        weight: u8,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        for (role, key) in &self.keys {
            store.set_key_holder(&key.bytes, &KeyHolder { node: *node, role: *role, weight }, now_ms)?;
        }
        Ok(())
    }
}

fn known(role: Role, holder: &KeyHolder) -> Refused {
    let other = holder.node.short();
    match role {
        Role::Ak => refused("enrolment.ak-known", &format!("this AK is node {other}'s")),
        _ => refused("enrolment.ek-known", &format!("an EK of this TPM is node {other}'s")),
    }
}

/// Indexes the records of a store that had no index: one of an older version.
pub(crate) fn index_records(store: &Store) -> Result<(), StoreError> {
    for bytes in store.unindexed_enrolments()? {
        let record = Envelope::decode_as(Kind::Enrolment, &bytes)
            .and_then(|envelope| envelope.message::<EnrolmentRecord>());
        let record = record.map_err(|_| StoreError::Corrupt { what: "enrolment record" })?;
        let of = |bytes: &[u8]| Public::parse(bytes).ok().as_ref().and_then(TpmKey::of_public);
        let own = [(Role::Ek, of(&record.ek_public)), (Role::Ak, of(&record.ak_public))];
        let certified = record.ek_certificates.iter().map(|c| (Role::Certified, TpmKey::of_certificate(c)));
        let keys = own.into_iter().chain(certified).filter_map(|(role, key)| Some((role, key?)));
        let keys = Keys { ek_public: record.ek_public.clone(), keys: keys.collect() };
        keys.index(store, &record.node, 0, record.issued_ms)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_one_key_however_it_is_written() {
        let rsa = TpmKey::rsa(&[0, 0, 9, 9], &[1, 0, 1]);
        assert_eq!(rsa, TpmKey::rsa(&[9, 9], &[0, 1, 0, 1]));
        assert_eq!(rsa, TpmKey::rsa(&[9, 9], &[0, 0, 0, 0]), "0 is how a TPM writes 65537");
        assert_ne!(rsa, TpmKey::rsa(&[9, 9], &[3]));
        assert_ne!(TpmKey::rsa(&[3, 9], &[1]), TpmKey::rsa(&[9], &[1, 3]));
        let ecc = TpmKey::ecc(Rank::P256, &[7], &[8]);
        assert_eq!(ecc, TpmKey::ecc(Rank::P256, &[0, 0, 7], &[0, 8]));
        assert_ne!(ecc, TpmKey::ecc(Rank::P384, &[7], &[8]));
        assert_eq!(TpmKey::ecc(Rank::P256, &[1; 33], &[8]), None);
    }

    #[test]
    fn ecc_comes_before_rsa_and_shorter_before_longer() {
        assert!(Rank::P256 < Rank::P384 && Rank::P384 < Rank::Rsa2048 && Rank::Rsa2048 < Rank::Other);
        assert_eq!(TpmKey::rsa(&[0x80; 256], &[3]).rank, Rank::Rsa2048);
        assert_eq!(TpmKey::rsa(&[0x80; 384], &[3]).rank, Rank::Other);
    }

    /// What an appraisal overlooks in a certificate, with a finding, is overlooked here.
    #[test]
    fn a_certificate_that_an_appraisal_reads_has_its_key() {
        use crate::engine::tests::responder::{Draft, extension, key, seq, tlv};
        let draft = Draft::ek("maker", &key(3));
        let plain = TpmKey::of_certificate(&draft.sign(&key(1)));
        assert!(plain.is_some());
        let loose = extension("2.5.29.15", true, &tlv(3, &[3, 8]));
        let loose = loose.iter().map(|byte| if *byte == 0xff { 1 } else { *byte }).collect();
        let explicit = extension("2.5.29.19", true, &seq(&[&tlv(1, &[0])]));
        for (quirk, odd) in [
            ("padded-serial", Draft { serial: vec![0, 9], ..draft.clone() }),
            ("long-serial", Draft { serial: vec![9; 30], ..draft.clone() }),
            ("non-positive-serial", Draft { serial: vec![0x89], ..draft.clone() }),
            ("loose-boolean", draft.clone().with(1, loose)),
            ("explicit-default", draft.clone().with(0, explicit)),
        ] {
            let der = odd.sign(&key(1));
            let quirks = Certificate::from_nv(&der).unwrap().quirks;
            assert!(quirks.iter().any(|seen| seen.name() == quirk), "{quirk}: {quirks:?}");
            assert_eq!(TpmKey::of_certificate(&der), plain, "{quirk}");
        }
    }

    /// Real certificates as they lie in NV memory have a key each; cut short they have none.
    #[test]
    fn real_certificates_have_keys() {
        let data = std::env::var_os("ASSAY_DATA").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
            Into::into,
        );
        let Ok(files) = std::fs::read_dir(data.join("attestation/ekcerts")) else {
            eprintln!("SKIPPED: no data folder; set ASSAY_DATA");
            return;
        };
        let raw = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "der" || e == "cer");
        let mut count = 0;
        for path in files.map(|file| file.unwrap().path()).filter(raw) {
            let bytes = std::fs::read(&path).unwrap();
            let key = TpmKey::of_certificate(&bytes);
            assert!(key.is_some(), "{}", path.display());
            assert_eq!(TpmKey::of_certificate(&[&*bytes, &[0xff; 9]].concat()), key);
            assert_eq!(TpmKey::of_certificate(&bytes[..bytes.len() / 2]), None);
            count += 1;
        }
        assert!(count > 0);
    }
}
