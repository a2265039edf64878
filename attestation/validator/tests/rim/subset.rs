//! Bytes and markup that are not read at all.

use assay_validator::rim::{DocumentError, MAX_DOCUMENT};

use crate::world::{Draft, World};

#[test]
fn bytes_that_are_not_read() {
    let world = World::new();
    let good = Draft::new().sign(&world);
    let examine = |bytes: &[u8]| assay_validator::rim::examine(bytes, &world.root.der).unwrap_err();
    let long = [good.as_bytes(), &vec![b' '; MAX_DOCUMENT + 1 - good.len()]].concat();
    assert_eq!(examine(&long), DocumentError::TooLong { len: MAX_DOCUMENT + 1, limit: MAX_DOCUMENT });
    assert!(
        assay_validator::rim::examine(&long[..MAX_DOCUMENT], &world.root.der).is_ok(),
        "white space behind"
    );
    assert_eq!(examine(&[good.as_bytes(), b"\xff"].concat()), DocumentError::NotUtf8 { offset: good.len() });
    assert_eq!(examine(format!("\u{feff}{good}").as_bytes()), DocumentError::ByteOrderMark);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(matches!(examine(&utf16), DocumentError::NotUtf8 { .. } | DocumentError::Malformed { .. }));
    let marked = [b"\xff\xfe", &utf16[..]].concat();
    assert_eq!(examine(&marked), DocumentError::NotUtf8 { offset: 0 });
    assert!(matches!(examine(b"?"), DocumentError::Malformed { .. }), "no markup");
    for empty in [&b""[..], b"<a/>", b"{}", b"\0"] {
        examine(empty);
    }
}

#[test]
fn an_xml_declaration_says_utf_8() {
    let world = World::new();
    // A declaration with so many characters between its first space and its end.
    let padded = |len: usize| {
        let version = "version=\"1.0\"";
        format!("<?xml {version}{}?>", " ".repeat(len - version.len()))
    };
    let good = Draft::new().sign(&world);
    for declaration in [
        "<?xml version=\"1.0\"?>",
        "<?xml version='1.0' encoding='utf-8'?>\n",
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>",
        "<?xml version=\"1.0\" standalone=\"no\"?>",
        &padded(128),
    ] {
        world.believed(&format!("{declaration}{good}")).unwrap();
    }
    for declaration in [
        "<?xml version=\"1.1\"?>",
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?>",
        "<?xml version=\"1.0\" encoding=\"latin1\"?>",
        "<?xml encoding=\"UTF-8\"?>",
        "<?xml version=\"1.0\" more=\"1\"?>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\" more=\"1\"?>",
        "<?xml version=\"1.0\" encoding=\"UTF-16\" standalone=\"no\"?>",
        "<?xml version=\"1.0\" standalone=\"yes\" encoding=\"UTF-8\"?>",
        "<?xml ?>",
        &padded(129),
    ] {
        let refused = world.examine(&format!("{declaration}{good}"));
        assert_eq!(refused, Err(DocumentError::Declaration), "{declaration}");
    }
    for other in ["<?xml-stylesheet href=\"x\"?>", " <?xml version=\"1.0\"?>", "<?xml version=\"1.0\"?><?a?>"]
    {
        let refused = world.examine(&format!("{other}{good}"));
        assert!(matches!(refused, Err(DocumentError::Markup { .. })), "{other}: {refused:?}");
    }
}

#[test]
fn bounds_are_held_before_the_parser() {
    let world = World::new();
    let many = |what: &str, body: String| match world.examine(&body) {
        Err(DocumentError::TooMany { what: seen, .. }) => assert_eq!(seen, what),
        other => panic!("{what}: {other:?}"),
    };
    many("tags", "<a>".repeat(4097));
    many("attributes", format!("<a {}/>", (0..513).map(|n| format!("a{n}='' ")).collect::<String>()));
    many(
        "namespace declarations",
        format!("<a {}/>", (0..65).map(|n| format!(" xmlns:a{n}='u'")).collect::<String>()),
    );
    many("levels of elements", "<a>".repeat(17) + &"</a>".repeat(17));
    assert!(matches!(
        world.examine(&("<a>".repeat(16) + &"</a>".repeat(16))),
        Err(DocumentError::Shape { what: "Signature", .. })
    ));
    // As many attributes as are read.
    let most = format!("<a {}/>", (0..512).map(|n| format!("a{n}='' ")).collect::<String>());
    assert!(matches!(world.examine(&most), Err(DocumentError::Shape { what: "Signature", .. })));
    // As many tags as are read, all of them open.
    assert!(matches!(world.examine(&"<a>".repeat(4096)), Err(DocumentError::Malformed { .. })));
}
