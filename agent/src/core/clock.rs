//! The node's clocks. Neither is believed by anyone: beacons and the TPM's time are.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since boot, sleep included.
pub(super) fn boot_ms() -> u64 {
    millis(ClockId::CLOCK_BOOTTIME)
}

/// Unix time in ms.
pub(super) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The time since boot of a moment on `CLOCK_MONOTONIC`, both in ms.
pub(super) fn boot_of_monotonic_ms(monotonic_ms: u64) -> u64 {
    let ago = millis(ClockId::CLOCK_MONOTONIC).saturating_sub(monotonic_ms);
    boot_ms().saturating_sub(ago)
}

fn millis(clock: ClockId) -> u64 {
    // Neither clock can be missing on Linux.
    let Ok(now) = clock_gettime(clock) else { return 0 };
    let millis = now.tv_sec().saturating_mul(1000).saturating_add(now.tv_nsec() / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_forward_and_agree() {
        let (before, monotonic) = (boot_ms(), millis(ClockId::CLOCK_MONOTONIC));
        let same = boot_of_monotonic_ms(monotonic);
        assert!(before > 0 && same.abs_diff(before) < 1000);
        assert!(unix_ms() > 1_600_000_000_000);
        assert_eq!(boot_of_monotonic_ms(u64::MAX).abs_diff(boot_ms()) / 1000, 0);
    }
}
