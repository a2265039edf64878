//! Reading and writing `TPMT_PUBLIC`: Part 2, 12.2.3 (parameters and unique) and 12.2.4.

use crate::alg::{
    ALG_AES, ALG_CFB, ALG_ECC, ALG_ECDH, ALG_ECDSA, ALG_NULL, ALG_OAEP, ALG_RSA, ALG_RSAES, ALG_RSAPSS,
    ALG_RSASSA, Curve, HashAlg, Scheme, Symmetric,
};
use crate::attributes::Attributes;
use crate::error::TpmError;
use crate::public::{KeyKind, PublicParts};
use crate::wire::{Reader, Writer};

/// Largest `TPM2B_DIGEST`: SHA-512.
const MAX_DIGEST: usize = 64;
/// Largest modulus: 4096 bits.
const MAX_RSA_BYTES: usize = 512;
/// `RSA_DEFAULT_PUBLIC_EXPONENT`, which 0 stands for.
const DEFAULT_EXPONENT: u32 = 65_537;

pub(crate) fn read(bytes: &[u8]) -> Result<PublicParts, TpmError> {
    let mut reader = Reader::new(bytes);
    let kind_id = reader.u16("type")?;
    let name_alg = read_hash(&mut reader, "nameAlg")?;
    let attributes = read_attributes(&mut reader)?;
    let auth_policy = read_policy(&mut reader, name_alg)?;
    let symmetric = match kind_id {
        ALG_RSA | ALG_ECC => read_symmetric(&mut reader)?,
        _ => return Err(TpmError::Unsupported { field: "type", offset: 0, value: kind_id.into() }),
    };
    let (scheme, kind) = if kind_id == ALG_RSA { read_rsa(&mut reader)? } else { read_ecc(&mut reader)? };
    reader.finish()?;
    Ok(PublicParts { name_alg, attributes, auth_policy, symmetric, scheme, kind })
}

pub(crate) fn read_hash(reader: &mut Reader<'_>, field: &'static str) -> Result<HashAlg, TpmError> {
    let offset = reader.offset();
    let id = reader.u16(field)?;
    HashAlg::from_id(id).ok_or_else(|| TpmError::Unsupported { field, offset, value: id.into() })
}

fn read_attributes(reader: &mut Reader<'_>) -> Result<Attributes, TpmError> {
    let offset = reader.offset();
    let bits = reader.u32("objectAttributes")?;
    Attributes::from_bits(bits).ok_or_else(|| TpmError::BadValue {
        field: "objectAttributes",
        offset,
        value: bits.into(),
    })
}

/// `authPolicy`: empty, or one digest of the Name algorithm (Part 3, 12.1 `TPM2_Create`).
fn read_policy(reader: &mut Reader<'_>, name_alg: HashAlg) -> Result<Vec<u8>, TpmError> {
    let offset = reader.offset();
    let policy = reader.sized("authPolicy", MAX_DIGEST)?;
    if policy.is_empty() || policy.len() == name_alg.digest_len() {
        return Ok(policy.to_vec());
    }
    Err(bad_length("authPolicy", offset, policy.len()))
}

fn bad_length(field: &'static str, offset: usize, len: usize) -> TpmError {
    TpmError::BadValue { field, offset, value: u64::try_from(len).unwrap_or(u64::MAX) }
}

/// `TPMT_SYM_DEF_OBJECT+`.
fn read_symmetric(reader: &mut Reader<'_>) -> Result<Symmetric, TpmError> {
    let offset = reader.offset();
    let alg = reader.u16("symmetric.algorithm")?;
    match alg {
        ALG_NULL => return Ok(Symmetric::Null),
        ALG_AES => {}
        _ => return Err(TpmError::Unsupported { field: "symmetric.algorithm", offset, value: alg.into() }),
    }
    let offset = reader.offset();
    let bits = reader.u16("symmetric.keyBits")?;
    let symmetric = match bits {
        128 => Symmetric::Aes128Cfb,
        256 => Symmetric::Aes256Cfb,
        _ => return Err(TpmError::Unsupported { field: "symmetric.keyBits", offset, value: bits.into() }),
    };
    let offset = reader.offset();
    match reader.u16("symmetric.mode")? {
        ALG_CFB => Ok(symmetric),
        mode => Err(TpmError::Unsupported { field: "symmetric.mode", offset, value: mode.into() }),
    }
}

/// `TPMT_RSA_SCHEME+` and `TPMT_ECC_SCHEME+`; a scheme of the other key type is not allowed.
fn read_scheme(reader: &mut Reader<'_>, kind_id: u16) -> Result<Scheme, TpmError> {
    let offset = reader.offset();
    let id = reader.u16("scheme")?;
    let mut hash = || read_hash(reader, "scheme.hashAlg");
    match (kind_id, id) {
        (_, ALG_NULL) => Ok(Scheme::Null),
        (ALG_RSA, ALG_RSASSA) => hash().map(Scheme::RsaSsa),
        (ALG_RSA, ALG_RSAPSS) => hash().map(Scheme::RsaPss),
        (ALG_RSA, ALG_RSAES) => Ok(Scheme::RsaEs),
        (ALG_RSA, ALG_OAEP) => hash().map(Scheme::Oaep),
        (ALG_ECC, ALG_ECDSA) => hash().map(Scheme::Ecdsa),
        (ALG_ECC, ALG_ECDH) => hash().map(Scheme::Ecdh),
        (ALG_ECC, ALG_RSASSA..=ALG_OAEP) | (ALG_RSA, ALG_ECDSA | ALG_ECDH) => {
            Err(TpmError::BadValue { field: "scheme", offset, value: id.into() })
        }
        _ => Err(TpmError::Unsupported { field: "scheme", offset, value: id.into() }),
    }
}

fn read_rsa(reader: &mut Reader<'_>) -> Result<(Scheme, KeyKind), TpmError> {
    let scheme = read_scheme(reader, ALG_RSA)?;
    let offset = reader.offset();
    let bits = reader.u16("keyBits")?;
    if ![1024, 2048, 3072, 4096].contains(&bits) {
        return Err(TpmError::Unsupported { field: "keyBits", offset, value: bits.into() });
    }
    let offset = reader.offset();
    let exponent = reader.u32("exponent")?;
    if exponent != 0 && exponent != DEFAULT_EXPONENT {
        return Err(TpmError::Unsupported { field: "exponent", offset, value: exponent.into() });
    }
    let offset = reader.offset();
    let modulus = reader.sized("unique.rsa", MAX_RSA_BYTES)?;
    if modulus.len() != usize::from(bits / 8) {
        return Err(bad_length("unique.rsa", offset, modulus.len()));
    }
    Ok((scheme, KeyKind::Rsa { bits, exponent: DEFAULT_EXPONENT, modulus: modulus.to_vec() }))
}

fn read_ecc(reader: &mut Reader<'_>) -> Result<(Scheme, KeyKind), TpmError> {
    let scheme = read_scheme(reader, ALG_ECC)?;
    let offset = reader.offset();
    let id = reader.u16("curveID")?;
    let curve = Curve::from_id(id).ok_or_else(|| TpmError::Unsupported {
        field: "curveID",
        offset,
        value: id.into(),
    })?;
    let offset = reader.offset();
    // No TPM profile gives keys a KDF of their own; Part 2, 12.2.3.6 wants NULL from most.
    let kdf = reader.u16("kdf")?;
    if kdf != ALG_NULL {
        return Err(TpmError::Unsupported { field: "kdf", offset, value: kdf.into() });
    }
    let x = read_coordinate(reader, "unique.ecc.x", curve)?;
    let y = read_coordinate(reader, "unique.ecc.y", curve)?;
    Ok((scheme, KeyKind::Ecc { curve, x, y }))
}

/// Some TPMs strip leading zeros of a coordinate, so a shorter one is padded.
fn read_coordinate(reader: &mut Reader<'_>, field: &'static str, curve: Curve) -> Result<Vec<u8>, TpmError> {
    let bytes = reader.sized(field, curve.field_len())?;
    let mut padded = vec![0; curve.field_len().saturating_sub(bytes.len())];
    padded.extend_from_slice(bytes);
    Ok(padded)
}

pub(crate) fn write(parts: &PublicParts) -> Result<Vec<u8>, TpmError> {
    let mut writer = Writer::default();
    writer.u16(match parts.kind {
        KeyKind::Rsa { .. } => ALG_RSA,
        KeyKind::Ecc { .. } => ALG_ECC,
    });
    writer.u16(parts.name_alg.id());
    writer.u32(parts.attributes.bits());
    writer.sized("authPolicy", &parts.auth_policy)?;
    write_symmetric(&mut writer, parts.symmetric);
    writer.u16(parts.scheme.id());
    if let Some(hash) = parts.scheme.hash() {
        writer.u16(hash.id());
    }
    write_kind(&mut writer, &parts.kind)?;
    Ok(writer.into_bytes())
}

fn write_symmetric(writer: &mut Writer, symmetric: Symmetric) {
    let bits = match symmetric {
        Symmetric::Null => return writer.u16(ALG_NULL),
        Symmetric::Aes128Cfb => 128,
        Symmetric::Aes256Cfb => 256,
    };
    [ALG_AES, bits, ALG_CFB].into_iter().for_each(|value| writer.u16(value));
}

fn write_kind(writer: &mut Writer, kind: &KeyKind) -> Result<(), TpmError> {
    match kind {
        KeyKind::Rsa { bits, exponent, modulus } => {
            writer.u16(*bits);
            // TCG templates write the default as 0; the Name depends on it.
            writer.u32(if *exponent == DEFAULT_EXPONENT { 0 } else { *exponent });
            writer.sized("unique.rsa", modulus)
        }
        KeyKind::Ecc { curve, x, y } => {
            writer.u16(curve.id());
            writer.u16(ALG_NULL);
            writer.sized("unique.ecc.x", x)?;
            writer.sized("unique.ecc.y", y)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ak_parts, ek_parts, p256_key, rsa_parts};

    /// Offsets in an ECC key without policy and symmetric algorithm: type, nameAlg, attributes,
    /// policy size, symmetric, scheme, its hash, curve, kdf, x size.
    const ECC: [usize; 10] = [0, 2, 4, 8, 10, 12, 14, 16, 18, 20];

    fn ecc() -> Vec<u8> {
        write(&ak_parts(&p256_key(1))).unwrap()
    }

    fn patched(mut bytes: Vec<u8>, offset: usize, value: u16) -> Vec<u8> {
        bytes[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    #[test]
    fn round_trips() {
        for parts in [ak_parts(&p256_key(1)), ek_parts(&p256_key(2)), rsa_parts(2048), rsa_parts(3072)] {
            assert_eq!(read(&write(&parts).unwrap()), Ok(parts));
        }
    }

    #[test]
    fn unknown_algorithms_are_unsupported() {
        for (offset, field, value) in [
            (ECC[0], "type", 0x0008),
            (ECC[1], "nameAlg", ALG_NULL),
            (ECC[4], "symmetric.algorithm", 0x0013),
            (ECC[5], "scheme", 0x001A),
            (ECC[6], "scheme.hashAlg", 0x000D),
            (ECC[7], "curveID", 0x0005),
            (ECC[8], "kdf", 0x0020),
        ] {
            let error = TpmError::Unsupported { field, offset, value: value.into() };
            assert_eq!(read(&patched(ecc(), offset, value)), Err(error));
        }
    }

    #[test]
    fn symmetric_details_are_checked() {
        let bytes = write(&PublicParts { auth_policy: vec![], ..ek_parts(&p256_key(1)) }).unwrap();
        let bits = TpmError::Unsupported { field: "symmetric.keyBits", offset: 12, value: 192 };
        assert_eq!(read(&patched(bytes.clone(), 12, 192)), Err(bits));
        let mode = TpmError::Unsupported { field: "symmetric.mode", offset: 14, value: 0x0042 };
        assert_eq!(read(&patched(bytes, 14, 0x0042)), Err(mode));
    }

    #[test]
    fn reserved_attributes_are_refused() {
        let error = TpmError::BadValue { field: "objectAttributes", offset: 4, value: 0x8000_0472 };
        assert_eq!(read(&patched(patched(ecc(), 4, 0x8000), 6, 0x0472)), Err(error));
    }

    #[test]
    fn a_scheme_of_the_other_type_is_refused() {
        for (parts, scheme) in [
            (ak_parts(&p256_key(1)), Scheme::RsaSsa(HashAlg::Sha256)),
            (ak_parts(&p256_key(1)), Scheme::RsaEs),
            (rsa_parts(2048), Scheme::Ecdsa(HashAlg::Sha256)),
        ] {
            let bytes = write(&PublicParts { scheme, ..parts }).unwrap();
            let error = read(&bytes).unwrap_err();
            assert!(matches!(error, TpmError::BadValue { field: "scheme", .. }), "{scheme:?}");
        }
    }

    #[test]
    fn policies_fit_the_name_algorithm() {
        let parts = PublicParts { auth_policy: vec![0; 48], ..ak_parts(&p256_key(1)) };
        let error = TpmError::BadValue { field: "authPolicy", offset: 8, value: 48 };
        assert_eq!(read(&write(&parts).unwrap()), Err(error));
        let parts = PublicParts { auth_policy: vec![0; 65], ..parts };
        let error = TpmError::TooLarge { field: "authPolicy", offset: 8, size: 65, max: 64 };
        assert_eq!(read(&write(&parts).unwrap()), Err(error));
    }

    #[test]
    fn rsa_sizes_and_exponents_are_checked() {
        let bytes = write(&rsa_parts(2048)).unwrap();
        let tail = bytes.len() - 256;
        let (bits, exponent, unique) = (tail - 8, tail - 6, tail - 2);
        let error = TpmError::Unsupported { field: "keyBits", offset: bits, value: 2047 };
        assert_eq!(read(&patched(bytes.clone(), bits, 2047)), Err(error));
        let error = TpmError::BadValue { field: "unique.rsa", offset: unique, value: 256 };
        assert_eq!(read(&patched(bytes.clone(), bits, 3072)), Err(error));
        let error = TpmError::Unsupported { field: "exponent", offset: exponent, value: 3 };
        assert_eq!(read(&patched(bytes.clone(), exponent + 2, 3)), Err(error));
        let error = TpmError::TooLarge { field: "unique.rsa", offset: unique, size: 513, max: 512 };
        assert_eq!(read(&patched(bytes.clone(), unique, 513)), Err(error));
        // 65537 written out is the same exponent and another Name.
        let explicit = patched(patched(bytes, exponent, 1), exponent + 2, 1);
        assert_eq!(read(&explicit), Ok(rsa_parts(2048)));
    }

    #[test]
    fn stripped_coordinates_are_padded_and_long_ones_refused() {
        let mut parts = ak_parts(&p256_key(1));
        let long = TpmError::TooLarge { field: "unique.ecc.x", offset: ECC[9], size: 33, max: 32 };
        parts.kind = KeyKind::Ecc { curve: Curve::P256, x: vec![1; 33], y: vec![1; 32] };
        assert_eq!(read(&write(&parts).unwrap()), Err(long));
        parts.kind = KeyKind::Ecc { curve: Curve::P256, x: vec![1; 31], y: vec![1; 32] };
        let read = read(&write(&parts).unwrap()).unwrap();
        let KeyKind::Ecc { x, .. } = read.kind else { panic!("not ECC") };
        assert_eq!((x.len(), x[0], x[1]), (32, 0, 1));
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        for parts in [ak_parts(&p256_key(1)), ek_parts(&p256_key(1)), rsa_parts(2048)] {
            let mut bytes = write(&parts).unwrap();
            for len in 0..bytes.len() {
                assert!(matches!(read(&bytes[..len]), Err(TpmError::Truncated { .. })), "{len}");
            }
            bytes.push(0);
            let offset = bytes.len() - 1;
            assert_eq!(read(&bytes), Err(TpmError::TrailingBytes { offset }));
        }
    }
}
