//! Certificates behind a signature.

use assay_gpu::device::ChainFault as Path;
use assay_validator::rim::{ChainFault, Unproven};
use rcgen::{
    BasicConstraints, CustomExtension, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use crate::world::{Draft, Holder, World, params};

fn fault(world: &World, key: &KeyPair, chain: &[Vec<u8>]) -> Path {
    let examined = world.examine(&Draft::new().sign_with(key, chain)).unwrap();
    assert_eq!(examined.signature, Ok(()), "facts apart");
    let fault = match &examined.chain {
        Err(ChainFault::Path(fault)) => fault.clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(examined.rim(None), Err(Unproven::Chain(_))));
    fault
}

#[test]
fn the_root_is_the_pinned_one_byte_for_byte() {
    let world = World::new();
    let other = World::new();
    assert_eq!(
        fault(&world, &other.leaf.key, &other.chain()),
        Path::Root,
        "a whole world under another root"
    );
    // Same name and key, another certificate.
    let again = world.root.params.self_signed(&world.root.key).unwrap().der().to_vec();
    let mut chain = world.chain();
    if again != world.root.der {
        chain[3] = again;
        assert_eq!(fault(&world, &world.leaf.key, &chain), Path::Root);
    }
    let mut chain = world.chain();
    chain.pop();
    assert_eq!(fault(&world, &world.leaf.key, &chain), Path::Root, "no root");
}

#[test]
fn order_and_number_count() {
    let world = World::new();
    let chain = world.chain();
    let reordered = [&chain[0], &chain[2], &chain[1], &chain[3]].map(Clone::clone);
    assert_eq!(fault(&world, &world.leaf.key, &reordered), Path::PathLength { index: 2, allowed: 0 });
    let doubled = [&chain[0], &chain[1], &chain[1], &chain[2], &chain[3]].map(Clone::clone);
    let doubled = fault(&world, &world.leaf.key, &doubled);
    assert!(matches!(doubled, Path::Name { index: 1 } | Path::PathLength { .. }), "{doubled:?}");
    let missing = [&chain[0], &chain[2], &chain[3]].map(Clone::clone);
    assert_eq!(fault(&world, &world.leaf.key, &missing), Path::Name { index: 0 });
    let long: Vec<_> = std::iter::repeat_n(chain[0].clone(), 5).chain([chain[3].clone()]).collect();
    assert_eq!(fault(&world, &world.leaf.key, &long), Path::Count { seen: 6 });
    assert_eq!(
        fault(&world, &world.root.key, &chain[3..]),
        Path::Count { seen: 1 },
        "the root signs nothing itself"
    );
}

#[test]
fn an_attackers_leaf_beside_the_chain_is_not_used() {
    let (world, attacker) = (World::new(), World::new());
    let own = attacker.leaf.der.clone();
    let before = [vec![own.clone()], world.chain()].concat();
    assert_eq!(fault(&world, &attacker.leaf.key, &before), Path::NotAuthority { index: 1 });
    let instead = [vec![own.clone()], world.chain()[1..].to_vec()].concat();
    assert!(matches!(fault(&world, &attacker.leaf.key, &instead), Path::Signature { index: 0, .. }));
    // Behind the chain it is not the first, so its key is not asked.
    let behind = [world.chain(), vec![own]].concat();
    let examined = world.examine(&Draft::new().sign_with(&attacker.leaf.key, &behind)).unwrap();
    assert!(examined.signature.is_err() && examined.chain.is_err());
}

#[test]
fn a_name_is_no_signature() {
    let (world, attacker) = (World::new(), World::new());
    let leaf = Holder { key: crate::world::p384(), params: params("lower", None), der: vec![] };
    let forged = attacker.lower.below(leaf.params);
    let mut chain = world.chain();
    chain[0] = forged.der;
    assert!(matches!(fault(&world, &forged.key, &chain), Path::Signature { index: 0, .. }));
}

#[test]
fn every_certificate_has_its_role() {
    let world = World::new();
    let (lower, upper, root) = (&world.lower, &world.upper, &world.root);
    let ders = |list: &[&Holder]| list.iter().map(|one| one.der.clone()).collect::<Vec<_>>();
    // A signer that signs certificates only.
    let mut usage = params("leaf", None);
    usage.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    let leaf = lower.below(usage);
    assert_eq!(fault(&world, &leaf.key, &ders(&[&leaf, lower, upper, root])), Path::Usage { index: 0 });
    // A signer below a signer.
    let below = world.leaf.below(params("below", None));
    let chain = ders(&[&below, &world.leaf, lower, upper, root]);
    assert_eq!(fault(&world, &below.key, &chain), Path::NotAuthority { index: 1 });
    // An authority that may not sign certificates.
    let mut usage = params("weak", Some(BasicConstraints::Unconstrained));
    usage.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let weak = upper.below(usage);
    let leaf = weak.below(params("leaf", None));
    assert_eq!(fault(&world, &leaf.key, &ders(&[&leaf, &weak, upper, root])), Path::Usage { index: 1 });
    // One authority more than allowed.
    let tight = root.below(params("tight", Some(BasicConstraints::Constrained(0))));
    let more = tight.below(params("more", Some(BasicConstraints::Unconstrained)));
    let leaf = more.below(params("leaf", None));
    let chain = ders(&[&leaf, &more, &tight, root]);
    assert_eq!(fault(&world, &leaf.key, &chain), Path::PathLength { index: 2, allowed: 0 });
}

#[test]
fn keys_and_extensions_are_the_known_ones() {
    let world = World::new();
    let ders =
        |leaf: &Holder| [&leaf.der, &world.lower.der, &world.upper.der, &world.root.der].map(Clone::clone);
    let p256 =
        world.lower.below_with(params("leaf", None), KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    let examined = world.examine(&Draft::new().sign_with(&world.leaf.key, &ders(&p256))).unwrap();
    assert_eq!(examined.chain, Err(ChainFault::Path(Path::Key { index: 0 })));
    assert!(examined.signature.is_err());
    let mut critical = params("leaf", None);
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    critical.custom_extensions.push(extension);
    let leaf = world.lower.below(critical);
    assert!(matches!(fault(&world, &leaf.key, &ders(&leaf)), Path::Extension { index: 0, .. }));
}

#[test]
fn dates_are_a_fact_of_their_own() {
    let world = World::new();
    let mut short = params("leaf", None);
    (short.not_before, short.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(2026, 1, 1));
    let leaf = world.lower.below(short);
    let chain = [&leaf.der, &world.lower.der, &world.upper.der, &world.root.der].map(Clone::clone);
    let examined = world.examine(&Draft::new().sign_with(&leaf.key, &chain)).unwrap();
    assert_eq!((&examined.signature, &examined.chain), (&Ok(()), &Ok(())));
    let (first, last) = examined.validity.unwrap();
    assert_eq!((first, last), (1_735_689_600, 1_767_225_600));
    let held = [first - 1, first, last, last + 1].map(|at| examined.in_force(at));
    assert_eq!(held, [false, true, true, false]);
    let rim = examined.rim(None).unwrap();
    assert_eq!((rim.not_before, rim.not_after), (first, last));
    // An authority that ends first ends it for all.
    let mut short = params("lower", Some(BasicConstraints::Constrained(0)));
    short.not_after = date_time_ymd(2024, 6, 1);
    let lower = world.upper.below(short);
    let leaf = lower.below(params("leaf", None));
    let chain = [&leaf.der, &lower.der, &world.upper.der, &world.root.der].map(Clone::clone);
    let rim = world.believed(&Draft::new().sign_with(&leaf.key, &chain)).unwrap();
    assert_eq!(rim.not_after, 1_717_200_000);
}

#[test]
fn a_certificate_that_can_not_be_read_is_named() {
    let world = World::new();
    let mut chain = world.chain();
    chain[1].push(0);
    let examined = world.examine(&Draft::new().sign_with(&world.leaf.key, &chain)).unwrap();
    assert!(matches!(examined.chain, Err(ChainFault::Certificate { index: 1, .. })));
    assert!(examined.rim(None).is_err());
}
