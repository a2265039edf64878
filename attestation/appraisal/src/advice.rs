//! What to do about a finding, by its id.

use crate::finding::{Finding, Severity};

/// The next step for whoever owns the node or checks it; `None` where there is none to take.
///
/// `{node}` stands for the node's id in what is printed, `{value}` for the value of a PCR; a step that needs
/// one says NODE or VALUE otherwise.
pub fn advice(finding: &Finding, node: Option<&str>) -> Option<String> {
    let step = step(finding.id).filter(|_| finding.severity >= Severity::Warning)?;
    Some(step.replace("{node}", node.unwrap_or("NODE")).replace("{value}", value(finding).unwrap_or("VALUE")))
}

/// The value that was seen, from `PCR 0: VALUE`.
fn value(finding: &Finding) -> Option<&str> {
    let (_, value) = finding.seen.as_deref()?.split_once(": ")?;
    (value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(value)
}

const ANOTHER: &str =
    "export the file again; if it stays so, it was changed on the way or made by other software";
const ENROL: &str = "run `assay-agent enrol` on the node and take the new record";
const RESTART: &str = "restart the agent on the node: it opens a new session with new evidence";
const FORGED: &str =
    "believe nothing that this node says until its owner explains it; keep the file as proof";
const TELEMETRY: &str =
    "look at the GPU and its driver on the node (`assay-agent nvml`); what is wrong earns nothing";

/// The step for a check's id. An id below another in the dotted tree shares its step.
#[rustfmt::skip]
fn step(id: &str) -> Option<&'static str> {
    let step = match id {
        "file.form" => "name a file that `assay-agent` or `assay-validator` exported: enrolment, evidence, claim or receipt",
        "enrolment.ek-template" => "use the TPM's own endorsement key: the agent makes it by the TCG's templates and no others",
        "enrolment.weak-key" => "this TPM makes keys that can be computed from their public half: update its firmware and make new keys, or replace it",
        "enrolment.firmware" => "update the TPM's firmware with its vendor's tool and restart the agent: its next session tells the version; a record's is that of enrolment day",
        "enrolment.certificate-chain" | "enrolment.certificate-vendor" => "the certificate claims an authority that did not sign it: look at where it came from",
        "enrolment.certificate-validity" => "the certificate is of the future: set the clocks right, or look at where it came from",
        "enrolment.chain-form" => "nothing, if the EK certificate leads to an authority without it; else give the authorities' certificates with `--ek-cert FILE`",
        "enrolment.quirk" => "get a certificate without it from the maker, or accept the deviation",
        "identity.vendor-root" => "enrol with the authorities' certificates (`ek_chain`), add the maker's to the trust file with `[[ca]]`, or pin node {node} by hand",
        "identity.platform-certificate" | "identity.device-certificate" => "add the signer of the machine's maker to the trust file with `assay-validator trust add-platform-signer FILE --trust TRUST`, or ignore what the certificate says",
        "enrolment.certificates" | "enrolment.size" | "enrolment.ek" | "enrolment.form" => ANOTHER,
        "enrolment.ak" => "remove the agent's AK and enrol again: the AK must be a restricted signing key of the TPM",
        "enrolment.certificate-form" | "enrolment.certificate-version" | "enrolment.certificate-ca" | "enrolment.certificate-usage"
        | "enrolment.certificate-purpose" | "enrolment.certificate-subject" | "enrolment.certificate-extension" => "the EK certificate can't be read: enrol without it and pin node {node} by hand, or get the maker's certificate",
        "enrolment.certificate-key" => "the certificate is another TPM's: give the agent the one of this TPM with `--ek-cert FILE`",
        "enrolment.nonce" | "enrolment.quote" | "enrolment.pcrs" => "enrol again: the answer was not to this challenge",
        "enrolment.activation" => "enrol again on the machine that holds the TPM: EK and AK were not shown to be in one",
        "enrolment.identity" => "for an unknown vendor root pin this EK: add `[[pinned]] node = \"{node}\"` to the trust file, or take a policy with a lower identity floor",
        "enrolment.validator" => "the record is of another network, or its validator is missing in the trust file: add its key if you believe it",
        "enrolment.node-id" | "enrolment.keys" => FORGED,
        "enrolment.validity" => ENROL,
        "enrolment.threshold" => "enrol the node with validators of more operators, and restart its agent",
        "enrolment.revoked" => "ask the validator that revoked it for the reason; a revoked record is replaced by enrolling again, a revoked node is not",
        "evidence.form" | "evidence.signature" | "session.id" => ANOTHER,
        "session.enrolment" | "session.node" => FORGED,
        "session.fresh" => RESTART,
        "session.previous" => "if the disk was restored or wiped, say so to the validator; if not, keep the file: the node's history was cut",
        "session.time" | "session.reset-count" => RESTART,
        "session.simulated" => "simulated parts count under the `development` policy only: use a real TPM and GPU, or that policy",
        "session.end" => ANOTHER,
        "quote.signature" | "quote.selection" | "quote.pcr-list" | "quote.pcr-digest" => FORGED,
        "boot.log-hash" => FORGED,
        "boot.log" => "mount securityfs, so that the kernel shows binary_bios_measurements, and restart the agent",
        "boot.quirk" => "update the machine's firmware, or accept the deviation",
        "boot.replay" => "boot again and restart the agent; if it stays so, the log was changed or the firmware measures what it does not log",
        "boot.userspace-log" => "reboot the node; if it stays so, its userspace log was changed",
        "boot.replay-os" => "nothing for an ordinary system; an appliance must explain every PCR: boot it again, and reinstall it if it stays so",
        "boot.log-rules" => "update the machine's firmware; if it is current, someone reordered its log",
        "boot.virtual-machine" => "use a machine of metal: a virtual one proves nothing about hardware",
        "boot.crtm-unproven" => "nothing to do on the node: update firmware that measures from locality 3, or wait until other owners show the same firmware",
        "ima.log" | "ima.quote" | "ima.replay" => "restart the agent; if it stays so, the IMA log was changed",
        "ima.boot-aggregate" => "reboot the node: its IMA log is of another boot, or of a kernel that was started by kexec",
        "ima.violation" => "look at the files that the IMA log names: they were written while they were measured",
        "boot.secure-boot" => "switch Secure Boot on in the machine's firmware set-up and boot again",
        "boot.release" => "install a release that the trust file's signers name, or add the release to the trust file",
        "boot.firmware-changed" => "firmware changed since enrolment: if you updated it, approve with `assay-validator approve firmware {node} {value} --dir DIR`; if not, look at the machine",
        "policy.firmware" => "update the TPM's firmware with its vendor's tool and restart the agent: its next session tells the version",
        "policy.floor" => "see which axis is too low: for I pin this EK with `[[pinned]] node = \"{node}\"` in the trust file or use a TPM with a vendor certificate, for P boot an appliance release, for G pass a proof of GPU",
        "claim.form" | "claim.signature" | "claim.beacons" | "claim.jobs" | "chain.beacon" | "receipts.signature" => ANOTHER,
        "claim.node" | "claim.order" | "claim.overlap" | "claim.stated" => FORGED,
        "chain.unbroken" | "receipts.match" | "anchor.attested" | "anchor.slot" | "anchor.order" => FORGED,
        "anchor.missed" => "check the node's connection and that its TPM answers: each missed slot leaves powered time unproven",
        "receipt.form" | "receipt.bundle" | "receipt.signature" => ANOTHER,
        "receipt.seen" => "wait until enough validators have the receipt, then export again",
        "receipt.limits" => "give the agent a cgroup v2 tree with controllers, as its systemd unit does",
        "gpu.table" | "gpu.device.table" | "gpu.device.signature" | "gpu.device.chain" | "gpu.device.fwid" | "gpu.topology.duplicate" => FORGED,
        "gpu.device.nonce" => "restart the agent on the node: a report that its own GPU makes is over the new session; if it stays so, the report is another machine's",
        "gpu.device.report" => "switch confidential computing on in the GPU's driver where the GPU has it; without it a GPU signs nothing",
        "gpu.device.fwid-absent" => "update the GPU's VBIOS: an old one does not name the firmware that signs",
        "gpu.device.measurements" => "reinstall the GPU's driver and VBIOS as its maker publishes them; if it stays so, believe nothing of this GPU",
        "gpu.device.reference-values" => "get the maker's reference values for this driver and VBIOS, and take them with `assay-validator rim import FILE --dir DIR`",
        "gpu.device.revocation" => "ask the GPU's maker: a certificate of this device was taken back",
        "gpu.device.revocation-unknown" => "give the responders' answers to `assay-validator ocsp check --cache DIR/ocsp`, or have those about the device stapled to its evidence",
        "gpu.device.trailing-bytes" | "gpu.device.unknown-field" => "update the verifier: the report has a form that it does not know",
        "gpu.topology.sets" | "gpu.topology.unlisted" | "gpu.topology.missing" => "look at the machine's GPUs and switches: what they signed of each other does not describe one machine",
        "gpu.report.not-compared" => "update the GPU's driver: its library leaves out facts that the GPU signed",
        other if other.starts_with("gpu.report.") => "look at the node's GPU library: it does not say what the GPU signed",
        "identity.tpm" => return None,
        other if other.starts_with("gpu.telemetry") => TELEMETRY,
        _ => return None,
    };
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::CHECKS;

    #[test]
    fn whatever_can_fail_has_a_next_step() {
        for check in CHECKS.iter().filter(|check| check.severity >= Severity::Warning) {
            assert!(step(check.id).is_some(), "{}", check.id);
        }
        // What a policy can raise needs one too.
        for check in CHECKS.iter().filter(|check| check.allows(Severity::Fatal)) {
            assert!(step(check.id).is_some(), "{}", check.id);
        }
    }

    #[test]
    fn the_node_is_named_and_what_holds_needs_no_step() {
        let finding = |severity| Finding::new("boot.firmware-changed", severity, "", "");
        let told = |severity, node| advice(&finding(severity), node).unwrap_or_default();
        assert!(told(Severity::Warning, Some("ab12")).contains("approve firmware ab12 VALUE --dir"));
        assert!(told(Severity::Warning, None).contains("approve firmware NODE"));
        let value = "0f".repeat(32);
        let seen = |seen: &str| finding(Severity::Warning).saw(seen);
        let step = advice(&seen(&format!("PCR 2: {value}")), Some("ab12")).unwrap_or_default();
        assert!(step.contains(&format!("approve firmware ab12 {value} --dir")), "{step}");
        let step = advice(&seen("PCR 2: `rm`"), Some("ab12")).unwrap_or_default();
        assert!(step.contains("approve firmware ab12 VALUE"), "{step}");
        assert_eq!(told(Severity::Info, None), "");
        assert_eq!(told(Severity::Pass, None), "");
    }
}
