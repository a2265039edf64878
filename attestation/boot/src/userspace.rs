//! systemd's userspace log, `tpm2-measure.log`: the TCG Canonical Event Log format 1.0 in its JSON
//! encoding (section 5.2), as a JSON text sequence (RFC 7464).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::{
    BootError, Digest, HashAlg, MAX_BANKS, MAX_EVENT_BYTES, MAX_EVENTS, MAX_LOG_BYTES, PCR_COUNT, json,
};

const RECORD_SEPARATOR: u8 = 0x1e;
const OS_SEPARATOR: &str = "os-separator";
const MEMBERS: [&str; 6] = ["recnum", "pcr", "nv_index", "digests", "content_type", "content"];

/// What a record extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Register {
    /// A PCR, below [`PCR_COUNT`].
    Pcr(u8),
    /// An NV index of type extend, which systemd calls an NvPCR; it touches no PCR.
    NvIndex(u32),
}

/// What systemd says about its own records. None of it is proven but a measured `string`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemdContent {
    /// `phase`, `machine-id`, `volume-key`, `os-separator` and so on.
    pub event_type: Option<String>,
    /// The string that was measured; a description where a secret was (see
    /// [`UserspaceRecord::is_measured`]).
    pub string: Option<String>,
    /// Boot ID, 32 hexadecimal digits.
    pub boot_id: Option<String>,
    /// CLOCK_BOOTTIME in microseconds.
    pub timestamp_us: Option<u64>,
    /// Name of the NvPCR.
    pub nv_index_name: Option<String>,
}

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Content type `systemd`.
    Systemd(SystemdContent),
    /// Any other content type, with the content as compact JSON.
    Other {
        /// The content type.
        kind: String,
        /// The content, as JSON.
        json: String,
    },
}

/// One record of the userspace log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserspaceRecord {
    /// The record's number, where the writer counts; systemd doesn't.
    pub number: Option<u64>,
    /// What was extended.
    pub register: Register,
    /// At least one digest, no bank twice.
    pub digests: Vec<Digest>,
    /// What the record says it is.
    pub content: Content,
}

impl UserspaceRecord {
    /// The PCR extended; `None` for an NvPCR.
    #[must_use]
    pub fn pcr(&self) -> Option<u8> {
        match self.register {
            Register::Pcr(pcr) => Some(pcr),
            Register::NvIndex(_) => None,
        }
    }

    /// The record's digest in one bank.
    #[must_use]
    pub fn digest(&self, alg: HashAlg) -> Option<&[u8]> {
        self.digests.iter().find(|digest| digest.alg == alg).map(|digest| digest.value.as_slice())
    }

    /// systemd's content, where it is one.
    #[must_use]
    pub fn systemd(&self) -> Option<&SystemdContent> {
        match &self.content {
            Content::Systemd(content) => Some(content),
            Content::Other { .. } => None,
        }
    }

    /// By what was measured; its type proves nothing.
    pub(crate) fn is_os_separator(&self) -> bool {
        let string = self.systemd().and_then(|content| content.string.as_deref());
        string == Some(OS_SEPARATOR) && self.is_measured()
    }

    /// Whether the string should be what was measured: systemd's records, but those whose digest covers
    /// a secret, which the string only describes.
    pub(crate) fn says_what_it_measures(&self) -> bool {
        const SECRETS: [&str; 3] = ["volume-key", "keyslot", "credential"];
        let content = self.systemd().filter(|content| content.string.is_some());
        let kind = content.and_then(|content| content.event_type.as_deref());
        kind.is_some_and(|kind| !SECRETS.iter().any(|secret| kind.starts_with(secret)))
    }

    /// Whether the string is what was measured: its hash is the digest in every bank of the record
    /// that this crate computes, of which there must be one. False where systemd measures a secret by
    /// HMAC (volume keys, key slots, credentials), and for lies.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        let Some(string) = self.systemd().and_then(|content| content.string.as_deref()) else { return false };
        let mut computed = self.digests.iter().filter(|digest| digest.alg.digest_len().is_some()).peekable();
        computed.peek().is_some()
            && computed.all(|digest| digest.alg.hash(&[string.as_bytes()]).as_ref() == Some(&digest.value))
    }
}

/// A well-formed userspace log. Its digests are claims until [`crate::BootLogs::compare`] finds them
/// quoted, after those of the firmware's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserspaceLog {
    /// The records in order.
    pub records: Vec<UserspaceRecord>,
}

impl UserspaceLog {
    /// Parses a whole log: records of a 0x1E byte, a JSON object, and a line feed. Unknown members of
    /// a record are refused, of its content ignored, as systemd adds some.
    ///
    /// # Errors
    /// A [`BootError`] naming member and offset where the bytes are not exactly one log within the
    /// crate's limits: those of firmware logs, [`MAX_EVENT_BYTES`] for a record.
    pub fn parse(bytes: &[u8]) -> Result<Self, BootError> {
        if bytes.len() > MAX_LOG_BYTES {
            return Err(BootError::LogTooLong { bytes: bytes.len() });
        }
        let body = match bytes.split_first() {
            None => return Err(BootError::Empty),
            Some((&RECORD_SEPARATOR, body)) => body,
            Some(_) => return Err(BootError::FrameRecord { offset: 0 }),
        };
        let mut records = Vec::new();
        let mut offset = 1;
        for frame in body.split(|byte| *byte == RECORD_SEPARATOR) {
            if records.len() >= MAX_EVENTS {
                return Err(BootError::TooManyEvents { offset });
            }
            records.push(record(frame, offset)?);
            offset += frame.len() + 1;
        }
        Ok(Self { records })
    }

    /// PCRs that the operating system closed against the firmware (systemd 261 and later, by
    /// convention PCRs 0 to 7, 9 and 12 to 14): the first record, and only that one, measures the word
    /// "os-separator". What comes before it in a quoted PCR is the firmware's and the boot loader's.
    #[must_use]
    pub fn os_separated(&self) -> BTreeSet<u8> {
        let mut first = BTreeMap::new();
        let mut repeated = BTreeSet::new();
        for record in &self.records {
            let Some(pcr) = record.pcr() else { continue };
            let separator = record.is_os_separator();
            if first.contains_key(&pcr) && separator {
                repeated.insert(pcr);
            }
            first.entry(pcr).or_insert(separator);
        }
        let closed = first.into_iter().filter(|(pcr, separator)| *separator && !repeated.contains(pcr));
        closed.map(|(pcr, _)| pcr).collect()
    }

    /// Whether a bank can be replayed: every record for a PCR has a digest of it.
    #[must_use]
    pub fn carries(&self, alg: HashAlg) -> bool {
        let mut records = self.records.iter().filter(|record| record.pcr().is_some());
        alg.digest_len().is_some() && records.all(|record| record.digest(alg).is_some())
    }
}

fn record(frame: &[u8], offset: usize) -> Result<UserspaceRecord, BootError> {
    if frame.len() > MAX_EVENT_BYTES {
        return Err(BootError::RecordTooLong { bytes: frame.len(), offset });
    }
    let text = frame.strip_suffix(b"\n").ok_or(BootError::FrameRecord { offset })?;
    let members =
        json::object(text).map_err(|error| BootError::ParseJson { reason: error.to_string(), offset })?;
    let members = Members { map: &members, offset };
    if members.map.keys().any(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(members.refuse("record"));
    }
    Ok(UserspaceRecord {
        number: members.number("recnum")?,
        register: register(&members)?,
        digests: digests(&members)?,
        content: content(&members)?,
    })
}

fn register(members: &Members<'_>) -> Result<Register, BootError> {
    match (members.number("pcr")?, members.number("nv_index")?) {
        (Some(pcr), None) => {
            let known = u8::try_from(pcr).ok().filter(|pcr| u32::from(*pcr) < PCR_COUNT);
            let named = u32::try_from(pcr).unwrap_or(u32::MAX);
            known.map(Register::Pcr).ok_or(BootError::PcrIndex { pcr: named, offset: members.offset })
        }
        (None, Some(index)) => {
            // TPM_HT_NV_INDEX (TPM 2.0 Library, part 2, section 7.2).
            let handle = u32::try_from(index).ok().filter(|handle| handle >> 24 == 1);
            handle.map(Register::NvIndex).ok_or_else(|| members.refuse("nv_index"))
        }
        _ => Err(members.refuse("pcr")),
    }
}

fn digests(members: &Members<'_>) -> Result<Vec<Digest>, BootError> {
    let refusal = || members.refuse("digests");
    let rows = members.map.get("digests").and_then(Value::as_array).ok_or_else(refusal)?;
    if !(1..=MAX_BANKS).contains(&rows.len()) {
        return Err(refusal());
    }
    let mut digests: Vec<Digest> = Vec::with_capacity(rows.len());
    for row in rows {
        let digest = row.as_object().and_then(digest).ok_or_else(refusal)?;
        if digests.iter().any(|other| other.alg == digest.alg) {
            return Err(refusal());
        }
        digests.push(digest);
    }
    Ok(digests)
}

fn digest(row: &Map<String, Value>) -> Option<Digest> {
    let (alg, len) = algorithm(row.get("hashAlg")?.as_str()?)?;
    let value = unhex(row.get("digest")?.as_str()?.as_bytes())?;
    (row.len() == 2 && value.len() == len).then_some(Digest { alg, value })
}

/// The algorithm that systemd and the TCG call so, and its digest's length.
fn algorithm(name: &str) -> Option<(HashAlg, usize)> {
    let known = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    if let Some(alg) = known.into_iter().find(|alg| alg.name() == name) {
        return Some((alg, alg.digest_len()?));
    }
    let (id, len) = match name {
        "sm3_256" => (0x12, 32),
        "sha3_256" => (0x27, 32),
        "sha3_384" => (0x28, 48),
        "sha3_512" => (0x29, 64),
        _ => return None,
    };
    Some((HashAlg::Other(id), len))
}

fn content(members: &Members<'_>) -> Result<Content, BootError> {
    let kind = members.string("content_type")?.ok_or_else(|| members.refuse("content_type"))?;
    let value = members.map.get("content").ok_or_else(|| members.refuse("content"))?;
    if kind != "systemd" {
        return Ok(Content::Other { kind, json: value.to_string() });
    }
    let map = value.as_object().ok_or_else(|| members.refuse("content"))?;
    let content = Members { map, offset: members.offset };
    Ok(Content::Systemd(SystemdContent {
        event_type: content.string("eventType")?,
        string: content.string("string")?,
        boot_id: content.string("bootId")?,
        timestamp_us: content.number("timestamp")?,
        nv_index_name: content.string("nvIndexName")?,
    }))
}

/// Members of one object of the record at `offset`.
struct Members<'a> {
    map: &'a Map<String, Value>,
    offset: usize,
}

impl Members<'_> {
    fn refuse(&self, member: &'static str) -> BootError {
        BootError::CheckMember { member, offset: self.offset }
    }

    fn number(&self, name: &'static str) -> Result<Option<u64>, BootError> {
        let value = self.map.get(name);
        value.map(|value| value.as_u64().ok_or_else(|| self.refuse(name))).transpose()
    }

    fn string(&self, name: &'static str) -> Result<Option<String>, BootError> {
        let value = self.map.get(name);
        value.map(|value| value.as_str().map(str::to_owned).ok_or_else(|| self.refuse(name))).transpose()
    }
}

/// Bytes of hexadecimal digits of either case.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let byte = |[high, low]: &[u8; 2]| Some(nibble(*high)? << 4 | nibble(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASE: &str = concat!(
        r#"{"pcr":11,"digests":[{"hashAlg":"sha256","digest":"DIGEST"}],"content_type":"systemd","#,
        r#""content":{"string":"ready","bootId":"7d4d","timestamp":7,"eventType":"phase","later":[1]}}"#
    );

    fn sha256(text: &str) -> String {
        HashAlg::Sha256.hash(&[text.as_bytes()]).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn phase() -> String {
        PHASE.replace("DIGEST", &sha256("ready"))
    }

    fn parse(records: &[&str]) -> Result<UserspaceLog, BootError> {
        let text: String = records.iter().map(|record| format!("\x1e{record}\n")).collect();
        UserspaceLog::parse(text.as_bytes())
    }

    fn member(record: &str) -> &'static str {
        match parse(&[record]) {
            Err(BootError::CheckMember { member, offset: 1 }) => member,
            other => panic!("{record}: {other:?}"),
        }
    }

    #[test]
    fn systemds_records_are_typed() {
        let log = parse(&[&phase(), &phase().replace("ready", "final")]).unwrap();
        assert_eq!(log.records[0].pcr(), Some(11));
        let content = log.records[0].systemd().unwrap();
        assert_eq!((content.event_type.as_deref(), content.timestamp_us), (Some("phase"), Some(7)));
        assert!(log.records[0].is_measured() && !log.records[1].is_measured());
        assert!(log.carries(HashAlg::Sha256) && !log.carries(HashAlg::Sha1));
    }

    #[test]
    fn an_nv_index_touches_no_pcr_and_needs_no_bank() {
        let record =
            phase().replace("\"pcr\":11", "\"nv_index\":30474752,\"recnum\":3").replace("sha256", "sm3_256");
        let log = parse(&[&record]).unwrap();
        assert_eq!(
            (log.records[0].register, log.records[0].number),
            (Register::NvIndex(0x01d1_0200), Some(3))
        );
        assert!(!log.records[0].is_measured(), "no digest that can be computed");
        assert_eq!((log.records[0].pcr(), log.carries(HashAlg::Sha256)), (None, true));
        assert_eq!(member(&record.replace("30474752", "4")), "nv_index");
        assert_eq!(member(&record.replace("\"recnum\"", "\"pcr\"")), "pcr");
    }

    #[test]
    fn the_operating_systems_separator_comes_first_and_once() {
        let of = |pcr: u8, word: &str, measured: &str| {
            let record = PHASE.replace("DIGEST", &sha256(measured)).replace("ready", word);
            record.replace("\"pcr\":11", &format!("\"pcr\":{pcr}"))
        };
        let separator = |pcr| of(pcr, "os-separator", "os-separator");
        let late = [separator(0), of(0, "x", "x"), of(4, "x", "x"), separator(4), separator(7)];
        let rest = [separator(9), separator(9), of(12, "os-separator", "x"), of(13, "x", "os-separator")];
        let records: Vec<&str> = late.iter().chain(&rest).map(String::as_str).collect();
        assert_eq!(parse(&records).unwrap().os_separated(), BTreeSet::from([0, 7]));
    }

    #[test]
    fn other_contents_are_kept_as_json() {
        let log = parse(&[&phase().replace("\"systemd\"", "\"pcclient_std\"")]).unwrap();
        let Content::Other { kind, json } = &log.records[0].content else { panic!() };
        assert!(kind == "pcclient_std" && json.contains("\"timestamp\":7"));
        assert!(!log.records[0].is_measured());
    }

    #[test]
    fn every_wrong_member_is_refused() {
        let good = phase();
        assert_eq!(member(&good.replace("\"pcr\":11,", "")), "pcr");
        assert_eq!(member(&good.replace("\"pcr\":11", "\"pcr\":\"11\"")), "pcr");
        assert_eq!(member(&good.replace("\"pcr\":11", "\"pcr\":11,\"x\":1")), "record");
        assert_eq!(
            member(
                &good
                    .replace("[{\"hash", "[],\"content\":[{\"hash")
                    .replace(",\"content\":{", ",\"recnum\":{")
            ),
            "recnum"
        );
        assert_eq!(member(&good.replace("sha256", "sha1")), "digests", "wrong length");
        assert_eq!(member(&good.replace("sha256", "md5")), "digests");
        assert_eq!(member(&good.replace("\"hashAlg\"", "\"x\":0,\"hashAlg\"")), "digests");
        assert_eq!(member(&good.replace("\"digests\":[", "\"digests\":[[],")), "digests");
        assert_eq!(member(&good.replace("\"content_type\":\"systemd\",", "")), "content_type");
        assert_eq!(member(&good.replace("\"timestamp\":7", "\"timestamp\":-7")), "timestamp");
        assert_eq!(member(&good.replace("\"string\":\"ready\"", "\"string\":1")), "string");
        let digest = good.split_once('[').unwrap().1.split_once(']').unwrap().0;
        assert_eq!(member(&good.replace(digest, "")), "digests", "none");
        assert_eq!(member(&good.replace(digest, &format!("{digest},{digest}"))), "digests", "twice");
    }

    #[test]
    fn a_pcr_that_does_not_exist_is_refused() {
        for (pcr, named) in [("24", 24), ("256", 256), ("18446744073709551615", u32::MAX)] {
            let refusal = parse(&[&phase().replace("11", pcr)]).unwrap_err();
            assert_eq!(refusal, BootError::PcrIndex { pcr: named, offset: 1 });
        }
    }

    #[test]
    fn framing_is_exact() {
        let framed = |text: String| UserspaceLog::parse(text.as_bytes()).unwrap_err();
        assert_eq!(framed(String::new()), BootError::Empty);
        assert_eq!(framed(format!("{}\n", phase())), BootError::FrameRecord { offset: 0 });
        assert_eq!(framed(format!("\x1e{}", phase())), BootError::FrameRecord { offset: 1 });
        assert_eq!(
            framed(format!("\x1e{}\n\x1e", phase())),
            BootError::FrameRecord { offset: phase().len() + 3 }
        );
        let twice = framed(format!("\x1e{}\n{}\n", phase(), phase()));
        assert!(matches!(twice, BootError::ParseJson { offset: 1, .. }), "{twice}");
        let duplicate = parse(&[&phase().replace("{\"pcr\":11", "{\"pcr\":12,\"pcr\":11")]).unwrap_err();
        assert!(matches!(duplicate, BootError::ParseJson { offset: 1, .. }), "{duplicate}");
    }

    #[test]
    fn sizes_are_bounded() {
        let long = phase().replace("ready", &"r".repeat(MAX_EVENT_BYTES));
        assert!(matches!(parse(&[&long]), Err(BootError::RecordTooLong { offset: 1, .. })));
        let bytes = MAX_LOG_BYTES + 1;
        assert_eq!(UserspaceLog::parse(&vec![0x1e; bytes]), Err(BootError::LogTooLong { bytes }));
        let short = r#"{"pcr":1,"digests":[{"hashAlg":"sha1","digest":"0000000000000000000000000000000000000000"}],"content_type":"","content":0}"#;
        assert!(parse(&vec![short; MAX_EVENTS]).is_ok());
        assert!(matches!(parse(&vec![short; MAX_EVENTS + 1]), Err(BootError::TooManyEvents { .. })));
    }
}
