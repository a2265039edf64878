//! Binary files of TPM tools, told apart by their contents and joined by the start of their names.

use assay_tpm::{Attest, HashAlg, PcrSet, Public, Signature};

use crate::attestation::{Attested, Key};
use crate::carriers::{MAGIC, from_pem};
use crate::{Folder, Manifest, Sheet};

/// How tpm2-tools begins a credential file: magic and version, big-endian.
const CREDENTIAL: [u8; 8] = *b"\xba\xdc\xc0\xde\x00\x00\x00\x01";

pub(crate) fn judge(folder: &Folder, _: &Manifest, sheet: &mut Sheet) {
    for file in folder.in_folder("quotes") {
        let Ok(bytes) = folder.read(file) else { continue };
        if bytes.starts_with(&MAGIC) {
            attestation(folder, file, bytes, sheet);
        } else if bytes.starts_with(&CREDENTIAL) {
            let seen = credential_lengths(&bytes);
            sheet.holds(file, "credential", seen.is_some(), "two sized parts", format!("{seen:?}"));
        } else if let Some(area) = file.ends_with(".pub").then(|| sized(&bytes)).flatten() {
            let public = Public::parse(area);
            let written = public.as_ref().is_ok_and(|public| public.to_bytes() == area);
            let seen =
                public.map_or_else(|error| error.to_string(), |public| format!("{:?}", public.scheme()));
            sheet.holds(file, "public area", written, "a key", seen);
        } else if file.ends_with(".name") {
            name(folder, file, &bytes, sheet);
        }
    }
}

/// A Name file beside the public areas that it may be of.
fn name(folder: &Folder, file: &str, bytes: &[u8], sheet: &mut Sheet) {
    let names = beside(folder, file).filter_map(|(_, bytes)| Public::parse(sized(&bytes)?).ok()?.name().ok());
    let known = names.into_iter().any(|name| name.as_bytes() == bytes);
    sheet.holds(file, "name", known, "the Name of a key beside it", if known { "it is" } else { "of none" });
}

fn attestation(folder: &Folder, file: &str, bytes: Vec<u8>, sheet: &mut Sheet) {
    let attest = Attest::parse(&bytes);
    let written = attest.as_ref().is_ok_and(|attest| attest.to_bytes().as_ref() == Ok(&bytes));
    let seen = attest.map_or_else(|error| error.to_string(), |_| "parsed and written back".to_owned());
    sheet.holds(file, "attest", written, "an attestation", seen);
    let mut signature = None;
    let mut pcrs = None;
    let mut keys = Vec::new();
    for (other, contents) in beside(folder, file) {
        if Signature::parse(&contents).is_ok() {
            sheet.cover(&other);
            signature = Some(contents);
        } else if let Some(values) = PcrFile::parse(&contents) {
            sheet.cover(&other);
            pcrs = Some(values);
        } else if let Some(key) = key(&contents) {
            sheet.cover(&other);
            keys.push(key);
        }
    }
    let Some(attested) = signature.and_then(|signature| Attested::parse(bytes, &signature).ok()) else {
        return sheet.not_judged(file, "signature", "no TPMT_SIGNATURE beside it");
    };
    let held = keys.iter().filter(|key| key.verify(&attested.bytes, &attested.signature).is_ok()).count();
    match keys.is_empty() {
        true => sheet.not_judged(file, "signature", "no key beside it"),
        false => {
            sheet.holds(file, "signature", held > 0, "holds under a key beside it", format!("under {held}"))
        }
    }
    if let Some(pcrs) = pcrs {
        let seen = attested.digest_holds(|alg, pcr| pcrs.value(alg, pcr));
        sheet.holds(file, "pcr_digest", seen == Some(true), "true", format!("{seen:?}"));
    }
}

/// A TPM2B_PUBLIC, or a PEM public key.
fn key(contents: &[u8]) -> Option<Key> {
    let area = sized(contents).and_then(|area| Public::parse(area).ok());
    area.map(Key::Area).or_else(|| from_pem(std::str::from_utf8(contents).ok()?).ok())
}

/// Files of the folder whose names begin alike, up to the last hyphen.
fn beside<'a>(folder: &'a Folder, file: &'a str) -> impl Iterator<Item = (String, Vec<u8>)> + 'a {
    let prefix = file.rsplit_once('-').map_or(file, |(prefix, _)| prefix);
    let same = move |other: &&str| *other != file && other.rsplit_once('-').is_some_and(|(p, _)| p == prefix);
    folder.files().filter(same).filter_map(|other| Some((other.to_owned(), folder.read(other).ok()?)))
}

/// What follows a big-endian 16-bit size that counts the rest.
fn sized(bytes: &[u8]) -> Option<&[u8]> {
    let (size, rest) = bytes.split_first_chunk::<2>()?;
    (usize::from(u16::from_be_bytes(*size)) == rest.len()).then_some(rest)
}

/// Lengths of identity object and encrypted secret in a tpm2-tools credential file.
pub(crate) fn credential_lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let rest = bytes.strip_prefix(&CREDENTIAL)?;
    let (size, rest) = rest.split_first_chunk::<2>()?;
    let (object, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
    Some((object.len(), sized(rest)?.len()))
}

/// PCR values as `tpm2_quote --pcr` of the 4.x and 5.x tools writes them: a TPML_PCR_SELECTION of
/// sixteen fixed slots, then lists of eight fixed TPM2B_DIGESTs, all little-endian.
struct PcrFile {
    values: Vec<((HashAlg, u8), Vec<u8>)>,
}

impl PcrFile {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = word(bytes)?;
        let (slots, mut rest) = rest.split_at_checked(16 * 8)?;
        let mut wanted = Vec::new();
        for slot in slots.chunks_exact(8).take(usize::try_from(count).ok().filter(|n| (1..=16).contains(n))?)
        {
            let [a, b, 3, x, y, z, _, _] = slot else { return None };
            let alg = HashAlg::from_id(u16::from_le_bytes([*a, *b]))?;
            let bits = u32::from_le_bytes([*x, *y, *z, 0]);
            let pcrs: Vec<u8> = (0..24).filter(|pcr| bits >> pcr & 1 == 1).collect();
            PcrSet::from_indices(&pcrs)?;
            wanted.extend(pcrs.into_iter().map(|pcr| (alg, pcr)));
        }
        let lists;
        (lists, rest) = word(rest)?;
        let mut digests = Vec::new();
        for _ in 0..lists.min(64) {
            let (count, after) = word(rest)?;
            let (slots, after) = after.split_at_checked(8 * 66)?;
            rest = after;
            for slot in slots.chunks_exact(66).take(usize::try_from(count).ok()?) {
                let (size, value) = slot.split_first_chunk::<2>()?;
                digests.push(value.get(..usize::from(u16::from_le_bytes(*size)))?.to_vec());
            }
        }
        let complete = rest.is_empty() && digests.len() == wanted.len();
        complete.then(|| Self { values: wanted.into_iter().zip(digests).collect() })
    }

    fn value(&self, alg: HashAlg, pcr: u8) -> Option<Vec<u8>> {
        self.values.iter().find(|(key, _)| *key == (alg, pcr)).map(|(_, value)| value.clone())
    }
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk::<4>().map(|(word, rest)| (u32::from_le_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_files_have_two_sized_parts() {
        let bytes = [&CREDENTIAL[..], &[0, 2, 1, 2, 0, 1, 9]].concat();
        assert_eq!(credential_lengths(&bytes), Some((2, 1)));
        assert_eq!(credential_lengths(&bytes[..bytes.len() - 1]), None);
        assert_eq!(credential_lengths(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn pcr_files_are_whole_or_nothing() {
        let mut bytes = vec![1, 0, 0, 0, 0x0b, 0, 3, 2, 0, 0, 0, 0];
        bytes.resize(4 + 128, 0);
        bytes.extend([1, 0, 0, 0, 1, 0, 0, 0, 32, 0]);
        bytes.resize(bytes.len() + 64 + 7 * 66, 7);
        let file = PcrFile::parse(&bytes).unwrap();
        assert_eq!(file.value(HashAlg::Sha256, 1), Some(vec![7; 32]));
        assert_eq!(file.value(HashAlg::Sha256, 0), None);
        assert!(PcrFile::parse(&bytes[..bytes.len() - 1]).is_none());
    }
}
