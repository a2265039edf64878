//! Boot logs: replayed first, then read.

use std::collections::BTreeMap;

use assay_boot::{EventLog, HashAlg, compare, scrtm_version, secure_boot};
use assay_ledger::session::{BootLogs, PcrValue};
use assay_wire::limits;

use crate::facts::BootFacts;
use crate::finding::{Check, Finding, Findings, Severity};

const PARSES: Check =
    Check { id: "boot.log", spec: "TCG PC Client PFP 1.06, 10", checked: "the firmware log is well-formed" };
const REPLAYS: Check = Check {
    id: "boot.replay",
    spec: "TCG PC Client PFP 1.06, 10.4",
    checked: "the firmware log replays to the quoted PCRs",
};
const SECURE_BOOT: Check =
    Check { id: "boot.secure-boot", spec: "UEFI 2.10, 32.3", checked: "Secure Boot was on" };
const RELEASE: Check =
    Check { id: "boot.release", spec: "DESIGN 2", checked: "the boot matches a known release" };

/// PCRs that only firmware and boot loader extend.
const FIRMWARE_PCRS: std::ops::RangeInclusive<u8> = 0..=7;

/// Appraises the logs of a session against its quoted PCRs.
pub(crate) fn appraise_boot(logs: &BootLogs, pcrs: &[PcrValue], findings: &mut Findings) -> BootFacts {
    let Some(bytes) = &logs.firmware else {
        let none = Finding::new(PARSES.id, Severity::Warning, PARSES.spec, PARSES.checked).saw("no log: P0");
        findings.push(none);
        return BootFacts::default();
    };
    let mut facts = BootFacts { log_bytes: bytes.len(), ..BootFacts::default() };
    if bytes.len() > limits::BOOT_LOG {
        findings.fail(PARSES, Severity::Fatal, "at most 1 MiB", bytes.len());
        return facts;
    }
    let parsed = EventLog::parse(bytes);
    let Some(log) = findings.result(PARSES, format!("{} bytes", bytes.len()), parsed) else { return facts };
    for quirk in &log.quirks {
        findings.push(
            Finding::new("boot.quirk", Severity::Info, PARSES.spec, "a declared deviation")
                .saw(format!("{quirk:?}")),
        );
    }
    facts.format = Some(log.format.name());
    facts.events = log.events.len();
    facts.pcrs_replayed = replay(&log, logs, pcrs, findings);
    facts.secure_boot = secure_boot(&log);
    facts.firmware = scrtm_version(&log).map(|version| version.text);
    judge(&facts, findings);
    facts
}

/// Compares every quoted PCR with the firmware log; gives how many matched.
///
/// PCRs 0-7 must match, one without an event at its reset value. So must a higher PCR that
/// the log touches, unless userspace keeps a log of its own. What userspace extended and no
/// log explains is a warning: it earns nothing and hides nothing that P0 relies on.
fn replay(log: &EventLog, logs: &BootLogs, pcrs: &[PcrValue], findings: &mut Findings) -> usize {
    let quoted: BTreeMap<u8, [u8; 32]> = pcrs.iter().map(|p| (p.pcr, p.value.0)).collect();
    let touched = log.replay(HashAlg::Sha256);
    let mismatches = compare(log, &quoted);
    if mismatches.is_empty() && touched.is_empty() {
        // Nothing agrees with nothing: a firmware that measures nothing proves nothing.
        findings.fail(REPLAYS, Severity::Warning, "measured events", "an empty log, and no PCR extended");
    } else if mismatches.is_empty() {
        findings.pass(REPLAYS, format!("{} PCRs", quoted.len()));
    }
    for mismatch in &mismatches {
        let bound = touched.contains_key(&mismatch.pcr) && logs.userspace.is_none();
        let fatal = FIRMWARE_PCRS.contains(&mismatch.pcr) || bound || touched.is_empty();
        let expected = mismatch.expected.map_or_else(|| "no SHA-256 bank in the log".to_owned(), hex::encode);
        let severity = if fatal { Severity::Fatal } else { Severity::Warning };
        findings.fail(
            REPLAYS,
            severity,
            expected,
            format!("PCR {}: {}", mismatch.pcr, hex::encode(mismatch.seen)),
        );
    }
    quoted.len() - mismatches.len()
}

fn judge(facts: &BootFacts, findings: &mut Findings) {
    match facts.secure_boot {
        Some(true) => findings.pass(SECURE_BOOT, "on"),
        state => {
            let seen = state.map_or("the log does not say", |_| "off");
            findings.fail(SECURE_BOOT, Severity::Warning, "on", seen);
        }
    }
    let seen = "no release in the trust file: P0";
    findings.push(Finding::new(RELEASE.id, Severity::Info, RELEASE.spec, RELEASE.checked).saw(seen));
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_ledger::session::SESSION_PCRS;
    use assay_wire::Digest;

    #[test]
    fn nothing_measured_is_not_a_log_that_replays() {
        let logs = BootLogs {
            firmware: Some(assay_boot::write::LogWriter::new().finish().into()),
            ..BootLogs::default()
        };
        let pcrs = SESSION_PCRS.map(|pcr| PcrValue { pcr, value: Digest([0; 32]) });
        let mut findings = Findings::default();
        appraise_boot(&logs, &pcrs, &mut findings);
        let replay = findings.into_vec().into_iter().find(|finding| finding.id == REPLAYS.id);
        assert_eq!(replay.map(|finding| finding.severity), Some(Severity::Warning));
    }
}
