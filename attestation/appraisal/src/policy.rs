//! Policies: what a verifier asks for, as data.

use assay_ledger::uptime::TimeRules;
use serde::Deserialize;

use crate::axes::Axes;
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
    /// What it asks of times.
    pub time: TimeRules,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    schema: u32,
    name: String,
    simulated: bool,
    record_days: u64,
    floor: Floor,
    time: Times,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Floor {
    identity: u8,
    platform: u8,
    gpu: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    max_gap_s: u64,
    window_s: u64,
    anchor_delay_s: u64,
}

const FILE: &str = "policy";

impl Policy {
    /// The shipped policies: name and text.
    pub const BUILTIN: [(&str, &str); 3] = [
        ("development", include_str!("../policies/development.toml")),
        ("open", include_str!("../policies/open.toml")),
        ("strict", include_str!("../policies/strict.toml")),
    ];

    /// The shipped policy of this name.
    pub fn builtin(name: &str) -> Option<Self> {
        let (_, text) = Self::BUILTIN.into_iter().find(|(builtin, _)| *builtin == name)?;
        Self::parse(text).ok()
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`TrustError`] names the key; unknown keys are refused.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let file: PolicyFile =
            toml::from_str(text).map_err(|e| TrustError::Parse { file: FILE, detail: e.to_string() })?;
        let value = |field: &str, detail| TrustError::Value { file: FILE, field: field.to_owned(), detail };
        if file.schema != 1 {
            return Err(value("schema", "this version reads schema 1"));
        }
        if file.floor.identity > 2 || file.floor.platform > 2 || file.floor.gpu > 3 {
            return Err(value("floor", "identity and platform are 0 to 2, gpu is 0 to 3"));
        }
        if !(1..=3650).contains(&file.record_days) {
            return Err(value("record_days", "between 1 and 3650"));
        }
        let ms = |field, seconds: u64| match seconds {
            1..=86_400 => Ok(seconds * 1000),
            _ => Err(value(field, "between 1 and 86400")),
        };
        Ok(Self {
            name: file.name,
            floor: Axes { identity: file.floor.identity, platform: file.floor.platform, gpu: file.floor.gpu },
            simulated: file.simulated,
            record_ms: file.record_days * 86_400_000,
            time: TimeRules {
                max_gap_ms: ms("time.max_gap_s", file.time.max_gap_s)?,
                window_ms: ms("time.window_s", file.time.window_s)?,
                anchor_delay_ms: ms("time.anchor_delay_s", file.time.anchor_delay_s)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policies_read_and_tighten() {
        let [development, open, strict] = Policy::BUILTIN.map(|(name, _)| {
            let policy = Policy::builtin(name).unwrap();
            assert_eq!(policy.name, name);
            policy
        });
        assert!(development.simulated && !open.simulated && !strict.simulated);
        assert!(development.floor.identity < open.floor.identity);
        assert!(open.floor.platform < strict.floor.platform);
        assert_eq!(Policy::builtin("lenient"), None);
    }

    #[test]
    fn wrong_policies_are_refused_by_name() {
        let text = Policy::BUILTIN[0].1;
        for (from, to, field) in [
            ("schema = 1", "schema = 9", "schema"),
            ("identity = 0", "identity = 3", "floor"),
            ("record_days = 30", "record_days = 0", "record_days"),
            ("window_s = 600", "window_s = 0", "time.window_s"),
        ] {
            assert!(text.contains(from), "{from}");
            match Policy::parse(&text.replace(from, to)) {
                Err(TrustError::Value { field: seen, .. }) => assert_eq!(seen, field),
                other => panic!("{to}: {other:?}"),
            }
        }
        assert!(Policy::parse(&format!("surprise = 1\n{text}")).is_err());
    }
}
