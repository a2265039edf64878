//! `EFI_SIGNATURE_LIST`: how PK, KEK, db and dbx hold keys and digests (UEFI 2.10, section 32.4.1).

use crate::BootError;
use crate::cursor::Cursor;
use crate::guid::guid;

/// SignatureType, SignatureListSize, SignatureHeaderSize, SignatureSize.
const LIST_HEADER: usize = 16 + 4 + 4 + 4;
const OWNER: usize = 16;

macro_rules! types {
    ($($name:ident, $text:literal, $guid:expr, $len:expr, $doc:literal;)*) => {
        /// What a list's entries are (UEFI 2.10, section 32.4.1, "EFI_SIGNATURE_DATA").
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum SignatureType {
            $(#[doc = $doc] $name,)*
            /// Any other type, by its GUID in memory encoding: entries are kept, and mean nothing here.
            Other([u8; 16]),
        }

        impl SignatureType {
            /// The type with this GUID, in memory encoding.
            #[must_use]
            pub fn from_guid(guid: [u8; 16]) -> Self {
                $(if guid == $guid { return Self::$name; })*
                Self::Other(guid)
            }

            /// The type's GUID in memory encoding.
            #[must_use]
            pub fn guid(self) -> [u8; 16] {
                match self {
                    $(Self::$name => $guid,)*
                    Self::Other(guid) => guid,
                }
            }

            /// Lower-case name; "unknown" for [`SignatureType::Other`].
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(_) => "unknown",
                }
            }

            /// Length in bytes of an entry's data where the type fixes it.
            #[must_use]
            pub fn data_len(self) -> Option<usize> {
                match self {
                    $(Self::$name => $len,)*
                    Self::Other(_) => None,
                }
            }
        }
    };
}

types! {
    Sha1, "sha1", guid(0x826c_a512, 0xcf10, 0x4ac9, [0xb1, 0x87, 0xbe, 0x01, 0x49, 0x66, 0x31, 0xbd]), Some(20),
        "Authenticode digest, SHA-1.";
    Sha224, "sha224", guid(0x0b6e_5233, 0xa65c, 0x44c9, [0x94, 0x07, 0xd9, 0xab, 0x83, 0xbf, 0xc8, 0xbd]), Some(28),
        "Authenticode digest, SHA-224.";
    Sha256, "sha256", guid(0xc1c4_1626, 0x504c, 0x4092, [0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28]), Some(32),
        "Authenticode digest, SHA-256.";
    Sha384, "sha384", guid(0xff3e_5307, 0x9fd0, 0x48c9, [0x85, 0xf1, 0x8a, 0xd5, 0x6c, 0x70, 0x1e, 0x01]), Some(48),
        "Authenticode digest, SHA-384.";
    Sha512, "sha512", guid(0x093e_0fae, 0xa6c4, 0x4f50, [0x9f, 0x1b, 0xd4, 0x1e, 0x2b, 0x89, 0xc1, 0x9a]), Some(64),
        "Authenticode digest, SHA-512.";
    X509, "x509", guid(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]), None,
        "DER certificate.";
    X509Sha256, "x509-sha256",
        guid(0x3bd2_a492, 0x96c0, 0x4079, [0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed]), Some(32 + 16),
        "SHA-256 of a certificate's to-be-signed part, and the time of its revocation.";
    X509Sha384, "x509-sha384",
        guid(0x7076_876e, 0x80c2, 0x4ee6, [0xaa, 0xd2, 0x28, 0xb3, 0x49, 0xa6, 0x86, 0x5b]), Some(48 + 16),
        "SHA-384 of a certificate's to-be-signed part, and the time of its revocation.";
    X509Sha512, "x509-sha512",
        guid(0x446d_bf63, 0x2502, 0x4cda, [0xbc, 0xfa, 0x24, 0x65, 0xd2, 0xb0, 0xfe, 0x9d]), Some(64 + 16),
        "SHA-512 of a certificate's to-be-signed part, and the time of its revocation.";
    Rsa2048, "rsa2048", guid(0x3c57_66e8, 0x269c, 0x4e34, [0xaa, 0x14, 0xed, 0x77, 0x6e, 0x85, 0xb3, 0xb6]), Some(256),
        "RSA-2048 modulus; the exponent is 65537.";
    Rsa2048Sha1, "rsa2048-sha1",
        guid(0x67f8_444f, 0x8743, 0x48f1, [0xa3, 0x28, 0x1e, 0xaa, 0xb8, 0x73, 0x60, 0x80]), Some(256),
        "RSA-2048 signature over a SHA-1 digest.";
    Rsa2048Sha256, "rsa2048-sha256",
        guid(0xe2b3_6190, 0x879b, 0x4a3d, [0xad, 0x8d, 0xf2, 0xe7, 0xbb, 0xa3, 0x27, 0x84]), Some(256),
        "RSA-2048 signature over a SHA-256 digest.";
    Pkcs7, "pkcs7", guid(0x4aaf_d29d, 0x68df, 0x49ee, [0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7]), None,
        "DER PKCS#7 SignedData.";
}

/// One entry (`EFI_SIGNATURE_DATA`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who put it there: a GUID in memory encoding.
    pub owner: [u8; 16],
    /// Certificate, key or digest, as the list's type says; never empty.
    pub data: Vec<u8>,
}

/// Entries of one type and one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureList {
    /// What the entries are.
    pub kind: SignatureType,
    /// SignatureHeader; empty for every type that the specification defines.
    pub header: Vec<u8>,
    /// The entries in order; may be none.
    pub signatures: Vec<Signature>,
}

impl SignatureList {
    /// Reads lists that fill `data` exactly, as a variable holds them; no byte, no list.
    ///
    /// The sizes of a list must add up: SignatureListSize is the 28 bytes before the header, the
    /// header of SignatureHeaderSize, which no entry begins in, and a whole number of entries. A
    /// defined type has no header and the entry size that the specification gives.
    ///
    /// # Errors
    /// [`BootError::ReadField`] or [`BootError::CheckField`], with offsets from the start of `data`.
    pub fn parse_all(data: &[u8]) -> Result<Vec<Self>, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let mut lists = Vec::new();
        while cursor.remaining() > 0 {
            lists.push(list(&mut cursor)?);
        }
        Ok(lists)
    }

    /// The list as a variable holds it. Entries must have one length, as parsed ones do.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entry = OWNER + self.signatures.first().map_or(1, |signature| signature.data.len());
        let total = LIST_HEADER + self.header.len() + entry * self.signatures.len();
        let sizes = [total, self.header.len(), entry].map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        let mut bytes = self.kind.guid().to_vec();
        bytes.extend(sizes.into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(&self.header);
        for signature in &self.signatures {
            bytes.extend(signature.owner);
            bytes.extend(&signature.data);
        }
        bytes
    }
}

fn list(cursor: &mut Cursor<'_>) -> Result<SignatureList, BootError> {
    let start = cursor.offset();
    let kind = SignatureType::from_guid(cursor.array("SignatureType")?);
    let total = size(cursor, "SignatureListSize")?;
    let header_len = size(cursor, "SignatureHeaderSize")?;
    let entry = size(cursor, "SignatureSize")?;
    let check = |field| BootError::CheckField { field, offset: start };
    let entries = total.checked_sub(LIST_HEADER).and_then(|rest| rest.checked_sub(header_len));
    let entries = entries.ok_or_else(|| check("SignatureListSize"))?;
    if !matches!(kind, SignatureType::Other(_)) && header_len != 0 {
        return Err(check("SignatureHeaderSize"));
    }
    let fixed = kind.data_len().map(|len| OWNER + len);
    if entry <= OWNER || fixed.is_some_and(|fixed| fixed != entry) {
        return Err(check("SignatureSize"));
    }
    if entries % entry != 0 {
        return Err(check("SignatureListSize"));
    }
    let header = cursor.take(header_len, "SignatureHeader")?.to_vec();
    let entries = Cursor::new(cursor.take(entries, "Signatures")?, 0);
    Ok(SignatureList { kind, header, signatures: signatures(entries, entry - OWNER)? })
}

fn signatures(mut entries: Cursor<'_>, len: usize) -> Result<Vec<Signature>, BootError> {
    let mut signatures = Vec::new();
    while entries.remaining() > 0 {
        let owner = entries.array("SignatureOwner")?;
        signatures.push(Signature { owner, data: entries.take(len, "SignatureData")?.to_vec() });
    }
    Ok(signatures)
}

fn size(cursor: &mut Cursor<'_>, field: &'static str) -> Result<usize, BootError> {
    let offset = cursor.offset();
    usize::try_from(cursor.u32(field)?).map_err(|_| BootError::CheckField { field, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> SignatureList {
        let entry = |byte| Signature { owner: [byte; 16], data: vec![byte; 32] };
        SignatureList { kind: SignatureType::Sha256, header: vec![], signatures: vec![entry(1), entry(2)] }
    }

    /// A list with these sizes, whatever they are, and its content.
    fn raw(kind: [u8; 16], sizes: [u32; 3], content: &[u8]) -> Vec<u8> {
        let sizes: Vec<u8> = sizes.into_iter().flat_map(u32::to_le_bytes).collect();
        [&kind[..], &sizes, content].concat()
    }

    fn field(bytes: &[u8]) -> &'static str {
        match SignatureList::parse_all(bytes) {
            Err(BootError::CheckField { field, .. } | BootError::ReadField { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_follow_one_another() {
        let x509 = SignatureList {
            kind: SignatureType::X509,
            header: vec![],
            signatures: vec![Signature { owner: [3; 16], data: vec![0x30; 700] }],
        };
        let bytes = [two().encode(), x509.encode()].concat();
        assert_eq!(SignatureList::parse_all(&bytes), Ok(vec![two(), x509]));
        assert_eq!(SignatureList::parse_all(&[]), Ok(vec![]));
    }

    #[test]
    fn an_unknown_types_header_is_no_entry() {
        let list = SignatureList {
            kind: SignatureType::Other([9; 16]),
            header: vec![0xee; 48],
            signatures: vec![Signature { owner: [1; 16], data: vec![2; 32] }],
        };
        assert_eq!(SignatureList::parse_all(&list.encode()), Ok(vec![list]));
        // The header counts: a list size that leaves it out has no room for the entry.
        let bytes = raw([9; 16], [28 + 48, 48, 48], &[0; 96]);
        assert_eq!(field(&bytes), "SignatureListSize", "what is left is no list");
        let bytes = raw([9; 16], [28 + 47, 48, 48], &[0; 96]);
        assert_eq!(field(&bytes), "SignatureListSize");
    }

    #[test]
    fn a_defined_type_has_no_header_and_its_own_size() {
        let sha256 = SignatureType::Sha256.guid();
        assert_eq!(field(&raw(sha256, [28 + 48 + 48, 48, 48], &[0; 96])), "SignatureHeaderSize");
        assert_eq!(field(&raw(sha256, [28 + 49, 0, 49], &[0; 49])), "SignatureSize");
        assert_eq!(field(&raw(SignatureType::X509.guid(), [28 + 16, 0, 16], &[0; 16])), "SignatureSize");
        assert_eq!(field(&raw(sha256, [28 + 50, 0, 48], &[0; 50])), "SignatureListSize");
        assert_eq!(field(&raw(sha256, [27, 0, 48], &[])), "SignatureListSize");
        assert_eq!(field(&raw(sha256, [28 + 48, 0, 48], &[0; 47])), "Signatures");
        assert_eq!(field(&raw(sha256, [u32::MAX, 0, 48], &[0; 48])), "SignatureListSize");
        assert_eq!(field(&raw(sha256, [28, 0, 0], &[])), "SignatureSize");
        let empty = SignatureList { signatures: vec![], ..two() };
        let bytes = raw(sha256, [28, 0, 48], &[]);
        assert_eq!(SignatureList::parse_all(&bytes), Ok(vec![empty]));
    }

    #[test]
    fn every_type_is_its_guid() {
        use SignatureType::*;
        let all = [Sha1, Sha224, Sha256, Sha384, Sha512, X509, X509Sha256, X509Sha384, X509Sha512];
        for kind in all.into_iter().chain([Rsa2048, Rsa2048Sha1, Rsa2048Sha256, Pkcs7, Other([7; 16])]) {
            assert_eq!(SignatureType::from_guid(kind.guid()), kind);
            assert!(!kind.name().is_empty());
        }
    }
}
