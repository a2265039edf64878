//! Two attestations of one key, one presented after the other.

use assay_tpm::{Attest, ClockInfo};

/// DESIGN.md 4.4: TPM time against another clock, 0.5 % and 2 s.
const SLACK_MS: u64 = 2_000;
const SLACK_DIVISOR: u64 = 200;

/// Whether a TPM that was only used, restarted or cut off can have said `later` after `earlier`.
///
/// Counters never go back (Part 1, 36.4 and 36.5); in one power cycle the clock advances, and as far
/// as the time since power-on did: TPM2_ClockSet moves the one and not the other. A clock that is
/// marked safe has never been further ahead.
pub(crate) fn follows(earlier: &Attest, later: &Attest) -> Result<(), String> {
    if earlier.qualified_signer != later.qualified_signer {
        return Err("another key".to_owned());
    }
    let (before, after) = (earlier.clock_info, later.clock_info);
    counters(&before, &after)?;
    let same_boot = before.reset_count == after.reset_count;
    if after.clock < before.clock && (same_boot || after.safe) {
        return Err("clock went back".to_owned());
    }
    let uninterrupted = same_boot && before.restart_count == after.restart_count;
    match (earlier.time(), later.time()) {
        (Ok(first), Ok(second)) if uninterrupted => {
            let time = second.time.checked_sub(first.time).ok_or("time went back")?;
            advanced_alike(after.clock.saturating_sub(before.clock), time)
        }
        _ => Ok(()),
    }
}

fn counters(before: &ClockInfo, after: &ClockInfo) -> Result<(), String> {
    if after.reset_count < before.reset_count {
        return Err("resetCount went back".to_owned());
    }
    if after.reset_count == before.reset_count && after.restart_count < before.restart_count {
        return Err("restartCount went back".to_owned());
    }
    Ok(())
}

fn advanced_alike(clock: u64, time: u64) -> Result<(), String> {
    let slack = SLACK_MS.saturating_add(time / SLACK_DIVISOR);
    match clock.abs_diff(time) <= slack {
        true => Ok(()),
        false => Err(format!("clock was set: it moved by {clock} ms, time by {time} ms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_tpm::{AttestBody, TimeInfo};

    fn told(time: u64, clock: u64, reset_count: u32, restart_count: u32, safe: bool) -> Attest {
        let clock_info = ClockInfo { clock, reset_count, restart_count, safe };
        let body = AttestBody::Time(TimeInfo { time, clock_info, firmware_version: 1 });
        Attest { qualified_signer: vec![1], extra_data: vec![], clock_info, firmware_version: 1, body }
    }

    #[test]
    fn use_restart_and_power_cut_are_fine() {
        let first = told(1_000, 50_000, 4, 0, true);
        assert_eq!(follows(&first, &told(601_000, 650_000, 4, 0, true)), Ok(()));
        assert_eq!(follows(&first, &told(10, 50_010, 4, 1, true)), Ok(()), "resumed");
        assert_eq!(follows(&first, &told(10, 40_000, 5, 0, false)), Ok(()), "power cut");
    }

    #[test]
    fn going_back_is_not() {
        let first = told(1_000, 50_000, 4, 2, true);
        let fault = |later| follows(&first, &later).unwrap_err();
        assert_eq!(fault(told(9_000, 60_000, 3, 2, true)), "resetCount went back");
        assert_eq!(fault(told(9_000, 60_000, 4, 1, true)), "restartCount went back");
        assert_eq!(fault(told(9_000, 49_000, 4, 2, true)), "clock went back");
        assert_eq!(fault(told(9_000, 49_000, 5, 0, true)), "clock went back");
        assert_eq!(fault(told(900, 50_000, 4, 2, true)), "time went back");
        assert!(fault(told(1_048, 864_050_000, 4, 2, true)).starts_with("clock was set"));
        let other = Attest { qualified_signer: vec![2], ..told(9_000, 60_000, 4, 2, true) };
        assert_eq!(fault(other), "another key");
    }
}
