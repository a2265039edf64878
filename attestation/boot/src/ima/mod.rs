//! The kernel's IMA log, `ascii_runtime_measurements` and `binary_runtime_measurements`
//! (Documentation/security/IMA-templates.rst; little-endian, as `ima_canonical_fmt` and every
//! little-endian machine write it).
//!
//! An entry's template data is what a bank's digest covers; its logged template hash is a remark that
//! [`ImaLog::first_altered`] checks. A file name may hold a line feed, which the ASCII form does not
//! escape: such a log is refused, or doesn't replay; its binary form does.

mod ascii;
mod fields;
mod hasher;
mod replay;

use std::borrow::Cow;

pub use fields::ImaFields;
pub(crate) use replay::{ExtendRule, Track};
pub use replay::{ImaPrefix, boot_aggregate};

use crate::cursor::Cursor;
use crate::{BootError, HashAlg, MAX_IMA_DATA_BYTES, MAX_IMA_ENTRIES, MAX_IMA_LOG_BYTES, PCR_COUNT};
use fields::Template;

/// Longest template name accepted, in bytes; the kernel's own limit is a little lower.
const MAX_TEMPLATE_NAME: usize = 128;

/// Which of the two forms the bytes had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImaFormat {
    /// Lines of text.
    Ascii,
    /// Records of bytes.
    Binary,
}

impl ImaFormat {
    /// The name used in findings: "ima-ascii" or "ima-binary".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ascii => "ima-ascii",
            Self::Binary => "ima-binary",
        }
    }
}

/// A well-formed IMA log. Borrows a binary log; an ASCII log is rewritten as a binary one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImaLog<'a> {
    format: ImaFormat,
    hash_alg: HashAlg,
    /// Length of a logged template hash.
    hash_len: usize,
    /// The binary form.
    bytes: Cow<'a, [u8]>,
    len: usize,
    /// Bit per PCR that an entry is for.
    pcrs: u32,
}

/// One entry of an IMA log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImaEntry<'a> {
    /// PCR index, below [`PCR_COUNT`]; 10 unless the policy names another.
    pub pcr: u8,
    /// The template hash as logged; all zeros for a violation.
    pub template_hash: &'a [u8],
    /// Name of the template, or its format where it has no name.
    pub template_name: &'a str,
    /// The template data, as logged.
    pub data: &'a [u8],
    template: Template,
}

impl<'a> ImaEntry<'a> {
    /// Whether the kernel found the measurement unreliable (a file open for writing, say): it then
    /// logs a template hash of zeros and extends ones.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        self.template_hash.iter().all(|byte| *byte == 0)
    }

    /// The template's fields; `None` for a template that is not made of known ones.
    #[must_use]
    pub fn fields(&self) -> Option<ImaFields<'a>> {
        fields::read(&self.template, self.data)
    }
}

impl<'a> ImaLog<'a> {
    /// Parses a whole log of either form, and of either kind: template hashes of SHA-1, or of the
    /// bank that the file is named after (kernel 6.10 and later).
    ///
    /// # Errors
    /// A [`BootError`] naming field and offset where the bytes are not exactly one log within the
    /// crate's limits, where a known template's data is not exactly its fields, or where a file
    /// digest's algorithm is not one of the kernel's or has another length.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BootError> {
        if bytes.is_empty() {
            return Err(BootError::Empty);
        }
        if bytes.len() > MAX_IMA_LOG_BYTES {
            return Err(BootError::ImaLogTooLong { bytes: bytes.len() });
        }
        // A PCR index below 24 begins with a byte and three zeros; text has no zeros.
        let binary = bytes.get(1..4) == Some(&[0; 3]);
        let (format, bytes, hash_alg) = if binary {
            (ImaFormat::Binary, Cow::Borrowed(bytes), binary_hash_alg(bytes))
        } else {
            let (bytes, hash_alg) = ascii::to_binary(bytes)?;
            (ImaFormat::Ascii, Cow::Owned(bytes), hash_alg)
        };
        let hash_len = hash_alg.digest_len().unwrap_or_default();
        let mut log = Self { format, hash_alg, hash_len, bytes, len: 0, pcrs: 0 };
        (log.len, log.pcrs) = log.check()?;
        Ok(log)
    }

    /// Which form the bytes had.
    #[must_use]
    pub fn format(&self) -> ImaFormat {
        self.format
    }

    /// Algorithm of the logged template hashes.
    #[must_use]
    pub fn hash_alg(&self) -> HashAlg {
        self.hash_alg
    }

    /// Number of entries, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a log without an entry is refused")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = ImaEntry<'_>> {
        let mut cursor = Cursor::new(&self.bytes, 0);
        let mut template = ("", Template::Unknown);
        // The log was read once: nothing fails, and an end is the end.
        std::iter::from_fn(move || entry(&mut cursor, self.hash_len, &mut template).ok())
    }

    /// Whether an entry is for this PCR.
    #[must_use]
    pub fn touches(&self, pcr: u8) -> bool {
        1u32.checked_shl(pcr.into()).is_some_and(|bit| self.pcrs & bit != 0)
    }

    /// Reads the log once; answers the number of entries, and a bit per PCR.
    fn check(&self) -> Result<(usize, u32), BootError> {
        let mut cursor = Cursor::new(&self.bytes, 0);
        let mut template = ("", Template::Unknown);
        let (mut len, mut pcrs) = (0, 0);
        while cursor.remaining() > 0 {
            let offset = cursor.offset();
            if len >= MAX_IMA_ENTRIES {
                return Err(BootError::TooManyEntries { offset });
            }
            let entry = entry(&mut cursor, self.hash_len, &mut template)?;
            fields::check(&entry, offset)?;
            len += 1;
            pcrs |= 1u32 << entry.pcr;
        }
        Ok((len, pcrs))
    }
}

/// Reads one entry; `before` is the template of the entry before it, which it most often shares.
#[inline]
fn entry<'a>(
    cursor: &mut Cursor<'a>,
    hash_len: usize,
    before: &mut (&'a str, Template),
) -> Result<ImaEntry<'a>, BootError> {
    let offset = cursor.offset();
    let pcr = cursor.u32("PCR")?;
    let known = u8::try_from(pcr).ok().filter(|_| pcr < PCR_COUNT);
    let known = known.ok_or(BootError::PcrIndex { pcr, offset })?;
    let template_hash = cursor.take(hash_len, "template hash")?;
    let name_offset = cursor.offset();
    let name = name(cursor)?;
    if name != before.0.as_bytes() {
        let name = template_name(name);
        let name = name.ok_or(BootError::CheckField { field: "template name", offset: name_offset })?;
        *before = (name, Template::named(name));
    }
    let (template_name, template) = *before;
    let data = data(cursor, &template)?;
    Ok(ImaEntry { pcr: known, template_hash, template_name, data, template })
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], BootError> {
    let offset = cursor.offset();
    let len = usize::try_from(cursor.u32("template name size")?).unwrap_or(usize::MAX);
    if !(1..=MAX_TEMPLATE_NAME).contains(&len) {
        return Err(BootError::CheckField { field: "template name size", offset });
    }
    cursor.take(len, "template name")
}

fn template_name(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    name.bytes().all(|byte| byte.is_ascii_graphic()).then_some(name)
}

fn data<'a>(cursor: &mut Cursor<'a>, template: &Template) -> Result<&'a [u8], BootError> {
    let offset = cursor.offset();
    let len = if *template == Template::Ima {
        // No length of its own: a SHA-1 digest, then a name with its length.
        let mut ahead = cursor.clone();
        ahead.take(fields::IMA_DIGEST_LEN, "file digest")?;
        let name = usize::try_from(ahead.u32("file name size")?).ok();
        name.and_then(|name| name.checked_add(fields::IMA_DIGEST_LEN + fields::IMA_NAME_LEN_LEN))
    } else {
        usize::try_from(cursor.u32("template data size")?).ok()
    };
    let len = len.unwrap_or(usize::MAX);
    if len > MAX_IMA_DATA_BYTES {
        return Err(BootError::ImaDataTooLong { bytes: len, offset });
    }
    cursor.take(len, "template data")
}

/// The algorithm of a binary log's template hashes: the shortest one that puts a template name behind
/// the first hash. A hash that looks like a length and a name is beyond anyone's means.
fn binary_hash_alg(bytes: &[u8]) -> HashAlg {
    let plausible = |alg: &HashAlg| {
        let mut cursor = Cursor::new(bytes, 0);
        let hash = cursor.take(4 + alg.digest_len().unwrap_or_default(), "template hash");
        hash.is_ok() && name(&mut cursor).is_ok_and(|name| template_name(name).is_some())
    };
    let algs = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    algs.into_iter().find(plausible).unwrap_or(HashAlg::Sha1)
}
