//! The registry: every check by its id, and what a policy may change about it.
//!
//! A check that decides whether bytes may be believed at all, every signature and every
//! hash among them, is [`Freedom::Fixed`]: no policy makes it milder.

use crate::finding::Severity;

/// What a policy may do to the severity of a failed check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freedom {
    /// Nothing.
    Fixed,
    /// Only make it more severe.
    Raise,
    /// Make it anything from info to fatal.
    Free,
}

/// One check that an appraisal can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckInfo {
    /// Stable id; what findings carry and policies name.
    pub id: &'static str,
    /// Severity when it fails, without a policy; the worst where it can fail in several ways.
    pub severity: Severity,
    /// What a policy may change about it.
    pub freedom: Freedom,
    /// The section that asks for it.
    pub spec: &'static str,
    /// What it checks, for people.
    pub checked: &'static str,
}

impl CheckInfo {
    /// Whether a policy may ask for `severity` when this check fails.
    pub fn allows(&self, severity: Severity) -> bool {
        match self.freedom {
            Freedom::Fixed => false,
            Freedom::Raise => severity >= self.severity,
            Freedom::Free => severity > Severity::Pass,
        }
    }
}

/// The check with this id.
pub fn check_info(id: &str) -> Option<&'static CheckInfo> {
    CHECKS.iter().find(|check| check.id == id)
}

const fn entry(
    id: &'static str,
    severity: Severity,
    freedom: Freedom,
    spec: &'static str,
    checked: &'static str,
) -> CheckInfo {
    CheckInfo { id, severity, freedom, spec, checked }
}

const fn fixed(id: &'static str, spec: &'static str, checked: &'static str) -> CheckInfo {
    entry(id, Severity::Fatal, Freedom::Fixed, spec, checked)
}

/// Says something without judging it.
const fn note(id: &'static str, spec: &'static str, checked: &'static str) -> CheckInfo {
    entry(id, Severity::Info, Freedom::Fixed, spec, checked)
}

const fn raise(id: &'static str, severity: Severity, spec: &'static str, checked: &'static str) -> CheckInfo {
    entry(id, severity, Freedom::Raise, spec, checked)
}

const fn free(id: &'static str, severity: Severity, spec: &'static str, checked: &'static str) -> CheckInfo {
    entry(id, severity, Freedom::Free, spec, checked)
}

/// Every check, in the order of its making; a policy that names another is refused.
#[rustfmt::skip]
pub static CHECKS: &[CheckInfo] = &[
    fixed("file.form", "DESIGN 4.6", "the file is one exported envelope"),
    fixed("enrolment.certificates", "DESIGN 4.1", "at most eight certificates of each kind"),
    fixed("enrolment.ek-template", "TCG EK Credential Profile 2.5, B", "the EK follows template L-1, L-2, H-1, H-2 or H-3"),
    fixed("enrolment.certificate-form", "TCG EK Credential Profile 2.5, 3.1", "the EK certificate can be read"),
    raise("enrolment.chain-form", Severity::Warning, "RFC 5280 4.1", "every certificate sent with the EK's can be read"),
    raise("enrolment.quirk", Severity::Info, "RFC 5280 4.1", "a declared deviation of a certificate"),
    fixed("enrolment.certificate-version", "TCG EK Credential Profile 2.5, 3.1", "the EK certificate is X.509 version 3"),
    fixed("enrolment.certificate-key", "TCG EK Credential Profile 2.5, 3.1", "the EK certificate is for this EK"),
    fixed("enrolment.weak-key", "NIST SP 800-131A; CVE-2017-15361", "the EK is a strong key"),
    fixed("enrolment.certificate-ca", "TCG EK Credential Profile 2.5, 3.1", "the EK certificate is no authority's"),
    fixed("enrolment.certificate-usage", "TCG EK Credential Profile 2.5, 3.1", "keyUsage is an EK's alone"),
    fixed("enrolment.certificate-purpose", "TCG EK Credential Profile 2.5, 3.1", "extKeyUsage says EK certificate"),
    fixed("enrolment.certificate-subject", "TCG EK Credential Profile 2.5, 3.1", "maker, model and version are named once"),
    fixed("enrolment.certificate-extension", "TCG EK Credential Profile 2.5, 3.1", "no unknown extension is critical"),
    fixed("enrolment.certificate-chain", "RFC 5280 6.1", "the EK certificate chains to a pinned authority"),
    fixed("enrolment.certificate-vendor", "DESIGN 4.1", "the authority vouches for this maker's TPMs"),
    raise("enrolment.certificate-validity", Severity::Fatal, "RFC 5280 4.1.2.5", "the EK certificate is in force"),
    raise("enrolment.firmware", Severity::Warning, "DESIGN 4.1", "the TPM's firmware is not known to be broken"),
    fixed("enrolment.size", "DESIGN 4.1", "public areas are small"),
    fixed("enrolment.ek", "TPM 2.0 Part 2 12.2.4", "the EK parses"),
    fixed("enrolment.ak", "DESIGN 4.1", "the AK is a restricted signing key"),
    fixed("enrolment.nonce", "DESIGN 4.1", "the answer is to this challenge"),
    fixed("enrolment.activation", "TPM 2.0 Part 1 24", "EK and AK live in one TPM"),
    fixed("enrolment.quote", "DESIGN 4.1", "the AK quotes over this exchange"),
    fixed("enrolment.pcrs", "DESIGN 4.1", "the PCR values are the quoted ones"),
    fixed("enrolment.identity", "DESIGN 2", "the TPM is one that the policy takes"),
    fixed("enrolment.form", "DESIGN 4.6", "the enrolment record decodes"),
    fixed("enrolment.validator", "DESIGN 2", "the enrolment record is signed by a validator in the trust file"),
    fixed("enrolment.node-id", "DESIGN 4.1", "the node id is the hash of the EK"),
    fixed("enrolment.keys", "DESIGN 4.1", "EK and AK are well-formed"),
    fixed("enrolment.validity", "DESIGN 4.1", "the enrolment record is in force"),
    fixed("enrolment.threshold", "DESIGN 4.1", "enough operators have enrolled this EK and AK"),
    fixed("enrolment.revoked", "DESIGN 4.1", "no trusted validator has taken the record or the node back"),
    raise("identity.vendor-root", Severity::Info, "DESIGN 2", "a pinned authority vouches for the EK"),
    free("identity.platform-certificate", Severity::Warning, "TCG Platform Certificate Profile 1.1, 3", "a pinned signer says which machine the TPM is in"),
    free("identity.device-certificate", Severity::Warning, "TCG TPM 2.0 Keys for Device Identity 1.0, 8", "a pinned signer says which device the TPM's keys are of"),
    note("identity.tpm", "DESIGN 2", "what stands behind the EK"),
    fixed("evidence.form", "DESIGN 4.6", "the evidence decodes"),
    fixed("evidence.signature", "RFC 9052 4.4", "the evidence is signed by its session key"),
    fixed("session.id", "DESIGN 4.3", "the envelope names the session it carries"),
    fixed("session.enrolment", "DESIGN 4.1", "the session names this enrolment record"),
    fixed("session.node", "DESIGN 4.1", "the session is the enrolled node's"),
    raise("session.fresh", Severity::Fatal, "RFC 9334 10", "the session answers a challenge of now"),
    raise("session.previous", Severity::Fatal, "DESIGN 4.3", "the ledger goes on where it was last seen"),
    fixed("session.time", "TPM 2.0 Part 2 10.12.2", "the TPM told its time over this session"),
    fixed("session.reset-count", "TPM 2.0 Part 2 10.11.1", "quote and time are of one power cycle"),
    fixed("session.simulated", "DESIGN 2", "no part of the node is simulated"),
    fixed("session.end", "DESIGN 4.3", "the end names the chain's head"),
    fixed("quote.signature", "TPM 2.0 Part 2 10.12.8", "the enrolled AK quoted over the session's keys"),
    fixed("quote.selection", "TPM 2.0 Part 2 10.12.1", "the quote selects SHA-256 PCRs 0-9 and 11-15"),
    fixed("quote.pcr-list", "DESIGN 4.2", "PCR values come for the selection that was signed"),
    fixed("quote.pcr-digest", "TPM 2.0 Part 2 10.12.1", "the PCR values are the quoted ones"),
    fixed("boot.log-hash", "DESIGN 4.2", "the logs are the ones that the quote covers"),
    raise("boot.log", Severity::Fatal, "TCG PC Client PFP 1.06, 10", "the firmware log is well-formed"),
    raise("boot.userspace-log", Severity::Fatal, "TCG Canonical Event Log 1.0, 5.2", "the userspace log is well-formed"),
    raise("boot.quirk", Severity::Info, "TCG PC Client PFP 1.06, 10", "a declared deviation"),
    raise("boot.replay", Severity::Fatal, "TCG PC Client PFP 1.06, 10.4", "the logs replay to the quoted PCRs"),
    free("boot.replay-os", Severity::Warning, "TCG PC Client PFP 1.06, 10.4", "the logs explain what the operating system extended"),
    free("boot.log-rules", Severity::Warning, "TCG PC Client PFP 1.06, 3.3.4", "the firmware log keeps the order of events"),
    free("boot.secure-boot", Severity::Warning, "UEFI 2.10, 32.3", "Secure Boot was on"),
    free("boot.virtual-machine", Severity::Warning, "DESIGN 2", "the firmware log shows no sign of a virtual machine"),
    free("boot.release", Severity::Warning, "DESIGN 4.2", "the boot matches a known release"),
    free("boot.crtm-unproven", Severity::Warning, "TCG PC Client PFP 1.06, 10.4.5.3", "the firmware's root of measurement holds"),
    free("boot.firmware-changed", Severity::Warning, "DESIGN 4.2", "firmware and its configuration are as at enrolment"),
    raise("ima.log", Severity::Fatal, "Linux IMA templates", "the IMA log is well-formed"),
    fixed("ima.quote", "TPM 2.0 Part 2 10.12.1", "the enrolled AK quoted PCR 10 for this challenge"),
    raise("ima.replay", Severity::Fatal, "Linux IMA event log", "the IMA log leads to the quoted PCR 10"),
    free("ima.boot-aggregate", Severity::Warning, "Linux IMA event log", "the IMA log begins with this boot's PCRs"),
    free("ima.violation", Severity::Warning, "Linux IMA event log", "no file changed while it was measured"),
    fixed("policy.firmware", "DESIGN 4.1", "the TPM's firmware is no older than the policy asks for"),
    fixed("policy.floor", "DESIGN 9", "every axis reaches what the policy asks for"),
    fixed("claim.form", "DESIGN 4.6", "the claim decodes"),
    fixed("claim.signature", "RFC 9052 4.4", "the claim is signed by its last session"),
    fixed("claim.beacons", "DESIGN 4.4", "every beacon is by a validator in the trust file"),
    fixed("claim.node", "DESIGN 4.1", "every session is of the claim's node"),
    fixed("claim.order", "DESIGN 4.3", "each session goes on where the one before it ended"),
    fixed("claim.jobs", "DESIGN 4.4", "every job receipt is there once"),
    fixed("claim.stated", "DESIGN 4.4", "the records prove what the claim states"),
    fixed("claim.overlap", "DESIGN 4.3", "no two sessions ran at once"),
    fixed("chain.unbroken", "DESIGN 4.3", "beats are one unbroken, signed chain"),
    fixed("chain.beacon", "DESIGN 4.4", "each record names a beacon of the claim"),
    fixed("receipts.signature", "DESIGN 4.4", "receipts are by validators in the trust file"),
    fixed("receipts.match", "DESIGN 4.3", "validators saw these very records and no others"),
    fixed("anchor.attested", "TPM 2.0 Part 2 10.12", "anchors are the TPM's word on this chain"),
    fixed("anchor.slot", "DESIGN 4.3", "anchors fall in slots that their beacon picked"),
    fixed("anchor.order", "TPM 2.0 Part 1 36", "anchors come in the order of the TPM's time"),
    free("anchor.missed", Severity::Warning, "DESIGN 4.3", "every slot that asked for an anchor got one"),
    fixed("receipt.form", "DESIGN 4.6", "the receipt decodes"),
    fixed("receipt.bundle", "DESIGN 9", "the file is signed by a session of the same node"),
    fixed("receipt.signature", "RFC 9052 4.4", "the job receipt is signed by the session that ran it"),
    raise("receipt.seen", Severity::Fatal, "DESIGN 4.4", "validators had the receipt"),
    free("receipt.limits", Severity::Warning, "DESIGN 5", "limits were held by cgroups"),
    fixed("gpu.device.table", "DESIGN 4.3", "device evidence is of devices of the session, each once"),
    raise("gpu.device.report", Severity::Info, "DESIGN 2", "every GPU of the session signed a report"),
    fixed("gpu.device.signature", "DSP0274 1.1, 10.11", "the device signed its report"),
    fixed("gpu.device.chain", "RFC 5280 6.1", "the device's certificates lead to its maker's root"),
    fixed("gpu.device.fwid", "TCG DICE Attestation Architecture 1.1, 6.1", "certificate and report name one firmware"),
    free("gpu.device.fwid-absent", Severity::Warning, "TCG DICE Attestation Architecture 1.1, 6.1", "the report names the firmware that signed it"),
    fixed("gpu.device.nonce", "RFC 9334 10", "the report is over this session, this boot and this TPM's key"),
    raise("gpu.device.measurements", Severity::Warning, "TCG Reference Integrity Manifest 1.01", "the device measured what its maker published"),
    raise("gpu.device.reference-values", Severity::Info, "TCG Reference Integrity Manifest 1.01", "reference values for the device's firmware are at hand"),
    fixed("gpu.device.revocation", "RFC 6960 4.2", "no certificate of the device was taken back"),
    raise("gpu.device.revocation-unknown", Severity::Info, "RFC 6960 4.2", "responders' word on the certificates of the device and of its reference values' signers is at hand"),
    raise("gpu.device.trailing-bytes", Severity::Info, "DSP0274 1.1, 10.11", "nothing follows the report's signature"),
    raise("gpu.device.unknown-field", Severity::Info, "DSP0274 1.1, 10.11", "every field of the report is of a known type"),
    fixed("gpu.topology.duplicate", "DESIGN 4.4", "each report is of another device"),
    raise("gpu.topology.sets", Severity::Warning, "DESIGN 4.4", "all GPUs name the same switches, and all switches the same GPUs"),
    raise("gpu.topology.unlisted", Severity::Warning, "DESIGN 4.4", "each device is named by those on the other side of its links"),
    raise("gpu.topology.missing", Severity::Info, "DESIGN 4.4", "each device that another one names signed too"),
    raise("gpu.report.driver", Severity::Warning, "DESIGN 4.4", "report and library name one driver"),
    raise("gpu.report.vbios", Severity::Warning, "DESIGN 4.4", "report and library name one VBIOS"),
    raise("gpu.report.board-part", Severity::Warning, "DESIGN 4.4", "the report's board has the library's part number"),
    raise("gpu.report.inforom", Severity::Warning, "DESIGN 4.4", "the report's board has the library's InfoROM image"),
    raise("gpu.report.pdi", Severity::Warning, "DESIGN 4.4", "certificate and library name one device"),
    raise("gpu.report.architecture", Severity::Warning, "DESIGN 4.4", "the product's name is of the family that signed"),
    raise("gpu.report.not-compared", Severity::Info, "DESIGN 4.4", "the library has a fact for each that the device signed"),
    fixed("gpu.table", "DESIGN 4.3", "beats have one line for each of the session's GPUs"),
    free("gpu.telemetry", Severity::Warning, "DESIGN 4.4", "GPU counters obey the rules"),
    free("gpu.telemetry.other-gpu", Severity::Warning, "DESIGN 4.4", "two lines that are compared are of one GPU"),
    free("gpu.telemetry.energy-backwards", Severity::Warning, "DESIGN 4.4", "energy counters never run backwards"),
    free("gpu.telemetry.energy-chain", Severity::Warning, "DESIGN 4.4", "each energy count goes on from the one before"),
    free("gpu.telemetry.energy-above-limit", Severity::Warning, "DESIGN 4.4", "no more energy than the power limit has room for"),
    free("gpu.telemetry.energy-stopped", Severity::Warning, "DESIGN 4.4", "the energy counter runs while there is power"),
    free("gpu.telemetry.energy-against-power", Severity::Warning, "DESIGN 4.4", "energy and power agree"),
    free("gpu.telemetry.load-without-power", Severity::Warning, "DESIGN 4.4", "a busy GPU draws power"),
    free("gpu.telemetry.energy-vanished", Severity::Warning, "DESIGN 4.4", "an energy counter does not vanish"),
    free("gpu.telemetry.pcie-backwards", Severity::Warning, "DESIGN 4.4", "PCIe counters never run backwards"),
    free("gpu.telemetry.pcie-too-fast", Severity::Warning, "DESIGN 4.4", "no more PCIe traffic than the link carries"),
    free("gpu.telemetry.values-without-data", Severity::Warning, "DESIGN 4.4", "a line without data has no values"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CHECKS.len());
    }

    #[test]
    fn nothing_that_is_signed_or_hashed_can_be_made_milder() {
        let cryptographic = ["signature", "digest", "hash", "keys", "validator", "activation", "attested"];
        for check in CHECKS.iter().filter(|check| cryptographic.iter().any(|word| check.id.contains(word))) {
            assert_eq!((check.freedom, check.severity), (Freedom::Fixed, Severity::Fatal), "{}", check.id);
        }
        let severities = [Severity::Pass, Severity::Info, Severity::Warning, Severity::Fatal];
        for check in CHECKS {
            let milder = severities.iter().any(|s| *s < check.severity && check.allows(*s));
            assert_eq!(milder, check.freedom == Freedom::Free, "{}", check.id);
            assert!(!check.allows(Severity::Pass), "{}", check.id);
        }
    }
}
