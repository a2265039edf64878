//! The library's state: one scenario between initialization and shutdown.

use crate::fault::FaultKind;
use crate::model::{self, Curve, Reading};
use crate::replay::{Replay, ReplayError};
use crate::scenario::{Board, Gpu, Scenario};
use nix::time::{ClockId, clock_gettime};
use nvml_wrapper_sys::bindings as nvml;
use nvml_wrapper_sys::bindings::nvmlReturn_t;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Names the scenario file.
const SCENARIO_ENV: &str = "ASSAY_NVML_SCENARIO";

/// An NVML status other than success.
pub(crate) type Code = nvmlReturn_t;

/// Why a scenario can't be played.
#[derive(Debug, Error)]
pub(crate) enum ScenarioError {
    #[error("reading {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("parsing {path}")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("the load curve needs two points or more in order of time, from 0, of at most 1000 per mille")]
    Curve,
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// A scenario being played.
#[derive(Debug)]
pub(crate) struct Simulation {
    pub(crate) scenario: Scenario,
    curves: Vec<Curve>,
    /// What each GPU gives for evidence of itself.
    replays: Vec<Option<Replay>>,
    started_ms: u64,
}

/// One GPU at one moment, past its faults.
#[derive(Debug)]
pub(crate) struct Moment {
    simulation: Arc<Simulation>,
    pub(crate) index: usize,
    pub(crate) gpu: Gpu,
    pub(crate) reading: Reading,
}

/// How often the library was initialized, and what it plays.
struct State {
    users: u32,
    simulation: Option<Arc<Simulation>>,
}

static STATE: Mutex<State> = Mutex::new(State { users: 0, simulation: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds of the machine's monotonic clock.
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// `nvmlInit`: reads the scenario the first time, and counts the users.
pub(crate) fn init() -> Result<(), Code> {
    let mut state = state();
    if state.simulation.is_none() {
        let path =
            std::env::var_os(SCENARIO_ENV).ok_or(nvml::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED)?;
        let simulation = Simulation::load(Path::new(&path)).map_err(|error| {
            report(&error);
            nvml::nvmlReturn_enum_NVML_ERROR_UNKNOWN
        })?;
        simulation.refuse_init()?;
        state.simulation = Some(Arc::new(simulation));
    }
    state.users += 1;
    Ok(())
}

/// A library has only its caller's standard error to say why a scenario can't be played.
fn report(error: &dyn std::error::Error) {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    eprintln!("simulated NVML: {error}{cause}");
}

/// `nvmlShutdown`: the last user ends the simulation.
pub(crate) fn shutdown() -> Result<(), Code> {
    let mut state = state();
    state.users = state.users.checked_sub(1).ok_or(nvml::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED)?;
    if state.users == 0 {
        state.simulation = None;
    }
    Ok(())
}

/// The scenario being played.
pub(crate) fn current() -> Result<Arc<Simulation>, Code> {
    state().simulation.clone().ok_or(nvml::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED)
}

impl Simulation {
    fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
        let scenario = toml::from_str(&text)
            .map_err(|source| ScenarioError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let mut simulation = Self::play(scenario).ok_or(ScenarioError::Curve)?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let replays = simulation.scenario.gpu.iter().map(|gpu| Replay::load(folder, gpu));
        simulation.replays = replays.collect::<Result<_, _>>()?;
        Ok(simulation)
    }

    fn play(scenario: Scenario) -> Option<Self> {
        let curves = (0..)
            .zip(&scenario.gpu)
            .map(|(index, _)| Curve::new(&scenario.load, index))
            .collect::<Option<_>>()?;
        Some(Self { scenario, curves, replays: Vec::new(), started_ms: now_ms() })
    }

    fn refuse_init(&self) -> Result<(), Code> {
        if self.faulty(FaultKind::DriverNotLoaded, None) {
            return Err(nvml::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED);
        }
        if self.faulty(FaultKind::VersionMismatch, None) {
            return Err(nvml::nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH);
        }
        Ok(())
    }

    /// Whether a fault of this kind is on, for a GPU or for the whole machine.
    pub(crate) fn faulty(&self, kind: FaultKind, gpu: Option<usize>) -> bool {
        let elapsed = now_ms().saturating_sub(self.started_ms);
        self.scenario.fault.iter().any(|fault| fault.strikes(kind, gpu, elapsed))
    }

    /// Lets the faults of a GPU happen that strike any call.
    pub(crate) fn suffer(&self, index: usize) -> Result<(), Code> {
        self.suffer_opening(index)?;
        Self::answer_if_there(self.faulty(FaultKind::Lost, Some(index)))
    }

    /// As [`Self::suffer`] for the call that opens a GPU: one that was lost since initialization still
    /// has its handle.
    pub(crate) fn suffer_opening(&self, index: usize) -> Result<(), Code> {
        if self.faulty(FaultKind::Crash, Some(index)) {
            std::process::abort();
        }
        while self.faulty(FaultKind::Hang, Some(index)) {
            std::thread::sleep(Duration::from_secs(1));
        }
        let faults = &self.scenario.fault;
        Self::answer_if_there(faults.iter().any(|fault| fault.strikes(FaultKind::Lost, Some(index), 0)))
    }

    fn answer_if_there(lost: bool) -> Result<(), Code> {
        if lost { Err(nvml::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST) } else { Ok(()) }
    }

    /// The GPU as a call sees it now.
    pub(crate) fn moment(self: Arc<Self>, index: usize) -> Result<Moment, Code> {
        let gpu = self.scenario.gpu.get(index).cloned();
        let curve = self.curves.get(index);
        let (gpu, curve) = gpu.zip(curve).ok_or(nvml::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT)?;
        self.suffer(index)?;
        let mut reading = model::read(&self.scenario.board, curve, gpu.energy_at_boot_mj, now_ms());
        if self.faulty(FaultKind::AbsurdGauges, Some(index)) {
            reading.utilization_percent = 4_000;
            reading.memory_used_mib = self.scenario.board.memory_mib * 1000;
        }
        Ok(Moment { gpu, index, reading, simulation: self })
    }
}

impl Moment {
    /// What the machine's GPUs have in common.
    pub(crate) fn board(&self) -> &Board {
        &self.simulation.scenario.board
    }

    /// What the scenario has it give for evidence of itself.
    pub(crate) fn replay(&self) -> Option<&Replay> {
        self.simulation.replays.get(self.index)?.as_ref()
    }

    /// Whether a fault of this kind is on for this GPU.
    pub(crate) fn faulty(&self, kind: FaultKind) -> bool {
        self.simulation.faulty(kind, Some(self.index))
    }
}

/// Starts playing a scenario without a file, for tests of the interface.
#[cfg(test)]
pub(crate) fn install(text: &str) {
    let simulation = Simulation::play(toml::from_str(text).unwrap()).unwrap();
    *state() = State { users: 1, simulation: Some(Arc::new(simulation)) };
}
