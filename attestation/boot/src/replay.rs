//! Replaying a log into PCR values, and holding them against quoted ones.

use std::collections::BTreeMap;

use crate::{EventLog, HashAlg};

/// A quoted PCR that the log does not lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrMismatch {
    /// PCR index.
    pub pcr: u8,
    /// The value that the log's events, or their absence, lead to; `None` when the log has no
    /// complete SHA-256 bank and so says nothing about any PCR of it.
    pub expected: Option<[u8; 32]>,
    /// The value the TPM quoted.
    pub seen: [u8; 32],
}

/// Value of a SHA-256 PCR after TPM2_Startup(CLEAR) at locality 0 when nothing was extended: all
/// ones for the PCRs of a dynamic launch, 17 to 22, else all zeros (PC Client Platform TPM Profile
/// 1.05, section 4.6.2).
#[must_use]
pub fn reset_value(pcr: u8) -> [u8; 32] {
    if (17..=22).contains(&pcr) { [0xff; 32] } else { [0; 32] }
}

/// [`reset_value`] for any bank; empty for an algorithm that this crate does not compute.
#[must_use]
pub fn reset_value_of(pcr: u8, alg: HashAlg) -> Vec<u8> {
    let [byte, ..] = reset_value(pcr);
    vec![byte; alg.digest_len().unwrap_or_default()]
}

impl EventLog {
    /// PCR values of one bank after every extended event, for the PCRs that the log touches. Empty
    /// for a bank that the log does not carry ([`EventLog::carries`]).
    ///
    /// PCRs start at zero, PCR 0 with [`EventLog::pcr0_start`] as its last byte; PCRs 17 to 22 too,
    /// as only a dynamic launch, which clears them, makes them extendable.
    #[must_use]
    pub fn replay(&self, alg: HashAlg) -> BTreeMap<u8, Vec<u8>> {
        let mut values = BTreeMap::new();
        let Some(len) = alg.digest_len().filter(|_| self.carries(alg)) else { return values };
        for event in self.extended() {
            let Ok(pcr) = u8::try_from(event.pcr) else { continue };
            let value = values.entry(pcr).or_insert_with(|| self.start(pcr, len));
            let digest = event.digest(alg).unwrap_or_default();
            *value = alg.hash(&[value, digest]).unwrap_or_default();
        }
        values
    }

    /// Value of a PCR of a bank before the log's first event for it.
    pub(crate) fn start_of(&self, pcr: u8, alg: HashAlg) -> Vec<u8> {
        self.start(pcr, alg.digest_len().unwrap_or_default())
    }

    fn start(&self, pcr: u8, len: usize) -> Vec<u8> {
        let mut value = vec![0; len];
        if let Some(last) = value.last_mut().filter(|_| pcr == 0) {
            *last = self.pcr0_start();
        }
        value
    }

    /// What a quoted SHA-256 PCR must hold if the log's events are all that was extended.
    fn expected(&self, pcr: u8, replayed: &BTreeMap<u8, Vec<u8>>) -> Option<[u8; 32]> {
        match replayed.get(&pcr) {
            Some(value) => value.as_slice().try_into().ok(),
            None if pcr == 0 => self.start(0, 32).as_slice().try_into().ok(),
            None => Some(reset_value(pcr)),
        }
    }
}

/// Holds quoted SHA-256 PCR values against the log, in order of PCR. A quoted PCR that no event
/// touches must hold its [`reset_value`] (for PCR 0: its start value). A log without a complete
/// SHA-256 bank matches nothing, so that an unextended bank, all zeros and free for anyone to
/// extend, can't pass.
///
/// Only PCRs in `quoted` are compared: the caller decides which PCRs a quote must select, takes
/// `quoted` from the signed selection alone, and leaves out PCRs that another log explains.
#[must_use]
pub fn compare(log: &EventLog, quoted: &BTreeMap<u8, [u8; 32]>) -> Vec<PcrMismatch> {
    let replayed = log.replay(HashAlg::Sha256);
    let carried = log.carries(HashAlg::Sha256);
    let rows = quoted.iter().map(|(&pcr, &seen)| {
        let expected = log.expected(pcr, &replayed).filter(|_| carried);
        PcrMismatch { pcr, expected, seen }
    });
    rows.filter(|row| row.expected != Some(row.seen)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alg::sha256;
    use crate::write::LogWriter;
    use crate::{EV_EFI_HCRTM_EVENT, EV_POST_CODE, Event};

    fn log(build: impl FnOnce(&mut LogWriter)) -> EventLog {
        let mut writer = LogWriter::new();
        build(&mut writer);
        EventLog::parse(&writer.finish()).unwrap()
    }

    fn extend(start: [u8; 32], data: &[u8]) -> [u8; 32] {
        let parts: [&[u8]; 2] = [&start, &sha256(data)];
        HashAlg::Sha256.hash(&parts).unwrap().try_into().unwrap()
    }

    fn start(last: u8) -> [u8; 32] {
        let mut value = [0; 32];
        value[31] = last;
        value
    }

    #[test]
    fn replay_is_the_definition_of_extend() {
        let log = log(|writer| {
            writer.measure(2, EV_POST_CODE, b"a").unwrap();
            writer.measure(2, EV_POST_CODE, b"b").unwrap();
        });
        let by_hand = extend(extend([0; 32], b"a"), b"b");
        assert_eq!(log.replay(HashAlg::Sha256), BTreeMap::from([(2, by_hand.to_vec())]));
        assert!(log.replay(HashAlg::Sha1).is_empty(), "not a declared bank");
        assert!(log.replay(HashAlg::Other(0x12)).is_empty());
    }

    #[test]
    fn locality_and_hcrtm_set_the_start_of_pcr_0_only() {
        let with = |locality| {
            log(|writer| {
                writer.startup_locality(locality).unwrap();
                writer.measure(0, EV_POST_CODE, b"a").unwrap();
                writer.measure(1, EV_POST_CODE, b"a").unwrap();
            })
        };
        for locality in [0, 3, 4] {
            let replayed = with(locality).replay(HashAlg::Sha256);
            assert_eq!(replayed[&0], extend(start(locality), b"a"));
            assert_eq!(replayed[&1], extend([0; 32], b"a"));
        }
        let hcrtm = log(|writer| {
            writer.measure(0, EV_EFI_HCRTM_EVENT, b"HCRTM").unwrap();
        });
        assert!(hcrtm.hcrtm);
        assert_eq!(hcrtm.replay(HashAlg::Sha256)[&0], extend(start(4), b"HCRTM"));
    }

    #[test]
    fn no_action_is_not_extended() {
        let log = log(|writer| writer.no_action(5, b"remark").unwrap());
        assert_eq!(log.events.len(), 1);
        assert!(log.replay(HashAlg::Sha256).is_empty());
    }

    #[test]
    fn quoted_values_must_be_replayed_or_reset() {
        let log = log(|writer| {
            writer.startup_locality(3).unwrap();
            writer.measure(7, EV_POST_CODE, b"a").unwrap();
        });
        let good = BTreeMap::from([
            (0, start(3)),
            (7, extend([0; 32], b"a")),
            (8, [0; 32]),
            (17, [0xff; 32]),
            (22, [0xff; 32]),
            (23, [0; 32]),
        ]);
        assert_eq!(compare(&log, &good), []);
        for pcr in good.keys() {
            let mut bad = good.clone();
            bad.insert(*pcr, [0x55; 32]);
            let rows = compare(&log, &bad);
            assert_eq!(rows, [PcrMismatch { pcr: *pcr, expected: Some(good[pcr]), seen: [0x55; 32] }]);
        }
    }

    #[test]
    fn a_log_without_the_bank_matches_nothing_not_even_zeros() {
        let mut log = log(|writer| {
            writer.measure(0, EV_POST_CODE, b"a").unwrap();
        });
        log.banks = vec![HashAlg::Sha1];
        let rows = compare(&log, &BTreeMap::from([(0, [0; 32]), (8, [0; 32])]));
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row.expected.is_none()));
    }

    #[test]
    fn a_bank_that_one_event_lacks_is_not_carried() {
        let mut log = log(|writer| {
            writer.measure(0, EV_POST_CODE, b"a").unwrap();
        });
        assert!(log.carries(HashAlg::Sha256));
        log.events.push(Event { pcr: 1, kind: EV_POST_CODE, digests: vec![], data: vec![] });
        assert!(!log.carries(HashAlg::Sha256));
        assert!(log.replay(HashAlg::Sha256).is_empty());
    }
}
