//! EK certificates against the TCG EK Credential Profile 2.5 (and 2.6), one result per check.

use assay_tpm::Public;

use crate::certificate::Certificate;
use crate::extension::KeyUsage;
use crate::key::{EcCurve, PublicKey};
use crate::oids;
use crate::roca::is_roca;
use crate::store::is_vendor_id;

/// The checks, in the order they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EkCheck {
    /// X.509 version 3 (3.1.1).
    Version,
    /// The certified key is the EK.
    Key,
    /// The key is strong: size, exponent, curve, and no ROCA fingerprint.
    WeakKey,
    /// Not an authority (3.1.8).
    Authority,
    /// keyUsage is the EK's only use (3.1.7).
    Usage,
    /// extKeyUsage has tcg-kp-EKCertificate (3.1.9).
    Purpose,
    /// Manufacturer, model and version are there once (3.1.2).
    Subject,
    /// No unknown critical extension.
    Extension,
}

/// One check's result: what was seen, or what is wrong.
pub type EkResult = (EkCheck, Result<String, String>);

/// What a certificate says of its TPM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TpmNames {
    /// tpmManufacturer, such as `id:49465800`; empty when absent.
    pub manufacturer: String,
    /// tpmModel; empty when absent.
    pub model: String,
    /// tpmVersion, such as `id:00070055`; empty when absent.
    pub version: String,
}

/// What a certificate says of its TPM, in subjectAltName or, as older ones have it, in the subject.
///
/// # Errors
/// Says which attribute has two values.
pub fn tpm_names(certificate: &Certificate) -> Result<TpmNames, String> {
    let directories = certificate.extensions.alt_name.iter().flat_map(|alt| &alt.directory);
    let names: Vec<_> = directories.chain([&certificate.subject]).collect();
    let one = |oid, what: &str| -> Result<String, String> {
        let mut values = names.iter().flat_map(|name| name.values(oid));
        let first = values.next().unwrap_or_default().to_owned();
        match values.all(|value| value == first) {
            true => Ok(first),
            false => Err(format!("two values of {what}")),
        }
    };
    Ok(TpmNames {
        manufacturer: one(oids::TPM_MANUFACTURER, "tpmManufacturer")?,
        model: one(oids::TPM_MODEL, "tpmModel")?,
        version: one(oids::TPM_VERSION, "tpmVersion")?,
    })
}

/// Judges a certificate as the EK certificate of `ek`: every check, in order.
#[must_use]
pub fn judge_ek(certificate: &Certificate, ek: &Public) -> Vec<EkResult> {
    vec![
        (EkCheck::Version, version(certificate)),
        (EkCheck::Key, key(certificate, ek)),
        (EkCheck::WeakKey, strong(&certificate.key)),
        (EkCheck::Authority, leaf(certificate)),
        (EkCheck::Usage, usage(certificate)),
        (EkCheck::Purpose, purpose(certificate)),
        (EkCheck::Subject, subject(certificate)),
        (EkCheck::Extension, extension(certificate)),
    ]
}

fn version(certificate: &Certificate) -> Result<String, String> {
    match certificate.version {
        3 => Ok("version 3".to_owned()),
        other => Err(format!("version {other}")),
    }
}

fn key(certificate: &Certificate, ek: &Public) -> Result<String, String> {
    match certificate.key.is(ek) {
        true => Ok(certificate.key.describe()),
        false => Err(format!("another key, {}", certificate.key.describe())),
    }
}

/// Whether a TPM's key is strong: RSA of 2048 bits and up with an odd exponent of at least 65537 and
/// without the ROCA fingerprint, or P-256 or P-384.
///
/// # Errors
/// Says what is weak.
pub fn strong(key: &PublicKey) -> Result<String, String> {
    match key {
        PublicKey::Rsa { modulus, exponent } => {
            let large = matches!(exponent.as_slice(), [_, _, _, ..]);
            let odd = exponent.last().is_some_and(|last| last & 1 == 1);
            match () {
                () if key.bits() < 2048 => Err(format!("RSA of {} bits", key.bits())),
                () if !large || !odd || exponent.len() > 4 => {
                    Err(format!("the RSA exponent 0x{}", hex::encode(exponent)))
                }
                () if is_roca(modulus) => Err("the key has the fingerprint of CVE-2017-15361".to_owned()),
                () => Ok(key.describe()),
            }
        }
        PublicKey::Ec { curve: EcCurve::P256 | EcCurve::P384, .. } => Ok(key.describe()),
        _ => Err(key.describe()),
    }
}

fn leaf(certificate: &Certificate) -> Result<String, String> {
    match certificate.extensions.basic_constraints.is_some_and(|constraints| constraints.ca) {
        false => Ok("not an authority".to_owned()),
        true => Err("an authority's certificate".to_owned()),
    }
}

fn usage(certificate: &Certificate) -> Result<String, String> {
    let (expected, name) = match certificate.key {
        PublicKey::Rsa { .. } => (KeyUsage::KEY_ENCIPHERMENT, "keyEncipherment"),
        _ => (KeyUsage::KEY_AGREEMENT, "keyAgreement"),
    };
    match certificate.extensions.key_usage {
        Some(seen) if seen == expected => Ok(name.to_owned()),
        Some(seen) => Err(format!("keyUsage bits {:#b}, expected {name} alone", seen.0)),
        None => Err("no keyUsage".to_owned()),
    }
}

fn purpose(certificate: &Certificate) -> Result<String, String> {
    match &certificate.extensions.purposes {
        Some(purposes) if purposes.contains(&oids::EK_CERTIFICATE) => Ok("tcg-kp-EKCertificate".to_owned()),
        Some(_) => Err("extKeyUsage without tcg-kp-EKCertificate".to_owned()),
        None => Err("no extKeyUsage".to_owned()),
    }
}

fn subject(certificate: &Certificate) -> Result<String, String> {
    let names = tpm_names(certificate)?;
    if !is_vendor_id(&names.manufacturer) {
        return Err(format!("tpmManufacturer {:?}", names.manufacturer));
    }
    if names.model.is_empty() || names.version.is_empty() {
        return Err("no tpmModel or no tpmVersion".to_owned());
    }
    let critical = certificate.extensions.alt_name.as_ref().is_some_and(|alt| alt.critical);
    // RFC 5280 4.1.2.6: where the subject is empty the alternative name must be critical.
    if certificate.subject.is_empty() && !critical {
        return Err("an empty subject and no critical subjectAltName".to_owned());
    }
    Ok(format!("{} {} {}", names.manufacturer, names.model, names.version))
}

fn extension(certificate: &Certificate) -> Result<String, String> {
    match certificate.extensions.unknown_critical() {
        None => Ok(format!("{} extensions", certificate.extensions.types.len())),
        Some(oid) => Err(format!("unknown critical extension {oid}")),
    }
}
