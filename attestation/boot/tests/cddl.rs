//! Every message that the code writes is what the CDDL says, by an independent validator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_boot::Release;
use assay_boot::release::{Pcr7Digest, Pcr7Event, PhaseValue};
use assay_wire::{Digest, cbor};

const BOOT: &str = include_str!("../boot.cddl");

/// The first rule of a CDDL file is the one that is validated.
fn validate(rule: &str, bytes: &[u8]) -> Result<(), String> {
    let text = format!("start = {rule}\n{BOOT}");
    cddl::validate_cbor_from_slice(&text, bytes, None).map_err(|e| e.to_string())
}

#[test]
fn release() {
    let digest = Digest([7; 32]);
    let bare = Release {
        name: "a".into(),
        version: "1".into(),
        number: u64::MAX,
        minimum: 0,
        issued_ms: 1,
        expires_ms: u64::MAX,
        kernel_boot: vec![],
        applications: vec![],
        secure_boot: vec![],
        overrides: vec![],
        extensions: vec![],
        root_hash: digest,
        agent: digest,
        command_line: None,
    };
    let full = Release {
        kernel_boot: vec![PhaseValue { path: "enter-initrd".into(), value: digest }],
        applications: vec![digest; 2],
        secure_boot: Pcr7Event::ALL.map(|event| Pcr7Digest { event, digest }).to_vec(),
        overrides: vec![digest],
        extensions: vec![digest],
        command_line: Some("quiet".into()),
        ..bare.clone()
    };
    for release in [bare, full] {
        let bytes = cbor::to_vec(&release);
        validate("release", &bytes).unwrap_or_else(|e| panic!("{e}\n{}", hex::encode(&bytes)));
    }
    assert!(validate("release", &[0xa0]).is_err(), "the rule takes anything");
}
