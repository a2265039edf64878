//! All logs of one boot together: firmware's, then userspace's, and IMA's, replayed and held against
//! quoted PCR values, with the event at which they part.

use std::collections::BTreeMap;

use crate::exit_boot_services::{self, ExitBootServices};
use crate::ima::{ExtendRule, Track};
use crate::rules::{hashes_its_data, says_what_it_measures};
use crate::{
    Event, EventLog, HashAlg, ImaLog, PCR_COUNT, Quirk, UserspaceLog, UserspaceRecord, reset_value_of,
};

/// PCRs that the firmware and what it starts extend (PFP 1.06, section 3.3.4).
const FIRMWARE_PCRS: std::ops::RangeInclusive<u8> = 0..=7;

/// The logs of one boot.
#[derive(Debug, Clone, Copy)]
pub struct BootLogs<'a> {
    /// The firmware's log.
    pub firmware: &'a EventLog,
    /// systemd's userspace log: each of its records follows every one of the firmware's.
    pub userspace: Option<&'a UserspaceLog>,
    /// The kernel's IMA log. In a PCR that other logs touch too, its entries are taken to come last.
    pub ima: Option<&'a ImaLog<'a>>,
}

/// One of the logs of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogKind {
    /// The firmware's.
    Firmware,
    /// systemd's.
    Userspace,
    /// The kernel's.
    Ima,
}

impl LogKind {
    /// The name used in findings: "firmware", "userspace" or "ima".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Userspace => "userspace",
            Self::Ima => "ima",
        }
    }
}

/// Why a quoted value is not the replayed one, as far as the logs tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A log that touches the PCR does not carry the bank, so that nothing is known.
    BankMissing,
    /// No log has an event for the PCR, but something extended it.
    NoEvent,
    /// The value is the one before the event named: it and those behind it were never extended.
    NotExtended,
    /// The event named says what it measures, and its digest is not the hash of that.
    DataAltered,
    /// The event named belongs to the operating system, but stands in a PCR of the firmware, where it
    /// may be no more than an os-separator: what it extended may be anything, a boot application that
    /// the firmware's log conceals included. Found even where the values agree.
    Misplaced,
    /// Anything else; the PCR's last event is named.
    Unexplained,
}

impl Cause {
    /// The name used in findings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BankMissing => "bank-missing",
            Self::NoEvent => "no-event",
            Self::NotExtended => "not-extended",
            Self::DataAltered => "data-altered",
            Self::Misplaced => "misplaced",
            Self::Unexplained => "unexplained",
        }
    }
}

/// A quoted PCR that the logs don't lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// PCR index.
    pub pcr: u8,
    /// The value that the logs lead to; `None` for [`Cause::BankMissing`].
    pub expected: Option<Vec<u8>>,
    /// The value the TPM quoted.
    pub seen: Vec<u8>,
    /// What the logs tell about it.
    pub cause: Cause,
    /// The event to look at: its log, and its index in [`EventLog::events`],
    /// [`UserspaceLog::records`] or [`ImaLog::entries`].
    pub event: Option<(LogKind, usize)>,
}

/// The outcome of holding quoted values against the logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Quoted PCRs that the logs don't explain, in order; empty is agreement.
    pub differences: Vec<Difference>,
    /// Deviations that were assumed, each because it makes a quoted value agree.
    pub quirks: Vec<Quirk>,
    /// How many entries of the IMA log the quote covers: the log may run ahead of it. `None` without
    /// an IMA log, and where one of its PCRs differs.
    pub ima_entries: Option<usize>,
}

/// One extend of a PCR.
#[derive(Clone, Copy)]
struct Step<'a> {
    source: Source<'a>,
    index: usize,
    digest: &'a [u8],
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Firmware(&'a Event),
    Userspace(&'a UserspaceRecord),
}

impl Step<'_> {
    fn event(&self) -> (LogKind, usize) {
        match self.source {
            Source::Firmware(_) => (LogKind::Firmware, self.index),
            Source::Userspace(_) => (LogKind::Userspace, self.index),
        }
    }

    /// Whether the event says what it measures, and something else was measured.
    fn is_altered(&self, alg: HashAlg) -> bool {
        match self.source {
            Source::Firmware(event) => says_what_it_measures(event.kind) && !hashes_its_data(event, alg),
            Source::Userspace(record) => record.says_what_it_measures() && !record.is_measured(),
        }
    }
}

impl<'a> BootLogs<'a> {
    /// PCR values of one bank after every event of every log, for the PCRs that they touch. Empty
    /// for a bank that one of them does not carry.
    #[must_use]
    pub fn replay(&self, alg: HashAlg) -> BTreeMap<u8, Vec<u8>> {
        if !self.firmware.carries(alg) || self.userspace.is_some_and(|log| !log.carries(alg)) {
            return BTreeMap::new();
        }
        let steps = self.steps(alg);
        let pcrs =
            (0u8..).take(PCR_COUNT as usize).filter(|pcr| steps.contains_key(pcr) || self.ima_touches(*pcr));
        let track = |pcr| {
            let steps = steps.get(&pcr).map(Vec::as_slice).unwrap_or_default();
            (pcr, Track::starting(self.walk(pcr, alg, steps).value))
        };
        let mut tracks: BTreeMap<u8, Track> = pcrs.map(track).collect();
        if let Some(ima) = self.ima {
            ima.walk(alg, ExtendRule::PerBank, &mut tracks);
        }
        tracks.into_iter().map(|(pcr, track)| (pcr, track.value)).collect()
    }

    /// Holds quoted PCR values of one bank against the logs. A quoted PCR that no log touches must
    /// hold its reset value; one that the IMA log touches may hold what a prefix of that log leads to.
    ///
    /// Only PCRs in `quoted` are compared: the caller takes it from the signed selection alone.
    #[must_use]
    pub fn compare(&self, alg: HashAlg, quoted: &BTreeMap<u8, Vec<u8>>) -> Comparison {
        let steps = self.steps(alg);
        let mut comparison = Comparison::default();
        let mut tracks = BTreeMap::new();
        let mut walks = BTreeMap::new();
        for (&pcr, seen) in quoted {
            let steps = steps.get(&pcr).map(Vec::as_slice).unwrap_or_default();
            let mut walk = self.walk(pcr, alg, steps);
            if let Some(quirk) = self.missing_actions(pcr, alg, steps, seen, &mut walk) {
                comparison.quirks.push(quirk);
            }
            walk.find(seen);
            tracks.insert(pcr, Track { target: Some(seen.clone()), ..Track::starting(walk.value.clone()) });
            walks.insert(pcr, walk);
        }
        let tracks = self.ima_tracks(alg, tracks, &mut comparison.quirks);
        for (&pcr, seen) in quoted {
            let (Some(walk), Some(track)) = (walks.get(&pcr), tracks.get(&pcr)) else { continue };
            let steps = steps.get(&pcr).map(Vec::as_slice).unwrap_or_default();
            comparison.differences.extend(self.difference(pcr, alg, seen, &Replayed { steps, walk, track }));
        }
        comparison.ima_entries = self.covered(&tracks, &comparison.differences);
        comparison
    }

    /// The events of each PCR in the order of extending, of firmware and userspace.
    fn steps(&self, alg: HashAlg) -> BTreeMap<u8, Vec<Step<'a>>> {
        let mut steps: BTreeMap<u8, Vec<Step<'a>>> = BTreeMap::new();
        for (index, event) in self.firmware.events.iter().enumerate().filter(|(_, event)| event.is_extended())
        {
            let Ok(pcr) = u8::try_from(event.pcr) else { continue };
            let digest = event.digest(alg).unwrap_or_default();
            steps.entry(pcr).or_default().push(Step { source: Source::Firmware(event), index, digest });
        }
        for (index, record) in self.userspace.iter().flat_map(|log| log.records.iter().enumerate()) {
            let Some(pcr) = record.pcr() else { continue };
            let digest = record.digest(alg).unwrap_or_default();
            steps.entry(pcr).or_default().push(Step { source: Source::Userspace(record), index, digest });
        }
        steps
    }

    /// The values of a PCR before and after each of its events.
    fn walk(&self, pcr: u8, alg: HashAlg, steps: &[Step<'_>]) -> Walk {
        let touched = !steps.is_empty() || self.ima_touches(pcr);
        let start =
            if touched || pcr == 0 { self.firmware.start_of(pcr, alg) } else { reset_value_of(pcr, alg) };
        let mut values = vec![start];
        for step in steps {
            let before = values.last().map(Vec::as_slice).unwrap_or_default();
            let after = alg.hash(&[before, step.digest]).unwrap_or_default();
            values.push(after);
        }
        let value = values.last().cloned().unwrap_or_default();
        Walk { values, value, found: None }
    }

    /// Appends the actions that the firmware measured after it gave the log away, where the log has
    /// none of them and they lead to the quoted value.
    fn missing_actions(
        &self,
        pcr: u8,
        alg: HashAlg,
        steps: &[Step<'_>],
        seen: &[u8],
        walk: &mut Walk,
    ) -> Option<Quirk> {
        if pcr != exit_boot_services::PCR || walk.value == seen || self.firmware.has_exit_boot_services() {
            return None;
        }
        let firmware = steps.iter().take_while(|step| matches!(step.source, Source::Firmware(_))).count();
        let before = walk.values.get(firmware)?;
        let (_, rest) = steps.split_at_checked(firmware)?;
        let rest: Vec<&[u8]> = rest.iter().map(|step| step.digest).collect();
        let found = ExitBootServices { alg, before, rest: &rest }.variant_that_leads_to(seen)?;
        walk.value = seen.to_vec();
        Some(Quirk::ExitBootServicesMissing { actions: found })
    }

    fn ima_touches(&self, pcr: u8) -> bool {
        self.ima.is_some_and(|log| log.touches(pcr))
    }

    /// Goes on with the IMA log where the other logs end, by the rule that agrees with more.
    fn ima_tracks(
        &self,
        alg: HashAlg,
        tracks: BTreeMap<u8, Track>,
        quirks: &mut Vec<Quirk>,
    ) -> BTreeMap<u8, Track> {
        let Some(ima) = self.ima else { return tracks };
        let (mut plain, mut padded) = (tracks.clone(), tracks);
        plain.retain(|pcr, _| ima.touches(*pcr));
        padded.retain(|pcr, _| !ima.touches(*pcr));
        let untouched = padded;
        let mut padded = plain.clone();
        ima.walk(alg, ExtendRule::PerBank, &mut plain);
        let open = |tracks: &BTreeMap<u8, Track>| {
            tracks.values().filter(|track| track.target.is_some() && track.matched.is_none()).count()
        };
        if open(&plain) > 0 && alg != HashAlg::Sha1 {
            ima.walk(alg, ExtendRule::PaddedSha1, &mut padded);
            if open(&padded) < open(&plain) {
                quirks.push(Quirk::ImaPaddedSha1);
                plain = padded;
            }
        }
        plain.into_iter().chain(untouched).collect()
    }

    fn difference(&self, pcr: u8, alg: HashAlg, seen: &[u8], replayed: &Replayed<'_>) -> Option<Difference> {
        let Replayed { steps, walk, track } = replayed;
        let differ =
            |expected, cause, event| Some(Difference { pcr, expected, seen: seen.to_vec(), cause, event });
        let touched = steps.iter().any(|step| matches!(step.source, Source::Userspace(_)));
        if !self.firmware.carries(alg) || touched && self.userspace.is_some_and(|log| !log.carries(alg)) {
            return differ(None, Cause::BankMissing, None);
        }
        if let Some(event) = self.misplaced(pcr, steps) {
            return differ(Some(track.value.clone()), Cause::Misplaced, Some(event));
        }
        let ima = self.ima_touches(pcr);
        if walk.value == seen || ima && track.matched.is_some() {
            return None;
        }
        let expected = Some(track.value.clone());
        if let Some(extra) = walk.found.and_then(|index| steps.get(index)) {
            return differ(expected, Cause::NotExtended, Some(extra.event()));
        }
        if let Some(altered) = steps.iter().find(|step| step.is_altered(alg)) {
            return differ(expected, Cause::DataAltered, Some(altered.event()));
        }
        if let Some(altered) = self.ima.filter(|_| ima).and_then(ImaLog::first_altered) {
            return differ(expected, Cause::DataAltered, Some((LogKind::Ima, altered)));
        }
        let last = track.last.filter(|_| ima).map(|index| (LogKind::Ima, index));
        let last = last.or_else(|| steps.last().map(Step::event));
        differ(expected, if last.is_some() { Cause::Unexplained } else { Cause::NoEvent }, last)
    }

    /// The first event of the operating system, os-separators apart, in a PCR of the firmware.
    fn misplaced(&self, pcr: u8, steps: &[Step<'_>]) -> Option<(LogKind, usize)> {
        if !FIRMWARE_PCRS.contains(&pcr) {
            return None;
        }
        let foreign = |step: &&Step<'_>| match step.source {
            Source::Firmware(_) => false,
            Source::Userspace(record) => !record.is_os_separator(),
        };
        let entry = || self.ima?.entries().position(|entry| entry.pcr == pcr);
        let record = steps.iter().find(foreign).map(Step::event);
        record.or_else(|| entry().map(|index| (LogKind::Ima, index)))
    }

    /// The longest prefix of the IMA log that a quoted value needs.
    fn covered(&self, tracks: &BTreeMap<u8, Track>, differences: &[Difference]) -> Option<usize> {
        let ima = self.ima?;
        let touched = tracks.iter().filter(|(pcr, _)| ima.touches(**pcr));
        let differs = |pcr: u8| differences.iter().any(|difference| difference.pcr == pcr);
        let prefixes: Vec<Option<usize>> =
            touched.map(|(pcr, track)| track.matched.filter(|_| !differs(*pcr))).collect();
        prefixes.into_iter().collect::<Option<Vec<usize>>>()?.into_iter().max()
    }
}

/// What is known of a PCR when its difference is sought.
struct Replayed<'a> {
    steps: &'a [Step<'a>],
    walk: &'a Walk,
    track: &'a Track,
}

/// A PCR's way through firmware and userspace events.
struct Walk {
    /// Values before each event, and after the last.
    values: Vec<Vec<u8>>,
    /// The last value, workarounds included.
    value: Vec<u8>,
    /// How many events lead to the quoted value, if fewer than all do.
    found: Option<usize>,
}

impl Walk {
    fn find(&mut self, seen: &[u8]) {
        self.found = self.values.iter().position(|value| value == seen);
    }
}
