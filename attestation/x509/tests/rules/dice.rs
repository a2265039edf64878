//! Firmware digests of DICE certificates, written byte by byte.

use crate::world::{Draft, extension, key, oid, seq, spki, tlv};
use assay_x509::{Certificate, X509Error, fwids};

const COMPOSITE_ID: &str = "2.23.133.5.4.1";
const TCB_INFO: &str = "2.23.133.5.4.1.1";
const SHA384: &str = "2.16.840.1.101.3.4.2.2";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";

fn certificate(extensions: Vec<Vec<u8>>) -> Certificate {
    let draft = Draft { extensions, ..Draft::authority("leaf", "issuer", &key(1)) };
    Certificate::parse(&draft.sign(&key(1))).unwrap()
}

fn read(kind: &str, value: &[u8]) -> Result<Vec<(String, Vec<u8>)>, X509Error> {
    let list = fwids(&certificate(vec![extension(kind, false, value)]))?;
    Ok(list.into_iter().map(|fwid| (fwid.algorithm.to_string(), fwid.digest)).collect())
}

fn fwid(algorithm: &str, digest: &[u8]) -> Vec<u8> {
    seq(&[&oid(algorithm), &tlv(4, digest)])
}

#[test]
fn a_composite_device_id_has_one_digest() {
    let parts = [tlv(2, &[1]), spki(&key(2)), fwid(SHA384, &[7; 48])];
    let whole = seq(&[&parts[0], &parts[1], &parts[2]]);
    assert_eq!(read(COMPOSITE_ID, &whole), Ok(vec![(SHA384.into(), vec![7; 48])]));
    for bad in [
        seq(&[&parts[0], &parts[1]]),
        seq(&[&parts[1], &parts[2]]),
        seq(&[&parts[0], &parts[2]]),
        seq(&[&parts[0], &parts[1], &parts[2], &parts[2]]),
        [&whole[..], &[5, 0]].concat(),
        seq(&[&parts[0], &parts[1], &seq(&[&oid(SHA384)])]),
        seq(&[&parts[0], &parts[1], &seq(&[&oid(SHA384), &tlv(4, &[7]), &tlv(4, &[7])])]),
        seq(&[&parts[0], &parts[1], &seq(&[&oid(SHA384), &tlv(3, &[7])])]),
        seq(&[&tlv(2, &[0xff]), &parts[1], &parts[2]]),
    ] {
        assert!(read(COMPOSITE_ID, &bad).is_err(), "{bad:x?}");
    }
}

#[test]
fn a_tcb_info_has_a_list() {
    let list = tlv(0xa6, &[fwid(SHA384, &[7; 48]), fwid(SHA256, &[8; 32])].concat());
    let expected = vec![(SHA384.to_owned(), vec![7; 48]), (SHA256.to_owned(), vec![8; 32])];
    let texts = [tlv(0x80, b"vendor"), tlv(0x81, b"model"), tlv(0x82, b"1")];
    let numbers = [tlv(0x83, &[1]), tlv(0x84, &[0]), tlv(0x85, &[0])];
    let rest =
        [tlv(0x87, &[0, 0x80]), tlv(0x88, &[1]), tlv(0x89, &[2]), tlv(0x8a, &[0, 0x80]), tlv(0xab, &[])];
    let whole = [texts.concat(), numbers.concat(), list.clone(), rest.concat()].concat();
    assert_eq!(read(TCB_INFO, &tlv(0x30, &whole)), Ok(expected.clone()));
    assert_eq!(read(TCB_INFO, &tlv(0x30, &list)), Ok(expected), "every other member may be absent");
    for bad in [
        whole.clone(),
        tlv(0x30, &[texts.concat(), numbers.concat(), rest.concat()].concat()),
        tlv(0x30, &[list.clone(), texts.concat()].concat()),
        tlv(0x30, &[&list[..], &list].concat()),
        tlv(0x30, &[&list[..], &tlv(0x8c, &[0])].concat()),
        tlv(0x30, &tlv(0xa6, &[])),
        tlv(0x30, &[&tlv(0x83, &[0xff]), &list[..]].concat()),
        tlv(0x30, &[&tlv(0x84, &[1; 5]), &list[..]].concat()),
        tlv(0x30, &tlv(0xa6, &tlv(4, &[7; 48]))),
        [tlv(0x30, &list), vec![5, 0]].concat(),
    ] {
        assert!(read(TCB_INFO, &bad).is_err(), "{bad:x?}");
    }
}

#[test]
fn a_list_is_bounded() {
    let of = |count: usize| tlv(0x30, &tlv(0xa6, &fwid(SHA256, &[8; 32]).repeat(count)));
    assert_eq!(read(TCB_INFO, &of(16)).unwrap().len(), 16);
    assert!(matches!(read(TCB_INFO, &of(17)), Err(X509Error::TooMany { field: "fwids", max: 16, .. })));
}

#[test]
fn one_extension_or_none() {
    assert_eq!(fwids(&certificate(vec![])), Ok(vec![]));
    let id = extension(COMPOSITE_ID, false, &seq(&[&tlv(2, &[1]), &spki(&key(2)), &fwid(SHA384, &[7; 48])]));
    let info = extension(TCB_INFO, false, &tlv(0x30, &tlv(0xa6, &fwid(SHA384, &[7; 48]))));
    assert!(fwids(&certificate(vec![id.clone(), info])).is_err());
    assert_eq!(fwids(&certificate(vec![id])).unwrap()[0].sha384(), Some([7; 48]));
}

#[test]
fn only_sha384_is_a_sha384_digest() {
    let of = |algorithm: &str, digest: &[u8]| {
        let value = tlv(0x30, &tlv(0xa6, &fwid(algorithm, digest)));
        fwids(&certificate(vec![extension(TCB_INFO, false, &value)])).unwrap()[0].sha384()
    };
    assert_eq!(of(SHA384, &[7; 48]), Some([7; 48]));
    assert_eq!((of(SHA384, &[7; 47]), of(SHA384, &[]), of(SHA256, &[7; 48])), (None, None, None));
}

#[test]
fn names_give_what_stands_there_once() {
    let of = |attributes: &[(&str, &str)]| {
        let draft =
            Draft { subject: crate::world::name(attributes), ..Draft::authority("", "issuer", &key(1)) };
        let subject = Certificate::parse(&draft.sign(&key(1))).unwrap().subject;
        (subject.serial_number().map(str::to_owned), subject.common_name().map(str::to_owned))
    };
    let (serial, common) = ("2.5.4.5", "2.5.4.3");
    assert_eq!(of(&[(serial, "1"), (common, "a")]), (Some("1".into()), Some("a".into())));
    assert_eq!(of(&[(serial, "1"), (serial, "1"), (common, "a"), (common, "b")]), (None, None));
    assert_eq!(of(&[]), (None, None));
}

#[test]
fn unread_extensions_are_kept() {
    let kept =
        certificate(vec![extension("1.2.3.4", true, &[1, 2]), extension("1.2.3.5", false, &[])]).extensions;
    let oid = const_oid::ObjectIdentifier::new_unwrap;
    assert_eq!(
        (kept.unread(oid("1.2.3.4")), kept.unread(oid("1.2.3.5"))),
        (Some(&[1, 2][..]), Some(&[][..]))
    );
    assert_eq!(kept.unread(oid("1.2.3.6")), None);
    assert_eq!(kept.critical().collect::<Vec<_>>(), [oid("1.2.3.4")]);
}
