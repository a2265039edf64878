//! Every refusal of the parser: one mutation each of a log that is accepted without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_boot::{
    BootError, EV_EFI_HCRTM_EVENT, EV_NO_ACTION, EV_POST_CODE, EV_SEPARATOR, EventLog, Format, HashAlg,
    MAX_EVENT_BYTES, MAX_EVENTS, MAX_LOG_BYTES, Quirk,
};

const SHA1: (u16, usize) = (0x0004, 20);
const SHA256: (u16, usize) = (0x000b, 32);
const SM3: (u16, usize) = (0x0012, 32);

fn le(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().to_le_bytes()
}

/// A record of the SHA-1 format.
fn sha1_event(pcr: u32, kind: u32, digest: [u8; 20], data: &[u8]) -> Vec<u8> {
    [&pcr.to_le_bytes()[..], &kind.to_le_bytes(), &digest, &le(data.len()), data].concat()
}

fn spec_id_data(banks: &[(u16, usize)], vendor: &[u8]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02".to_vec();
    data.extend(le(banks.len()));
    for (id, len) in banks {
        data.extend(id.to_le_bytes());
        data.extend(u16::try_from(*len).unwrap().to_le_bytes());
    }
    data.push(u8::try_from(vendor.len()).unwrap());
    data.extend(vendor);
    data
}

fn spec_id(banks: &[(u16, usize)]) -> Vec<u8> {
    sha1_event(0, EV_NO_ACTION, [0; 20], &spec_id_data(banks, &[]))
}

/// A record of the crypto-agile format with one digest per bank given.
fn event(pcr: u32, kind: u32, banks: &[(u16, usize)], data: &[u8]) -> Vec<u8> {
    let mut bytes = [pcr.to_le_bytes(), kind.to_le_bytes(), le(banks.len())].concat();
    for (id, len) in banks {
        bytes.extend(id.to_le_bytes());
        bytes.extend(vec![0x11; *len]);
    }
    bytes.extend(le(data.len()));
    bytes.extend(data);
    bytes
}

fn sha256_log(events: &[Vec<u8>]) -> Vec<u8> {
    [spec_id(&[SHA256]), events.concat()].concat()
}

fn locality(pcr: u32, data: &[u8]) -> Vec<u8> {
    event(pcr, EV_NO_ACTION, &[SHA256], data)
}

fn accepted(bytes: &[u8]) -> EventLog {
    EventLog::parse(bytes).unwrap()
}

fn refused(bytes: &[u8]) -> BootError {
    EventLog::parse(bytes).unwrap_err()
}

#[test]
fn nothing_and_too_much() {
    assert_eq!(refused(&[]), BootError::Empty);
    let bytes = MAX_LOG_BYTES + 1;
    assert_eq!(refused(&vec![0; bytes]), BootError::LogTooLong { bytes });
}

#[test]
fn the_longest_log_is_accepted_and_a_byte_more_is_not() {
    let mut bytes = spec_id(&[SHA256]);
    while bytes.len() + 50 + MAX_EVENT_BYTES <= MAX_LOG_BYTES {
        bytes.extend(event(1, EV_POST_CODE, &[SHA256], &vec![0; MAX_EVENT_BYTES]));
    }
    let rest = MAX_LOG_BYTES - bytes.len() - 50;
    let last = |len| [&bytes[..], &event(1, EV_POST_CODE, &[SHA256], &vec![0; len])].concat();
    accepted(&last(rest));
    assert!(matches!(refused(&last(rest + 1)), BootError::LogTooLong { .. }));
}

#[test]
fn every_cut_inside_a_record_names_a_field() {
    for bytes in [
        sha256_log(&[event(1, EV_POST_CODE, &[SHA256], b"data")]),
        [sha1_event(0, 1, [1; 20], b"ab"), sha1_event(0, 1, [1; 20], b"ab")].concat(),
    ] {
        let first = bytes.len() - event_len(&bytes);
        for cut in 1..bytes.len() {
            match EventLog::parse(&bytes[..cut]) {
                Ok(_) => assert_eq!(cut, first, "only between records"),
                Err(error) => assert!(matches!(error, BootError::ReadField { offset, .. } if offset <= cut)),
            }
        }
    }
}

/// Length of the second of two records.
fn event_len(bytes: &[u8]) -> usize {
    let size = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
    bytes.len() - 32 - usize::try_from(size).unwrap()
}

#[test]
fn indices_of_pcrs_that_do_not_exist() {
    for pcr in [24, 0xff, 0xffff_fffe] {
        let bytes = sha256_log(&[event(pcr, EV_POST_CODE, &[SHA256], b"")]);
        assert!(matches!(refused(&bytes), BootError::PcrIndex { pcr: seen, .. } if seen == pcr));
        let legacy = sha1_event(pcr, EV_POST_CODE, [0; 20], b"");
        assert_eq!(refused(&legacy), BootError::PcrIndex { pcr, offset: 0 });
    }
    accepted(&sha256_log(&[event(23, EV_POST_CODE, &[SHA256], b"")]));
}

#[test]
fn event_data_beyond_the_limit_even_where_it_is_all_there() {
    let log = |len| sha256_log(&[event(1, EV_POST_CODE, &[SHA256], &vec![0; len])]);
    accepted(&log(MAX_EVENT_BYTES));
    let bytes = MAX_EVENT_BYTES + 1;
    assert!(matches!(refused(&log(bytes)), BootError::EventTooLong { bytes: seen, .. } if seen == bytes));
    let mut huge = log(0);
    let size = huge.len() - 4;
    huge[size..].copy_from_slice(&[0xff; 4]);
    assert!(matches!(refused(&huge), BootError::EventTooLong { .. }));
}

#[test]
fn more_events_than_the_limit() {
    let log = |count| sha256_log(&vec![event(1, EV_POST_CODE, &[SHA256], b""); count]);
    accepted(&log(MAX_EVENTS));
    assert!(matches!(refused(&log(MAX_EVENTS + 1)), BootError::TooManyEvents { .. }));
}

#[test]
fn digests_are_of_declared_banks_once_each() {
    let log = |banks: &[_]| [spec_id(&[SHA1, SHA256]), event(1, EV_POST_CODE, banks, b"")].concat();
    assert_eq!(accepted(&log(&[SHA1, SHA256])).quirks, []);
    assert!(matches!(refused(&log(&[])), BootError::DigestCount { count: 0, .. }));
    let three = log(&[SHA1, SHA256, SHA256]);
    assert!(matches!(refused(&three), BootError::DigestCount { count: 3, .. }));
    let twice = log(&[SHA256, SHA256]);
    assert!(matches!(refused(&twice), BootError::DigestAlgorithm { id: 0x000b, .. }));
    let other = log(&[SHA256, SM3]);
    assert!(matches!(refused(&other), BootError::DigestAlgorithm { id: 0x0012, .. }));
    let mut many = log(&[SHA256]);
    let count = spec_id(&[SHA1, SHA256]).len() + 8;
    many[count..count + 4].copy_from_slice(&[0xff; 4]);
    assert!(matches!(refused(&many), BootError::DigestCount { count: u32::MAX, .. }));
}

#[test]
fn a_bank_that_some_event_lacks_is_declared_incomplete() {
    let full = event(1, EV_POST_CODE, &[SHA1, SHA256], b"");
    let half = event(2, EV_POST_CODE, &[SHA256], b"");
    let other_half = event(2, EV_POST_CODE, &[SHA1], b"");
    let log = |events: &[&[u8]]| [spec_id(&[SHA1, SHA256]), events.concat()].concat();
    let parsed = accepted(&log(&[&full, &half]));
    assert_eq!(parsed.quirks, [Quirk::BankIncomplete { alg: HashAlg::Sha1, events: 1 }]);
    assert!(parsed.replay(HashAlg::Sha1).is_empty());
    assert_eq!(parsed.replay(HashAlg::Sha256).len(), 2);
    assert_eq!(refused(&log(&[&half, &other_half])), BootError::NoCompleteBank);
    let remark = event(2, EV_NO_ACTION, &[SHA256], b"");
    assert_eq!(accepted(&log(&[&full, &remark])).quirks, [], "a remark extends nothing");
}

#[test]
fn the_spec_id_event_is_exact() {
    let good = spec_id(&[SHA1, SHA256]);
    accepted(&good);
    let at = |offset: usize, bytes: &[u8]| {
        let mut log = good.clone();
        log[offset..offset + bytes.len()].copy_from_slice(bytes);
        refused(&log)
    };
    let field = |name, offset| BootError::CheckField { field: name, offset };
    assert_eq!(at(0, &[1]), field("Spec ID event PCRIndex", 0));
    assert_eq!(at(8, &[1]), field("Spec ID event digest", 8));
    assert_eq!(at(32 + 13, b"04"), field("signature", 32));
    assert_eq!(at(32 + 21, &[1]), field("specVersionMajor", 32 + 21));
    assert_eq!(at(32 + 24, &[0, 0, 0, 0]), field("numberOfAlgorithms", 32 + 24));
    assert_eq!(at(32 + 24, &[0xff; 4]), field("numberOfAlgorithms", 32 + 24));
    assert_eq!(at(32 + 30, &[21, 0]), field("digestSize", 32 + 30));
    assert_eq!(at(32 + 28, &[0x0b, 0, 32, 0]), field("algorithmId", 32 + 32));
}

#[test]
fn an_unknown_bank_is_carried_but_its_digest_length_is_bounded() {
    let log = |bank| [spec_id(&[SHA256, bank]), event(1, EV_POST_CODE, &[SHA256, bank], b"")].concat();
    let parsed = accepted(&log(SM3));
    assert_eq!(parsed.banks, [HashAlg::Sha256, HashAlg::Other(0x0012)]);
    assert!(parsed.replay(HashAlg::Other(0x0012)).is_empty());
    for len in [0, 65] {
        assert!(matches!(refused(&log((0x0012, len))), BootError::CheckField { field: "digestSize", .. }));
    }
}

#[test]
fn vendor_information_lies_inside_the_event_or_all_of_it_behind() {
    let data = spec_id_data(&[SHA256], &[7; 4]);
    let head = |data: &[u8]| sha1_event(0, EV_NO_ACTION, [0; 20], data);
    assert_eq!(accepted(&head(&data)).quirks, []);
    let (inside, vendor) = data.split_at(data.len() - 4);
    let behind = accepted(&[&head(inside), vendor].concat());
    assert_eq!(behind.quirks, [Quirk::SpecIdVendorInfoOutside { bytes: 4 }]);
    assert_eq!(behind.tail_bytes(), 4);
    let cut = refused(&[&head(inside), &vendor[..3]].concat());
    assert!(matches!(cut, BootError::ReadField { field: "vendorInfo", .. }));
    let short = refused(&head(&data[..data.len() - 1]));
    assert!(matches!(short, BootError::ReadField { field: "vendorInfo", .. }));
    let long = refused(&head(&[&data[..], &[0]].concat()));
    assert!(matches!(long, BootError::CheckField { field: "Spec ID event eventSize", .. }));
}

#[test]
fn startup_locality_is_exact_early_and_alone() {
    let good = locality(0, b"StartupLocality\0\x03");
    assert_eq!(accepted(&sha256_log(std::slice::from_ref(&good))).startup_locality, 3);
    let post = event(0, EV_POST_CODE, &[SHA256], b"");
    for (events, why) in [
        (vec![locality(0, b"StartupLocality\0")], "one byte"),
        (vec![locality(0, b"StartupLocality\0\x03\0\x01")], "longer than the structure"),
        (vec![locality(0, b"StartupLocality\0\x01")], "one byte"),
        (vec![locality(1, b"StartupLocality\0\x03")], "PCR 0"),
        (vec![post, good.clone()], "extended"),
        (vec![good.clone(), good], "second"),
    ] {
        match refused(&sha256_log(&events)) {
            BootError::StartupLocality { reason, .. } => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other}"),
        }
    }
    let elsewhere = event(1, EV_POST_CODE, &[SHA256], b"");
    accepted(&sha256_log(&[elsewhere, locality(0, b"StartupLocality\0\x03")]));
    let padded = accepted(&sha256_log(&[locality(0, b"StartupLocality\0\x03\0\0")]));
    assert_eq!((padded.startup_locality, padded.tail_bytes()), (3, 0));
    assert_eq!(padded.quirks, [Quirk::StartupLocalityPadded { bytes: 2 }]);
}

#[test]
fn an_h_crtm_event_opens_pcr_0() {
    let hcrtm = |pcr| event(pcr, EV_EFI_HCRTM_EVENT, &[SHA256], b"HCRTM");
    let log = accepted(&sha256_log(&[hcrtm(0)]));
    assert_eq!((log.hcrtm, log.pcr0_start()), (true, 4));
    assert!(matches!(refused(&sha256_log(&[hcrtm(1)])), BootError::Hcrtm { .. }));
    assert!(matches!(refused(&sha256_log(&[hcrtm(0), hcrtm(0)])), BootError::Hcrtm { .. }));
    let post = event(0, EV_POST_CODE, &[SHA256], b"");
    assert!(matches!(refused(&sha256_log(&[post, hcrtm(0)])), BootError::Hcrtm { .. }));
}

#[test]
fn only_a_final_remark_may_name_the_windows_pcr() {
    let post = event(1, EV_POST_CODE, &[SHA256], b"");
    let tail = event(u32::MAX, EV_NO_ACTION, &[SHA256], b"wbcl");
    let log = accepted(&sha256_log(&[post.clone(), tail.clone()]));
    assert_eq!(log.quirks, [Quirk::WindowsTail { bytes: tail.len() }]);
    assert_eq!((log.events.len(), log.tail_bytes()), (1, tail.len()));
    let middle = refused(&sha256_log(&[tail.clone(), post]));
    assert!(matches!(middle, BootError::TailRecord { .. }));
    let twice = refused(&sha256_log(&[tail.clone(), tail]));
    assert!(matches!(twice, BootError::TailRecord { .. }));
    let extended = refused(&sha256_log(&[event(u32::MAX, EV_POST_CODE, &[SHA256], b"")]));
    assert!(matches!(extended, BootError::TailRecord { .. }));
}

#[test]
fn legacy_logs_with_and_without_their_own_spec_id() {
    let post = sha1_event(0, EV_POST_CODE, [2; 20], b"x");
    let bare = accepted(&post);
    assert_eq!((bare.format, bare.events.len()), (Format::Sha1Legacy, 1));
    assert_eq!(bare.banks, [HashAlg::Sha1]);
    let opened = sha1_event(0, EV_NO_ACTION, [0; 20], b"Spec ID Event02\0rest");
    let log = accepted(&[opened, post].concat());
    assert_eq!((log.format, log.events), (Format::Sha1Legacy, bare.events));
}

#[test]
fn refusals_say_where() {
    let errors = [
        refused(&[]),
        refused(&vec![0; MAX_LOG_BYTES + 1]),
        refused(&sha256_log(&[event(24, 1, &[SHA256], b"")])),
        refused(&sha256_log(&[event(1, 1, &[], b"")])),
    ];
    for error in errors {
        assert!(!error.to_string().is_empty());
    }
    let offset = spec_id(&[SHA256]).len();
    let text = refused(&sha256_log(&[event(24, 1, &[SHA256], b"")])).to_string();
    assert_eq!(text, format!("event at offset {offset} names PCR 24, which does not exist"));
}

#[test]
fn only_separators_that_end_in_zeros_are_padded_separators() {
    let quirks = |kind, data: &[u8]| accepted(&sha256_log(&[event(1, kind, &[SHA256], data)])).quirks;
    assert_eq!(quirks(EV_SEPARATOR, &[0; 5]), [Quirk::SeparatorPadded { events: 1 }]);
    let one = [&[0; 49][..], &[1]].concat();
    for (kind, data) in [
        (EV_SEPARATOR, &[0; 4][..]),
        (EV_SEPARATOR, &[0; 3]),
        (EV_SEPARATOR, &one),
        (EV_POST_CODE, &[0; 4]),
        (EV_POST_CODE, &[0; 50]),
        (EV_POST_CODE, &one),
    ] {
        assert_eq!(quirks(kind, data), [], "{kind} {data:?}");
    }
}

#[test]
fn a_log_without_a_spec_id_event_begins_with_any_event() {
    let spec_id = spec_id_data(&[SHA256], &[]);
    for (kind, data) in [(EV_POST_CODE, &spec_id[..]), (EV_NO_ACTION, b"another remark, long enough")] {
        let log = accepted(&sha1_event(0, kind, [0; 20], data));
        assert_eq!((log.format, log.events.len()), (Format::Sha1Legacy, 1), "{kind}");
    }
}

#[test]
fn words_of_outputs_do_not_change() {
    assert_eq!([Format::CryptoAgile, Format::Sha1Legacy].map(Format::name), ["crypto-agile", "sha1-legacy"]);
    let names = [
        (Quirk::WindowsTail { bytes: 1 }, "windows-tail"),
        (Quirk::SpecIdVendorInfoOutside { bytes: 1 }, "spec-id-vendor-info-outside"),
        (Quirk::BankIncomplete { alg: HashAlg::Sha1, events: 1 }, "bank-incomplete"),
        (Quirk::StartupLocalityPadded { bytes: 1 }, "startup-locality-padded"),
        (Quirk::SeparatorPadded { events: 1 }, "separator-padded"),
        (Quirk::ExitBootServicesMissing { actions: &[] }, "exit-boot-services-missing"),
        (Quirk::ImaPaddedSha1, "ima-padded-sha1"),
    ];
    assert!(names.iter().all(|(quirk, name)| quirk.name() == *name));
}
