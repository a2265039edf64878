//! A second implementation, xmlsec1, agrees about every signature that we judge.

use std::path::Path;
use std::process::{Command, Stdio};

use assay_gpu::device::Roots;
use assay_validator::rim::examine;
use base64ct::{Base64, Encoding as _};

use crate::data;

/// Whether xmlsec1 says that the key of `leaf` signed the document; nothing else of `KeyInfo` is used.
fn verified(document: &Path, leaf: &Path) -> bool {
    let mut command = Command::new("xmlsec1");
    command.args(["--verify", "--enabled-key-data", "key-name", "--pubkey-cert-der"]).args([leaf, document]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn is_there() -> bool {
    let there = Command::new("xmlsec1").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("SKIPPED: no xmlsec1");
    }
    there
}

/// DER of the first certificate in a document's text.
fn leaf(document: &str) -> Vec<u8> {
    let (_, rest) = document.split_once("X509Certificate>").unwrap();
    let dense: String = rest.split('<').next().unwrap().split_ascii_whitespace().collect();
    Base64::decode_vec(&dense).unwrap()
}

/// Changes that some readers see and others don't.
const CHANGES: [(&str, &str); 26] = [
    ("tagVersion=\"0\"", "tagVersion=\"1\""),
    ("tagVersion=\"0\"", "tagVersion='0'"),
    ("tagVersion=\"0\"", "tagVersion=\"&#48;\""),
    ("tagVersion=\"0\"", "tagVersion=\"0\n\""),
    ("tagVersion=\"0\"", "tagVersion = \"0\""),
    ("tagVersion=\"0\"", "tagVersion=\"0&#9;\""),
    ("corpus=\"false\"", ""),
    ("name=\"Measurement_0\" size=\"48\"", "size=\"48\"\n name=\"Measurement_0\""),
    ("size=\"48\"/>", "size=\"48\"></ns0:Resource>"),
    ("size=\"48\"/>", "size=\"48\"> </ns0:Resource>"),
    ("active=\"False\"", "active=\"True\""),
    ("<ns0:Payload ", "<ns0:Payload xmlns:x=\"urn:x\" "),
    ("<ns0:Payload ", "<ns0:Payload xmlns:ns0=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" "),
    ("<ns0:Entity ", "<ns0:Entity xmlns:ns2=\"http://www.w3.org/2001/04/xmlenc#sha384\" "),
    ("<ns0:Entity ", "<Entity "),
    ("NVIDIA Corporation", "NVIDIA&#32;Corporation"),
    ("NVIDIA Corporation", "NVIDIA &gt;Corporation"),
    ("\n", "\r\n"),
    ("\n    <", "\n   <"),
    ("</ns0:Payload>", "</ns0:Payload >"),
    ("<ds:SignedInfo>", "<ds:SignedInfo >"),
    ("<ds:SignedInfo>", "<ds:SignedInfo xmlns:x=\"urn:x\">"),
    ("<ds:SignatureValue>", "<ds:SignatureValue>\n"),
    ("<ds:DigestValue>", "<ds:DigestValue>\n"),
    ("xmldsig#\"><ds:SignedInfo", "xmldsig#\" xmlns:x=\"urn:x\"><ds:SignedInfo"),
    (" xmlns:ns2=", " xmlns:a=\"urn:&lt;&amp;&quot;\" xmlns:ns2="),
];

#[test]
fn every_document_and_every_change_of_it() {
    if !is_there() {
        return;
    }
    let Some((folder, cases)) = data::data() else { return };
    let (root, dir) = (Roots::nvidia(), tempfile::tempdir().unwrap());
    let (xml, key) = (dir.path().join("rim.xml"), dir.path().join("leaf.der"));
    let (mut agreed, mut held) = (0, 0);
    for (nth, case) in cases["rims"].as_array().unwrap().iter().enumerate() {
        let Ok(good) = std::fs::read_to_string(folder.join(case["file"].as_str().unwrap())) else { continue };
        if examine(good.as_bytes(), root.rim()).is_err() {
            continue;
        }
        std::fs::write(&key, leaf(&good)).unwrap();
        // Every document as it is, and each change of some of them.
        let there = CHANGES.iter().filter(|(from, _)| nth % 4 == 0 && good.contains(from));
        let changes =
            there.map(
                |(from, to)| {
                    if *from == "\n" { good.replace(from, to) } else { good.replacen(from, to, 1) }
                },
            );
        for document in std::iter::once(good.clone()).chain(changes) {
            // What we refuse for its form, xmlsec may read: it reads more than RIMs.
            let Ok(examined) = examine(document.as_bytes(), root.rim()) else { continue };
            std::fs::write(&xml, &document).unwrap();
            let ours = examined.signature.is_ok();
            assert_eq!(ours, verified(&xml, &key), "{:?}\n{document}", examined.signature);
            agreed += 1;
            held += usize::from(ours);
        }
    }
    assert!(agreed > held || agreed == 0, "some held and some did not: {held} of {agreed}");
}
