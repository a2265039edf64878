//! Signed content moved, doubled or hidden: the classical attacks on XML signatures.

use assay_validator::rim::DocumentError;

use crate::world::{DSIG, Draft, SWID, World, row, within};

/// Another document, of the attacker's values.
fn evil() -> Draft {
    Draft { rows: vec![row("7", true, &[[0xee; 48]])], ..Draft::new() }
}

/// Signature and document of a good one, apart.
fn apart(world: &World) -> (String, String) {
    let (signed, body) = (Draft::new().sign(world), Draft::new().body());
    let signature = signed.replacen(body.strip_suffix("</SoftwareIdentity>").unwrap(), "", 1);
    (body, signature.replace("</SoftwareIdentity>", ""))
}

/// Whatever a forgery is refused for, it is never the attacker's rows that are believed.
fn refused(world: &World, forgery: &str) {
    if let Ok(rim) = world.believed(forgery) {
        assert_eq!(rim.rows[0].values[0], [7; 48].into(), "{forgery}");
        panic!("accepted: {forgery}");
    }
}

#[test]
fn the_good_one_is_put_together_again() {
    let world = World::new();
    let (body, signature) = apart(&world);
    world.believed(&within(&body, &signature)).unwrap();
}

#[test]
fn a_signature_of_another_document() {
    let world = World::new();
    let (_, signature) = apart(&world);
    refused(&world, &within(&evil().body(), &signature));
}

#[test]
fn a_signature_that_is_moved() {
    let world = World::new();
    let (body, signature) = apart(&world);
    for moved in [
        body.replacen("<Meta", &format!("{signature}<Meta"), 1),
        body.replacen("<Payload>", &format!("<Payload>{signature}"), 1),
        body.replacen("</Meta>", &format!("{signature}</Meta>"), 1),
        within(&body, &format!("<Link>{signature}</Link>")),
        within(&body, &format!("{signature}<Link></Link>")),
        format!("<a>{body}{signature}</a>"),
        format!("{body}{signature}"),
        signature.replace("</ds:Signature>", &format!("{body}</ds:Signature>")),
    ] {
        refused(&world, &moved);
    }
}

#[test]
fn the_signed_document_wrapped_in_another() {
    let world = World::new();
    let (body, signature) = apart(&world);
    let signed = within(&body, &signature);
    let object = |content: &str| {
        signature.replace("</ds:Signature>", &format!("<ds:Object>{content}</ds:Object></ds:Signature>"))
    };
    for wrapped in [
        within(&evil().body(), &signed),
        within(&evil().body(), &format!("<Link>{signed}</Link>")),
        within(&evil().body(), &object(&body)),
        within(&evil().body(), &object(&signed)),
        within(&body, &object(&evil().body())),
        within(&evil().body(), &format!("{body}{signature}")),
        format!("<a>{}{signed}</a>", evil().body()),
        signed.replacen("<Payload>", &format!("{}<Payload>", evil().body()), 1),
        signed.replacen("<Payload>", "<Payload><Payload>", 1).replacen(
            "</Payload>",
            "</Payload></Payload>",
            1,
        ),
    ] {
        refused(&world, &wrapped);
    }
}

#[test]
fn two_signatures() {
    let (world, attacker) = (World::new(), World::new());
    let (body, signature) = apart(&world);
    let (_, other) = apart(&attacker);
    for both in [
        format!("{signature}{signature}"),
        format!("{signature}{other}"),
        format!("{other}{signature}"),
        signature.replace("</ds:KeyInfo>", &format!("</ds:KeyInfo>{other}")),
        format!("<Link><ds:KeyInfo xmlns:ds=\"{DSIG}\"></ds:KeyInfo></Link>{signature}"),
        format!("<ds:Manifest xmlns:ds=\"{DSIG}\"></ds:Manifest>{signature}"),
    ] {
        refused(&world, &within(&body, &both));
    }
}

#[test]
fn markup_that_readers_see_differently() {
    let world = World::new();
    let good = Draft::new().sign(&world);
    for (from, to) in [
        ("<Meta", "<!-- x --><Meta"),
        ("tagId=\"t\"", "tagId=\"t\" <!-- -->"),
        ("<Payload>", "<Payload><!--x-->"),
        ("<ds:DigestValue>", "<ds:DigestValue><!--x-->"),
        ("<ds:X509Certificate>", "<ds:X509Certificate><!--x-->"),
        ("<Payload>", "<Payload><![CDATA[]]>"),
        ("<ds:SignatureValue>", "<ds:SignatureValue><![CDATA[]]>"),
        ("<Payload>", "<Payload><?x?>"),
        ("<SoftwareIdentity", "<!DOCTYPE SoftwareIdentity><SoftwareIdentity"),
        ("<SoftwareIdentity", "<!DOCTYPE a [<!ENTITY t \"t\">]><SoftwareIdentity"),
        ("<SoftwareIdentity", "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><SoftwareIdentity"),
    ] {
        assert!(good.contains(from), "{from}");
        let changed = world.examine(&good.replacen(from, to, 1));
        assert!(matches!(changed, Err(DocumentError::Markup { .. })), "{to}: {changed:?}");
    }
    for (from, to) in [("tagId=\"t\"", "tagId=\"&t;\""), ("<Payload>", "<Payload>&nbsp;")] {
        let changed = world.examine(&good.replacen(from, to, 1));
        assert!(matches!(changed, Err(DocumentError::Malformed { .. })), "{to}: {changed:?}");
    }
}

#[test]
fn names_that_are_taken_twice_or_again() {
    let world = World::new();
    let good = Draft::new().sign(&world);
    let default = format!("xmlns=\"{SWID}\"");
    for (from, to) in [
        ("tagId=\"t\"", "tagId=\"t\" tagId=\"u\"".to_owned()),
        ("ns2:Hash0=", "ns2:Hash0=\"00\" ns2:Hash0=".to_owned()),
        ("tagId=\"t\"", "tagId=\"t\" xml:id=\"a\"".to_owned()),
        ("tagId=\"t\"", "tagId=\"t\" xml:base=\"a\"".to_owned()),
        ("<Payload>", "<Payload xml:space=\"preserve\">".to_owned()),
        ("<Payload>", "<Payload xmlns=\"\">".to_owned()),
        ("<Payload>", "<Payload xmlns=\"urn:other\">".to_owned()),
        ("<Payload>", "<Payload xmlns:ns2=\"urn:other\">".to_owned()),
        ("<Payload>", "<Payload xmlns:ns2=\"\">".to_owned()),
        (default.as_str(), format!("{default} {default}")),
        (default.as_str(), format!("xmlns=\"urn:other\" {default}")),
        (default.as_str(), format!("{default} a:xmlns=\"urn:other\"")),
        (default.as_str(), format!("{default} xmlns:a=\"http://www.w3.org/2000/xmlns/\"")),
        (default.as_str(), format!("{default} xmlns:xml=\"urn:other\"")),
        ("<ds:SignedInfo>", format!("<ds:SignedInfo xmlns:ds=\"{DSIG}x\">")),
        ("<ds:Signature ", "<ds:Signature Id=\"s\" xmlns:x=\"urn:x\" ".to_owned()),
    ] {
        assert!(good.contains(from), "{from}");
        refused(&world, &good.replacen(from, &to, 1));
    }
}

/// What the signature does not cover changes nothing: the same content is read.
#[test]
fn spellings_of_the_same_canonical_form_are_the_same() {
    let world = World::new();
    let good = Draft::new().sign(&world);
    let rim = world.believed(&good).unwrap();
    for (from, to) in [
        ("corpus=\"false\" name=\"GH100\"", "name='GH100'\n\tcorpus=\"false\""),
        ("></Resource>", "/>"),
        ("tagId=\"t\"", "tagId=\"&#x74;\""),
        ("<Payload>", "<Payload\n>"),
        ("</Payload>", "</Payload\t>"),
        ("<ds:X509Certificate>", "<ds:X509Certificate>&#13;\n"),
        ("<ds:SignatureValue>", "<ds:SignatureValue>\n "),
    ] {
        assert!(good.contains(from), "{from}");
        let spelt = world.believed(&good.replacen(from, to, 1)).unwrap();
        assert_eq!((&spelt.rows, &spelt.tag, &spelt.version), (&rim.rows, &rim.tag, &rim.version), "{to}");
    }
}
