//! Platform and device certificates: which machine and device known signers say a TPM is in.
//!
//! They raise no axis. What is not signed by a platform signer of the trust file, or not bound to this
//! TPM, is a warning and a fact of nobody's. Signers and authorities between may come in the same list:
//! they are steps to one that the trust file names, and leave no finding of their own.

use assay_ledger::ByteVec;
use assay_tpm::Public;
use assay_wire::limits;
use assay_x509::{
    Certificate, Dates, DeviceBinding, DeviceIdentity, KeyUsage, MAX_CHECKS, PlatformCertificate, Quirks,
    Store, chain_within, dates, device_binding,
};

use crate::ek::{Presented, quirks, seconds};
use crate::finding::{Check, Findings, Severity};
use crate::platform_signer::{PlatformSigner, authorities};
use crate::trust::Trust;

const PLATFORM: Check = Check {
    id: "identity.platform-certificate",
    spec: "TCG Platform Certificate Profile 1.1, 3",
    checked: "a pinned signer says which machine the TPM is in",
};
const DEVICE: Check = Check {
    id: "identity.device-certificate",
    spec: "TCG TPM 2.0 Keys for Device Identity 1.0, 8",
    checked: "a pinned signer says which device the TPM's keys are of",
};

/// What was signed and bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Named {
    /// Maker, model and serial number of each machine.
    pub(crate) platforms: Vec<String>,
    /// Serial number of each device.
    pub(crate) devices: Vec<String>,
}

/// Reads both kinds; each certificate that is no step leaves one finding.
pub(crate) fn named(
    presented: &Presented<'_>,
    ek: Option<&Certificate>,
    ak: &Public,
    trust: &Trust,
    now_ms: u64,
    findings: &mut Findings,
) -> Named {
    let mut named = Named::default();
    if presented.platforms.is_empty() && presented.devices.is_empty() {
        return named;
    }
    let mut judge = Judge {
        ek,
        ak,
        signers: &trust.platform_signers,
        store: authorities(&trust.platform_signers),
        now: seconds(now_ms),
        left: MAX_CHECKS,
        quirks: Quirks::new(),
    };
    for result in judge.platforms(presented.platforms) {
        note(PLATFORM, result, &mut named.platforms, findings);
    }
    quirks("platform certificate", &std::mem::take(&mut judge.quirks), findings);
    for result in judge.devices(presented.devices) {
        note(DEVICE, result, &mut named.devices, findings);
    }
    quirks("device certificate", &judge.quirks, findings);
    named
}

fn note(check: Check, result: Result<String, String>, list: &mut Vec<String>, findings: &mut Findings) {
    match result {
        Ok(name) => {
            findings.pass(check, &name);
            list.push(name);
        }
        Err(seen) => findings.fail(check, Severity::Warning, "a certificate that is signed and bound", seen),
    }
}

fn within_limit(bytes: &[u8]) -> Result<&[u8], String> {
    match bytes.len() <= limits::CERTIFICATE {
        true => Ok(bytes),
        false => Err(format!("{} bytes", bytes.len())),
    }
}

struct Judge<'a> {
    ek: Option<&'a Certificate>,
    ak: &'a Public,
    signers: &'a [PlatformSigner],
    /// The signers that are authorities.
    store: Store,
    /// In seconds.
    now: i64,
    /// Signatures that may still be checked, for all certificates together.
    left: usize,
    /// What had to be overlooked in those of one kind.
    quirks: Quirks,
}

impl Judge<'_> {
    fn platforms(&mut self, all: &[ByteVec]) -> Vec<Result<String, String>> {
        let read = |bytes: &ByteVec| {
            let bytes = within_limit(bytes)?;
            PlatformCertificate::from_nv(bytes).map_err(|e| e.to_string())
        };
        let read: Vec<_> = all.iter().map(read).collect();
        // A platform certificate in the form of a public-key certificate signs nothing.
        let signed = |step: &Certificate| {
            let issued =
                |one: &PlatformCertificate| one.holder.is_some() && one.issuer.is_same_text(&step.subject);
            step.is_ca() || read.iter().flatten().any(issued)
        };
        let step = |bytes: &ByteVec| Certificate::from_nv(within_limit(bytes).ok()?).ok().filter(signed);
        let steps: Vec<Option<Certificate>> = all.iter().map(step).collect();
        let leaves: Vec<_> = read.iter().zip(&steps).filter(|(_, step)| step.is_none()).collect();
        let steps: Vec<Certificate> = steps.iter().flatten().cloned().collect();
        leaves
            .into_iter()
            .map(|(one, _)| self.platform(one.as_ref().map_err(Clone::clone)?, &steps))
            .collect()
    }

    fn platform(
        &mut self,
        certificate: &PlatformCertificate,
        steps: &[Certificate],
    ) -> Result<String, String> {
        self.quirks.extend(&certificate.quirks);
        if !self.ek.is_some_and(|ek| certificate.is_about(ek)) {
            return Err("it is about another TPM".to_owned());
        }
        if let Some(oid) = certificate.unknown_critical {
            return Err(format!("unknown critical extension {oid}"));
        }
        in_force(Dates::of(certificate.not_before, certificate.not_after, self.now))?;
        let signer = self.signer(certificate, steps)?;
        let names = &certificate.names;
        Ok(format!("{} {} {}, by {signer}", names.manufacturer, names.model, names.serial))
    }

    /// The name of the pinned signer that signed it, or that vouches for who did.
    fn signer(&mut self, certificate: &PlatformCertificate, steps: &[Certificate]) -> Result<String, String> {
        for signer in self.signers {
            if self.signed(certificate, &signer.certificate)? {
                return Ok(signer.name.clone());
            }
        }
        for step in steps.iter().filter(|step| may_sign(step, certificate)) {
            if self.signed(certificate, step)? {
                return self.follow(step, steps);
            }
        }
        Err(format!("no platform signer of the trust file signed it: {}", certificate.issuer))
    }

    fn signed(&mut self, certificate: &PlatformCertificate, signer: &Certificate) -> Result<bool, String> {
        if !certificate.issuer.is_same_text(&signer.subject) {
            return Ok(false);
        }
        self.left = self.left.checked_sub(1).ok_or("too many signatures")?;
        Ok(certificate.verify(signer).is_ok())
    }

    fn follow(&mut self, certificate: &Certificate, steps: &[Certificate]) -> Result<String, String> {
        let found = chain_within(certificate, steps, &self.store, &mut self.left);
        found.map(|chain| chain.anchor.name.clone()).map_err(|e| e.to_string())
    }

    fn devices(&mut self, all: &[ByteVec]) -> Vec<Result<String, String>> {
        let read = |bytes: &ByteVec| {
            let bytes = within_limit(bytes)?;
            Certificate::from_nv(bytes).map_err(|e| e.to_string())
        };
        let read: Vec<_> = all.iter().map(read).collect();
        let steps: Vec<_> = read.iter().flatten().filter(|one| one.is_ca()).cloned().collect();
        let leaves = read.into_iter().filter(|one| !one.as_ref().is_ok_and(Certificate::is_ca));
        leaves.map(|one| self.device(&one?, &steps)).collect()
    }

    fn device(&mut self, certificate: &Certificate, steps: &[Certificate]) -> Result<String, String> {
        self.quirks.extend(&certificate.quirks);
        let identity = DeviceIdentity::of(certificate).map_err(|e| e.to_string())?;
        let bound = match device_binding(certificate, &identity, self.ak, self.ek) {
            DeviceBinding::AttestationKey => "for the AK",
            DeviceBinding::EndorsementKey => "for the EK certificate",
            DeviceBinding::None => return Err("nothing binds it to this TPM".to_owned()),
        };
        if let Some(oid) = certificate.extensions.unknown_critical() {
            return Err(format!("unknown critical extension {oid}"));
        }
        in_force(dates(certificate, self.now))?;
        let signer = self.follow(certificate, steps)?;
        let serial = printable(&identity.hardware_serial);
        Ok(format!("device {serial} {bound}, by {signer}"))
    }
}

fn in_force(dates: Dates) -> Result<(), String> {
    match dates {
        Dates::Valid => Ok(()),
        Dates::Future => Err("it has not begun".to_owned()),
        Dates::Expired => Err("it is over".to_owned()),
    }
}

/// Whether a certificate that the node sent may have signed a platform certificate (RFC 5755 4.5): its key
/// signs, it is no authority's, nothing critical in it is unknown, and it was in force.
fn may_sign(signer: &Certificate, certificate: &PlatformCertificate) -> bool {
    let usage = signer.extensions.key_usage;
    usage.is_none_or(|usage| usage.contains(KeyUsage::DIGITAL_SIGNATURE))
        && !signer.is_ca()
        && signer.extensions.unknown_critical().is_none()
        && signer.is_valid_at(certificate.not_before)
}

/// As text where it is, else in hexadecimal.
fn printable(serial: &[u8]) -> String {
    match std::str::from_utf8(serial) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
        _ => hex::encode(serial),
    }
}

#[cfg(test)]
mod tests;
