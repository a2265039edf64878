//! A folder of RIMs: documents and reduced forms.

use assay_appraisal::Trust;
use assay_gpu::rim::{Board, MAX_ANSWERS, RIM_NETWORK, Rim};
use assay_validator::rim::{MAX_FILES, Reason, Refused, Unproven, load_dir};
use assay_wire::{Envelope, Kind, Network, SigningKey};

use crate::import::revocation;
use crate::world::{Draft, World, meta};

pub(crate) fn trust(key: &SigningKey) -> Trust {
    let key = hex::encode(key.verifying_key().0);
    let text = format!(
        "schema = 1\npolicy = \"open\"\nvendors = \"none\"\n[network]\nid = \"n\"\nreceipt_threshold = 1\n\
         beacon_period_ms = 5000\nanchor_per_mille = 1\n[[validator]]\nname = \"v\"\noperator = \"o\"\nkey = \"{key}\"\n"
    );
    Trust::parse(&text).unwrap()
}

pub(crate) fn seal(rim: &Rim, key: &SigningKey, kind: Kind, network: &str) -> Vec<u8> {
    Envelope::seal(kind, key.verifying_key().validator_id(), rim, key, &Network::new(network))
}

/// What is loaded from one file of this content.
fn one(world: &World, bytes: &[u8], trust: Option<&Trust>) -> Result<Rim, Reason> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), bytes).unwrap();
    let (mut rims, mut refused) = load_dir(dir.path(), &world.root.der, trust).unwrap();
    assert_eq!(rims.len() + refused.len(), 1);
    rims.pop().ok_or_else(|| refused.pop().unwrap().reason)
}

#[test]
fn documents_count_by_themselves() {
    let world = World::new();
    let good = Draft::new().sign(&world);
    let rim = world.believed(&good).unwrap();
    assert_eq!(one(&world, good.as_bytes(), None).unwrap(), rim);
    let changed = good.replace("tagId=\"t\"", "tagId=\"u\"");
    let refused = one(&world, changed.as_bytes(), None).unwrap_err();
    assert!(matches!(refused, Reason::Document(Unproven::Signature(_))), "{refused}");
    let stranger = Draft::new().sign(&World::new());
    let refused = one(&world, stranger.as_bytes(), None).unwrap_err();
    assert!(matches!(refused, Reason::Document(Unproven::Chain(_))), "{refused}");
    assert!(matches!(one(&world, b"", None), Err(Reason::Document(Unproven::Document(_)))));
}

#[test]
fn reduced_forms_count_by_a_validator_in_the_trust_file() {
    let world = World::new();
    let rim = world.believed(&Draft::new().sign(&world)).unwrap();
    let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
    let trust = trust(&key);
    let good = seal(&rim, &key, Kind::GpuRim, RIM_NETWORK);
    assert_eq!(one(&world, &good, Some(&trust)).unwrap(), rim);
    assert!(matches!(one(&world, &good, None), Err(Reason::NoTrust)));
    let stranger = seal(&rim, &other, Kind::GpuRim, RIM_NETWORK);
    assert!(matches!(one(&world, &stranger, Some(&trust)), Err(Reason::Stranger(_))));
    let kid = key.verifying_key().validator_id();
    let borrowed = Envelope::seal(Kind::GpuRim, kid, &rim, &other, &Network::new(RIM_NETWORK));
    for wrong in [
        borrowed,
        seal(&rim, &key, Kind::Release, RIM_NETWORK),
        seal(&rim, &key, Kind::GpuRim, "n"),
        good[..good.len() - 1].to_vec(),
    ] {
        assert!(matches!(one(&world, &wrong, Some(&trust)), Err(Reason::Envelope(_))));
    }
    let empty = Rim { rows: vec![], ..rim };
    let empty = seal(&empty, &key, Kind::GpuRim, RIM_NETWORK);
    assert!(matches!(one(&world, &empty, Some(&trust)), Err(Reason::Reduced(_))));
}

#[test]
fn files_are_read_in_order_and_folders_are_not() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let with = |version: &str| Draft { meta: meta(version, "GPU", "GH100"), ..Draft::new() }.sign(&world);
    for (name, version) in [("b", "2.2"), ("a", "1.1"), ("c", "3.3")] {
        std::fs::write(dir.path().join(name), with(version)).unwrap();
    }
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/e"), "x").unwrap();
    std::fs::write(dir.path().join("f"), "x").unwrap();
    let (rims, refused) = load_dir(dir.path(), &world.root.der, None).unwrap();
    assert_eq!(rims.iter().map(|rim| rim.version.as_str()).collect::<Vec<_>>(), ["1.1", "2.2", "3.3"]);
    assert_eq!(refused.iter().map(|one| one.file.file_name().unwrap()).collect::<Vec<_>>(), ["f"]);
    assert!(load_dir(&dir.path().join("nothing"), &world.root.der, None).is_err());
}

#[test]
fn a_file_may_name_its_board() {
    let world = World::new();
    let draft = Draft { meta: meta("96.00.5E.00.01", "GPU", "GH100"), ..Draft::new() };
    let document = draft.sign(&world);
    let named = |name: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), &document).unwrap();
        let (mut rims, refused) = load_dir(dir.path(), &world.root.der, None).unwrap();
        assert!(refused.is_empty());
        rims.pop().unwrap()
    };
    let board = Board { project: "G520".into(), project_sku: "0200".into(), chip_sku: "885".into() };
    for name in [
        "g520_0200_885_96005E0001_PROD.swidtag",
        "NV_GPU_VBIOS_G520_0200_885_96005E0001",
        "NV_GPU_VBIOS_G520_0200_885_96005e0001.xml",
    ] {
        let rim = named(name);
        assert_eq!((rim.board.as_ref(), rim.check()), (Some(&board), Ok(())), "{name}");
        assert_eq!(rim.id(), "NV_GPU_VBIOS_G520_0200_885_96005E0001");
    }
    for name in [
        "rim.xml",
        "0200_885_96005E0001",
        "G520_0200_885_96005E0002",
        "G52-_0200_885_96005E0001",
        "__96005E0001",
        "H100_VBIOS_RIM_96005E0001",
    ] {
        let rim = named(name);
        assert_eq!((rim.board.as_ref(), rim.id().as_str()), (None, "NV_GPU_VBIOS_*_96005E0001"), "{name}");
    }
}

#[test]
fn answers_of_responders_come_with_the_rims_they_are_about() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    // "Try later" (RFC 6960 2.3) is no answer, nor is one that was cut; one about someone else is nothing to this RIM.
    let later = [0x30, 3, 0x0a, 1, 3];
    let (about, elsewhere) = (revocation(&world), revocation(&World::new()));
    put("a.ocsp", &about);
    put("b.xml", Draft::new().sign(&world).as_bytes());
    put("c.ocsp", &later[..4]);
    put("e.ocsp", &elsewhere);
    let (rims, refused) = load_dir(dir.path(), &world.root.der, None).unwrap();
    assert_eq!(rims[0].proof.ocsp, [about.clone().into()]);
    let certificates: Vec<_> = rims[0].proof.certificates.iter().map(|der| der.to_vec()).collect();
    assert_eq!(certificates, world.chain());
    assert!(matches!(refused[..], [Refused { reason: Reason::Answer(_), .. }]), "{refused:?}");
    put("c.ocsp", &later);
    let (_, refused) = load_dir(dir.path(), &world.root.der, None).unwrap();
    assert!(matches!(refused[..], [Refused { reason: Reason::Refusal(_), .. }]), "{refused:?}");
    std::fs::remove_file(dir.path().join("c.ocsp")).unwrap();
    // As many as are taken, and no more.
    for nth in 2..MAX_ANSWERS {
        put(&format!("d{nth}"), &about);
    }
    let (rims, refused) = load_dir(dir.path(), &world.root.der, None).unwrap();
    assert_eq!((rims[0].proof.ocsp.len(), refused.len()), (1, 0), "each once");
    put("d-1", &elsewhere);
    let (_, refused) = load_dir(dir.path(), &world.root.der, None).unwrap();
    assert!(matches!(refused[..], [Refused { reason: Reason::Answers, .. }]), "{refused:?}");
}

#[test]
fn a_folder_of_too_many_files_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    for nth in 0..MAX_FILES {
        std::fs::write(dir.path().join(nth.to_string()), "").unwrap();
    }
    let (rims, refused) = load_dir(dir.path(), &[], None).unwrap();
    assert_eq!((rims.len(), refused.len()), (0, MAX_FILES));
    std::fs::write(dir.path().join("one-more"), "").unwrap();
    assert!(load_dir(dir.path(), &[], None).is_err());
}
