//! Canonical forms are what the CDDL says, by an independent validator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_appraisal::{Policy, State};
use assay_gpu::rim::{Rim, RimKind, RimRow, SignerProof};
use assay_ledger::revocation::{Revocation, RevocationList, RevokedKind};
use assay_ledger::session::Head;
use assay_wire::Digest;

const RULES: &str = include_str!("../appraisal.cddl");
const LEDGER: &str = include_str!("../../ledger/ledger.cddl");
const GPU: &str = include_str!("../../gpu/gpu.cddl");

const D: Digest = Digest([7; 32]);

fn validate(rule: &str, bytes: &[u8]) -> Result<(), String> {
    let text = format!("start = {rule}\n{RULES}\n{LEDGER}\n{GPU}");
    cddl::validate_cbor_from_slice(&text, bytes, None).map_err(|e| e.to_string())
}

fn holds(rule: &str, bytes: &[u8]) {
    validate(rule, bytes).unwrap_or_else(|e| panic!("{rule}: {e}\n{}", hex::encode(bytes)));
    assert!(validate(rule, &[0xa0]).is_err(), "{rule} takes anything");
}

#[test]
fn policies() {
    for (name, text) in Policy::BUILTIN {
        holds("policy", &Policy::builtin(name).unwrap().to_cbor());
        let more = "\n[[firmware]]\nvendor = \"id:494e5443\"\nminimum = \"ffffffffffffffff\"\n\
                    [release]\nnames = [\"a\"]\nminimum = 1\n";
        holds("policy", &Policy::parse(&format!("{text}{more}")).unwrap().to_cbor());
    }
}

fn rim() -> Rim {
    Rim {
        kind: RimKind::Vbios,
        product: "GH100".into(),
        version: "96.00.5E.00.01".into(),
        tag: "t".into(),
        board: None,
        rows: vec![RimRow { index: 0, name: "m".into(), values: vec![[1; 48].into()] }],
        source: D,
        signer: D,
        not_before: 0,
        not_after: 1,
        proof: SignerProof::default(),
    }
}

#[test]
fn states() {
    let entry = |kind| Revocation { kind, digest: D, at_ms: 1, reason: "sold".into() };
    let entries = vec![entry(RevokedKind::Node), entry(RevokedKind::Record)];
    let state = State {
        known: Some(Head { session: D, seq: 1, head: D }),
        revocations: [(D, RevocationList { number: 1, issued_ms: 2, entries })].into(),
        firmware: [(D, 3)].into(),
        approved_firmware: [(D, D)].into(),
        gpu_rims: vec![rim()],
        gpu_ocsp: vec![vec![0x30, 0].into()],
    };
    holds("state", &State::default().to_cbor());
    holds("state", &state.to_cbor());
}
