//! Public areas that we ask the TPM to create keys from, written down as the TPM reads them.
//!
//! A template is a `TPMT_PUBLIC` (TPM 2.0 Part 2, 12.2.4) with the key itself left to the TPM.
//! Bytes rather than builders: each line can be held against the TCG's tables.

use tss_esapi::{Error as TssError, structures::Public, traits::UnMarshall};

/// `TPM_ALG_ID`s (TCG Algorithm Registry, 6.1).
mod alg {
    pub(super) const RSA: u16 = 0x0001;
    pub(super) const AES: u16 = 0x0006;
    pub(super) const NULL: u16 = 0x0010;
    pub(super) const ECDSA: u16 = 0x0018;
    pub(super) const ECC: u16 = 0x0023;
    pub(super) const CFB: u16 = 0x0043;
}
/// `TPM_ALG_SHA256`.
pub(crate) const SHA256: u16 = 0x000B;
/// `TPM_ALG_SHA384`.
pub(crate) const SHA384: u16 = 0x000C;
/// `TPM_ECC_NIST_P256` (TCG Algorithm Registry, 6.3).
pub(crate) const P256: u16 = 0x0003;
/// `TPM_ECC_NIST_P384`.
pub(crate) const P384: u16 = 0x0004;

/// What the key is for, with the parameters that differ.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Restricted ECC decryption key with an AES-CFB key of these bits.
    EccStorage { curve: u16, aes_bits: u16 },
    /// Restricted RSA-2048 decryption key with AES-128-CFB.
    Rsa2048Storage,
    /// ECDSA signing key on a curve, with SHA-256.
    EcdsaSha256 { curve: u16 },
}

/// A `TPMT_PUBLIC` without its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template<'a> {
    /// What the key is for.
    pub(crate) kind: Kind,
    /// `nameAlg`.
    pub(crate) name_alg: u16,
    /// `TPMA_OBJECT` (TPM 2.0 Part 2, 8.3).
    pub(crate) attributes: u32,
    /// `authPolicy`; empty for none.
    pub(crate) policy: &'a [u8],
    /// `unique`: the RSA modulus field, or the x coordinate of the ECC point.
    pub(crate) unique: &'a [u8],
    /// For ECC, the y coordinate in `unique`.
    pub(crate) unique_y: &'a [u8],
}

impl Template<'_> {
    /// The template as a `TPMT_PUBLIC` that `tss-esapi` takes.
    pub(crate) fn public(&self) -> Result<Public, TssError> {
        Public::unmarshall(&self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, &[self.algorithm(), self.name_alg]);
        out.extend(self.attributes.to_be_bytes());
        put_sized(&mut out, self.policy);
        match self.kind {
            Kind::EccStorage { curve, aes_bits } => {
                put(&mut out, &[alg::AES, aes_bits, alg::CFB, alg::NULL, curve, alg::NULL]);
            }
            Kind::Rsa2048Storage => {
                put(&mut out, &[alg::AES, 128, alg::CFB, alg::NULL, 2048]);
                // An exponent of zero means the default, 65537.
                out.extend(0u32.to_be_bytes());
            }
            Kind::EcdsaSha256 { curve } => {
                put(&mut out, &[alg::NULL, alg::ECDSA, SHA256, curve, alg::NULL]);
            }
        }
        put_sized(&mut out, self.unique);
        if self.algorithm() == alg::ECC {
            put_sized(&mut out, self.unique_y);
        }
        out
    }

    fn algorithm(&self) -> u16 {
        match self.kind {
            Kind::Rsa2048Storage => alg::RSA,
            Kind::EccStorage { .. } | Kind::EcdsaSha256 { .. } => alg::ECC,
        }
    }
}

fn put(out: &mut Vec<u8>, words: &[u16]) {
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

/// A `TPM2B`: size and bytes. Our own fields are at most 256 bytes long.
fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(bytes);
}
