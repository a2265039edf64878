//! The nonce that ties a device's report to the machine that asked for it.

use assay_wire::{Domain, hash};

/// One boot of a machine, as its TPM signed it in the session's quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootId {
    /// `resetCount` of TPMS_CLOCK_INFO.
    pub reset_count: u32,
    /// `restartCount` of TPMS_CLOCK_INFO.
    pub restart_count: u32,
}

/// What a device must sign to count for this session: a hash over the validator's challenge, the
/// session, the boot and the TPM name of the attestation key.
///
/// A report for another machine's key, another session or an earlier boot carries another nonce. It
/// does not show that the device sits in this machine: whoever holds the key can have a report made
/// elsewhere and pass it on.
#[must_use]
pub fn nonce(challenge: &[u8; 32], ak_name: &[u8], session: &[u8; 32], boot: &BootId) -> [u8; 32] {
    let counts = [boot.reset_count.to_be_bytes(), boot.restart_count.to_be_bytes()].concat();
    // The name comes last: it is the only part whose length may vary.
    hash(Domain::GpuNonce, &[challenge, session, &counts, ak_name]).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_changes_it() {
        let boot = BootId { reset_count: 1, restart_count: 2 };
        let good = nonce(&[1; 32], b"name", &[2; 32], &boot);
        assert_eq!(good, nonce(&[1; 32], b"name", &[2; 32], &boot));
        let swapped = BootId { reset_count: 2, restart_count: 1 };
        let others = [
            nonce(&[3; 32], b"name", &[2; 32], &boot),
            nonce(&[1; 32], b"namf", &[2; 32], &boot),
            nonce(&[1; 32], b"nam", &[2; 32], &boot),
            nonce(&[1; 32], b"name", &[3; 32], &boot),
            nonce(&[2; 32], b"name", &[1; 32], &boot),
            nonce(&[1; 32], b"name", &[2; 32], &swapped),
            nonce(&[1; 32], b"name", &[2; 32], &BootId { reset_count: 0, ..boot }),
            nonce(&[1; 32], b"name", &[2; 32], &BootId { restart_count: 0, ..boot }),
        ];
        assert!(others.iter().all(|other| *other != good));
    }
}
