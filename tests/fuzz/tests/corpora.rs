//! Every target over its seeds and over mutations of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use assay_fuzz::{TARGETS, Target, data, mutations, seeds, target, thread_time};

/// At least this many mutations of every target, however slow the machine.
const LEAST: usize = 300;
/// CPU time that a target's mutations may take beyond that.
const BUDGET: Duration = Duration::from_millis(900);

/// Runs a target; an input whose property does not hold is printed whole before the test fails.
fn run(name: &str, target: Target, bytes: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{name}: {} bytes: {hex}", bytes.len());
        std::panic::resume_unwind(panic);
    }
}

fn holds(name: &str) {
    let target = target(name).unwrap();
    if data().is_none() {
        eprintln!("SKIPPED: {name}: no data folder; set ASSAY_DATA");
    }
    let seeds = seeds(name);
    seeds.iter().for_each(|bytes| run(name, target, bytes));
    run(name, target, &[]);
    let start = thread_time();
    let mut count = 0;
    for bytes in mutations(name, &seeds) {
        if count >= LEAST && thread_time() - start > BUDGET {
            break;
        }
        run(name, target, &bytes);
        count += 1;
    }
    eprintln!("{name}: {} seeds, {count} mutations", seeds.len());
}

#[test]
fn every_target_is_a_libfuzzer_binary_and_nothing_else_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cargo-fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let listed: Vec<_> =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
    let mut files: Vec<_> = TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    for (name, _) in TARGETS {
        let source = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.ends_with(&format!("assay_fuzz::{name}(data));\n")), "{source}");
    }
    let mut listed: Vec<_> = listed.iter().map(|path| path.trim_end_matches('"').to_owned()).collect();
    listed.sort();
    files.sort();
    assert_eq!(listed, files);
    assert_eq!(fs::read_dir(folder.join("fuzz_targets")).unwrap().count(), TARGETS.len());
}

#[test]
fn a_plan_to_mutate_is_a_good_one() {
    let seeds = seeds("plan");
    let plan: assay_jailer::plan::Plan = serde_json::from_slice(&seeds[0]).unwrap();
    plan.validate().unwrap();
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*

        #[test]
        fn every_target_is_run_here() {
            let here = [$(stringify!($name)),*];
            let known: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(here[..], known[..]);
        }
    };
}

targets!(
    attest,
    bundle,
    certificate,
    chain,
    claim,
    corim,
    enrolment,
    envelope,
    eventlog,
    evidence,
    ima,
    image,
    job,
    layer,
    message,
    ocsp,
    opaque,
    plan,
    platform_certificate,
    policy,
    registry_ref,
    release,
    report,
    rim,
    state,
    trust,
    uefi,
    userspace_log,
);
