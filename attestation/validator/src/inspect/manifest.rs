//! Reference values: a signed release of this network, or a CoRIM.

use assay_boot::Release;
use assay_boot::corim::MAX_CORIM_BYTES;
use assay_wire::{Digest, Envelope, Kind};
use serde_json::{Map, Value, json};

use super::command::{Inspected, Undecodable};
use super::corim;
use super::page::{Page, Table};
use crate::civil;

/// Longest file read, in bytes.
pub(super) const MAX_BYTES: usize = MAX_CORIM_BYTES;
/// CBOR tag 501, how an unsigned CoRIM begins.
const CORIM_TAG: [u8; 3] = [0xd9, 0x01, 0xf5];

/// Reads a release's envelope or an unsigned CoRIM.
pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected, Undecodable> {
    if bytes.starts_with(&CORIM_TAG) {
        return corim::inspect(bytes);
    }
    let envelope = Envelope::decode_as(Kind::Release, bytes)?;
    let release: Release = envelope.message()?;
    let mut page = Page::new("a signed release");
    page.fact("signer", envelope.kid.to_string());
    release_page(&release, &mut page);
    let json = json!({
        "schema": 1, "format": "release", "kid": envelope.kid.to_string(), "hash": envelope.hash().to_string(),
        "release": release_json(&release),
    });
    Ok(Inspected { json, page, good: true })
}

fn digests(digests: &[Digest]) -> Vec<String> {
    digests.iter().map(ToString::to_string).collect()
}

pub(super) fn release_json(release: &Release) -> Value {
    let phases = release.kernel_boot.iter().map(|phase| (phase.path.clone(), phase.value.to_string().into()));
    let keys = release.secure_boot.iter();
    let keys =
        keys.map(|allowed| json!({ "event": allowed.event.name(), "digest": allowed.digest.to_string() }));
    json!({
        "name": release.name,
        "version": release.version,
        "number": release.number,
        "minimum": release.minimum,
        "issued": civil::format(release.issued_ms),
        "expires": civil::format(release.expires_ms),
        "pcr11": phases.collect::<Map<String, Value>>(),
        "pcr4": digests(&release.applications),
        "pcr7": keys.collect::<Vec<_>>(),
        "pcr12": digests(&release.overrides),
        "pcr13": digests(&release.extensions),
        "root_hash": release.root_hash.to_string(),
        "agent": release.agent.to_string(),
        "command_line": release.command_line,
    })
}

pub(super) fn release_page(release: &Release, page: &mut Page) {
    if release.refuses_credentials() != Some(true) {
        page.problem("its command line does not turn the import of credentials off");
    }
    if release.revokes(release) {
        page.problem("its number is below its own minimum: it takes itself back");
    }
    page.fact("release", format!("{} {} (number {})", release.name, release.version, release.number));
    page.fact("minimum", release.minimum);
    page.fact(
        "valid",
        format!("{} to {}", civil::format(release.issued_ms), civil::format(release.expires_ms)),
    );
    page.fact("root hash", release.root_hash);
    page.fact("agent", release.agent);
    let mut table = Table::new(&["pcr", "what", "value"]);
    let mut add = |pcr: u8, what: &str, value: &Digest| {
        table.rows.push(vec![pcr.to_string(), what.to_owned(), value.to_string()]);
    };
    release.applications.iter().for_each(|digest| add(4, "application", digest));
    release.secure_boot.iter().for_each(|allowed| add(7, allowed.event.name(), &allowed.digest));
    let phase = |path: &str| if path.is_empty() { "before any phase".to_owned() } else { path.to_owned() };
    release.kernel_boot.iter().for_each(|value| add(11, &phase(&value.path), &value.value));
    release.overrides.iter().for_each(|digest| add(12, "override", digest));
    release.extensions.iter().for_each(|digest| add(13, "extension", digest));
    page.table(table);
}
