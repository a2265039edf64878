//! Releases, signed and as CoRIM.

use assay_boot::Release;
use assay_boot::release::{Pcr7Digest, Pcr7Event, PhaseValue};
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey};
use serde_json::json;

use crate::{Files, json, page, refused};

fn release() -> Release {
    let digest = |byte| Digest([byte; 32]);
    Release {
        name: "appliance".into(),
        version: "1.2.0".into(),
        number: 12,
        minimum: 10,
        issued_ms: 1_760_000_000_000,
        expires_ms: 1_790_000_000_000,
        kernel_boot: vec![PhaseValue { path: "enter-initrd".into(), value: digest(1) }],
        applications: vec![digest(3)],
        secure_boot: vec![Pcr7Digest { event: Pcr7Event::Pk, digest: digest(4) }],
        overrides: vec![],
        extensions: vec![],
        root_hash: digest(5),
        agent: digest(6),
        command_line: Some("quiet systemd.import_credentials=no".into()),
    }
}

#[test]
fn a_release_is_the_same_signed_and_as_corim() {
    let files = Files::new();
    let key = SigningKey::from_seed(&[1; 32]);
    let kid = key.verifying_key().validator_id();
    let signed = Envelope::seal(Kind::Release, kid, &release(), &key, &Network::new("net"));
    let envelope = files.put("envelope", signed);
    let corim = files.put("corim", release().to_corim().unwrap());
    let (one, other) = (json("manifest", &envelope), json("manifest", &corim));
    assert_eq!((&one["format"], &other["format"]), (&json!("release"), &json!("corim")));
    assert_eq!(one["release"], other["release"]);
    assert_eq!(one["release"]["pcr11"], json!({ "enter-initrd": "01".repeat(32) }));
    assert_eq!(one["release"]["number"], 12);
    let shown = json("envelope", &envelope);
    assert_eq!(shown["message"], one["release"], "an envelope like any other");
    assert!(page("manifest", &envelope).contains("appliance 1.2.0 (number 12)"));
}

#[test]
fn a_release_that_lets_credentials_in_says_so_first() {
    let files = Files::new();
    let open = Release { command_line: Some("quiet".into()), ..release() };
    let page = page("manifest", &files.put("corim", open.to_corim().unwrap()));
    assert!(page.lines().nth(1).unwrap().contains("import of credentials"), "{page}");
}

#[test]
fn what_is_neither_is_refused() {
    let files = Files::new();
    let bytes = release().to_corim().unwrap();
    let line = refused("manifest", &files.put("cut", &bytes[..bytes.len() - 1]));
    assert!(line.contains("offset"), "{line}");
    assert!(!refused("manifest", &files.put("text", "text")).is_empty());
}
