//! Firmware since enrolment, and the oldest firmware of a TPM that a policy takes.

use assay_ledger::session::PcrValue;
use assay_wire::Digest;

use crate::finding::{Check, Finding, Findings, Severity};
use crate::policy::Policy;
use crate::state::State;

const CHANGED: Check = Check {
    id: "boot.firmware-changed",
    spec: "DESIGN 4.2",
    checked: "firmware and its configuration are as at enrolment",
};
const FLOOR: Check = Check {
    id: "policy.firmware",
    spec: "DESIGN 4.1",
    checked: "the TPM's firmware is no older than the policy asks for",
};

/// Firmware code and option ROMs (PFP 1.06, 3.3.4.1 and 3.3.4.3); PCRs 1 and 3 hold configuration.
const CODE: [u8; 2] = [0, 2];

/// Compares the PCRs of the enrolment record with those of a session's quote: one finding for each
/// that differs, or one that passed.
///
/// Code that differs is a warning, unless its new value was approved for this node by hand or, for PCR 0,
/// has been seen at `owners` unrelated owners; configuration is information. A record without firmware
/// says nothing.
pub fn firmware_changed(
    node: &Digest,
    enrolled: &[PcrValue],
    quoted: &[PcrValue],
    state: &State,
    owners: u32,
) -> Vec<Finding> {
    if enrolled.is_empty() {
        return Vec::new();
    }
    let now = |was: &PcrValue| quoted.iter().find(|now| now.pcr == was.pcr && now.value != was.value);
    let changed: Vec<_> = enrolled
        .iter()
        .filter_map(|was| now(was).map(|now| difference(was, now, vouched(node, now, state, owners))))
        .collect();
    match changed.is_empty() {
        true => {
            vec![Finding::new(CHANGED.id, Severity::Pass, CHANGED.spec, CHANGED.checked).saw("unchanged")]
        }
        false => changed,
    }
}

fn difference(was: &PcrValue, now: &PcrValue, vouched: Option<String>) -> Finding {
    let severity = match (CODE.contains(&was.pcr), &vouched) {
        (true, None) => Severity::Warning,
        _ => Severity::Info,
    };
    let why = vouched.map(|why| format!(" ({why})")).unwrap_or_default();
    Finding::new(CHANGED.id, severity, CHANGED.spec, CHANGED.checked)
        .expected(format!("PCR {}: {}", was.pcr, was.value))
        .saw(format!("PCR {}: {}{why}", now.pcr, now.value))
}

/// Who stands for this value. What others share is their firmware, not their option ROMs.
fn vouched(node: &Digest, now: &PcrValue, state: &State, owners: u32) -> Option<String> {
    if state.approved_firmware.contains(&(*node, now.value)) {
        return Some("approved for this node".to_owned());
    }
    let seen = state.firmware.get(&now.value).copied().filter(|_| now.pcr == 0).unwrap_or_default();
    (owners > 0 && seen >= owners).then(|| format!("seen at {seen} unrelated owners"))
}

/// Holds a TPM's firmware version against the policy's floor for its manufacturer, which is the first
/// word of the model in the enrolment record.
pub(crate) fn judge_floor(model: &str, version: u64, policy: &Policy, findings: &mut Findings) {
    let vendor = model.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let Some(minimum) = policy.firmware.get(&vendor) else { return };
    match version >= *minimum {
        true => findings.pass(FLOOR, format!("{version:016x}")),
        false => findings.fail(
            FLOOR,
            Severity::Fatal,
            format!("{vendor} at least {minimum:016x}"),
            format!("{version:016x}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Digest = Digest([1; 32]);

    fn pcrs(values: [u8; 4]) -> Vec<PcrValue> {
        (0u8..).zip(values).map(|(pcr, value)| PcrValue { pcr, value: Digest([value; 32]) }).collect()
    }

    fn severities(now: [u8; 4], state: &State, owners: u32) -> Vec<Severity> {
        let findings = firmware_changed(&NODE, &pcrs([10, 11, 12, 13]), &pcrs(now), state, owners);
        findings.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn code_warns_and_configuration_informs() {
        let none = State::default();
        assert_eq!(severities([10, 11, 12, 13], &none, 3), [Severity::Pass]);
        assert_eq!(severities([99, 11, 12, 13], &none, 3), [Severity::Warning]);
        assert_eq!(severities([10, 11, 99, 13], &none, 3), [Severity::Warning]);
        assert_eq!(severities([10, 99, 12, 99], &none, 3), [Severity::Info, Severity::Info]);
        assert!(firmware_changed(&NODE, &[], &pcrs([1, 2, 3, 4]), &none, 3).is_empty());
        let finding = firmware_changed(&NODE, &pcrs([10; 4]), &pcrs([11, 10, 10, 10]), &none, 3).remove(0);
        assert!(finding.expected.unwrap().starts_with("PCR 0: 0a0a"));
        assert!(finding.seen.unwrap().starts_with("PCR 0: 0b0b"));
    }

    #[test]
    fn approval_and_enough_owners_quiet_it() {
        let now = [99, 11, 98, 13];
        let (pcr0, pcr2) = (Digest([99; 32]), Digest([98; 32]));
        let approved = |node, values: &[Digest]| State {
            approved_firmware: values.iter().map(|value| (node, *value)).collect(),
            ..State::default()
        };
        let (info, warning) = (Severity::Info, Severity::Warning);
        assert_eq!(severities(now, &approved(NODE, &[pcr0, pcr2]), 3), [info, info]);
        assert_eq!(severities(now, &approved(NODE, &[pcr0]), 3), [info, warning]);
        assert_eq!(severities(now, &approved(Digest([2; 32]), &[pcr0, pcr2]), 3), [warning, warning]);
        let seen = State { firmware: [(pcr0, 3), (pcr2, 9)].into(), ..State::default() };
        assert_eq!(severities(now, &seen, 3), [info, warning], "the table is of PCR 0");
        assert_eq!(severities(now, &seen, 4), [warning, warning]);
        assert_eq!(severities(now, &seen, 0), [warning, warning], "no threshold, no table");
    }

    #[test]
    fn old_firmware_of_a_named_vendor_is_refused() {
        let mut policy = Policy::builtin("open").unwrap();
        policy.firmware = [("id:494e5443".to_owned(), 7)].into();
        let judged = |model: &str, version| {
            let mut findings = Findings::default();
            judge_floor(model, version, &policy, &mut findings);
            findings.into_vec().iter().map(|finding| finding.severity).collect::<Vec<_>>()
        };
        assert_eq!(judged("id:494E5443 model", 6), [Severity::Fatal]);
        assert_eq!(judged("id:494E5443 model", 7), [Severity::Pass]);
        assert!(judged("id:414D4400 model", 1).is_empty());
        assert!(judged("", 1).is_empty());
    }
}
