//! Certificates as text (RFC 7468).

use base64ct::{Base64, Encoding as _};

use super::chain::DeviceChain;
use super::error::DeviceError;

const MARK: &str = "-----";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// The longest text that is read: eight certificates with words around them.
const MAX: usize = 128 << 10;

/// DER of each block, in order. Text around them is ignored, blocks of another kind are refused.
pub(crate) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, DeviceError> {
    match readable(text) {
        (list, None) => Ok(list),
        (_, Some(error)) => Err(error),
    }
}

/// The same up to the first block that can't be read, and what is wrong with that one.
pub(crate) fn readable(text: &str) -> (Vec<Vec<u8>>, Option<DeviceError>) {
    let mut list = Vec::new();
    let error = blocks(text, &mut list).err();
    (list, error)
}

fn blocks(text: &str, list: &mut Vec<Vec<u8>>) -> Result<(), DeviceError> {
    if text.len() > MAX {
        return Err(DeviceError::Oversized { field: "PEM", len: text.len(), max: MAX });
    }
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let block = rest.get(at..).unwrap_or_default();
        let offset = text.len() - block.len();
        let pem = |detail| DeviceError::Pem { offset, detail };
        let body = block.strip_prefix(BEGIN).ok_or_else(|| pem("not the beginning of a certificate"))?;
        let (body, after) = body.split_once(END).ok_or_else(|| pem("no end of the certificate"))?;
        if list.len() == DeviceChain::MAX {
            return Err(DeviceError::TooMany { field: "certificates", max: DeviceChain::MAX });
        }
        list.push(base64(body).ok_or_else(|| pem("not base64"))?);
        rest = after;
    }
    Ok(())
}

/// Base64 (RFC 4648, section 4) with line breaks.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let dense: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Base64::decode_vec(&dense).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    #[test]
    fn blocks_come_in_their_order() {
        let text = format!("about it\n{}between\n{}", block("AQI=\n"), block("Aw=="));
        assert_eq!(certificates(&text), Ok(vec![vec![1, 2], vec![3]]));
        assert_eq!(certificates("no block"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_certificate_is_told_by_its_place() {
        let pem = |offset, detail| Err(DeviceError::Pem { offset, detail });
        assert_eq!(certificates(&block("A")), pem(0, "not base64"));
        assert_eq!(certificates(&format!("x{}", block("AQI"))), pem(1, "not base64"));
        assert_eq!(certificates(&format!("{BEGIN}\nAQI=")), pem(0, "no end of the certificate"));
        let key = "-----BEGIN PRIVATE KEY-----\nAQI=\n-----END PRIVATE KEY-----\n";
        assert_eq!(certificates(key), pem(0, "not the beginning of a certificate"));
        assert!(certificates(&format!("{}{END}", block("AQI="))).is_err());
    }

    #[test]
    fn count_and_size_are_bounded() {
        assert_eq!(certificates(&block("AQI=").repeat(DeviceChain::MAX)).map(|list| list.len()), Ok(8));
        let too_many = DeviceError::TooMany { field: "certificates", max: DeviceChain::MAX };
        assert_eq!(certificates(&block("AQI=").repeat(DeviceChain::MAX + 1)), Err(too_many));
        assert!(certificates(&" ".repeat(MAX)).is_ok());
        assert!(matches!(certificates(&" ".repeat(MAX + 1)), Err(DeviceError::Oversized { .. })));
    }
}
