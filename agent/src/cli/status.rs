//! `status`: how the running agent is.

use super::{
    client::Client,
    error::CliError,
    print::{self, Page, Paint, Tone},
    units,
};
use crate::core::status::{HealthItem, Severity, Status};

/// Shows the status. What is wrong is shown, not returned: that is `doctor`'s work.
pub(super) fn show(client: &Client, json: bool) -> Result<u8, CliError> {
    let status = client.status()?;
    if json {
        print::json(&status).map_err(CliError::Print)?;
    } else {
        page(&status, Paint::stdout()).print().map_err(CliError::Print)?;
    }
    Ok(0)
}

fn page(status: &Status, paint: Paint) -> Page {
    let mut page = Page::new(paint);
    node(&mut page, status);
    validators(&mut page, status);
    gpus(&mut page, status);
    health(&mut page, &status.health);
    page
}

fn node(page: &mut Page, status: &Status) {
    page.section("Node");
    page.fact("node", status.node.as_deref().unwrap_or("unknown: the TPM has not answered"));
    page.fact("owner", status.owner.as_deref().unwrap_or("none named"));
    page.fact("EK certificate", certificate(status.certificate.as_deref()));
    page.fact("session", status.session.as_deref().unwrap_or("none open"));
    page.fact("beats", &status.seq.to_string());
    page.fact("anchors", &status.anchors.to_string());
    page.fact("receipts", &status.receipts.to_string());
    let last = status.last_receipt_ms.map_or_else(|| "never".to_owned(), units::utc);
    page.fact("last receipt", &last);
    let jobs = if status.jobs.is_empty() { "none".to_owned() } else { status.jobs.join(", ") };
    page.fact("running jobs", &jobs);
}

/// Where the certificate is from, in words.
pub(super) fn certificate(source: Option<&str>) -> &'static str {
    match source {
        Some("tpm") => "from the TPM",
        Some("file") => "from a file",
        Some("maker") => "from the TPM's maker",
        Some(_) => "from elsewhere",
        None => "none",
    }
}

fn validators(page: &mut Page, status: &Status) {
    page.section("Validators");
    if status.validators.is_empty() {
        page.line(Tone::Yellow, "none configured: this node proves nothing to anyone");
        return;
    }
    let rows: Vec<_> = status
        .validators
        .iter()
        .map(|one| {
            let state = if one.connected { "connected" } else { "no connection" };
            vec![one.name.clone(), state.to_owned(), one.unsent.to_string()]
        })
        .collect();
    page.table(&["name", "state", "unsent"], &rows);
}

fn gpus(page: &mut Page, status: &Status) {
    page.section("GPUs");
    if status.gpus.is_empty() {
        page.line(Tone::Plain, "none in this session");
        return;
    }
    let rows: Vec<_> = status
        .gpus
        .iter()
        .map(|gpu| {
            let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            let state = [
                (gpu.lost, "lost"),
                (gpu.simulated && !gpu.lost, "simulated"),
                (gpu.unattested.is_some(), "GPU unattested"),
            ];
            let state: Vec<_> = state.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
            vec![
                gpu.index.to_string(),
                gpu.name.clone(),
                known(gpu.utilization_per_mille.map(|u| format!("{}.{} %", u / 10, u % 10))),
                known(gpu.power_w.map(|w| format!("{w} W"))),
                known(gpu.temperature_c.map(|c| format!("{c} C"))),
                state.join(", "),
            ]
        })
        .collect();
    page.table(&["#", "name", "utilization", "power", "temp", ""], &rows);
}

fn health(page: &mut Page, items: &[HealthItem]) {
    page.section("Health");
    if items.is_empty() {
        page.line(Tone::Green, "nothing is wrong");
    }
    for item in items {
        let (mark, tone) = match item.severity {
            Severity::Error => ("FAIL", Tone::Red),
            Severity::Warning => ("warn", Tone::Yellow),
            Severity::Info => ("note", Tone::Dim),
        };
        page.marked(tone, mark, &item.code, &item.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::status::{GpuStatus, ValidatorStatus};

    #[test]
    fn a_page_says_what_is_known_and_what_is_not() {
        let fresh = page(&Status::default(), Paint(false));
        insta::assert_snapshot!("fresh", fresh.text());
        let gpu = GpuStatus {
            name: "NVIDIA H100".into(),
            utilization_per_mille: Some(987),
            ..GpuStatus::default()
        };
        let status = Status {
            schema: 1,
            node: Some("ab".repeat(32)),
            owner: Some("ef".repeat(32)),
            certificate: Some("maker".into()),
            session: Some("cd".repeat(32)),
            seq: 71,
            last_receipt_ms: Some(1_735_689_599_000),
            validators: vec![ValidatorStatus { name: "first".into(), connected: true, unsent: 3 }],
            gpus: vec![
                GpuStatus { lost: true, index: 1, ..gpu.clone() },
                GpuStatus { simulated: true, ..gpu },
            ],
            health: vec![HealthItem {
                code: "tpm.simulated".into(),
                severity: Severity::Info,
                text: "the TPM is software".into(),
            }],
            ..Status::default()
        };
        insta::assert_snapshot!("busy", page(&status, Paint(false)).text());
    }
}
