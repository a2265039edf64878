//! Boot logs: replayed first, then read.
//!
//! Digests decide. A log's types and texts are looked at only after its digests lead to
//! the quoted PCRs, and then only where a digest covers them.

use std::collections::BTreeMap;

use assay_boot::{
    BootLogs as Joined, Cause, Comparison, Difference, EventLog, HashAlg, LogKind, UserspaceLog, Violation,
    boot_applications, scrtm_version, secure_boot, secure_boot_quirks, virtualization_hints,
};
use assay_ledger::session::{BootLogs, PcrValue};
use assay_wire::limits;

use crate::facts::BootFacts;
use crate::finding::{Check, EventRef, Finding, Findings, Severity};

const PARSES: Check =
    Check { id: "boot.log", spec: "TCG PC Client PFP 1.06, 10", checked: "the firmware log is well-formed" };
const USERSPACE: Check = Check {
    id: "boot.userspace-log",
    spec: "TCG Canonical Event Log 1.0, 5.2",
    checked: "the userspace log is well-formed",
};
const REPLAYS: Check = Check {
    id: "boot.replay",
    spec: "TCG PC Client PFP 1.06, 10.4",
    checked: "the logs replay to the quoted PCRs",
};
const REPLAYS_OS: Check = Check {
    id: "boot.replay-os",
    spec: "TCG PC Client PFP 1.06, 10.4",
    checked: "the logs explain what the operating system extended",
};
const RULES: Check = Check {
    id: "boot.log-rules",
    spec: "TCG PC Client PFP 1.06, 3.3.4",
    checked: "the firmware log keeps the order of events",
};
const SECURE_BOOT: Check =
    Check { id: "boot.secure-boot", spec: "UEFI 2.10, 32.3", checked: "Secure Boot was on" };
const BARE_METAL: Check = Check {
    id: "boot.virtual-machine",
    spec: "DESIGN 2",
    checked: "the firmware log shows no sign of a virtual machine",
};

/// PCRs that only firmware and boot loader extend.
const FIRMWARE_PCRS: std::ops::RangeInclusive<u8> = 0..=7;
/// How many breaches of one kind are listed one by one.
const LISTED: usize = 8;

/// The logs of a boot that agrees with its quote as far as its firmware goes.
pub(crate) struct Booted {
    pub(crate) firmware: EventLog,
    pub(crate) userspace: Option<UserspaceLog>,
    pub(crate) quoted: BTreeMap<u8, [u8; 32]>,
    /// Whether every quoted PCR is explained, and the log broke no rule where a release is looked for.
    pub(crate) clean: bool,
}

/// Appraises the logs of a session against its quoted PCRs. `None` where there is nothing to read.
pub(crate) fn appraise_boot(
    logs: &BootLogs,
    pcrs: &[PcrValue],
    findings: &mut Findings,
) -> (BootFacts, Option<Booted>) {
    let Some(bytes) = &logs.firmware else {
        let none = Finding::new(PARSES.id, Severity::Warning, PARSES.spec, PARSES.checked).saw("no log: P0");
        findings.push(none);
        return (BootFacts::default(), None);
    };
    let mut facts = BootFacts { log_bytes: bytes.len(), ..BootFacts::default() };
    if bytes.len() > limits::BOOT_LOG {
        findings.fail(PARSES, Severity::Fatal, "at most 1 MiB", bytes.len());
        return (facts, None);
    }
    let parsed = findings.result(PARSES, format!("{} bytes", bytes.len()), EventLog::parse(bytes));
    let Some(firmware) = parsed else { return (facts, None) };
    let userspace = logs.userspace.as_ref().map(|bytes| {
        findings.result(USERSPACE, format!("{} bytes", bytes.len()), UserspaceLog::parse(bytes))
    });
    if matches!(userspace, Some(None)) {
        return (facts, None);
    }
    let booted = Booted {
        quoted: pcrs.iter().map(|p| (p.pcr, p.value.0)).collect(),
        userspace: userspace.flatten(),
        clean: false,
        firmware,
    };
    let booted = replay(booted, &mut facts, findings);
    (facts, Some(booted))
}

fn replay(mut booted: Booted, facts: &mut BootFacts, findings: &mut Findings) -> Booted {
    let quoted: BTreeMap<u8, Vec<u8>> = booted.quoted.iter().map(|(pcr, v)| (*pcr, v.to_vec())).collect();
    let logs = Joined { firmware: &booted.firmware, userspace: booted.userspace.as_ref(), ima: None };
    let comparison = logs.compare(HashAlg::Sha256, &quoted);
    let silent = logs.replay(HashAlg::Sha256).is_empty();
    let read = secure_boot_quirks(&booted.firmware);
    for quirk in booted.firmware.quirks.iter().chain(&comparison.quirks).chain(&read) {
        let quirk_seen = format!("{}: {quirk:?}", quirk.name());
        let quirk = Finding::new("boot.quirk", Severity::Info, PARSES.spec, "a declared deviation");
        findings.push(quirk.saw(quirk_seen));
    }
    judge_replay(&booted, &comparison, silent, findings);
    let breaches = booted.firmware.violations();
    judge_rules(&breaches, findings);
    facts.format = Some(booted.firmware.format.name());
    facts.events = booted.firmware.events.len();
    facts.userspace_records = booted.userspace.as_ref().map_or(0, |log| log.records.len());
    facts.pcrs_replayed = quoted.len() - comparison.differences.len();
    facts.secure_boot = secure_boot(&booted.firmware);
    facts.firmware = scrtm_version(&booted.firmware).map(|version| version.text);
    facts.applications = applications(&booted.firmware);
    judge_meaning(&booted.firmware, facts, findings);
    let orderly = !breaches.iter().any(|breach| matches!(breach.pcr, 4 | 7));
    booted.clean = comparison.differences.is_empty() && !silent && orderly;
    booted
}

/// PCRs 0-7 must match, one without an event at its reset value. Above them an operating system may
/// extend what no log explains, which earns nothing and hides nothing that P0 relies on; but a log must
/// not name events that were never extended, or that are not what they say.
fn judge_replay(booted: &Booted, comparison: &Comparison, silent: bool, findings: &mut Findings) {
    if silent && comparison.differences.is_empty() {
        // Nothing agrees with nothing: a firmware that measures nothing proves nothing.
        let (wanted, seen) = ("measured events", "an empty log, and no PCR extended");
        return findings.fail(REPLAYS, Severity::Warning, wanted, seen);
    }
    if comparison.differences.is_empty() {
        return findings.pass(REPLAYS, format!("{} PCRs", booted.quoted.len()));
    }
    for difference in &comparison.differences {
        let told = matches!(difference.cause, Cause::Unexplained | Cause::NoEvent);
        let by_os = !FIRMWARE_PCRS.contains(&difference.pcr) && told && !silent;
        let (check, severity) =
            if by_os { (REPLAYS_OS, Severity::Warning) } else { (REPLAYS, Severity::Fatal) };
        findings.push(differs(booted, check, severity, difference));
    }
}

fn differs(booted: &Booted, check: Check, severity: Severity, difference: &Difference) -> Finding {
    let expected =
        difference.expected.as_ref().map_or_else(|| "no SHA-256 bank in the log".to_owned(), hex::encode);
    let seen =
        format!("PCR {}: {} ({})", difference.pcr, hex::encode(&difference.seen), difference.cause.name());
    let finding = Finding::new(check.id, severity, check.spec, check.checked).expected(expected).saw(seen);
    let Some((log, index)) = difference.event else { return finding };
    let (expected, seen) = event_digests(booted, difference, log, index);
    finding.at_event(EventRef { log: log.name(), index, pcr: difference.pcr, expected, seen })
}

/// What an event should have been, as far as that can be known, and what the log says it is.
fn event_digests(booted: &Booted, difference: &Difference, log: LogKind, index: usize) -> (String, String) {
    let (digest, text) = match log {
        LogKind::Firmware => {
            let event = booted.firmware.events.get(index);
            (event.and_then(|e| e.digest(HashAlg::Sha256)), event.map(|e| e.data.as_slice()))
        }
        LogKind::Userspace => {
            let record = booted.userspace.as_ref().and_then(|log| log.records.get(index));
            let text = record.and_then(|r| r.systemd()).and_then(|content| content.string.as_deref());
            (record.and_then(|r| r.digest(HashAlg::Sha256)), text.map(str::as_bytes))
        }
        LogKind::Ima => (None, None),
    };
    let seen = digest.map(hex::encode).unwrap_or_default();
    let expected = match (difference.cause, text) {
        (Cause::NotExtended, _) => "no such event".to_owned(),
        (Cause::DataAltered, Some(data)) => {
            HashAlg::Sha256.hash(&[data]).map(hex::encode).unwrap_or_default()
        }
        _ => "what leads to the quoted value".to_owned(),
    };
    (expected, seen)
}

fn judge_rules(breaches: &[Violation], findings: &mut Findings) {
    if breaches.is_empty() {
        return findings.pass(RULES, "kept");
    }
    for breach in breaches.iter().take(LISTED) {
        let at = breach.event.map(|index| format!(", event {index}")).unwrap_or_default();
        let seen = format!("{} in PCR {}{at}", breach.rule.name(), breach.pcr);
        findings.fail(RULES, Severity::Warning, "events as the profile orders them", seen);
    }
    if breaches.len() > LISTED {
        let seen = format!("and {} more", breaches.len() - LISTED);
        findings.fail(RULES, Severity::Warning, "events as the profile orders them", seen);
    }
}

/// SHA-256 digests of what was booted, in order.
fn applications(log: &EventLog) -> Vec<String> {
    let applications = boot_applications(log);
    applications.iter().filter_map(|application| application.sha256).take(LISTED).map(hex::encode).collect()
}

fn judge_meaning(log: &EventLog, facts: &BootFacts, findings: &mut Findings) {
    match facts.secure_boot {
        Some(true) => findings.pass(SECURE_BOOT, "on"),
        state => {
            let seen = state.map_or("the log does not say", |_| "off");
            findings.fail(SECURE_BOOT, Severity::Warning, "on", seen);
        }
    }
    let hints = virtualization_hints(log);
    if hints.is_empty() {
        return findings.pass(BARE_METAL, "none");
    }
    for hint in hints.iter().take(LISTED) {
        findings.fail(BARE_METAL, Severity::Warning, "none", format!("{:?}: {}", hint.kind, hint.seen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_boot::write::LogWriter;
    use assay_boot::{EV_IPL, EV_SEPARATOR};
    use assay_ledger::session::SESSION_PCRS;
    use assay_wire::Digest;

    fn pcrs(values: &BTreeMap<u8, Vec<u8>>) -> Vec<PcrValue> {
        let value = |pcr| values.get(&pcr).map_or([0; 32], |value| value.as_slice().try_into().unwrap());
        SESSION_PCRS.map(|pcr| PcrValue { pcr, value: Digest(value(pcr)) }).to_vec()
    }

    fn found(bytes: Vec<u8>, pcrs: &[PcrValue], id: &str) -> Vec<Finding> {
        let logs = BootLogs { firmware: Some(bytes.into()), ..BootLogs::default() };
        let mut findings = Findings::default();
        appraise_boot(&logs, pcrs, &mut findings);
        findings.into_vec().into_iter().filter(|finding| finding.id == id).collect()
    }

    fn log() -> Vec<u8> {
        let mut writer = LogWriter::new();
        for pcr in 0..8 {
            writer.measure(pcr, EV_SEPARATOR, &[0; 4]).unwrap();
        }
        writer.measure(9, EV_IPL, b"kernel").unwrap();
        writer.finish()
    }

    #[test]
    fn nothing_measured_is_not_a_log_that_replays() {
        let found = found(LogWriter::new().finish(), &pcrs(&BTreeMap::new()), REPLAYS.id);
        assert_eq!(found[0].severity, Severity::Warning);
    }

    #[test]
    fn an_operating_system_may_extend_more_and_firmware_may_not() {
        let replayed = EventLog::parse(&log()).unwrap().replay(HashAlg::Sha256);
        assert_eq!(found(log(), &pcrs(&replayed), REPLAYS.id)[0].severity, Severity::Pass);
        let more = |pcr: u8| {
            let mut values = replayed.clone();
            values.insert(pcr, vec![7; 32]);
            (found(log(), &pcrs(&values), REPLAYS.id), found(log(), &pcrs(&values), REPLAYS_OS.id))
        };
        let (firmware, os) = more(11);
        assert!(firmware.is_empty() && os[0].severity == Severity::Warning);
        let (firmware, os) = more(9);
        assert!(firmware.is_empty() && os[0].event.as_ref().is_some_and(|event| event.pcr == 9));
        let (firmware, os) = more(4);
        assert!(firmware[0].severity == Severity::Fatal && os.is_empty());
        let event = firmware[0].event.as_ref().unwrap();
        assert_eq!((event.log, event.index, event.pcr), ("firmware", 4, 4));
    }

    #[test]
    fn what_pcr_7s_readers_overlook_is_a_finding() {
        let quirks = |value: &[u8]| {
            let (guid, name) = (assay_boot::EFI_GLOBAL_VARIABLE, "SecureBoot".to_owned());
            let data = assay_boot::UefiVariable { guid, name, value: value.to_vec() }.encode();
            let mut writer = LogWriter::new();
            writer.measure(7, assay_boot::EV_EFI_VARIABLE_DRIVER_CONFIG, &data).unwrap();
            found(writer.finish(), &pcrs(&BTreeMap::new()), "boot.quirk")
        };
        assert_eq!(quirks(&[1]), []);
        let seen = quirks(&[]);
        assert!(
            seen[0].severity == Severity::Info
                && seen[0].seen.as_ref().unwrap().contains("secure-boot-empty")
        );
    }

    #[test]
    fn an_event_that_was_never_extended_is_named() {
        let found = found(
            log(),
            &pcrs(&{
                let mut values = EventLog::parse(&log()).unwrap().replay(HashAlg::Sha256);
                values.insert(9, vec![0; 32]);
                values
            }),
            REPLAYS.id,
        );
        let event = found[0].event.as_ref().unwrap();
        assert_eq!(
            (found[0].severity, event.index, event.expected.as_str()),
            (Severity::Fatal, 8, "no such event")
        );
    }
}
