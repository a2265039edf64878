//! Evidence as NVIDIA's tools write it: a JSON array of devices, or one report as hexadecimal text
//! beside one chain as PEM.
//!
//! Keys that nobody here reads are ignored, as the tools add some from release to release; a key that
//! is read and stands there twice is refused.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::device::{Architecture, DeviceError, DeviceEvidence, Report, pem};

/// The longest bundle that is read, in bytes.
pub const MAX_BUNDLE: usize = 2 << 20;

/// The most devices of a bundle.
pub const MAX_DEVICES: usize = 64;

/// One device of a bundle: what could be read of its entry, and what could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleDevice {
    /// What it is said to be; absent for a word that names none.
    pub architecture: Option<Architecture>,
    /// The nonce that the file says was asked for; what was signed stands in the report.
    pub nonce: Option<[u8; 32]>,
    /// Request, answer and signature; empty where they could not be read.
    pub report: Vec<u8>,
    /// DER of its certificates, the leaf's first, up to the first that could not be read.
    pub chain: Vec<Vec<u8>>,
    /// What could not be read, at most once for each key.
    pub faults: Vec<EntryFault>,
}

impl BundleDevice {
    /// A device of which nothing could be read.
    fn of_fault(fault: EntryFault) -> Self {
        Self { architecture: None, nonce: None, report: Vec::new(), chain: Vec::new(), faults: vec![fault] }
    }

    /// The evidence of an entry that could be read as a whole.
    ///
    /// # Errors
    /// The first [`EntryFault`].
    pub fn evidence(self) -> Result<DeviceEvidence, EntryFault> {
        let Self { architecture, report, chain, faults, .. } = self;
        match (faults.into_iter().next(), architecture) {
            (Some(fault), _) => Err(fault),
            (None, None) => Err(EntryFault::Architecture),
            (None, Some(architecture)) => Ok(DeviceEvidence {
                gpu: None,
                architecture,
                report,
                chain,
                ocsp: Vec::new(),
                simulated: false,
            }),
        }
    }
}

/// What could not be read of one entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// No object with the four keys, each a text and there once.
    #[error("not an object with arch, nonce, evidence and certificate, each a text and there once")]
    Form,
    /// The word for what it is.
    #[error("arch: not HOPPER, BLACKWELL or LS10")]
    Architecture,
    /// The nonce.
    #[error("nonce: not 64 hexadecimal digits")]
    Nonce,
    /// The report.
    #[error("evidence: {detail}")]
    Report {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The report's hexadecimal text.
    #[error("{0}")]
    Digits(BundleError),
    /// The certificates are not base64.
    #[error("certificate: not base64")]
    Certificates,
    /// The certificates as text.
    #[error("certificate: {0}")]
    Pem(DeviceError),
}

/// Text that is no bundle or no report.
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
    /// Not a JSON array.
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
/// hexadecimal digits, the report in base64, the chain's PEM in base64. An entry of another form hides none of
/// the others: what could not be read of it stands in its faults.
///
/// # Errors
/// [`BundleError`] of a text that is no list of 1 to [`MAX_DEVICES`] entries.
pub fn parse(text: &[u8]) -> Result<Vec<BundleDevice>, BundleError> {
    if text.len() > MAX_BUNDLE {
        return Err(BundleError::Oversized { field: "bundle", len: text.len(), max: MAX_BUNDLE });
    }
    let slots: Vec<&RawValue> =
        serde_json::from_slice(text).map_err(|error| BundleError::Json { detail: error.to_string() })?;
    if slots.is_empty() || slots.len() > MAX_DEVICES {
        return Err(BundleError::Devices { seen: slots.len() });
    }
    Ok(slots.into_iter().map(device).collect())
}

/// An entry, or any other value in its place.
fn device(json: &RawValue) -> BundleDevice {
    let object = Some(json.get()).filter(|text| text.starts_with('{'));
    let entry = object.and_then(|text| serde_json::from_str::<Entry>(text).ok());
    entry.map_or_else(|| BundleDevice::of_fault(EntryFault::Form), |entry| entry.read())
}

impl Entry {
    fn read(&self) -> BundleDevice {
        let mut faults = Vec::new();
        let architecture = Architecture::from_word(&self.arch);
        faults.extend(architecture.is_none().then_some(EntryFault::Architecture));
        let nonce = hex::decode(&self.nonce).ok().and_then(|bytes| bytes.try_into().ok());
        faults.extend(nonce.is_none().then_some(EntryFault::Nonce));
        let report = self.report().unwrap_or_else(|detail| {
            faults.push(EntryFault::Report { detail });
            Vec::new()
        });
        let (chain, fault) = match pem::base64(&self.certificate) {
            Some(text) => certificates(&text),
            None => (Vec::new(), Some(EntryFault::Certificates)),
        };
        faults.extend(fault);
        BundleDevice { architecture, nonce, report, chain, faults }
    }

    fn report(&self) -> Result<Vec<u8>, &'static str> {
        let report = pem::base64(&self.evidence).ok_or("not base64")?;
        if report.len() > Report::MAX { Err("longer than a report") } else { Ok(report) }
    }
}

/// DER of certificates in PEM up to the first that can't be read, and what is wrong with that one. Bytes that
/// are no text matter within the blocks only.
#[must_use]
pub fn certificates(text: &[u8]) -> (Vec<Vec<u8>>, Option<EntryFault>) {
    let (list, error) = pem::readable(&String::from_utf8_lossy(text));
    (list, error.map(EntryFault::Pem))
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
            architecture: Some(Architecture::Hopper),
            nonce: Some([0xab; 32]),
            report: vec![1, 2],
            chain: vec![vec![1, 2]],
            faults: vec![],
        };
        assert_eq!(parsed(&[entry(), entry()]), Ok(vec![device.clone(), device.clone()]));
        let mut with_more = entry();
        with_more["version"] = "1.0".into();
        assert_eq!(parsed(&[with_more]), Ok(vec![device.clone()]));
        let evidence = device.evidence().unwrap();
        assert_eq!((evidence.report, evidence.chain), (vec![1, 2], vec![vec![1, 2]]));
        assert!(!evidence.simulated && evidence.ocsp.is_empty() && evidence.gpu.is_none());
    }

    /// What is read of a device whose entry has another value under a key, between two that are as they should be.
    fn odd(key: &str, value: &str) -> BundleDevice {
        let mut bad = entry();
        bad[key] = value.into();
        let devices = parsed(&[entry(), bad, entry()]).unwrap();
        let good = parsed(&[entry()]).unwrap().remove(0);
        assert!(devices[0] == good && devices[2] == good, "{key} hides the others");
        devices[1].clone()
    }

    #[test]
    fn a_value_of_another_form_is_a_fault_of_its_entry() {
        let long = Base64::encode_string(&vec![0; Report::MAX + 1]);
        let report = |detail| EntryFault::Report { detail };
        for (key, value, fault) in [
            ("arch", "hopper", EntryFault::Architecture),
            ("nonce", &"ab".repeat(31), EntryFault::Nonce),
            ("nonce", &"ag".repeat(32), EntryFault::Nonce),
            ("evidence", "AQI", report("not base64")),
            ("evidence", &long, report("longer than a report")),
            ("certificate", "-----BEGIN", EntryFault::Certificates),
        ] {
            let device = odd(key, value);
            assert_eq!(device.faults, std::slice::from_ref(&fault), "{key}");
            assert_eq!(device.architecture.is_none(), key == "arch");
            assert_eq!(device.nonce.is_none(), key == "nonce");
            assert_eq!(device.report.is_empty(), key == "evidence");
            assert_eq!(device.chain.is_empty(), key == "certificate");
            assert_eq!(device.evidence(), Err(fault));
        }
        let mut all = entry();
        for key in ["arch", "nonce", "evidence", "certificate"] {
            all[key] = "!".into();
        }
        assert_eq!(parsed(&[all]).unwrap()[0].faults.len(), 4);
    }

    #[test]
    fn certificates_before_a_broken_one_are_read() {
        let block = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let broken = format!("{}{}", block("AQI="), block("A\u{fffd}="));
        let device = odd("certificate", &Base64::encode_string(broken.as_bytes()));
        assert_eq!(device.chain, [[1, 2]]);
        assert!(matches!(device.faults[..], [EntryFault::Pem(DeviceError::Pem { .. })]), "{device:?}");
        // Words around the blocks may be anything.
        let (chain, fault) = certificates(&[b"\xff\n", block("AQI=").as_bytes(), b"\xfe"].concat());
        assert_eq!((chain, fault), (vec![vec![1, 2]], None));
    }

    #[test]
    fn an_entry_of_another_form_hides_no_other() {
        let form = |bad: &str| {
            let good = entry().to_string();
            let devices = parse(format!("[{good},{bad},{good}]").as_bytes()).unwrap();
            assert!(devices[0].faults.is_empty() && devices[2].faults.is_empty());
            assert_eq!(devices[1].faults, [EntryFault::Form], "{bad}");
            assert_eq!(devices[1].clone().evidence(), Err(EntryFault::Form));
        };
        for key in ["arch", "nonce", "evidence", "certificate"] {
            let mut bad = entry();
            bad.as_object_mut().unwrap().remove(key);
            form(&bad.to_string());
            bad[key] = serde_json::Value::Null;
            form(&bad.to_string());
        }
        form(&entry().to_string().replacen('{', "{\"arch\":\"LS10\",", 1));
        let list = entry().as_object().unwrap().values().cloned().collect::<Vec<_>>();
        for other in ["null", "7", "{}", "[[]]", &serde_json::to_string(&list).unwrap()] {
            form(other);
        }
    }

    /// Whatever JSON may say that no type here holds.
    #[test]
    fn keys_that_nobody_reads_may_hold_anything() {
        let good = parsed(&[entry()]).unwrap();
        for value in
            ["1e999", r#""\ud800""#, &format!("{}{}", "[".repeat(500), "]".repeat(500)), r#"{"arch":7}"#]
        {
            let text = entry().to_string().replacen('{', &format!("{{\"later\":{value},"), 1);
            assert_eq!(parse(format!("[ {text} ]").as_bytes()).as_ref(), Ok(&good), "{value}");
            let other = format!("[{},{value}]", entry());
            let devices = parse(other.as_bytes()).unwrap();
            assert_eq!((&devices[0], &devices[1].faults[..]), (&good[0], &[EntryFault::Form][..]), "{value}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let good = serde_json::to_string(&[entry()]).unwrap();
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
