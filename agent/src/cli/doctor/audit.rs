//! `doctor --sandbox`: what stopped each thing that a job must not be able to do.

use assay_sandbox::audit::{Attempt, Audit};
use assay_sandbox::{Sandbox, SandboxConfig};
use serde::Serialize;

use super::super::{
    error::{self, CliError},
    print::{self, Page, Paint, Tone},
    progress::Progress,
};
use crate::config::Config;

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
    let mut settings = SandboxConfig::new(config.node.sandbox_dir());
    settings.jailer.clone_from(&config.sandbox.jailer);
    settings.id_base = config.sandbox.id_base;
    let audit = Sandbox::new(settings).and_then(|sandbox| sandbox.audit()).map_err(failed)?;
    drop(progress);
    let printed = if json {
        print::json(&Report { schema: print::SCHEMA, passed: audit.passed(), audit: &audit })
    } else {
        page(&audit, Paint::stdout()).print()
    };
    printed.map_err(CliError::Print)?;
    Ok(if audit.passed() { 0 } else { error::FAILED })
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
