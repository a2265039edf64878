//! The physics: everything follows from one load curve, so that counters and gauges agree.
//!
//! Power is linear in utilization, energy is power's exact integral, temperature follows utilization of
//! the last twenty seconds, and traffic is proportional to work done. Integers only: the same moment
//! always gives the same value.

use crate::scenario::{Board, Load};

/// Window of power and utilization readings.
const GAUGE_WINDOW_MS: u64 = 1_000;
/// How long heat and memory of past work stay.
const MEMORY_WINDOW_MS: u64 = 5_000;
const HEAT_WINDOW_MS: u64 = 20_000;

/// Utilization over time as a repeated line of points.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    points: Vec<[u64; 2]>,
    shift_ms: u64,
}

impl Curve {
    /// The curve of GPU number `index`; needs two points in order of time.
    pub(crate) fn new(load: &Load, index: u64) -> Option<Self> {
        let ordered = load.curve.windows(2).all(|pair| matches!(pair, [[a, _], [b, _]] if a < b));
        let bounded = load.curve.iter().all(|[_, per_mille]| *per_mille <= 1000);
        let starts = load.curve.first().is_some_and(|[t, _]| *t == 0) && load.curve.len() >= 2;
        (ordered && bounded && starts)
            .then(|| Self { points: load.curve.clone(), shift_ms: index * load.shift_ms })
    }

    /// Work since time 0, in per mille times milliseconds.
    pub(crate) fn work(&self, t_ms: u64) -> u128 {
        let work = |t: u64| -> u128 {
            let Some(period) = self.points.last().map(|[end, _]| *end).filter(|end| *end > 0) else {
                return 0;
            };
            let cycles = u128::from(t / period);
            cycles * self.within(period) + self.within(t % period)
        };
        work(t_ms + self.shift_ms) - work(self.shift_ms)
    }

    /// Work from the start of a cycle to `t_ms` in it.
    fn within(&self, t_ms: u64) -> u128 {
        self.points.windows(2).map(|pair| if let [a, b] = pair { segment(*a, *b, t_ms) } else { 0 }).sum()
    }

    /// Mean utilization per mille over the `window_ms` before `t_ms`.
    pub(crate) fn mean(&self, t_ms: u64, window_ms: u64) -> u64 {
        let start = t_ms.saturating_sub(window_ms);
        let work = self.work(t_ms).saturating_sub(self.work(start));
        let mean = work.checked_div(u128::from(t_ms - start)).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX)
    }
}

/// Area under the line from `a` to `b`, up to time `t`.
fn segment([t0, u0]: [u64; 2], [t1, u1]: [u64; 2], t: u64) -> u128 {
    let dt = i128::from(t.clamp(t0, t1) - t0);
    let length = i128::from(t1 - t0).max(1);
    let rise = i128::from(u1) - i128::from(u0);
    u128::try_from(i128::from(u0) * dt + rise * dt * dt / (2 * length)).unwrap_or(0)
}

/// All readings of one GPU at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) energy_mj: u64,
    pub(crate) power_mw: u64,
    pub(crate) utilization_percent: u64,
    pub(crate) celsius: u64,
    pub(crate) memory_used_mib: u64,
    pub(crate) busy: bool,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
}

/// The reading of a GPU that has followed `curve` since boot.
pub(crate) fn read(board: &Board, curve: &Curve, energy_at_boot_mj: u64, t_ms: u64) -> Reading {
    let utilization = curve.mean(t_ms, GAUGE_WINDOW_MS);
    let busy = curve.mean(t_ms, MEMORY_WINDOW_MS) > 0;
    let traffic = |bytes_per_ms: u64| narrow(curve.work(t_ms) * u128::from(bytes_per_ms) / 1000);
    Reading {
        energy_mj: energy_at_boot_mj + energy_mj(board, curve, t_ms),
        power_mw: between(board.idle_power_mw, board.busy_power_mw, utilization),
        utilization_percent: utilization / 10,
        celsius: between(board.idle_celsius, board.busy_celsius, curve.mean(t_ms, HEAT_WINDOW_MS)),
        memory_used_mib: if busy { board.memory_busy_mib } else { 0 },
        busy,
        rx_bytes: traffic(board.busy_rx_bytes_per_ms),
        tx_bytes: traffic(board.busy_tx_bytes_per_ms),
    }
}

/// Milliwatts times milliseconds are microjoules; a thousand of them a millijoule.
fn energy_mj(board: &Board, curve: &Curve, t_ms: u64) -> u64 {
    let idle = u128::from(board.idle_power_mw) * u128::from(t_ms);
    let range = u128::from(board.busy_power_mw.saturating_sub(board.idle_power_mw));
    narrow((idle + range * curve.work(t_ms) / 1000) / 1000)
}

fn between(low: u64, high: u64, per_mille: u64) -> u64 {
    low + high.saturating_sub(low) * per_mille / 1000
}

fn narrow(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn h100() -> Board {
        toml::from_str::<Scenario>(include_str!("../scenarios/h100x8.toml")).unwrap().board
    }

    fn curve(points: &[[u64; 2]], shift_ms: u64, index: u64) -> Option<Curve> {
        Curve::new(&Load { curve: points.to_vec(), shift_ms }, index)
    }

    fn saw() -> Curve {
        curve(&[[0, 0], [1000, 1000], [2000, 0]], 0, 0).unwrap()
    }

    #[test]
    fn work_is_the_area_under_the_curve() {
        assert_eq!(saw().work(500), 125_000);
        assert_eq!(saw().work(1000), 500_000);
        assert_eq!(saw().work(2000), 1_000_000);
        assert_eq!(saw().work(20_500), 10_125_000);
        assert_eq!(saw().mean(2000, 2000), 500);
    }

    #[test]
    fn a_shift_moves_the_curve_but_starts_at_zero() {
        let shifted = curve(&[[0, 0], [1000, 1000], [2000, 0]], 500, 2).unwrap();
        assert_eq!(shifted.work(0), 0);
        assert_eq!(shifted.work(1000), 500_000);
    }

    #[test]
    fn counters_never_go_back() {
        let board = h100();
        let mut last = read(&board, &saw(), 9, 0);
        assert_eq!(last.energy_mj, 9);
        for t in (7..60_000).step_by(7) {
            let now = read(&board, &saw(), 9, t);
            assert!(now.energy_mj >= last.energy_mj && now.rx_bytes >= last.rx_bytes, "at {t}");
            last = now;
        }
    }

    #[test]
    fn energy_is_the_integral_of_power() {
        let board = h100();
        let steady = curve(&[[0, 800], [1000, 800]], 0, 0).unwrap();
        let (a, b) = (read(&board, &steady, 0, 10_000), read(&board, &steady, 0, 20_000));
        assert_eq!(b.energy_mj - a.energy_mj, b.power_mw * 10);
        assert_eq!(b.utilization_percent, 80);
    }

    #[test]
    fn an_idle_gpu_is_idle_in_every_reading() {
        let board = h100();
        let idle = curve(&[[0, 0], [1000, 0]], 0, 0).unwrap();
        let reading = read(&board, &idle, 0, 100_000);
        assert_eq!(reading.power_mw, board.idle_power_mw);
        assert_eq!((reading.utilization_percent, reading.memory_used_mib, reading.rx_bytes), (0, 0, 0));
        assert_eq!(reading.celsius, board.idle_celsius);
    }

    #[test]
    fn impossible_curves_are_refused() {
        for points in [&[[0, 0]][..], &[[0, 0], [0, 1]], &[[5, 0], [6, 1]], &[[0, 0], [9, 1001]]] {
            assert!(curve(points, 0, 0).is_none());
        }
    }
}
