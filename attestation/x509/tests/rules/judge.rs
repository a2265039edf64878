//! A made-up world of authorities: everything holds, then one thing at a time does not.

use crate::world::{
    BASIC, Draft, alt_name, basic, common, ek_public, extension, key, oid, platform, public, purpose,
    rsa_spki, seq, tlv, tpm_name, usage,
};
use assay_tpm::KeyKind;
use assay_x509::{
    Certificate, ChainFault, Dates, DeviceBinding, DeviceIdentity, EkCheck, Entry, MAX_DEPTH,
    PlatformCertificate, Role, SignatureFault, Store, VendorClass, X509Error, chain, chain_within, dates,
    device_binding, is_roca, judge_ek,
};
use proptest::prelude::*;
use rsa::pkcs1v15::SigningKey as RsaSigner;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use sha2::Sha256;

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).unwrap()
}

fn root() -> Draft {
    Draft::authority("root", "root", &key(1))
}

fn middle() -> Draft {
    Draft { serial: vec![8], ..Draft::authority("middle", "root", &key(2)) }
}

fn leaf() -> Draft {
    Draft::ek("middle", &key(3))
}

fn entry(certificate: Certificate, role: Role) -> Entry {
    let name = certificate.subject.to_string();
    Entry { name, vendor: None, class: VendorClass::Discrete, role, source: String::new(), certificate }
}

fn store_of(entries: &[(Vec<u8>, Role)]) -> Store {
    let mut store = Store::default();
    for (der, role) in entries {
        store.add(entry(parse(der), *role)).unwrap();
    }
    store
}

fn pinned() -> Store {
    store_of(&[(root().sign(&key(1)), Role::Root)])
}

/// The chain of leaf, middle (sent by the node) and the pinned root, as they come.
fn fault(leaf: &Draft, middle: &Draft, store: &Store) -> Option<ChainFault> {
    let (leaf, middle) = (parse(&leaf.sign(&key(2))), parse(&middle.sign(&key(1))));
    chain(&leaf, &[middle], store).err()
}

#[test]
fn the_world_holds() {
    let (leaf, middle) = (parse(&leaf().sign(&key(2))), parse(&middle().sign(&key(1))));
    let store = pinned();
    let chain = chain(&leaf, &[middle], &store).unwrap();
    assert_eq!((chain.depth, chain.checks, chain.anchor.name.as_str()), (2, 2, "CN=root"));
    for (check, result) in judge_ek(&leaf, &ek_public(&key(3))) {
        assert!(result.is_ok(), "{check:?}: {result:?}");
    }
    assert!(leaf.quirks.is_empty());
}

/// The checks that fail for a draft.
fn failing(draft: &Draft) -> Vec<EkCheck> {
    let certificate = parse(&draft.sign(&key(2)));
    let results = judge_ek(&certificate, &ek_public(&key(3)));
    results.into_iter().filter(|(_, result)| result.is_err()).map(|(check, _)| check).collect()
}

#[test]
fn one_thing_wrong_is_one_check_failed() {
    let good = leaf;
    assert_eq!(failing(&good()), vec![]);
    assert_eq!(failing(&Draft { spki: crate::world::spki(&key(4)), ..good() }), [EkCheck::Key]);
    assert_eq!(failing(&good().with(0, basic(true, None))), [EkCheck::Authority]);
    for other in [usage(0), usage(2), usage(5), extension("2.5.29.15", true, &tlv(3, &[3, 0x28]))] {
        assert_eq!(failing(&good().with(1, other)), [EkCheck::Usage]);
    }
    assert_eq!(failing(&good().with(2, purpose("2.23.133.8.3"))), [EkCheck::Purpose]);
    let unknown = extension("1.2.3.4", true, &seq(&[]));
    assert_eq!(
        failing(&Draft { extensions: [good().extensions, vec![unknown]].concat(), ..good() }),
        [EkCheck::Extension]
    );
    let mild = extension("1.2.3.4", false, &seq(&[]));
    assert_eq!(failing(&Draft { extensions: [good().extensions, vec![mild]].concat(), ..good() }), []);
    let plain = alt_name(false, &tpm_name("id:49465800", "SLB9672"));
    assert_eq!(failing(&good().with(3, plain.clone())), [EkCheck::Subject]);
    assert_eq!(failing(&Draft { subject: common("chip"), ..good().with(3, plain) }), []);
    for manufacturer in ["", "49465800", "id:4946580", "id:4946580g"] {
        assert_eq!(
            failing(&good().with(3, alt_name(true, &tpm_name(manufacturer, "x")))),
            [EkCheck::Subject]
        );
    }
    assert_eq!(failing(&good().with(3, alt_name(true, &tpm_name("id:49465800", "")))), [EkCheck::Subject]);
    let two = Draft { subject: tpm_name("id:53544D20", "other"), ..good() };
    assert_eq!(failing(&two), [EkCheck::Subject], "subject and alternative name differ");
    for missing in 1..4 {
        let mut draft = good();
        draft.extensions.remove(missing);
        let expected = [EkCheck::Usage, EkCheck::Purpose, EkCheck::Subject][missing - 1];
        assert_eq!(failing(&draft), [expected]);
    }
    let old = Draft { version: 1, extensions: vec![], ..good() };
    assert!(failing(&old).contains(&EkCheck::Version));
    // Older certificates name the TPM in the subject.
    let mut older = Draft { subject: tpm_name("id:49465800", "SLB9670"), ..good() };
    older.extensions.remove(3);
    assert_eq!(failing(&older), []);
}

#[test]
fn weak_rsa_keys_are_told() {
    let weak = |modulus: Vec<u8>, exponent: &[u8]| {
        let draft = Draft { spki: rsa_spki(&modulus, exponent), ..leaf().with(1, usage(2)) };
        let bits = u16::try_from(modulus.len() * 8).unwrap();
        let ek = public(KeyKind::Rsa { bits, exponent: 65_537, modulus });
        let results = judge_ek(&parse(&draft.sign(&key(2))), &ek);
        results.into_iter().find(|(check, _)| *check == EkCheck::WeakKey).unwrap().1
    };
    let e: &[u8] = &[1, 0, 1];
    assert!(weak(vec![0xff; 256], e).is_ok());
    assert!(weak(vec![0xff; 128], e).is_err(), "1024 bits");
    assert!(weak(vec![0xff; 256], &[3]).is_err(), "exponent 3");
    assert!(weak(vec![0xff; 256], &[1, 0, 0]).is_err(), "an even exponent");
    assert!(weak(roca_modulus(), e).is_err());
    assert!(is_roca(&roca_modulus()));
    assert!(!is_roca(&[0xff; 256]) && !is_roca(&[]));
}

/// A number of 2048 bits with the structure of CVE-2017-15361: 65537^a + k * M, where M is the product
/// of the first primes (Nemec et al., 2.1), so it is a power of 65537 modulo each of them.
fn roca_modulus() -> Vec<u8> {
    use rsa::BigUint;
    let primes = (2_u32..=701).filter(|n| (2..*n).all(|d| n % d != 0));
    let product = primes.fold(BigUint::from(1_u32), |product, prime| product * prime);
    let base = BigUint::from(65_537_u32).modpow(&BigUint::from(0x1234_5678_u32), &product);
    let wanted = BigUint::from(1_u32) << 2047;
    let factor = &wanted / &product + 1_u32;
    let number = base + factor * product;
    number.to_bytes_be()
}

#[test]
fn an_unknown_root_is_unknown_and_no_more() {
    let nobody = Store::default();
    let seen = fault(&leaf(), &middle(), &nobody).unwrap();
    assert!(seen.is_unknown(), "{seen}");
    // The same names under another root key: a lie about a known authority.
    let other = store_of(&[(Draft::authority("root", "root", &key(5)).sign(&key(5)), Role::Root)]);
    let seen = fault(&leaf(), &middle(), &other);
    assert!(matches!(seen, Some(ChainFault::Signature { fault: SignatureFault::Invalid, .. })), "{seen:?}");
}

#[test]
fn each_link_must_hold() {
    let store = pinned();
    assert_eq!(fault(&leaf(), &middle(), &store), None);
    let no_ca = middle().with(0, basic(false, None));
    assert!(matches!(fault(&leaf(), &no_ca, &store), Some(ChainFault::NotAuthority { .. })));
    let no_sign = middle().with(1, usage(6));
    assert!(matches!(fault(&leaf(), &no_sign, &store), Some(ChainFault::NotAuthority { .. })));
    let unknown = Draft {
        extensions: [middle().extensions, vec![extension("1.2.3.4", true, &seq(&[]))]].concat(),
        ..middle()
    };
    assert!(matches!(fault(&leaf(), &unknown, &store), Some(ChainFault::IssuerExtension { .. })));
    let late = Draft { not_before: "230101000000Z", ..middle() };
    assert!(matches!(fault(&leaf(), &late, &store), Some(ChainFault::IssuerValidity { .. })));
    let over = Draft { not_after: "210101000000Z", ..middle() };
    assert!(matches!(fault(&leaf(), &over, &store), Some(ChainFault::IssuerValidity { .. })));
    let swapped = Draft::authority("middle", "root", &key(6));
    let seen = fault(&leaf(), &swapped, &store);
    assert!(matches!(seen, Some(ChainFault::Signature { fault: SignatureFault::Invalid, .. })), "{seen:?}");
    let renamed = Draft { issuer: common("elsewhere"), ..leaf() };
    assert!(fault(&renamed, &middle(), &store).unwrap().is_unknown());
    let sha1 = Draft { algorithm: seq(&[&oid("1.2.840.10045.4.1")]), ..leaf() };
    let seen = fault(&sha1, &middle(), &store);
    assert!(matches!(seen, Some(ChainFault::Signature { fault: SignatureFault::WeakHash, .. })), "{seen:?}");
    let strange = Draft { algorithm: seq(&[&oid("1.3.101.112")]), ..leaf() };
    let seen = fault(&strange, &middle(), &store);
    assert!(
        matches!(seen, Some(ChainFault::Signature { fault: SignatureFault::UnknownAlgorithm(_), .. })),
        "{seen:?}"
    );
}

#[test]
fn path_lengths_and_depth_are_bounded() {
    let narrow = store_of(&[(root().with(0, basic(true, Some(0))).sign(&key(1)), Role::Root)]);
    assert!(matches!(fault(&leaf(), &middle(), &narrow), Some(ChainFault::PathLength { allowed: 0, .. })));
    let wide = store_of(&[(root().with(0, basic(true, Some(1))).sign(&key(1)), Role::Root)]);
    assert_eq!(fault(&leaf(), &middle(), &wide), None);
    // root -> a1 -> ... -> a5 -> leaf is six authorities; one more is too many.
    let names = ["root", "a1", "a2", "a3", "a4", "a5", "a6"];
    let all: Vec<_> = (1..names.len())
        .map(|i| {
            let (own, above) =
                (u8::try_from(i + 10).unwrap(), if i == 1 { 1 } else { u8::try_from(i + 9).unwrap() });
            parse(&Draft::authority(names[i], names[i - 1], &key(own)).sign(&key(above)))
        })
        .collect();
    let store = pinned();
    let under = |name, signer| parse(&Draft::ek(name, &key(3)).sign(&key(signer)));
    assert_eq!(chain(&under("a5", 15), &all, &store).unwrap().depth, MAX_DEPTH);
    assert_eq!(chain(&under("a6", 16), &all, &store).unwrap_err(), ChainFault::TooLong);
    // Several certificates share what signatures they may cost.
    let mut left = 8;
    assert_eq!(chain_within(&under("a5", 15), &all, &store, &mut left).unwrap().checks, 6);
    assert_eq!(left, 2);
    let fault = chain_within(&under("a5", 15), &all, &store, &mut left).unwrap_err();
    assert_eq!((fault, left), (ChainFault::TooLong, 0));
}

#[test]
fn loops_and_crowds_end() {
    // Two authorities that certify each other, and a crowd of namesakes.
    let a = parse(&Draft::authority("a", "b", &key(11)).sign(&key(12)));
    let b = parse(&Draft::authority("b", "a", &key(12)).sign(&key(11)));
    let leaf = parse(&Draft::ek("a", &key(3)).sign(&key(11)));
    assert!(chain(&leaf, &[a.clone(), b], &pinned()).is_err());
    let crowd: Vec<_> =
        (20..120).map(|n| parse(&Draft::authority("a", "root", &key(n)).sign(&key(1)))).collect();
    assert_eq!(
        chain(&leaf, &crowd, &pinned()).unwrap_err(),
        chain(&leaf, &crowd[..50], &pinned()).unwrap_err()
    );
}

#[test]
fn only_roots_and_pinned_intermediates_end_a_chain() {
    let leaf = parse(&leaf().sign(&key(2)));
    let step = store_of(&[(middle().sign(&key(1)), Role::Intermediate)]);
    assert!(chain(&leaf, &[], &step).unwrap_err().is_unknown());
    let end = store_of(&[(middle().sign(&key(1)), Role::Pinned)]);
    assert_eq!(chain(&leaf, &[], &end).unwrap().depth, 1);
    let both = store_of(&[(middle().sign(&key(1)), Role::Intermediate), (root().sign(&key(1)), Role::Root)]);
    assert_eq!(chain(&leaf, &[], &both).unwrap().depth, 2);
}

#[test]
fn dates_are_told_apart() {
    let leaf = parse(&leaf().sign(&key(2)));
    assert_eq!(dates(&leaf, leaf.not_before), Dates::Valid);
    assert_eq!(dates(&leaf, leaf.not_before - 300), Dates::Valid, "clocks differ");
    assert_eq!(dates(&leaf, leaf.not_before - 301), Dates::Future);
    assert_eq!(dates(&leaf, leaf.not_after), Dates::Valid);
    assert_eq!(dates(&leaf, leaf.not_after + 1), Dates::Expired);
}

#[test]
fn rsa_authorities_sign_with_both_paddings_and_enough_bits() {
    let mut rng = rand_chacha::ChaCha8Rng::from_seed([3; 32]);
    use rand_chacha::rand_core::SeedableRng as _;
    let ssa = seq(&[&oid("1.2.840.113549.1.1.11"), &tlv(5, &[])]);
    let hash = seq(&[&oid("2.16.840.1.101.3.4.2.1"), &tlv(5, &[])]);
    let mgf = seq(&[&oid("1.2.840.113549.1.1.8"), &hash]);
    let parameters = seq(&[&tlv(0xa0, &hash), &tlv(0xa1, &mgf), &tlv(0xa2, &tlv(2, &[32]))]);
    let pss = seq(&[&oid("1.2.840.113549.1.1.10"), &parameters]);
    for (bits, expected) in [(2048, Ok(())), (1024, Err(SignatureFault::KeySize { bits: 1024 }))] {
        let secret = rsa::RsaPrivateKey::new(&mut rng, bits).unwrap();
        let authority =
            Draft { spki: rsa_spki(&secret.n().to_bytes_be(), &secret.e().to_bytes_be()), ..root() };
        let authority = parse(&authority.sign(&key(1)));
        let draft = Draft { algorithm: ssa.clone(), ..leaf() };
        let signature = RsaSigner::<Sha256>::new(secret.clone()).sign(&draft.tbs()).to_vec();
        let signed = parse(&draft.sealed(&draft.tbs(), &signature));
        assert_eq!(signed.verify(&authority.key), expected);
        let other = Draft { serial: vec![1], ..draft.clone() };
        let moved = parse(&other.sealed(&other.tbs(), &signature));
        assert_eq!(moved.verify(&authority.key), expected.and(Err(SignatureFault::Invalid)));
        let draft = Draft { algorithm: pss.clone(), ..leaf() };
        let signer = rsa::pss::SigningKey::<Sha256>::new(secret);
        let signature = signer.sign_with_rng(&mut rng, &draft.tbs()).to_vec();
        assert_eq!(parse(&draft.sealed(&draft.tbs(), &signature)).verify(&authority.key), expected);
    }
}

#[test]
fn authorities_on_larger_curves_sign_too() {
    use p384::ecdsa::signature::hazmat::{PrehashSigner as _, RandomizedPrehashSigner as _};
    use rand_chacha::rand_core::SeedableRng as _;
    use sha2::{Digest as _, Sha384, Sha512};
    let spki = |curve: &str, point: &[u8]| {
        let algorithm = seq(&[&oid("1.2.840.10045.2.1"), &oid(curve)]);
        seq(&[&algorithm, &tlv(3, &[&[0], point].concat())])
    };
    let checked = |spki: Vec<u8>, algorithm: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let authority = parse(&Draft { spki, ..root() }.sign(&key(1)));
        let draft = Draft { algorithm: seq(&[&oid(algorithm)]), ..leaf() };
        let signature = sign(&draft.tbs());
        let moved = Draft { serial: vec![1], ..draft.clone() };
        assert_eq!(parse(&draft.sealed(&draft.tbs(), &signature)).verify(&authority.key), Ok(()));
        let moved = parse(&moved.sealed(&moved.tbs(), &signature)).verify(&authority.key);
        assert_eq!(moved, Err(SignatureFault::Invalid));
        let padded = parse(&draft.sealed(&draft.tbs(), &[&signature[..], &[0]].concat()));
        assert_eq!(padded.verify(&authority.key), Err(SignatureFault::Malformed));
        let zero = parse(&draft.sealed(&draft.tbs(), &seq(&[&tlv(2, &[0]), &tlv(2, &[1])])));
        assert_eq!(zero.verify(&authority.key), Err(SignatureFault::Malformed), "r is zero");
    };
    let p384 = p384::ecdsa::SigningKey::from_slice(&[5; 48]).unwrap();
    let point = p384.verifying_key().to_encoded_point(false);
    checked(spki("1.3.132.0.34", point.as_bytes()), "1.2.840.10045.4.3.3", &|tbs| {
        let signature: p384::ecdsa::Signature = p384.sign_prehash(&Sha384::digest(tbs)).unwrap();
        signature.to_der().as_bytes().to_vec()
    });
    let secret = [&[0][..], &[5; 65]].concat();
    let p521 = p521::ecdsa::SigningKey::from_slice(&secret).unwrap();
    let point = p521::ecdsa::VerifyingKey::from(&p521).to_encoded_point(false);
    checked(spki("1.3.132.0.35", point.as_bytes()), "1.2.840.10045.4.3.4", &|tbs| {
        let mut rng = rand_chacha::ChaCha8Rng::from_seed([4; 32]);
        let signature: p521::ecdsa::Signature =
            p521.sign_prehash_with_rng(&mut rng, &Sha512::digest(tbs)).unwrap();
        signature.to_der().as_bytes().to_vec()
    });
}

#[test]
fn a_point_off_its_curve_is_no_key() {
    let algorithm = seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
    let off = seq(&[&algorithm, &tlv(3, &[&[0, 4][..], &[1; 64]].concat())]);
    let authority = parse(&Draft { spki: off, ..root() }.sign(&key(1)));
    assert_eq!(parse(&leaf().sign(&key(2))).verify(&authority.key), Err(SignatureFault::MalformedKey));
    let rsa = parse(&Draft { spki: rsa_spki(&[0xff; 256], &[1, 0, 1]), ..root() }.sign(&key(1)));
    assert_eq!(parse(&leaf().sign(&key(2))).verify(&rsa.key), Err(SignatureFault::KeyMismatch));
}

/// Quirks are read under their names; what they are not is refused.
#[test]
fn each_quirk_has_a_name_and_a_limit() {
    let quirks = |draft: Draft| {
        let certificate = parse(&draft.sign(&key(2)));
        assert_eq!(
            certificate.verify(&parse(&middle().sign(&key(1))).key),
            Ok(()),
            "over the bytes as they are"
        );
        certificate.quirks.iter().map(|quirk| quirk.name()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(quirks(leaf()), "");
    assert_eq!(quirks(Draft { serial: vec![0x80], ..leaf() }), "non-positive-serial");
    assert_eq!(quirks(Draft { serial: vec![0], ..leaf() }), "non-positive-serial");
    assert_eq!(quirks(Draft { serial: vec![0, 0, 5], ..leaf() }), "padded-serial");
    assert_eq!(quirks(Draft { serial: vec![1; 21], ..leaf() }), "long-serial");
    assert!(Certificate::parse(&Draft { serial: vec![1; 65], ..leaf() }.sign(&key(2))).is_err());
    let explicit = extension(BASIC, true, &seq(&[&tlv(1, &[0])]));
    assert_eq!(quirks(leaf().with(0, explicit)), "explicit-default");
    let loose = |byte| extension(BASIC, true, &seq(&[&tlv(1, &[byte])]));
    assert_eq!(quirks(leaf().with(0, loose(1))), "loose-boolean");
    let attribute = |kind: &str, text: &str| seq(&[&oid(kind), &crate::world::utf8(text)]);
    let (a, b) = (attribute("2.5.4.3", "a"), attribute("2.5.4.10", "b"));
    let rdn = |one: &[u8], two: &[u8]| seq(&[&tlv(0x31, &[one, two].concat())]);
    let named = |subject| Draft { subject, ..leaf() };
    let (first, second) = (quirks(named(rdn(&a, &b))), quirks(named(rdn(&b, &a))));
    assert!([&first, &second].contains(&&"unsorted-set".to_owned()) && first != second);
    let bare = extension("2.5.29.17", true, &tpm_name("id:49465800", "SLB9672"));
    assert_eq!(quirks(leaf().with(3, bare)), "bare-name");
    let no_null = rsa_spki(&[0xff; 256], &[1, 0, 1]);
    let no_null = seq(&[&seq(&[&oid("1.2.840.113549.1.1.1")]), &no_null[19..]]);
    assert_eq!(quirks(Draft { spki: no_null, ..leaf() }), "missing-null");
}

#[test]
fn both_algorithms_must_agree() {
    let draft = leaf();
    let other = Draft { algorithm: seq(&[&oid("1.2.840.10045.4.3.3")]), ..leaf() };
    let der = other.sealed(&draft.tbs(), &[0x30, 0]);
    assert!(matches!(Certificate::parse(&der), Err(X509Error::Value { field: "signatureAlgorithm", .. })));
    let twice = Draft { extensions: vec![basic(false, None), basic(false, None)], ..leaf() };
    assert!(matches!(
        Certificate::parse(&twice.sign(&key(2))),
        Err(X509Error::Value { field: "extensions", .. })
    ));
    let many = Draft {
        extensions: (1..40).map(|n| extension(&format!("1.2.3.{n}"), false, &[5, 0])).collect(),
        ..leaf()
    };
    assert!(matches!(Certificate::parse(&many.sign(&key(2))), Err(X509Error::TooMany { .. })));
    let bad = leaf().with(0, extension(BASIC, true, &[0x30, 0, 0]));
    assert!(matches!(Certificate::parse(&bad.sign(&key(2))), Err(X509Error::Trailing { .. })));
}

#[test]
fn platform_certificates_are_signed_and_about_one_tpm() {
    let ek = parse(&leaf().sign(&key(2)));
    let other = parse(&Draft { serial: vec![10], ..leaf() }.sign(&key(2)));
    let maker = parse(&Draft::authority("maker", "maker", &key(9)).sign(&key(9)));
    let seen = PlatformCertificate::from_nv(&platform(&ek, 9)).unwrap();
    assert_eq!((seen.names.manufacturer.as_str(), seen.names.serial.as_str()), ("Maker", "S-1"));
    assert_eq!(seen.verify(&maker), Ok(()));
    assert!(seen.is_about(&ek) && !seen.is_about(&other));
    let forged = PlatformCertificate::from_nv(&platform(&ek, 8)).unwrap();
    assert_eq!(forged.verify(&maker), Err(SignatureFault::Invalid));
    let stranger = parse(&Draft::authority("stranger", "stranger", &key(9)).sign(&key(9)));
    assert_eq!(seen.verify(&stranger), Err(SignatureFault::KeyMismatch));
}

#[test]
fn device_certificates_say_what_they_are_bound_to() {
    let ek = parse(&leaf().sign(&key(2)));
    let ak = ek_public(&key(4));
    let module = |kind: &str, serial: &[u8]| {
        let value = seq(&[&oid(kind), &tlv(4, serial)]);
        let other = tlv(0xa0, &[oid("1.3.6.1.5.5.7.8.4"), tlv(0xa0, &value)].concat());
        Draft { spki: crate::world::spki(&key(7)), ..leaf() }
            .with(3, extension("2.5.29.17", true, &seq(&[&other])))
            .with(2, purpose("2.23.133.11.1.1"))
    };
    let binding = |draft: Draft| {
        let certificate = parse(&draft.sign(&key(2)));
        let identity = DeviceIdentity::of(&certificate).unwrap();
        (device_binding(&certificate, &identity, &ak, Some(&ek)), identity)
    };
    let print = ek.fingerprint().0;
    let (bound, identity) = binding(module("2.23.133.12.1", &print));
    assert_eq!(bound, DeviceBinding::EndorsementKey);
    assert_eq!(identity.assurances.iter().map(|a| a.name()).collect::<Vec<_>>(), ["residency"]);
    assert_eq!(binding(module("2.23.133.12.1", &[1; 32])).0, DeviceBinding::None);
    assert_eq!(binding(module("1.2.3.4", &print)).0, DeviceBinding::None);
    let own = Draft { spki: crate::world::spki(&key(4)), ..module("1.2.3.4", b"serial") };
    let (bound, identity) = binding(own);
    assert_eq!((bound, identity.hardware_serial.as_slice()), (DeviceBinding::AttestationKey, &b"serial"[..]));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Certificate::from_file(&bytes);
        let _ = PlatformCertificate::from_nv(&bytes);
    }

    #[test]
    fn any_edit_of_a_certificate_is_refused_or_unsigned(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let der = leaf().sign(&key(2));
        let mut changed = der.clone();
        let at = at.index(der.len());
        changed[at] = byte;
        if changed != der && let Ok(certificate) = Certificate::parse(&changed) {
            prop_assert!(certificate.verify(&parse(&middle().sign(&key(1))).key).is_err());
        }
        let _ = PlatformCertificate::from_nv(&changed);
    }
}
