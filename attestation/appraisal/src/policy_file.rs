//! The policy file: TOML, every key known, every value in its range.

use std::collections::{BTreeMap, BTreeSet};

use assay_ledger::uptime::TimeRules;
use serde::Deserialize;

use crate::axes::Axes;
use crate::checks::{Freedom, check_info};
use crate::finding::Severity;
use crate::policy::{Policy, ReleaseRule};
use crate::trust::TrustError;

const FILE: &str = "policy";
const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u64 = 60_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    schema: u32,
    name: String,
    simulated: bool,
    record_days: u64,
    #[serde(default = "an_hour")]
    result_minutes: u64,
    floor: Floor,
    time: Times,
    #[serde(default)]
    checks: BTreeMap<String, String>,
    #[serde(default)]
    firmware: Vec<Firmware>,
    #[serde(default)]
    release: Release,
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
    #[serde(default = "five_minutes")]
    skew_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Firmware {
    vendor: String,
    minimum: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Release {
    names: Vec<String>,
    minimum: u64,
}

fn an_hour() -> u64 {
    60
}

fn five_minutes() -> u64 {
    300
}

fn value(field: &str, detail: &'static str) -> TrustError {
    TrustError::Value { file: FILE, field: field.to_owned(), detail }
}

/// Reads a policy file.
pub(crate) fn parse(text: &str) -> Result<Policy, TrustError> {
    let file: PolicyFile =
        toml::from_str(text).map_err(|e| TrustError::Parse { file: FILE, detail: e.to_string() })?;
    if file.schema != 1 {
        return Err(value("schema", "this version reads schema 1"));
    }
    let seconds = |field, seconds: u64| match seconds {
        1..=86_400 => Ok(seconds * 1000),
        _ => Err(value(field, "between 1 and 86400")),
    };
    let policy = Policy {
        floor: Axes { identity: file.floor.identity, platform: file.floor.platform, gpu: file.floor.gpu },
        simulated: file.simulated,
        record_ms: file.record_days.saturating_mul(DAY_MS),
        result_ms: file.result_minutes.saturating_mul(MINUTE_MS),
        time: TimeRules {
            max_gap_ms: seconds("time.max_gap_s", file.time.max_gap_s)?,
            window_ms: seconds("time.window_s", file.time.window_s)?,
            anchor_delay_ms: seconds("time.anchor_delay_s", file.time.anchor_delay_s)?,
        },
        skew_ms: file.time.skew_s.saturating_mul(1000),
        checks: checks(&file.checks)?,
        firmware: firmware(&file.firmware)?,
        release: release(file.release)?,
        name: file.name,
    };
    validate(&policy)?;
    Ok(policy)
}

/// What holds for every policy, however it was written down.
pub(crate) fn validate(policy: &Policy) -> Result<(), TrustError> {
    if policy.name.is_empty() || policy.name.len() > 64 || policy.name.chars().any(char::is_control) {
        return Err(value("name", "1 to 64 characters on one line"));
    }
    let floor = policy.floor;
    if floor.identity > 2 || floor.platform > 2 || floor.gpu > 3 {
        return Err(value("floor", "identity and platform are 0 to 2, gpu is 0 to 3"));
    }
    if !(DAY_MS..=3650 * DAY_MS).contains(&policy.record_ms) {
        return Err(value("record_days", "between 1 and 3650"));
    }
    if !(MINUTE_MS..=525_600 * MINUTE_MS).contains(&policy.result_ms) {
        return Err(value("result_minutes", "between 1 and 525600"));
    }
    if policy.skew_ms > 3_600_000 {
        return Err(value("time.skew_s", "between 0 and 3600"));
    }
    for (id, severity) in &policy.checks {
        allowed(id, *severity)?;
    }
    policy.firmware.keys().try_for_each(|vendor| check_vendor(vendor))
}

/// Which checks may be judged otherwise, and in which direction, is the registry's word.
fn allowed(id: &str, severity: Severity) -> Result<(), TrustError> {
    let refuse = |detail| Err(value(&format!("checks.{id:?}"), detail));
    match check_info(id) {
        None => refuse("no check has this id"),
        Some(info) if info.allows(severity) => Ok(()),
        Some(info) if info.freedom == Freedom::Raise => refuse("can't be made milder than it is"),
        Some(_) => refuse("this check is the same under every policy"),
    }
}

fn checks(written: &BTreeMap<String, String>) -> Result<BTreeMap<String, Severity>, TrustError> {
    let severity = |(id, word): (&String, &String)| {
        let severity = match word.as_str() {
            "info" => Severity::Info,
            "warning" => Severity::Warning,
            "fatal" => Severity::Fatal,
            _ => return Err(value(&format!("checks.{id:?}"), "fatal, warning or info")),
        };
        Ok((id.clone(), severity))
    };
    written.iter().map(severity).collect()
}

fn firmware(sections: &[Firmware]) -> Result<BTreeMap<String, u64>, TrustError> {
    let mut floors = BTreeMap::new();
    for section in sections {
        let vendor = section.vendor.to_ascii_lowercase();
        check_vendor(&vendor)?;
        let digits = section.minimum.trim_start_matches("0x");
        let minimum = u64::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or_else(|| value("firmware.minimum", "not 1 to 16 hexadecimal digits"))?;
        if floors.insert(vendor, minimum).is_some() {
            return Err(value("firmware.vendor", "the same vendor twice"));
        }
    }
    Ok(floors)
}

/// A TPM manufacturer as certificates name it (TCG EK Profile 2.5, 3.1.2), in lower case.
fn check_vendor(vendor: &str) -> Result<(), TrustError> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match vendor.strip_prefix("id:") {
        Some(hex) if hex.len() == 8 && hex.bytes().all(digit) => Ok(()),
        _ => Err(value("firmware.vendor", "not id: and 8 hexadecimal digits")),
    }
}

fn release(section: Release) -> Result<ReleaseRule, TrustError> {
    let count = section.names.len();
    let names: BTreeSet<String> = section.names.into_iter().collect();
    if names.len() != count || names.iter().any(String::is_empty) {
        return Err(value("release.names", "empty, or the same name twice"));
    }
    Ok(ReleaseRule { names, minimum: section.minimum })
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
        assert_eq!(strict.checks.get("boot.secure-boot"), Some(&Severity::Fatal));
        assert_eq!(Policy::builtin("lenient"), None);
    }

    fn field(text: &str) -> String {
        match Policy::parse(text) {
            Err(TrustError::Value { field, .. }) => field,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn wrong_policies_are_refused_by_name() {
        let text = Policy::BUILTIN[0].1;
        for (from, to, wrong) in [
            ("schema = 1", "schema = 9", "schema"),
            ("name = \"development\"", "name = \"\"", "name"),
            ("identity = 0", "identity = 3", "floor"),
            ("record_days = 30", "record_days = 0", "record_days"),
            ("record_days = 30", "record_days = 9223372036854775807", "record_days"),
            ("result_minutes = 60", "result_minutes = 0", "result_minutes"),
            ("window_s = 600", "window_s = 0", "time.window_s"),
            ("skew_s = 300", "skew_s = 3601", "time.skew_s"),
        ] {
            assert!(text.contains(from), "{from}");
            assert_eq!(field(&text.replace(from, to)), wrong, "{to}");
        }
        assert!(Policy::parse(&format!("surprise = 1\n{text}")).is_err());
    }

    /// The development policy, with these sections instead of its own.
    fn with(sections: &str) -> String {
        let text = Policy::BUILTIN[0].1;
        format!("{}\n{sections}", text.split("[checks]").next().unwrap())
    }

    #[test]
    fn overrides_go_by_the_registry() {
        let over = |line: &str| with(&format!("[checks]\n{line}\n"));
        let good = Policy::parse(&over("\"boot.secure-boot\" = \"info\"")).unwrap();
        assert_eq!(good.severity("boot.secure-boot", Severity::Warning), Severity::Info);
        assert_eq!(good.severity("boot.secure-boot", Severity::Pass), Severity::Pass);
        assert_eq!(good.severity("boot.replay", Severity::Warning), Severity::Warning);
        assert!(Policy::parse(&over("\"boot.replay\" = \"fatal\"")).is_ok());
        for (line, id) in [
            ("\"boot.replay\" = \"warning\"", "boot.replay"),
            ("\"quote.signature\" = \"warning\"", "quote.signature"),
            ("\"quote.signature\" = \"fatal\"", "quote.signature"),
            ("\"boot.surprise\" = \"info\"", "boot.surprise"),
            ("\"boot.secure-boot\" = \"pass\"", "boot.secure-boot"),
        ] {
            assert_eq!(field(&over(line)), format!("checks.{id:?}"), "{line}");
        }
    }

    #[test]
    fn firmware_floors_and_releases() {
        let one = "[[firmware]]\nvendor = \"id:494E5443\"\nminimum = \"0x2A\"\n";
        let policy = Policy::parse(&with(one)).unwrap();
        assert_eq!(policy.firmware, [("id:494e5443".to_owned(), 42)].into());
        assert_eq!(field(&with(&format!("{one}{one}"))), "firmware.vendor");
        assert_eq!(field(&with(&one.replace("id:", ""))), "firmware.vendor");
        for bad in ["", "0x", "+1", "-1", "12345678901234567"] {
            assert_eq!(field(&with(&one.replace("0x2A", bad))), "firmware.minimum", "{bad}");
        }
        let rule = Policy::parse(&with("[release]\nnames = [\"a\"]\nminimum = 3\n")).unwrap().release;
        assert!(rule.allows("a", 3) && !rule.allows("a", 2) && !rule.allows("b", 3));
        assert!(ReleaseRule::default().allows("any", 0));
        assert_eq!(field(&with("[release]\nnames = [\"a\", \"a\"]\n")), "release.names");
    }
}
