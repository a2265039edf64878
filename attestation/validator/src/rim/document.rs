//! Which XML is read at all: a bounded, plain subset, so that the parser and the canonical form have no choices.

use std::ops::Range;

use roxmltree::{Document, Node};

/// The longest document that is read, in bytes: RIMs have 20 to 30 KiB.
pub const MAX_DOCUMENT: usize = 1 << 20;

/// The most tags.
const MAX_TAGS: usize = 4096;

/// The most equals signs from one tag to the next, which bounds the attributes of an element.
const MAX_ATTRIBUTES: usize = 512;

/// The most namespace declarations.
const MAX_NAMESPACES: usize = 64;

/// The deepest nesting of elements.
const MAX_DEPTH: usize = 16;

/// The longest XML declaration.
const MAX_DECLARATION: usize = 128;

/// A document that is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// More bytes than any RIM has.
    #[error("{len} bytes, at most {limit} are read")]
    TooLong {
        /// Its length.
        len: usize,
        /// The longest that is read.
        limit: usize,
    },
    /// Bytes that are not UTF-8, UTF-16 among them.
    #[error("not UTF-8 at offset {offset}")]
    NotUtf8 {
        /// The first such byte.
        offset: usize,
    },
    /// A byte order mark.
    #[error("begins with a byte order mark")]
    ByteOrderMark,
    /// An XML declaration of anything but XML 1.0 in UTF-8.
    #[error("an XML declaration of something other than XML 1.0 in UTF-8")]
    Declaration,
    /// A DTD, comment, CDATA section or processing instruction.
    #[error("a DTD, comment, CDATA section or processing instruction at offset {offset}")]
    Markup {
        /// Where it begins.
        offset: usize,
    },
    /// More of something than is read.
    #[error("more than {limit} {what} at offset {offset}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
        /// Offset of the first one too many.
        offset: usize,
    },
    /// Not well-formed XML with namespaces.
    #[error("not well-formed: {detail}")]
    Malformed {
        /// What the parser says, with line and column.
        detail: String,
    },
    /// Well-formed, and not what a RIM looks like.
    #[error("{what} at offset {offset}: {detail}")]
    Shape {
        /// Element or attribute.
        what: &'static str,
        /// Where, in the document or in the canonical form of its signed part.
        offset: usize,
        /// What is wrong.
        detail: &'static str,
    },
}

/// What is wrong with an element.
pub(super) fn shape(what: &'static str, node: Node<'_, '_>, detail: &'static str) -> DocumentError {
    DocumentError::Shape { what, offset: node.range().start, detail }
}

/// The text of a document that stays within the subset and its bounds.
///
/// # Errors
/// [`DocumentError`], of the rule that it breaks first.
pub(super) fn admit(bytes: &[u8]) -> Result<&str, DocumentError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(DocumentError::TooLong { len: bytes.len(), limit: MAX_DOCUMENT });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| DocumentError::NotUtf8 { offset: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(DocumentError::ByteOrderMark);
    }
    tags(text, declared(text)?)?;
    declarations(text)?;
    Ok(text)
}

/// Where the XML declaration ends (XML 1.0, 2.8); 0 where there is none.
fn declared(text: &str) -> Result<usize, DocumentError> {
    const BEGIN: &str = "<?xml ";
    let Some(rest) = text.strip_prefix(BEGIN) else { return Ok(0) };
    let (declaration, _) = rest.split_once("?>").ok_or(DocumentError::Declaration)?;
    if declaration.len() > MAX_DECLARATION {
        return Err(DocumentError::Declaration);
    }
    let end = BEGIN.len() + declaration.len();
    let words: Vec<String> =
        declaration.split_ascii_whitespace().map(|word| word.replace('\'', "\"")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let utf8 = |word: &str| word.eq_ignore_ascii_case("encoding=\"utf-8\"");
    let standalone = |word: &str| matches!(word, "standalone=\"yes\"" | "standalone=\"no\"");
    match words.as_slice() {
        ["version=\"1.0\"", rest @ ..] => match rest {
            [] => Ok(end),
            [one] if utf8(one) || standalone(one) => Ok(end),
            [one, two] if utf8(one) && standalone(two) => Ok(end),
            _ => Err(DocumentError::Declaration),
        },
        _ => Err(DocumentError::Declaration),
    }
}

/// Every `<` begins a tag: in a well-formed document it stands nowhere else, since sections and comments are refused.
/// What lies between two of them is one tag and the text behind it.
fn tags(text: &str, declared: usize) -> Result<(), DocumentError> {
    let too_many = |what, limit, offset| Err(DocumentError::TooMany { what, limit, offset });
    let mut offset = 0;
    for (nth, segment) in text.split('<').enumerate() {
        if nth > MAX_TAGS {
            return too_many("tags", MAX_TAGS, offset);
        }
        if offset > declared && segment.starts_with(['!', '?']) {
            return Err(DocumentError::Markup { offset: offset.saturating_sub(1) });
        }
        if segment.bytes().filter(|byte| *byte == b'=').count() > MAX_ATTRIBUTES {
            return too_many("attributes", MAX_ATTRIBUTES, offset);
        }
        offset += segment.len() + 1;
    }
    Ok(())
}

/// A namespace is declared as `xmlns=` or `xmlns:`, behind white space. A name such as `a:xmlns` has no meaning that two
/// readers would agree on.
fn declarations(text: &str) -> Result<(), DocumentError> {
    const NAME: &str = "xmlns";
    for (nth, (offset, _)) in text.match_indices(NAME).enumerate() {
        if nth == MAX_NAMESPACES {
            return Err(DocumentError::TooMany {
                what: "namespace declarations",
                limit: MAX_NAMESPACES,
                offset,
            });
        }
        let before = offset.checked_sub(1).and_then(|at| text.as_bytes().get(at));
        let after = text.as_bytes().get(offset + NAME.len());
        if !before.is_some_and(u8::is_ascii_whitespace) || !matches!(after, Some(b'=' | b':')) {
            let detail = "not the declaration of a namespace";
            return Err(DocumentError::Shape { what: NAME, offset, detail });
        }
    }
    Ok(())
}

/// Parses an admitted text.
///
/// # Errors
/// [`DocumentError::Malformed`], [`DocumentError::TooMany`] or [`DocumentError::Shape`].
pub(super) fn parse(text: &str) -> Result<Document<'_>, DocumentError> {
    // Without a DTD by the parser's default, too; nodes are bounded by the tags.
    let document =
        Document::parse(text).map_err(|error| DocumentError::Malformed { detail: error.to_string() })?;
    for element in document.descendants().filter(Node::is_element) {
        plain(element)?;
    }
    Ok(document)
}

/// What an element may not have, because two readers might read it differently.
fn plain(element: Node<'_, '_>) -> Result<(), DocumentError> {
    if element.ancestors().take(MAX_DEPTH + 2).count() > MAX_DEPTH + 1 {
        return Err(DocumentError::TooMany {
            what: "levels of elements",
            limit: MAX_DEPTH,
            offset: element.range().start,
        });
    }
    // xml:id, xml:base, xml:space and xml:lang are inherited, copied or referred to, by rules that differ.
    if element.attributes().any(|one| one.namespace() == Some(roxmltree::NS_XML_URI)) {
        return Err(shape("element", element, "an attribute of the xml namespace"));
    }
    let mut prefixes: Vec<Option<&str>> = element.namespaces().map(roxmltree::Namespace::name).collect();
    let count = prefixes.len();
    prefixes.sort_unstable();
    prefixes.dedup();
    if prefixes.len() != count || element.namespaces().any(|one| one.uri().is_empty()) {
        return Err(shape("element", element, "a namespace declared twice, or taken back"));
    }
    Ok(())
}

/// The name as written that begins at `range` of `text`.
pub(super) fn written(text: &str, range: Range<usize>) -> &str {
    let rest = text.get(range).unwrap_or_default();
    rest.split(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '/' | '>')).next().unwrap_or_default()
}

/// The element's attribute of this name and no namespace.
///
/// # Errors
/// [`DocumentError::Shape`] where there is none.
pub(super) fn attribute<'a>(element: Node<'a, '_>, name: &'static str) -> Result<&'a str, DocumentError> {
    let mut found = element.attributes().filter(|one| one.namespace().is_none() && one.name() == name);
    found.next().map(|one| one.value()).ok_or_else(|| shape(name, element, "the attribute is missing"))
}

/// The child elements, between which nothing but white space stands.
///
/// # Errors
/// [`DocumentError::Shape`] where text stands.
pub(super) fn elements<'a, 'i>(
    what: &'static str,
    parent: Node<'a, 'i>,
) -> Result<Vec<Node<'a, 'i>>, DocumentError> {
    let blank =
        |node: &Node<'_, '_>| node.text().is_some_and(|text| text.chars().all(|c| c.is_ascii_whitespace()));
    match parent.children().find(|node| !node.is_element() && !blank(node)) {
        Some(text) => Err(shape(what, text, "text between elements")),
        None => Ok(parent.children().filter(Node::is_element).collect()),
    }
}

/// The text of an element that has nothing else.
///
/// # Errors
/// [`DocumentError::Shape`] where an element stands in it.
pub(super) fn text<'a>(what: &'static str, element: Node<'a, '_>) -> Result<&'a str, DocumentError> {
    match element.children().any(|node| node.is_element()) {
        true => Err(shape(what, element, "an element where text belongs")),
        false => Ok(element.text().unwrap_or_default()),
    }
}
