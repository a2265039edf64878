//! The canonical form of a policy: what its hash is over.
//!
//! Lists of pairs instead of maps where keys are text: their order is then the list's.

use assay_ledger::uptime::TimeRules;
use minicbor::{Decode, Encode};

use crate::axes::Axes;
use crate::finding::Severity;
use crate::policy::{Policy, ReleaseRule};
use crate::policy_file::validate;
use crate::trust::TrustError;

/// A policy on the wire: rule `policy` of `appraisal.cddl`.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(crate) struct Canonical {
    #[n(0)]
    name: String,
    /// Identity, platform, GPU.
    #[n(1)]
    floor: (u8, u8, u8),
    #[n(2)]
    simulated: bool,
    #[n(3)]
    record_ms: u64,
    #[n(4)]
    result_ms: u64,
    #[n(5)]
    time: Times,
    /// By rising id.
    #[n(6)]
    checks: Vec<(String, Level)>,
    /// By rising vendor.
    #[n(7)]
    firmware: Vec<(String, u64)>,
    #[n(8)]
    release: Release,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Times {
    #[n(0)]
    max_gap_ms: u64,
    #[n(1)]
    window_ms: u64,
    #[n(2)]
    anchor_delay_ms: u64,
    #[n(3)]
    skew_ms: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Release {
    /// Rising.
    #[n(0)]
    names: Vec<String>,
    #[n(1)]
    minimum: u64,
}

/// What a failed check can be made.
#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
enum Level {
    #[n(1)]
    Info,
    #[n(2)]
    Warning,
    #[n(3)]
    Fatal,
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Pass | Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Fatal => Self::Fatal,
        }
    }
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Warning => Self::Warning,
            Level::Fatal => Self::Fatal,
        }
    }
}

impl From<&Policy> for Canonical {
    fn from(policy: &Policy) -> Self {
        let (floor, time) = (policy.floor, policy.time);
        Self {
            name: policy.name.clone(),
            floor: (floor.identity, floor.platform, floor.gpu),
            simulated: policy.simulated,
            record_ms: policy.record_ms,
            result_ms: policy.result_ms,
            time: Times {
                max_gap_ms: time.max_gap_ms,
                window_ms: time.window_ms,
                anchor_delay_ms: time.anchor_delay_ms,
                skew_ms: policy.skew_ms,
            },
            checks: policy.checks.iter().map(|(id, severity)| (id.clone(), (*severity).into())).collect(),
            firmware: policy.firmware.iter().map(|(vendor, minimum)| (vendor.clone(), *minimum)).collect(),
            release: Release {
                names: policy.release.names.iter().cloned().collect(),
                minimum: policy.release.minimum,
            },
        }
    }
}

impl TryFrom<Canonical> for Policy {
    type Error = TrustError;

    fn try_from(canonical: Canonical) -> Result<Self, TrustError> {
        let (identity, platform, gpu) = canonical.floor;
        let policy = Self {
            name: canonical.name,
            floor: Axes { identity, platform, gpu },
            simulated: canonical.simulated,
            record_ms: canonical.record_ms,
            result_ms: canonical.result_ms,
            time: TimeRules {
                max_gap_ms: canonical.time.max_gap_ms,
                window_ms: canonical.time.window_ms,
                anchor_delay_ms: canonical.time.anchor_delay_ms,
            },
            skew_ms: canonical.time.skew_ms,
            checks: canonical.checks.into_iter().map(|(id, level)| (id, level.into())).collect(),
            firmware: canonical.firmware.into_iter().collect(),
            release: ReleaseRule {
                names: canonical.release.names.into_iter().collect(),
                minimum: canonical.release.minimum,
            },
        };
        validate(&policy)?;
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_wire::cbor;

    fn full() -> Policy {
        let text = Policy::BUILTIN[2].1;
        let more = "\n[[firmware]]\nvendor = \"id:494E5443\"\nminimum = \"2a\"\n[[firmware]]\n\
                    vendor = \"id:414d4400\"\nminimum = \"0x1\"\n[release]\nnames = [\"b\", \"a\"]\nminimum = 7\n";
        Policy::parse(&format!("{text}{more}")).unwrap()
    }

    #[test]
    fn every_policy_comes_back_from_its_canonical_form() {
        let builtin = Policy::BUILTIN.map(|(name, _)| Policy::builtin(name).unwrap());
        for policy in builtin.iter().chain([&full()]) {
            assert_eq!(Policy::from_cbor(&policy.to_cbor()).as_ref(), Ok(policy));
            assert_eq!(cbor::check(&policy.to_cbor()), Ok(()));
        }
        let mut hashes: Vec<_> = builtin.iter().map(Policy::hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 3);
    }

    #[test]
    fn files_that_mean_the_same_have_one_hash_and_every_value_moves_it() {
        let text = Policy::BUILTIN[0].1;
        let hash = |text: &str| Policy::parse(text).unwrap().hash();
        let bare: String = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert_ne!(bare, text);
        assert_eq!(hash(&bare), hash(text));
        assert_eq!(hash(&bare.replace("result_minutes = 60\n", "")), hash(text), "defaults written out");
        for (from, to) in [
            ("name = \"development\"", "name = \"x\""),
            ("simulated = true", "simulated = false"),
            ("record_days = 30", "record_days = 31"),
            ("result_minutes = 60", "result_minutes = 61"),
            ("identity = 0", "identity = 1"),
            ("platform = 0", "platform = 1"),
            ("gpu = 0", "gpu = 1"),
            ("max_gap_s = 150", "max_gap_s = 151"),
            ("window_s = 600", "window_s = 601"),
            ("anchor_delay_s = 30", "anchor_delay_s = 31"),
            ("skew_s = 300", "skew_s = 301"),
        ] {
            assert!(bare.contains(from), "{from}");
            assert_ne!(hash(&bare.replace(from, to)), hash(text), "{to}");
        }
        let changed = |change: fn(&mut Policy)| {
            let mut policy = full();
            change(&mut policy);
            policy.hash() != full().hash()
        };
        assert!(changed(|p| p.checks.clear()));
        assert!(changed(|p| p.firmware.clear()));
        assert!(changed(|p| p.release.names.clear()));
        assert!(changed(|p| p.release.minimum = 0));
    }

    #[test]
    fn another_order_an_unknown_check_or_a_milder_one_is_refused() {
        let refused = |change: fn(&mut Canonical)| {
            let mut canonical = Canonical::from(&full());
            change(&mut canonical);
            Policy::from_cbor(&cbor::to_vec(&canonical)).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|c| c.firmware.reverse()));
        assert!(refused(|c| c.release.names.reverse()));
        assert!(refused(|c| c.checks.reverse()));
        assert!(refused(|c| c.checks.push(("x.y".into(), Level::Info))));
        assert!(refused(|c| c.checks = vec![("quote.signature".into(), Level::Info)]));
        assert!(refused(|c| c.firmware = vec![("id:414D4400".into(), 1)]));
        assert!(refused(|c| c.floor.0 = 3));
        assert!(refused(|c| c.result_ms = 0));
        assert!(Policy::from_cbor(&[&full().to_cbor()[..], &[0]].concat()).is_err());
    }
}
