//! Platform and device certificates: which machine and device pinned authorities say a TPM is in.
//!
//! They raise no axis. What is not signed by an authority of the trust file, or not bound to this
//! TPM, is a warning and a fact of nobody's.

use assay_tpm::Public;
use assay_wire::limits;
use assay_x509::{
    Certificate, Dates, DeviceBinding, DeviceIdentity, PlatformCertificate, chain, dates, device_binding,
};

use crate::ek::{Presented, seconds};
use crate::finding::{Check, Findings, Severity};
use crate::trust::Trust;

const PLATFORM: Check = Check {
    id: "identity.platform-certificate",
    spec: "TCG Platform Certificate Profile 1.1, 3",
    checked: "a pinned authority says which machine the TPM is in",
};
const DEVICE: Check = Check {
    id: "identity.device-certificate",
    spec: "TCG TPM 2.0 Keys for Device Identity 1.0, 8",
    checked: "a pinned authority says which device the TPM's keys are of",
};

/// What was signed and bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Named {
    /// Maker, model and serial number of each machine.
    pub(crate) platforms: Vec<String>,
    /// Serial number of each device.
    pub(crate) devices: Vec<String>,
}

/// Reads both kinds; each certificate leaves one finding.
pub(crate) fn named(
    presented: &Presented<'_>,
    ek: Option<&Certificate>,
    ak: &Public,
    trust: &Trust,
    now_ms: u64,
    findings: &mut Findings,
) -> Named {
    let mut named = Named::default();
    for bytes in presented.platforms {
        note(PLATFORM, platform(bytes, ek, trust, now_ms), &mut named.platforms, findings);
    }
    for bytes in presented.devices {
        note(DEVICE, device(bytes, ek, ak, trust, now_ms), &mut named.devices, findings);
    }
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

fn within_limit(bytes: &[u8]) -> Result<(), String> {
    match bytes.len() <= limits::CERTIFICATE {
        true => Ok(()),
        false => Err(format!("{} bytes", bytes.len())),
    }
}

fn platform(bytes: &[u8], ek: Option<&Certificate>, trust: &Trust, now_ms: u64) -> Result<String, String> {
    within_limit(bytes)?;
    let certificate = PlatformCertificate::from_nv(bytes).map_err(|e| e.to_string())?;
    if !ek.is_some_and(|ek| certificate.is_about(ek)) {
        return Err("it is about another TPM".to_owned());
    }
    if seconds(now_ms) < certificate.not_before {
        return Err("it has not begun".to_owned());
    }
    // A TPM maker's authority says nothing of machines; only those that the trust file names do.
    let signer = trust.authorities.iter().find(|ca| certificate.verify(&ca.certificate).is_ok());
    let signer =
        signer.ok_or_else(|| format!("nobody in the trust file signed it: {}", certificate.issuer))?;
    let names = certificate.names;
    Ok(format!("{} {} {}, by {}", names.manufacturer, names.model, names.serial, signer.name))
}

fn device(
    bytes: &[u8],
    ek: Option<&Certificate>,
    ak: &Public,
    trust: &Trust,
    now_ms: u64,
) -> Result<String, String> {
    within_limit(bytes)?;
    let certificate = Certificate::from_nv(bytes).map_err(|e| e.to_string())?;
    let identity = DeviceIdentity::of(&certificate).map_err(|e| e.to_string())?;
    let bound = match device_binding(&certificate, &identity, ak, ek) {
        DeviceBinding::AttestationKey => "for the AK",
        DeviceBinding::EndorsementKey => "for the EK certificate",
        DeviceBinding::None => return Err("nothing binds it to this TPM".to_owned()),
    };
    if let Some(oid) = certificate.extensions.unknown_critical() {
        return Err(format!("unknown critical extension {oid}"));
    }
    if dates(&certificate, seconds(now_ms)) != Dates::Valid {
        return Err("it is not in force".to_owned());
    }
    let found = chain(&certificate, &[], &trust.store).map_err(|e| e.to_string())?;
    if found.anchor.vendor.is_some() {
        return Err("a TPM maker's authority signed it".to_owned());
    }
    let serial = printable(&identity.hardware_serial);
    Ok(format!("device {serial} {bound}, by {}", found.anchor.name))
}

/// As text where it is, else in hexadecimal.
fn printable(serial: &[u8]) -> String {
    match std::str::from_utf8(serial) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
        _ => hex::encode(serial),
    }
}
