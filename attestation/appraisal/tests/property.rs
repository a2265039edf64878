//! Canonical forms: any bytes give a value or an error, and a value has one encoding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_appraisal::{Policy, State};
use assay_gpu::rim::{Rim, RimKind, RimRow, SignerProof};
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_ledger::session::Head;
use assay_wire::Digest;

fn state() -> State {
    let d = |n: u8| Digest([n; 32]);
    let entry = Revocation { kind: RevokedKind::Node, digest: d(1), at_ms: 1 << 40, reason: "r".into() };
    State {
        known: Some(Head { session: d(2), seq: 300, head: d(3) }),
        revocations: [(d(4), RevocationList { number: 1, issued_ms: 2, entries: vec![entry] })].into(),
        firmware: [(d(5), 3), (d(6), 4)].into(),
        approved_firmware: [(d(7), d(8)), (d(7), d(9))].into(),
        gpu_rims: vec![rim()],
        gpu_ocsp: vec![vec![0x30, 0].into()],
    }
}

fn rim() -> Rim {
    Rim {
        kind: RimKind::Driver,
        product: "GH100".into(),
        version: "550.1".into(),
        tag: "t".into(),
        board: None,
        rows: vec![RimRow { index: 7, name: "m".into(), values: vec![[1; 48].into()] }],
        source: Digest([1; 32]),
        signer: Digest([2; 32]),
        not_before: 0,
        not_after: 1,
        proof: SignerProof::default(),
    }
}

/// Decodes and encodes again: the same bytes, or nothing.
fn one_encoding(bytes: &[u8]) {
    if let Ok(policy) = Policy::from_cbor(bytes) {
        assert_eq!(policy.to_cbor(), bytes);
    }
    if let Ok(state) = State::from_cbor(bytes) {
        assert_eq!(state.to_cbor(), bytes);
    }
}

#[test]
fn no_flipped_bit_gives_a_second_spelling() {
    for good in [Policy::builtin("strict").unwrap().to_cbor(), state().to_cbor()] {
        for at in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            one_encoding(&bytes);
            one_encoding(&bytes[..at / 8]);
        }
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        one_encoding(&bytes);
    }

    #[test]
    fn arbitrary_text_never_panics(text: String) {
        let _ = Policy::parse(&text);
    }
}
