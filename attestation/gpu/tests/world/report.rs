//! Reports, written field by field.

use assay_gpu::device::Architecture;
use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey};

/// What this world's reports are made for.
pub const NONCE: [u8; 32] = [0x5a; 32];
/// The firmware of this world's devices.
pub const FWID: [u8; 48] = [0xf1; 48];

/// A report to be.
#[derive(Clone)]
pub struct ReportDraft {
    pub nonce: [u8; 32],
    /// Value types and values.
    pub blocks: Vec<(u8, Vec<u8>)>,
    pub opaque: Vec<(u16, Vec<u8>)>,
    pub trailing: Vec<u8>,
}

/// Numbers in slots, those that are left over filled with `fill`.
pub fn slots(pdis: &[u64], count: usize, big_endian: bool, fill: u8) -> Vec<u8> {
    let bytes = |pdi: &u64| if big_endian { pdi.to_be_bytes() } else { pdi.to_le_bytes() };
    let mut data = pdis.iter().map(bytes).collect::<Vec<_>>().concat();
    data.resize(8 * count, fill);
    data
}

impl ReportDraft {
    pub fn new(architecture: Architecture, pdi: u64) -> Self {
        let opaque = match architecture {
            Architecture::Ls10 => vec![
                (6, b"96.10.55.00.01".to_vec()),
                (22, pdi.to_be_bytes().to_vec()),
                (26, [slots(&[], 8, true, 0xff), vec![0xff; 64]].concat()),
            ],
            _ => vec![
                (6, vec![0x00, 0x9f, 0x00, 0x96, 0x01, 0, 0, 0]),
                (15, b"885\0\0\0\0\0\0".to_vec()),
                (17, b"G520\0".to_vec()),
                (18, b"0200\0".to_vec()),
                (3, b"590.12\0".to_vec()),
                (20, FWID.to_vec()),
            ],
        };
        let blocks = if architecture.is_switch() { 31 } else { 64 };
        let blocks = (0..blocks).map(|index| (1, vec![index; 48])).collect();
        Self { nonce: NONCE, blocks, opaque, trailing: Vec::new() }
    }

    /// A report without opaque fields, in which raw values of many sizes stand among digests.
    pub fn of_another_processor() -> Self {
        let raw = [(0x81, 1), (0x83, 4), (0x82, 48), (0x83, 0), (0x80, 120)];
        let digests = (0..4).map(|kind| (kind, 48));
        let shapes: Vec<(u8, usize)> = digests.chain(raw).collect();
        let block = |(at, (kind, len)): (u8, &(u8, usize))| (*kind, vec![at; *len]);
        let blocks = (0..20).zip(shapes.iter().cycle()).map(block).collect();
        Self { nonce: NONCE, blocks, opaque: Vec::new(), trailing: Vec::new() }
    }

    /// The same with field `kind` replaced, or added.
    pub fn with(mut self, kind: u16, data: &[u8]) -> Self {
        match self.opaque.iter_mut().find(|(seen, _)| *seen == kind) {
            Some((_, old)) => *old = data.to_vec(),
            None => self.opaque.push((kind, data.to_vec())),
        }
        self
    }

    /// The same without field `kind`.
    pub fn without(mut self, kind: u16) -> Self {
        self.opaque.retain(|(seen, _)| *seen != kind);
        self
    }

    /// What is signed.
    pub fn signed_part(&self) -> Vec<u8> {
        let len = |len: usize| u16::try_from(len).unwrap().to_le_bytes();
        let request = [&[0x11, 0xe0, 1, 0xff][..], &self.nonce, &[0]].concat();
        let block = |(index, (kind, value)): (usize, &(u8, Vec<u8>))| {
            let head = [u8::try_from(index + 1).unwrap(), 1];
            [&head[..], &len(3 + value.len()), &[*kind], &len(value.len()), value].concat()
        };
        let record = self.blocks.iter().enumerate().map(block).collect::<Vec<_>>().concat();
        let [low, high] = len(record.len());
        let count = u8::try_from(self.blocks.len()).unwrap();
        let head = [0x11, 0x60, 0, 0, count, low, high, 0];
        let field =
            |(kind, data): &(u16, Vec<u8>)| [&kind.to_le_bytes()[..], &len(data.len()), data].concat();
        let opaque = self.opaque.iter().map(field).collect::<Vec<_>>().concat();
        [&request[..], &head, &record, &[0xa5; 32], &len(opaque.len()), &opaque].concat()
    }

    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let signed = self.signed_part();
        let signature: Signature = key.sign(&signed);
        [&signed[..], &signature.to_bytes(), &self.trailing].concat()
    }
}

/// The order n of P-384 less `number`.
pub fn order_minus(number: &[u8; 48]) -> [u8; 48] {
    let (order, mut out, mut borrow) = (order(), [0; 48], 0i16);
    for at in (0..48).rev() {
        let digit = i16::from(order[at]) - i16::from(number[at]) - borrow;
        borrow = i16::from(digit < 0);
        out[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    out
}

/// The order n of P-384.
pub fn order() -> [u8; 48] {
    let text =
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    hex::decode(text).unwrap().try_into().unwrap()
}
