//! `ima/`: logs that must parse, or be refused; what the manifest's words say of them; boot aggregates.

use assay_boot::{EventLog, HashAlg, ImaLog};

use crate::logs::{Values, bank_alg};
use crate::{Folder, Manifest, Sheet};

pub(crate) fn judge(folder: &Folder, manifest: &Manifest, sheet: &mut Sheet) {
    let firmware: Vec<(&str, EventLog)> = folder
        .files()
        .filter(|file| !file.starts_with("ima/"))
        .filter_map(|file| Some((file, EventLog::parse(&folder.read(file).ok()?).ok()?)))
        .collect();
    for file in folder.in_folder("ima") {
        let Ok(bytes) = folder.read(file) else { continue };
        if let Some(values) = pcr_list(&bytes) {
            judge_list(file, &values, &firmware, sheet);
            continue;
        }
        let words = manifest.row(file).map(|row| row.meaning.as_str()).unwrap_or_default();
        match (manifest.expects_refusal(file), ImaLog::parse(&bytes)) {
            (true, Err(error)) => sheet.holds(file, "ima", true, "refuse", format_args!("refused: {error}")),
            (true, Ok(_)) => sheet.holds(file, "ima", false, "refuse", "parsed"),
            (false, Err(error)) => sheet.holds(file, "ima", false, "parse", error),
            (false, Ok(log)) => {
                sheet.holds(
                    file,
                    "ima",
                    true,
                    "parse",
                    format_args!("{}, {} entries", log.format().name(), log.len()),
                );
                judge_words(file, words, &log, sheet);
                judge_aggregate(file, words, &log, &firmware, sheet);
            }
        }
    }
}

/// Numbers and values that the manifest's sentence names.
fn judge_words(file: &str, words: &str, log: &ImaLog<'_>, sheet: &mut Sheet) {
    let tokens: Vec<&str> =
        words.split(|c: char| c.is_whitespace() || ",;()".contains(c)).filter(|t| !t.is_empty()).collect();
    for window in tokens.windows(3) {
        let [number, template, "entries"] = window else { continue };
        let named = log.entries().filter(|entry| entry.template_name == *template).count();
        sheet.same(file, &format!("{template} entries"), number, named);
    }
    for window in tokens.windows(2) {
        let [number, "violations"] = window else { continue };
        let seen = log.entries().filter(|entry| entry.is_violation()).count();
        sheet.same(file, "violations", number, seen);
    }
    let mut pcr = None;
    for window in tokens.windows(2) {
        let [first, second] = window else { continue };
        pcr = first.strip_prefix("PCR").and_then(|index| index.parse::<u8>().ok()).or(pcr);
        let (Some(pcr), Some(alg)) = (pcr, bank_alg(first)) else { continue };
        if Some(second.len()) == alg.digest_len().map(|len| len * 2) {
            let seen = log.replay(alg).get(&pcr).map(hex::encode).unwrap_or_default();
            sheet.same(file, &format!("PCR {pcr} {first}"), second, seen);
        }
    }
}

/// The first entry against the firmware logs of the folder. Where the words ask for it, one has to fit.
fn judge_aggregate(
    file: &str,
    words: &str,
    log: &ImaLog<'_>,
    firmware: &[(&str, EventLog)],
    sheet: &mut Sheet,
) {
    let Some((alg, digest)) = log.logged_boot_aggregate() else {
        return sheet.not_judged(file, "boot_aggregate", "the log does not open with one");
    };
    let fitting = firmware.iter().find(|(_, firmware)| log.follows(firmware) == Some(true));
    let shown = format!("{} {}", alg.name(), hex::encode(digest));
    match fitting {
        Some((name, _)) => sheet.holds(file, "boot_aggregate", true, &shown, format_args!("that of {name}")),
        None if words.contains("boot_aggregate must") => {
            sheet.holds(file, "boot_aggregate", false, &shown, "no log of the folder leads to it");
        }
        None => sheet.not_judged(file, "boot_aggregate", "no log of the folder leads to it"),
    }
}

/// PCR values that a tool printed: the firmware log that they are of replays to those it touches.
fn judge_list(file: &str, values: &Values, firmware: &[(&str, EventLog)], sheet: &mut Sheet) {
    let algs = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    let len = values.values().next().map_or(0, String::len);
    let Some(alg) = algs.into_iter().find(|alg| alg.digest_len().map(|len| len * 2) == Some(len)) else {
        return sheet.not_judged(file, "pcrs", "values of no known length");
    };
    let agrees = |log: &EventLog| {
        let replayed = log.replay(alg);
        !replayed.is_empty()
            && replayed
                .iter()
                .all(|(pcr, value)| values.get(pcr).is_some_and(|listed| *listed == hex::encode(value)))
    };
    match firmware.iter().find(|(_, log)| agrees(log)) {
        Some((name, _)) => {
            sheet.holds(file, "pcrs", true, "values of a log", format_args!("those of {name}"))
        }
        None => sheet.not_judged(file, "pcrs", "no log of the folder leads to these values"),
    }
}

/// Lines of `index: hex`, after any heading; `None` for anything else.
fn pcr_list(bytes: &[u8]) -> Option<Values> {
    let text = std::str::from_utf8(bytes).ok()?;
    let line = |line: &str| {
        let (pcr, value) = line.split_once(':')?;
        let value = value.trim();
        let whole = value.len() >= 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some((pcr.trim().parse().ok()?, value.to_ascii_lowercase())).filter(|_| whole)
    };
    let values: Values = text.lines().filter_map(line).collect();
    (values.len() > 1).then_some(values)
}
