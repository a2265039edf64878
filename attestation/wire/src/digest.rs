//! A SHA-256 value on the wire.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// 32 bytes: a hash, an id or a nonce. A CBOR byte string on the wire, hex for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits, in lower or upper case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The first eight hexadecimal digits, for display only.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for Digest {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Digest {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Self::try_from(d.bytes()?).map_err(|_| decode::Error::message("expected 32 bytes").at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;

    fn rising() -> Digest {
        Digest(std::array::from_fn(|at| u8::try_from(at).unwrap()))
    }

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn people_see_hexadecimal() {
        assert_eq!((rising().to_string().as_str(), format!("{:?}", rising()).as_str()), (HEX, HEX));
        assert_eq!(rising().short(), "00010203");
        assert_eq!(Digest::from_hex(HEX), Some(rising()));
        assert_eq!(Digest::from_hex(&HEX.to_uppercase()), Some(rising()));
        for wrong in [&HEX[1..], &HEX[2..], &format!("{HEX}00"), &HEX.replace('f', "g"), ""] {
            assert_eq!(Digest::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_come_and_go() {
        let bytes = *rising().as_bytes();
        assert_eq!(Digest::from(bytes), rising());
        assert_eq!(Digest::try_from(&bytes[..]).ok(), Some(rising()));
        assert!(Digest::try_from(&bytes[1..]).is_err());
    }

    #[test]
    fn the_wire_sees_a_byte_string_of_32() {
        let bytes = cbor::to_vec(&rising());
        assert_eq!((bytes.len(), &bytes[..4]), (34, &[0x58, 32, 0, 1][..]));
        assert_eq!(cbor::from_slice("digest", &bytes, 34), Ok(rising()));
        let mut short = bytes[..33].to_vec();
        short[1] = 31;
        assert!(cbor::from_slice::<Digest>("digest", &short, 34).is_err());
    }
}
