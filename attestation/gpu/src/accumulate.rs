//! From raw samples to one line per beat.

use crate::{Energy, Flags, GpuBeat, GpuSample, Pcie, Readings};

/// Above this a power reading is no GPU's, in milliwatts.
const MAX_POWER_MW: u32 = 10_000_000;
/// Above this a temperature is no working GPU's, in degrees Celsius.
const MAX_TEMPERATURE_C: u32 = 150;
const MIB_SHIFT: u32 = 20;

/// One GPU's samples of one session, folded into one [`GpuBeat`] per beat.
///
/// Counters carry over from beat to beat, so that the end of one interval is the start of the next and
/// nothing between two beats is lost.
#[derive(Clone, Debug)]
pub struct Accumulator {
    index: u8,
    memory_mib: u32,
    energy_mj: Option<u64>,
    rx: Wrapping,
    tx: Wrapping,
    interval: Interval,
}

/// What one interval has seen so far.
#[derive(Clone, Debug, Default)]
struct Interval {
    flags: Flags,
    any: bool,
    energy_seen: bool,
    energy_delta_mj: u64,
    utilization: Mean,
    memory_per_mille: Option<u16>,
    power: Mean,
    temperature_c: Option<u8>,
    pcie_seen: bool,
}

/// A byte counter of unknown width, added up over a session.
#[derive(Clone, Debug, Default)]
struct Wrapping {
    last: Option<u64>,
    total: u64,
}

impl Wrapping {
    /// After a wrap the new value alone is counted: a lower bound of the traffic.
    fn push(&mut self, value: u64) {
        let delta = match self.last {
            Some(last) => value.checked_sub(last).unwrap_or(value),
            None => 0,
        };
        self.total = self.total.saturating_add(delta);
        self.last = Some(value);
    }
}

#[derive(Clone, Debug, Default)]
struct Mean {
    sum: u64,
    count: u64,
}

impl Mean {
    fn push(&mut self, value: u64) {
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }

    /// The mean, rounded to the nearest `1 / scale`.
    fn get(&self, scale: u64) -> Option<u16> {
        let mean = (self.sum + self.count * scale / 2).checked_div(self.count * scale)?;
        u16::try_from(mean).ok()
    }
}

impl Accumulator {
    /// Starts with the session, for the GPU at `index` of its table with `memory_mib` of memory.
    #[must_use]
    pub fn new(index: u8, memory_mib: u32) -> Self {
        let (rx, tx) = (Wrapping::default(), Wrapping::default());
        Self { index, memory_mib, energy_mj: None, rx, tx, interval: Interval::default() }
    }

    /// Takes one sample; samples come in the order of their time, those of other GPUs are ignored.
    pub fn push(&mut self, sample: &GpuSample) {
        if sample.index != self.index {
            return;
        }
        self.interval.flags.lost |= sample.lost;
        self.interval.any |= !sample.readings.is_empty();
        self.push_energy(&sample.readings);
        self.push_pcie(&sample.readings);
        self.push_gauges(&sample.readings);
    }

    fn push_energy(&mut self, readings: &Readings) {
        let Some(now) = readings.energy_mj else { return };
        let delta = match self.energy_mj {
            // A counter that went back began again at zero, so all it holds is new.
            Some(before) => now.checked_sub(before).unwrap_or_else(|| {
                self.interval.flags.counter_reset = true;
                now
            }),
            None => 0,
        };
        self.interval.energy_seen = true;
        self.interval.energy_delta_mj = self.interval.energy_delta_mj.saturating_add(delta);
        self.energy_mj = Some(now);
    }

    fn push_pcie(&mut self, readings: &Readings) {
        let (Some(rx), Some(tx)) = (readings.pcie_rx_bytes, readings.pcie_tx_bytes) else { return };
        self.rx.push(rx);
        self.tx.push(tx);
        self.interval.pcie_seen = true;
    }

    fn push_gauges(&mut self, readings: &Readings) {
        let memory = u64::from(self.memory_mib);
        let interval = &mut self.interval;
        if let Some(percent) = interval.bounded(readings.utilization_percent, 100) {
            interval.utilization.push(u64::from(percent) * 10);
        }
        if let Some(milliwatts) = interval.bounded(readings.power_mw, MAX_POWER_MW) {
            interval.power.push(u64::from(milliwatts));
        }
        if let Some(celsius) = interval.bounded(readings.temperature_c, MAX_TEMPERATURE_C) {
            interval.temperature_c = u8::try_from(celsius).ok();
        }
        if let Some(used) = interval.bounded(readings.memory_used_mib, memory) {
            let share = (used * 1000).checked_div(memory).and_then(|v| u16::try_from(v).ok());
            interval.memory_per_mille = interval.memory_per_mille.max(share);
        }
    }

    /// Closes the interval: its line, and the next interval begins.
    pub fn beat(&mut self) -> GpuBeat {
        let interval = core::mem::take(&mut self.interval);
        let energy = interval.energy_seen.then_some(interval.energy_delta_mj).zip(self.energy_mj);
        GpuBeat {
            index: self.index,
            flags: Flags { no_data: !interval.any, ..interval.flags },
            energy: energy.map(|(delta_mj, end_mj)| Energy { end_mj, delta_mj }),
            utilization_per_mille: interval.utilization.get(1),
            memory_per_mille: interval.memory_per_mille,
            power_w: interval.power.get(1000),
            temperature_c: interval.temperature_c,
            pcie: interval
                .pcie_seen
                .then_some(Pcie { rx_mib: self.rx.total >> MIB_SHIFT, tx_mib: self.tx.total >> MIB_SHIFT }),
        }
    }
}

impl Interval {
    /// The value if it is possible; an impossible one is marked and dropped.
    fn bounded<T: PartialOrd>(&mut self, value: Option<T>, max: T) -> Option<T> {
        let value = value?;
        if value <= max {
            return Some(value);
        }
        self.flags.implausible = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(values: &[u64]) -> Accumulator {
        let mut gpu = Accumulator::new(0, 1000);
        for (t, value) in (0u64..).zip(values) {
            gpu.push(&sample(t, Readings { energy_mj: Some(*value), ..Readings::default() }));
        }
        gpu
    }

    fn sample(t_ms: u64, readings: Readings) -> GpuSample {
        GpuSample { readings, ..GpuSample::empty(0, t_ms) }
    }

    fn gauges(percent: u32, memory: u64, power: u32, celsius: u32) -> Readings {
        Readings {
            utilization_percent: Some(percent),
            memory_used_mib: Some(memory),
            power_mw: Some(power),
            temperature_c: Some(celsius),
            ..Readings::default()
        }
    }

    #[test]
    fn energy_carries_over_between_beats() {
        let mut gpu = energy(&[1000, 1500]);
        assert_eq!(gpu.beat().energy, Some(Energy { end_mj: 1500, delta_mj: 500 }));
        gpu.push(&sample(9, Readings { energy_mj: Some(1700), ..Readings::default() }));
        let next = gpu.beat();
        assert_eq!(next.energy, Some(Energy { end_mj: 1700, delta_mj: 200 }));
        assert!(!next.flags.counter_reset);
    }

    #[test]
    fn a_reset_is_marked_and_what_came_after_it_counts() {
        let beat = energy(&[1000, 1500, 40, 60]).beat();
        assert_eq!(beat.energy, Some(Energy { end_mj: 60, delta_mj: 560 }));
        assert!(beat.flags.counter_reset);
    }

    #[test]
    fn energy_is_absent_in_an_interval_without_a_reading() {
        let mut gpu = energy(&[1000]);
        gpu.beat();
        gpu.push(&sample(5, gauges(1, 1, 1, 1)));
        assert_eq!(gpu.beat().energy, None);
    }

    #[test]
    fn gauges_are_means_memory_is_the_peak_and_temperature_the_last() {
        let mut gpu = Accumulator::new(0, 2000);
        gpu.push(&sample(0, gauges(100, 1500, 700_400, 70)));
        gpu.push(&sample(1, gauges(99, 10, 300_000, 65)));
        let beat = gpu.beat();
        assert_eq!(beat.utilization_per_mille, Some(995));
        assert_eq!(beat.memory_per_mille, Some(750));
        assert_eq!(beat.power_w, Some(500));
        assert_eq!(beat.temperature_c, Some(65));
        assert_eq!(beat.flags, Flags::default());
    }

    #[test]
    fn impossible_values_are_dropped_and_marked() {
        for readings in
            [gauges(101, 0, 0, 0), gauges(0, 2001, 0, 0), gauges(0, 0, u32::MAX, 0), gauges(0, 0, 0, 200)]
        {
            let mut gpu = Accumulator::new(0, 2000);
            gpu.push(&sample(0, readings));
            assert!(gpu.beat().flags.implausible);
        }
    }

    #[test]
    fn pcie_counters_add_up_over_a_wrap() {
        let mut gpu = Accumulator::new(0, 1);
        let mib = 1 << 20;
        for bytes in [100 * mib, 103 * mib, 2 * mib, 3 * mib] {
            let readings = Readings {
                pcie_rx_bytes: Some(bytes),
                pcie_tx_bytes: Some(bytes * 2),
                ..Readings::default()
            };
            gpu.push(&sample(0, readings));
        }
        assert_eq!(gpu.beat().pcie, Some(Pcie { rx_mib: 6, tx_mib: 12 }));
    }

    #[test]
    fn silence_and_loss_are_told_apart() {
        let mut gpu = Accumulator::new(0, 1);
        assert_eq!(gpu.beat().flags, Flags { no_data: true, ..Flags::default() });
        gpu.push(&GpuSample::lost(0, 1));
        assert_eq!(gpu.beat().flags, Flags { lost: true, no_data: true, ..Flags::default() });
    }

    #[test]
    fn samples_of_another_gpu_are_ignored() {
        let mut gpu = Accumulator::new(0, 1);
        gpu.push(&GpuSample::lost(1, 1));
        assert!(!gpu.beat().flags.lost);
    }
}
