//! `doctor --sandbox`: what stopped each thing that a job must not be able to do.

use assay_sandbox::audit::{Attempt, Audit};
use assay_sandbox::pull::Puller;
use assay_sandbox::unpack_process::Unpacker;
use assay_sandbox::{Sandbox, SandboxConfig};
use serde::Serialize;

use super::super::{
    error::{self, CliError},
    print::{self, Page, Paint, Tone},
    progress::Progress,
};
use crate::config::{Config, ImageSettings};

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    passed: bool,
    #[serde(flatten)]
    audit: &'a Audit,
}

/// Audits the sandbox; exit code 1 when an attempt was not stopped.
pub(in crate::cli) fn run(config: &Config, json: bool) -> Result<u8, CliError> {
    let progress = Progress::start("trying what no job may do");
    let failed = |error| CliError::part("the sandbox's audit", error);
    // Slots are locked, so that a running agent's jobs keep their ids apart from the audit's.
    let audit = Sandbox::new(settings(config)).and_then(|sandbox| sandbox.audit()).map_err(failed)?;
    drop(progress);
    let printed = if json {
        print::json(&Report { schema: print::SCHEMA, passed: audit.passed(), audit: &audit })
    } else {
        page(&audit, Paint::stdout()).print()
    };
    printed.map_err(CliError::Print)?;
    Ok(if audit.passed() { 0 } else { error::FAILED })
}

/// The agent's own: the layers are those of its jobs, and others would not fit its budget.
fn settings(config: &Config) -> SandboxConfig {
    // The audit's image is of its own making: nothing is fetched or unpacked.
    let puller = Puller::Socket(config.node.runtime_dir.join(ImageSettings::PULL_SOCKET));
    config.sandbox.sandbox(&config.node, Unpacker::InProcess, puller)
}

fn page(audit: &Audit, paint: Paint) -> Page {
    let mut page = Page::new(paint);
    page.section("Sandbox");
    for attempt in &audit.attempts {
        let (tone, word) = if attempt.stopped { (Tone::Green, "stopped") } else { (Tone::Red, "OPEN") };
        page.marked(tone, word, attempt.name, &line(attempt));
    }
    let stopped = audit.attempts.iter().filter(|a| a.stopped).count();
    page.section(&format!("{stopped} of {} stopped", audit.attempts.len()));
    page
}

fn line(attempt: &Attempt) -> String {
    format!("{}: {}", attempt.what, attempt.wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opening the store removes what exceeds its budget.
    #[test]
    fn the_audit_opens_the_agents_store_with_the_agents_budget() {
        let text = "[sandbox]\nreserved_cpus = \"0\"\n[sandbox.images]\ndisk_gib = 500\nreserve_mib = 16\n";
        let settings = settings(&Config::parse(text).unwrap());
        assert_eq!(settings.images.budget_bytes, 500 << 30);
        assert_eq!(settings.images.unpack.reserve_bytes, 16 << 20);
        assert_eq!(settings.reserved_cpus, "0");
    }
}
