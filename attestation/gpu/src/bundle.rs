//! Evidence as NVIDIA's tools write it: a JSON array of devices, or one report as hexadecimal text
//! beside one chain as PEM.
//!
//! Keys that nobody here reads are ignored, as the tools add some from release to release; a key that
//! is read and stands there twice is refused.

use serde::Deserialize;

use crate::device::{Architecture, DeviceError, DeviceEvidence, Report, pem};

/// The longest bundle that is read, in bytes.
pub const MAX_BUNDLE: usize = 2 << 20;

/// The most devices of a bundle.
pub const MAX_DEVICES: usize = 64;

/// One device of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleDevice {
    /// What it is said to be.
    pub architecture: Architecture,
    /// The nonce that the file says was asked for; what was signed stands in the report.
    pub nonce: [u8; 32],
    /// Request, answer and signature.
    pub report: Vec<u8>,
    /// DER of its certificates, the leaf's first.
    pub chain: Vec<Vec<u8>>,
}

impl From<BundleDevice> for DeviceEvidence {
    fn from(device: BundleDevice) -> Self {
        let BundleDevice { architecture, report, chain, .. } = device;
        Self { gpu: None, architecture, report, chain, ocsp: Vec::new(), simulated: false }
    }
}

/// Text that is no bundle or no report. Devices count from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// More than is read.
    #[error("{field}: {len} bytes, at most {max} are read")]
    Oversized {
        /// What was being read.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The longest one that is read.
        max: usize,
    },
    /// Not JSON of this form.
    #[error("bundle: {detail}")]
    Json {
        /// What the parser says, with line and column.
        detail: String,
    },
    /// No device, or more than [`MAX_DEVICES`].
    #[error("bundle: {seen} devices, 1 to {MAX_DEVICES} are read")]
    Devices {
        /// How many there are.
        seen: usize,
    },
    /// A value of one device.
    #[error("device {device}: {field}: {detail}")]
    Field {
        /// The device.
        device: usize,
        /// The key.
        field: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A device's certificates as text.
    #[error("device {device}: certificate: {error}")]
    Certificate {
        /// The device.
        device: usize,
        /// What is wrong with them.
        error: DeviceError,
    },
    /// A character that is no hexadecimal digit.
    #[error("report: no hexadecimal digit at offset {offset}")]
    Digit {
        /// Where it stands.
        offset: usize,
    },
    /// An odd number of digits.
    #[error("report: an odd number of hexadecimal digits")]
    OddDigits,
}

#[derive(Deserialize)]
struct Entry {
    arch: String,
    nonce: String,
    evidence: String,
    certificate: String,
}

/// Reads `[{"arch", "nonce", "evidence", "certificate"}, ..]`: the architecture's word, 64
/// hexadecimal digits, the report in base64, the chain's PEM in base64.
///
/// # Errors
/// [`BundleError`] names the device and the key.
pub fn parse(text: &[u8]) -> Result<Vec<BundleDevice>, BundleError> {
    if text.len() > MAX_BUNDLE {
        return Err(BundleError::Oversized { field: "bundle", len: text.len(), max: MAX_BUNDLE });
    }
    let entries: Vec<Entry> =
        serde_json::from_slice(text).map_err(|error| BundleError::Json { detail: error.to_string() })?;
    if entries.is_empty() || entries.len() > MAX_DEVICES {
        return Err(BundleError::Devices { seen: entries.len() });
    }
    entries.iter().enumerate().map(|(device, entry)| entry.read(device)).collect()
}

impl Entry {
    fn read(&self, device: usize) -> Result<BundleDevice, BundleError> {
        let wrong = |field, detail| BundleError::Field { device, field, detail };
        let architecture = Architecture::from_word(&self.arch)
            .ok_or_else(|| wrong("arch", "not HOPPER, BLACKWELL or LS10"))?;
        let nonce = hex::decode(&self.nonce).ok().and_then(|bytes| bytes.try_into().ok());
        let nonce = nonce.ok_or_else(|| wrong("nonce", "not 64 hexadecimal digits"))?;
        let report = pem::base64(&self.evidence).ok_or_else(|| wrong("evidence", "not base64"))?;
        if report.len() > Report::MAX {
            return Err(wrong("evidence", "longer than a report"));
        }
        let chain = pem::base64(&self.certificate).ok_or_else(|| wrong("certificate", "not base64"))?;
        let chain = String::from_utf8(chain).map_err(|_| wrong("certificate", "not text"))?;
        let chain = pem::certificates(&chain).map_err(|error| BundleError::Certificate { device, error })?;
        Ok(BundleDevice { architecture, nonce, report, chain })
    }
}

/// Reads a report's hexadecimal text; white space is ignored.
///
/// # Errors
/// [`BundleError::Oversized`], [`BundleError::Digit`], [`BundleError::OddDigits`].
pub fn report_from_hex(text: &str) -> Result<Vec<u8>, BundleError> {
    // Two digits a byte, and as much white space.
    const MAX: usize = 4 * Report::MAX;
    if text.len() > MAX {
        return Err(BundleError::Oversized { field: "report", len: text.len(), max: MAX });
    }
    let mut digits = String::with_capacity(text.len());
    for (offset, c) in text.char_indices().filter(|(_, c)| !c.is_ascii_whitespace()) {
        if !c.is_ascii_hexdigit() {
            return Err(BundleError::Digit { offset });
        }
        digits.push(c);
    }
    hex::decode(&digits).map_err(|_| BundleError::OddDigits)
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding as _};

    use super::*;

    fn entry() -> serde_json::Value {
        let pem = "-----BEGIN CERTIFICATE-----\nAQI=\n-----END CERTIFICATE-----\n";
        serde_json::json!({
            "arch": "HOPPER",
            "nonce": "ab".repeat(32),
            "evidence": "AQI=",
            "certificate": Base64::encode_string(pem.as_bytes()),
        })
    }

    fn parsed(entries: &[serde_json::Value]) -> Result<Vec<BundleDevice>, BundleError> {
        parse(&serde_json::to_vec(entries).unwrap())
    }

    #[test]
    fn every_key_is_read() {
        let device = BundleDevice {
            architecture: Architecture::Hopper,
            nonce: [0xab; 32],
            report: vec![1, 2],
            chain: vec![vec![1, 2]],
        };
        assert_eq!(parsed(&[entry(), entry()]), Ok(vec![device.clone(), device.clone()]));
        let mut with_more = entry();
        with_more["version"] = "1.0".into();
        assert_eq!(parsed(&[with_more]), Ok(vec![device.clone()]));
        let evidence = DeviceEvidence::from(device);
        assert_eq!((evidence.report, evidence.chain), (vec![1, 2], vec![vec![1, 2]]));
        assert!(!evidence.simulated && evidence.ocsp.is_empty() && evidence.gpu.is_none());
    }

    #[test]
    fn a_value_of_another_form_is_told_by_device_and_key() {
        let long = Base64::encode_string(&vec![0; Report::MAX + 1]);
        let bytes = Base64::encode_string(&[0xff]);
        for (key, value) in [
            ("arch", "hopper"),
            ("nonce", &"ab".repeat(31)),
            ("nonce", &"ag".repeat(32)),
            ("evidence", "AQI"),
            ("evidence", &long),
            ("certificate", "-----BEGIN"),
            ("certificate", &bytes),
        ] {
            let mut bad = entry();
            bad[key] = value.into();
            let error = parsed(&[entry(), bad]).unwrap_err();
            assert!(matches!(error, BundleError::Field { device: 1, field, .. } if field == key), "{error}");
        }
        let mut bad = entry();
        bad["certificate"] = Base64::encode_string(b"-----BEGIN CERTIFICATE-----").into();
        assert!(matches!(parsed(&[bad]), Err(BundleError::Certificate { device: 0, .. })));
    }

    #[test]
    fn missing_double_and_trailing_are_refused() {
        for key in ["arch", "nonce", "evidence", "certificate"] {
            let mut bad = entry();
            bad.as_object_mut().unwrap().remove(key);
            assert!(matches!(parsed(&[bad]), Err(BundleError::Json { .. })), "{key}");
        }
        let good = serde_json::to_string(&[entry()]).unwrap();
        let double = good.replacen('{', "{\"arch\":\"LS10\",", 1);
        assert!(matches!(parse(double.as_bytes()), Err(BundleError::Json { .. })));
        for bad in [format!("{good}1"), format!("{{\"a\":{good}}}"), String::new(), "[".repeat(100_000)] {
            assert!(matches!(parse(bad.as_bytes()), Err(BundleError::Json { .. })));
        }
    }

    #[test]
    fn count_and_size_are_bounded() {
        assert_eq!(parsed(&[]), Err(BundleError::Devices { seen: 0 }));
        assert_eq!(parsed(&vec![entry(); MAX_DEVICES]).unwrap().len(), MAX_DEVICES);
        let seen = MAX_DEVICES + 1;
        assert_eq!(parsed(&vec![entry(); seen]), Err(BundleError::Devices { seen }));
        let padded = [serde_json::to_vec(&[entry()]).unwrap(), vec![b' '; MAX_BUNDLE]].concat();
        assert!(parse(&padded[..MAX_BUNDLE]).is_ok());
        assert!(matches!(parse(&padded[..=MAX_BUNDLE]), Err(BundleError::Oversized { .. })));
    }

    #[test]
    fn a_report_is_as_long_as_one_may_be() {
        let mut longest = entry();
        longest["evidence"] = Base64::encode_string(&vec![7; Report::MAX]).into();
        assert_eq!(parsed(&[longest]).unwrap()[0].report, vec![7; Report::MAX]);
    }

    #[test]
    fn hexadecimal_text_is_digits_and_white_space() {
        assert_eq!(report_from_hex(" 0a\nFF 1\t0\r\n"), Ok(vec![0x0a, 0xff, 0x10]));
        assert_eq!(report_from_hex("0a f"), Err(BundleError::OddDigits));
        assert_eq!(report_from_hex("0a\u{e9}f"), Err(BundleError::Digit { offset: 2 }));
        assert_eq!(report_from_hex("0x11"), Err(BundleError::Digit { offset: 1 }));
        assert!(report_from_hex(&"0".repeat(4 * Report::MAX)).is_ok());
        assert!(matches!(
            report_from_hex(&"0".repeat(4 * Report::MAX + 1)),
            Err(BundleError::Oversized { .. })
        ));
    }
}
