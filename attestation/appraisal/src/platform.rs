//! Axis P: the boot is a known release's (P1), and its root of measurement holds (P2).
//!
//! A TPM that is reset by its owner replays any log that its owner feeds it, so a perfect log is P1 and
//! no more. What an owner can't do from software is start the TPM at locality 3 or from a hardware root
//! (PFP 1.06, 10.4.5.3), nor make unrelated people boot his firmware: both are asked for P2.

use assay_boot::{
    EventAt, HashAlg, LogKind, MatchInput, Release, ReleaseDifference, UserspaceLog, UserspaceMeasurement,
};
use assay_wire::Digest;

use crate::appraise::Basis;
use crate::boot::Booted;
use crate::finding::{Check, EventRef, Finding, Findings, Severity};
use crate::releases::TrustedRelease;

const RELEASE: Check =
    Check { id: "boot.release", spec: "DESIGN 4.2", checked: "the boot matches a known release" };
const ROOT: Check = Check {
    id: "boot.crtm-unproven",
    spec: "TCG PC Client PFP 1.06, 10.4.5.3",
    checked: "the firmware's root of measurement holds",
};

/// How many differences from the nearest release are listed.
const LISTED: usize = 8;
/// Values of PCR 0 before its first event that software can't bring about: TPM2_Startup at locality 3,
/// and a hardware root that measured before it.
const HARDWARE_STARTS: [u8; 2] = [3, 4];

/// What a boot proves of its platform.
pub(crate) struct Platform {
    /// 0 to 2.
    pub(crate) level: u8,
    /// The release that it matches.
    pub(crate) release: Option<String>,
}

/// Holds a boot against the releases that count, and its root of measurement against what is known.
///
/// `identity` is axis I: a TPM that may be software can start at any locality.
pub(crate) fn judge_platform(
    booted: &Booted,
    identity: u8,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> Platform {
    let release = match_release(booted, basis, findings);
    let matched = release.is_some();
    let rooted = judge_root(booted, identity, matched, basis, findings);
    Platform { level: u8::from(matched) + u8::from(matched && rooted), release }
}

fn match_release(booted: &Booted, basis: Basis<'_>, findings: &mut Findings) -> Option<String> {
    let rule = &basis.policy.release;
    let counts = |one: &&TrustedRelease| rule.allows(&one.release.name, one.release.number);
    let candidates: Vec<_> = basis.trust.current_releases(basis.now_ms).filter(counts).collect();
    if candidates.is_empty() {
        note(findings, "no release that counts is at hand: P0");
        return None;
    }
    if !booted.clean {
        note(findings, "the logs do not explain every PCR, or break rules in PCR 4 or 7: P0");
        return None;
    }
    let records = Records::of(booted.userspace.as_ref());
    let input =
        MatchInput { firmware: &booted.firmware, userspace: &records.measurements, quoted: &booted.quoted };
    let compared = candidates.into_iter().map(|one| (differences(&one.release, input), one));
    let nearest = compared.min_by_key(|(differences, _)| differences.len())?;
    let (differences, one) = nearest;
    let name = format!("{} {}", one.release.name, one.release.version);
    if differences.is_empty() {
        findings.pass(RELEASE, format!("{name}, signed by {}", one.signer));
        return Some(name);
    }
    for difference in differences.iter().take(LISTED) {
        findings.push(differs(&name, difference, booted, &records));
    }
    None
}

/// What a boot lacks to be this release; a release that lets credentials in is no reference.
fn differences(release: &Release, input: MatchInput<'_>) -> Vec<Difference> {
    let mut found: Vec<_> = release.compare(input).into_iter().map(Difference::Measured).collect();
    if release.refuses_credentials() != Some(true) {
        found.push(Difference::Credentials);
    }
    found
}

/// One way in which a boot is not a release's.
enum Difference {
    Measured(ReleaseDifference),
    /// The release does not say that its command line turns the import of credentials off.
    Credentials,
}

fn note(findings: &mut Findings, seen: &str) {
    findings.push(Finding::new(RELEASE.id, Severity::Info, RELEASE.spec, RELEASE.checked).saw(seen));
}

fn differs(name: &str, difference: &Difference, booted: &Booted, records: &Records<'_>) -> Finding {
    let finding = Finding::new(RELEASE.id, Severity::Warning, RELEASE.spec, RELEASE.checked);
    let Difference::Measured(measured) = difference else {
        let wanted = format!("{name}: systemd.import_credentials=no on the measured command line");
        return finding.expected(wanted).saw("the release does not say so");
    };
    let finding = finding
        .expected(format!("{name}, {}: {}", measured.check.name(), measured.expected))
        .saw(format!("PCR {}: {}", measured.pcr, measured.seen));
    let Some(at) = measured.event else { return finding };
    let (index, digest) = records.event(at, booted);
    finding.at_event(EventRef {
        log: at.log.name(),
        index,
        pcr: measured.pcr,
        expected: measured.expected.clone(),
        seen: digest.unwrap_or_else(|| measured.seen.clone()),
    })
}

/// Records of the userspace log that extended a PCR, with their places in the log.
struct Records<'a> {
    measurements: Vec<UserspaceMeasurement<'a>>,
    places: Vec<usize>,
}

impl<'a> Records<'a> {
    fn of(log: Option<&'a UserspaceLog>) -> Self {
        let records = log.map(|log| log.records.as_slice()).unwrap_or_default();
        let read = records.iter().enumerate().filter_map(|(place, record)| {
            let sha256 = record.digest(HashAlg::Sha256)?.try_into().ok()?;
            let text = record.systemd().and_then(|content| content.string.as_deref()).unwrap_or_default();
            Some((UserspaceMeasurement { pcr: record.pcr()?, sha256, text }, place))
        });
        let (measurements, places) = read.unzip();
        Self { measurements, places }
    }

    /// An event's place in its own log, and its digest.
    fn event(&self, at: EventAt, booted: &Booted) -> (usize, Option<String>) {
        match at.log {
            LogKind::Userspace => {
                let place = self.places.get(at.index).copied().unwrap_or(at.index);
                (place, self.measurements.get(at.index).map(|record| Digest(record.sha256).to_string()))
            }
            _ => {
                let event = booted.firmware.events.get(at.index);
                (at.index, event.and_then(|event| event.digest(HashAlg::Sha256)).map(hex::encode))
            }
        }
    }
}

/// Whether PCR 0 began where only hardware can begin it, and holds firmware that others have too.
fn judge_root(
    booted: &Booted,
    identity: u8,
    matched: bool,
    basis: Basis<'_>,
    findings: &mut Findings,
) -> bool {
    let (known, how) = known_firmware(booted, basis);
    let start = booted.firmware.pcr0_start();
    let doubts = [
        (identity == 0).then(|| "the TPM may be software".to_owned()),
        (!HARDWARE_STARTS.contains(&start)).then(|| format!("PCR 0 began at locality {start}")),
        (!booted.clean).then(|| "the logs do not explain every PCR".to_owned()),
        (!known).then_some(how.clone()),
    ];
    let doubts: Vec<_> = doubts.into_iter().flatten().collect();
    if doubts.is_empty() {
        let began = if start == 4 { "a hardware root" } else { "locality 3" };
        findings.pass(ROOT, format!("PCR 0 began at {began}; {how}"));
        return true;
    }
    // Below P1 nothing rests on it yet.
    let severity = if matched { Severity::Warning } else { Severity::Info };
    findings.fail(ROOT, severity, "a start in hardware, and firmware that others have", doubts.join("; "));
    false
}

fn known_firmware(booted: &Booted, basis: Basis<'_>) -> (bool, String) {
    let Some(pcr0) = booted.quoted.get(&0).copied().map(Digest) else {
        return (false, "PCR 0 is not quoted".to_owned());
    };
    if let Some(name) = basis.trust.firmware.get(&pcr0) {
        return (true, format!("the vendor's reference {name:?} has this PCR 0"));
    }
    let owners = basis.state.firmware.get(&pcr0).copied().unwrap_or_default();
    let wanted = basis.trust.firmware_owners;
    let enough = usize::try_from(owners).is_ok_and(|owners| wanted > 0 && owners >= wanted);
    (enough, format!("{owners} of {wanted} unrelated owners have this firmware"))
}
