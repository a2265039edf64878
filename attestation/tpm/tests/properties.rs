//! Parsers on any bytes, and on nearly valid ones: a value or a typed error, and values that
//! encode to what they were read from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_tpm::{
    Attest, AttestBody, Attributes, ClockInfo, Curve, HashAlg, KeyKind, Name, PcrSelection, PcrSet, Public,
    PublicParts, QuoteInfo, Scheme, Signature, Symmetric, TimeInfo, check_ak,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = HashAlg> {
    prop_oneof![Just(HashAlg::Sha1), Just(HashAlg::Sha256), Just(HashAlg::Sha384)]
}

fn ecc() -> impl Strategy<Value = (Scheme, KeyKind)> {
    let scheme =
        prop_oneof![Just(Scheme::Null), hash().prop_map(Scheme::Ecdsa), hash().prop_map(Scheme::Ecdh)];
    let kind = prop_oneof![Just(Curve::P256), Just(Curve::P384)].prop_flat_map(|curve| {
        let coordinate = || vec(any::<u8>(), curve.field_len());
        (coordinate(), coordinate()).prop_map(move |(x, y)| KeyKind::Ecc { curve, x, y })
    });
    (scheme, kind)
}

fn rsa() -> impl Strategy<Value = (Scheme, KeyKind)> {
    let scheme = prop_oneof![
        Just(Scheme::Null),
        Just(Scheme::RsaEs),
        hash().prop_map(Scheme::RsaSsa),
        hash().prop_map(Scheme::RsaPss),
        hash().prop_map(Scheme::Oaep),
    ];
    let kind = prop_oneof![Just(1024_u16), Just(2048), Just(3072), Just(4096)].prop_flat_map(|bits| {
        vec(any::<u8>(), usize::from(bits / 8)).prop_map(move |modulus| KeyKind::Rsa {
            bits,
            exponent: 65_537,
            modulus,
        })
    });
    (scheme, kind)
}

fn public() -> impl Strategy<Value = PublicParts> {
    let symmetric =
        prop_oneof![Just(Symmetric::Null), Just(Symmetric::Aes128Cfb), Just(Symmetric::Aes256Cfb)];
    let attributes = any::<u32>().prop_map(|bits| Attributes::from_bits(bits & 0x000f_0ff6).unwrap());
    (hash(), attributes, any::<bool>(), symmetric, prop_oneof![ecc(), rsa()]).prop_map(
        |(name_alg, attributes, policy, symmetric, (scheme, kind))| PublicParts {
            name_alg,
            attributes,
            auth_policy: vec![1; if policy { name_alg.digest_len() } else { 0 }],
            symmetric,
            scheme,
            kind,
        },
    )
}

fn clock() -> impl Strategy<Value = ClockInfo> {
    any::<(u64, u32, u32, bool)>().prop_map(|(clock, reset_count, restart_count, safe)| ClockInfo {
        clock,
        reset_count,
        restart_count,
        safe,
    })
}

fn body() -> impl Strategy<Value = AttestBody> {
    let pcrs = vec(0_u8..24, 0..24).prop_map(|indices| PcrSet::from_indices(&indices).unwrap());
    let banks = prop_oneof![
        Just(vec![]),
        Just(vec![HashAlg::Sha256]),
        Just(vec![HashAlg::Sha384, HashAlg::Sha1, HashAlg::Sha256])
    ];
    let quote = (banks, pcrs, vec(any::<u8>(), 0..=64)).prop_map(|(banks, pcrs, pcr_digest)| {
        let selection = banks.into_iter().map(|alg| PcrSelection { alg, pcrs }).collect();
        AttestBody::Quote(QuoteInfo { selection, pcr_digest })
    });
    let time = (any::<u64>(), clock(), any::<u64>()).prop_map(|(time, clock_info, firmware_version)| {
        AttestBody::Time(TimeInfo { time, clock_info, firmware_version })
    });
    prop_oneof![quote, time]
}

fn attest() -> impl Strategy<Value = Attest> {
    let buffer = || vec(any::<u8>(), 0..=66);
    (buffer(), buffer(), clock(), any::<u64>(), body()).prop_map(
        |(qualified_signer, extra_data, clock_info, firmware_version, body)| Attest {
            qualified_signer,
            extra_data,
            clock_info,
            firmware_version,
            body,
        },
    )
}

fn signature() -> impl Strategy<Value = Signature> {
    let number = || vec(any::<u8>(), 0..=48);
    let rsa = || (hash(), vec(any::<u8>(), 0..=512));
    prop_oneof![
        (hash(), number(), number()).prop_map(|(hash, r, s)| Signature::ecdsa(hash, &r, &s).unwrap()),
        rsa().prop_map(|(hash, sig)| Signature::rsassa(hash, &sig).unwrap()),
        rsa().prop_map(|(hash, sig)| Signature::rsapss(hash, &sig).unwrap()),
    ]
}

/// `bytes` with the one at `at` set to `value`.
fn damaged(mut bytes: Vec<u8>, at: prop::sample::Index, value: u8) -> Vec<u8> {
    let at = at.index(bytes.len());
    bytes[at] = value;
    bytes
}

proptest! {
    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in vec(any::<u8>(), 0..700)) {
        let _ = Public::parse(&bytes);
        let _ = Attest::parse(&bytes);
        let _ = Signature::parse(&bytes);
        let _ = Name::parse(&bytes);
    }

    #[test]
    fn public_areas_round_trip(parts in public()) {
        let public = Public::from_parts(&parts).unwrap();
        prop_assert_eq!(public.parts(), &parts);
        prop_assert_eq!(Public::parse(&public.to_bytes()), Ok(public));
    }

    #[test]
    fn attestations_round_trip(attest in attest()) {
        let bytes = attest.to_bytes().unwrap();
        let parsed = Attest::parse(&bytes).unwrap();
        prop_assert_eq!(parsed.to_bytes().unwrap(), bytes);
        prop_assert_eq!(parsed, attest);
    }

    #[test]
    fn signatures_round_trip(signature in signature()) {
        prop_assert_eq!(Signature::parse(&signature.to_bytes()), Ok(signature));
    }

    #[test]
    fn damaged_structures_never_panic(
        parts in public(),
        attest in attest(),
        sig in signature(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let sig = Signature::parse(&damaged(sig.to_bytes(), at, value));
        if let Ok(attest) = Attest::parse(&damaged(attest.to_bytes().unwrap(), at, value)) {
            let _ = (attest.quote().map(QuoteInfo::covers_nothing), attest.time());
        }
        if let Ok(public) = Public::parse(&damaged(Public::from_parts(&parts).unwrap().to_bytes(), at, value)) {
            let _ = (public.name(), public.check_key(), check_ak(&public));
            if let Ok(sig) = sig {
                prop_assert!(public.verify(b"message", &sig).is_err(), "nobody signed this");
            }
        }
    }
}
