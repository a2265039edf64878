//! EV_EFI_VARIABLE_AUTHORITY: which entry of which variable vouched for an image (PFP 1.06,
//! sections 3.3.4.8 and 10.2.6).

use crate::cursor::Cursor;
use crate::guid::guid;
use crate::{BootError, EFI_IMAGE_SECURITY_DATABASE, Signature, UefiVariable};

/// SHIM_LOCK_GUID: the variables of shim, a boot loader with keys of its own.
pub const SHIM_LOCK: [u8; 16] =
    guid(0x605d_ab50, 0xe046, 0x4300, [0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23]);

/// Most bytes after the structure that are taken as shim's.
const MAX_EXTRA_BYTES: usize = 6;

/// Who vouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voucher {
    /// An entry of a signature list, with its owner: what the specification asks for.
    Entry(Signature),
    /// A bare DER certificate: what shim logs, for db entries too.
    Certificate(Vec<u8>),
    /// Text: shim's SBAT revocation level.
    Text(String),
    /// Something else, as it came.
    Other(Vec<u8>),
}

/// What an EV_EFI_VARIABLE_AUTHORITY event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The variable's GUID in memory encoding.
    pub guid: [u8; 16],
    /// The variable's name.
    pub name: String,
    /// Its entry that vouched.
    pub voucher: Voucher,
    /// Bytes after the structure that are not part of it: 0, or up to 6 where versions of shim
    /// count the padding that a compiler puts into it. They measure five and log six.
    pub extra_bytes: usize,
}

impl Authority {
    /// Reads one event's data: a variable, with at most six bytes after it where the variable holds
    /// a bare certificate.
    ///
    /// # Errors
    /// [`BootError::ReadField`] or [`BootError::CheckField`], with offsets from the start of `data`.
    pub fn parse(data: &[u8]) -> Result<Self, BootError> {
        let whole = UefiVariable::parse(data).map(|variable| read(variable, 0));
        let Err(error) = whole else { return whole };
        let shorter = (1..=MAX_EXTRA_BYTES).find_map(|extra| {
            let (start, _) = data.split_at_checked(data.len().checked_sub(extra)?)?;
            UefiVariable::parse(start).ok().map(|variable| read(variable, extra))
        });
        shorter.filter(|read| matches!(read.voucher, Voucher::Certificate(_))).ok_or(error)
    }
}

fn read(variable: UefiVariable, extra_bytes: usize) -> Authority {
    let UefiVariable { guid, name, value } = variable;
    let voucher = if is_der_sequence(&value) {
        Voucher::Certificate(value)
    } else if guid == SHIM_LOCK && name == "SbatLevel" {
        String::from_utf8(value).map_or_else(|error| Voucher::Other(error.into_bytes()), Voucher::Text)
    } else if guid == EFI_IMAGE_SECURITY_DATABASE || guid == SHIM_LOCK {
        entry(&value).unwrap_or(Voucher::Other(value))
    } else {
        Voucher::Other(value)
    };
    Authority { guid, name, voucher, extra_bytes }
}

fn entry(value: &[u8]) -> Option<Voucher> {
    let mut cursor = Cursor::new(value, 0);
    let owner = cursor.array("SignatureOwner").ok()?;
    let data = cursor.take(cursor.remaining(), "SignatureData").ok()?.to_vec();
    (!data.is_empty()).then_some(Voucher::Entry(Signature { owner, data }))
}

/// A DER SEQUENCE with a length of two bytes that fills the value, as every certificate is.
fn is_der_sequence(value: &[u8]) -> bool {
    let [0x30, 0x82, high, low, rest @ ..] = value else { return false };
    usize::from(u16::from_be_bytes([*high, *low])) == rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(guid: [u8; 16], name: &str, value: &[u8]) -> Vec<u8> {
        UefiVariable { guid, name: name.into(), value: value.to_vec() }.encode()
    }

    fn certificate() -> Vec<u8> {
        [&[0x30, 0x82, 0x01, 0x00][..], &[7; 256]].concat()
    }

    #[test]
    fn entries_and_certificates_are_told_apart() {
        let value = [&[5; 16][..], &certificate()].concat();
        let read = Authority::parse(&data(EFI_IMAGE_SECURITY_DATABASE, "db", &value)).unwrap();
        let signature = Signature { owner: [5; 16], data: certificate() };
        assert_eq!(read.voucher, Voucher::Entry(signature));
        let bare = data(SHIM_LOCK, "Shim", &certificate());
        assert_eq!(Authority::parse(&bare).unwrap().voucher, Voucher::Certificate(certificate()));
        let level = Authority::parse(&data(SHIM_LOCK, "SbatLevel", b"sbat,1,2021030218\n")).unwrap();
        assert_eq!(level.voucher, Voucher::Text("sbat,1,2021030218\n".into()));
        let other = Authority::parse(&data([1; 16], "db", &value)).unwrap();
        assert_eq!(other.voucher, Voucher::Other(value));
        let short = Authority::parse(&data(EFI_IMAGE_SECURITY_DATABASE, "db", &[1; 16])).unwrap();
        assert_eq!(short.voucher, Voucher::Other(vec![1; 16]));
    }

    #[test]
    fn a_few_bytes_more_are_shims_and_no_ones_else() {
        let bare = |extra| [&data(SHIM_LOCK, "Shim", &certificate())[..], &vec![0xaf; extra]].concat();
        assert_eq!(Authority::parse(&bare(1)).unwrap().extra_bytes, 1);
        assert_eq!(Authority::parse(&bare(6)).unwrap().extra_bytes, 6);
        assert!(Authority::parse(&bare(7)).is_err());
        let value = [&[5; 16][..], &certificate()].concat();
        let entry = [&data(EFI_IMAGE_SECURITY_DATABASE, "db", &value)[..], &[0]].concat();
        assert!(Authority::parse(&entry).is_err());
    }
}
