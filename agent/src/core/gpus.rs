//! The GPU thread: samples at its own pace, folded into what the next beat says.
//!
//! The vendor's library may hang for seconds. Beats never wait for it: they take what
//! has been gathered so far. A session that opens has each GPU sign a report ([`Gpus::attest`]),
//! and waits for that as long as it likes.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use assay_gpu::{Accumulator, GpuBeat, GpuIdentity, GpuSample};
use assay_inventory::nvml::{Client, GpuAttestation, GpuStatus as LibraryStatus, NvmlFault};
use assay_ledger::beat::flags;
use assay_wire::{Digest, cbor, merkle_root};
use tokio::sync::{oneshot, watch};

use super::CoreError;
use super::status::GpuStatus;
use crate::config::Config;

/// How often a machine without GPUs, or whose library does not answer, is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Most raw samples behind one beat; further ones are not kept.
const MAX_LEAVES: usize = 1 << 16;
/// How long a session waits for the first inventory; the library's own deadline is shorter.
const FIRST_INVENTORY: Duration = Duration::from_secs(8);

/// What a beat says of GPUs.
#[derive(Debug, Clone)]
pub(super) struct GpuPart {
    /// One line per GPU of the session.
    pub(super) lines: Vec<GpuBeat>,
    /// Merkle root over the raw samples.
    pub(super) samples: Digest,
    /// Bits of [`flags`].
    pub(super) flags: u32,
}

impl Default for GpuPart {
    fn default() -> Self {
        Self { lines: Vec::new(), samples: merkle_root::<&[u8]>(&[]), flags: 0 }
    }
}

/// What the thread has gathered.
#[derive(Default)]
struct Fold {
    /// The GPUs of the last inventory.
    present: Vec<GpuIdentity>,
    /// The GPUs of the session.
    session: Vec<(GpuIdentity, Accumulator)>,
    leaves: Vec<Vec<u8>>,
    sampled: bool,
    hung: bool,
    library: Option<LibraryStatus>,
    last: Vec<GpuBeat>,
    /// GPUs of the session without a signed report, and why.
    unattested: BTreeMap<u8, String>,
}

impl Fold {
    fn push(&mut self, outcome: Result<Vec<GpuSample>, NvmlFault>) {
        match outcome {
            Ok(samples) => {
                self.sampled |= !samples.is_empty();
                samples.iter().for_each(|sample| self.push_sample(sample));
            }
            Err(NvmlFault::Hung(_)) => self.hung = true,
            Err(_) => {}
        }
    }

    fn push_sample(&mut self, sample: &GpuSample) {
        self.session.iter_mut().for_each(|(_, accumulator)| accumulator.push(sample));
        if self.leaves.len() < MAX_LEAVES {
            self.leaves.push(cbor::to_vec(sample));
        }
    }

    fn open(&mut self) -> Vec<GpuIdentity> {
        let fresh = |gpu: &GpuIdentity| (gpu.clone(), Accumulator::new(gpu.index, gpu.memory_mib));
        self.session = self.present.iter().map(fresh).collect();
        (self.leaves, self.sampled, self.hung) = (Vec::new(), false, false);
        self.last.clear();
        self.unattested.clear();
        self.present.clone()
    }

    fn beat(&mut self) -> GpuPart {
        let lines: Vec<GpuBeat> = self.session.iter_mut().map(|(_, gpu)| gpu.beat()).collect();
        let samples = merkle_root(&std::mem::take(&mut self.leaves));
        let silent = !self.session.is_empty() && !std::mem::take(&mut self.sampled);
        let hung = std::mem::take(&mut self.hung);
        let flags = if silent { flags::GPU_SILENT } else { 0 } | if hung { flags::GPU_HUNG } else { 0 };
        self.last.clone_from(&lines);
        GpuPart { lines, samples, flags }
    }

    fn status(&self) -> Vec<GpuStatus> {
        let line = |index: u8| self.last.iter().find(|line| line.index == index);
        let one = |(gpu, _): &(GpuIdentity, Accumulator)| {
            let line = line(gpu.index);
            GpuStatus {
                index: gpu.index,
                name: gpu.name.clone(),
                uuid: gpu.uuid.clone(),
                simulated: gpu.simulated,
                utilization_per_mille: line.and_then(|line| line.utilization_per_mille),
                power_w: line.and_then(|line| line.power_w),
                temperature_c: line.and_then(|line| line.temperature_c),
                lost: line.is_some_and(|line| line.flags.lost),
                unattested: self.unattested.get(&gpu.index).cloned(),
            }
        };
        self.session.iter().map(one).collect()
    }
}

/// A question for one GPU's signed report.
struct Ask {
    gpu: u8,
    nonce: [u8; 32],
    reply: oneshot::Sender<Result<GpuAttestation, NvmlFault>>,
}

/// The way to what the GPU thread has gathered.
pub(super) struct Gpus {
    fold: Arc<Mutex<Fold>>,
    asks: mpsc::Sender<Ask>,
    ready: watch::Receiver<bool>,
}

impl Gpus {
    /// Starts the thread; `None` when the configuration wants no GPUs.
    pub(super) fn start(config: &Config) -> Result<Option<Self>, CoreError> {
        if !config.gpu.enabled {
            return Ok(None);
        }
        let failed = |source| CoreError::Start { what: "the GPU thread", source };
        let client = crate::nvml::client(&config.gpu).map_err(failed)?;
        let fold = Arc::new(Mutex::new(Fold::default()));
        let (first, ready) = watch::channel(false);
        let (asks, asked) = mpsc::channel();
        let pace = Duration::from_millis(config.cadence.sample_ms);
        let shared = Arc::clone(&fold);
        let body = move || gather(client, &shared, pace, (&first, &asked));
        thread::Builder::new().name("gpu".to_owned()).spawn(body).map_err(failed)?;
        Ok(Some(Self { fold, asks, ready }))
    }

    fn fold(&self) -> MutexGuard<'_, Fold> {
        lock(&self.fold)
    }

    /// Starts a session's counting, and returns its GPU table.
    pub(super) async fn open_session(&self) -> Vec<GpuIdentity> {
        let mut ready = self.ready.clone();
        // Without an answer by then the session opens without GPUs.
        let _ = tokio::time::timeout(FIRST_INVENTORY, ready.wait_for(|ready| *ready)).await;
        self.fold().open()
    }

    /// Has a GPU sign a report over `nonce`. The library's deadline is on the answer, after what the
    /// thread is doing now.
    ///
    /// # Errors
    /// In words why there is none.
    pub(super) async fn attest(&self, gpu: u8, nonce: [u8; 32]) -> Result<GpuAttestation, String> {
        let gone = "the GPU thread is gone";
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask { gpu, nonce, reply }).map_err(|_| gone.to_owned())?;
        answer.await.map_err(|_| gone.to_owned())?.map_err(|fault| fault.to_string())
    }

    /// Remembers which GPUs of the session gave no signed report, and why.
    pub(super) fn set_unattested(&self, unattested: BTreeMap<u8, String>) {
        self.fold().unattested = unattested;
    }

    /// What was gathered since the last beat.
    pub(super) fn beat(&self) -> GpuPart {
        self.fold().beat()
    }

    /// The session's GPUs as of the last beat.
    pub(super) fn status(&self) -> Vec<GpuStatus> {
        self.fold().status()
    }

    /// What the library last said of itself; `None` before it said anything.
    pub(super) fn library(&self) -> Option<LibraryStatus> {
        self.fold().library.clone()
    }
}

/// The thread's panic would be a bug; what it gathered before is still true.
fn lock(fold: &Mutex<Fold>) -> MutexGuard<'_, Fold> {
    fold.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread: an inventory, then samples and whatever it is asked for, until nobody listens.
fn gather(
    mut client: Client,
    fold: &Mutex<Fold>,
    pace: Duration,
    (ready, asks): (&watch::Sender<bool>, &mpsc::Receiver<Ask>),
) {
    let mut next = Instant::now();
    while !ready.is_closed() {
        let without_gpus = lock(fold).present.is_empty();
        if without_gpus {
            let inventory = client.inventory();
            let mut fold = lock(fold);
            fold.present = inventory.identities();
            fold.library = Some(inventory.status);
            ready.send_replace(true);
        }
        let pause = if lock(fold).present.is_empty() { ASK_AGAIN } else { pace };
        if pause == pace {
            let outcome = client.sample();
            let mut fold = lock(fold);
            fold.push(outcome);
            fold.library = Some(client.status());
        }
        // A hang eats ticks; they are not made up for.
        next = (next + pause).max(Instant::now());
        answer_until(next, &mut client, asks);
    }
}

/// Asks GPUs for their reports until the next sample is due.
fn answer_until(next: Instant, client: &mut Client, asks: &mpsc::Receiver<Ask>) {
    loop {
        match asks.recv_timeout(next.saturating_duration_since(Instant::now())) {
            // Whoever asked may have given up.
            Ok(ask) if ask.reply.is_closed() => {}
            Ok(Ask { gpu, nonce, reply }) => drop(reply.send(client.attest(gpu, &nonce))),
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => {
                return thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_gpu::Readings;

    fn gpu(index: u8) -> GpuIdentity {
        GpuIdentity {
            index,
            uuid: format!("GPU-{index}"),
            name: "test".into(),
            memory_mib: 1000,
            pci_bus_id: String::new(),
            driver: String::new(),
            simulated: true,
            vbios: None,
            serial: None,
            pdi: None,
            power_limit_mw: None,
            board_part_number: None,
            inforom: None,
        }
    }

    fn sample(index: u8, energy_mj: u64) -> GpuSample {
        let readings = Readings { energy_mj: Some(energy_mj), ..Readings::default() };
        GpuSample { readings, ..GpuSample::empty(index, energy_mj) }
    }

    fn opened() -> Fold {
        let mut fold = Fold { present: vec![gpu(0), gpu(1)], ..Fold::default() };
        assert_eq!(fold.open().len(), 2);
        fold
    }

    #[test]
    fn a_beat_has_a_line_per_gpu_and_the_root_of_its_samples() {
        let mut fold = opened();
        let samples = vec![sample(0, 10), sample(1, 20)];
        fold.push(Ok(samples.clone()));
        let part = fold.beat();
        assert_eq!(part.lines.len(), 2);
        let leaves: Vec<_> = samples.iter().map(cbor::to_vec).collect();
        assert_eq!(part.samples, merkle_root(&leaves));
        assert_eq!(part.flags, 0);
        assert_eq!(fold.beat().samples, GpuPart::default().samples);
    }

    #[test]
    fn silence_and_a_hang_are_flagged_once() {
        let mut fold = opened();
        fold.push(Err(NvmlFault::Hung(Duration::from_secs(1))));
        assert_eq!(fold.beat().flags, flags::GPU_SILENT | flags::GPU_HUNG);
        fold.push(Ok(vec![sample(0, 1)]));
        assert_eq!(fold.beat().flags, 0);
    }

    #[test]
    fn a_machine_without_gpus_is_not_silent() {
        let mut fold = Fold::default();
        assert!(fold.open().is_empty());
        assert_eq!(fold.beat().flags, 0);
        assert!(fold.status().is_empty());
    }

    #[test]
    fn raw_samples_are_bounded() {
        let mut fold = opened();
        for n in 0..=MAX_LEAVES {
            fold.push_sample(&sample(0, n as u64));
        }
        assert_eq!(fold.leaves.len(), MAX_LEAVES);
    }
}
