//! Attestation results as others read them: EAR (draft-ietf-rats-ear-04).
//!
//! One claims-set for both serialisations: JSON names inside a JWT, integer keys inside a CWT. Private
//! claims are under `ear_verifier_claims` and begin with `assay_`. Submodule `node` is what was appraised;
//! each device that signed a report of its own has one beside it, see `ear_device.rs`.

use assay_wire::Kind;
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::appraise::Appraisal;
use crate::axes::Axes;
use crate::ear_claims::{TextMap, Value};
use crate::ear_device;
use crate::ear_map::vector;
use crate::finding::{Severity, Verdict};

/// The claims-set's profile (draft-ietf-rats-ear-04, 3).
const PROFILE: &str = "tag:ietf.org,2026:rats/ear#04";

/// What a result says as a whole (AR4SI 2.3, tiers). A word in JSON, a number in CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Tier {
    /// Accepted, and nothing vouches for the node.
    #[n(0)]
    None,
    /// Accepted without a warning, and of a known time.
    #[n(2)]
    Affirming,
    /// Accepted with a warning, or evidence that answered no challenge.
    #[n(32)]
    Warning,
    /// Rejected.
    #[n(96)]
    Contraindicated,
}

impl Tier {
    /// The tier of a claim's value; negative values, which Assay never gives, are the deployer's own.
    fn of(value: i8) -> Self {
        match value {
            2..=31 => Self::Affirming,
            32..=95 => Self::Warning,
            96.. => Self::Contraindicated,
            _ => Self::None,
        }
    }
}

/// AR4SI's trustworthiness vector: a value for each claim that is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(map)]
pub struct Vector {
    /// Which machine it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(0)]
    pub instance_identity: Option<i8>,
    /// How it is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub configuration: Option<i8>,
    /// What it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub executables: Option<i8>,
    /// What its file system holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub file_system: Option<i8>,
    /// What it is made of, firmware included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(4)]
    pub hardware: Option<i8>,
    /// Who can see its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(5)]
    pub runtime_opaque: Option<i8>,
    /// Who can see its storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(6)]
    pub storage_opaque: Option<i8>,
    /// What it passes on from others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(7)]
    pub sourced_data: Option<i8>,
}

impl Vector {
    /// The worst tier of all claims; [`Tier::None`] where none is made.
    fn tier(&self) -> Tier {
        let claims = [
            self.instance_identity,
            self.configuration,
            self.executables,
            self.file_system,
            self.hardware,
            self.runtime_opaque,
            self.storage_opaque,
            self.sourced_data,
        ];
        claims.into_iter().flatten().map(Tier::of).max().unwrap_or(Tier::None)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An EAR claims-set: rule `ear` of `appraisal.cddl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode)]
#[cbor(map)]
pub struct Ear {
    #[serde(rename = "eat_profile")]
    #[n(265)]
    profile: &'static str,
    /// Unix time in seconds.
    #[n(6)]
    iat: u64,
    /// Unix time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(4)]
    exp: Option<u64>,
    #[serde(rename = "ear_verifier_id")]
    #[n(1004)]
    verifier: VerifierId,
    #[n(266)]
    submods: TextMap<Submodule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode)]
#[cbor(map)]
struct VerifierId {
    #[n(0)]
    developer: &'static str,
    #[n(1)]
    build: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode)]
#[cbor(map)]
struct Submodule {
    #[serde(rename = "ear_status")]
    #[n(1000)]
    status: Tier,
    #[serde(rename = "ear_trustworthiness_vector", skip_serializing_if = "Option::is_none")]
    #[n(1001)]
    vector: Option<Vector>,
    #[serde(rename = "ear_appraisal_policy_ids")]
    #[n(1003)]
    policies: [String; 1],
    #[serde(rename = "ear_verifier_claims")]
    #[n(1006)]
    claims: TextMap<Value>,
}

impl Ear {
    /// The result of an appraisal. Its time of issue is the appraisal's, so that the same appraisal gives
    /// the same bytes.
    pub fn new(appraisal: &Appraisal) -> Self {
        let vector = vector(appraisal.axes, &appraisal.findings);
        let status = status(appraisal, &vector);
        let node = [("node".to_owned(), submodule(appraisal, status, vector, claims(appraisal)))];
        Self {
            profile: PROFILE,
            iat: appraisal.at_ms / 1000,
            exp: appraisal.valid.map(|valid| valid.until_ms / 1000),
            verifier: VerifierId { developer: "Assay", build: concat!("assay ", env!("CARGO_PKG_VERSION")) },
            submods: TextMap::new(node.into_iter().chain(devices(appraisal))),
        }
    }
}

/// One device each, of the newest session that was appraised.
fn devices(appraisal: &Appraisal) -> impl Iterator<Item = (String, Submodule)> {
    let devices =
        appraisal.facts.sessions.last().map(|session| session.devices.as_slice()).unwrap_or_default();
    ear_device::names(devices).zip(devices).map(|(name, device)| {
        let vector = ear_device::vector(device);
        let status = match appraisal.verdict {
            Verdict::Reject => Tier::Contraindicated,
            Verdict::Accept => vector.tier().max(undated(appraisal)),
        };
        let claims = ear_device::claims(device);
        (name, submodule(appraisal, status, vector, claims))
    })
}

fn submodule(appraisal: &Appraisal, status: Tier, vector: Vector, claims: TextMap<Value>) -> Submodule {
    Submodule {
        status,
        vector: Some(vector).filter(|vector| !vector.is_empty()),
        policies: [format!("assay:policy/{}#{}", appraisal.policy.name, appraisal.policy.hash)],
        claims,
    }
}

/// Whether what was appraised answered a challenge of the verifier's.
fn is_fresh(appraisal: &Appraisal) -> bool {
    appraisal
        .findings
        .iter()
        .any(|finding| finding.id == "session.fresh" && finding.severity == Severity::Pass)
}

/// A warning for evidence that may be of any time: it says how a machine was, and not when.
fn undated(appraisal: &Appraisal) -> Tier {
    match appraisal.kind == Kind::Evidence && !is_fresh(appraisal) {
        true => Tier::Warning,
        false => Tier::None,
    }
}

/// What Assay adds about the node: kind of the file, whether it answered a challenge, node id where a record was
/// believed, axes, and the ids of fatal findings, each once, in order.
fn claims(appraisal: &Appraisal) -> TextMap<Value> {
    let Axes { identity, platform, gpu } = appraisal.axes;
    let mut fatal = Vec::new();
    for finding in appraisal.findings.iter().filter(|f| f.severity == Severity::Fatal) {
        if !fatal.contains(&finding.id) {
            fatal.push(finding.id);
        }
    }
    let node = appraisal.facts.node.as_ref().map(|node| ("assay_node", Value::Text(node.id.clone())));
    let claims = [
        ("assay_kind", Value::Text(appraisal.kind.name().to_owned())),
        ("assay_identity", Value::Number(identity)),
        ("assay_platform", Value::Number(platform)),
        ("assay_gpu", Value::Number(gpu)),
        ("assay_fatal", Value::Ids(fatal)),
        ("assay_fresh", Value::Truth(is_fresh(appraisal))),
    ];
    TextMap::new(claims.into_iter().chain(node))
}

/// Never better than the worst claim, and a warning for evidence that may be of any time; see [`Tier`] for the rest.
fn status(appraisal: &Appraisal, vector: &Vector) -> Tier {
    let warned = appraisal.findings.iter().any(|finding| finding.severity == Severity::Warning);
    let verdict = match appraisal.verdict {
        Verdict::Reject => Tier::Contraindicated,
        Verdict::Accept if warned => Tier::Warning,
        Verdict::Accept => Tier::None,
    };
    verdict.max(vector.tier()).max(undated(appraisal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_wire::{Digest, cbor};

    use crate::appraise::{PolicyRef, Validity};
    use crate::facts::Facts;
    use crate::finding::Finding;

    fn appraisal(verdict: Verdict, axes: Axes, findings: Vec<Finding>) -> Appraisal {
        Appraisal {
            kind: Kind::Evidence,
            verdict,
            axes,
            findings,
            facts: Facts::default(),
            policy: PolicyRef { name: "open".into(), hash: Digest([7; 32]) },
            at_ms: 1_700_000_000_999,
            valid: Some(Validity { from_ms: 1, until_ms: 1_700_000_900_999 }),
        }
    }

    fn tier(verdict: Verdict, identity: u8, finding: Option<(&'static str, Severity)>) -> Tier {
        let fresh = ("session.fresh", Severity::Pass);
        let findings = [fresh].into_iter().chain(finding);
        let findings = findings.map(|(id, severity)| Finding::new(id, severity, "", "")).collect();
        let ear = Ear::new(&appraisal(verdict, Axes { identity, ..Axes::default() }, findings));
        ear.submods.get("node").unwrap().status
    }

    #[test]
    fn status_table() {
        use Severity::{Fatal, Info, Warning};
        use Verdict::{Accept, Reject};
        assert_eq!(tier(Accept, 0, None), Tier::None);
        assert_eq!(tier(Accept, 0, Some(("boot.quirk", Info))), Tier::None);
        assert_eq!(tier(Accept, 1, None), Tier::Affirming);
        assert_eq!(tier(Accept, 2, Some(("boot.secure-boot", Warning))), Tier::Warning);
        assert_eq!(tier(Accept, 0, Some(("gpu.telemetry", Warning))), Tier::Warning);
        assert_eq!(tier(Reject, 2, None), Tier::Contraindicated);
        assert_eq!(tier(Reject, 0, Some(("policy.floor", Fatal))), Tier::Contraindicated);
        for (value, tier) in [
            (-1, Tier::None),
            (0, Tier::None),
            (1, Tier::None),
            (2, Tier::Affirming),
            (31, Tier::Affirming),
            (32, Tier::Warning),
            (95, Tier::Warning),
            (96, Tier::Contraindicated),
            (127, Tier::Contraindicated),
        ] {
            assert_eq!(Tier::of(value), tier, "{value}");
        }
    }

    #[test]
    fn evidence_of_any_time_is_a_warning_and_says_so() {
        for (kind, severity, expected, claimed) in [
            (Kind::Evidence, Severity::Pass, Tier::Affirming, true),
            (Kind::Evidence, Severity::Info, Tier::Warning, false),
            (Kind::Claim, Severity::Info, Tier::Affirming, false),
        ] {
            let findings = vec![Finding::new("session.fresh", severity, "", "")];
            let axes = Axes { identity: 2, ..Axes::default() };
            let result = Appraisal { kind, ..appraisal(Verdict::Accept, axes, findings) };
            let ear = Ear::new(&result);
            let node = ear.submods.get("node").unwrap();
            assert_eq!(node.status, expected, "{kind:?} {severity:?}");
            assert_eq!(node.claims.get("assay_fresh"), Some(&Value::Truth(claimed)));
        }
    }

    #[test]
    fn the_claims_set_is_deterministic_cbor() {
        let twice = vec![Finding::new("boot.replay", Severity::Fatal, "", ""); 2];
        let mut result = appraisal(Verdict::Reject, Axes { identity: 2, platform: 1, gpu: 0 }, twice);
        let ear = Ear::new(&result);
        assert_eq!(cbor::check(&cbor::to_vec(&ear)), Ok(()));
        let node = ear.submods.get("node").unwrap();
        assert_eq!(node.claims.get("assay_fatal"), Some(&Value::Ids(vec!["boot.replay"])));
        assert_eq!((ear.iat, ear.exp), (1_700_000_000, Some(1_700_000_900)));
        result.valid = None;
        result.findings.clear();
        result.axes = Axes::default();
        let bare = Ear::new(&result);
        assert_eq!(cbor::check(&cbor::to_vec(&bare)), Ok(()));
        assert_eq!((bare.exp, bare.submods.get("node").unwrap().vector), (None, None));
    }
}
