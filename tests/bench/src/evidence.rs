//! Boot evidence appraised, against the bare signature checks in it.

use std::time::{Duration, Instant};

use assay_boot::{EV_IPL, HashAlg};
use assay_fuzz::{Arrival, World, world};
use assay_ledger::session::{Attested, Evidence};
use assay_tpm::{KeyKind, Public};
use assay_wire::{Envelope, cbor, limits};
use ed25519_zebra::{Signature, VerificationKey};
use p256::ecdsa::signature::Verifier as _;

use crate::row;

/// Pairs of runs; ours and the rival's alternate, and each side's median is compared.
pub(crate) const ROUNDS: usize = 201;
/// The firmware log of a server with an ordinary option ROM.
const LOG_BYTES: usize = 27 << 10;

/// The appraisal of one piece of evidence beside what is verified in it: the quote and the GetTime
/// (ECDSA P-256), the evidence's and the enrolment record's envelope (Ed25519 by ZIP 215).
pub(crate) fn appraisal() {
    // The rival has no other.
    if assay_tpm::BACKEND != "portable" {
        println!("  left out: evidence: this build appraises with {}", assay_tpm::BACKEND);
        return;
    }
    let world = world();
    let sent = Arrival::Firmware.envelope(world, &log());
    let Some(bare) = Bare::new(world, &sent) else { return };
    let accepted = || world.appraise(&sent).is_some_and(|appraisal| appraisal.accepted());
    let (ours, theirs) = medians(accepted, || bare.verify());
    let rate = |took: Duration| 1.0 / took.as_secs_f64();
    let name = format!("evidence, log of {} KiB, {ROUNDS} runs", LOG_BYTES >> 10);
    row(&name, rate(ours), rate(theirs), "/s");
}

/// Medians over alternating runs. Both must hold.
pub(crate) fn medians(ours: impl Fn() -> bool, theirs: impl Fn() -> bool) -> (Duration, Duration) {
    let timed = |work: &dyn Fn() -> bool| {
        let start = Instant::now();
        let held = work();
        let took = start.elapsed();
        assert!(held, "what is measured is good");
        took
    };
    let (mut a, mut b): (Vec<_>, Vec<_>) = (0..ROUNDS).map(|_| (timed(&ours), timed(&theirs))).unzip();
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times.get(ROUNDS / 2).copied().unwrap_or_default()
    };
    (middle(&mut a), middle(&mut b))
}

/// A log of SHA-1 and SHA-256 banks whose digests are true of its data, a little over 100 events.
fn log() -> Vec<u8> {
    let banks = [HashAlg::Sha1, HashAlg::Sha256];
    let number = |n: usize| u32::try_from(n).unwrap_or_default().to_le_bytes();
    let mut spec_id = [b"Spec ID Event03\0", &[0, 0, 0, 0, 0, 2, 0, 2, 2, 0, 0, 0][..]].concat();
    for bank in banks {
        let len = u16::try_from(bank.digest_len().unwrap_or_default()).unwrap_or_default();
        spec_id.extend([bank.id().to_le_bytes(), len.to_le_bytes()].concat());
    }
    spec_id.push(0);
    let mut log = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &number(spec_id.len()), &spec_id].concat();
    for pcr in (0..8usize).cycle() {
        let data = log.len().to_le_bytes().repeat(20);
        let mut event = [number(pcr), EV_IPL.to_le_bytes(), number(banks.len())].concat();
        for bank in banks {
            event.extend(bank.id().to_le_bytes());
            event.extend(bank.hash(&[&data]).unwrap_or_default());
        }
        event.extend([&number(data.len())[..], &data].concat());
        if log.len() + event.len() > LOG_BYTES {
            return log;
        }
        log.extend(event);
    }
    log
}

/// The same signatures over the same bytes, each by its library alone; keys and signatures are decoded
/// anew each time, as a verifier meets them.
struct Bare {
    ed25519: [([u8; 32], Signature, Vec<u8>); 2],
    p256: [(Vec<u8>, Vec<u8>); 2],
    ak: Vec<u8>,
}

impl Bare {
    fn new(world: &World, sent: &[u8]) -> Option<Self> {
        let payload = World::payload(sent);
        let evidence: Evidence = cbor::from_slice("evidence", &payload, limits::ENVELOPE).ok()?;
        // The bytes that a COSE signature covers are the payload with a short header.
        let by = |message: Vec<u8>, seed: u8| {
            let key = ed25519_zebra::SigningKey::from([seed; 32]);
            (VerificationKey::from(&key).into(), key.sign(&message), message)
        };
        let statement = |attested: &Attested| (attested.attest.clone(), attested.signature.clone());
        Some(Self {
            ed25519: [by(payload, 5), by(Envelope::decode(&evidence.enrolment).ok()?.payload, 6)],
            p256: [statement(&evidence.quote), statement(&evidence.time)],
            ak: sec1(&world.ak),
        })
    }

    fn verify(&self) -> bool {
        let ed25519 = self.ed25519.iter().all(|(key, signature, message)| {
            VerificationKey::try_from(*key).is_ok_and(|key| key.verify(signature, message).is_ok())
        });
        ed25519 && self.p256.iter().all(|(message, signature)| self.p256(message, signature).unwrap_or(false))
    }

    /// `TPMT_SIGNATURE`: two algorithms, then r and s behind their sizes (Part 2, 11.3.2).
    fn p256(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        let scalar = |at: usize| <[u8; 32]>::try_from(signature.get(at..at + 32)?).ok();
        let signature = p256::ecdsa::Signature::from_scalars(scalar(6)?, scalar(40)?).ok()?;
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&self.ak).ok()?;
        Some(key.verify(message, &signature).is_ok())
    }
}

fn sec1(key: &Public) -> Vec<u8> {
    match key.kind() {
        KeyKind::Ecc { x, y, .. } => [&[4][..], x, y].concat(),
        KeyKind::Rsa { .. } => Vec::new(),
    }
}
