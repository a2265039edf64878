//! `verify`: exported files in, findings and a verdict out; offline.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use assay_appraisal::{Appraisal, Axes, Finding, Policy, Severity, Trust, Verdict, appraise};
use assay_wire::WireError;
use serde::Serialize;

use crate::error::{Error, read_file};
use crate::text::{plain, styled};

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

/// Appraises files at a time in Unix ms.
///
/// # Errors
/// [`Error::ReadFile`] or [`Error::FileTooLarge`]; then nothing was appraised.
pub fn verify(files: &[PathBuf], trust: &Trust, policy: &Policy, now_ms: u64) -> Result<Vec<Checked>, Error> {
    let contents = files.iter().map(|file| read_file(file)).collect::<Result<Vec<_>, _>>()?;
    let checked = files.iter().zip(contents).map(|(file, bytes)| Checked {
        file: file.clone(),
        outcome: appraise(&bytes, trust, policy, now_ms),
    });
    Ok(checked.collect())
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
pub fn print(out: &mut impl Write, checked: &[Checked], policy: &str, colour: bool) -> io::Result<()> {
    for (nth, one) in checked.iter().enumerate() {
        if nth > 0 {
            writeln!(out)?;
        }
        print_one(out, one, policy, colour)?;
    }
    Ok(())
}

fn print_one(out: &mut impl Write, checked: &Checked, policy: &str, colour: bool) -> io::Result<()> {
    let file = plain(&checked.file.display().to_string());
    match &checked.outcome {
        Ok(appraisal) => {
            writeln!(out, "{file}: {}", appraisal.kind.name())?;
            print_findings(out, &appraisal.findings, colour)?;
            writeln!(out, "{}  {} under {policy}", verdict(appraisal.verdict, colour), appraisal.axes)
        }
        Err(error) => {
            writeln!(out, "{file}: not decodable")?;
            print_findings(out, &[undecodable(error)], colour)?;
            writeln!(out, "{}", verdict(Verdict::Reject, colour))
        }
    }
}

fn verdict(verdict: Verdict, colour: bool) -> String {
    match verdict {
        Verdict::Accept => styled(colour, 32, "ACCEPT"),
        Verdict::Reject => styled(colour, 31, "REJECT"),
    }
}

/// Writes findings in columns: mark, id, what was checked, what was seen.
///
/// # Errors
/// Those of `out`.
pub fn print_findings(out: &mut impl Write, findings: &[Finding], colour: bool) -> io::Result<()> {
    let width = |text: fn(&Finding) -> &str| findings.iter().map(|f| text(f).chars().count()).max();
    let ids = width(|f| f.id).unwrap_or(0);
    let checks = width(|f| &f.checked).unwrap_or(0).min(72);
    for finding in findings {
        let checked = plain(&finding.checked);
        let mark = mark(finding.severity, colour);
        writeln!(out, "  {mark} {:ids$}  {checked:checks$}  {}", finding.id, seen(finding))?;
    }
    Ok(())
}

fn mark(severity: Severity, colour: bool) -> String {
    match severity {
        Severity::Pass => styled(colour, 32, "✓"),
        Severity::Info => styled(colour, 36, "i"),
        Severity::Warning => styled(colour, 33, "!"),
        Severity::Fatal => styled(colour, 31, "✗"),
    }
}

fn seen(finding: &Finding) -> String {
    let seen = plain(finding.seen.as_deref().unwrap_or("-"));
    match &finding.expected {
        Some(expected) => format!("{seen} (expected {})", plain(expected)),
        None => seen,
    }
}

/// A trust file and the policy named, or the trust file's own.
pub(crate) fn load(trust: &Path, policy: Option<&str>) -> Result<(Trust, Policy), Error> {
    let parsed = crate::trusted::trust(trust)?;
    let policy = crate::trusted::policy(trust, policy.unwrap_or(&parsed.policy))?;
    Ok((parsed, policy))
}
