//! What ties a session to its boot: when it changes, the session ends and the next one proves the boot anew.

use assay_tpm::Attest;

/// What the TPM said of its boot, in one GetTime and one quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BootState {
    reset_count: u32,
    restart_count: u32,
    pcr_digest: Vec<u8>,
}

impl BootState {
    /// Read from two `TPMS_ATTEST`s; `None` when they are no GetTime and no quote.
    pub(super) fn of(time: &[u8], quote: &[u8]) -> Option<Self> {
        let clock = Attest::parse(time).ok()?.time().ok()?.clock_info;
        let pcr_digest = Attest::parse(quote).ok()?.quote().ok()?.pcr_digest.clone();
        Some(Self { reset_count: clock.reset_count, restart_count: clock.restart_count, pcr_digest })
    }

    /// Why a session that began in this state can't go on in `now`.
    pub(super) fn ended_by(&self, now: &Self) -> Option<&'static str> {
        if now.reset_count != self.reset_count {
            return Some("the TPM was reset");
        }
        if now.restart_count != self.restart_count {
            return Some("the machine was suspended");
        }
        (now.pcr_digest != self.pcr_digest).then_some("something was measured since it was opened")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_suspend_and_measurements_end_a_session() {
        let state = BootState { reset_count: 5, restart_count: 2, pcr_digest: vec![1] };
        assert_eq!(state.ended_by(&state.clone()), None);
        let reset = BootState { reset_count: 6, restart_count: 0, ..state.clone() };
        assert!(state.ended_by(&reset).unwrap().contains("reset"));
        let resumed = BootState { restart_count: 3, ..state.clone() };
        assert!(state.ended_by(&resumed).unwrap().contains("suspended"));
        let measured = BootState { pcr_digest: vec![2], ..state.clone() };
        assert!(state.ended_by(&measured).unwrap().contains("measured"));
        assert_eq!(BootState::of(b"", b""), None);
    }
}
