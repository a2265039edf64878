//! The page that `make run` ends with: what the verifier found, not what the node says.
//!
//! Everything on it is read from the JSON of `assay-validator verify`; the node's own words
//! are marked as such by the findings beside them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// What the page is made from.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// `verify --json` of each exported file, by its name.
    pub reports: BTreeMap<&'static str, Value>,
    /// Bytes of each exported file, by its name.
    pub sizes: BTreeMap<&'static str, u64>,
    /// Milliseconds that `verify` took for each, process start included.
    pub verify_ms: BTreeMap<&'static str, u64>,
    /// Jobs that misbehaved: the name of each, and what stopped it.
    pub stopped: Vec<(String, String)>,
    /// The folder that holds them, as the user may type it.
    pub dir: String,
    /// Whether to colour the marks.
    pub colour: bool,
}

/// The files, in the order of the page.
pub const FILES: [&str; 4] = ["enrolment", "evidence", "claim", "receipt"];

impl Input {
    fn report(&self, file: &str) -> &Value {
        self.reports.get(file).unwrap_or(&Value::Null)
    }

    fn claim(&self) -> &Value {
        self.report("claim")
    }

    /// Whether every file was accepted.
    pub fn all_accepted(&self) -> bool {
        FILES.iter().all(|file| text(self.report(file), "/verdict") == "accept")
    }
}

/// The whole page.
pub fn render(input: &Input) -> String {
    let mut page = String::new();
    let claim = input.claim();
    let session = last(claim.pointer("/facts/sessions"));
    section(&mut page, "Machine", &machine(session));
    section(&mut page, "Identity", &identity(input.report("enrolment"), session));
    section(&mut page, "Boot", &boot(input.report("evidence")));
    section(&mut page, "GPUs", &gpus(session));
    section(&mut page, "Job", &job(input));
    if !input.stopped.is_empty() {
        section(&mut page, "Jobs that misbehaved, and what stopped them", &input.stopped);
    }
    section(&mut page, "Uptime", &uptime(claim));
    section(&mut page, "Utilization", &utilization(claim));
    section(&mut page, "Verdict", &verdict(input));
    for (file, rows) in findings(input) {
        section(&mut page, &format!("Findings on the {file}, problems first"), &rows);
    }
    section(&mut page, "Sizes and rates", &sizes(input));
    let _ = writeln!(page, "\nCheck it yourself:");
    for file in FILES {
        let _ = writeln!(page, "  assay-validator verify --trust {0}/trust.toml {0}/{file}.cbor", input.dir);
    }
    page
}

type Rows = Vec<(String, String)>;

fn section(page: &mut String, title: &str, rows: &Rows) {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let _ = writeln!(page, "\n{title}");
    for (name, value) in rows {
        let line = format!("  {name:width$}  {value}");
        let _ = writeln!(page, "{}", line.trim_end());
    }
}

fn row(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("-")
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn last(list: Option<&Value>) -> &Value {
    list.and_then(Value::as_array).and_then(|all| all.last()).unwrap_or(&Value::Null)
}

fn short(hex: &str) -> &str {
    hex.get(..16).unwrap_or(hex)
}

fn machine(session: &Value) -> Rows {
    let memory = number(session, "/memory_mib");
    let mut rows = vec![
        row("cpu", format!("{} x{}", text(session, "/cpu"), number(session, "/cpus"))),
        row("memory", format!("{memory} MiB")),
        row("kernel", text(session, "/kernel")),
    ];
    if let Some(hint) = session.get("virtualization").and_then(Value::as_str) {
        rows.push(row("virtual", hint));
    }
    rows
}

fn identity(enrolment: &Value, session: &Value) -> Rows {
    let node = enrolment.pointer("/facts/node").unwrap_or(&Value::Null);
    let model = text(node, "/tpm_model");
    let certificate = match node.get("authority").and_then(Value::as_str) {
        Some(authority) => format!("chains to {authority:?}, which the trust file pins"),
        None => "no pinned authority vouches for the EK".to_owned(),
    };
    vec![
        row("node", text(node, "/id")),
        row("tpm", format!("{} ({model}), EK {}", text(node, "/tpm_class"), text(node, "/ek"))),
        row("certificate", certificate),
        row(
            "firmware",
            format!(
                "{}, reset count {}",
                text(session, "/firmware_version"),
                number(session, "/reset_count")
            ),
        ),
        row("enrolled by", text(node, "/enrolled_by")),
        row("axis", axis(enrolment, "identity", "identity.tpm")),
    ]
}

/// An axis with its reason: what the finding saw, whose last words are the axis again.
fn axis(report: &Value, name: &str, id: &str) -> String {
    let (axis, seen) = (text(report, &format!("/axes/{name}")), text(finding(report, id), "/seen"));
    format!("{axis}: {}", seen.strip_suffix(&format!(": {axis}")).unwrap_or(seen))
}

/// The last finding of this id.
fn finding<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut all = list(report, "/findings").iter().rev();
    all.find(|finding| text(finding, "/id") == id).unwrap_or(&Value::Null)
}

fn boot(evidence: &Value) -> Rows {
    let session = last(evidence.pointer("/facts/sessions"));
    let boot = session.get("boot").unwrap_or(&Value::Null);
    let secure = match boot.get("secure_boot").and_then(Value::as_bool) {
        Some(true) => "on",
        Some(false) => "off",
        None => "not in the log",
    };
    let replay = finding(evidence, "boot.replay");
    let replayed = match text(replay, "/severity") {
        "pass" => "to the quoted values",
        _ => text(replay, "/seen"),
    };
    vec![
        row("firmware", text(boot, "/firmware")),
        row("log", format!("{}, {} bytes", text(boot, "/format"), number(boot, "/log_bytes"))),
        row(
            "replayed",
            format!(
                "{} events over {} PCRs, {replayed}",
                number(boot, "/events"),
                number(boot, "/pcrs_replayed")
            ),
        ),
        row("secure boot", secure),
        row("axis", axis(evidence, "platform", "boot.release")),
        row("simulated", join(list(session, "/simulated"))),
    ]
}

fn join(words: &[Value]) -> String {
    let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn gpus(session: &Value) -> Rows {
    let rows: Rows = list(session, "/gpus")
        .iter()
        .map(|gpu| {
            let simulated = if gpu.get("simulated") == Some(&Value::Bool(true)) { ", simulated" } else { "" };
            let facts = format!(
                "{}, {} MiB, {}{simulated}",
                text(gpu, "/name"),
                number(gpu, "/memory_mib"),
                text(gpu, "/pci_bus_id")
            );
            row(&number(gpu, "/index").to_string(), facts)
        })
        .collect();
    if rows.is_empty() { vec![row("none", "")] } else { rows }
}

fn job(input: &Input) -> Rows {
    let receipt = input.report("receipt");
    let job = last(receipt.pointer("/facts/jobs"));
    let mut rows = vec![
        row("job", short(text(job, "/job"))),
        row("image", short(text(job, "/image"))),
        row("ended", format!("{} after {} ms", text(job, "/exit"), number(job, "/wall_ms"))),
        row(
            "used",
            format!("{} ms CPU, {} KiB memory", number(job, "/cpu_us") / 1000, number(job, "/max_rss_kib")),
        ),
        row(
            "limits by",
            format!("{}, ids {}, network {}", text(job, "/limits"), text(job, "/ids"), text(job, "/network")),
        ),
    ];
    for output in list(job, "/outputs") {
        let facts = format!("{} bytes, sha256 {}", number(output, "/1"), short(text(output, "/2")));
        rows.push(row(text(output, "/0"), facts));
    }
    rows
}

fn uptime(claim: &Value) -> Rows {
    let uptime = claim.pointer("/facts/uptime").unwrap_or(&Value::Null);
    let span = number(uptime, "/span_s");
    let share = |name: &str| {
        let seconds = number(uptime, name);
        let per_mille = (seconds * 1000).checked_div(span).unwrap_or_default();
        format!("{seconds} s of {span} s ({}.{} %)", per_mille / 10, per_mille % 10)
    };
    let mut rows = vec![
        row("powered", format!("{}, proven by the TPM", share("/powered_s"))),
        row(
            "reachable",
            format!(
                "{}, seen by {} of {} operators",
                share("/reachable_s"),
                number(uptime, "/receipts_t"),
                number(uptime, "/receipts_n")
            ),
        ),
        row(
            "sessions",
            format!("{}, {} beats", list(claim, "/facts/sessions").len(), number(uptime, "/beats")),
        ),
        row(
            "anchors",
            format!("{}, {} slots missed", number(uptime, "/anchors"), number(uptime, "/anchors_missed")),
        ),
    ];
    for (track, pointer) in [("powered gap", "/powered_gaps"), ("reachable gap", "/reachable_gaps")] {
        for gap in list(uptime, pointer) {
            let ms = number(gap, "/to_ms").saturating_sub(number(gap, "/from_ms"));
            if ms < 500 {
                continue; // Where a session begins or ends between two beats; all are in the JSON.
            }
            rows.push(row(track, format!("{}.{} s, {}", ms / 1000, ms % 1000 / 100, text(gap, "/reason"))));
        }
    }
    rows
}

fn utilization(claim: &Value) -> Rows {
    let rows: Rows = list(claim, "/facts/gpus")
        .iter()
        .map(|gpu| {
            let (busy, memory) = (number(gpu, "/utilization_per_mille"), number(gpu, "/memory_per_mille"));
            let joules = number(gpu, "/energy_mj") / 1000;
            let facts = format!(
                "{:3}.{} % busy, {:3}.{} % memory, {joules} J",
                busy / 10,
                busy % 10,
                memory / 10,
                memory % 10
            );
            row(&number(gpu, "/index").to_string(), facts)
        })
        .collect();
    if rows.is_empty() { vec![row("none", "no GPU in any beat")] } else { rows }
}

fn verdict(input: &Input) -> Rows {
    let line = |file: &&'static str| {
        let report = input.report(file);
        let axes =
            ["identity", "platform", "gpu"].map(|axis| text(report, &format!("/axes/{axis}")).to_owned());
        row(file, format!("{}  {}", text(report, "/verdict"), axes.join(" ")))
    };
    FILES.iter().map(line).collect()
}

/// The findings of each file; what was found in one is not said again of the next, unless it is worse.
fn findings(input: &Input) -> Vec<(&'static str, Rows)> {
    let mut said = BTreeMap::new();
    let mut sections = Vec::new();
    for file in FILES {
        let mut worst = worst(input.report(file));
        worst.retain(|(id, rank, _)| said.insert(*id, *rank).is_none_or(|before| *rank > before));
        worst.sort_by_key(|(_, rank, _)| std::cmp::Reverse(*rank));
        let width = worst.iter().map(|(id, ..)| id.len()).max().unwrap_or_default();
        let line = |(id, rank, finding): &(&str, u8, &Value)| {
            let seen = text(finding, "/seen");
            let seen: String =
                if seen.len() == 64 { short(seen).to_owned() } else { seen.chars().take(60).collect() };
            (mark(*rank, input.colour), format!("{id:width$}  {}: {seen}", text(finding, "/checked")))
        };
        sections.push((file, worst.iter().map(line).collect()));
    }
    sections
}

/// A report's ids in order, each with the worst that was seen.
fn worst(report: &Value) -> Vec<(&str, u8, &Value)> {
    let mut all: Vec<(&str, u8, &Value)> = Vec::new();
    for finding in list(report, "/findings") {
        let (id, rank) = (text(finding, "/id"), rank(text(finding, "/severity")));
        match all.iter_mut().find(|(known, ..)| *known == id) {
            Some(known) if rank >= known.1 => *known = (id, rank, finding),
            Some(_) => {}
            None => all.push((id, rank, finding)),
        }
    }
    all
}

fn rank(severity: &str) -> u8 {
    match severity {
        "pass" => 0,
        "info" => 1,
        "warning" => 2,
        _ => 3,
    }
}

/// The mark, of one width with or without colour.
fn mark(rank: u8, colour: bool) -> String {
    let (mark, code) = match rank {
        0 => ("ok", 32),
        1 => ("note", 36),
        2 => ("warn", 33),
        _ => ("FAIL", 31),
    };
    if colour { format!("\x1b[{code}m{mark:>4}\x1b[0m") } else { format!("{mark:>4}") }
}

fn sizes(input: &Input) -> Rows {
    let mut rows: Rows = FILES
        .iter()
        .map(|file| {
            let (bytes, ms) = (input.sizes.get(file).copied(), input.verify_ms.get(file).copied());
            row(
                file,
                format!("{} bytes, verified in {} ms", bytes.unwrap_or_default(), ms.unwrap_or_default()),
            )
        })
        .collect();
    let beat = number(input.claim(), "/facts/uptime/beat_bytes");
    let gpus = list(last(input.claim().pointer("/facts/sessions")), "/gpus").len();
    rows.push(row("beat", format!("{beat} bytes with {gpus} GPUs")));
    rows.push(row("a day", format!("{} KiB of beats at one a minute", beat * 1440 / 1024)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Input {
        let fixture = include_str!("../assets/page.json");
        let reports: BTreeMap<String, Value> = serde_json::from_str(fixture).unwrap();
        let report = |file: &'static str| (file, reports[file].clone());
        Input {
            reports: FILES.map(report).into(),
            sizes: FILES.map(|file| (file, 1000)).into(),
            verify_ms: FILES.map(|file| (file, 9)).into(),
            stopped: vec![("never ends".to_owned(), "timed out after 2001 ms: time limit".to_owned())],
            dir: "run".to_owned(),
            colour: false,
        }
    }

    #[test]
    fn the_page_keeps_its_form() {
        insta::assert_snapshot!(render(&input()));
    }

    #[test]
    fn a_rejected_or_missing_file_is_not_accepted() {
        assert!(input().all_accepted());
        for file in FILES {
            let mut rejected = input();
            rejected.reports.get_mut(file).unwrap()["verdict"] = "reject".into();
            assert!(!rejected.all_accepted());
            let mut missing = input();
            missing.reports.remove(file);
            assert!(!missing.all_accepted());
        }
    }

    #[test]
    fn problems_come_first_and_once() {
        let page = render(&input());
        let (_, evidence) = page.split_once("Findings on the evidence").unwrap();
        let (evidence, claim) = evidence.split_once("Findings on the claim").unwrap();
        let marks: Vec<_> =
            evidence.lines().filter_map(|line| line.split_whitespace().next()).skip(3).collect();
        assert!(marks.is_sorted_by_key(|mark| *mark == "ok") && marks.contains(&"note"), "{evidence}");
        assert!(evidence.contains("boot.replay") && !claim.contains("boot.replay"), "{claim}");
    }

    #[test]
    fn a_page_of_nothing_is_still_a_page() {
        let page = render(&Input::default());
        assert!(page.contains("Verdict") && !page.contains("accept"));
    }

    #[test]
    fn colour_is_in_the_marks_only() {
        let coloured = render(&Input { colour: true, ..input() });
        let mut plain = coloured.clone();
        for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert!(coloured.contains("\x1b[32m"));
        assert_eq!(
            plain.split_whitespace().collect::<Vec<_>>(),
            render(&input()).split_whitespace().collect::<Vec<_>>()
        );
    }
}
