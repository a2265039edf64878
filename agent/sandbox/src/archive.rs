//! Layer archives as a sequence of entries: ustar, with GNU long names and PAX
//! records (POSIX.1-2024 `pax`, "Interchange Format").
//!
//! Extension headers are read here rather than by the `tar` crate, because
//! archives of strangers need limits on them, and because an archive is refused
//! where two readers could disagree about a name or a size.

use std::cell::RefCell;
use std::io::{self, Read};

use tar::{Archive, Entries, Entry, EntryType};

/// Most bytes in a GNU long name or link.
const LONG_NAME_MAX: u64 = 8 << 10;
/// Content fills blocks of this size.
const BLOCK: u64 = 512;
/// Most bytes in one PAX header; extended attributes, which we skip, make them long.
const PAX_MAX: u64 = 1 << 20;

/// What an entry says to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file; its content is the entry's.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// Another name of the entry with this name.
    Hardlink(Vec<u8>),
    /// A device or pipe, of which layers get none.
    Special,
}

/// One entry's meaning, all headers taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Name as written.
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) kind: Kind,
    /// Permission bits as written.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u64,
    /// Group.
    pub(crate) gid: u64,
    /// Modification time, seconds.
    pub(crate) mtime: u64,
    /// Bytes of content.
    pub(crate) size: u64,
    /// Whether only a PAX record says so: a header has no room for sizes from 8 GiB on, and writers leave it 0.
    size_from_pax: bool,
}

/// Why an archive is refused.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The stream broke or is not an archive.
    Read(io::Error),
    /// An entry breaks this rule.
    Rule(&'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// What extension headers have said about the next entry.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    size: Option<u64>,
    seen_pax: bool,
}

/// Calls `visit` for each entry in order, with its content.
///
/// # Errors
/// The first fault with the name it concerns, as far as known.
pub(crate) fn for_each<R: Read, E: From<(Vec<u8>, Fault)>>(
    stream: &mut R,
    mut visit: impl FnMut(Item, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let unnamed = |fault: Fault| E::from((vec![], fault));
    let stream = RefCell::new(stream);
    let mut archive = Archive::new(Shared(&stream));
    let entries: Entries<'_, _> = archive.entries().map_err(|e| unnamed(e.into()))?.raw(true);
    let mut extension = Extension::default();
    let mut pending = false;
    for entry in entries {
        let mut entry = entry.map_err(|e| unnamed(e.into()))?;
        pending =
            extend(&mut extension, &mut entry).map_err(|f| E::from((entry.path_bytes().into_owned(), f)))?;
        if !pending {
            let item = item(std::mem::take(&mut extension), &entry)
                .map_err(|f| E::from((entry.path_bytes().into_owned(), f)))?;
            if item.size_from_pax {
                let name = item.path.clone();
                let mut content = Shared(&stream).take(item.size);
                let padding = item.size.next_multiple_of(BLOCK).saturating_sub(item.size);
                visit(item, &mut content)?;
                skip(content, padding).map_err(|e| E::from((name, e.into())))?;
            } else {
                visit(item, &mut entry)?;
            }
        }
    }
    match pending {
        true => Err(unnamed(Fault::Rule("an extension header with no entry"))),
        false => Ok(()),
    }
}

/// The archive's bytes, for the headers' reader and for content of which it does not know.
struct Shared<'a, 'r, R>(&'a RefCell<&'r mut R>);

impl<R: Read> Read for Shared<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.0.try_borrow_mut().map_err(io::Error::other)?;
        stream.read(buffer)
    }
}

/// Passes over what was not read of some content, and over what fills its last block.
fn skip<R: Read>(mut content: io::Take<R>, padding: u64) -> io::Result<()> {
    io::copy(&mut content, &mut io::sink())?;
    let missing = content.limit();
    let filled = io::copy(&mut content.into_inner().take(padding), &mut io::sink())?;
    if missing == 0 && filled == padding { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Takes an extension header in; false if the entry is a real one.
fn extend<R: Read>(extension: &mut Extension, entry: &mut Entry<'_, R>) -> Result<bool, Fault> {
    match entry.header().entry_type() {
        EntryType::GNULongName => set(&mut extension.path, long_name(entry)?)?,
        EntryType::GNULongLink => set(&mut extension.link, long_name(entry)?)?,
        EntryType::XHeader if extension.seen_pax => return Err(Fault::Rule("two PAX headers for one entry")),
        EntryType::XHeader => {
            extension.seen_pax = true;
            let records = read_bounded(entry, PAX_MAX, "a PAX header of more than 1 MiB")?;
            pax_records(&records, |key, value| local_record(extension, key, value))?;
        }
        EntryType::XGlobalHeader => {
            let records = read_bounded(entry, PAX_MAX, "a PAX header of more than 1 MiB")?;
            pax_records(&records, |key, _| global_record(key))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn read_bounded(entry: &mut impl Read, limit: u64, rule: &'static str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    entry.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|n| n <= limit) {
        true => Ok(bytes),
        false => Err(Fault::Rule(rule)),
    }
}

fn long_name(entry: &mut impl Read) -> Result<Vec<u8>, Fault> {
    let mut name = read_bounded(entry, LONG_NAME_MAX, "a name of more than 8 KiB")?;
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Rule("two extension headers for one property")),
    }
}

/// Splits `"LENGTH KEY=VALUE\n"` records; the length counts the whole record.
fn pax_records(
    mut rest: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    while !rest.is_empty() {
        let (record, tail) = pax_record(rest).ok_or(Fault::Rule("a malformed PAX record"))?;
        let at = record.iter().position(|b| *b == b'=').ok_or(Fault::Rule("a PAX record without ="))?;
        let (key, value) = record.split_at(at);
        each(key, value.get(1..).unwrap_or_default())?;
        rest = tail;
    }
    Ok(())
}

fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(8).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(bytes.get(..space)?).ok()?.parse().ok()?;
    let (whole, tail) = bytes.split_at_checked(length)?;
    Some((whole.get(space.checked_add(1)?..)?.strip_suffix(b"\n")?, tail))
}

fn local_record(extension: &mut Extension, key: &[u8], value: &[u8]) -> Result<(), Fault> {
    match key {
        b"path" => set(&mut extension.path, value.to_vec()),
        b"linkpath" => set(&mut extension.link, value.to_vec()),
        b"uid" => set(&mut extension.uid, number(value)?),
        b"gid" => set(&mut extension.gid, number(value)?),
        b"size" => set(&mut extension.size, number(value)?),
        _ if key.starts_with(b"GNU.sparse.") => Err(Fault::Rule("a sparse file")),
        // Times beyond the header's seconds, names of owners, comments, and
        // extended attributes: file capabilities would be void here, and
        // overlay's own attributes must not come from outside.
        _ => Ok(()),
    }
}

/// A global record may not change what any entry is.
fn global_record(key: &[u8]) -> Result<(), Fault> {
    let changes =
        matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid") || key.starts_with(b"GNU.sparse.");
    if changes { Err(Fault::Rule("a global PAX header that renames or resizes")) } else { Ok(()) }
}

fn number(value: &[u8]) -> Result<u64, Fault> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let parsed = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|v| v.parse().ok());
    parsed.ok_or(Fault::Rule("a PAX number that is none"))
}

fn item<R: Read>(extension: Extension, entry: &Entry<'_, R>) -> Result<Item, Fault> {
    let header = entry.header();
    let raw = header.as_old();
    let of_header = header.entry_size()?;
    let size = extension.size.unwrap_or(of_header);
    let size_from_pax = size != of_header;
    if size_from_pax && of_header != 0 {
        return Err(Fault::Rule("a PAX size that differs from the header's"));
    }
    let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let link = extension.link.or_else(|| header.link_name_bytes().map(|l| l.into_owned()));
    let link = || link.ok_or(Fault::Rule("a link without a target"));
    let kind = match header.entry_type() {
        // Before ustar, a directory was a file whose name ends in a slash.
        EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") && size == 0 => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(link()?),
        EntryType::Link => Kind::Hardlink(link()?),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        EntryType::GNUSparse => return Err(Fault::Rule("a sparse file")),
        _ => return Err(Fault::Rule("an entry of unknown type")),
    };
    if size != 0 && kind != Kind::File {
        return Err(Fault::Rule("content in an entry that is not a file"));
    }
    Ok(Item {
        path,
        kind,
        mode: header.mode()?,
        uid: extension.uid.map_or_else(|| or_zero(&raw.uid, || header.uid()), Ok)?,
        gid: extension.gid.map_or_else(|| or_zero(&raw.gid, || header.gid()), Ok)?,
        mtime: or_zero(&raw.mtime, || header.mtime())?,
        size,
        size_from_pax,
    })
}

/// A field left empty, as writers do that know no owner or time, is zero.
fn or_zero(field: &[u8], parse: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) { Ok(0) } else { parse() }
}
