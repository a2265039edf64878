//! Imports of made-up documents: what a service reads of them, and what stays of a signer that was taken back.

use std::fs;
use std::path::{Path, PathBuf};

use assay_appraisal::Trust;
use assay_gpu::device::{HoldPolicy, Roots};
use assay_gpu::rim::{RIM_NETWORK, Rim, SignerStatus};
use assay_validator::ocsp::Cache;
use assay_validator::rim::{Import, Imported, Shelf};
use assay_validator::verify::{Sources, Verifier};
use assay_wire::{Kind, SigningKey};
use assay_x509::Certificate;
use rcgen::SigningKey as _;

use crate::folder::{seal, trust};
use crate::responder::ocsp::{Answer, date, good, id_of, revoked, single};
use crate::responder::{oid, seq, tlv};
use crate::world::{Draft, Holder, World, meta, params, row};

/// 2026-01-01.
const AT: i64 = 1_767_225_600;

/// The issuer's answer about a signer below the world's lower authority.
fn answer(world: &World, signer: &Holder, status: &[u8]) -> Vec<u8> {
    let [certificate, issuer] = [signer, &world.lower].map(|one| Certificate::parse(&one.der).unwrap());
    let this = "20251231120000Z";
    let id = id_of(&certificate.serial, &issuer);
    let draft = Answer {
        responder: tlv(0xa1, issuer.subject.as_bytes()),
        produced: date(this),
        singles: vec![single(&id, status, this, Some("20260102000000Z"), &[])],
        algorithm: seq(&[&oid("1.2.840.10045.4.3.3")]),
        ..Answer::good()
    };
    draft.sealed(&world.lower.key.sign(&draft.data()).unwrap())
}

pub(crate) fn revocation(world: &World) -> Vec<u8> {
    answer(world, &world.leaf, &revoked("20251201000000Z", Some(1)))
}

fn hold(world: &World) -> Vec<u8> {
    answer(world, &world.leaf, &revoked("20251201000000Z", Some(6)))
}

/// A folder with documents, and a folder for what is imported.
struct Place {
    dir: tempfile::TempDir,
    out: PathBuf,
    world: World,
    key: SigningKey,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("rims");
        fs::create_dir(&out).unwrap();
        Self { dir, out, world: World::new(), key: SigningKey::from_seed(&[1; 32]) }
    }

    /// A document for a driver of this version, by this signer.
    fn document(&self, version: &str, signer: &Holder) -> PathBuf {
        let draft = Draft { meta: meta(version, "GPU", "GH100"), ..Draft::new() };
        let chain =
            [signer, &self.world.lower, &self.world.upper, &self.world.root].map(|one| one.der.clone());
        let path = self.dir.path().join(format!("{version}.xml"));
        fs::write(&path, draft.sign_with(&signer.key, &chain)).unwrap();
        path
    }

    fn import(&self, document: &Path, answers: &[Vec<u8>], cache: Option<&Cache>) -> Imported {
        let root = &self.world.root.der;
        Import { out: &self.out, key: &self.key, at: AT, root, answers, cache }.one(document).unwrap()
    }

    /// Whom a service believes whose root of reference values is the world's.
    fn trust(&self) -> Trust {
        let mut trust = trust(&self.key);
        trust.device_roots = Roots::new(Vec::new(), self.world.root.der.clone());
        trust
    }

    /// The versions that a service takes out of the folder.
    fn versions(&self) -> Vec<String> {
        let shelf = Shelf::open(&self.out, &self.trust()).unwrap();
        shelf.rims().iter().map(|rim| rim.version.clone()).collect()
    }
}

#[test]
fn what_is_imported_is_what_a_service_takes() {
    let place = Place::new();
    let document = place.document("550.1.2", &place.world.leaf);
    let imported = place.import(&document, &[], None);
    assert!(imported.written.is_some() && imported.signer == Some(SignerStatus::Unchecked), "{imported:?}");
    let believed = place.world.believed(&fs::read_to_string(&document).unwrap()).unwrap();
    let shelf = Shelf::open(&place.out, &place.trust()).unwrap();
    assert_eq!(shelf.rims(), [believed]);
}

#[test]
fn of_a_signer_that_was_taken_back_nothing_stays() {
    for (taken, status) in
        [(revocation as fn(&World) -> Vec<u8>, SignerStatus::Revoked), (hold, SignerStatus::Hold)]
    {
        let place = Place::new();
        let other = place.world.lower.below(params("other", None));
        let leaf = &place.world.leaf;
        let documents = ["1.1", "2.2"].map(|version| place.document(version, leaf));
        for document in documents.iter().chain([&place.document("3.3", &other)]) {
            assert!(place.import(document, &[answer(&place.world, leaf, &good())], None).written.is_some());
        }
        assert_eq!(place.versions(), ["1.1", "2.2", "3.3"]);
        // Another validator's file is not ours to remove.
        let rim = place.world.believed(&fs::read_to_string(&documents[0]).unwrap()).unwrap();
        let theirs = seal(&rim, &SigningKey::from_seed(&[2; 32]), Kind::GpuRim, RIM_NETWORK);
        fs::write(place.out.join("theirs.rim"), &theirs).unwrap();
        let refused = place.import(&documents[1], &[taken(&place.world)], None);
        assert_eq!((refused.written, refused.signer, refused.removed.len()), (None, Some(status), 2));
        assert_eq!(place.versions(), ["3.3"]);
        assert_eq!(fs::read(place.out.join("theirs.rim")).unwrap(), theirs);
    }
}

#[test]
fn a_revocation_is_remembered_where_answers_are_kept() {
    let place = Place::new();
    let cache = Cache::open(&place.dir.path().join("ocsp")).unwrap();
    let document = place.document("1.1", &place.world.leaf);
    let status = |answers: &[Vec<u8>], cache| place.import(&document, answers, cache).signer;
    assert_eq!(status(&[], Some(&cache)), Some(SignerStatus::Unchecked));
    assert_eq!(status(&[revocation(&place.world)], Some(&cache)), Some(SignerStatus::Revoked));
    assert_eq!(status(&[], Some(&cache)), Some(SignerStatus::Revoked));
    assert_eq!(status(&[], None), Some(SignerStatus::Unchecked));
}

#[test]
fn newer_answers_replace_what_was_written_before() {
    let place = Place::new();
    let document = place.document("1.1", &place.world.leaf);
    let written =
        |answers: &[Vec<u8>]| fs::read(place.import(&document, answers, None).written.unwrap()).unwrap();
    let bare = written(&[]);
    let answer = answer(&place.world, &place.world.leaf, &good());
    assert_ne!(written(std::slice::from_ref(&answer)), bare);
    assert_eq!(Shelf::open(&place.out, &place.trust()).unwrap().rims()[0].proof.ocsp, [answer.into()]);
    assert_eq!(written(&[]), bare);
}

/// Two documents for one version that differ let no device pass: whoever imports the second is told.
#[test]
fn a_document_that_contradicts_an_earlier_one_is_named() {
    let place = Place::new();
    let first = place.document("1.1", &place.world.leaf);
    let one = place.import(&first, &[], None);
    assert_eq!((one.collides, place.import(&first, &[], None).collides), (vec![], vec![]));
    let other =
        Draft { meta: meta("1.1", "GPU", "GH100"), rows: vec![row("7", true, &[[9; 48]])], ..Draft::new() };
    let second = place.dir.path().join("second.xml");
    fs::write(&second, other.sign(&place.world)).unwrap();
    assert_eq!(place.import(&second, &[], None).collides, [one.written.unwrap()]);
    assert_eq!(
        place.import(&place.document("2.2", &place.world.leaf), &[], None).collides,
        [""; 0].map(PathBuf::from)
    );
}

/// However many answers about others come along.
#[test]
fn no_answer_about_the_signer_is_left_out() {
    let place = Place::new();
    let document = place.document("1.1", &place.world.leaf);
    let others: Vec<_> =
        (0..70).map(|n| place.world.lower.below(params(&format!("other {n}"), None))).collect();
    let mut answers: Vec<_> = others.iter().map(|other| answer(&place.world, other, &good())).collect();
    let kept = place.import(&document, &answers, None);
    assert_eq!(kept.signer, Some(SignerStatus::Unchecked));
    let trusted = place.trust();
    assert_eq!(Shelf::open(&place.out, &trusted).unwrap().rims()[0].proof.ocsp, []);
    answers.push(revocation(&place.world));
    let refused = place.import(&document, &answers, None);
    assert_eq!((refused.signer, refused.written), (Some(SignerStatus::Revoked), None));
}

/// `verify --rims --ocsp`: documents and reduced forms count as they do for `verify-gpu`, with the answers given.
#[test]
fn a_verifier_of_files_takes_reference_values_and_answers() {
    let place = Place::new();
    place.import(&place.document("1.1", &place.world.leaf), &[], None);
    fs::copy(place.document("2.2", &place.world.leaf), place.out.join("2.2.xml")).unwrap();
    fs::write(place.out.join("notes.txt"), "x").unwrap();
    let file = place.dir.path().join("trust.toml");
    fs::write(&file, place.trust().to_toml()).unwrap();
    let statuses = |answers: &[Vec<u8>]| {
        let sources = Sources { trust: file.clone(), ..Sources::default() };
        let mut verifier = Verifier::load(&sources).unwrap();
        verifier.trust = place.trust();
        let refused = verifier.take_devices(Some(&place.out), answers).unwrap();
        assert!(refused.len() == 1 && refused[0].file.ends_with("notes.txt"), "{refused:?}");
        assert_eq!(verifier.state.gpu_ocsp.len(), answers.len());
        let status = |rim: &Rim| (rim.version.clone(), SignerStatus::of(rim, AT, HoldPolicy::default()));
        verifier.state.gpu_rims.iter().map(status).collect::<Vec<_>>()
    };
    let both = |status| ["1.1", "2.2"].map(|version| (version.to_owned(), status));
    assert_eq!(statuses(&[]), both(SignerStatus::Unchecked));
    assert_eq!(statuses(&[revocation(&place.world)]), both(SignerStatus::Revoked));
}
