//! TPM structures and signatures.

use assay_tpm::{Attest, HashAlg, Name, Public, Signature, check_ak, pcr_digest};

use crate::world;

/// `TPMS_ATTEST`, `TPMT_SIGNATURE`, `TPMT_PUBLIC` and a Name: each has one encoding, and no key takes
/// a statement or a signature that its TPM did not make.
pub fn attest(data: &[u8]) {
    let world = world();
    if let Ok(attest) = Attest::parse(data) {
        assert_eq!(attest.to_bytes().as_deref(), Ok(data));
        if let Ok(quote) = attest.quote() {
            let digest =
                pcr_digest(&quote.selection, &|alg, _| Some(vec![0; alg.digest_len()]), HashAlg::Sha256);
            assert!(digest.is_none_or(|digest| digest.len() == 32));
        }
        let held = world.ak.verify(data, &world.quote_signature).is_ok();
        assert!(!held || data == world.evidence.quote.attest, "another statement under the same signature");
    }
    if let Ok(signature) = Signature::parse(data) {
        assert_eq!(signature.to_bytes(), data);
        let held = world.ak.verify(&world.evidence.quote.attest, &signature).is_ok();
        assert!(!held || data == world.evidence.quote.signature, "another signature for the same statement");
    }
    if let Ok(public) = Public::parse(data) {
        public_area(data, &public);
    }
    if let Ok(name) = Name::parse(data) {
        assert_eq!(name.as_bytes(), data);
    }
}

fn public_area(data: &[u8], public: &Public) {
    assert_eq!((public.as_bytes(), public.to_bytes()), (data, data.to_vec()));
    // A coordinate may come without its leading zeros; the parts are the same then, the Name is not.
    let again = Public::from_parts(public.parts()).unwrap();
    assert_eq!(again.parts(), public.parts());
    assert!(again == *public || again.as_bytes().len() > data.len());
    assert_eq!(public.name(), public.name());
    let _ = (check_ak(public), public.check_key());
    let held = public.verify(&world().evidence.quote.attest, &world().quote_signature).is_ok();
    assert!(!held || public.kind() == world().ak.kind(), "another key for the same signature");
}
