//! Reference values: releases and manifests.

use assay_boot::Release;
use assay_boot::corim::Corim;

/// A CoRIM of anyone's: read alike every time; one that is a release is written back as the one encoding
/// of that release.
pub fn corim(data: &[u8]) {
    assert_eq!(Corim::parse(data), Corim::parse(data));
    let Ok(release) = Release::from_corim(data) else { return };
    let written = release.to_corim().unwrap();
    assert_eq!(Release::from_corim(&written).as_ref(), Ok(&release));
    assert_eq!(Corim::parse(&written), Corim::parse(data), "the same manifest");
}

/// A release's payload: what a CoRIM can hold of it comes back whole.
pub fn release(data: &[u8]) {
    let Ok(release) = Release::decode(data) else { return };
    assert_eq!(assay_wire::cbor::to_vec(&release), data, "one encoding");
    assert!(release.is_current(release.issued_ms) || release.expires_ms <= release.issued_ms);
    assert!(!release.is_current(release.expires_ms), "expired is expired");
    assert_eq!(release.revokes(&release), release.number < release.minimum);
    let _ = release.refuses_credentials();
    if let Ok(corim) = release.to_corim()
        && let Ok(back) = Release::from_corim(&corim)
    {
        assert_eq!(back, release);
    }
}
