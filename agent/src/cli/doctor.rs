//! `doctor`: what the agent needs, whether it is there, and how to mend what is not.
//!
//! Every check has a stable code. Nothing is changed: a check that would need
//! writing writes a file of its own and removes it.

mod audit;
mod machine;
mod node;

use serde::Serialize;

use super::{
    client::Client,
    error::{self, CliError},
    print::{self, Page, Paint, Tone},
    progress::Progress,
};
use crate::{config::Config, core::status::Status};

pub(super) use audit::run as audit_sandbox;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Mark {
    /// As it should be.
    Good,
    /// Worth knowing; nothing to mend.
    Note,
    /// The agent works with less than it could.
    Warning,
    /// The agent cannot do something that it is for.
    Failed,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    code: &'static str,
    mark: Mark,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Check {
    fn new(code: &'static str, mark: Mark, text: impl Into<String>) -> Self {
        Self { code, mark, text: text.into(), next: None }
    }

    fn good(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(code, Mark::Good, text)
    }

    fn failed(code: &'static str, text: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(code, Mark::Failed, text).next(next)
    }

    fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    passed: bool,
    checks: &'a [Check],
}

/// Where the configuration came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The file.
    pub(super) path: &'a std::path::Path,
    /// Whether it is there.
    pub(super) found: bool,
}

/// Checks everything; exit code 1 when a check failed.
pub(super) fn run(config: &Config, source: Source<'_>, json: bool) -> Result<u8, CliError> {
    let checks = checks(config, source);
    let passed = !checks.iter().any(|check| check.mark == Mark::Failed);
    let printed = if json {
        print::json(&Report { schema: print::SCHEMA, passed, checks: &checks })
    } else {
        page(&checks, Paint::stdout()).print()
    };
    printed.map_err(CliError::Print)?;
    Ok(if passed { 0 } else { error::FAILED })
}

fn checks(config: &Config, source: Source<'_>) -> Vec<Check> {
    let progress = Progress::start("checking the TPM");
    let answer = Client::new(config).status();
    let daemon: Option<&Status> = answer.as_ref().ok();
    let mut checks = vec![node::config(source), node::agent(&answer)];
    checks.extend(machine::tpm(&config.tpm, daemon));
    checks.push(machine::firmware_log(&config.boot));
    progress.say("asking the GPU library");
    checks.extend(machine::gpu(&config.gpu));
    progress.say("checking the sandbox");
    checks.push(machine::jailer(&config.sandbox));
    checks.push(machine::user_namespaces());
    checks.push(machine::cgroups(daemon));
    checks.push(node::state_dir(&config.node));
    checks.extend(node::identity(&config.node, daemon));
    checks.extend(node::validators(config, daemon));
    checks.push(node::clock());
    checks
}

fn page(checks: &[Check], paint: Paint) -> Page {
    let mut page = Page::new(paint);
    page.section("Checks");
    for check in checks {
        let (word, tone) = match check.mark {
            Mark::Good => ("ok", Tone::Green),
            Mark::Note => ("note", Tone::Dim),
            Mark::Warning => ("warn", Tone::Yellow),
            Mark::Failed => ("FAIL", Tone::Red),
        };
        page.marked(tone, word, check.code, &check.text);
        if let Some(next) = &check.next {
            page.marked(Tone::Dim, "", "", &format!("next: {next}"));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_mark_a_code_a_text_and_a_next_step() {
        let checks = [
            Check::good("node.state-dir", "/var/lib/assay is writable"),
            Check::failed("tpm.usable", "no TPM at /dev/tpmrm0", "switch it on"),
            Check::new("gpu.library", Mark::Note, "no NVIDIA GPU is here"),
        ];
        insta::assert_snapshot!("doctor", page(&checks, Paint(false)).text());
    }
}
