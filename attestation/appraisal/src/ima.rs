//! The IMA log: what Linux measured while it ran, as far as a quote over PCR 10 vouches for it.
//!
//! It raises nothing: an operating system that is not known may measure what it likes. It shows to
//! those who look at it what ran, and it catches a log that contradicts its own TPM.

use assay_boot::{HashAlg, ImaLog};
use assay_ledger::anchor::AttestationKey;
use assay_ledger::session::{Evidence, IMA_PCR, ima_extra_data};
use assay_tpm::{HashAlg as TpmHash, PcrSet, pcr_digest};

use crate::boot::Booted;
use crate::facts::BootFacts;
use crate::finding::{Check, Findings, Severity};

const FORM: Check =
    Check { id: "ima.log", spec: "Linux IMA templates", checked: "the IMA log is well-formed" };
const QUOTE: Check = Check {
    id: "ima.quote",
    spec: "TPM 2.0 Part 2 10.12.1",
    checked: "the enrolled AK quoted PCR 10 for this challenge",
};
const REPLAYS: Check = Check {
    id: "ima.replay",
    spec: "Linux IMA event log",
    checked: "the IMA log leads to the quoted PCR 10",
};
const AGGREGATE: Check = Check {
    id: "ima.boot-aggregate",
    spec: "Linux IMA event log",
    checked: "the IMA log begins with this boot's PCRs",
};
const VIOLATION: Check = Check {
    id: "ima.violation",
    spec: "Linux IMA event log",
    checked: "no file changed while it was measured",
};

/// Appraises the IMA log of evidence, where there is one.
pub(crate) fn appraise_ima(
    evidence: &Evidence,
    ak: &AttestationKey,
    booted: Option<&Booted>,
    facts: &mut BootFacts,
    findings: &mut Findings,
) {
    let Some(bytes) = &evidence.logs.ima else { return };
    let seen = format!("{} bytes", bytes.len());
    let Some(log) = findings.result(FORM, seen, ImaLog::parse(bytes)) else { return };
    let Some(value) = quoted(evidence, ak, findings) else { return };
    let Some(entries) = covered(&log, &value, findings) else { return };
    facts.ima_entries = Some(entries);
    match booted.and_then(|booted| log.follows(&booted.firmware)) {
        Some(true) => findings.pass(AGGREGATE, "this boot's"),
        Some(false) => findings.fail(AGGREGATE, Severity::Warning, "this boot's PCRs", "others"),
        None => {}
    }
    let violations = log.entries().take(entries).filter(|entry| entry.is_violation()).count();
    match violations {
        0 => findings.pass(VIOLATION, "none"),
        some => findings.fail(VIOLATION, Severity::Warning, "none", format!("{some} violations")),
    }
}

/// How many entries of the log lead to the quoted value; `None` where the log proves nothing.
fn covered(log: &ImaLog<'_>, value: &[u8; 32], findings: &mut Findings) -> Option<usize> {
    let Some(prefix) = log.matching_prefix(HashAlg::Sha256, IMA_PCR, value) else {
        let at = log.first_altered().map(|index| format!("; entry {index} is not what it says"));
        let seen = format!("no beginning of its {} entries{}", log.len(), at.unwrap_or_default());
        findings.fail(REPLAYS, Severity::Fatal, hex::encode(value), seen);
        return None;
    };
    let covered = format!("{} of {} entries", prefix.entries, log.len());
    if prefix.entries == 0 {
        // The kernel extends its first entry before anyone can read a log: this one is nobody's.
        findings.fail(REPLAYS, Severity::Warning, "at least the first entry", covered);
        return None;
    }
    match prefix.quirk {
        None => findings.pass(REPLAYS, covered),
        Some(quirk) => {
            let seen = format!("{covered}, by {}: worth no more than SHA-1", quirk.name());
            findings.fail(REPLAYS, Severity::Warning, "SHA-256 digests of template data", seen);
        }
    }
    Some(prefix.entries)
}

/// PCR 10 as the TPM signed it.
fn quoted(evidence: &Evidence, ak: &AttestationKey, findings: &mut Findings) -> Option<[u8; 32]> {
    let Some(ima) = &evidence.ima else {
        findings.fail(QUOTE, Severity::Warning, "a quote over PCR 10", "none: the IMA log proves nothing");
        return None;
    };
    let extra = ima_extra_data(&evidence.session.challenge, &evidence.session.node);
    let attest = findings.result(QUOTE, "holds", ak.check(&ima.quote, &extra))?;
    let quote = findings.result(QUOTE, "a quote", attest.quote())?;
    let selected = matches!(&*quote.selection, [one]
        if one.alg == TpmHash::Sha256 && Some(one.pcrs) == PcrSet::from_indices(&[IMA_PCR]));
    let value = |_, _| Some(ima.value.0.to_vec());
    let holds =
        selected && pcr_digest(&quote.selection, &value, TpmHash::Sha256).as_ref() == Some(&quote.pcr_digest);
    if !holds {
        findings.fail(
            QUOTE,
            Severity::Fatal,
            "SHA-256 PCR 10 with the value given",
            "another selection or value",
        );
        return None;
    }
    Some(ima.value.0)
}
