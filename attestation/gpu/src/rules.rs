//! Rules that two consecutive lines of one GPU obey if the counters are a machine's.
//!
//! They catch doctored or careless libraries, not a careful simulation: passing them proves nothing.

use crate::{Energy, GpuBeat};
use serde::Serialize;
use thiserror::Error;

/// A sample may be this much older than its beat, in milliseconds, at either end of an interval.
const SAMPLING_SLACK_MS: u64 = 1_000;
/// Intervals shorter than this say nothing about means.
const MIN_INTERVAL_MS: u64 = 1_000;
/// Share of the power limit, per mille, that a GPU at full utilization always exceeds.
const LOAD_POWER_PER_MILLE: u64 = 50;
/// Utilization, per mille, that counts as full.
const FULL_UTILIZATION: u16 = 900;
/// Faster than any PCIe link of sixteen lanes, in MiB per millisecond.
const MAX_PCIE_MIB_PER_MS: u64 = 256;

/// What the session's GPU table says a device can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Enforced power limit, in milliwatts.
    pub power_mw: Option<u32>,
}

/// A rule that two consecutive lines break.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum TelemetryFault {
    /// The lines speak of different GPUs.
    #[error("lines of GPU {before} and GPU {after} compared")]
    OtherGpu {
        /// Index in the first line.
        before: u8,
        /// Index in the second line.
        after: u8,
    },
    /// The energy counter went back without a reset.
    #[error("energy counter went back from {before_mj} to {after_mj} mJ without a reset")]
    EnergyBackwards {
        /// First end counter.
        before_mj: u64,
        /// Second end counter.
        after_mj: u64,
    },
    /// End counter and delta do not continue the line before.
    #[error("energy counter ends at {seen_mj} mJ where {expected_mj} mJ follow from the beat before")]
    EnergyChain {
        /// What the line before and the delta lead to.
        expected_mj: u64,
        /// What the line says.
        seen_mj: u64,
    },
    /// More energy than the power limit allows in the time.
    #[error("{delta_mj} mJ used where the power limit allows {allowed_mj} mJ")]
    EnergyAboveLimit {
        /// Energy of the interval.
        delta_mj: u64,
        /// Limit times duration, with a tenth of tolerance.
        allowed_mj: u64,
    },
    /// Utilization or power without any energy.
    #[error("no energy used in an interval with utilization or power")]
    EnergyStopped,
    /// Energy and mean power disagree by more than a factor of two.
    #[error("{delta_mj} mJ used where the mean power gives {expected_mj} mJ")]
    EnergyAgainstPower {
        /// Energy of the interval.
        delta_mj: u64,
        /// Mean power times duration.
        expected_mj: u64,
    },
    /// Full utilization at a power no loaded GPU stays under.
    #[error("utilization {utilization_per_mille} per mille at {power_w} W")]
    LoadWithoutPower {
        /// Mean utilization.
        utilization_per_mille: u16,
        /// Mean power.
        power_w: u16,
    },
    /// The device had an energy counter and has none now, though it answers.
    #[error("the energy counter is gone")]
    EnergyVanished,
    /// PCIe traffic of the session shrank.
    #[error("PCIe traffic of the session went back")]
    PcieBackwards,
    /// More PCIe traffic than any link carries.
    #[error("{mib} MiB over PCIe in {dt_ms} ms")]
    PcieTooFast {
        /// Traffic of the interval, both directions.
        mib: u64,
        /// Length of the interval.
        dt_ms: u64,
    },
    /// A line without data has values.
    #[error("a line that says it has no data has values")]
    ValuesWithoutData,
}

impl TelemetryFault {
    /// Stable identifier of the rule, for findings.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::OtherGpu { .. } => "gpu.telemetry.other-gpu",
            Self::EnergyBackwards { .. } => "gpu.telemetry.energy-backwards",
            Self::EnergyChain { .. } => "gpu.telemetry.energy-chain",
            Self::EnergyAboveLimit { .. } => "gpu.telemetry.energy-above-limit",
            Self::EnergyStopped => "gpu.telemetry.energy-stopped",
            Self::EnergyAgainstPower { .. } => "gpu.telemetry.energy-against-power",
            Self::LoadWithoutPower { .. } => "gpu.telemetry.load-without-power",
            Self::EnergyVanished => "gpu.telemetry.energy-vanished",
            Self::PcieBackwards => "gpu.telemetry.pcie-backwards",
            Self::PcieTooFast { .. } => "gpu.telemetry.pcie-too-fast",
            Self::ValuesWithoutData => "gpu.telemetry.values-without-data",
        }
    }
}

/// The rules that `next` breaks after `prev`, `dt_ms` of monotonic time apart.
///
/// `prev` is the line of the beat directly before; lines across a missing beat can't be compared.
#[must_use]
pub fn check(prev: &GpuBeat, next: &GpuBeat, dt_ms: u64, limits: Limits) -> Vec<TelemetryFault> {
    if prev.index != next.index {
        return vec![TelemetryFault::OtherGpu { before: prev.index, after: next.index }];
    }
    let rules = [
        energy_chain(prev, next),
        energy_vanished(prev, next),
        energy_above_limit(next, dt_ms, limits),
        energy_stopped(prev, next, dt_ms),
        energy_against_power(next, dt_ms),
        load_without_power(next, dt_ms, limits),
        pcie(prev, next, dt_ms),
        values_without_data(next),
    ];
    rules.into_iter().flatten().collect()
}

fn energy_chain(prev: &GpuBeat, next: &GpuBeat) -> Option<TelemetryFault> {
    let (before, after) = (prev.energy?, next.energy?);
    if next.flags.counter_reset {
        return energy_after_reset(after);
    }
    if after.end_mj < before.end_mj {
        return Some(TelemetryFault::EnergyBackwards { before_mj: before.end_mj, after_mj: after.end_mj });
    }
    let expected_mj = before.end_mj.saturating_add(after.delta_mj);
    (expected_mj != after.end_mj)
        .then_some(TelemetryFault::EnergyChain { expected_mj, seen_mj: after.end_mj })
}

/// All that a counter holds after a reset was used in the interval of the reset.
fn energy_after_reset(after: Energy) -> Option<TelemetryFault> {
    let Energy { end_mj, delta_mj } = after;
    (delta_mj < end_mj).then_some(TelemetryFault::EnergyChain { expected_mj: delta_mj, seen_mj: end_mj })
}

fn energy_vanished(prev: &GpuBeat, next: &GpuBeat) -> Option<TelemetryFault> {
    let answers = !next.flags.no_data && !next.flags.lost;
    (answers && prev.energy.is_some() && next.energy.is_none()).then_some(TelemetryFault::EnergyVanished)
}

fn energy_above_limit(next: &GpuBeat, dt_ms: u64, limits: Limits) -> Option<TelemetryFault> {
    let limit_mw = u64::from(limits.power_mw?);
    let delta_mj = next.energy?.delta_mj;
    let time_ms = dt_ms.saturating_add(SAMPLING_SLACK_MS);
    let allowed_mj = energy_mj(limit_mw, time_ms).saturating_mul(11) / 10;
    (delta_mj > allowed_mj).then_some(TelemetryFault::EnergyAboveLimit { delta_mj, allowed_mj })
}

/// The first line with a counter only says where it stands, so it has no energy of its own.
fn energy_stopped(prev: &GpuBeat, next: &GpuBeat, dt_ms: u64) -> Option<TelemetryFault> {
    prev.energy?;
    let used = next.utilization_per_mille > Some(0) || next.power_w > Some(0);
    let stopped = next.energy?.delta_mj == 0 && used && dt_ms >= MIN_INTERVAL_MS;
    stopped.then_some(TelemetryFault::EnergyStopped)
}

/// A factor of two: on some boards the two sensors differ by 40 % at idle.
fn energy_against_power(next: &GpuBeat, dt_ms: u64) -> Option<TelemetryFault> {
    let delta_mj = next.energy?.delta_mj;
    let power_mw = u64::from(next.power_w?) * 1000;
    let expected_mj = energy_mj(power_mw, dt_ms);
    let slack_mj = energy_mj(power_mw, SAMPLING_SLACK_MS);
    let low = (expected_mj / 2).saturating_sub(slack_mj);
    let high = expected_mj.saturating_mul(2).saturating_add(slack_mj);
    let agrees = delta_mj == 0 || (low..=high).contains(&delta_mj);
    (!agrees && dt_ms >= MIN_INTERVAL_MS)
        .then_some(TelemetryFault::EnergyAgainstPower { delta_mj, expected_mj })
}

fn load_without_power(next: &GpuBeat, dt_ms: u64, limits: Limits) -> Option<TelemetryFault> {
    let (utilization_per_mille, power_w) = (next.utilization_per_mille?, next.power_w?);
    let least_mw = u64::from(limits.power_mw?) * LOAD_POWER_PER_MILLE / 1000;
    let idle = u64::from(power_w) * 1000 < least_mw;
    let full = utilization_per_mille >= FULL_UTILIZATION && dt_ms >= MIN_INTERVAL_MS;
    (full && idle).then_some(TelemetryFault::LoadWithoutPower { utilization_per_mille, power_w })
}

fn pcie(prev: &GpuBeat, next: &GpuBeat, dt_ms: u64) -> Option<TelemetryFault> {
    let (before, after) = (prev.pcie?, next.pcie?);
    let rx = after.rx_mib.checked_sub(before.rx_mib);
    let tx = after.tx_mib.checked_sub(before.tx_mib);
    let Some((rx, tx)) = rx.zip(tx) else { return Some(TelemetryFault::PcieBackwards) };
    let mib = rx.saturating_add(tx);
    let allowed = dt_ms.saturating_add(SAMPLING_SLACK_MS).saturating_mul(MAX_PCIE_MIB_PER_MS);
    (mib > allowed).then_some(TelemetryFault::PcieTooFast { mib, dt_ms })
}

fn values_without_data(next: &GpuBeat) -> Option<TelemetryFault> {
    let bare = GpuBeat::empty(next.index, next.flags);
    (next.flags.no_data && *next != bare).then_some(TelemetryFault::ValuesWithoutData)
}

/// Milliwatts times milliseconds, in millijoules.
fn energy_mj(power_mw: u64, time_ms: u64) -> u64 {
    power_mw.saturating_mul(time_ms) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flags, Pcie};

    const LIMIT: Limits = Limits { power_mw: Some(700_000) };
    const DT_MS: u64 = 10_000;

    fn before() -> GpuBeat {
        GpuBeat {
            index: 0,
            flags: Flags::default(),
            energy: Some(Energy { end_mj: 1_000_000_000, delta_mj: 6_000_000 }),
            utilization_per_mille: Some(980),
            memory_per_mille: Some(500),
            power_w: Some(600),
            temperature_c: Some(64),
            pcie: Some(Pcie { rx_mib: 1_000, tx_mib: 2_000 }),
        }
    }

    fn after(delta_mj: u64) -> GpuBeat {
        GpuBeat { energy: Some(Energy { end_mj: 1_000_000_000 + delta_mj, delta_mj }), ..before() }
    }

    /// The one rule that `next` breaks.
    fn only(next: &GpuBeat) -> TelemetryFault {
        let faults = check(&before(), next, DT_MS, LIMIT);
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].clone()
    }

    #[test]
    fn an_honest_interval_passes() {
        assert_eq!(check(&before(), &after(6_010_000), DT_MS, LIMIT), []);
        let idle = GpuBeat { utilization_per_mille: Some(0), power_w: Some(70), ..after(700_000) };
        assert_eq!(check(&before(), &idle, DT_MS, LIMIT), []);
        let lost = GpuBeat::empty(0, Flags { lost: true, no_data: true, ..Flags::default() });
        assert_eq!(check(&before(), &lost, DT_MS, LIMIT), []);
    }

    #[test]
    fn the_end_counter_continues_the_beat_before() {
        let gap = GpuBeat { energy: Some(Energy { end_mj: 1_006_000_001, delta_mj: 6_000_000 }), ..before() };
        assert_eq!(
            only(&gap),
            TelemetryFault::EnergyChain { expected_mj: 1_006_000_000, seen_mj: 1_006_000_001 }
        );
        let back = GpuBeat { energy: Some(Energy { end_mj: 999_999_999, delta_mj: 6_000_000 }), ..before() };
        assert_eq!(only(&back).id(), "gpu.telemetry.energy-backwards");
    }

    #[test]
    fn a_marked_reset_is_no_fault_if_its_delta_covers_the_counter() {
        let flags = Flags { counter_reset: true, ..Flags::default() };
        let reset =
            |end_mj| GpuBeat { flags, energy: Some(Energy { end_mj, delta_mj: 6_000_000 }), ..before() };
        assert_eq!(check(&before(), &reset(5_000_000), DT_MS, LIMIT), []);
        assert_eq!(only(&reset(6_000_001)).id(), "gpu.telemetry.energy-chain");
    }

    #[test]
    fn energy_stays_under_the_limit() {
        // 700 W for 10 s and a second of slack, with a tenth of tolerance: 8.47 MJ.
        let faults = |delta| check(&before(), &GpuBeat { power_w: None, ..after(delta) }, DT_MS, LIMIT);
        assert_eq!(faults(8_470_000), []);
        assert_eq!(faults(8_470_001)[0].id(), "gpu.telemetry.energy-above-limit");
        let unlimited = Limits { power_mw: None };
        assert_eq!(check(&before(), &GpuBeat { power_w: None, ..after(8_470_001) }, DT_MS, unlimited), []);
    }

    #[test]
    fn work_uses_energy() {
        assert_eq!(only(&after(0)), TelemetryFault::EnergyStopped);
        let only_power = GpuBeat { utilization_per_mille: Some(0), ..after(0) };
        assert_eq!(only(&only_power), TelemetryFault::EnergyStopped);
        let only_utilization = GpuBeat { power_w: None, ..after(0) };
        assert_eq!(only(&only_utilization), TelemetryFault::EnergyStopped);
        assert_eq!(check(&before(), &after(0), 999, LIMIT), [], "too short to tell");
        let first = GpuBeat::empty(before().index, Flags::default());
        assert_eq!(check(&first, &after(0), DT_MS, LIMIT), [], "the first line with a counter");
    }

    #[test]
    fn energy_is_about_power_times_time() {
        assert_eq!(only(&after(2_399_999)).id(), "gpu.telemetry.energy-against-power");
        assert_eq!(check(&before(), &after(2_400_000), DT_MS, LIMIT), []);
        let low = GpuBeat { power_w: Some(100), ..after(2_100_001) };
        assert_eq!(only(&low).id(), "gpu.telemetry.energy-against-power");
        let fits = GpuBeat { power_w: Some(100), ..after(2_100_000) };
        assert_eq!(check(&before(), &fits, DT_MS, LIMIT), []);
    }

    #[test]
    fn full_load_draws_power() {
        let spinning = GpuBeat { power_w: Some(34), ..after(340_000) };
        assert_eq!(
            only(&spinning),
            TelemetryFault::LoadWithoutPower { utilization_per_mille: 980, power_w: 34 }
        );
        let light = GpuBeat { utilization_per_mille: Some(899), ..spinning };
        assert_eq!(check(&before(), &light, DT_MS, LIMIT), []);
    }

    #[test]
    fn a_counter_does_not_vanish_while_the_device_answers() {
        let mute = GpuBeat { energy: None, ..before() };
        assert_eq!(only(&mute), TelemetryFault::EnergyVanished);
    }

    #[test]
    fn pcie_traffic_grows_no_faster_than_a_link() {
        let moved = |rx_mib, tx_mib| GpuBeat { pcie: Some(Pcie { rx_mib, tx_mib }), ..after(6_000_000) };
        assert_eq!(only(&moved(999, 2_000)), TelemetryFault::PcieBackwards);
        assert_eq!(only(&moved(1_000, 1_999)), TelemetryFault::PcieBackwards);
        assert_eq!(check(&before(), &moved(1_000, 2_000 + 2_816_000), DT_MS, LIMIT), []);
        assert_eq!(only(&moved(1_001, 2_000 + 2_816_000)).id(), "gpu.telemetry.pcie-too-fast");
    }

    #[test]
    fn a_line_without_data_has_no_values() {
        let flags = Flags { no_data: true, ..Flags::default() };
        assert_eq!(only(&GpuBeat { flags, ..after(6_000_000) }), TelemetryFault::ValuesWithoutData);
    }

    #[test]
    fn lines_of_two_gpus_are_not_compared() {
        let other = GpuBeat { index: 1, ..after(0) };
        assert_eq!(only(&other), TelemetryFault::OtherGpu { before: 0, after: 1 });
    }
}
