//! Every log that both read replays to the same PCR values here and in `tpm2_eventlog`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use assay_boot::{BootError, EV_NO_ACTION, EV_POST_CODE, EventLog, Format, Quirk};
use assay_vectors::{Folder, pcrs_section};

type Banks = BTreeMap<String, BTreeMap<u8, String>>;

/// The banks that can be replayed.
fn ours(log: &EventLog) -> Banks {
    let values = |alg| log.replay(alg).into_iter().map(|(pcr, value)| (pcr, hex::encode(value))).collect();
    let carried = log.banks.iter().filter(|alg| log.carries(**alg));
    carried.map(|alg| (alg.name().to_owned(), values(*alg))).collect()
}

/// `None` where the program ends with an error, a signal included.
fn theirs(path: &Path) -> Option<Banks> {
    let output = common::run("tpm2_eventlog", &[path]);
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| pcrs_section(&text)).flatten()
}

/// Why `tpm2_eventlog` refuses a log that we read.
fn refused_there(log: &EventLog) -> Option<&'static str> {
    if log.quirks.iter().any(|quirk| matches!(quirk, Quirk::WindowsTail { .. })) {
        return Some("windows-tail");
    }
    let first_is_remark = log.events.first().is_some_and(|event| event.kind == EV_NO_ACTION);
    (log.format == Format::Sha1Legacy && first_is_remark).then_some("legacy-remark-first")
}

/// Why the values differ though both read the log: what the other program does is done here too.
fn differs(log: &EventLog, theirs: &Banks) -> Option<&'static str> {
    let mut other = log.clone();
    (other.startup_locality, other.hcrtm) = (0, false);
    if log.pcr0_start() != 0 && agree(&ours(&other), theirs) {
        return Some("start-of-pcr-0");
    }
    let remarks = other.events.iter_mut().filter(|event| event.kind == EV_NO_ACTION);
    remarks.for_each(|event| event.kind = EV_POST_CODE);
    agree(&ours(&other), theirs).then_some("no-action-extended")
}

/// Equal in every bank that can be replayed here; an empty bank may be left out.
fn agree(ours: &Banks, theirs: &Banks) -> bool {
    ours.iter().all(|(bank, values)| theirs.get(bank).map_or(values.is_empty(), |theirs| theirs == values))
}

fn compare(file: &str, path: &Path, parsed: Result<EventLog, BootError>) -> bool {
    let rule = match (parsed, theirs(path)) {
        (Ok(log), Some(theirs)) => {
            let ours = ours(&log);
            if theirs.keys().any(|bank| !ours.contains_key(bank)) {
                common::assert_explained("incomplete-bank");
            }
            if agree(&ours, &theirs) {
                return true;
            }
            differs(&log, &theirs).unwrap_or_else(|| panic!("{file}: {ours:#?} here, {theirs:#?} there"))
        }
        (Ok(log), None) => refused_there(&log).unwrap_or_else(|| panic!("{file}: read here, refused there")),
        (Err(_), None) => return false,
        (Err(error), Some(_)) => {
            refused_here(&error).unwrap_or_else(|| panic!("{file}: {error}; read there"))
        }
    };
    eprintln!("{file}: {rule}");
    common::assert_explained(rule);
    false
}

/// Which of our refusals `tpm2_eventlog` does not make.
fn refused_here(error: &BootError) -> Option<&'static str> {
    match error {
        BootError::StartupLocality { .. } | BootError::Hcrtm { .. } | BootError::TailRecord { .. } => {
            Some("impossible-start")
        }
        BootError::DigestAlgorithm { .. } | BootError::DigestCount { .. } => Some("undeclared-digests"),
        BootError::TooManyEvents { .. } | BootError::EventTooLong { .. } | BootError::LogTooLong { .. } => {
            Some("limits")
        }
        _ => None,
    }
}

#[test]
fn replayed_values_are_those_of_tpm2_eventlog() {
    let Some(root) = common::folder() else { return };
    if !common::is_there("tpm2_eventlog", "--version") {
        return;
    }
    let folder = Folder::open(&root).unwrap();
    let expected = folder.json("expected.json").unwrap();
    let listed = expected["logs"].as_object().unwrap();
    let (mut compared, mut same) = (0, 0);
    for file in folder.files() {
        let bytes = folder.read(file).unwrap();
        let parsed = EventLog::parse(&bytes);
        if !listed.contains_key(file) && parsed.is_err() {
            continue;
        }
        compared += 1;
        same += usize::from(compare(file, &root.join(file), parsed));
    }
    assert!(same > 0 && same * 2 > compared, "{same} of {compared} compared");
}
