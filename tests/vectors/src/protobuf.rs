//! `Attestation` messages of go-tpm-tools (proto/attest.proto): the key, quotes with PCR values, and a log.

use std::collections::BTreeMap;

use assay_boot::EventLog;
use assay_tpm::{HashAlg, Public};

use crate::attestation::{Attested, Key};
use crate::carriers::holds;
use crate::logs::{Values, bank_alg, replayed};
use crate::{Folder, Manifest, Sheet};

/// Field numbers of `Attestation`, `Quote` and `PCRs`.
const AK_PUB: u64 = 1;
const QUOTES: u64 = 2;
const EVENT_LOG: u64 = 3;
const QUOTE: u64 = 1;
const RAW_SIG: u64 = 2;
const PCRS: u64 = 3;
const VALUES: u64 = 2;

pub(crate) fn judge(folder: &Folder, _: &Manifest, sheet: &mut Sheet) {
    for file in folder.in_folder("quotes") {
        let Ok(bytes) = folder.read(file) else { continue };
        let Some(message) = fields(&bytes) else { continue };
        let area = message
            .iter()
            .find(|(number, _)| *number == AK_PUB)
            .and_then(|(_, area)| Public::parse(area).ok());
        let Some(area) = area else { continue };
        let key = Key::Area(area);
        let log =
            message.iter().find(|(number, _)| *number == EVENT_LOG).map(|(_, log)| EventLog::parse(log));
        if let Some(log) = &log {
            let seen =
                log.as_ref().map_or_else(ToString::to_string, |log| format!("{} events", log.events.len()));
            sheet.holds(file, "log", log.is_ok(), "a log", seen);
        }
        let log = log.and_then(Result::ok);
        for (_, quote) in message.iter().filter(|(number, _)| *number == QUOTES) {
            judge_quote(file, quote, &key, log.as_ref(), sheet);
        }
    }
}

fn judge_quote(file: &str, bytes: &[u8], key: &Key, log: Option<&EventLog>, sheet: &mut Sheet) {
    let parts: BTreeMap<u64, &[u8]> = fields(bytes).unwrap_or_default().into_iter().collect();
    let part = |number| parts.get(&number).copied().unwrap_or_default();
    let attested = match Attested::parse(part(QUOTE).to_vec(), part(RAW_SIG)) {
        Ok(attested) => attested,
        Err(error) => return sheet.holds(file, "quote", false, "a quote", error),
    };
    let bank = attested.selection().and_then(|banks| banks.keys().next().cloned()).unwrap_or_default();
    holds(file, &format!("{bank}.signature"), true, &attested, key, sheet);
    let values = pcr_values(part(PCRS));
    let seen = attested
        .digest_holds(|alg: HashAlg, pcr| values.get(&pcr).filter(|v| v.len() == alg.digest_len()).cloned());
    sheet.holds(file, &format!("{bank}.pcr_digest"), seen == Some(true), "true", format_args!("{seen:?}"));
    if let Some((log, alg)) = log.zip(bank_alg(&bank)) {
        let quoted: Values = values.iter().map(|(pcr, value)| (*pcr, hex::encode(value))).collect();
        let replayed = replayed(log, alg);
        let wrong: Vec<String> = replayed
            .iter()
            .filter(|(pcr, value)| quoted.get(pcr) != Some(value))
            .map(|(pcr, _)| pcr.to_string())
            .collect();
        sheet.same(
            file,
            &format!("{bank}.replay"),
            "mismatched none",
            format_args!("mismatched {}", crate::logs::join(&wrong)),
        );
    }
}

/// `map<uint32, bytes>`: entries of key 1 and value 2; a key of 0 may be left out.
fn pcr_values(pcrs: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut values = BTreeMap::new();
    for (_, entry) in raw_fields(pcrs).unwrap_or_default().into_iter().filter(|(number, _)| *number == VALUES)
    {
        let Field::Bytes(entry) = entry else { continue };
        let (mut pcr, mut value) = (0, Vec::new());
        for (number, field) in raw_fields(entry).unwrap_or_default() {
            match (number, field) {
                (1, Field::Number(number)) => pcr = u8::try_from(number).unwrap_or(u8::MAX),
                (2, Field::Bytes(bytes)) => value = bytes.to_vec(),
                _ => {}
            }
        }
        values.insert(pcr, value);
    }
    values
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message that hold bytes; `None` when it is none.
fn fields(message: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let bytes = raw_fields(message)?.into_iter().filter_map(|(number, field)| match field {
        Field::Bytes(bytes) => Some((number, bytes)),
        Field::Number(_) => None,
    });
    Some(bytes.collect())
}

/// Varints and length-delimited fields (protobuf encoding); `None` for any other wire type or a cut.
fn raw_fields(mut rest: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        let (number, after) = varint(after)?;
        let field = match tag & 7 {
            0 => (Field::Number(number), after),
            2 => {
                let (bytes, after) = after.split_at_checked(usize::try_from(number).ok()?)?;
                (Field::Bytes(bytes), after)
            }
            _ => return None,
        };
        fields.push((tag >> 3, field.0));
        rest = field.1;
    }
    Some(fields)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (nth, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(nth + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_whole_or_not_at_all() {
        let bytes = [0x0a, 2, 7, 8, 0x10, 0x96, 1];
        assert_eq!(raw_fields(&bytes), Some(vec![(1, Field::Bytes(&[7, 8])), (2, Field::Number(150))]));
        assert_eq!(raw_fields(&bytes[..3]), None);
        assert_eq!(raw_fields(&[0x0d, 1, 2, 3, 4]), None, "a fixed-width field");
        let map = [0x12, 4, 0x12, 2, 9, 9, 0x12, 5, 0x08, 3, 0x12, 1, 5];
        assert_eq!(pcr_values(&map), BTreeMap::from([(0, vec![9, 9]), (3, vec![5])]));
    }
}
