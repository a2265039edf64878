//! `nodes`: what a validator knows of each node.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::civil;
use crate::config::Home;
use crate::error::Error;
use crate::store::{NodeOverview, Store};
use crate::text::plain;

/// All nodes in a validator's store.
///
/// # Errors
/// [`Error::Store`].
pub(crate) fn list(home: &Home) -> Result<Vec<NodeOverview>, Error> {
    Ok(Store::open_read_only(&home.store())?.overview()?)
}

/// The JSON form, schema 1.
pub(crate) fn json(nodes: &[NodeOverview]) -> Value {
    json!({ "schema": 1, "nodes": nodes })
}

/// One line per node.
pub(crate) fn print(out: &mut impl Write, nodes: &[NodeOverview]) -> io::Result<()> {
    if nodes.is_empty() {
        return writeln!(out, "no nodes");
    }
    writeln!(
        out,
        "{:64}  {:9}  {:10}  {:>8}  {:>7}  {:>5}  {:>8}  {:20}  flags",
        "node", "tpm", "session", "beats", "anchors", "jobs", "offences", "last seen"
    )?;
    for node in nodes {
        let (state, last) = match &node.newest {
            Some(session) => (session.state, civil::format(session.last_ms)),
            None => ("none", "never".to_owned()),
        };
        let class = plain(node.tpm_class.as_deref().unwrap_or("elsewhere"));
        writeln!(
            out,
            "{}  {class:9}  {state:10}  {:>8}  {:>7}  {:>5}  {:>8}  {last:20}  {}",
            node.node,
            node.beats,
            node.anchors,
            node.jobs,
            node.offences,
            flags(node)
        )?;
    }
    Ok(())
}

/// What stands out about a node: codes of findings that are more than information, each once.
fn flags(node: &NodeOverview) -> String {
    let own = [(node.revoked, "revoked"), (node.pinned, "pinned")];
    let own = own.into_iter().filter_map(|(set, word)| set.then_some(word));
    let found = node.findings.iter().filter(|one| one.severity != "info").map(|one| one.code.as_str());
    let words: BTreeSet<&str> = own.chain(found).collect();
    plain(&words.into_iter().collect::<Vec<_>>().join(" "))
}
