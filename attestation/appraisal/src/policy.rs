//! Policies: what a verifier asks for, as data.
//!
//! People write TOML; results name the hash of the canonical form (`policy.cddl`), so that
//! two files that mean the same are one policy.

use std::collections::{BTreeMap, BTreeSet};

use assay_ledger::uptime::TimeRules;
use assay_wire::{Digest, Domain, WireError, cbor, hash};

use crate::axes::Axes;
use crate::checks::check_info;
use crate::finding::Severity;
use crate::policy_cbor::Canonical;
use crate::policy_file;
use crate::trust::TrustError;

/// What a verifier asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The least that each axis must reach.
    pub floor: Axes,
    /// Whether simulated parts are allowed.
    pub simulated: bool,
    /// How long an enrolment record that this policy issues is good, in ms.
    pub record_ms: u64,
    /// How long a result is good after the evidence that it rests on, in ms.
    pub result_ms: u64,
    /// What it asks of times.
    pub time: TimeRules,
    /// How far the clock of a validator may be ahead of the verifier's, in ms.
    pub skew_ms: u64,
    /// Severities that differ from the registry's, by check id.
    pub checks: BTreeMap<String, Severity>,
    /// The oldest TPM firmware that is taken, by manufacturer as the EK certificate names it (`id:...`).
    pub firmware: BTreeMap<String, u64>,
    /// Which releases count.
    pub release: ReleaseRule,
}

/// Which of the releases that a trusted signer signed count. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseRule {
    /// Their names; empty for any.
    pub names: BTreeSet<String>,
    /// The lowest version that counts.
    pub minimum: u64,
}

impl ReleaseRule {
    /// Whether a release of this name and version counts.
    pub fn allows(&self, name: &str, version: u64) -> bool {
        (self.names.is_empty() || self.names.contains(name)) && version >= self.minimum
    }
}

impl Policy {
    /// The shipped policies: name and text.
    pub const BUILTIN: [(&str, &str); 3] = [
        ("development", include_str!("../policies/development.toml")),
        ("open", include_str!("../policies/open.toml")),
        ("strict", include_str!("../policies/strict.toml")),
    ];

    /// The most bytes that a policy in canonical form may have.
    pub const MAX_CBOR: usize = 64 << 10;

    /// The shipped policy of this name.
    pub fn builtin(name: &str) -> Option<Self> {
        let (_, text) = Self::BUILTIN.into_iter().find(|(builtin, _)| *builtin == name)?;
        Self::parse(text).ok()
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`TrustError`] names the key; unknown keys and check ids are refused, and a check that
    /// would be made milder than the registry allows.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        policy_file::parse(text)
    }

    /// The canonical form: deterministic CBOR, rule `policy` of `appraisal.cddl`.
    pub fn to_cbor(&self) -> Vec<u8> {
        cbor::to_vec(&Canonical::from(self))
    }

    /// Reads the canonical form, by the same rules as the file.
    ///
    /// # Errors
    /// [`WireError`] for any other bytes than [`Policy::to_cbor`] gives, and for values that no file can have.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, WireError> {
        let canonical: Canonical = cbor::from_slice("policy", bytes, Self::MAX_CBOR)?;
        let shape = |detail: String| WireError::Shape { what: "policy", detail, offset: 0 };
        let policy = Self::try_from(canonical).map_err(|e| shape(e.to_string()))?;
        // Sorted lists come back sorted: a list in another order is another spelling.
        match policy.to_cbor() == bytes {
            true => Ok(policy),
            false => Err(shape("lists are not in order".to_owned())),
        }
    }

    /// Names the policy in results: [`Domain::Policy`] over the canonical form.
    pub fn hash(&self) -> Digest {
        hash(Domain::Policy, &[&self.to_cbor()])
    }

    /// The severity that a finding has under this policy; what passed stays passed.
    pub(crate) fn severity(&self, id: &str, found: Severity) -> Severity {
        let asked = self.checks.get(id).copied();
        match (asked, check_info(id)) {
            (Some(asked), Some(info)) if found != Severity::Pass && info.allows(asked) => asked,
            _ => found,
        }
    }
}
