//! Findings as a page that a person can act on: problems first, each with its next step.

use std::io::{self, Write};

use assay_appraisal::{Appraisal, EventRef, Finding, Severity, Verdict, advice};

use crate::civil;
use crate::text::{plain, styled};

/// Writes problems with their next steps, the worst first, then everything else that was checked.
///
/// # Errors
/// Those of `out`.
pub fn findings(out: &mut impl Write, all: &[Finding], node: Option<&str>, colour: bool) -> io::Result<()> {
    let columns = Columns::of(all);
    for severity in [Severity::Fatal, Severity::Warning] {
        for finding in all.iter().filter(|finding| finding.severity == severity) {
            columns.line(out, finding, colour)?;
            problem(out, finding, node, colour)?;
        }
    }
    for finding in all.iter().filter(|finding| finding.severity < Severity::Warning) {
        columns.line(out, finding, colour)?;
    }
    Ok(())
}

/// What stands under a problem's line.
fn problem(out: &mut impl Write, finding: &Finding, node: Option<&str>, colour: bool) -> io::Result<()> {
    if let Some(event) = &finding.event {
        writeln!(out, "      {}", plain(&place(event)))?;
    }
    match advice(finding, node) {
        Some(step) => writeln!(out, "      {} {}", styled(colour, 1, "next:"), plain(&step)),
        None => Ok(()),
    }
}

fn place(event: &EventRef) -> String {
    let EventRef { log, index, pcr, expected, seen } = event;
    format!("event {index} of the {log} log, PCR {pcr}: {seen} (expected {expected})")
}

/// The verdict's line: axes, policy, and for how long it counts.
pub fn verdict_line(appraisal: &Appraisal, colour: bool) -> String {
    let policy = format!("{} ({})", plain(&appraisal.policy.name), appraisal.policy.hash.short());
    let line = format!("{}  {} under {policy}", verdict(appraisal.verdict, colour), appraisal.axes);
    match appraisal.valid {
        Some(valid) => {
            let (from, until) = (civil::format(valid.from_ms), civil::format(valid.until_ms));
            format!("{line}, good from {from} until {until}")
        }
        None => line,
    }
}

/// The verdict's word.
pub fn verdict(verdict: Verdict, colour: bool) -> String {
    match verdict {
        Verdict::Accept => styled(colour, 32, "ACCEPT"),
        Verdict::Reject => styled(colour, 31, "REJECT"),
    }
}

/// Widths of ids and of what was checked.
struct Columns {
    ids: usize,
    checks: usize,
}

impl Columns {
    fn of(all: &[Finding]) -> Self {
        let width = |text: fn(&Finding) -> &str| all.iter().map(|f| text(f).chars().count()).max();
        Self { ids: width(|f| f.id).unwrap_or(0), checks: width(|f| &f.checked).unwrap_or(0).min(72) }
    }

    /// Mark, id, what was checked, what was seen.
    fn line(&self, out: &mut impl Write, finding: &Finding, colour: bool) -> io::Result<()> {
        let Self { ids, checks } = self;
        let (mark, checked) = (mark(finding.severity, colour), plain(&finding.checked));
        writeln!(out, "  {mark} {:ids$}  {checked:checks$}  {}", finding.id, seen(finding))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &'static str, severity: Severity) -> Finding {
        Finding { severity, ..Finding::fatal(id, "", "checked", "se\u{1b}en") }
    }

    #[test]
    fn problems_come_first_each_with_its_step() {
        let event = EventRef { log: "firmware", index: 7, pcr: 4, expected: "aa".into(), seen: "bb".into() };
        let all = [
            finding("quote.signature", Severity::Pass),
            finding("boot.firmware-changed", Severity::Warning),
            finding("identity.tpm", Severity::Info),
            finding("boot.replay", Severity::Fatal).at_event(event),
        ];
        let mut page = Vec::new();
        findings(&mut page, &all, Some("ab12"), false).unwrap();
        let page = String::from_utf8(page).unwrap();
        let lines: Vec<&str> = page.lines().map(str::trim).collect();
        assert!(lines[0].starts_with("✗ boot.replay"), "{page}");
        assert_eq!(lines[1], "event 7 of the firmware log, PCR 4: bb (expected aa)");
        assert!(lines[2].starts_with("next: "), "{page}");
        assert!(lines[3].starts_with("! boot.firmware-changed"), "{page}");
        assert!(lines[4].contains("approve firmware ab12"), "{page}");
        assert!(
            lines[5].starts_with("✓ quote.signature") && lines[6].starts_with("i identity.tpm"),
            "{page}"
        );
        assert_eq!((lines.len(), page.contains('\u{1b}')), (7, false));
    }
}
