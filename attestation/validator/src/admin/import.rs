//! Files by other validators: revocation lists and firmware tables.
//!
//! A list is believed for its signer's key in the trust file, and replaces only a lower number
//! of the same signer that it continues: nothing ever leaves a list, so one that lost an entry,
//! or two with one number, say that their signer is not to be trusted.

use assay_appraisal::Trust;
use assay_ledger::firmware::FirmwareTable;
use assay_ledger::revocation::RevocationList;
use assay_wire::{Digest, Envelope, Kind};

use super::Done;
use crate::store::{Store, StoreError};

pub(super) fn import(store: &Store, trust: &Trust, bytes: &[u8]) -> Result<Done, StoreError> {
    let envelope = match Envelope::decode(bytes) {
        Ok(envelope) => envelope,
        Err(error) => return Ok(Done::no("import.form", error.to_string())),
    };
    let Some(validator) = trust.validators.get(&envelope.kid) else {
        return Ok(Done::no("import.validator", "signed by no validator in the trust file"));
    };
    if let Err(error) = envelope.verify(&validator.key, &trust.network) {
        return Ok(Done::no("import.signature", error.to_string()));
    }
    let done = match envelope.kind {
        Kind::Revocations => match envelope.message() {
            Ok(list) => revocations(store, &envelope.kid, &list, bytes)?,
            Err(error) => Done::no("import.form", error.to_string()),
        },
        Kind::Firmware => match envelope.message() {
            Ok(table) => firmware(store, &envelope.kid, &table, bytes)?,
            Err(error) => Done::no("import.form", error.to_string()),
        },
        other => Done::no(
            "import.kind",
            format!("{} is neither a revocation list nor a firmware table", other.name()),
        ),
    };
    Ok(done)
}

/// Numbers and times beyond SQLite's are no honest file's.
fn storable(values: impl IntoIterator<Item = u64>) -> bool {
    values.into_iter().all(|value| i64::try_from(value).is_ok())
}

fn revocations(
    store: &Store,
    validator: &Digest,
    list: &RevocationList,
    bytes: &[u8],
) -> Result<Done, StoreError> {
    if !storable(list.entries.iter().map(|one| one.at_ms).chain([list.number])) {
        return Ok(Done::no("import.form", "a number or a time that no list reaches"));
    }
    let mut kept = 0;
    if let Some((number, known)) = store.imported(validator, Kind::Revocations)? {
        if number == list.number && known == bytes {
            return Ok(Done::yes("import.known", format!("list {number} is the one that is kept")));
        }
        if number >= list.number {
            return Ok(Done::no("import.old", format!("list {number} is kept, and this is {}", list.number)));
        }
        let known: Option<RevocationList> = Envelope::decode(&known).and_then(|known| known.message()).ok();
        let known = known.ok_or(StoreError::Corrupt { what: "imported list" })?;
        if !list.entries.starts_with(&known.entries) {
            return Ok(Done::no(
                "import.rewritten",
                "entries of the list that is kept are missing from this one",
            ));
        }
        kept = known.entries.len();
    }
    store.import_revocations(validator, list, bytes)?;
    let mut closed = 0;
    for entry in list.entries.iter().skip(kept) {
        // Its own record of a later time: the validator has allowed the node again.
        let again = store.issued_by(&entry.digest, validator)?.is_some_and(|issued| issued > entry.at_ms);
        if !again {
            closed += store.close_sessions(&entry.digest, "enrolment.revoked")?;
        }
    }
    let message =
        format!("list {} with {} entries; {closed} sessions closed", list.number, list.entries.len());
    Ok(Done::yes("import.revocations", message))
}

fn firmware(
    store: &Store,
    validator: &Digest,
    table: &FirmwareTable,
    bytes: &[u8],
) -> Result<Done, StoreError> {
    let times = table.sets.iter().map(|set| set.first_ms).chain([table.issued_ms]);
    if !storable(times) || !table.sets.is_sorted_by(|a, b| a.pcr0 < b.pcr0) {
        return Ok(Done::no("import.form", "not in order of PCR 0, or a time is none"));
    }
    if let Some((issued_ms, known)) = store.imported(validator, Kind::Firmware)?
        && issued_ms >= table.issued_ms
    {
        return Ok(match known == bytes {
            true => Done::yes("import.known", "the table is the one that is kept"),
            false => Done::no("import.old", "a newer table of this validator is kept"),
        });
    }
    store.import_firmware(validator, table, bytes)?;
    Ok(Done::yes("import.firmware", format!("{} firmware sets", table.sets.len())))
}
