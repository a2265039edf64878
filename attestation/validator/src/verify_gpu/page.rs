//! What came of the devices, for people: problems first, then a row for each.

use std::fmt::Write as _;
use std::path::Path;

use assay_appraisal::Verdict;
use assay_gpu::device::{Check, Pdi, Topology};
use assay_gpu::rim::{Comparison, Part, Verdict as Rims};

use super::{Device, Judged};
use crate::inspect::page::Table;
use crate::text::{plain, styled};
use crate::{civil, page};

const RED: u8 = 31;
const YELLOW: u8 = 33;
const CYAN: u8 = 36;
/// Facts and checks of the table.
const COLUMNS: [&str; 12] = [
    "#",
    "arch",
    "serial",
    "board",
    "vbios",
    "driver",
    "signature",
    "chain",
    "fwid",
    "nonce",
    "measured",
    "revocation",
];

impl Judged {
    /// The page, judged at a time in Unix ms; everything in it is made harmless.
    #[must_use]
    pub fn page(&self, file: &str, at_ms: u64, colour: bool) -> String {
        let mut out = String::new();
        let (count, at) = (self.devices.len(), civil::format(at_ms / 1000 * 1000));
        let devices = if count == 1 { "device" } else { "devices" };
        let _ = writeln!(out, "{}: {count} {devices}, judged at {at}", plain(file));
        self.problems(&mut out, colour);
        self.rest(&mut out, colour);
        let mut table = Table::new(&COLUMNS);
        table.rows = self.devices.iter().enumerate().map(|(nth, device)| row(nth, device)).collect();
        table.render(&mut out, colour);
        if let Some(topology) = &self.topology {
            together(&mut out, topology);
        }
        let verdict = if self.is_good() { Verdict::Accept } else { Verdict::Reject };
        let _ = writeln!(out, "\n{}", page::verdict(verdict, colour));
        out
    }

    /// Failed checks, what doesn't fit together, and reference values that don't count.
    fn problems(&self, out: &mut String, colour: bool) {
        let mark = styled(colour, RED, "✗");
        self.lines(out, &mark, |device| checks(device, Check::fails));
        self.faults(out, &mark, true);
        let mark = styled(colour, YELLOW, "!");
        self.lines(out, &mark, disputed);
        for one in &self.refused {
            let _ =
                writeln!(out, "  {mark} {} is not used: {}", path(&one.file), plain(&one.reason.to_string()));
        }
    }

    /// What could not be judged, and notes.
    fn rest(&self, out: &mut String, colour: bool) {
        let mark = styled(colour, CYAN, "i");
        self.lines(out, &mark, |device| {
            let mut open = checks(device, |check| check.result.is_none());
            open.retain(|one| !disputed(device).contains(one));
            open
        });
        self.lines(out, &mark, part_measured);
        self.lines(out, &mark, |device| {
            device.judgement.findings.iter().map(|note| (note.id(), note.to_string())).collect()
        });
        self.faults(out, &mark, false);
    }

    /// What doesn't fit together: of a set that fails, or of one that is only not whole.
    fn faults(&self, out: &mut String, mark: &str, fails: bool) {
        let wanted = self.topology.iter().filter(|topology| (topology.result == Some(false)) == fails);
        for fault in wanted.flat_map(|topology| &topology.faults) {
            let _ = writeln!(out, "  {mark} {:12}  {}", "topology", plain(&fault.to_string()));
        }
    }

    /// A line for each thing that is said of a device, once for all devices of which the same is said.
    fn lines(&self, out: &mut String, mark: &str, said: impl Fn(&Device) -> Vec<Said>) {
        let mut lines: Vec<(Said, Vec<usize>)> = Vec::new();
        for (nth, device) in self.devices.iter().enumerate() {
            for one in said(device) {
                match lines.iter_mut().find(|(other, _)| *other == one) {
                    Some((_, of)) => of.push(nth),
                    None => lines.push((one, vec![nth])),
                }
            }
        }
        for ((name, text), of) in lines {
            let head = format!("{name}{}", self.which(&of));
            let _ = writeln!(out, "  {mark} {head:12}  {}", plain(&text));
        }
    }

    /// Which devices; nothing where it is all of them.
    fn which(&self, of: &[usize]) -> String {
        if of.len() == self.devices.len() {
            return String::new();
        }
        let of: Vec<String> = of.iter().map(ToString::to_string).collect();
        format!(" of {}", of.join(","))
    }
}

/// A check or a note by its name, and what it says.
type Said = (&'static str, String);

/// Measurements that are good as far as they were compared, where reference values are missing.
fn part_measured(device: &Device) -> Vec<Said> {
    let (check, comparison) = (&device.judgement.checks.measurements, &device.judgement.comparison);
    let whole = comparison.as_ref().is_none_or(Comparison::is_complete);
    if check.holds() && !whole && disputed(device).is_empty() {
        vec![("measurements", check.reason.clone())]
    } else {
        Vec::new()
    }
}

/// Measurements that did not fail, and reference values at hand for them of which something is known that speaks against
/// them.
fn disputed(device: &Device) -> Vec<Said> {
    let (check, comparison) = (&device.judgement.checks.measurements, &device.judgement.comparison);
    let against = |part: &Part| matches!(part.verdict, Rims::Revoked | Rims::Hold);
    let any = comparison.as_ref().is_some_and(|comparison| comparison.parts.iter().any(against));
    if any && !check.fails() { vec![("measurements", check.reason.clone())] } else { Vec::new() }
}

fn checks(device: &Device, is_wanted: impl Fn(&Check) -> bool) -> Vec<Said> {
    let wanted = device.judgement.checks.named().into_iter().filter(|(_, check)| is_wanted(check));
    wanted.map(|(name, check)| (name, check.reason.clone())).collect()
}

fn path(path: &Path) -> String {
    plain(&path.display().to_string())
}

fn row(nth: usize, device: &Device) -> Vec<String> {
    let facts = &device.judgement.facts;
    let or_none = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "-".to_owned());
    let architecture = device.entry.architecture.map(|architecture| architecture.to_string());
    let mut row = vec![nth.to_string()];
    row.extend([&architecture, &facts.device_serial].map(or_none));
    row.push(board(&[&facts.project, &facts.project_sku, &facts.chip_sku]));
    row.extend([&facts.vbios, &facts.driver].map(or_none));
    row.extend(device.judgement.checks.named().map(|(_, check)| word(check).to_owned()));
    row
}

/// Project, its SKU and the chip's, as in the id of a VBIOS.
fn board(parts: &[&Option<String>]) -> String {
    let said: Vec<&str> = parts.iter().filter_map(|part| part.as_deref()).collect();
    if said.is_empty() { "-".to_owned() } else { said.join("/") }
}

fn word(check: &Check) -> &'static str {
    match check.result {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "-",
    }
}

fn together(out: &mut String, topology: &Topology) {
    let word = match topology.result {
        Some(true) => "closed",
        Some(false) => "FAILED",
        None => "not whole",
    };
    let _ = writeln!(out, "\ntopology  {word}: {}", plain(&super::json::reason(topology)));
    for (name, list) in [("GPUs", &topology.gpus), ("switches", &topology.switches)] {
        let list: Vec<String> = list.iter().map(Pdi::to_string).collect();
        let _ = writeln!(out, "  {name:8}  {}  {}", list.len(), list.join(" "));
    }
}
