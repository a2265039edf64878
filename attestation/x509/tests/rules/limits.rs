//! Keys, numbers and sizes at their limits, and which of several faults is told.

use crate::world::{
    Draft, basic, common, ek_public, extension, key, oid, public, rsa_spki, seq, tlv, tpm_name, usage,
};
use assay_tpm::KeyKind;
use assay_x509::{
    Certificate, ChainFault, DeviceIdentity, EcCurve, EkCheck, Entry, MAX_NV, PublicKey, Quirk, Role, Store,
    VendorClass, X509Error, chain, der_to_pem, judge_ek, pem_to_der, strong,
};

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).unwrap()
}

fn store(draft: &Draft, signer: u8) -> Store {
    let certificate = parse(&draft.sign(&key(signer)));
    let mut store = Store::default();
    let (name, class, source) = ("root".to_owned(), VendorClass::Discrete, String::new());
    store.add(Entry { name, vendor: None, class, role: Role::Root, source, certificate }).unwrap();
    store
}

/// An authority's namesake that may not sign.
fn impostor(name: &str) -> Certificate {
    parse(&Draft::authority(name, "root", &key(9)).with(0, basic(false, None)).sign(&key(1)))
}

#[test]
fn a_known_authority_that_did_not_sign_outweighs_the_rest() {
    let leaf = parse(&Draft::ek("root", &key(3)).sign(&key(1)));
    let other = store(&Draft::authority("root", "root", &key(5)), 5);
    let fault = chain(&leaf, &[impostor("root")], &other).unwrap_err();
    assert!(matches!(fault, ChainFault::Signature { .. }), "{fault}");
    assert!(!fault.is_unknown());
    let missing = chain(&leaf, &[], &Store::default()).unwrap_err();
    assert_eq!((missing.is_unknown(), missing.to_string().contains("root")), (true, true));
}

#[test]
fn an_issuer_that_was_there_outweighs_a_chain_too_long() {
    let names = ["root", "a1", "a2", "a3", "a4", "a5", "a6"];
    let link = |n: u8| {
        let (own, above) = (key(n + 10), if n == 1 { key(1) } else { key(n + 9) });
        let at = usize::from(n);
        parse(&Draft::authority(names[at], names[at - 1], &own).sign(&above))
    };
    let links: Vec<_> = (1..7).map(link).collect();
    let leaf = parse(&Draft::ek("a6", &key(3)).sign(&key(16)));
    let root = store(&Draft::authority("root", "root", &key(1)), 1);
    assert_eq!(chain(&leaf, &links, &root).unwrap_err(), ChainFault::TooLong);
    let with_impostor = [vec![impostor("a6")], links].concat();
    let fault = chain(&leaf, &with_impostor, &root).unwrap_err();
    assert!(matches!(fault, ChainFault::NotAuthority { .. }), "{fault}");
}

#[test]
fn serial_numbers_are_told_by_their_length_and_sign() {
    let quirks = |serial: &[u8]| {
        let draft = Draft { serial: serial.to_vec(), ..Draft::ek("root", &key(3)) };
        let certificate = Certificate::parse(&draft.sign(&key(1)))?;
        Ok::<_, X509Error>(certificate.quirks.into_iter().collect::<Vec<_>>())
    };
    let signed = |len: usize| [&[0, 0x80][..], &vec![1; len - 2]].concat();
    assert_eq!(quirks(&[0, 0x80]), Ok(vec![]), "the zero is a sign");
    assert_eq!(quirks(&[0, 0x7f]), Ok(vec![Quirk::PaddedSerial]));
    assert_eq!(quirks(&signed(21)), Ok(vec![]));
    for len in [21, 22, 23, 64] {
        assert_eq!(quirks(&vec![1; len]), Ok(vec![Quirk::LongSerial]), "{len}");
    }
    assert_eq!(quirks(&signed(22)), Ok(vec![Quirk::LongSerial]));
    assert!(matches!(quirks(&[1; 65]), Err(X509Error::Oversized { field: "serialNumber", len: 65, .. })));
}

#[test]
fn files_are_pem_where_they_say_so() {
    let der = Draft::ek("root", &key(3)).sign(&key(1));
    let certificate = parse(&der);
    assert_eq!(Certificate::from_file(&der).as_ref(), Ok(&certificate));
    assert_eq!(Certificate::from_file(der_to_pem(&der).as_bytes()).as_ref(), Ok(&certificate));
    assert!(matches!(Certificate::from_file(b"plain text"), Err(X509Error::Tag { .. })));
    assert!(matches!(Certificate::from_file(b"-----BEGIN"), Err(X509Error::Pem { .. })));
}

#[test]
fn sizes_are_bounded() {
    for len in [MAX_NV, MAX_NV + 1, MAX_NV + 2] {
        let seen = Certificate::parse(&vec![0; len]);
        let over = Err(X509Error::Oversized { field: "certificate", len, max: MAX_NV });
        assert_eq!(seen == over, len > MAX_NV, "{len}");
    }
    let mut der = Draft::ek("root", &key(3)).sign(&key(1));
    let whole = parse(&der);
    der.resize(MAX_NV, 0xff);
    assert_eq!(Certificate::from_nv(&der).unwrap().der(), whole.der());
    let max = 4 * MAX_NV;
    for len in [max, max + 1, max + 2] {
        let mut pem = der_to_pem(whole.der());
        pem.push_str(&" ".repeat(len - pem.len()));
        let over = Err(X509Error::Oversized { field: "PEM", len, max });
        assert_eq!(pem_to_der(&pem), if len > max { over } else { Ok(whole.der().to_vec()) });
    }
}

fn rsa(modulus: Vec<u8>, exponent: &[u8]) -> PublicKey {
    PublicKey::Rsa { modulus, exponent: exponent.to_vec() }
}

#[test]
fn keys_are_measured_and_described() {
    let bits = |first: u8| rsa([&[first][..], &[0xff; 255]].concat(), &[1, 0, 1]).bits();
    assert_eq!([bits(0xff), bits(0x7f), bits(1)], [2048, 2047, 2041]);
    let curves = [EcCurve::P256, EcCurve::P384, EcCurve::P521];
    assert_eq!(curves.map(EcCurve::field_len), [32, 48, 66]);
    let described = curves.map(|curve| PublicKey::Ec { curve, point: vec![] }.describe());
    assert_eq!(described, ["P-256", "P-384", "P-521"]);
    assert_eq!(rsa(vec![0xff; 384], &[3]).describe(), "RSA-3072");
}

#[test]
fn an_rsa_exponent_has_three_or_four_bytes_and_is_odd() {
    let judged = |exponent: &[u8]| strong(&rsa(vec![0xff; 256], exponent)).is_ok();
    for good in [&[1, 0, 1][..], &[1, 0, 0, 1]] {
        assert!(judged(good), "{good:?}");
    }
    for bad in [&[][..], &[3], &[1, 1], &[1, 0, 2], &[1, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 1]] {
        assert!(!judged(bad), "{bad:?}");
    }
}

#[test]
fn a_tpms_rsa_key_is_itself_without_leading_zeros() {
    let kind = KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: vec![0xff; 256] };
    let ek = public(kind);
    assert_eq!(PublicKey::of(&ek), rsa(vec![0xff; 256], &[1, 0, 1]));
    let spki = rsa_spki(&[0xff; 256], &[1, 0, 1]);
    let judged = |bit| {
        let draft = Draft { spki: spki.clone(), ..Draft::ek("root", &key(3)).with(1, usage(bit)) };
        let results = judge_ek(&parse(&draft.sign(&key(1))), &ek).into_iter();
        results.filter(|(_, result)| result.is_err()).map(|(check, _)| check).collect::<Vec<_>>()
    };
    assert_eq!(judged(2), [], "keyEncipherment");
    assert_eq!(judged(4), [EkCheck::Usage], "keyAgreement");
    let short = KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: [&[0][..], &[0xff; 255]].concat() };
    assert_eq!(PublicKey::of(&public(short)), rsa(vec![0xff; 255], &[1, 0, 1]));
}

#[test]
fn faults_of_keys_say_where() {
    let refused = |spki: Vec<u8>| {
        let der = Draft { spki, ..Draft::ek("root", &key(3)) }.sign(&key(1));
        (Certificate::parse(&der).unwrap_err(), der)
    };
    let algorithm = |null: &[u8]| seq(&[&oid("1.2.840.113549.1.1.1"), &tlv(5, null)]);
    let (error, der) = refused(seq(&[&algorithm(&[]), &tlv(3, &[0, 0x31, 0])]));
    let offset = der.windows(5).position(|bytes| bytes == [3, 3, 0, 0x31, 0]).unwrap() + 3;
    assert_eq!(error, X509Error::Tag { field: "RSAPublicKey", offset, expected: 0x30, seen: 0x31 });
    let good = rsa_spki(&[0xff; 256], &[1, 0, 1]);
    let (error, _) = refused(seq(&[&algorithm(&[0]), &good[19..]]));
    assert!(matches!(error, X509Error::Value { field: "subjectPublicKeyInfo", .. }), "{error}");
}

#[test]
fn the_same_name_twice_is_one_name() {
    let draft = Draft { subject: tpm_name("id:49465800", "SLB9672"), ..Draft::ek("root", &key(3)) };
    let results = judge_ek(&parse(&draft.sign(&key(1))), &ek_public(&key(3)));
    assert!(results.iter().all(|(_, result)| result.is_ok()), "{results:?}");
}

#[test]
fn a_permanent_identifier_is_read() {
    let read = |content: &[u8]| {
        let other = tlv(0xa0, &[oid("1.3.6.1.5.5.7.8.3"), tlv(0xa0, &seq(&[content]))].concat());
        let draft = Draft { subject: common("device"), ..Draft::ek("root", &key(3)) };
        let draft = draft.with(3, extension("2.5.29.17", false, &seq(&[&other])));
        DeviceIdentity::of(&parse(&draft.sign(&key(1)))).unwrap()
    };
    assert_eq!(read(&crate::world::utf8("unit 7")).permanent_id, "unit 7");
    assert_eq!(read(&[]).permanent_id, "");
    assert_eq!(read(&crate::world::utf8("unit 7")).hardware_type, None);
}
