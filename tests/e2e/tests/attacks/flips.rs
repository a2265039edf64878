//! One bit anywhere: every byte of an exported file is under a signature or a hash.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use assay_appraisal::{State, appraise};
use assay_tests::{Lab, accepted, flip};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};

/// Positions that are tried in a long file; in a short one, such as an enrolment, all of them.
const SAMPLES: usize = 1_000;

/// A seed for this run; printed, so that a failure can be had again.
fn seed() -> u64 {
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    eprintln!("seed {seed}");
    seed
}

fn positions(len: usize, rng: &mut ChaCha20Rng) -> Vec<usize> {
    if len <= 5 * SAMPLES {
        return (0..len).collect();
    }
    // The first and the last bytes hold the envelope's own structure.
    let ends = (0..100).chain(len - 100..len);
    let anywhere = (0..SAMPLES).map(|_| usize::try_from(rng.next_u64()).unwrap() % len);
    ends.chain(anywhere).collect()
}

/// Tries every position, on two threads, and names those that were accepted or ended in a panic.
fn attack(lab: &Lab, name: &str, file: &[u8], seed: u64) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let flipped: Vec<_> =
        positions(file.len(), &mut rng).into_iter().map(|at| (at, flip(file, at, &mut rng))).collect();
    let (trust, policy, now) = (&lab.trust, &lab.policy, lab.unix_ms);
    let verdict = |bytes: &[u8]| {
        let outcome =
            catch_unwind(AssertUnwindSafe(|| appraise(bytes, trust, policy, &State::default(), now)));
        outcome.map_or("panic", |appraised| match appraised {
            Ok(appraisal) if appraisal.accepted() => "accepted",
            _ => "refused",
        })
    };
    let bad: Vec<_> = thread::scope(|scope| {
        let halves = flipped.chunks(flipped.len().div_ceil(2));
        let running: Vec<_> = halves
            .map(|half| {
                scope.spawn(move || {
                    let verdicts = half.iter().map(|(at, bytes)| (*at, verdict(bytes)));
                    verdicts.filter(|(_, verdict)| *verdict != "refused").collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(bad.is_empty(), "{name}, seed {seed}: {bad:?}");
    eprintln!("{name}: {} of {} bytes flipped", flipped.len(), file.len());
}

#[test]
fn no_flipped_bit_is_accepted_anywhere() {
    let (mut lab, seed) = (Lab::with_validators(&[1, 2], 2), seed());
    let Some(mut node) = lab.chip() else { return };
    let mut first = lab.open_with(&mut node, |start| start.gpus = vec![assay_tests::gpu(0)], |_, _| {});
    lab.run(&mut node, &mut first, 10, 1_000);
    lab.job(&mut first);
    lab.end(&mut node, &mut first);
    let mut second = lab.open(&mut node);
    lab.run(&mut node, &mut second, 10, 1_000);
    lab.serve_slot(&mut node, &mut second);
    let files = [
        ("enrolment", node.record.clone()),
        ("evidence", second.records.evidence.clone()),
        ("claim", lab.export(&[&first, &second])),
        ("receipt", lab.bundle(&first)),
    ];
    for (name, file) in &files {
        accepted(&lab.appraise(file));
        attack(&lab, name, file, seed);
    }
}

#[test]
fn no_cut_or_lengthened_file_is_accepted() {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let mut session = lab.open(&mut node);
    lab.run(&mut node, &mut session, 3, 1_000);
    lab.job(&mut session);
    let files = [
        node.record.clone(),
        session.records.evidence.clone(),
        lab.export(&[&session]),
        lab.bundle(&session),
    ];
    for file in files {
        accepted(&lab.appraise(&file));
        let cut = (0..file.len()).step_by(97).map(|len| file[..len].to_vec());
        for bytes in cut.chain([[&file[..], &[0]].concat(), [&file[..], &file].concat()]) {
            let outcome = appraise(&bytes, &lab.trust, &lab.policy, &lab.state, lab.unix_ms);
            assert!(outcome.is_err(), "{} of {} bytes", bytes.len(), file.len());
        }
    }
}
