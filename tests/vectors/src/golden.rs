//! `LOG.yaml` beside a log: what `tpm2_eventlog` printed for it, with a `pcrs:` section.

use std::collections::BTreeMap;

use assay_boot::EventLog;

use crate::logs::{Values, bank_alg, replayed, same_values};
use crate::{Folder, Manifest, Sheet};

pub(crate) fn judge(folder: &Folder, _: &Manifest, sheet: &mut Sheet) {
    for file in folder.files() {
        let Some(log) = file.strip_suffix(".yaml").filter(|log| folder.has(log)) else { continue };
        let read = folder.read(file).and_then(|golden| Ok((golden, folder.read(log)?)));
        let (golden, bytes) = match read {
            Ok(read) => read,
            Err(error) => {
                sheet.holds(file, "read", false, "both files", error);
                continue;
            }
        };
        let Some(banks) = pcrs_section(&String::from_utf8_lossy(&golden)) else {
            sheet.not_judged(file, "pcrs", "no pcrs section");
            continue;
        };
        match EventLog::parse(&bytes) {
            Ok(log) => judge_banks(file, &banks, &log, sheet),
            Err(error) => sheet.holds(file, "pcrs", false, "a log that parses", error),
        }
    }
}

fn judge_banks(file: &str, banks: &BTreeMap<String, Values>, log: &EventLog, sheet: &mut Sheet) {
    if banks.is_empty() {
        // A log without events prints the heading alone.
        sheet.same(file, "pcrs", 0, log.extended().count());
    }
    for (bank, expected) in banks {
        let check = format!("pcrs.{bank}");
        match bank_alg(bank) {
            Some(alg) => same_values(file, &check, expected, &replayed(log, alg), sheet),
            None => sheet.not_judged(file, &check, "digests of this algorithm are carried, not computed"),
        }
    }
}

/// The `pcrs:` section of `tpm2_eventlog`'s output: bank, PCR, value in hex. `None` without one.
#[must_use]
pub fn pcrs_section(output: &str) -> Option<BTreeMap<String, BTreeMap<u8, String>>> {
    let mut lines = output.lines().skip_while(|line| *line != "pcrs:");
    lines.next()?;
    let mut banks: BTreeMap<String, Values> = BTreeMap::new();
    let mut bank = None;
    for line in lines.take_while(|line| line.starts_with("  ")) {
        let (name, value) = line.split_once(':')?;
        match value.trim().strip_prefix("0x") {
            None => bank = Some(banks.entry(name.trim().to_owned()).or_default()),
            Some(value) => {
                bank.as_mut()?.insert(name.trim().parse().ok()?, value.to_ascii_lowercase());
            }
        }
    }
    Some(banks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_read() {
        let text = "---\nevents:\npcrs:\n  sha1:\n    0  : 0xAB\n    10 : 0xcd\n  sha256:\n    7  : 0x01\n";
        let banks = pcrs_section(text).unwrap();
        assert_eq!(banks["sha1"], BTreeMap::from([(0, "ab".to_owned()), (10, "cd".to_owned())]));
        assert_eq!(banks["sha256"].len(), 1);
        assert_eq!(pcrs_section("events:\n"), None);
        assert_eq!(pcrs_section("pcrs:\n"), Some(BTreeMap::new()));
    }
}
