//! Writing crypto-agile logs: for generators of simulated boots and for tests. What it writes,
//! [`crate::EventLog::parse`] reads.

use crate::alg::sha256;
use crate::kind::EV_NO_ACTION;
use crate::{BootError, HashAlg, MAX_EVENT_BYTES, MAX_EVENTS, MAX_LOG_BYTES, PCR_COUNT};

/// A log under construction: one SHA-256 bank, opened by its Spec ID event.
#[derive(Debug, Clone)]
pub struct LogWriter {
    bytes: Vec<u8>,
    events: usize,
    extends: Vec<(u8, [u8; 32])>,
}

impl Default for LogWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl LogWriter {
    /// A log with nothing but the Spec ID event (PFP 1.06, section 10.4.5.1).
    #[must_use]
    pub fn new() -> Self {
        let mut spec_id = b"Spec ID Event03\0".to_vec();
        spec_id.extend(0u32.to_le_bytes()); // platformClass: client
        spec_id.extend([0, 2, 0, 2]); // version 2.0, errata 0, UINTN of 64 bits
        spec_id.extend(1u32.to_le_bytes());
        spec_id.extend(HashAlg::Sha256.id().to_le_bytes());
        spec_id.extend(32u16.to_le_bytes());
        spec_id.push(0); // vendorInfoSize
        let mut bytes = [0u32, EV_NO_ACTION].map(u32::to_le_bytes).concat();
        bytes.extend([0; 20]);
        push_sized(&mut bytes, &spec_id);
        Self { bytes, events: 0, extends: Vec::new() }
    }

    /// Logs an event whose digest is the SHA-256 of its data, and answers the digest to extend.
    ///
    /// # Errors
    /// As [`LogWriter::event`].
    pub fn measure(&mut self, pcr: u8, kind: u32, data: &[u8]) -> Result<[u8; 32], BootError> {
        let digest = sha256(data);
        self.event(pcr, kind, digest, data)?;
        Ok(digest)
    }

    /// Logs an event whose digest covers something else than its data, such as a loaded image.
    ///
    /// # Errors
    /// What the parser would refuse: [`BootError::PcrIndex`], [`BootError::EventTooLong`],
    /// [`BootError::TooManyEvents`], [`BootError::LogTooLong`]; the log is left as it was.
    pub fn event(&mut self, pcr: u8, kind: u32, digest: [u8; 32], data: &[u8]) -> Result<(), BootError> {
        self.check(pcr, data)?;
        self.bytes.extend(u32::from(pcr).to_le_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(1u32.to_le_bytes());
        self.bytes.extend(HashAlg::Sha256.id().to_le_bytes());
        self.bytes.extend(digest);
        push_sized(&mut self.bytes, data);
        self.events += 1;
        if kind != EV_NO_ACTION {
            self.extends.push((pcr, digest));
        }
        Ok(())
    }

    /// Logs a remark, which no PCR is extended for.
    ///
    /// # Errors
    /// As [`LogWriter::event`].
    pub fn no_action(&mut self, pcr: u8, data: &[u8]) -> Result<(), BootError> {
        self.event(pcr, EV_NO_ACTION, [0; 32], data)
    }

    /// Logs the locality of TPM2_Startup; belongs before every event of PCR 0.
    ///
    /// # Errors
    /// As [`LogWriter::event`].
    pub fn startup_locality(&mut self, locality: u8) -> Result<(), BootError> {
        self.no_action(0, &[b"StartupLocality\0", &[locality][..]].concat())
    }

    /// What a TPM must be extended with for the log to be true, in order.
    #[must_use]
    pub fn extends(&self) -> &[(u8, [u8; 32])] {
        &self.extends
    }

    /// The log's bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn check(&self, pcr: u8, data: &[u8]) -> Result<(), BootError> {
        let offset = self.bytes.len();
        if u32::from(pcr) >= PCR_COUNT {
            return Err(BootError::PcrIndex { pcr: pcr.into(), offset });
        }
        if data.len() > MAX_EVENT_BYTES {
            return Err(BootError::EventTooLong { bytes: data.len(), offset });
        }
        if self.events >= MAX_EVENTS {
            return Err(BootError::TooManyEvents { offset });
        }
        let bytes = offset + EVENT_HEADER + data.len();
        if bytes > MAX_LOG_BYTES {
            return Err(BootError::LogTooLong { bytes });
        }
        Ok(())
    }
}

/// PCRIndex, EventType, count, AlgorithmId, digest, EventSize.
const EVENT_HEADER: usize = 4 + 4 + 4 + 2 + 32 + 4;

/// Callers keep `data` within [`MAX_EVENT_BYTES`], far below `u32::MAX`.
fn push_sized(bytes: &mut Vec<u8>, data: &[u8]) {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    bytes.extend(len.to_le_bytes());
    bytes.extend(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EV_POST_CODE, EventLog, Format};

    #[test]
    fn an_empty_log_parses() {
        let log = EventLog::parse(&LogWriter::new().finish()).unwrap();
        assert_eq!((log.format, log.events.len()), (Format::CryptoAgile, 0));
        assert_eq!(log.banks, [HashAlg::Sha256]);
    }

    #[test]
    fn the_writer_refuses_what_the_parser_would() {
        let mut writer = LogWriter::new();
        let before = writer.clone().finish();
        let offset = before.len();
        let kind = EV_POST_CODE;
        assert_eq!(writer.measure(24, kind, b""), Err(BootError::PcrIndex { pcr: 24, offset }));
        let long = vec![0; MAX_EVENT_BYTES + 1];
        let bytes = long.len();
        assert_eq!(writer.measure(0, kind, &long), Err(BootError::EventTooLong { bytes, offset }));
        assert_eq!(writer.clone().finish(), before);
        let full = vec![0; MAX_EVENT_BYTES];
        let refusal = (0..32).find_map(|_| writer.measure(0, kind, &full).err());
        assert!(matches!(refusal, Some(BootError::LogTooLong { .. })), "{refusal:?}");
        assert!(EventLog::parse(&writer.finish()).is_ok());
    }

    #[test]
    fn the_writer_counts_events() {
        let mut writer = LogWriter::new();
        for _ in 0..MAX_EVENTS {
            writer.no_action(0, b"").unwrap();
        }
        let offset = writer.clone().finish().len();
        assert_eq!(writer.no_action(0, b""), Err(BootError::TooManyEvents { offset }));
        assert_eq!(EventLog::parse(&writer.finish()).unwrap().events.len(), MAX_EVENTS);
    }

    #[test]
    fn extends_leave_out_remarks() {
        let mut writer = LogWriter::default();
        writer.startup_locality(3).unwrap();
        let digest = writer.measure(4, EV_POST_CODE, b"x").unwrap();
        assert_eq!(writer.extends(), [(4, digest)]);
    }
}
