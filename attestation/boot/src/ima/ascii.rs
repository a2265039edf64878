//! ASCII logs, rewritten as binary ones.

use super::fields::{Field, IMA_DIGEST_LEN, Template};
use crate::{BootError, HashAlg, MAX_IMA_ENTRIES, PCR_COUNT};

/// Rewrites a log as the kernel would have written its binary form, with the algorithm of its
/// template hashes, which their length tells.
pub(super) fn to_binary(text: &[u8]) -> Result<(Vec<u8>, HashAlg), BootError> {
    let body = text.strip_suffix(b"\n");
    let body = body.ok_or(BootError::ReadField { field: "end of line", offset: text.len() })?;
    let mut binary = Vec::with_capacity(text.len());
    let mut hash_len = None;
    let mut offset = 0;
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if index >= MAX_IMA_ENTRIES {
            return Err(BootError::TooManyEntries { offset });
        }
        let len = entry(line, offset, &mut binary)?;
        if *hash_len.get_or_insert(len) != len {
            return Err(BootError::CheckField { field: "template hash", offset });
        }
        offset += line.len() + 1;
    }
    let algs = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    let alg = algs.into_iter().find(|alg| alg.digest_len() == hash_len);
    Ok((binary, alg.ok_or(BootError::CheckField { field: "template hash", offset: 0 })?))
}

/// Writes one line's entry; answers the length of its template hash.
fn entry(line: &[u8], offset: usize, binary: &mut Vec<u8>) -> Result<usize, BootError> {
    let refuse = |field| BootError::CheckField { field, offset };
    // The kernel prints the index two wide.
    let (pcr, rest) = word(line.trim_ascii_start());
    let pcr =
        std::str::from_utf8(pcr).ok().and_then(|pcr| pcr.parse::<u32>().ok()).ok_or_else(|| refuse("PCR"))?;
    if pcr >= PCR_COUNT {
        return Err(BootError::PcrIndex { pcr, offset });
    }
    binary.extend(pcr.to_le_bytes());
    let (hash, rest) = word(rest.ok_or_else(|| refuse("template hash"))?);
    push_hex(hash, binary).ok_or_else(|| refuse("template hash"))?;
    let (name, rest) = word(rest.ok_or_else(|| refuse("template name"))?);
    push_sized(binary, |binary| binary.extend(name));
    let rest = rest.ok_or_else(|| refuse("template data"))?;
    let name = std::str::from_utf8(name).map_err(|_| refuse("template name"))?;
    match Template::named(name) {
        Template::Unknown => Err(BootError::ImaTemplate { offset }),
        Template::Ima => push_ima(rest, binary).ok_or_else(|| refuse("template data")),
        Template::Fields(list) => {
            push_fields(list.as_slice(), rest, binary).ok_or_else(|| refuse("template data"))
        }
    }?;
    Ok(hash.len() / 2)
}

/// The bytes up to a space, and those behind it.
fn word(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let space = text.iter().position(|byte| *byte == b' ');
    let head = space.and_then(|at| text.get(..at)).unwrap_or(text);
    (head, space.and_then(|at| text.get(at + 1..)))
}

/// The template `ima`: a digest, then the name without a NUL.
fn push_ima(text: &[u8], binary: &mut Vec<u8>) -> Option<()> {
    let (digest, name) = word(text);
    let at = binary.len();
    push_hex(digest, binary)?;
    push_sized(binary, |binary| binary.extend(name.unwrap_or_default()));
    (binary.len().checked_sub(at)? == IMA_DIGEST_LEN + 4 + name?.len()).then_some(())
}

/// Fields, each behind a space. A name may hold spaces in logs of old kernels: it is what the fields
/// before and behind it leave.
fn push_fields(fields: &[Field], text: &[u8], binary: &mut Vec<u8>) -> Option<()> {
    push_sized(binary, |binary| {
        let mut rest = text;
        for (behind, field) in (0..fields.len()).rev().zip(fields) {
            let end = if *field == Field::Name { back(rest, behind)? } else { front(rest, behind)? };
            let (head, tail) = rest.split_at_checked(end)?;
            push_sized(binary, |binary| push_field(*field, head, binary))?;
            rest = tail.get(1..).unwrap_or_default();
        }
        Some(())
    })
}

/// Where the first field of `text` ends when `behind` fields follow.
fn front(text: &[u8], behind: usize) -> Option<usize> {
    if behind == 0 {
        return Some(text.len());
    }
    text.iter().position(|byte| *byte == b' ')
}

/// Where the fields in front end when `behind` fields follow.
fn back(text: &[u8], behind: usize) -> Option<usize> {
    let mut spaces = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b' ');
    if behind == 0 { Some(text.len()) } else { spaces.nth(behind - 1).map(|(at, _)| at) }
}

fn push_field(field: Field, text: &[u8], binary: &mut Vec<u8>) -> Option<()> {
    match field {
        Field::DigestNg | Field::DigestNgV2 => push_digest_ng(text, binary),
        Field::ModsigDigest if !text.is_empty() => push_digest_ng(text, binary),
        Field::Name => {
            binary.extend(text);
            binary.push(0);
            Some(())
        }
        _ => push_hex(text, binary),
    }
}

fn push_digest_ng(text: &[u8], binary: &mut Vec<u8>) -> Option<()> {
    let colon = text.iter().rposition(|byte| *byte == b':')?;
    let (head, digest) = text.split_at_checked(colon + 1)?;
    binary.extend(head);
    binary.push(0);
    push_hex(digest, binary)
}

/// Writes what `push` writes, behind its length.
fn push_sized<T>(binary: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let at = binary.len();
    binary.extend([0; 4]);
    let pushed = push(binary);
    let len = binary.len().saturating_sub(at + 4);
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    if let Some(place) = binary.get_mut(at..at + 4) {
        place.copy_from_slice(&len);
    }
    pushed
}

fn push_hex(text: &[u8], binary: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = text.as_chunks::<2>();
    for [high, low] in pairs {
        binary.push(nibble(*high)? << 4 | nibble(*low)?);
    }
    rest.is_empty().then_some(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
