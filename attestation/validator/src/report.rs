//! `report`: a claim as one page for people.
//!
//! Everything on the page is recomputed from the file by the appraisal; what a node
//! says of itself is marked as its word. Powered and reachable time stand apart.

use std::io::{self, Write};
use std::path::Path;

use assay_appraisal::{Appraisal, Facts, GapFacts, SessionFacts, UptimeFacts};

use crate::civil;
use crate::page;
use crate::text::plain;
use crate::verify::node;

/// Writes the page.
///
/// # Errors
/// Those of `out`.
pub fn print(out: &mut impl Write, file: &Path, appraisal: &Appraisal, colour: bool) -> io::Result<()> {
    let facts = &appraisal.facts;
    writeln!(out, "{}: {}", plain(&file.display().to_string()), appraisal.kind.name())?;
    if let Some(session) = facts.sessions.last() {
        machine(out, session)?;
    }
    identity(out, facts)?;
    if let Some(session) = facts.sessions.last() {
        boot(out, session)?;
        gpus(out, session)?;
    }
    jobs(out, facts)?;
    if let Some(uptime) = &facts.uptime {
        write_uptime(out, uptime)?;
    }
    utilization(out, facts)?;
    section(out, "Verdict", &page::verdict_line(appraisal, colour))?;
    page::findings(out, &appraisal.findings, node(appraisal), colour)
}

fn section(out: &mut impl Write, name: &str, first: &str) -> io::Result<()> {
    writeln!(out, "\n{name:12} {first}")
}

fn line(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{:12} {text}", "")
}

fn machine(out: &mut impl Write, session: &SessionFacts) -> io::Result<()> {
    let (cpu, kernel) = (plain(&session.cpu), plain(&session.kernel));
    section(out, "Machine", &format!("{cpu}, {} CPUs, {} MiB", session.cpus, session.memory_mib))?;
    line(out, &format!("Linux {kernel}, agent {}, by the node's word", plain(&session.agent)))?;
    match &session.virtualization {
        Some(hint) => line(out, &format!("virtual: {}", plain(hint))),
        None => Ok(()),
    }
}

fn identity(out: &mut impl Write, facts: &Facts) -> io::Result<()> {
    let Some(node) = &facts.node else { return Ok(()) };
    section(out, "Identity", &node.id)?;
    let model = if node.tpm_model.is_empty() { "no model" } else { &node.tpm_model };
    line(out, &format!("{} TPM, {}, EK {}", node.tpm_class, plain(model), node.ek))?;
    let (from, to) = (civil::format(node.enrolled_ms), civil::format(node.expires_ms));
    line(out, &format!("enrolled by {} {from}, until {to}", plain(&node.enrolled_by)))
}

fn boot(out: &mut impl Write, session: &SessionFacts) -> io::Result<()> {
    let boot = &session.boot;
    let secure = match boot.secure_boot {
        Some(true) => "Secure Boot on",
        Some(false) => "Secure Boot off",
        None => "Secure Boot unknown",
    };
    match boot.format {
        Some(format) => {
            let replayed = boot.pcrs_replayed;
            section(out, "Boot", &format!("{format} log, {} events, {replayed} PCRs replayed", boot.events))?;
        }
        None => section(out, "Boot", "no firmware log")?,
    }
    line(out, &format!("{secure}, TPM resets {}", session.reset_count))?;
    match session.simulated.is_empty() {
        true => Ok(()),
        false => line(out, &format!("simulated, by the node's word: {}", session.simulated.join(", "))),
    }
}

fn gpus(out: &mut impl Write, session: &SessionFacts) -> io::Result<()> {
    if session.gpus.is_empty() {
        return section(out, "GPUs", "none");
    }
    for (nth, gpu) in session.gpus.iter().enumerate() {
        let simulated = if gpu.simulated { " (simulated)" } else { "" };
        let text = format!("{} {}, {} MiB{simulated}", gpu.index, plain(&gpu.name), gpu.memory_mib);
        if nth == 0 { section(out, "GPUs", &text)? } else { line(out, &text)? }
    }
    Ok(())
}

fn jobs(out: &mut impl Write, facts: &Facts) -> io::Result<()> {
    for (nth, job) in facts.jobs.iter().enumerate() {
        let digest: String = job.job.chars().take(16).collect();
        let text =
            format!("{digest} {}, {} ms, limits {}", plain(&job.exit), job.wall_ms, plain(&job.limits));
        if nth == 0 {
            section(out, "Jobs", &text)?
        } else {
            line(out, &text)?
        }
        for (path, size, sha256) in &job.outputs {
            line(out, &format!("  {} {size} bytes, sha256 {sha256}", plain(path)))?;
        }
    }
    Ok(())
}

fn write_uptime(out: &mut impl Write, uptime: &UptimeFacts) -> io::Result<()> {
    let share = |seconds: u64| (seconds * 1000).checked_div(uptime.span_s).unwrap_or(0);
    let percent = |seconds| format!("{}.{} %", share(seconds) / 10, share(seconds) % 10);
    let (powered, reachable) = (uptime.powered_s, uptime.reachable_s);
    section(out, "Uptime", &format!("powered   {powered} s of {} s, {}", uptime.span_s, percent(powered)))?;
    gaps(out, &uptime.powered_gaps)?;
    line(out, &format!("reachable {reachable} s of {} s, {}", uptime.span_s, percent(reachable)))?;
    gaps(out, &uptime.reachable_gaps)?;
    let (t, n) = (uptime.receipts_t, uptime.receipts_n);
    line(
        out,
        &format!("{} beats, {} anchors; receipts of {t} of {n} operators", uptime.beats, uptime.anchors),
    )
}

fn gaps(out: &mut impl Write, gaps: &[GapFacts]) -> io::Result<()> {
    for gap in gaps {
        let seconds = gap.to_ms.saturating_sub(gap.from_ms) / 1000;
        line(out, &format!("  gap {} {seconds} s: {}", civil::format(gap.from_ms), gap.reason))?;
    }
    Ok(())
}

fn utilization(out: &mut impl Write, facts: &Facts) -> io::Result<()> {
    for (nth, gpu) in facts.gpus.iter().enumerate() {
        let busy = gpu.utilization_per_mille;
        let text = format!(
            "{} {}: {}.{} % busy, {} J, memory up to {}.{} %",
            gpu.index,
            plain(&gpu.name),
            busy / 10,
            busy % 10,
            gpu.energy_mj / 1000,
            gpu.memory_per_mille / 10,
            gpu.memory_per_mille % 10,
        );
        if nth == 0 { section(out, "Utilization", &text)? } else { line(out, &text)? }
    }
    Ok(())
}
