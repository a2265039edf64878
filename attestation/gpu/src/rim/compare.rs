//! A report's measurements against the RIMs that are for it.

use std::collections::{BTreeMap, BTreeSet};

use assay_wire::Digest;
use assay_x509::Seconds;

use super::ids::{Wanted, rim_ids};
use super::model::{Rim, RimKind, RimRow, SignerProof};
use super::signer::SignerStatus;
use crate::device::{Architecture, HoldPolicy, Measurement, Report};

/// The row that measures the video decoder, which has no value while the decoder is off.
const NVDEC0_ROW: u8 = 35;

/// What came of one RIM that a report asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every active row has its measurement, and one of the row's values equals it.
    Match,
    /// At least one row has not.
    Mismatch,
    /// None is at hand: new firmware, or a store that is not up to date.
    NoRim,
    /// One is at hand whose signer's certificates are no longer in force at the time.
    Expired,
    /// One is at hand whose signer's certificates are not yet in force at the time.
    NotYet,
    /// One is at hand whose signer's certificate is revoked.
    Revoked,
    /// One is at hand whose signer's certificate is on hold.
    Hold,
    /// Several are at hand that differ: the measurements equal one of them, and not another. Nobody here knows which one
    /// counts, so it fails as a mismatch does.
    Collision,
}

impl Verdict {
    /// Its name for JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::NoRim => "no-rim",
            Self::Expired => "expired",
            Self::NotYet => "not-yet",
            Self::Revoked => "revoked",
            Self::Hold => "hold",
            Self::Collision => "collision",
        }
    }
}

/// One RIM that a report asks for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it describes.
    pub kind: RimKind,
    /// The id that the report asks for; `*` stands for what it does not say.
    pub id: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Rows that were compared, by rising index from 0.
    pub compared: Vec<u8>,
    /// Those of them that differ, or have no measurement.
    pub mismatched: Vec<u8>,
    /// SHA-256 of the documents that were compared, or that could not be used.
    pub sources: Vec<Digest>,
    /// Usable documents for the same thing have different rows.
    pub collision: bool,
    /// The documents that were compared do not say for which board they are, and nobody named it.
    pub board_unnamed: bool,
    /// The status of the signer that is least sure, of the documents that were compared.
    pub signer: SignerStatus,
}

/// A report held against the RIMs at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// One entry for each RIM that the report asks for.
    pub parts: Vec<Part>,
    /// Rows that are active in the driver's and in the VBIOS's RIM, which contradict each other by that.
    pub overlap: Vec<u8>,
}

impl Comparison {
    /// `false` on any mismatch, collision or contradiction; `true` when something was compared and all of it is equal; otherwise
    /// there was nothing to compare.
    #[must_use]
    pub fn result(&self) -> Option<bool> {
        let any = |verdict| self.parts.iter().any(|part| part.verdict == verdict);
        match () {
            () if any(Verdict::Mismatch) || any(Verdict::Collision) => Some(false),
            () if !self.overlap.is_empty() => Some(false),
            () if any(Verdict::Match) => Some(true),
            () => None,
        }
    }

    /// Whether every RIM that the report asks for was there and matched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.result() == Some(true) && self.parts.iter().all(|part| part.verdict == Verdict::Match)
    }

    /// How many rows were compared.
    #[must_use]
    pub fn compared(&self) -> usize {
        self.rows(|part| &part.compared).len()
    }

    /// The rows that differ, by rising index from 0.
    #[must_use]
    pub fn mismatched_rows(&self) -> Vec<u8> {
        self.rows(|part| &part.mismatched).into_iter().collect()
    }

    fn rows(&self, of: fn(&Part) -> &Vec<u8>) -> BTreeSet<u8> {
        self.parts.iter().flat_map(of).copied().collect()
    }

    /// One line for people: each part with its verdict, and what is unusual about it.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut parts: Vec<String> = self.parts.iter().map(Part::reason).collect();
        if !self.overlap.is_empty() {
            parts.push(format!("driver and VBIOS RIM both claim {}", rows(&self.overlap)));
        }
        parts.join("; ")
    }
}

impl Part {
    /// Whether documents were compared.
    #[must_use]
    pub const fn was_compared(&self) -> bool {
        matches!(self.verdict, Verdict::Match | Verdict::Mismatch | Verdict::Collision)
    }

    /// What is known of whoever signed the documents that were compared, or that could not be used for that reason.
    #[must_use]
    pub const fn signer_status(&self) -> Option<SignerStatus> {
        match self.verdict {
            Verdict::Match | Verdict::Mismatch | Verdict::Collision => Some(self.signer),
            Verdict::Revoked => Some(SignerStatus::Revoked),
            Verdict::Hold => Some(SignerStatus::Hold),
            Verdict::NoRim | Verdict::Expired | Verdict::NotYet => None,
        }
    }

    fn reason(&self) -> String {
        let (kind, id) = (self.kind.name(), &self.id);
        let mut text = match self.verdict {
            Verdict::Match => format!("{kind}: {} rows equal those of {id}", self.compared.len()),
            Verdict::Mismatch => {
                format!("{kind}: {} of {} in {id} differ", rows(&self.mismatched), self.compared.len())
            }
            Verdict::NoRim => format!("{kind}: no RIM yet for {id}"),
            Verdict::Expired => format!("{kind}: the RIM for {id} is expired at that time"),
            Verdict::NotYet => format!("{kind}: the RIM for {id} is not yet in force at that time"),
            Verdict::Revoked => {
                format!("{kind}: the signer of the RIM for {id} is revoked, or unknown to its responder")
            }
            Verdict::Hold => format!("{kind}: the signer of the RIM for {id} is on hold"),
            Verdict::Collision => {
                format!(
                    "{kind}: {} of {} equal one RIM for {id} and differ from another",
                    rows(&self.mismatched),
                    self.compared.len()
                )
            }
        };
        if self.board_unnamed {
            text.push_str(" (for which board is not in the document)");
        }
        if self.was_compared() && self.signer == SignerStatus::Unchecked {
            text.push_str(" (whether its signer is revoked was not checked)");
        }
        if self.collision {
            let count = self.sources.len();
            text.push_str(&format!(
                " (collision: {count} signed RIMs for it differ; keep the one that counts)"
            ));
        }
        text
    }
}

/// `row 9`, `rows 9, 12`.
fn rows(indices: &[u8]) -> String {
    let list = indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("row{} {list}", if indices.len() == 1 { "" } else { "s" })
}

/// Holds a report against those of `rims` that are for it, in force at `at`, and whose signer is not revoked or on hold
/// by the answers that any of `rims` carries: what is known against a signer counts for all that it signed.
///
/// Of several usable RIMs for the same thing the measurements must equal each: a signer who says two things of one
/// version is believed in neither alone. What equals one of them as a whole is a [`Verdict::Collision`], what equals none a
/// mismatch. Measurements that no row claims are ignored, and so is the row of a video
/// decoder that the report says is off.
#[must_use]
pub fn compare(
    report: &Report,
    architecture: Architecture,
    rims: &[Rim],
    at: Seconds,
    hold: HoldPolicy,
) -> Comparison {
    let facts = report.facts();
    let measured = Measured::of(report.measurements(), facts.nvdec0 == Some(false));
    let wanted = rim_ids(facts, architecture);
    let mut signers = Signers { rims, at, hold, known: BTreeMap::new() };
    let mut found = Vec::new();
    for wanted in wanted {
        found.push((Candidates::find(&wanted, &mut signers), wanted));
    }
    let active = |kind| -> BTreeSet<u8> {
        let usable =
            found.iter().filter(|(_, wanted)| wanted.kind == kind).flat_map(|(found, _)| &found.usable);
        usable.flat_map(|rim| rim.rows.iter().map(|row| row.index)).collect()
    };
    let overlap = active(RimKind::Driver).intersection(&active(RimKind::Vbios)).copied().collect();
    let parts = found.iter().map(|(found, wanted)| found.judge(wanted, &measured)).collect();
    Comparison { parts, overlap }
}

/// A report's measurements by row.
struct Measured<'a> {
    values: BTreeMap<u8, &'a [u8; 48]>,
    skipped: Option<u8>,
}

impl<'a> Measured<'a> {
    fn of(measurements: &'a [Measurement], decoder_off: bool) -> Self {
        // Blocks count from 1, rows from 0; the parser takes no block 0 and none twice.
        // Raw bytes are a measurement that equals no reference value.
        let row = |one: &'a Measurement| Some((one.index.checked_sub(1)?, one.digest()?));
        Self {
            values: measurements.iter().filter_map(row).collect(),
            skipped: decoder_off.then_some(NVDEC0_ROW),
        }
    }

    /// Whether a row's measurement is there and is one of its values.
    fn has(&self, row: &RimRow) -> bool {
        self.values.get(&row.index).is_some_and(|value| row.values.iter().any(|one| **one == **value))
    }
}

/// What is known of signers, each of their proofs judged once.
struct Signers<'a> {
    rims: &'a [Rim],
    at: Seconds,
    hold: HoldPolicy,
    known: BTreeMap<Digest, Vec<(&'a SignerProof, SignerStatus)>>,
}

impl<'a> Signers<'a> {
    /// The status by a RIM's own proof, or what is worse than good by that of any other of the same signer.
    fn of(&mut self, rim: &Rim) -> SignerStatus {
        let (rims, at, hold) = (self.rims, self.at, self.hold);
        let known = self.known.entry(rim.signer).or_insert_with(|| {
            let mut known: Vec<(&'a SignerProof, SignerStatus)> = Vec::new();
            for one in rims.iter().filter(|one| one.signer == rim.signer) {
                if !known.iter().any(|(proof, _)| **proof == one.proof) {
                    known.push((&one.proof, SignerStatus::of(one, at, hold)));
                }
            }
            known
        });
        let worst =
            known.iter().map(|(_, status)| *status).max().filter(|status| *status > SignerStatus::Good);
        let own = || known.iter().find(|(proof, _)| **proof == rim.proof).map(|(_, status)| *status);
        worst.or_else(own).unwrap_or(SignerStatus::Unchecked)
    }
}

/// The RIMs at hand for one that a report asks for.
struct Candidates<'a> {
    /// Those that count.
    usable: Vec<&'a Rim>,
    /// The least sure status of their signers.
    signer: SignerStatus,
    /// Where none counts: why, and which.
    unusable: Option<(Verdict, Vec<Digest>)>,
}

impl<'a> Candidates<'a> {
    fn find(wanted: &Wanted, signers: &mut Signers<'a>) -> Self {
        let mut this = Self { usable: Vec::new(), signer: SignerStatus::Good, unusable: None };
        for rim in signers.rims.iter().filter(|rim| wanted.is(rim)) {
            let signer = signers.of(rim);
            match unusable(rim, signers.at, signer) {
                None => {
                    this.signer = this.signer.min(signer);
                    this.usable.push(rim);
                }
                // Of several the one that says most.
                Some(verdict) => {
                    let (worst, sources) = this.unusable.get_or_insert((verdict, Vec::new()));
                    *worst = verdict.max(*worst);
                    sources.push(rim.source);
                }
            }
        }
        this
    }

    fn judge(&self, wanted: &Wanted, measured: &Measured<'_>) -> Part {
        let of = |rim: &&'a Rim| rim.rows.iter().filter(|row| measured.skipped != Some(row.index));
        let rows = || self.usable.iter().flat_map(of);
        let compared: BTreeSet<u8> = rows().map(|row| row.index).collect();
        let mismatched: BTreeSet<u8> = rows().filter(|row| !measured.has(row)).map(|row| row.index).collect();
        let is_equal = |rim: &&'a Rim| of(rim).next().is_some() && of(rim).all(|row| measured.has(row));
        let sources: BTreeSet<Digest> = self.usable.iter().map(|rim| rim.source).collect();
        let none = || self.unusable.clone().unwrap_or((Verdict::NoRim, Vec::new()));
        let (verdict, sources) = match () {
            () if compared.is_empty() => none(),
            () if mismatched.is_empty() => (Verdict::Match, sources.into_iter().collect()),
            () if self.usable.iter().any(is_equal) => (Verdict::Collision, sources.into_iter().collect()),
            () => (Verdict::Mismatch, sources.into_iter().collect()),
        };
        Part {
            kind: wanted.kind,
            id: wanted.id.clone(),
            verdict,
            compared: compared.into_iter().collect(),
            mismatched: mismatched.into_iter().collect(),
            sources,
            collision: self.usable.windows(2).any(|pair| matches!(pair, [a, b] if !same_rows(a, b))),
            board_unnamed: wanted.kind == RimKind::Vbios && self.usable.iter().any(|rim| rim.board.is_none()),
            signer: self.signer,
        }
    }
}

/// Why a RIM does not count.
const fn unusable(rim: &Rim, at: Seconds, signer: SignerStatus) -> Option<Verdict> {
    match signer {
        SignerStatus::Revoked => return Some(Verdict::Revoked),
        SignerStatus::Hold => return Some(Verdict::Hold),
        SignerStatus::Unchecked | SignerStatus::Good => {}
    }
    match () {
        () if rim.not_after < at => Some(Verdict::Expired),
        () if at < rim.not_before => Some(Verdict::NotYet),
        () => None,
    }
}

/// Whether two RIMs allow the same values in the same rows, in whatever order.
#[must_use]
pub fn same_rows(a: &Rim, b: &Rim) -> bool {
    let rows = |rim: &Rim| -> BTreeMap<u8, BTreeSet<[u8; 48]>> {
        rim.rows.iter().map(|row| (row.index, row.values.iter().map(|value| **value).collect())).collect()
    };
    rows(a) == rows(b)
}
