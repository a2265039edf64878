//! IMA logs: every template, both forms, every refusal, and what a bank is extended with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;

use assay_boot::write::LogWriter;
use assay_boot::{
    BootError, EV_POST_CODE, EventLog, HashAlg, ImaFormat, ImaLog, ImaPrefix, MAX_IMA_DATA_BYTES,
    MAX_IMA_ENTRIES, MAX_IMA_LOG_BYTES, Quirk, boot_aggregate,
};

const SHA1: HashAlg = HashAlg::Sha1;
const SHA256: HashAlg = HashAlg::Sha256;
const DIGEST: [u8; 32] = [0xab; 32];

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}

fn digest_ng(alg: &str, digest: &[u8]) -> Vec<u8> {
    sized(&[alg.as_bytes(), b":\0", digest].concat())
}

fn ng(path: &str) -> Vec<u8> {
    [digest_ng("sha256", &DIGEST), sized(format!("{path}\0").as_bytes())].concat()
}

/// A record with this template hash.
fn record(pcr: u32, hash: &[u8], name: &str, data: &[u8]) -> Vec<u8> {
    [&pcr.to_le_bytes()[..], hash, &sized(name.as_bytes()), &sized(data)].concat()
}

/// A record with the template hash of its data.
fn entry(name: &str, data: &[u8]) -> Vec<u8> {
    record(10, &SHA1.hash(&[data]).unwrap(), name, data)
}

/// A record of the template `ima`, and the bytes that its hash covers.
fn legacy(path: &str) -> (Vec<u8>, Vec<u8>) {
    let mut hashed = [&[0xcd; 20][..], path.as_bytes()].concat();
    hashed.resize(20 + 256, 0);
    let hash = SHA1.hash(&[&hashed]).unwrap();
    let head = [&10u32.to_le_bytes()[..], &hash, &sized(b"ima"), &[0xcd; 20]].concat();
    ([head, sized(path.as_bytes())].concat(), hashed)
}

fn extend(alg: HashAlg, digests: &[Vec<u8>]) -> Vec<u8> {
    let zeros = vec![0; alg.digest_len().unwrap()];
    digests.iter().fold(zeros, |value, digest| alg.hash(&[&value, digest]).unwrap())
}

fn refused(bytes: &[u8]) -> &'static str {
    match ImaLog::parse(bytes).unwrap_err() {
        BootError::CheckField { field, .. } | BootError::ReadField { field, .. } => field,
        other => panic!("{other}"),
    }
}

/// One line of each template, and the same as a binary record.
fn both_forms() -> Vec<(String, Vec<u8>)> {
    let (ab, zeros) = (hex::encode(DIGEST), hex::encode([0; 20]));
    let line = |record: &[u8], rest: String| format!("10 {} {rest}\n", hex::encode(&record[4..24]));
    let mut rows = Vec::new();
    let mut push = |record: Vec<u8>, rest: String| rows.push((line(&record, rest), record));
    push(entry("ima-ng", &ng("/bin/a b")), format!("ima-ng sha256:{ab} /bin/a b"));
    push(legacy("/init").0, format!("ima {} /init", hex::encode([0xcd; 20])));
    let signed = |signature: &[u8]| [ng("/x y"), sized(signature)].concat();
    push(entry("ima-sig", &signed(&[3, 2])), format!("ima-sig sha256:{ab} /x y 0302"));
    push(entry("ima-sig", &signed(&[])), format!("ima-sig sha256:{ab} /x y "));
    push(entry("ima-buf", &signed(b"quiet")), format!("ima-buf sha256:{ab} /x y {}", hex::encode("quiet")));
    push(entry("d-ng|n-ng|sig", &signed(&[9])), format!("d-ng|n-ng|sig sha256:{ab} /x y 09"));
    let verity = [digest_ng("verity:sha256", &DIGEST), sized(b"/v\0")].concat();
    push(entry("ima-ngv2", &verity), format!("ima-ngv2 verity:sha256:{ab} /v"));
    let appended = [signed(&[]), digest_ng("sha256", &DIGEST), sized(&[7])].concat();
    push(entry("ima-modsig", &appended), format!("ima-modsig sha256:{ab} /x y  sha256:{ab} 07"));
    let violation = [digest_ng("sha256", &[0; 20]), sized(b"/tmp/log\0")].concat();
    push(record(10, &[0; 20], "ima-ng", &violation), format!("ima-ng sha256:{zeros} /tmp/log"));
    rows
}

#[test]
fn both_forms_of_every_template_are_one_log() {
    let rows = both_forms();
    let (text, binary): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let (text, binary) = (text.concat(), binary.concat());
    let (ascii, binary) = (ImaLog::parse(text.as_bytes()).unwrap(), ImaLog::parse(&binary).unwrap());
    assert_eq!((ascii.format(), binary.format()), (ImaFormat::Ascii, ImaFormat::Binary));
    assert!(ascii.entries().eq(binary.entries()));
    assert_eq!((ascii.len(), ascii.first_altered()), (9, None));
    assert_eq!(ascii.replay(SHA256), binary.replay(SHA256));
    let fields: Vec<_> = ascii.entries().map(|entry| entry.fields().unwrap()).collect();
    assert_eq!(
        (fields[0].path, fields[0].digest_alg, fields[0].digest),
        (&b"/bin/a b"[..], "sha256", &DIGEST[..])
    );
    assert_eq!((fields[1].path, fields[1].digest_alg), (&b"/init"[..], "sha1"));
    assert_eq!((fields[2].signature, fields[3].signature), (&[3, 2][..], &[][..]));
    assert_eq!((fields[4].buffer, fields[6].digest_kind), (&b"quiet"[..], "verity"));
    assert_eq!((fields[7].modsig, fields[8].path), (&[7][..], &b"/tmp/log"[..]));
}

#[test]
fn a_bank_is_extended_with_its_hash_of_the_data_and_ones_for_a_violation() {
    let (old, hashed) = legacy("/init");
    let violation = record(10, &[0; 20], "ima-ng", &ng("/v"));
    let bytes = [entry("ima-ng", &ng("/a")), old, violation].concat();
    let log = ImaLog::parse(&bytes).unwrap();
    for alg in [SHA1, SHA256, HashAlg::Sha384, HashAlg::Sha512] {
        let ones = vec![0xff; alg.digest_len().unwrap()];
        let digests = [alg.hash(&[&ng("/a")]).unwrap(), alg.hash(&[&hashed]).unwrap(), ones];
        assert_eq!(log.replay(alg), BTreeMap::from([(10, extend(alg, &digests))]));
        for entries in 0..=3 {
            let value = extend(alg, &digests[..entries]);
            assert_eq!(log.matching_prefix(alg, 10, &value), Some(ImaPrefix { entries, quirk: None }));
        }
        assert_eq!(log.matching_prefix(alg, 10, &[1; 32]), None);
        assert_eq!(log.matching_prefix(alg, 11, &extend(alg, &digests)), None);
    }
    assert!(log.replay(HashAlg::Other(0x12)).is_empty());
    assert_eq!(log.matching_prefix(HashAlg::Other(0x12), 10, &[0; 32]), None);
}

#[test]
fn padded_sha1_is_a_named_quirk() {
    let bytes = [entry("ima-ng", &ng("/a")), record(10, &[0; 20], "ima-ng", &ng("/v"))].concat();
    let log = ImaLog::parse(&bytes).unwrap();
    let mut padded = SHA1.hash(&[&ng("/a")]).unwrap();
    padded.resize(32, 0);
    let value = extend(SHA256, &[padded, vec![0xff; 32]]);
    let prefix = ImaPrefix { entries: 2, quirk: Some(Quirk::ImaPaddedSha1) };
    assert_eq!(log.matching_prefix(SHA256, 10, &value), Some(prefix));
    assert_eq!(Quirk::ImaPaddedSha1.name(), "ima-padded-sha1");
}

#[test]
fn an_altered_entry_is_named_and_not_believed() {
    let forged = record(10, &SHA1.hash(&[&ng("/good")]).unwrap(), "ima-ng", &ng("/evil"));
    let bytes = [entry("ima-ng", &ng("/a")), forged].concat();
    let log = ImaLog::parse(&bytes).unwrap();
    assert_eq!(log.first_altered(), Some(1));
    let data = [ng("/a"), ng("/evil")].map(|data| SHA1.hash(&[&data]).unwrap());
    assert_eq!(log.replay(SHA1)[&10], extend(SHA1, &data));
}

#[test]
fn an_unknown_template_replays_in_binary_and_is_refused_in_text() {
    let data = [ng("/a"), sized(&[0, 0, 0, 0])].concat();
    let bytes = entry("evm-sig", &data);
    let log = ImaLog::parse(&bytes).unwrap();
    assert_eq!(log.entries().next().unwrap().fields(), None);
    assert_eq!(log.replay(SHA256)[&10], extend(SHA256, &[SHA256.hash(&[&data]).unwrap()]));
    let text = format!("10 {} evm-sig sha256:{} /a 0\n", hex::encode([1; 20]), hex::encode(DIGEST));
    assert_eq!(ImaLog::parse(text.as_bytes()), Err(BootError::ImaTemplate { offset: 0 }));
}

#[test]
fn logs_with_template_hashes_of_another_bank_are_read() {
    for alg in [SHA256, HashAlg::Sha384, HashAlg::Sha512] {
        let hash = alg.hash(&[&ng("/a")]).unwrap();
        let text = format!("10 {} ima-ng sha256:{} /a\n", hex::encode(&hash), hex::encode(DIGEST));
        let binary = record(10, &hash, "ima-ng", &ng("/a"));
        for bytes in [text.as_bytes(), &binary] {
            let log = ImaLog::parse(bytes).unwrap();
            assert_eq!((log.hash_alg(), log.len(), log.first_altered()), (alg, 1, None));
            assert_eq!(log.replay(alg)[&10], extend(alg, std::slice::from_ref(&hash)));
        }
    }
}

#[test]
fn other_pcrs_are_kept_apart() {
    let hash = SHA1.hash(&[&ng("/a")]).unwrap();
    let bytes = [entry("ima-ng", &ng("/a")), record(11, &hash, "ima-ng", &ng("/a"))].concat();
    let log = ImaLog::parse(&bytes).unwrap();
    assert_eq!(log.replay(SHA1).into_keys().collect::<Vec<_>>(), [10, 11]);
    let value = extend(SHA1, &[hash]);
    assert_eq!(log.matching_prefix(SHA1, 11, &value), Some(ImaPrefix { entries: 2, quirk: None }));
    assert!(log.touches(11) && !log.touches(12) && !log.touches(255));
}

#[test]
fn the_boot_aggregate_binds_the_log_to_the_firmwares() {
    let mut writer = LogWriter::new();
    writer.startup_locality(3).unwrap();
    writer.measure(4, EV_POST_CODE, b"x").unwrap();
    writer.measure(9, EV_POST_CODE, b"x").unwrap();
    let firmware = EventLog::parse(&writer.finish()).unwrap();
    let mut start = [0; 32];
    start[31] = 3;
    let value = extend(SHA256, &[SHA256.hash(&[b"x"]).unwrap()]);
    let pcr = |pcr| match pcr {
        0 => &start[..],
        4 | 9 => &value,
        _ => &[0; 32],
    };
    let aggregate = boot_aggregate(SHA256, pcr).unwrap();
    assert_ne!(boot_aggregate(SHA256, |pcr| if pcr == 9 { &start } else { &value }), Some(aggregate.clone()));
    assert_eq!(
        boot_aggregate(SHA1, |index| if index < 8 { pcr(index) } else { panic!("{index}") }).unwrap().len(),
        20
    );
    let first = |alg: &str, digest: &[u8], name: &[u8]| {
        let data = [digest_ng(alg, digest), sized(name)].concat();
        entry("ima-ng", &data)
    };
    let follows = |bytes: Vec<u8>| ImaLog::parse(&bytes).unwrap().follows(&firmware);
    assert_eq!(follows(first("sha256", &aggregate, b"boot_aggregate\0")), Some(true));
    assert_eq!(follows(first("sha256", &DIGEST, b"boot_aggregate\0")), Some(false));
    assert_eq!(follows(first("sha1", &[0; 20], b"boot_aggregate\0")), None, "not a bank of the firmware log");
    assert_eq!(follows(first("sha256", &aggregate, b"/init\0")), None);
}

#[test]
fn every_refusal_of_a_binary_log() {
    let good = entry("ima-ng", &ng("/a"));
    assert_eq!(ImaLog::parse(b""), Err(BootError::Empty));
    for cut in 1..good.len() {
        assert!(ImaLog::parse(&good[..cut]).is_err(), "{cut}");
    }
    assert!(ImaLog::parse(&[&good[..], &[0]].concat()).is_err());
    let pcr = record(24, &[1; 20], "ima-ng", &ng("/a"));
    assert_eq!(ImaLog::parse(&pcr), Err(BootError::PcrIndex { pcr: 24, offset: 0 }));
    assert_eq!(refused(&[good.clone(), entry("", &ng("/a"))].concat()), "template name size");
    assert_eq!(refused(&[good.clone(), entry(&"x".repeat(129), &ng("/a"))].concat()), "template name size");
    assert_eq!(refused(&[good.clone(), entry("ima ng", &ng("/a"))].concat()), "template name");
    assert_eq!(refused(&entry("ima-ng", &[ng("/a"), vec![0]].concat())), "template data");
    assert_eq!(refused(&entry("ima-sig", &ng("/a"))), "template data");
    let with = |digest: Vec<u8>, name: &[u8]| entry("ima-ng", &[digest, sized(name)].concat());
    let digest = || digest_ng("sha256", &DIGEST);
    for name in [&b""[..], b"/a", b"/a\0b\0"] {
        assert_eq!(refused(&with(digest(), name)), "template data", "{name:?}");
    }
    assert_eq!(refused(&with(sized(&DIGEST), b"/a\0")), "template data", "no algorithm");
    assert_eq!(refused(&with(digest_ng("unknown", &DIGEST), b"/a\0")), "file digest");
    assert_eq!(refused(&with(digest_ng("sha256", &[0; 20]), b"/a\0")), "file digest", "not a violation");
    assert_eq!(refused(&with(digest_ng("sha1", &DIGEST), b"/a\0")), "file digest");
    let ones = [digest_ng("sha256", &[1; 20]), sized(b"/a\0")].concat();
    assert_eq!(refused(&record(10, &[0; 20], "ima-ng", &ones)), "file digest", "a violation has no digest");
    assert_eq!(refused(&legacy(&"x".repeat(256)).0), "template data");
    assert_eq!(refused(&legacy("x\0").0), "template data");
    assert!(ImaLog::parse(&legacy(&"x".repeat(255)).0).is_ok());
}

#[test]
fn every_refusal_of_a_text_log() {
    let good = both_forms()[0].0.clone();
    assert!(ImaLog::parse(good.as_bytes()).is_ok());
    assert!(ImaLog::parse(format!(" {good}").replace("10 ", "8 ").as_bytes()).unwrap().touches(8));
    assert_eq!(refused(good.trim_end().as_bytes()), "end of line");
    assert_eq!(refused(b"this-is-no-log\n"), "PCR");
    assert_eq!(refused(good.replace("10 ", "-1 ").as_bytes()), "PCR");
    let pcr = ImaLog::parse(good.replace("10 ", "24 ").leak().as_bytes());
    assert_eq!(pcr, Err(BootError::PcrIndex { pcr: 24, offset: 0 }));
    assert_eq!(refused(format!("{good}\n{good}").as_bytes()), "PCR", "an empty line");
    assert_eq!(refused(b"10 xx ima-ng sha256:00 /a\n"), "template hash");
    assert_eq!(refused(b"10 00 ima-ng sha256:00 /a\n"), "template hash");
    assert_eq!(refused(b"10\n"), "template hash");
    assert_eq!(refused(good.split(" ima-ng").next().unwrap().to_owned().as_bytes()), "end of line");
    assert_eq!(refused(good.replace("abab", "ABAB").as_bytes()), "template data", "not as the kernel writes");
    assert_eq!(refused(good.replace("sha256:", "").as_bytes()), "template data");
    assert_eq!(refused(good.replace("sha256:", "unknown:").as_bytes()), "file digest");
    assert_eq!(refused(good.replace("sha256:", "sha512:").as_bytes()), "file digest");
    let longer = good.replacen(" ima-ng", "00 ima-ng", 1);
    assert_eq!(refused(format!("{good}{longer}").as_bytes()), "template hash");
}

#[test]
fn sizes_are_bounded() {
    let bytes = MAX_IMA_LOG_BYTES + 1;
    assert_eq!(ImaLog::parse(&vec![0; bytes]), Err(BootError::ImaLogTooLong { bytes }));
    let small = record(10, &[1; 20], "x", &[]);
    let full = small.repeat(MAX_IMA_ENTRIES);
    assert_eq!(ImaLog::parse(&full).unwrap().len(), MAX_IMA_ENTRIES);
    let over = [full, small].concat();
    assert!(matches!(ImaLog::parse(&over), Err(BootError::TooManyEntries { .. })));
    let line = "10 0101010101010101010101010101010101010101 ima-ng sha1:0101010101010101010101010101010101010101 a\n";
    let over = line.repeat(MAX_IMA_ENTRIES + 1);
    assert!(matches!(ImaLog::parse(over.as_bytes()), Err(BootError::TooManyEntries { .. })));
    let big = entry("x", &vec![0; MAX_IMA_DATA_BYTES]);
    assert!(ImaLog::parse(&big).is_ok());
    let bytes = MAX_IMA_DATA_BYTES + 1;
    let big = entry("x", &vec![0; bytes]);
    assert_eq!(ImaLog::parse(&big), Err(BootError::ImaDataTooLong { bytes, offset: 29 }));
}
