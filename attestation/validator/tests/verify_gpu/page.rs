//! The page for people: problems first, one row per device, no colours in a file.

use assay_gpu::device::{Check, HoldPolicy, Pdi, Roots, Topology};
use assay_gpu::rim::Verdict;
use assay_validator::verify_gpu::{Asked, bundle, judge};

use crate::{Files, cases, entries, verify_gpu, words};

fn page(args: &[std::ffi::OsString]) -> String {
    let output = verify_gpu(args);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_case_has_its_row_and_problems_come_first() {
    let files = Files::new();
    for case in cases(&files) {
        let page = page(&case.args);
        let serial = case.expected("device_serial").as_str().unwrap_or_default();
        let arch = case.json["arch"].as_str().unwrap();
        let row = page.lines().position(|line| line.contains(arch) && line.contains(serial)).unwrap();
        let failed = page.lines().position(|line| line.contains('✗'));
        assert_eq!(failed.is_some(), !case.is_good(), "{page}");
        assert!(failed.is_none_or(|problem| problem < row), "{page}");
        let last = page.lines().last().unwrap();
        assert!(last.starts_with(if case.is_good() { "ACCEPT" } else { "REJECT" }), "{page}");
        assert!(!page.contains('\u{1b}'));
    }
}

/// What is the same for all devices is said once, and what is a stranger's can't move the cursor.
#[test]
fn lines_are_said_once_and_colours_are_ours() {
    let entries = entries();
    if entries.len() < 2 {
        return;
    }
    let devices = bundle(&serde_json::to_vec(&entries).unwrap()).unwrap();
    let asked = Asked {
        nonce: None,
        at: 1_800_000_000,
        roots: &Roots::nvidia(),
        rims: &[],
        hold: HoldPolicy::default(),
    };
    let judged = judge(devices, &asked);
    let plain = judged.page("f\u{1b}[2J", 0, false);
    assert!(plain.starts_with("f\u{fffd}[2J: "), "{plain}");
    assert!(!plain.contains('\u{1b}'));
    assert_eq!(plain.lines().filter(|line| line.starts_with("  i revocation ")).count(), 1, "{plain}");
    let coloured = judged.page("f", 0, true);
    assert!(coloured.contains("\u{1b}[36mi\u{1b}[0m revocation "), "{coloured}");
}

/// A set that is whole, by what its devices say; what they say is made up here.
#[test]
fn a_closed_set_shows_both_sides() {
    let mut judged = judge(
        Vec::new(),
        &Asked { nonce: None, at: 0, roots: &Roots::nvidia(), rims: &[], hold: HoldPolicy::default() },
    );
    assert!(!judged.is_good(), "nothing was proven");
    let side = |first: u64| (first..first + 4).map(Pdi).collect::<Vec<_>>();
    judged.topology =
        Some(Topology { result: Some(true), gpus: side(1), switches: side(0xa0), faults: Vec::new() });
    let page = judged.page("f", 0, false);
    assert!(page.contains("topology  closed: every GPU names these switches"), "{page}");
    assert!(page.contains("  GPUs      4  0000000000000001 0000000000000002 "), "{page}");
    assert!(page.contains("  switches  4  00000000000000a0 "), "{page}");
    assert_eq!(judged.json()["topology"]["gpus"].as_array().unwrap().len(), 4);
}

/// What speaks against reference values at hand stands with the problems, also where nothing failed.
#[test]
fn a_revoked_signer_of_reference_values_is_a_problem() {
    let Some(entry) = entries().into_iter().next() else { return };
    let asked = Asked {
        nonce: None,
        at: 1_800_000_000,
        roots: &Roots::nvidia(),
        rims: &[],
        hold: HoldPolicy::default(),
    };
    for (verdict, mark) in [(Verdict::Revoked, '!'), (Verdict::Hold, '!'), (Verdict::Expired, 'i')] {
        let mut judged = judge(bundle(&serde_json::to_vec(&[&entry]).unwrap()).unwrap(), &asked);
        let judgement = &mut judged.devices[0].judgement;
        let comparison = judgement.comparison.as_mut().unwrap();
        comparison.parts[0].verdict = verdict;
        judgement.checks.measurements = Check::none(comparison.reason());
        let page = judged.page("f", 0, false);
        let lines: Vec<_> = page.lines().filter(|line| line.contains(" measurements ")).collect();
        assert!(matches!(lines[..], [line] if line.trim_start().starts_with(mark)), "{verdict:?}: {page}");
    }
}

#[test]
fn several_devices_show_how_they_are_connected() {
    let files = Files::new();
    let entries = entries();
    if entries.len() < 2 {
        return;
    }
    let page = page(&words([&"--bundle", &files.put("all", serde_json::to_vec(&entries).unwrap())]));
    assert!(page.lines().any(|line| line.starts_with("topology")), "{page}");
}
