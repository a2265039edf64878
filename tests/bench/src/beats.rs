//! Beats: bytes on the wire, and verification against the same library's bare batch.

use std::time::{Duration, Instant};

use assay_gpu::{Energy, Flags, GpuBeat, Pcie};
use assay_ledger::beat::Beat;
use assay_ledger::chain::Chain;
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey};
use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use rand_core::SeedableRng as _;

use crate::row;

/// A delivery of this many beats: what a validator gets after a short break.
const BEATS: u64 = 512;
const ROUNDS: usize = 40;
const SESSION: Digest = Digest([7; 32]);

/// Bytes of a busy data-centre beat.
pub(crate) fn sizes() {
    for (gpus, limit) in [(1, 300.0), (8, 550.0)] {
        let bytes = chain(gpus, 300).last().map(Vec::len).unwrap_or_default();
        row(&format!("beat, {gpus} GPU, bytes"), f64_of(bytes), limit, "B");
    }
}

/// Whole verification of a chain beside the bare batch equation over the same signatures.
///
/// Rounds alternate, so that both meet the same machine; the best of each is compared.
pub(crate) fn verification() {
    for gpus in [1, 8] {
        let beats = chain(gpus, BEATS);
        let bare = Bare::new(&beats);
        let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            ours = ours.min(timed(|| verify(&beats)));
            theirs = theirs.min(timed(|| bare.verify()));
        }
        let rate = |took: Duration| f64_of(beats.len()) / took.as_secs_f64();
        row(&format!("beats verified, {gpus} GPU, 1 core"), rate(ours), rate(theirs), "/s");
    }
}

fn timed(work: impl FnOnce() -> bool) -> Duration {
    let start = Instant::now();
    let held = work();
    let took = start.elapsed();
    assert!(held, "the chain is good");
    took
}

fn f64_of(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

fn network() -> Network {
    Network::new("assay-bench")
}

fn verify(beats: &[Vec<u8>]) -> bool {
    Chain::new(SESSION, key().verifying_key(), 0).extend(beats, &network()).is_ok()
}

/// A chain late in a session, where counters are long.
fn chain(gpus: u8, count: u64) -> Vec<Vec<u8>> {
    let mut prev = SESSION;
    (1..=count)
        .map(|seq| {
            let beat = Beat {
                seq,
                prev,
                mono_ms: 8_000_000_000 + seq * 60_000,
                beacon: Digest([9; 32]).into(),
                samples: Digest([8; 32]),
                gpus: (0..gpus).map(|index| line(index, seq)).collect(),
                jobs: vec![[5; 8].into()],
                flags: 0,
            };
            let bytes = Envelope::seal(Kind::Beat, SESSION, &beat, &key(), &network());
            prev = Envelope::decode(&bytes).map(|e| e.hash()).unwrap_or_default();
            bytes
        })
        .collect()
}

fn line(index: u8, seq: u64) -> GpuBeat {
    GpuBeat {
        energy: Some(Energy { end_mj: 90_000_000_000 + seq * 39_000_000, delta_mj: 39_000_000 }),
        utilization_per_mille: Some(973),
        memory_per_mille: Some(912),
        power_w: Some(651),
        temperature_c: Some(67),
        pcie: Some(Pcie { rx_mib: 80_000_000, tx_mib: 70_000_000 }),
        ..GpuBeat::empty(index, Flags::default())
    }
}

/// The same signatures without envelopes, messages or chain.
struct Bare(Vec<(VerificationKeyBytes, Signature, Vec<u8>)>);

impl Bare {
    fn new(beats: &[Vec<u8>]) -> Self {
        let signer = ed25519_zebra::SigningKey::from([3; 32]);
        let key = VerificationKeyBytes::from(&signer);
        // Messages of the same length as the ones that the envelopes' signatures are over.
        let item = |bytes: &Vec<u8>| (key, signer.sign(bytes), bytes.clone());
        Self(beats.iter().map(item).collect())
    }

    fn verify(&self) -> bool {
        let mut verifier = batch::Verifier::new();
        for (key, signature, message) in &self.0 {
            verifier.queue((*key, *signature, message));
        }
        verifier.verify(rand_chacha::ChaCha20Rng::from_seed([1; 32])).is_ok()
    }
}
