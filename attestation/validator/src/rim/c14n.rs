//! Canonical XML (W3C, versions 1.0 and 1.1, inclusive) of the subset that [`super::document`] admits.
//!
//! Both versions give the same bytes there: they differ in attributes of the xml namespace only. Without comments,
//! processing instructions and DTD what remains is: namespaces that the parent does not have, then attributes in order,
//! double quotes, escapes, and an end tag for every element.

use roxmltree::{Node, NodeId};

use super::document::written;

/// The canonical form of an element with everything in it, but for one element of it.
///
/// The parent's namespaces count as not yet written, as for a document subset (1.0, 2.4): they stand in the element's
/// own tag. Recursion is as deep as elements nest, which `document::parse` bounds.
pub(super) fn canonical(element: Node<'_, '_>, without: Option<NodeId>) -> String {
    let mut out = String::with_capacity(element.range().len());
    write(element, None, without, &mut out);
    out
}

fn write(element: Node<'_, '_>, parent: Option<Node<'_, '_>>, without: Option<NodeId>, out: &mut String) {
    let source = element.document().input_text();
    let range = element.range();
    let name = written(source, range.start + 1..range.end);
    out.push('<');
    out.push_str(name);
    namespaces(element, parent, out);
    attributes(element, source, out);
    out.push('>');
    for child in element.children().filter(|child| Some(child.id()) != without) {
        match child.is_element() {
            true => write(child, Some(element), without, out),
            false => child.text().unwrap_or_default().chars().for_each(|c| push_text(c, out)),
        }
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Namespaces that the parent, where it is written too, does not have, by prefix (2.3, namespace axis).
fn namespaces(element: Node<'_, '_>, parent: Option<Node<'_, '_>>, out: &mut String) {
    let inherited = |prefix| parent.and_then(|parent| parent.lookup_namespace_uri(prefix));
    let mut declared: Vec<(Option<&str>, &str)> = element
        .namespaces()
        .map(|one| (one.name(), one.uri()))
        .filter(|(prefix, uri)| inherited(*prefix) != Some(uri))
        .collect();
    declared.sort_unstable();
    for (prefix, uri) in declared {
        let name = prefix.map_or_else(|| "xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
        attribute(&name, uri, out);
    }
}

/// Attributes by namespace and local name, those of no namespace first (2.3, attribute axis).
fn attributes(element: Node<'_, '_>, source: &str, out: &mut String) {
    let mut sorted: Vec<_> = element.attributes().collect();
    sorted.sort_by(|a, b| (a.namespace(), a.name()).cmp(&(b.namespace(), b.name())));
    for one in sorted {
        attribute(written(source, one.range()), one.value(), out);
    }
}

fn attribute(name: &str, value: &str, out: &mut String) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#x9;"),
            '\n' => out.push_str("&#xA;"),
            '\r' => out.push_str("&#xD;"),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn push_text(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '\r' => out.push_str("&#xD;"),
        c => out.push(c),
    }
}
