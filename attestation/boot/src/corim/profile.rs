//! What profiles that are about TPMs ask for beyond the draft.

use super::value::fault;
use super::*;
use crate::BootError;

/// Parsec's profile for TPMs: reference values of PCRs by number, and attestation keys.
pub const PARSEC_TPM_PROFILE: &str = "tag:github.com/parallaxsecond,2023-03-03:tpm";
/// Our own: a release ([`crate::Release::to_corim`]).
pub const RELEASE_PROFILE: &str = "urn:x-assay:release:1";

type Checked = Result<(), BootError>;

impl Corim {
    /// Whether the manifest's profile is this URI.
    #[must_use]
    pub fn has_profile(&self, uri: &str) -> bool {
        matches!(&self.profile, Some(Profile::Uri(seen)) if seen == uri)
    }

    /// Checks the rules of the manifest's profile, if it is a known one.
    pub(super) fn check_profile(&self) -> Checked {
        if !self.has_profile(PARSEC_TPM_PROFILE) && !self.has_profile(RELEASE_PROFILE) {
            return Ok(());
        }
        for tag in &self.tags {
            let CorimTag::Comid(comid) = tag else { continue };
            for triple in &comid.reference {
                environment(&triple.environment, false)?;
                for measured in &triple.measurements {
                    self.measurement(measured)?;
                }
            }
            for triple in &comid.attest_keys {
                environment(&triple.environment, true)?;
                keys(&triple.keys)?;
            }
        }
        Ok(())
    }

    /// Parsec: a PCR's number and its digests. A release also names things that are in no PCR.
    fn measurement(&self, measured: &Measurement) -> Checked {
        match measured.key.as_ref().ok_or_else(|| missing("mkey"))? {
            MeasurementKey::Uint(_) if measured.values.digests.is_empty() => Err(missing("digests")),
            MeasurementKey::Uint(_) => Ok(()),
            MeasurementKey::Text(_) if self.has_profile(RELEASE_PROFILE) => Ok(()),
            _ => Err(shape("mkey")),
        }
    }
}

fn environment(environment: &Environment, of_key: bool) -> Checked {
    let class = environment.class.as_ref().ok_or_else(|| missing("class"))?;
    match class.id.as_ref().ok_or_else(|| missing("class-id"))? {
        Identifier::Uuid(_) => {}
        _ => return Err(shape("class-id")),
    }
    match &environment.instance {
        None if of_key => return Err(missing("instance")),
        Some(_) if !of_key => return Err(unexpected("instance")),
        None | Some(Identifier::Bytes(_) | Identifier::Ueid(_)) => {}
        Some(_) => return Err(shape("instance")),
    }
    environment.group.as_ref().map_or(Ok(()), |_| Err(unexpected("group")))
}

fn keys(keys: &[CryptoKey]) -> Checked {
    match keys {
        [CryptoKey::PkixBase64Key(_)] => Ok(()),
        [CryptoKey::Other(_)] => Err(shape("key")),
        _ => Err(unexpected("second key")),
    }
}

fn missing(what: &'static str) -> BootError {
    fault(CorimFault::Missing(what), 0)
}

fn shape(what: &'static str) -> BootError {
    fault(CorimFault::Shape(what), 0)
}

fn unexpected(what: &'static str) -> BootError {
    fault(CorimFault::Unexpected(what), 0)
}
