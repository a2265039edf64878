//! What decides at the edges: key identifiers, versions, algorithms and their parameters.

use crate::world::{Draft, extension, key, oid, seq, spki, tlv};
use assay_x509::{
    Certificate, Entry, Hash, Quirk, Role, SignatureAlgorithm, SignatureFault, Store, VendorClass, X509Error,
    chain,
};

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).unwrap()
}

fn pinned(draft: &Draft) -> Store {
    let certificate = parse(&draft.sign(&key(1)));
    let mut store = Store::default();
    let (name, class, source) = ("root".to_owned(), VendorClass::Discrete, String::new());
    store.add(Entry { name, vendor: None, class, role: Role::Root, source, certificate }).unwrap();
    store
}

fn with_more(mut draft: Draft, extension: Vec<u8>) -> Draft {
    draft.extensions.push(extension);
    draft
}

#[test]
fn key_identifiers_tell_namesakes_apart_where_both_have_one() {
    let subject = |id: &[u8]| extension("2.5.29.14", false, &tlv(4, id));
    let authority = |id: &[u8]| extension("2.5.29.35", false, &seq(&[&tlv(0x80, id)]));
    let root = || Draft::authority("root", "root", &key(1));
    let leaf = || Draft::ek("root", &key(3));
    let found = |root: Draft, leaf: Draft| chain(&parse(&leaf.sign(&key(1))), &[], &pinned(&root)).is_ok();
    assert!(found(with_more(root(), subject(b"a")), with_more(leaf(), authority(b"a"))));
    assert!(!found(with_more(root(), subject(b"a")), with_more(leaf(), authority(b"b"))));
    assert!(found(with_more(root(), subject(b"a")), leaf()));
    assert!(found(root(), with_more(leaf(), authority(b"b"))));
}

/// A draft with its version's number replaced.
fn numbered(draft: &Draft, number: u8) -> Result<Certificate, X509Error> {
    let mut tbs = draft.tbs();
    let at = tbs.windows(4).position(|bytes| bytes == [0xa0, 3, 2, 1]).unwrap();
    tbs[at + 4] = number;
    Certificate::parse(&draft.sealed(&tbs, &seq(&[])))
}

#[test]
fn versions_are_one_to_three() {
    let draft = Draft { version: 2, extensions: vec![], ..Draft::ek("root", &key(3)) };
    let first = numbered(&draft, 0).unwrap();
    assert_eq!((first.version, first.quirks.contains(&Quirk::ExplicitDefault)), (1, true));
    assert_eq!(numbered(&draft, 1).unwrap().version, 2);
    assert_eq!(numbered(&draft, 2).unwrap().version, 3);
    assert!(matches!(numbered(&draft, 3), Err(X509Error::Value { field: "version", .. })));
    let plain = parse(&Draft { version: 1, ..draft }.sign(&key(1)));
    assert_eq!((plain.version, plain.quirks.is_empty()), (1, true));
}

#[test]
fn what_a_version_does_not_have_is_refused() {
    let with_id = |version, tag| {
        let spki = [spki(&key(3)), tlv(tag, &[0, 1])].concat();
        let draft = Draft { version, extensions: vec![], spki, ..Draft::ek("root", &key(3)) };
        Certificate::parse(&draft.sign(&key(1))).err()
    };
    for tag in [0x81, 0x82] {
        assert!(matches!(with_id(1, tag), Some(X509Error::Value { field: "uniqueIdentifier", .. })));
        assert_eq!((with_id(2, tag), with_id(3, tag)), (None, None));
    }
    for (version, refused) in [(1, true), (2, true), (3, false)] {
        let draft = Draft { version, ..Draft::ek("root", &key(3)) };
        assert_eq!(Certificate::parse(&draft.sign(&key(1))).is_err(), refused, "{version}");
    }
}

#[test]
fn a_certificate_is_known_by_its_bytes() {
    let der = Draft::ek("root", &key(3)).sign(&key(1));
    let certificate = parse(&der);
    assert_eq!(certificate.der(), der);
    let print = certificate.fingerprint();
    assert_eq!(format!("{print:?}"), format!("Fingerprint({print})"));
    assert_eq!(print.to_string(), hex::encode(print.0));
    let padded = [&der[..], &[0xff; 7]].concat();
    assert_eq!(Certificate::from_nv(&padded).unwrap().der(), der);
}

fn algorithm(identifier: Vec<u8>) -> Result<(SignatureAlgorithm, bool), X509Error> {
    let draft = Draft { algorithm: identifier, ..Draft::ek("root", &key(3)) };
    let certificate = Certificate::parse(&draft.sign(&key(1)))?;
    Ok((certificate.algorithm(), certificate.quirks.contains(&Quirk::MissingNull)))
}

#[test]
fn pss_names_one_hash_for_everything() {
    let pss = |hash: &str, mask: &str, salt: &[u8], trailer: u8| {
        let hashes = [hash, mask].map(|hash| seq(&[&oid(hash), &tlv(5, &[])]));
        let mgf = seq(&[&oid("1.2.840.113549.1.1.8"), &hashes[1]]);
        let parts = [
            tlv(0xa0, &hashes[0]),
            tlv(0xa1, &mgf),
            tlv(0xa2, &tlv(2, salt)),
            tlv(0xa3, &tlv(2, &[trailer])),
        ];
        algorithm(seq(&[&oid("1.2.840.113549.1.1.10"), &tlv(0x30, &parts.concat())])).map(|read| read.0)
    };
    let (sha1, sha256) = ("1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1");
    let (sha384, sha512) = ("2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3");
    for (oid, hash) in [(sha256, Hash::Sha256), (sha384, Hash::Sha384), (sha512, Hash::Sha512)] {
        assert_eq!(pss(oid, oid, &[32], 1), Ok(SignatureAlgorithm::RsaPss(hash, 32)));
    }
    assert_eq!(pss(sha1, sha1, &[20], 1), Ok(SignatureAlgorithm::Sha1));
    let other = "2.16.840.1.101.3.4.2.4";
    assert!(matches!(pss(other, other, &[28], 1), Ok(SignatureAlgorithm::Unknown(_))));
    assert_eq!(pss(sha256, sha256, &[2, 0], 1), Ok(SignatureAlgorithm::RsaPss(Hash::Sha256, 512)));
    for bad in [pss(sha256, sha384, &[32], 1), pss(sha256, sha256, &[32], 2), pss(sha256, sha256, &[2, 1], 1)]
    {
        assert!(matches!(bad, Err(X509Error::Value { field: "RSASSA-PSS-params", .. })), "{bad:?}");
    }
    let defaults = algorithm(seq(&[&oid("1.2.840.113549.1.1.10"), &seq(&[])]));
    assert_eq!(defaults, Ok((SignatureAlgorithm::Sha1, false)), "RFC 4055 3.1");
}

#[test]
fn identifiers_of_algorithms_have_their_parameters_and_no_others() {
    let (null, filled) = (tlv(5, &[]), tlv(5, &[0]));
    let rsa = oid("1.2.840.113549.1.1.11");
    let read = SignatureAlgorithm::RsaPkcs1(Hash::Sha256);
    assert_eq!(algorithm(seq(&[&rsa, &null])), Ok((read, false)));
    assert_eq!(algorithm(seq(&[&rsa])), Ok((read, true)), "a quirk");
    assert!(algorithm(seq(&[&rsa, &filled])).is_err());
    assert!(algorithm(seq(&[&rsa, &null, &null])).is_err());
    let ecdsa = oid("1.2.840.10045.4.3.2");
    assert_eq!(algorithm(seq(&[&ecdsa])), Ok((SignatureAlgorithm::Ecdsa(Hash::Sha256), false)));
    for (number, hash) in [("12", Hash::Sha384), ("13", Hash::Sha512)] {
        let rsa = oid(&format!("1.2.840.113549.1.1.{number}"));
        assert_eq!(algorithm(seq(&[&rsa, &null])), Ok((SignatureAlgorithm::RsaPkcs1(hash), false)));
    }
    for weak in ["1.2.840.113549.1.1.5", "1.2.840.10045.4.1"] {
        assert_eq!(algorithm(seq(&[&oid(weak)])).unwrap().0, SignatureAlgorithm::Sha1);
    }
}

#[test]
fn a_key_that_nobody_checks_is_named() {
    let strange = seq(&[&seq(&[&oid("1.3.101.112")]), &tlv(3, &[&[0][..], &[7; 32]].concat())]);
    let authority = parse(&Draft { spki: strange, ..Draft::authority("a", "a", &key(1)) }.sign(&key(1)));
    let leaf = parse(&Draft::ek("a", &key(3)).sign(&key(1)));
    let seen = leaf.verify(&authority.key);
    assert!(matches!(seen, Err(SignatureFault::UnknownAlgorithm(oid)) if oid.to_string() == "1.3.101.112"));
}
