//! Vendor files: the shipped one, and each way in which one can be wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use assay_x509::{Role, Store, VendorClass, X509Error};

#[test]
fn the_shipped_file_reads() {
    let store = Store::builtin().unwrap();
    assert!(store.entries().iter().filter(|e| e.role == Role::Root).count() > 5);
    for entry in store.entries() {
        let vendor = entry.vendor.as_deref().unwrap();
        assert_eq!(store.vendor_class(vendor), entry.class, "{}", entry.name);
        assert!(store.vendor_name(vendor).is_some());
        if entry.role == Role::Root {
            assert_eq!(entry.certificate.subject, entry.certificate.issuer, "{}", entry.name);
        }
        assert!(assay_x509::strong(&entry.certificate.key).is_ok(), "{}", entry.name);
    }
}

#[test]
fn what_is_virtual_anywhere_is_virtual() {
    let mut store = Store::builtin().unwrap();
    assert_eq!(store.vendor_class("id:49465800"), VendorClass::Discrete);
    assert_eq!(store.vendor_class("id:494e5443"), VendorClass::Firmware);
    assert_eq!(store.vendor_class("id:00001014"), VendorClass::Virtual);
    assert_eq!(store.vendor_class("id:12345678"), VendorClass::Unknown);
    assert!(store.is_virtual("swtpm", None) && store.is_virtual("", Some(0x2019_1023_0016_3636)));
    assert!(!store.is_virtual("SLB9672", Some(1)));
    let file = |class: &str, id: &str| {
        format!("schema = 1\n[[vendor]]\nid = \"{id}\"\nname = \"x\"\nclass = \"{class}\"\n")
    };
    store.merge(Store::parse(&file("discrete", "id:00001014")).unwrap()).unwrap();
    assert_eq!(store.vendor_class("id:00001014"), VendorClass::Virtual, "a file can't raise it");
    store.merge(Store::parse(&file("virtual", "id:49465800")).unwrap()).unwrap();
    assert_eq!(store.vendor_class("id:49465800"), VendorClass::Virtual);
}

#[test]
fn firmware_below_a_floor_is_broken() {
    let store = Store::builtin().unwrap();
    let version = |major: u64, minor: u64| major << 48 | minor << 32;
    assert!(store.broken_firmware("id:53544D20", version(73, 4)).is_some());
    assert!(store.broken_firmware("id:53544D20", version(73, 19) | 0xffff_ffff).is_some());
    assert!(store.broken_firmware("id:53544D20", version(73, 20)).is_none());
    assert!(store.broken_firmware("id:53544D20", version(72, 0)).is_none(), "another line");
    assert!(store.broken_firmware("id:49465800", version(73, 4)).is_none(), "another vendor");
    let own = "schema = 1\n[[floor]]\nvendor = \"id:49465800\"\nversion = \"7.62\"\nreason = \"x\"\nsource = \"https://x\"\n";
    let own = Store::parse(own).unwrap();
    assert!(own.broken_firmware("id:49465800", version(7, 61)).is_some());
    assert!(own.broken_firmware("id:49465800", version(7, 62)).is_none());
}

/// The shipped file cut down to its first certificate.
fn small() -> String {
    let text = Store::BUILTIN;
    let start = text.find("[[certificate]]").unwrap();
    let next = text[start + 1..].find("[[certificate]]").unwrap();
    format!("schema = 1\n{}", &text[start..start + 1 + next])
}

#[test]
fn wrong_files_are_refused_by_field() {
    let good = small();
    assert_eq!(Store::parse(&good).unwrap().entries().len(), 1);
    let value = |name: &str| {
        let at = good.find(&format!("{name} = \"")).unwrap() + name.len() + 4;
        good[at..at + good[at..].find('"').unwrap()].to_owned()
    };
    let field = |from: &str, to: &str| match Store::parse(&good.replace(from, to)) {
        Err(X509Error::VendorEntry { field, .. }) => field,
        other => panic!("{from} -> {to}: {other:?}"),
    };
    let print = value("sha256");
    let mut flipped = print.clone();
    flipped.replace_range(..1, if print.starts_with('0') { "1" } else { "0" });
    assert_eq!(field(&print, &flipped), "sha256");
    assert_eq!(field(&print, "abcd"), "sha256");
    assert_eq!(field(&value("vendor"), "IFX"), "vendor");
    assert_eq!(field(&value("source"), "somewhere"), "source");
    assert_eq!(field("MII", "NII"), "certificate");
    assert_eq!(field("MII", "M!I"), "certificate");
    for (from, to) in [
        ("schema = 1", "schema = 2"),
        ("\"root\"", "\"leaf\""),
        ("\"discrete\"", "\"unknown\""),
        ("schema = 1", "schema = 1\nsurprise = 1"),
    ] {
        let result = Store::parse(&good.replace(from, to));
        assert!(matches!(result, Err(X509Error::VendorFile { .. })), "{to}: {result:?}");
    }
    let twice = format!("{good}{}", &good["schema = 1\n".len()..]);
    assert!(matches!(Store::parse(&twice), Err(X509Error::VendorEntry { field: "certificate", .. })));
    let floor = "schema = 1\n[[floor]]\nvendor = \"id:49465800\"\nversion = \"7\"\nreason = \"x\"\nsource = \"https://x\"\n";
    assert!(matches!(Store::parse(floor), Err(X509Error::VendorEntry { field: "version", .. })));
    let firmware = "schema = 1\nvirtual_firmware = [\"12\"]\n";
    assert!(matches!(Store::parse(firmware), Err(X509Error::VendorEntry { field: "virtual_firmware", .. })));
}

#[test]
fn a_leaf_is_no_authority() {
    let builtin = Store::builtin().unwrap();
    let entry = builtin.entries()[0].clone();
    let mut certificate = entry.certificate.clone();
    certificate.extensions.basic_constraints = None;
    let mut store = Store::default();
    assert!(store.add(assay_x509::Entry { certificate, ..entry.clone() }).is_err());
    assert!(store.add(entry.clone()).is_ok());
    assert!(store.add(entry).is_err(), "twice");
    assert!(builtin.without_authorities().entries().is_empty());
}
