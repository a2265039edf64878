//! JSON files that carry attestations in shapes of their own: recognised by their keys, not their names.

use assay_boot::EventLog;
use assay_tpm::{Attest, HashAlg, Name, Public};
use serde_json::Value;

use crate::attestation::{Attested, Key, hex_or_base64, json_pcr, judge_parsed, pem, unhex};
use crate::{Folder, Manifest, Sheet};

/// TPM_GENERATED_VALUE: how every attestation begins (TPM 2.0 Part 2, 6.2).
pub(crate) const MAGIC: [u8; 4] = *b"\xffTCG";
/// Deepest nesting that is searched for attestations.
const DEPTH: usize = 8;

pub(crate) fn judge(folder: &Folder, manifest: &Manifest, sheet: &mut Sheet) {
    let known = |file: &&str| file.contains('/') && file.ends_with(".json");
    for file in folder.files().filter(known).filter(|file| !file.starts_with("platform-certs/")) {
        let Ok(json) = folder.json(file) else {
            sheet.holds(file, "form", manifest.expects_refusal(file), "JSON", "no JSON");
            continue;
        };
        match &json {
            Value::Array(items) => items.iter().for_each(|item| reduced(file, item, folder, sheet)),
            item if item.get("attest_hex").is_some() => reduced(file, item, folder, sheet),
            item if item.get("credential_blob_tpm2tools_hex").is_some() => credential(file, item, sheet),
            item => search(file, item, &Around::default(), DEPTH, sheet),
        }
    }
}

/// `{name?, attest_hex, tpmt_signature_hex, parsed, pcrs?, ak...}`.
fn reduced(file: &str, item: &Value, folder: &Folder, sheet: &mut Sheet) {
    let name = item.get("name").and_then(Value::as_str).map(|name| format!("{name}.")).unwrap_or_default();
    let part = |key| unhex(item.get(key).unwrap_or(&Value::Null));
    let read = part("attest_hex").and_then(|attest| {
        Attested::parse(attest, &part("tpmt_signature_hex")?).map_err(|error| error.to_string())
    });
    let attested = match read {
        Ok(attested) => attested,
        Err(error) => return sheet.holds(file, &format!("{name}attest"), false, "an attestation", error),
    };
    let written = attested.attest.to_bytes().is_ok_and(|bytes| bytes == attested.bytes);
    sheet.holds(file, &format!("{name}attest"), written, "an attestation", "parsed and written back");
    reduced_signature(file, &name, item, &attested, sheet);
    if let Some(pcrs) = item.get("pcrs") {
        let seen = attested.digest_holds(|alg, pcr| json_pcr(pcrs, alg, pcr));
        sheet.same(file, &format!("{name}pcr_digest"), "true", Value::from(seen));
    }
    for log in item.get("eventlogs").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        let dir = file.rsplit_once('/').map_or("", |(dir, _)| dir);
        let parsed = folder.read(&format!("{dir}/{log}")).is_ok_and(|bytes| EventLog::parse(&bytes).is_ok());
        sheet.holds(
            file,
            &format!("{name}log {log}"),
            parsed,
            "a log",
            if parsed { "parsed" } else { "refused" },
        );
    }
    judge_parsed(file, &name, item.get("parsed").unwrap_or(&Value::Null), &attested.attest, sheet);
}

fn reduced_signature(file: &str, name: &str, item: &Value, attested: &Attested, sheet: &mut Sheet) {
    let expected = item.get("signature_valid").and_then(Value::as_bool).unwrap_or(true);
    let area = item.get("ak_tpmt_public_hex").map(|hex| serde_json::json!({ "tpmt_public": hex }));
    let points = item.get("ak_p256_candidates").map(|list| serde_json::json!({ "p256_candidates": list }));
    let pem = item.get("ak_pem").and_then(Value::as_str);
    let keys = [("", area.or(points).map(|key| Key::from_json(&key))), ("pem.", pem.map(from_pem))];
    for (which, key) in keys {
        let check = format!("{name}{which}signature");
        match key {
            Some(Ok(key)) => holds(file, &check, expected, attested, &key, sheet),
            Some(Err(error)) => sheet.holds(file, &check, !expected, "a key", error),
            None => {}
        }
    }
}

pub(crate) fn from_pem(text: &str) -> Result<Key, String> {
    Key::from_spki(&pem(text).ok_or("no PEM block")?)
}

/// SHA-1 signatures are refused whatever they hold for.
pub(crate) fn holds(
    file: &str,
    check: &str,
    expected: bool,
    attested: &Attested,
    key: &Key,
    sheet: &mut Sheet,
) {
    let strong = attested.signature.scheme().hash().is_some_and(|hash| hash != HashAlg::Sha1);
    let seen = key.verify(&attested.bytes, &attested.signature);
    let wanted = match (expected, strong) {
        (true, true) => "holds",
        (true, false) => "refused, as SHA-1 is",
        (false, _) => "refused",
    };
    let good = seen.is_ok() == (expected && strong);
    let seen = seen.map_or_else(|error| error.to_string(), |()| "holds".to_owned());
    sheet.holds(file, check, good, wanted, seen);
}

/// A credential that was activated: its parts have our shapes. Only the EK's TPM could open it.
fn credential(file: &str, item: &Value, sheet: &mut Sheet) {
    let part = |key| unhex(item.get(key).unwrap_or(&Value::Null)).unwrap_or_default();
    let ek = Public::parse(&part("ek_tpmt_public_hex")).and_then(|ek| ek.check_key());
    sheet.holds(
        file,
        "ek",
        ek.is_ok(),
        "a key",
        ek.map_or_else(|error| error.to_string(), |()| "a key".to_owned()),
    );
    let name = Name::parse(&part("ak_name_hex")).is_ok();
    sheet.holds(file, "ak_name", name, "a Name", if name { "a Name" } else { "none" });
    let shape = crate::tools_files::credential_lengths(&part("credential_blob_tpm2tools_hex"));
    let shown = |shape: Option<(usize, usize)>| format!("{shape:?}");
    sheet.holds(file, "credential", shape.is_some(), "two sized parts", shown(shape));
    sheet.not_judged(file, "activated", "only the TPM that holds the endorsement key can open it");
}

/// What an attestation's surroundings say: keys and PCR values found on the way down.
#[derive(Default, Clone, Copy)]
struct Around<'a> {
    spki: Option<&'a Value>,
    area: Option<&'a Value>,
    pcrs: Option<&'a Value>,
}

/// Looks for objects with a message and a signature over it.
fn search(file: &str, item: &Value, around: &Around<'_>, depth: usize, sheet: &mut Sheet) {
    let Some(fields) = item.as_object().filter(|_| depth > 0) else { return };
    let get = |names: [&str; 2]| names.iter().find_map(|name| fields.get(*name));
    let around = Around {
        spki: fields.get("ak_public").or(around.spki),
        area: fields.get("AK").and_then(|ak| ak.get("Public")).or(around.area),
        pcrs: get(["pcrs", "PCRs"]).or_else(|| fields.get("Log")?.get("PCRs")).or(around.pcrs),
    };
    if let (Some(message), Some(signature)) = (get(["message", "Quote"]), get(["signature", "Signature"]))
        && let Ok(message) = hex_or_base64(message)
        && message.starts_with(&MAGIC)
    {
        return found(file, message, signature, &around, sheet);
    }
    fields.values().for_each(|value| search(file, value, &around, depth - 1, sheet));
}

fn found(file: &str, message: Vec<u8>, signature: &Value, around: &Around<'_>, sheet: &mut Sheet) {
    let attest = match Attest::parse(&message) {
        Ok(attest) => attest,
        Err(error) => return sheet.holds(file, "attest", false, "an attestation", error),
    };
    let written = attest.to_bytes().is_ok_and(|bytes| bytes == message);
    sheet.holds(file, "attest", written, "an attestation", "parsed and written back");
    let signature = hex_or_base64(signature).unwrap_or_default();
    let attested = match Attested::parse(message, &signature) {
        Ok(attested) => attested,
        Err(error) => return sheet.not_judged(file, "signature", &format!("no TPMT_SIGNATURE: {error}")),
    };
    let key = around.area.map(|area| {
        let area = Public::parse(&hex_or_base64(area)?).map_err(|error| error.to_string())?;
        Ok(Key::Area(area))
    });
    match key.or_else(|| around.spki.map(|spki| Key::from_spki(&hex_or_base64(spki)?))) {
        Some(Ok(key)) => holds(file, "signature", true, &attested, &key, sheet),
        Some(Err(error)) => {
            let _: String = error;
            sheet.not_judged(file, "signature", "its key is of a kind that is refused");
        }
        None => sheet.not_judged(file, "signature", "no key comes with it"),
    }
    let Some(pcrs) = around.pcrs else { return };
    match attested.digest_holds(|alg, pcr| listed_pcr(pcrs, alg, pcr)) {
        Some(true) => sheet.same(file, "pcr_digest", "true", "true"),
        other => sheet.holds(file, "pcr_digest", false, "true", Value::from(other)),
    }
}

/// A list of values by position, or of `{Index, Digest}`; the length tells the bank.
fn listed_pcr(pcrs: &Value, alg: HashAlg, index: u8) -> Option<Vec<u8>> {
    let mut values = pcrs.as_array()?.iter().enumerate().filter_map(|(nth, item)| {
        let (at, value) = match item.get("Digest") {
            Some(digest) => (item.get("Index")?.as_u64()?, digest),
            None => (u64::try_from(nth).ok()?, item),
        };
        (at == u64::from(index)).then(|| hex_or_base64(value).ok()).flatten()
    });
    values.find(|value| value.len() == alg.digest_len())
}
