//! Messages between parent and child: four bytes of length, big-endian, then JSON.

use super::attestation::GpuAttestation;
use super::facts::GpuInventory;
use super::{GpuStatus, NvmlFault};
use assay_gpu::GpuSample;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};

/// Longest message; 64 GPUs with hundreds of processes each stay far below.
const MAX_LEN: u32 = 1 << 20;

/// What the parent asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) question: Question,
    /// The child ends itself if it has not answered after this many seconds: its parent has given up by
    /// then, and may not be there any more to kill it.
    pub(super) give_up_s: u32,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    /// Everything.
    Inventory,
    /// The counters and gauges of all GPUs.
    Sample,
    /// One GPU's signed report over a nonce.
    Attest { gpu: u8, nonce: [u8; 32] },
}

/// What the child answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Inventory(Box<GpuInventory>),
    Samples(Vec<GpuSample>),
    Attested(Box<GpuAttestation>),
    Unavailable(GpuStatus),
}

/// Sends one message.
pub(super) fn write<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), NvmlFault> {
    let body = serde_json::to_vec(message).map_err(NvmlFault::Encode)?;
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if len > MAX_LEN {
        return Err(NvmlFault::TooLong { len, limit: MAX_LEN });
    }
    let mut frame = len.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    to.write_all(&frame).map_err(NvmlFault::Write)
}

/// Receives one message; memory is taken only after its length was checked.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, NvmlFault> {
    let mut prefix = [0; 4];
    fill(from, &mut prefix)?;
    let len = u32::from_be_bytes(prefix);
    let size = usize::try_from(len).ok().filter(|_| len <= MAX_LEN);
    let size = size.ok_or(NvmlFault::TooLong { len, limit: MAX_LEN })?;
    let mut body = vec![0; size];
    fill(from, &mut body)?;
    serde_json::from_slice(&body).map_err(NvmlFault::Decode)
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), NvmlFault> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => NvmlFault::Closed,
        _ => NvmlFault::Read(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let mut bytes = Vec::new();
        let request = Request { question: Question::Sample, give_up_s: 6 };
        write(&mut bytes, &request).unwrap();
        write(&mut bytes, &Reply::Unavailable(GpuStatus::DriverNotLoaded)).unwrap();
        let mut bytes = bytes.as_slice();
        assert_eq!(read::<Request>(&mut bytes).unwrap(), request);
        assert_eq!(read::<Reply>(&mut bytes).unwrap(), Reply::Unavailable(GpuStatus::DriverNotLoaded));
        assert!(matches!(read::<Reply>(&mut bytes), Err(NvmlFault::Closed)));
    }

    #[test]
    fn an_absurd_length_is_refused_before_memory_is_taken() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, b'{'];
        assert!(matches!(read::<Reply>(&mut bytes), Err(NvmlFault::TooLong { len: u32::MAX, .. })));
        let long = "x".repeat(1 << 20);
        assert!(matches!(write(&mut Vec::new(), &long), Err(NvmlFault::TooLong { .. })));
    }

    #[test]
    fn garbage_and_cut_messages_are_typed_errors() {
        let mut garbage: &[u8] = &[0, 0, 0, 2, 0xff, 0xfe];
        assert!(matches!(read::<Reply>(&mut garbage), Err(NvmlFault::Decode(_))));
        let mut cut: &[u8] = &[0, 0, 0, 9, b'{'];
        assert!(matches!(read::<Reply>(&mut cut), Err(NvmlFault::Closed)));
        let mut trailing: &[u8] = &[0, 0, 0, 10, b'"', b's', b'a', b'm', b'p', b'l', b'e', b'"', b'1', b'1'];
        assert!(matches!(read::<Question>(&mut trailing), Err(NvmlFault::Decode(_))));
    }
}
