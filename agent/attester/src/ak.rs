//! The attestation key: the key that signs quotes and time.
//!
//! A primary key of the endorsement hierarchy: the TPM derives it from the endorsement seed and
//! the template, so it is the same after every restart without being stored, and the qualified name
//! in each quote proves the hierarchy. An AK in the owner hierarchy would get `resetCount`,
//! `restartCount` and `firmwareVersion` obfuscated (TPM 2.0 Part 1, 36).

use tss_esapi::structures::Public;

use crate::{
    error::TpmError,
    template::{Kind, P256, SHA256, Template},
};

/// `fixedTPM | fixedParent | sensitiveDataOrigin | userWithAuth | noDA | restricted | sign`.
///
/// `noDA` matters: the TPM counts a power cut after the use of a key without it as a failed
/// authorisation (TPM 2.0 Part 1, 19.8), and a few power cuts lock the TPM.
const ATTRIBUTES: u32 = 0x0005_0472;

/// Sets our key apart from those that other software derives from the same template.
const UNIQUE: &[u8; 32] = b"assay attestation key 1\0\0\0\0\0\0\0\0\0";

/// The AK's template: ECDSA with SHA-256 on P-256, empty authorisation value.
///
/// # Errors
///
/// [`TpmError::CreateAk`] if `libtss2` does not take the template.
pub(crate) fn template() -> Result<Public, TpmError> {
    Template {
        kind: Kind::EcdsaSha256 { curve: P256 },
        name_alg: SHA256,
        attributes: ATTRIBUTES,
        policy: &[],
        unique: UNIQUE,
        unique_y: &[0; 32],
    }
    .public()
    .map_err(TpmError::CreateAk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tss_esapi::traits::Marshall;

    #[test]
    fn the_template_is_what_the_verifier_expects() {
        let bytes = template().unwrap().marshall().unwrap();
        let head = [
            0x00, 0x23, // TPM_ALG_ECC
            0x00, 0x0b, // SHA-256 names
            0x00, 0x05, 0x04, 0x72, // attributes
            0x00, 0x00, // no policy
            0x00, 0x10, // no symmetric algorithm
            0x00, 0x18, 0x00, 0x0b, // ECDSA, SHA-256
            0x00, 0x03, // P-256
            0x00, 0x10, // no KDF
        ];
        assert!(bytes.starts_with(&head), "{bytes:02x?}");
    }
}
