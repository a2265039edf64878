//! Bytes to [`EventLog`]: total, bounded, and exact to the last byte.

use crate::cursor::Cursor;
use crate::kind::{EV_EFI_HCRTM_EVENT, EV_NO_ACTION, EV_SEPARATOR};
use crate::spec_id::{self, Bank, First, Opening};
use crate::{
    BootError, Digest, Event, EventLog, Format, HashAlg, MAX_EVENT_BYTES, MAX_EVENTS, MAX_LOG_BYTES,
    PCR_COUNT, Quirk,
};

/// PCR index of the record that Windows appends.
const TAIL_PCR: u32 = 0xffff_ffff;
const SHA1_LEN: usize = 20;
/// Length of a separator's data (PFP 1.06, section 10.4.1).
const SEPARATOR_LEN: usize = 4;
/// Signature of `TCG_EfiStartupLocalityEvent` (PFP 1.06, section 10.4.5.3).
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

pub(crate) fn parse(bytes: &[u8]) -> Result<EventLog, BootError> {
    check_size(bytes)?;
    let mut cursor = Cursor::new(bytes, 0);
    let first = first_record(&mut cursor)?;
    let mut parser = match spec_id::opening(&first)? {
        Opening::CryptoAgile { banks, outside } => agile(&mut cursor, banks, outside)?,
        Opening::Legacy => Parser::new(Format::Sha1Legacy, sha1_bank()),
        Opening::None => {
            cursor = Cursor::new(bytes, 0);
            Parser::new(Format::Sha1Legacy, sha1_bank())
        }
    };
    while cursor.remaining() > 0 {
        parser.record(&mut cursor)?;
    }
    parser.finish()
}

fn check_size(bytes: &[u8]) -> Result<(), BootError> {
    if bytes.is_empty() {
        return Err(BootError::Empty);
    }
    if bytes.len() > MAX_LOG_BYTES {
        return Err(BootError::LogTooLong { bytes: bytes.len() });
    }
    Ok(())
}

fn sha1_bank() -> Vec<Bank> {
    vec![Bank { alg: HashAlg::Sha1, digest_len: SHA1_LEN }]
}

fn first_record<'a>(cursor: &mut Cursor<'a>) -> Result<First<'a>, BootError> {
    let pcr = cursor.u32("PCRIndex")?;
    let kind = cursor.u32("EventType")?;
    let digest = cursor.take(SHA1_LEN, "Digest")?;
    let (data, data_offset) = event_data(cursor)?;
    Ok(First { pcr, kind, digest, data, data_offset })
}

fn agile(cursor: &mut Cursor<'_>, banks: Vec<Bank>, outside: usize) -> Result<Parser, BootError> {
    let mut parser = Parser::new(Format::CryptoAgile, banks);
    if outside > 0 {
        cursor.take(outside, "vendorInfo")?;
        parser.quirks.push(Quirk::SpecIdVendorInfoOutside { bytes: outside });
    }
    Ok(parser)
}

fn event_data<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], usize), BootError> {
    let offset = cursor.offset();
    let bytes = usize::try_from(cursor.u32("EventSize")?).unwrap_or(usize::MAX);
    if bytes > MAX_EVENT_BYTES {
        return Err(BootError::EventTooLong { bytes, offset });
    }
    let data_offset = cursor.offset();
    Ok((cursor.take(bytes, "Event")?, data_offset))
}

struct Parser {
    format: Format,
    banks: Vec<Bank>,
    events: Vec<Event>,
    quirks: Vec<Quirk>,
    startup_locality: Option<u8>,
    hcrtm: bool,
    pcr0_extended: bool,
}

impl Parser {
    fn new(format: Format, banks: Vec<Bank>) -> Self {
        Self {
            format,
            banks,
            events: Vec::new(),
            quirks: Vec::new(),
            startup_locality: None,
            hcrtm: false,
            pcr0_extended: false,
        }
    }

    fn record(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BootError> {
        let offset = cursor.offset();
        let pcr = cursor.u32("PCRIndex")?;
        let kind = cursor.u32("EventType")?;
        let digests = self.digests(cursor)?;
        let data = event_data(cursor)?.0;
        if pcr == TAIL_PCR {
            return self.tail(kind, offset, cursor);
        }
        if pcr >= PCR_COUNT {
            return Err(BootError::PcrIndex { pcr, offset });
        }
        if self.events.len() >= MAX_EVENTS {
            return Err(BootError::TooManyEvents { offset });
        }
        let event = Event { pcr, kind, digests, data: data.to_vec() };
        self.start_state(&event, offset)?;
        self.events.push(event);
        Ok(())
    }

    fn digests(&self, cursor: &mut Cursor<'_>) -> Result<Vec<Digest>, BootError> {
        if self.format == Format::Sha1Legacy {
            let value = cursor.take(SHA1_LEN, "Digest")?.to_vec();
            return Ok(vec![Digest { alg: HashAlg::Sha1, value }]);
        }
        let offset = cursor.offset();
        let count = cursor.u32("DigestValues.count")?;
        let wanted = usize::try_from(count).ok().filter(|n| (1..=self.banks.len()).contains(n));
        let wanted = wanted.ok_or(BootError::DigestCount { count, offset })?;
        let mut digests = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let digest = self.digest(cursor, &digests)?;
            digests.push(digest);
        }
        Ok(digests)
    }

    fn digest(&self, cursor: &mut Cursor<'_>, before: &[Digest]) -> Result<Digest, BootError> {
        let offset = cursor.offset();
        let id = cursor.u16("AlgorithmId")?;
        let alg = HashAlg::from_id(id);
        let repeated = before.iter().any(|digest| digest.alg == alg);
        let bank = self.banks.iter().find(|bank| bank.alg == alg && !repeated);
        let bank = bank.ok_or(BootError::DigestAlgorithm { id, offset })?;
        let value = cursor.take(bank.digest_len, "Digest")?.to_vec();
        Ok(Digest { alg, value })
    }

    fn tail(&mut self, kind: u32, offset: usize, cursor: &Cursor<'_>) -> Result<(), BootError> {
        if kind != EV_NO_ACTION || cursor.remaining() > 0 {
            return Err(BootError::TailRecord { offset });
        }
        let bytes = cursor.offset().saturating_sub(offset);
        self.quirks.push(Quirk::WindowsTail { bytes });
        Ok(())
    }

    /// Follows what decides PCR 0's start value, and refuses logs that a TPM can't have lived through.
    fn start_state(&mut self, event: &Event, offset: usize) -> Result<(), BootError> {
        if !event.is_extended() {
            return self.no_action(event, offset);
        }
        if event.kind == EV_EFI_HCRTM_EVENT {
            if event.pcr != 0 || self.pcr0_extended {
                return Err(BootError::Hcrtm { offset });
            }
            self.hcrtm = true;
        }
        self.pcr0_extended |= event.pcr == 0;
        Ok(())
    }

    fn no_action(&mut self, event: &Event, offset: usize) -> Result<(), BootError> {
        let Some(rest) = event.data.strip_prefix(STARTUP_LOCALITY) else { return Ok(()) };
        let refuse = |reason| Err(BootError::StartupLocality { reason, offset });
        let [locality @ (0 | 3 | 4), padding @ ..] = rest else {
            return refuse("it is not one byte of 0, 3 or 4");
        };
        if padding.iter().any(|byte| *byte != 0) {
            return refuse("it is longer than the structure, and not by zeros");
        }
        if event.pcr != 0 {
            return refuse("it is not in PCR 0");
        }
        if self.pcr0_extended {
            return refuse("PCR 0 was extended before it");
        }
        if self.startup_locality.replace(*locality).is_some() {
            return refuse("it is the second one");
        }
        if !padding.is_empty() {
            self.quirks.push(Quirk::StartupLocalityPadded { bytes: padding.len() });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<EventLog, BootError> {
        let lacking = self.lacking();
        if lacking.len() == self.banks.len() {
            return Err(BootError::NoCompleteBank);
        }
        self.quirks.extend(lacking);
        let padded = self.events.iter().filter(|event| is_padded_separator(event)).count();
        if padded > 0 {
            self.quirks.push(Quirk::SeparatorPadded { events: padded });
        }
        Ok(EventLog {
            format: self.format,
            banks: self.banks.iter().map(|bank| bank.alg).collect(),
            events: self.events,
            startup_locality: self.startup_locality.unwrap_or(0),
            hcrtm: self.hcrtm,
            quirks: self.quirks,
        })
    }

    fn lacking(&self) -> Vec<Quirk> {
        let lacks = |alg| {
            let extended = self.events.iter().filter(|event| event.is_extended());
            extended.filter(|event| event.digest(alg).is_none()).count()
        };
        let banks = self.banks.iter().map(|bank| (bank.alg, lacks(bank.alg)));
        let incomplete = banks.filter(|(_, events)| *events > 0);
        incomplete.map(|(alg, events)| Quirk::BankIncomplete { alg, events }).collect()
    }
}

/// Whether the event is a separator of more than its four bytes, the rest zeros.
fn is_padded_separator(event: &Event) -> bool {
    let padding = event.data.get(SEPARATOR_LEN..).unwrap_or_default();
    event.kind == EV_SEPARATOR && !padding.is_empty() && padding.iter().all(|byte| *byte == 0)
}
