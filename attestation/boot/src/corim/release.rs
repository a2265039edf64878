//! A release as a CoRIM, and back.
//!
//! One CoMID, whose triples are about three classes: values of PCRs (PCR 11, named by phases),
//! digests of events in PCRs (4, 7, 12 and 13; in PCR 7 named by what the event is), and software
//! (release, minimum, root-hash, agent, command-line). Values of which a machine needs one only
//! stand in triples of their own.

use assay_wire::Digest;

use super::value::fault;
use super::write::encode;
use super::*;
use crate::release::{Pcr7Digest, Pcr7Event, PhaseValue};
use crate::{BootError, Release};

/// Classes, as UUIDs of version 8 (RFC 9562, section 5.8) whose first bytes say what they are.
const VALUES: [u8; 16] = *b"assay-\x80r\x80pcrval0";
const EVENTS: [u8; 16] = *b"assay-\x80r\x80events0";
const SOFTWARE: [u8; 16] = *b"assay-\x80r\x80softwar";

const SHA256: DigestAlg = DigestAlg::Id(1);

impl Release {
    /// The release as an unsigned CoRIM of profile [`RELEASE_PROFILE`].
    ///
    /// # Errors
    /// [`CorimFault::Time`] where a time is not in whole seconds, or the release expires at 0.
    pub fn to_corim(&self) -> Result<Vec<u8>, BootError> {
        Ok(encode(&self.to_model()?))
    }

    /// Reads a release from an unsigned CoRIM of profile [`RELEASE_PROFILE`]. Everything that the
    /// model holds must be what [`Release::to_corim`] writes, in its order.
    ///
    /// # Errors
    /// As [`Corim::parse`], and [`BootError::Corim`] for another profile or content.
    pub fn from_corim(bytes: &[u8]) -> Result<Self, BootError> {
        let corim = Corim::parse(bytes)?;
        if !corim.has_profile(RELEASE_PROFILE) {
            return Err(fault(CorimFault::Profile, 0));
        }
        let release = from_model(&corim)?;
        match release.to_model()? == corim {
            true => Ok(release),
            false => Err(fault(CorimFault::Shape("release"), 0)),
        }
    }

    fn to_model(&self) -> Result<Corim, BootError> {
        let id = TagId::Text(format!("{}/{}", self.name, self.number));
        let not_after = seconds(self.expires_ms)?.checked_sub(1).ok_or_else(|| fault(CorimFault::Time, 0))?;
        let validity = Validity { not_before: Some(seconds(self.issued_ms)?), not_after };
        let comid = Comid {
            id: id.clone(),
            version: 0,
            reference: self.triples(),
            endorsed: Vec::new(),
            attest_keys: Vec::new(),
            other: Vec::new(),
        };
        let profile = Some(Profile::Uri(RELEASE_PROFILE.to_owned()));
        Ok(Corim { id, profile, validity: Some(validity), tags: vec![CorimTag::Comid(comid)] })
    }

    fn triples(&self) -> Vec<Triple> {
        let mut measured = self.software();
        measured
            .extend(self.kernel_boot.iter().map(|phase| (VALUES, pcr(11, phase.value, Some(&phase.path)))));
        let mut events = |number, digests: &[Digest]| {
            measured.extend(digests.iter().map(|digest| (EVENTS, pcr(number, *digest, None))));
        };
        events(4, &self.applications);
        events(12, &self.overrides);
        events(13, &self.extensions);
        let named = |allowed: &Pcr7Digest| (EVENTS, pcr(7, allowed.digest, Some(allowed.event.name())));
        measured.extend(self.secure_boot.iter().map(named));
        let model = Some(&self.name);
        measured.into_iter().map(|(class, measured)| triple(class, model, measured)).collect()
    }

    fn software(&self) -> Vec<([u8; 16], Measurement)> {
        let none = MeasurementValues::default;
        let release = MeasurementValues {
            version: Some(self.version.clone()),
            svn: Some(Svn::Exact(self.number)),
            ..none()
        };
        let digest = |digest: Digest| MeasurementValues { digests: vec![sha256(digest)], ..none() };
        let mut software = vec![
            ("release", release),
            ("minimum", MeasurementValues { svn: Some(Svn::Minimum(self.minimum)), ..none() }),
            ("root-hash", digest(self.root_hash)),
            ("agent", digest(self.agent)),
        ];
        let line =
            self.command_line.iter().map(|line| MeasurementValues { name: Some(line.clone()), ..none() });
        software.extend(line.map(|line| ("command-line", line)));
        let key = |text: &str| Some(MeasurementKey::Text(text.to_owned()));
        software
            .into_iter()
            .map(|(text, values)| (SOFTWARE, Measurement { key: key(text), values }))
            .collect()
    }
}

/// CoRIM's `not-after` is the last second; ours the first instant that is too late.
fn seconds(ms: u64) -> Result<u64, BootError> {
    if ms.is_multiple_of(1000) { Ok(ms / 1000) } else { Err(fault(CorimFault::Time, 0)) }
}

fn triple(class: [u8; 16], model: Option<&String>, measured: Measurement) -> Triple {
    let class = Class { id: Some(Identifier::Uuid(class)), model: model.cloned(), ..Class::default() };
    let environment = Environment { class: Some(class), instance: None, group: None };
    Triple { environment, measurements: vec![measured] }
}

fn pcr(number: u64, digest: Digest, name: Option<&str>) -> Measurement {
    let values = MeasurementValues {
        digests: vec![sha256(digest)],
        name: name.map(str::to_owned),
        ..MeasurementValues::default()
    };
    Measurement { key: Some(MeasurementKey::Uint(number)), values }
}

fn sha256(digest: Digest) -> CorimDigest {
    CorimDigest { alg: SHA256, value: digest.0.to_vec() }
}

/// Takes what there is; what is left out or added shows when the result is written again.
fn from_model(corim: &Corim) -> Result<Release, BootError> {
    let missing = |what| fault(CorimFault::Missing(what), 0);
    let [CorimTag::Comid(comid)] = corim.tags.as_slice() else { return Err(missing("the only CoMID")) };
    let validity = corim.validity.ok_or_else(|| missing("rim-validity"))?;
    let first = comid.reference.first().and_then(|triple| triple.environment.class.as_ref());
    let ms = |seconds: Option<u64>| seconds.and_then(|seconds| seconds.checked_mul(1000));
    let time = || fault(CorimFault::Time, 0);
    let mut release = Release {
        name: first.and_then(|class| class.model.clone()).ok_or_else(|| missing("model"))?,
        version: String::new(),
        number: 0,
        minimum: 0,
        issued_ms: ms(validity.not_before).ok_or_else(time)?,
        expires_ms: ms(validity.not_after.checked_add(1)).ok_or_else(time)?,
        kernel_boot: Vec::new(),
        applications: Vec::new(),
        secure_boot: Vec::new(),
        overrides: Vec::new(),
        extensions: Vec::new(),
        root_hash: Digest::default(),
        agent: Digest::default(),
        command_line: None,
    };
    for measured in comid.reference.iter().flat_map(|triple| &triple.measurements) {
        take(&mut release, measured)?;
    }
    Ok(release)
}

fn take(release: &mut Release, measured: &Measurement) -> Result<(), BootError> {
    let values = &measured.values;
    let name = || values.name.clone().unwrap_or_default();
    match measured.key.as_ref() {
        Some(MeasurementKey::Uint(11)) => {
            release.kernel_boot.push(PhaseValue { path: name(), value: digest(values)? });
        }
        Some(MeasurementKey::Uint(4)) => release.applications.push(digest(values)?),
        Some(MeasurementKey::Uint(12)) => release.overrides.push(digest(values)?),
        Some(MeasurementKey::Uint(13)) => release.extensions.push(digest(values)?),
        Some(MeasurementKey::Uint(7)) => {
            let event = Pcr7Event::ALL.into_iter().find(|event| event.name() == name());
            let event = event.ok_or_else(|| fault(CorimFault::Shape("name"), 0))?;
            release.secure_boot.push(Pcr7Digest { event, digest: digest(values)? });
        }
        Some(MeasurementKey::Text(key)) => take_software(release, key, values)?,
        _ => return Err(fault(CorimFault::Shape("mkey"), 0)),
    }
    Ok(())
}

fn take_software(release: &mut Release, key: &str, values: &MeasurementValues) -> Result<(), BootError> {
    let shape = |what| fault(CorimFault::Shape(what), 0);
    match (key, values.svn) {
        ("release", Some(Svn::Exact(number))) => {
            release.number = number;
            release.version = values.version.clone().ok_or_else(|| shape("version"))?;
        }
        ("minimum", Some(Svn::Minimum(minimum))) => release.minimum = minimum,
        ("root-hash", _) => release.root_hash = digest(values)?,
        ("agent", _) => release.agent = digest(values)?,
        ("command-line", _) => release.command_line.clone_from(&values.name),
        _ => return Err(shape("mkey")),
    }
    Ok(())
}

fn digest(values: &MeasurementValues) -> Result<Digest, BootError> {
    let shape = || fault(CorimFault::Shape("digests"), 0);
    let [CorimDigest { alg: SHA256, value }] = values.digests.as_slice() else { return Err(shape()) };
    Digest::try_from(value.as_slice()).map_err(|_| shape())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::tests::release;

    #[test]
    fn a_release_round_trips() {
        for command_line in [None, Some("quiet".to_owned())] {
            let release = Release { command_line, ..release() };
            let bytes = release.to_corim().unwrap();
            assert_eq!(Release::from_corim(&bytes), Ok(release.clone()));
            assert_eq!(Release::from_corim(&bytes).unwrap().to_corim(), Ok(bytes));
        }
    }

    fn changed(change: impl FnOnce(&mut Corim, &mut Vec<Triple>)) -> Result<Release, BootError> {
        let mut corim = release().to_model().unwrap();
        let Some(CorimTag::Comid(mut comid)) = corim.tags.pop() else { panic!() };
        change(&mut corim, &mut comid.reference);
        corim.tags.push(CorimTag::Comid(comid));
        Release::from_corim(&encode(&corim))
    }

    fn refused(change: impl FnOnce(&mut Corim, &mut Vec<Triple>)) -> CorimFault {
        match changed(change) {
            Err(BootError::Corim { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_release_does_not_say_is_refused() {
        assert_eq!(changed(|_, _| {}), Ok(release()));
        assert_eq!(refused(|corim, _| corim.profile = None), CorimFault::Profile);
        assert_eq!(refused(|corim, _| corim.validity = None), CorimFault::Missing("rim-validity"));
        assert_eq!(refused(|corim, _| corim.id = TagId::Text("x".into())), CorimFault::Shape("release"));
        assert_eq!(refused(|_, triples| triples.clear()), CorimFault::Missing("reference-triples"));
        assert_eq!(refused(|_, triples| triples.rotate_left(1)), CorimFault::Shape("release"));
        assert_eq!(refused(|_, triples| drop(triples.remove(1))), CorimFault::Shape("release"));
        let key = |number| Some(MeasurementKey::Uint(number));
        assert_eq!(refused(|_, triples| triples[5].measurements[0].key = key(5)), CorimFault::Shape("mkey"));
        let odd = DigestAlg::Id(99);
        assert_eq!(
            refused(|_, triples| triples[5].measurements[0].values.digests[0].alg = odd),
            CorimFault::Shape("digests")
        );
        assert_eq!(
            refused(|_, triples| triples[5].environment.class = None),
            CorimFault::Missing("environment")
        );
        let class = Class { model: Some("appliance".into()), ..Class::default() };
        assert_eq!(
            refused(|_, triples| triples[5].environment.class = Some(class)),
            CorimFault::Missing("class-id")
        );
    }

    #[test]
    fn times_are_whole_seconds() {
        let odd = [Release { issued_ms: 1, ..release() }, Release { expires_ms: 0, ..release() }];
        for release in odd {
            assert_eq!(release.to_corim(), Err(fault(CorimFault::Time, 0)));
        }
    }
}
