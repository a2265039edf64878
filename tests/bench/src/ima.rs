//! An IMA log replayed, against bare SHA-256 over the same bytes.

use std::time::Duration;

use assay_boot::{HashAlg, ImaLog};
use sha2::{Digest as _, Sha256};

use crate::evidence::{ROUNDS, medians};
use crate::row;

/// A server that measures every executable for some weeks.
const ENTRIES: u32 = 16_000;

/// Parsing and replaying the SHA-256 bank: two hashes for each entry, of its data and of the extend.
///
/// Two rivals: one pass over the file, which does a little over half of the blocks that those hashes
/// have, and the same hashes over entries that need no parsing.
pub(crate) fn replay() {
    let (log, entries): (Vec<u8>, Vec<Vec<u8>>) = (log(), (0..ENTRIES).map(data).collect());
    let ours = || ImaLog::parse(&log).is_ok_and(|log| log.replay(HashAlg::Sha256).len() == 1);
    let theirs = || Sha256::digest(&log).iter().any(|byte| *byte != 0);
    let rate = |took: Duration| log.len() as f64 / took.as_secs_f64() / 1e6;
    let (took, bare) = medians(ours, theirs);
    row(&format!("IMA log, {ENTRIES} entries, {ROUNDS} runs"), rate(took), rate(bare), "MB/s");
    let (took, bare) = medians(ours, || extended(&entries));
    row("IMA log, against its entries' hashes", rate(took), rate(bare), "MB/s");
}

fn extended(entries: &[Vec<u8>]) -> bool {
    let extend = |pcr: [u8; 32], data: &Vec<u8>| {
        let digest = Sha256::digest(data);
        Sha256::new().chain_update(pcr).chain_update(digest).finalize().into()
    };
    entries.iter().fold([0; 32], extend) != [0; 32]
}

/// A binary log of template ima-ng (Documentation/security/IMA-templates.rst) with paths as long as a
/// Debian system's.
fn log() -> Vec<u8> {
    (0..ENTRIES).flat_map(entry).collect()
}

fn entry(nth: u32) -> Vec<u8> {
    [&10u32.to_le_bytes()[..], &[1; 20], &sized(b"ima-ng"), &sized(&data(nth))].concat()
}

/// File digest and path.
fn data(nth: u32) -> Vec<u8> {
    let digest = [&b"sha256:\0"[..], &Sha256::digest(nth.to_le_bytes())].concat();
    let path = format!("/usr/lib/x86_64-linux-gnu/libexample-{nth:05}.so.1.0.0\0");
    [sized(&digest), sized(path.as_bytes())].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes(), bytes].concat()
}
