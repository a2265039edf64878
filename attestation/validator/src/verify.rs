//! `verify`: exported files in, findings and a verdict out; offline.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use assay_appraisal::{Appraisal, Axes, Finding, Policy, State, Trust, Verdict, appraise};
use assay_gpu::device::DeviceEvidence;
use assay_ledger::claim::Claim;
use assay_ledger::session::Evidence;
use assay_wire::{Envelope, Kind, WireError};
use serde::Serialize;

use crate::error::{Error, read_file};
use crate::ocsp::{attach_to_rims, refuse_crowd};
use crate::page;
use crate::rim::{Refused, load_dir};
use crate::text::plain;
use crate::trusted;

/// One file and what came of it.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The file.
    pub file: PathBuf,
    /// The appraisal, or why the bytes are nothing that can be appraised.
    pub outcome: Result<Appraisal, WireError>,
}

impl Checked {
    /// Whether the verdict is accept.
    pub fn accepted(&self) -> bool {
        self.outcome.as_ref().is_ok_and(Appraisal::accepted)
    }
}

/// Whom the command believes, what it asks for and what it remembers.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// Whom to believe.
    pub trust: Trust,
    /// What to ask for.
    pub policy: Policy,
    /// What to remember.
    pub state: State,
}

/// Files that say what a [`Verifier`] is made of.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The trust file.
    pub trust: PathBuf,
    /// The policy, instead of the trust file's own.
    pub policy: Option<String>,
    /// A vendor file.
    pub vendors: Option<PathBuf>,
    /// Release manifests by signers in the trust file.
    pub releases: Vec<PathBuf>,
    /// Signed statements of validators: revocation lists, firmware tables and reference values of GPUs.
    pub statements: Vec<PathBuf>,
}

impl Verifier {
    /// Reads all of them.
    ///
    /// # Errors
    /// [`Error::ReadFile`], [`Error::FileTooLarge`], [`Error::Trust`], [`Error::Release`], [`Error::Policy`] or
    /// [`Error::State`].
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let mut trust = trusted::trust(&sources.trust)?;
        if let Some(vendors) = &sources.vendors {
            trusted::add_vendors(&mut trust, vendors)?;
        }
        trusted::add_releases(&mut trust, &sources.releases)?;
        let policy = trusted::policy(&sources.trust, sources.policy.as_deref().unwrap_or(&trust.policy))?;
        let mut state = State::default();
        for path in &sources.statements {
            let taken = state.take(&read_file(path)?, &trust);
            taken.map_err(|source| Error::State { path: path.clone(), source })?;
        }
        Ok(Self { trust, policy, state })
    }

    /// Takes what bears on GPUs and switches, as `verify-gpu` does: reference values of a folder, and answers of OCSP
    /// responders (DER) about certificates of devices and of those who signed reference values. Gives the files of the
    /// folder that do not count.
    ///
    /// # Errors
    /// Those of [`load_dir`], [`Error::State`], and [`Error::TooManyAnswers`] about one signer's certificate.
    pub fn take_devices(&mut self, rims: Option<&Path>, answers: &[Vec<u8>]) -> Result<Vec<Refused>, Error> {
        let mut refused = Vec::new();
        if let Some(dir) = rims {
            let (found, others) = load_dir(dir, self.trust.device_roots.rim(), Some(&self.trust))?;
            for rim in found {
                let taken = self.state.take_rim(rim);
                taken.map_err(|source| Error::State { path: dir.to_owned(), source })?;
            }
            refused = others;
        }
        attach_to_rims(&mut self.state.gpu_rims, answers, None)?;
        self.state.gpu_ocsp.extend(answers.iter().cloned().map(Into::into));
        Ok(refused)
    }
}

/// Appraises files at a time in Unix ms.
///
/// # Errors
/// [`Error::ReadFile`] or [`Error::FileTooLarge`], or [`Error::TooManyAnswers`] at hand about one certificate of a
/// device; then nothing was appraised.
pub fn verify(files: &[PathBuf], verifier: &Verifier, now_ms: u64) -> Result<Vec<Checked>, Error> {
    let Verifier { trust, policy, state } = verifier;
    let contents = files.iter().map(|file| read_file(file)).collect::<Result<Vec<_>, _>>()?;
    if !state.gpu_ocsp.is_empty() {
        let answers: Vec<Vec<u8>> = state.gpu_ocsp.iter().map(|answer| answer.to_vec()).collect();
        for device in contents.iter().flat_map(|bytes| devices(bytes)) {
            refuse_crowd(&device, &answers)?;
        }
    }
    let checked = files.iter().zip(contents).map(|(file, bytes)| Checked {
        file: file.clone(),
        outcome: appraise(&bytes, trust, policy, state, now_ms),
    });
    Ok(checked.collect())
}

/// What devices are said to have signed in an exported file; nothing of it is believed.
fn devices(bytes: &[u8]) -> Vec<DeviceEvidence> {
    let Ok(envelope) = Envelope::decode(bytes) else { return Vec::new() };
    let of_session = |bytes: &[u8]| {
        let evidence = Envelope::decode_as(Kind::Evidence, bytes).and_then(|one| one.message::<Evidence>());
        evidence.ok().and_then(|evidence| evidence.devices).unwrap_or_default()
    };
    match envelope.kind {
        Kind::Evidence => of_session(bytes),
        Kind::Claim => {
            let sessions = envelope.message::<Claim>().map(|claim| claim.sessions).unwrap_or_default();
            sessions.iter().flat_map(|session| of_session(&session.evidence)).collect()
        }
        _ => Vec::new(),
    }
}

/// The JSON form where the bytes could not be decoded; fields as in an appraisal's.
#[derive(Serialize)]
struct Undecodable {
    schema: u32,
    kind: Option<&'static str>,
    verdict: Verdict,
    axes: Axes,
    findings: [Finding; 1],
}

fn undecodable(error: &WireError) -> Finding {
    Finding::fatal("file.form", "DESIGN 4.6", "the file is one exported envelope", error)
}

/// The JSON form: an object for one file, an array for several, in their order.
pub fn json(checked: &[Checked]) -> serde_json::Value {
    let one = |checked: &Checked| match &checked.outcome {
        Ok(appraisal) => serde_json::to_value(appraisal.report()).unwrap_or_default(),
        Err(error) => serde_json::to_value(Undecodable {
            schema: 1,
            kind: None,
            verdict: Verdict::Reject,
            axes: Axes::default(),
            findings: [undecodable(error)],
        })
        .unwrap_or_default(),
    };
    match checked {
        [only] => one(only),
        several => several.iter().map(one).collect(),
    }
}

/// Writes findings and verdicts for people.
///
/// # Errors
/// Those of `out`.
pub fn print(out: &mut impl Write, checked: &[Checked], colour: bool) -> io::Result<()> {
    for (nth, one) in checked.iter().enumerate() {
        if nth > 0 {
            writeln!(out)?;
        }
        print_one(out, one, colour)?;
    }
    Ok(())
}

fn print_one(out: &mut impl Write, checked: &Checked, colour: bool) -> io::Result<()> {
    let file = plain(&checked.file.display().to_string());
    match &checked.outcome {
        Ok(appraisal) => {
            writeln!(out, "{file}: {}", appraisal.kind.name())?;
            page::findings(out, &appraisal.findings, node(appraisal), colour)?;
            writeln!(out, "{}", page::verdict_line(appraisal, colour))
        }
        Err(error) => {
            writeln!(out, "{file}: not decodable")?;
            page::findings(out, &[undecodable(error)], None, colour)?;
            writeln!(out, "{}", page::verdict(Verdict::Reject, colour))
        }
    }
}

/// The node's id in hex, when a record was believed.
pub(crate) fn node(appraisal: &Appraisal) -> Option<&str> {
    appraisal.facts.node.as_ref().map(|node| node.id.as_str())
}
