//! The cache: what it keeps, for how long, and how much.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use assay_gpu::device::{Asking, ChainKind, HoldPolicy};
use assay_validator::ocsp::{Cache, Kept, judge};
use assay_x509::{Certificate, OcspQuestion, OcspTerms};

use crate::world::ocsp::{
    AT, Answer, cert_id, date, delegate, good, id_of, issuer, nonce, revoked, single, subject, unknown,
};
use crate::world::{Draft, key};

struct Held {
    dir: tempfile::TempDir,
    cache: Cache,
    certificate: Certificate,
    issuer: Certificate,
}

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).unwrap()
}

impl Held {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("deep/ocsp")).unwrap();
        Self {
            cache,
            certificate: parse(&subject().sign(&key(1))),
            issuer: parse(&issuer().sign(&key(1))),
            dir,
        }
    }

    fn question(&self) -> OcspQuestion<'_> {
        OcspQuestion { certificate: &self.certificate, issuer: &self.issuer, known: &[], nonce: None }
    }

    fn put(&self, answer: &[u8]) -> Kept {
        self.cache.put(&self.question(), answer, &OcspTerms::at(AT)).unwrap()
    }

    fn get(&self, at: i64) -> Option<Vec<u8>> {
        self.cache.get(&self.question(), at).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path().join("deep/ocsp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// An answer with this status, made at that hour of the day and good until that of the next one.
fn answer(status: &[u8], hour: u8) -> Vec<u8> {
    let id = cert_id(&subject().serial, &issuer());
    let (this, next) = (format!("20240601{hour:02}0000Z"), format!("20240602{hour:02}0000Z"));
    let singles = vec![single(&id, status, &this, Some(&next), &[])];
    Answer { singles, ..Answer::good() }.sign(&key(1))
}

/// The second at which an answer of this hour ends.
fn end(hour: i64) -> i64 {
    AT + (12 + hour) * 3600
}

#[test]
fn an_answer_is_kept_until_its_end_and_over_a_restart() {
    let held = Held::new();
    assert_eq!(held.get(AT), None);
    let eight = answer(&good(), 8);
    assert_eq!(held.put(&eight), Kept::New);
    assert_eq!(held.put(&eight), Kept::Known);
    assert_eq!(held.get(AT), Some(eight.clone()));
    assert_eq!(held.get(end(8) - 1), Some(eight.clone()));
    assert_eq!(held.get(end(8)), None, "at nextUpdate it is over");
    assert_eq!(held.get(AT - 86_400), None, "made later than that");
    let again = Cache::open(&held.dir.path().join("deep/ocsp")).unwrap();
    assert_eq!(again.get(&held.question(), AT).unwrap(), Some(eight));
    let modified = fs::metadata(&held.files()[0]).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(UNIX_EPOCH).unwrap().as_secs(), u64::try_from(end(8)).unwrap());
}

#[test]
fn only_what_says_something_is_kept() {
    let held = Held::new();
    let foreign = Answer::good().delegated(&delegate(), &key(2)).sign(&key(5));
    let other = id_of(&[9], &held.issuer);
    let other = single(&other, &good(), "20240601080000Z", Some("20240602080000Z"), &[]);
    let endless = single(&cert_id(&subject().serial, &issuer()), &good(), "20240601080000Z", None, &[]);
    for singles in [vec![other], vec![endless]] {
        assert_eq!(held.put(&Answer { singles, ..Answer::good() }.sign(&key(1))), Kept::Useless);
    }
    for useless in [foreign, vec![], vec![0x30; 100_000], vec![0x30, 3, 0x0a, 1, 3], answer(&good(), 23)] {
        assert_eq!(held.put(&useless), Kept::Useless);
    }
    let over = OcspTerms::at(end(8));
    assert_eq!(held.cache.put(&held.question(), &answer(&good(), 8), &over).unwrap(), Kept::Useless);
    assert!(held.files().is_empty());
}

#[test]
fn the_newer_answer_stays_and_a_revocation_is_final() {
    let taken = |reason, hour| answer(&revoked("20240601000000Z", Some(reason)), hour);
    let held = Held::new();
    assert_eq!(held.put(&answer(&good(), 8)), Kept::New);
    assert_eq!(held.put(&answer(&good(), 7)), Kept::Known);
    assert_eq!(held.put(&answer(&unknown(), 8)), Kept::Known);
    assert_eq!(held.put(&taken(6, 9)), Kept::New, "a hold");
    assert_eq!(held.put(&answer(&good(), 10)), Kept::New, "the end of a hold");
    assert_eq!(held.put(&taken(1, 7)), Kept::New, "a revocation, though older");
    assert_eq!(held.put(&answer(&good(), 11)), Kept::Known);
    assert_eq!(held.get(AT), Some(taken(1, 7)));
    assert_eq!(held.files().len(), 1);
}

#[test]
fn a_changed_file_is_no_answer() {
    let held = Held::new();
    held.put(&answer(&good(), 8));
    let path = held.files().remove(0);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        assert_eq!(held.get(AT), None, "byte {at}");
    }
    fs::write(&path, vec![0x30; 1 << 20]).unwrap();
    assert_eq!(held.get(AT), None);
    assert_eq!(held.put(&answer(&good(), 7)), Kept::New, "what can't be used is no reason to keep it");
    // Another certificate's answer under this one's name.
    let other = Draft { serial: vec![9], ..subject() };
    let other = parse(&other.sign(&key(1)));
    let moved = path.with_file_name(format!("{}.der", other.fingerprint()));
    fs::rename(&path, moved).unwrap();
    let question = OcspQuestion { certificate: &other, ..held.question() };
    assert_eq!(held.cache.get(&question, AT).unwrap(), None);
}

/// A pipe would keep its reader waiting for a writer that never comes.
#[test]
fn what_is_no_file_is_refused_at_once() {
    let held = Held::new();
    held.put(&answer(&good(), 8));
    let path = held.files().remove(0);
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(held.cache.get(&held.question(), AT).is_err()));
    assert!(receiver.recv_timeout(Duration::from_secs(20)).unwrap());
}

#[test]
fn the_folder_is_bounded_and_what_ends_first_goes() {
    let held = Held::new();
    let cache = held.cache.clone().with_limit(3);
    let put = |serial: u8, next: &str| {
        let certificate = parse(&Draft { serial: vec![serial], ..subject() }.sign(&key(1)));
        let id = id_of(&[serial], &held.issuer);
        let singles = vec![single(&id, &good(), "20240601080000Z", Some(next), &[])];
        let answer = Answer { singles, ..Answer::good() }.sign(&key(1));
        let question = OcspQuestion { certificate: &certificate, ..held.question() };
        assert_eq!(cache.put(&question, &answer, &OcspTerms::at(AT)).unwrap(), Kept::New);
        certificate
    };
    let kept: Vec<_> = [(1, "20240603000000Z"), (2, "20240602000000Z"), (3, "20240604000000Z")]
        .map(|(serial, next)| put(serial, next))
        .into();
    assert_eq!(held.files().len(), 3);
    let fourth = put(4, "20240602120000Z");
    assert_eq!(held.files().len(), 3);
    let there =
        |certificate| cache.get(&OcspQuestion { certificate, ..held.question() }, AT).unwrap().is_some();
    assert_eq!([&kept[0], &kept[1], &kept[2], &fourth].map(there), [true, false, true, true]);
    put(5, "20240601180000Z");
    assert!(!there(&fourth));
}

/// With a nextUpdate that is past, and without one.
#[test]
fn a_revocation_is_kept_without_end() {
    let year = AT + 365 * 86_400;
    let taken = revoked("20240601000000Z", Some(1));
    let id = cert_id(&subject().serial, &issuer());
    let endless = single(&id, &taken, "20240601080000Z", None, &[]);
    let endless = Answer { singles: vec![endless], ..Answer::good() }.sign(&key(1));
    for taken in [answer(&taken, 8), endless] {
        let held = Held::new();
        held.put(&answer(&good(), 9));
        assert_eq!(held.put(&taken), Kept::New);
        assert_eq!(held.put(&taken), Kept::Known);
        assert_eq!(held.put(&answer(&good(), 10)), Kept::Known);
        assert_eq!(held.files().len(), 1, "in place of what was good");
        let chain = [held.certificate.clone(), held.issuer.clone()];
        for at in [AT, end(8), year] {
            assert_eq!(held.get(at), Some(taken.clone()));
            let asking = Asking::stapled(at, HoldPolicy::default());
            let judged = judge(ChainKind::Rim, &chain, &[], &asking, Some(&held.cache)).unwrap();
            assert_eq!(judged.check.result, Some(false));
        }
        // Still there for the last, though a good one is given that is newer.
        let terms = OcspTerms::at(year);
        let (this, next) = ("20250601000000Z", Some("20250602230000Z"));
        let later = single(&id, &good(), this, next, &[]);
        let later = Answer { singles: vec![later], produced: date(this), ..Answer::good() }.sign(&key(1));
        assert_eq!(held.cache.put(&held.question(), &later, &terms).unwrap(), Kept::Known);
    }
    let held = Held::new();
    held.put(&answer(&revoked("20240601000000Z", Some(6)), 8));
    assert_eq!(held.get(end(8)), None, "a hold ends");
}

/// Room is never made at a revocation's cost.
#[test]
fn a_revocation_does_not_go_when_the_folder_is_full() {
    let held = Held::new();
    let cache = held.cache.clone().with_limit(2);
    let certificate = |serial: u8| parse(&Draft { serial: vec![serial], ..subject() }.sign(&key(1)));
    let put = |serial: u8, status: &[u8], next: &str| {
        let singles =
            vec![single(&id_of(&[serial], &held.issuer), status, "20240601080000Z", Some(next), &[])];
        let answer = Answer { singles, ..Answer::good() }.sign(&key(1));
        let question = OcspQuestion { certificate: &certificate(serial), ..held.question() };
        cache.put(&question, &answer, &OcspTerms::at(AT)).unwrap()
    };
    let there = |serial: u8| {
        let question = OcspQuestion { certificate: &certificate(serial), ..held.question() };
        cache.get(&question, AT).unwrap().is_some()
    };
    let taken = revoked("20240601000000Z", Some(1));
    assert_eq!(put(1, &taken, "20240601130000Z"), Kept::New);
    for serial in 2..5 {
        assert_eq!(put(serial, &good(), "20240603000000Z"), Kept::New);
    }
    assert_eq!([1, 2, 3, 4].map(there), [true, false, false, true]);
    assert_eq!(held.files().len(), 2);
    assert_eq!(put(5, &taken, "20240601130000Z"), Kept::New);
    assert_eq!(put(6, &good(), "20240603000000Z"), Kept::Useless, "no room but a revocation's");
    assert_eq!(put(7, &taken, "20240601130000Z"), Kept::New, "beyond the limit");
    assert_eq!([1, 4, 5, 6, 7].map(there), [true, false, true, false, true]);
}

#[test]
fn judging_keeps_what_is_good_and_uses_it_later() {
    let held = Held::new();
    let chain = [held.certificate.clone(), held.issuer.clone()];
    let stapled = Asking::stapled(AT, HoldPolicy::default());
    let judged = |answers: &[Vec<u8>], asking: &Asking<'_>| {
        judge(ChainKind::Rim, &chain, answers, asking, Some(&held.cache)).unwrap().check.result
    };
    assert_eq!(judged(&[], &stapled), None);
    assert_eq!(judged(&[answer(&good(), 8)], &stapled), Some(true));
    assert_eq!(judged(&[], &stapled), Some(true), "what was kept");
    let late = Asking::stapled(end(8), HoldPolicy::default());
    assert_eq!(judged(&[], &late), None);
    // An answer to another request is neither used nor kept, and none that is kept stands in for it.
    let nonces = [(held.certificate.fingerprint(), vec![7; 32])];
    let asked = Asking { nonces: &nonces, ..stapled };
    assert_eq!(judged(&[], &asked), None);
    let id = cert_id(&subject().serial, &issuer());
    let singles = vec![single(&id, &good(), "20240601100000Z", Some("20240603080000Z"), &[])];
    let with = |bytes: &[u8]| {
        let extensions = vec![nonce(bytes)];
        Answer { singles: singles.clone(), extensions, ..Answer::good() }.sign(&key(1))
    };
    assert_eq!(judged(&[with(&[8; 32])], &asked), None);
    assert_eq!(held.get(AT), Some(answer(&good(), 8)));
    assert_eq!(judged(&[with(&[7; 32])], &asked), Some(true));
    assert_eq!(held.get(AT), Some(with(&[7; 32])));
    assert_eq!(judge(ChainKind::Rim, &chain, &[], &stapled, None).unwrap().check.result, None);
}
