//! One device's evidence as it travels.

use minicbor::{Decode, Encode};

use super::{DeviceChain, Report};

/// The most OCSP answers that travel with one device.
pub const MAX_OCSP: usize = 64;

/// A report, its certificates and what their issuers' responders said.
///
/// CDDL: `device-evidence` in `gpu.cddl`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeviceEvidence {
    /// The GPU's index in the session's table; absent for a switch.
    #[n(0)]
    pub gpu: Option<u8>,
    /// What the device is said to be; its certificate must agree.
    #[n(1)]
    pub architecture: super::Architecture,
    /// Request, answer and signature ([`super::Report::parse`]).
    #[cbor(n(2), with = "report")]
    pub report: Vec<u8>,
    /// DER of the certificates, the leaf's first; at most [`DeviceChain::MAX`].
    #[cbor(n(3), with = "chain")]
    pub chain: Vec<Vec<u8>>,
    /// DER of the OCSP answers for them (RFC 6960), in any order; none to [`MAX_OCSP`]. They carry no nonce
    /// of a verifier's: until its nextUpdate a node may bring an answer again, also one from before a revocation.
    #[cbor(n(4), with = "ocsp")]
    pub ocsp: Vec<Vec<u8>>,
    /// The source said that it is a simulation. Only `true` has weight.
    #[n(5)]
    pub simulated: bool,
}

/// At most [`Report::MAX`] bytes.
mod report {
    use minicbor::bytes::encode as of_bytes;
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    pub(super) fn encode<C, W: Write>(
        bytes: &Vec<u8>,
        encoder: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        of_bytes(bytes, encoder, ctx)
    }

    pub(super) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Vec<u8>, Error> {
        let at = decoder.position();
        match decoder.bytes()? {
            bytes if bytes.len() > super::Report::MAX => Err(Error::message("longer than a report").at(at)),
            bytes => Ok(bytes.to_vec()),
        }
    }
}

/// At most [`DeviceChain::MAX`] certificates.
mod chain {
    use minicbor::decode::{Decoder, Error};

    pub(super) use super::list::encode;

    pub(super) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Vec<u8>>, Error> {
        super::list::decode(decoder, super::DeviceChain::MAX, "more certificates than a device's chain has")
    }
}

/// At most [`MAX_OCSP`] answers.
mod ocsp {
    use minicbor::decode::{Decoder, Error};

    pub(super) use super::list::encode;

    pub(super) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Vec<u8>>, Error> {
        super::list::decode(decoder, super::MAX_OCSP, "more OCSP answers than travel with a device")
    }
}

/// A list of byte strings.
mod list {
    use minicbor::bytes::{ByteSlice, ByteVec};
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    pub(super) fn encode<C, W: Write>(
        list: &[Vec<u8>],
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.array(u64::try_from(list.len()).unwrap_or(u64::MAX))?;
        for item in list {
            encoder.encode(<&ByteSlice>::from(item.as_slice()))?;
        }
        Ok(())
    }

    /// Up to `most` items; the next one is not read.
    pub(super) fn decode(
        decoder: &mut Decoder<'_>,
        most: usize,
        over: &'static str,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let at = decoder.position();
        let mut list = Vec::new();
        for item in decoder.array_iter::<ByteVec>()? {
            if list.len() == most {
                return Err(Error::message(over).at(at));
            }
            list.push(item?.into());
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Architecture;

    #[test]
    fn longer_lists_than_a_device_has_are_refused() {
        let read = |report: usize, chain: usize, ocsp: usize| {
            let evidence = DeviceEvidence {
                gpu: None,
                architecture: Architecture::Ls10,
                report: vec![3; report],
                chain: vec![vec![1]; chain],
                ocsp: vec![vec![2]; ocsp],
                simulated: false,
            };
            let bytes = minicbor::to_vec(&evidence).unwrap();
            minicbor::decode::<DeviceEvidence>(&bytes).map(|read| read == evidence).map_err(|e| e.to_string())
        };
        assert_eq!(read(0, 0, 0), Ok(true));
        assert_eq!(read(Report::MAX, DeviceChain::MAX, MAX_OCSP), Ok(true));
        assert!(read(Report::MAX + 1, 0, 0).unwrap_err().contains("report"));
        assert!(read(0, DeviceChain::MAX + 1, 0).unwrap_err().contains("certificates"));
        assert!(read(0, 0, MAX_OCSP + 1).unwrap_err().contains("answers"));
    }
}
