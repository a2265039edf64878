//! Each rule of the one shape, broken alone in a document that is signed with it.

use assay_gpu::rim::RimKind;
use assay_validator::rim::{DocumentError, SignatureFault, Unproven};

use crate::world::{Draft, World, algorithm, head, meta, row};

/// The element or attribute that a document is refused for.
fn refused(world: &World, draft: &Draft) -> &'static str {
    match world.examine(&draft.sign(world)) {
        Err(DocumentError::Shape { what, .. } | DocumentError::TooMany { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_document_is_a_rim() {
    let world = World::new();
    let rim = world.believed(&Draft::new().sign(&world)).unwrap();
    assert_eq!((rim.kind, rim.product.as_str(), rim.version.as_str()), (RimKind::Driver, "GH100", "550.1.2"));
    assert_eq!((rim.rows.len(), rim.rows[0].index), (1, 7), "only the active row");
    assert_eq!(rim.id(), "NV_GPU_DRIVER_GH100_550.1.2");
    assert_eq!(rim.check(), Ok(()));
    let envelope = assay_wire::cbor::to_vec(&rim);
    assert_eq!(assay_gpu::rim::Rim::decode(&envelope), Ok(rim));
}

#[test]
fn both_names_of_inclusive_canonical_xml_are_one() {
    let world = World::new();
    let v1 = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
    let enveloped = algorithm("Transform", crate::world::ENVELOPED);
    for draft in [
        Draft { canonicalization: algorithm("CanonicalizationMethod", v1), ..Draft::new() },
        Draft { transforms: enveloped.clone() + &algorithm("Transform", v1), ..Draft::new() },
        Draft { transforms: enveloped, ..Draft::new() },
    ] {
        world.believed(&draft.sign(&world)).unwrap();
    }
}

#[test]
fn no_other_algorithm() {
    let world = World::new();
    for other in [
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
        "http://www.w3.org/2006/12/xml-c14n11#WithComments",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "",
    ] {
        let method = Draft { canonicalization: algorithm("CanonicalizationMethod", other), ..Draft::new() };
        assert_eq!(refused(&world, &method), "CanonicalizationMethod", "{other}");
        let enveloped = algorithm("Transform", crate::world::ENVELOPED);
        let transform = Draft { transforms: enveloped + &algorithm("Transform", other), ..Draft::new() };
        assert_eq!(refused(&world, &transform), "Transform", "{other}");
    }
    for other in [
        "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha384",
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    ] {
        let draft = Draft { method: algorithm("SignatureMethod", other), ..Draft::new() };
        assert_eq!(refused(&world, &draft), "SignatureMethod", "{other}");
    }
    for other in ["http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1"] {
        let draft = Draft { digest_method: algorithm("DigestMethod", other), ..Draft::new() };
        assert_eq!(refused(&world, &draft), "DigestMethod", "{other}");
    }
}

#[test]
fn no_other_transforms() {
    let world = World::new();
    let (enveloped, c14n) = (crate::world::ENVELOPED, crate::world::C14N);
    let xpath = "http://www.w3.org/TR/1999/REC-xpath-19991116";
    for (list, what) in [
        (vec![], "Transforms"),
        (vec![c14n], "Transform"),
        (vec![c14n, enveloped], "Transform"),
        (vec![xpath], "Transform"),
        (vec![enveloped, xpath], "Transform"),
        (vec![enveloped, enveloped], "Transform"),
        (vec![enveloped, c14n, c14n], "Transforms"),
    ] {
        let transforms = list.iter().map(|name| algorithm("Transform", name)).collect();
        assert_eq!(refused(&world, &Draft { transforms, ..Draft::new() }), what, "{list:?}");
    }
    // A parameter inside an algorithm that has none.
    let with_content = algorithm("Transform", enveloped).replace("></", "><ds:XPath>1=0</ds:XPath></");
    assert_eq!(refused(&world, &Draft { transforms: with_content, ..Draft::new() }), "Transform");
    let method = Draft::new().method.replace("></", "><ds:HMACOutputLength>0</ds:HMACOutputLength></");
    assert_eq!(refused(&world, &Draft { method, ..Draft::new() }), "SignatureMethod");
}

#[test]
fn the_reference_is_to_the_whole_document_and_the_only_one() {
    let world = World::new();
    for reference in
        ["URI=\"#t\"", "URI=\"other.xml\"", "Id=\"r\" URI=\"\"", "Type=\"x\" URI=\"\"", "Id=\"r\""]
    {
        let what = refused(&world, &Draft { reference: reference.into(), ..Draft::new() });
        assert!(matches!(what, "Reference" | "URI"), "{reference}: {what}");
    }
    let second = Draft::new();
    let again = format!(
        "<ds:Reference URI=\"\"><ds:Transforms>{}</ds:Transforms>{}<ds:DigestValue></ds:DigestValue></ds:Reference>",
        second.transforms, second.digest_method
    );
    assert_eq!(refused(&world, &Draft { more_info: again, ..second }), "SignedInfo");
}

#[test]
fn nothing_more_in_the_signature() {
    let world = World::new();
    let object = "<ds:Object></ds:Object>";
    assert_eq!(refused(&world, &Draft { more_signature: object.into(), ..Draft::new() }), "Signature");
    for keys in [
        "<ds:KeyName>k</ds:KeyName>",
        "<ds:KeyValue></ds:KeyValue>",
        "<ds:RetrievalMethod URI=\"#k\"></ds:RetrievalMethod>",
        "<ds:X509Data></ds:X509Data>",
    ] {
        assert_eq!(refused(&world, &Draft { more_keys: keys.into(), ..Draft::new() }), "KeyInfo", "{keys}");
    }
    let good = Draft::new().sign(&world);
    for (from, to, what) in [
        ("<ds:X509Certificate>", "<ds:X509CRL></ds:X509CRL><ds:X509Certificate>", "X509Data"),
        ("<ds:KeyInfo>", "text<ds:KeyInfo>", "Signature"),
        ("<ds:X509Certificate>", "<ds:X509Certificate>=", "X509Certificate"),
        ("ds:KeyInfo>", "ds:KeyInfos>", "Signature"),
    ] {
        match world.examine(&good.replace(from, to)) {
            Err(DocumentError::Shape { what: seen, .. }) => assert_eq!(seen, what, "{to}"),
            other => panic!("{to}: {other:?}"),
        }
    }
    // The certificates of a signature without its numbers can be read all the same.
    for more in ["AA", "*", "AAAA"] {
        let seen = world.examine(&good.replace("<ds:SignatureValue>", &format!("<ds:SignatureValue>{more}")));
        let seen = seen.unwrap();
        assert_eq!((seen.signature, seen.chain), (Err(SignatureFault::Value), Ok(())), "{more}");
    }
    for more in ["AAAA", "*"] {
        let digest = Draft { more_digest: more.into(), ..Draft::new() };
        let seen = world.examine(&digest.sign(&world)).unwrap();
        assert_eq!((seen.signature, seen.chain), (Err(SignatureFault::Digest), Ok(())), "{more}");
    }
    let many = format!(
        "<ds:X509Certificate></ds:X509Certificate>{}",
        "<ds:X509Certificate></ds:X509Certificate>".repeat(9)
    );
    let many = good.replacen("<ds:X509Certificate>", &(many + "<ds:X509Certificate>"), 1);
    assert!(matches!(
        world.examine(&many),
        Err(DocumentError::TooMany { what: "certificates", limit: 8, .. })
    ));
}

#[test]
fn what_a_rim_must_say() {
    let world = World::new();
    let with_head = |from: &str, to: &str| Draft { head: head().replace(from, to), ..Draft::new() };
    let with_meta = |meta: String| Draft { meta, ..Draft::new() };
    let plain = || meta("550.1.2", "GPU", "GH100");
    let cases = [
        (with_head("corpus=\"false\"", "corpus=\"true\""), "SoftwareIdentity"),
        (with_head("patch=\"false\"", "patch=\"1\""), "SoftwareIdentity"),
        (with_head("supplemental=\"false\"", "supplemental=\"true\""), "SoftwareIdentity"),
        (with_head("tagId=\"t\"", "tagId=\"\""), "tagId"),
        (with_head("tagId=\"t\" ", ""), "tagId"),
        (with_meta(meta("550.1.2", "GPU", "")), "product"),
        (with_meta(meta("550.1.2", "GPU", "Gé100")), "product"),
        (with_meta(meta("550.1.2", "GPU", &"G".repeat(17))), "product"),
        (with_meta(meta("550.1.2", "GPU", "../GH")), "product"),
        (with_head("tagId=\"t\"", &format!("tagId=\"{}\"", "t".repeat(129))), "tagId"),
        (with_meta(plain().replace("edition=\"GPU\" ", "")), "edition"),
        (with_meta(meta("550.1.2", "SWITCH", "LS10")), "Meta"),
        (with_meta(meta("550", "GPU", "GH100")), "Meta"),
        (with_meta(meta("550..2", "GPU", "GH100")), "Meta"),
        (with_meta(meta("96.0.74.00.01", "GPU", "GH100")), "Meta"),
        (with_meta(meta("96.00.74.00.0G", "GPU", "GH100")), "Meta"),
        (
            with_meta(plain().replace("<Meta ", "<a:Meta xmlns:a=\"urn:a\" ").replace("</Meta", "</a:Meta")),
            "Meta",
        ),
        (with_meta(plain() + &plain()), "Meta"),
        (with_meta(String::new()), "Meta"),
        (Draft { more: "<Payload></Payload>".into(), ..Draft::new() }, "Payload"),
        (Draft { more: "text".into(), ..Draft::new() }, "SoftwareIdentity"),
        (
            Draft { more: "<Link><SoftwareIdentity></SoftwareIdentity></Link>".into(), ..Draft::new() },
            "SoftwareIdentity",
        ),
        (Draft { more: "<Link><Resource></Resource></Link>".into(), ..Draft::new() }, "SoftwareIdentity"),
        (Draft { more: "<Resource></Resource>".into(), ..Draft::new() }, "SoftwareIdentity"),
        (Draft { more: "<Link><Meta></Meta></Link>".into(), ..Draft::new() }, "SoftwareIdentity"),
        (Draft { more: "<a:Payload xmlns:a=\"urn:a\"></a:Payload>".into(), ..Draft::new() }, "Payload"),
    ];
    for (draft, what) in cases {
        assert_eq!(refused(&world, &draft), what, "{}", draft.body());
    }
    // Elements of no meaning here are signed and harmless.
    let link = Draft { more: "<Link href=\"x\" rel=\"y\"></Link>".into(), ..Draft::new() };
    world.believed(&link.sign(&world)).unwrap();
    let other = Draft::new().sign(&world).replace("SoftwareIdentity", "SoftwareIdentitx");
    assert!(world.examine(&other).is_err());
    let elsewhere = Draft { head: head().replacen("2015", "2009", 1), ..Draft::new() };
    assert!(world.examine(&elsewhere.sign(&world)).is_err(), "another namespace");
}

#[test]
fn what_a_row_must_say() {
    let world = World::new();
    let good = row("7", true, &[[7; 48], [8; 48]]);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        Draft { rows: vec![good.replace(from, to)], ..Draft::new() }
    };
    for (from, to, what) in [
        ("Measurement", "File", "Resource"),
        ("size=\"48\"", "size=\"32\"", "size"),
        ("size=\"48\" ", "", "size"),
        ("active=\"True\"", "active=\"true\"", "active"),
        ("active=\"True\" ", "", "active"),
        ("index=\"7\"", "index=\"07\"", "index"),
        ("index=\"7\"", "index=\"256\"", "index"),
        ("index=\"7\"", "index=\"-7\"", "index"),
        ("index=\"7\"", "index=\"\"", "index"),
        ("name=\"m7\"", "name=\"\"", "name"),
        ("name=\"m7\"", "name=\"é\"", "name"),
        ("name=\"m7\"", "name=\"m\u{7f}\"", "name"),
        ("alternatives=\"2\"", "alternatives=\"0\"", "alternatives"),
        ("alternatives=\"2\"", "alternatives=\"1\"", "alternatives"),
        ("alternatives=\"2\"", "alternatives=\"3\"", "alternatives"),
        ("alternatives=\"2\"", "alternatives=\"65\"", "alternatives"),
        ("ns2:Hash1", "ns2:Hash2", "Hash"),
        ("ns2:Hash1", "ns2:HashX", "Hash"),
        ("ns2:Hash1=\"08", "ns2:Hash1=\"0", "Hash"),
        ("ns2:Hash1=\"08", "ns2:Hash1=\"0808", "Hash"),
        ("ns2:Hash1=\"08", "ns2:Hash1=\"0g", "Hash"),
        (" size=", " Hash2=\"00\" size=", "alternatives"),
        ("></Resource>", "><Resource></Resource></Resource>", "SoftwareIdentity"),
        ("></Resource>", ">text</Resource>", "Resource"),
    ] {
        let draft = match from {
            // Canonical order: no namespace first.
            " size=" => Draft { rows: vec![good.replace(" active", " Hash2=\"00\" active")], ..Draft::new() },
            _ => with(from, to),
        };
        assert_eq!(refused(&world, &draft), what, "{from} -> {to}");
    }
    let spaced = world.believed(&with("name=\"m7\"", "name=\"m 7\"").sign(&world)).unwrap();
    assert_eq!(spaced.rows[0].name, "m 7");
    // The values in another namespace than SHA-384's are not values.
    let other = Draft { head: head().replace("xmlenc#sha384", "xmlenc#sha256"), ..Draft::new() };
    assert!(world.examine(&other.sign(&world)).is_err());
}

#[test]
fn indices_are_named_once_and_rows_bounded() {
    let world = World::new();
    let rows = |list: &[(&str, bool)]| Draft {
        rows: list.iter().map(|(index, active)| row(index, *active, &[[1; 48]])).collect(),
        ..Draft::new()
    };
    assert_eq!(refused(&world, &rows(&[("7", true), ("7", true)])), "Resource");
    assert_eq!(refused(&world, &rows(&[("7", true), ("7", false)])), "Resource", "inactive ones too");
    assert_eq!(refused(&world, &rows(&[("7", false)])), "Payload", "nothing to compare");
    let falling = world.believed(&rows(&[("9", true), ("7", true)]).sign(&world)).unwrap();
    assert_eq!(falling.rows.iter().map(|row| row.index).collect::<Vec<_>>(), [7, 9]);
    let all: Vec<String> = (0..=255).map(|n: u32| row(&n.to_string(), true, &[[1; 48]])).collect();
    assert_eq!(
        world.believed(&Draft { rows: all[..255].into(), ..Draft::new() }.sign(&world)).unwrap().rows.len(),
        255
    );
    assert_eq!(refused(&world, &Draft { rows: all, ..Draft::new() }), "rows");
}

#[test]
fn the_signature_is_over_this_document_by_this_key() {
    let world = World::new();
    let good = Draft::new().sign(&world);
    let changed = world.examine(&good.replace("tagId=\"t\"", "tagId=\"u\"")).unwrap();
    assert_eq!(changed.signature, Err(SignatureFault::Digest));
    assert_eq!(changed.chain, Ok(()), "facts apart");
    assert!(matches!(changed.rim(None), Err(Unproven::Signature(SignatureFault::Digest))));
    let stranger = World::new();
    let other = Draft::new().sign_with(&stranger.leaf.key, &world.chain());
    let judged = world.examine(&other).unwrap();
    assert!(matches!(judged.signature, Err(SignatureFault::Invalid(_))));
    assert!(world.believed(&other).is_err());
    // A key that is named by a certificate further up counts for nothing.
    let upper = Draft::new().sign_with(&world.lower.key, &world.chain());
    assert!(matches!(world.examine(&upper).unwrap().signature, Err(SignatureFault::Invalid(_))));
    let none = Draft::new().sign_with(&world.leaf.key, &[]);
    assert_eq!(world.examine(&none).unwrap().signature, Err(SignatureFault::Key));
}

/// Signed as they are, so that nothing but the rule itself refuses them.
#[test]
fn names_that_two_readers_might_take_differently() {
    let world = World::new();
    for name in ["id", "base", "lang", "space"] {
        let draft = Draft { head: format!("{} xml:{name}=\"a\"", head()), ..Draft::new() };
        assert_eq!(refused(&world, &draft), "element", "{name}");
    }
    let with = |more: &str| Draft { more: more.into(), ..Draft::new() };
    assert_eq!(refused(&world, &with("<Link xmlns=\"\"></Link>")), "element");
    assert_eq!(refused(&world, &with("<Link name=\"xmlns\"></Link>")), "xmlns");
    assert_eq!(refused(&world, &with("<Link name=\"xmlns=\"></Link>")), "xmlns");
    assert_eq!(refused(&world, &with("<Link name=\"a xmlns\"></Link>")), "xmlns");
    world.believed(&with("<Link name=\"a xmlns=\"></Link>").sign(&world)).unwrap();
    let manifest = format!("<ds:Manifest xmlns:ds=\"{}\"></ds:Manifest>", crate::world::DSIG);
    assert_eq!(refused(&world, &with(&manifest)), "Signature", "more of XML-DSig, and signed");
    let extra = Draft::new().transforms.replace(" Algorithm", " A=\"1\" Algorithm");
    assert_eq!(refused(&world, &Draft { transforms: extra, ..Draft::new() }), "Transform");
    // A namespace that is declared again, or for nothing, is signed and harmless.
    let other = "<a:b xmlns:a=\"urn:a\" a:c=\"&lt;&quot;&#xA;\">&amp;&gt;</a:b>";
    for harmless in ["<Link xmlns:a=\"urn:a\"></Link>", other] {
        world.believed(&with(harmless).sign(&world)).unwrap();
    }
}

/// The element that a changed document is refused for, whatever its signature.
#[test]
fn forms_that_no_signature_excuses() {
    let world = World::new();
    let good = Draft::new().sign(&world);
    let default = format!("xmlns=\"{}\"", crate::world::SWID);
    for (from, to, what) in [
        (default.as_str(), format!("{default} {default}"), "element"),
        (default.as_str(), format!("{default} a:xmlns=\"urn:a\""), "xmlns"),
        ("ds:Signature", "Signature".to_owned(), "Signature"),
        ("<ds:DigestValue>", "<ds:DigestValue><a/>".to_owned(), "DigestValue"),
        ("<ds:SignatureValue>", "<ds:SignatureValue><a/>".to_owned(), "SignatureValue"),
        ("<ds:X509Certificate>", "<ds:X509Certificate><a/>".to_owned(), "X509Certificate"),
        ("ds:X509Certificate>", "X509Certificate>".to_owned(), "X509Data"),
    ] {
        let changed = match from {
            "ds:Signature" => {
                good.replace("<ds:Signature ", "<Signature ").replace("</ds:Signature>", "</Signature>")
            }
            "ds:X509Certificate>" => good.replace(from, &to),
            _ => good.replacen(from, &to, 1),
        };
        match world.examine(&changed) {
            Err(DocumentError::Shape { what: seen, .. }) => assert_eq!(seen, what, "{to}"),
            other => panic!("{to}: {other:?}"),
        }
    }
}
