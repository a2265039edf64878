//! What a RIM says: a SWID tag (ISO/IEC 19770-2:2015) with the TCG's RIM attributes, and its rows.

use assay_gpu::rim::{MAX_NAME, MAX_ROWS, MAX_VALUES, RimKind, RimRow};
use roxmltree::Node;

use super::document::{DocumentError, attribute, elements, parse, shape};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";

/// The longest text that is kept, in bytes.
const MAX_TEXT: usize = 128;

/// What the signed part of a document says. A claim, until signature and chain hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What it describes, by its edition and the form of its version.
    pub kind: RimKind,
    /// `Meta@product`: the chip.
    pub product: String,
    /// `Meta@colloquialVersion`.
    pub version: String,
    /// `SoftwareIdentity@tagId`.
    pub tag: String,
    /// The active rows, by rising index.
    pub rows: Vec<RimRow>,
}

impl Content {
    /// Reads the canonical form of a document without its signature, and nothing else.
    ///
    /// # Errors
    /// [`DocumentError`] for anything but a RIM of a GPU or switch.
    pub(super) fn read(signed: &str) -> Result<Self, DocumentError> {
        let document = parse(signed)?;
        let root = document.root_element();
        swid("SoftwareIdentity", root)?;
        for flag in ["corpus", "patch", "supplemental"] {
            if root.attribute(flag).is_some_and(|set| set != "false") {
                return Err(shape("SoftwareIdentity", root, "a corpus, patch or supplemental tag"));
            }
        }
        nowhere_else(root)?;
        let (meta, payload) = (one(root, "Meta")?, one(root, "Payload")?);
        let version = kept(meta, "colloquialVersion")?;
        let is_switch = attribute(meta, "edition")? == "SWITCH";
        let kind = RimKind::of(is_switch, &version)
            .ok_or_else(|| shape("Meta", meta, "a version of neither a driver nor firmware"))?;
        let product = attribute(meta, "product")?.to_owned();
        if !(1..=MAX_NAME).contains(&product.len()) || !product.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(shape("product", meta, "not letters and digits, or too many"));
        }
        Ok(Self { kind, product, version, tag: kept(root, "tagId")?, rows: rows(payload)? })
    }
}

fn swid(what: &'static str, node: Node<'_, '_>) -> Result<(), DocumentError> {
    match node.tag_name().namespace() == Some(SWID) && node.tag_name().name() == what {
        true => Ok(()),
        false => Err(shape(what, node, "another element stands there")),
    }
}

/// A tag in a tag, or rows outside of the payload, would be a second truth.
fn nowhere_else(root: Node<'_, '_>) -> Result<(), DocumentError> {
    let stray = |node: &Node<'_, '_>| {
        let parent = node.parent_element().map(|parent| parent.tag_name().name());
        match node.tag_name().name() {
            "SoftwareIdentity" => parent.is_some(),
            "Meta" | "Payload" => parent != Some("SoftwareIdentity"),
            "Resource" => parent != Some("Payload"),
            _ => false,
        }
    };
    let found = root.descendants().filter(Node::is_element).find(stray);
    found
        .map_or(Ok(()), |node| Err(shape("SoftwareIdentity", node, "an element of a RIM where none belongs")))
}

/// The one child of this name.
fn one<'a, 'i>(root: Node<'a, 'i>, name: &'static str) -> Result<Node<'a, 'i>, DocumentError> {
    let named: Vec<_> = elements("SoftwareIdentity", root)?
        .into_iter()
        .filter(|node| node.tag_name().name() == name)
        .collect();
    match named.as_slice() {
        [only] => swid(name, *only).map(|()| *only),
        _ => Err(shape(name, root, "not there once")),
    }
}

/// An attribute's text, short and printable.
fn kept(node: Node<'_, '_>, name: &'static str) -> Result<String, DocumentError> {
    let text = attribute(node, name)?;
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    match plain && text.len() <= MAX_TEXT {
        true => Ok(text.to_owned()),
        false => Err(shape(name, node, "empty, too long or not printable")),
    }
}

/// The active rows. Of inactive ones only the index counts.
fn rows(payload: Node<'_, '_>) -> Result<Vec<RimRow>, DocumentError> {
    let list = elements("Payload", payload)?;
    if let Some(node) = list.get(MAX_ROWS) {
        let (what, offset) = ("rows", node.range().start);
        return Err(DocumentError::TooMany { what, limit: MAX_ROWS, offset });
    }
    let mut seen = Vec::new();
    let mut rows = Vec::new();
    for node in list {
        let (index, active) = numbered(node)?;
        if seen.contains(&index) {
            return Err(shape("Resource", node, "an index for the second time"));
        }
        seen.push(index);
        if active {
            rows.push(row(index, node)?);
        }
    }
    rows.sort_by_key(|row| row.index);
    match rows.is_empty() {
        true => Err(shape("Payload", payload, "no active row")),
        false => Ok(rows),
    }
}

/// A row's index, and whether it is active.
fn numbered(node: Node<'_, '_>) -> Result<(u8, bool), DocumentError> {
    const WHAT: &str = "Resource";
    swid(WHAT, node)?;
    if node.has_children() || attribute(node, "type")? != "Measurement" {
        return Err(shape(WHAT, node, "not a measurement"));
    }
    let index = number(node, "index")?;
    let index = u8::try_from(index).map_err(|_| shape("index", node, "more than a report has"))?;
    match attribute(node, "active")? {
        "True" => Ok((index, true)),
        "False" => Ok((index, false)),
        _ => Err(shape("active", node, "neither True nor False")),
    }
}

fn row(index: u8, node: Node<'_, '_>) -> Result<RimRow, DocumentError> {
    if attribute(node, "size")? != "48" {
        return Err(shape("size", node, "not 48 bytes"));
    }
    Ok(RimRow { index, name: kept(node, "name")?, values: values(node)? })
}

/// `Hash0` to `Hash(n-1)` in the namespace of SHA-384, as many as `alternatives` says and no others.
fn values(node: Node<'_, '_>) -> Result<Vec<minicbor::bytes::ByteArray<48>>, DocumentError> {
    const WHAT: &str = "alternatives";
    let count = number(node, WHAT)?;
    if !(1..=MAX_VALUES).contains(&count) {
        return Err(shape(WHAT, node, "none or too many"));
    }
    let hashes = node.attributes().filter(|one| one.namespace().is_some()).count();
    let named = node.attributes().filter(|one| one.name().starts_with("Hash")).count();
    if hashes != count || named != count {
        return Err(shape(WHAT, node, "another number of values"));
    }
    (0..count)
        .map(|nth| {
            let text = node.attribute((SHA384, format!("Hash{nth}").as_str()));
            let text = text.ok_or_else(|| shape("Hash", node, "a value is missing"))?;
            let mut value = [0; 48];
            hex::decode_to_slice(text, &mut value)
                .map_err(|_| shape("Hash", node, "not 96 hexadecimal digits"))?;
            Ok(value.into())
        })
        .collect()
}

/// A decimal number without sign or leading zeros.
fn number(node: Node<'_, '_>, name: &'static str) -> Result<usize, DocumentError> {
    let text = attribute(node, name)?;
    let digits = text.len() <= 4
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    let value = if digits { text.parse().ok() } else { None };
    value.ok_or_else(|| shape(name, node, "not a number"))
}
