//! Certificates of TPMs and machines.

use std::sync::OnceLock;

use assay_appraisal::check_request;
use assay_x509::{
    Certificate, DeviceIdentity, PlatformCertificate, Store, chain, der_to_pem, judge_ek, tpm_names,
};

use crate::world;

fn store() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| Store::builtin().unwrap())
}

/// A certificate, raw, padded or as PEM: its DER reads back to the same certificate in each form, every
/// judgement of it is the same twice, and a request that carries it is never another node's.
pub fn certificate(data: &[u8]) {
    request(data);
    let Ok(certificate) = Certificate::from_file(data) else { return };
    let plain = Certificate::parse(certificate.der()).unwrap();
    let pem = Certificate::from_file(der_to_pem(certificate.der()).as_bytes()).unwrap();
    assert_eq!(plain, pem);
    assert_eq!((plain.der(), &plain.key), (certificate.der(), &certificate.key));
    assert!(plain.quirks.iter().all(|quirk| certificate.quirks.contains(quirk)), "fewer quirks with padding");
    let judged = || {
        let ek = judge_ek(&certificate, &world().ak);
        let names = (tpm_names(&certificate), DeviceIdentity::of(&certificate));
        format!("{ek:?}{names:?}{:?}", chain(&certificate, std::slice::from_ref(&plain), store()))
    };
    assert_eq!(judged(), judged());
    // Issued by itself and not in the store: nothing here may vouch for it.
    let own = certificate.verify(&certificate.key).is_ok();
    let known = store().entries().iter().any(|entry| entry.certificate.der() == certificate.der());
    assert!(!own || known || chain(&certificate, std::slice::from_ref(&plain), store()).is_err());
}

fn request(data: &[u8]) {
    let mut request = world().enrolment.request.clone();
    request.ek_certificates = vec![data.to_vec().into()];
    match (check_request(&request), check_request(&request)) {
        (Ok(first), Ok(again)) => {
            assert_eq!((first.node, first.model), (again.node, again.model));
            assert_eq!(first.node, world().evidence.session.node);
        }
        (Err(first), Err(again)) => assert_eq!(first, again),
        _ => panic!("checked twice, two results"),
    }
}

/// A platform certificate of either form: read alike every time, and about no TPM but the one it names.
pub fn platform_certificate(data: &[u8]) {
    let first = PlatformCertificate::from_nv(data);
    assert_eq!(first, PlatformCertificate::from_nv(data));
    let Ok(platform) = first else { return };
    for entry in store().entries() {
        let about = platform.is_about(&entry.certificate);
        let serial = platform.holder.as_ref().map(|holder| &holder.serial);
        assert!(!about || serial == Some(&entry.certificate.serial));
        let _ = platform.verify(&entry.certificate);
    }
}
