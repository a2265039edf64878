//! Chains and what is bound to them, in a made-up world: one thing is changed at a time.

use crate::world::{
    BASIC, COMPOSITE_ID, Device, ECDSA_SHA256, FWID, NOW, SHA256, SHA384, USAGE, basic, common, composite_id,
    device_name, extension, fwid, judged, judged_under, key, oid, roots, seq, slots, spki, tcb_info, tlv,
    usage,
};
use assay_gpu::device::{
    Architecture, ChainFault, DeviceChain, DeviceError, DeviceEvidence, Note, Pdi, Roots,
};
use assay_x509::SignatureFault;

fn device() -> Device {
    Device::new(Architecture::Hopper, 7)
}

/// A device with one certificate changed.
fn changed(at: usize, change: impl FnOnce(&mut crate::world::Draft)) -> Device {
    let mut device = device();
    change(&mut device.certificates[at]);
    device
}

fn judge(chain: &[Vec<u8>]) -> Result<(), ChainFault> {
    DeviceChain::from_der(chain).unwrap().judge(&roots(), NOW)
}

#[test]
fn every_architecture_holds_under_its_own_roots_only() {
    for architecture in Architecture::ALL {
        let evidence = Device::new(architecture, 7).evidence();
        let judgement = judged(&evidence);
        assert!(judgement.is_accepted(), "{judgement:?}");
        let fwid = (!architecture.is_switch()).then_some(true);
        assert_eq!(judgement.checks.fwid.result, fwid);
        assert_eq!(judgement.checks.nonce.result, Some(true));
        assert_eq!(judgement.findings, if fwid.is_none() { vec![Note::FwidAbsent] } else { vec![] });
        assert_eq!((judgement.facts.pdi, judgement.facts.architecture), (Some(Pdi(7)), architecture));
        let under_nvidia = judged_under(&evidence, &Roots::nvidia());
        assert_eq!(under_nvidia.checks.chain.result, Some(false));
        assert!(under_nvidia.checks.signature.holds() && !under_nvidia.is_accepted());
    }
}

#[test]
fn identities_are_read_from_the_second_certificate() {
    let named = |serial: &str, model: &str| {
        let device = changed(1, |draft| draft.subject = device_name(serial, model));
        DeviceChain::from_der(&device.chain()).unwrap().identity()
    };
    let identity = named("41431D480fE5E87274", "GH100 A01 GSP BROM").unwrap();
    assert_eq!((identity.serial.as_str(), identity.prefix), ("41431D480fE5E87274", 0x41));
    assert_eq!((identity.pdi, identity.model.as_str()), (Pdi(0x431d_480f_e5e8_7274), "GH100 A01 GSP BROM"));
    for serial in ["", "41431D480FE5E8727", "41431D480FE5E872740", "41431D480FE5E8727G", "+1431D480FE5E87274"]
    {
        assert!(matches!(named(serial, "GH100"), Err(DeviceError::Identity { index: 1, .. })), "{serial}");
    }
    let twice = changed(1, |draft| {
        draft.subject =
            crate::world::name(&[("2.5.4.5", "41431D480FE5E87274"), ("2.5.4.5", "41"), ("2.5.4.3", "GH100")]);
    });
    let unnamed =
        changed(1, |draft| draft.subject = crate::world::name(&[("2.5.4.5", "41431D480FE5E87274")]));
    for device in [twice, unnamed] {
        let identity = DeviceChain::from_der(&device.chain()).unwrap().identity();
        assert!(matches!(identity, Err(DeviceError::Identity { index: 1, .. })));
    }
    let none = DeviceChain::from_der(&[]).unwrap();
    assert_eq!(none.identity(), Err(DeviceError::NoCertificate { index: 1 }));
    assert_eq!(none.leaf(), Err(DeviceError::NoCertificate { index: 0 }));
}

/// A chain whose second certificate has another subject, names kept in step.
fn with_subject(architecture: Architecture, serial: &str, model: &str) -> DeviceEvidence {
    let mut device = Device::new(architecture, 7);
    let name = device_name(serial, model);
    device.certificates[1].subject = name.clone();
    device.certificates[0].issuer = name;
    device.evidence()
}

#[test]
fn the_certificate_is_one_of_this_architecture() {
    for (architecture, serial, model, sound) in [
        (Architecture::Hopper, "410000000000000007", "GH100 A01 GSP BROM", true),
        (Architecture::Blackwell, "400000000000000007", "GB100 A01 FSP BROM", true),
        (Architecture::Ls10, "500000000000000007", "LS_10 A01 FSP BROM", true),
        (Architecture::Hopper, "500000000000000007", "GH100 A01 GSP BROM", false),
        (Architecture::Ls10, "410000000000000007", "LS_10 A01 FSP BROM", false),
        (Architecture::Hopper, "310000000000000007", "GH100 A01 GSP BROM", false),
        (Architecture::Hopper, "410000000000000007", "GB100 A01 GSP BROM", false),
        (Architecture::Blackwell, "410000000000000007", "GH100 A01 GSP BROM", false),
        (Architecture::Hopper, "410000000000000007", "XX100", false),
        (Architecture::Hopper, "4100000000000007", "GH100 A01 GSP BROM", false),
    ] {
        let judgement = judged(&with_subject(architecture, serial, model));
        assert_eq!(judgement.checks.chain.result, Some(sound), "{architecture} {serial} {model}");
        assert_eq!(judgement.is_accepted(), sound);
    }
}

#[test]
fn the_report_is_one_of_the_certified_device() {
    // A switch's report under a GPU's certificates, and the other way round.
    let [gpu, switch] = [Architecture::Hopper, Architecture::Ls10].map(|kind| Device::new(kind, 7));
    for (report, certificates) in [(&gpu, &switch), (&switch, &gpu)] {
        let mixed = Device { report: report.report.clone(), ..certificates.clone() };
        let judgement = judged(&mixed.evidence());
        assert!(judgement.checks.chain.fails() && judgement.checks.signature.holds(), "{judgement:?}");
    }
    let mut other = switch.clone();
    other.report = other.report.with(22, &8_u64.to_be_bytes());
    let judgement = judged(&other.evidence());
    assert!(judgement.checks.chain.fails() && judgement.checks.signature.holds());
    assert!(judgement.checks.chain.reason.contains("0000000000000008"), "{judgement:?}");
    // A switch that names GPUs and not itself.
    let mut silent = switch;
    silent.report = silent.report.without(22).with(26, &[slots(&[1], 8, true, 0), vec![0; 64]].concat());
    assert!(judged(&silent.evidence()).checks.chain.holds());
}

#[test]
fn a_chain_has_exactly_five_certificates_in_order() {
    let good = device().chain();
    assert_eq!(DeviceChain::from_der(&good).unwrap().der(), good);
    assert_eq!(judge(&good), Ok(()));
    for count in 0..5 {
        assert_eq!(judge(&good[..count]), Err(ChainFault::Count { seen: count }));
        let missing: Vec<_> =
            good.iter().enumerate().filter(|(at, _)| *at != count).map(|(_, der)| der.clone()).collect();
        assert_eq!(judge(&missing), Err(ChainFault::Count { seen: 4 }));
        let mut twice = good.clone();
        twice.insert(count, good[count].clone());
        assert_eq!(judge(&twice), Err(ChainFault::Count { seen: 6 }));
        for other in 0..count {
            let mut swapped = good.clone();
            swapped.swap(count, other);
            assert!(judge(&swapped).is_err(), "{count} {other}");
        }
    }
    let mut two_roots = good.clone();
    two_roots[3] = good[4].clone();
    assert!(judge(&two_roots).is_err());
    let eight = vec![good[0].clone(); DeviceChain::MAX];
    assert_eq!(judge(&eight), Err(ChainFault::Count { seen: DeviceChain::MAX }));
    let nine = vec![good[0].clone(); DeviceChain::MAX + 1];
    assert!(matches!(DeviceChain::from_der(&nine), Err(DeviceError::TooMany { .. })));
}

#[test]
fn the_last_certificate_is_the_root_byte_for_byte() {
    // The same name and key, another certificate.
    let again = changed(4, |draft| draft.serial = vec![8]);
    assert_eq!(judge(&again.chain()), Err(ChainFault::Root));
    let [mine, other] = [device(), Device::new(Architecture::Hopper, 8)];
    assert_eq!(mine.chain()[4], other.chain()[4]);
}

#[test]
fn every_link_is_a_signature_of_the_next_key() {
    for at in 0..4 {
        let device = device();
        let mut chain = device.chain();
        chain[at] = device.certificates[at].sign(&key(99));
        let fault = ChainFault::Signature { index: at, fault: SignatureFault::Invalid };
        assert_eq!(judge(&chain), Err(fault));
    }
}

#[test]
fn parts_of_two_devices_make_no_third() {
    let [a, b] = [Device::new(Architecture::Hopper, 7), Device::new(Architecture::Hopper, 8)];
    let (mine, theirs) = (a.evidence(), b.evidence());
    let report = DeviceEvidence { report: theirs.report.clone(), ..mine.clone() };
    let judgement = judged(&report);
    assert!(judgement.checks.signature.fails() && judgement.checks.chain.holds());
    for at in 0..2 {
        let mut mixed = mine.clone();
        mixed.chain[at] = theirs.chain[at].clone();
        assert!(judged(&mixed).checks.chain.fails(), "{at}");
    }
}

#[test]
fn names_chain() {
    for at in 0..4 {
        let device = changed(at, |draft| draft.issuer = common("somebody"));
        assert_eq!(judge(&device.chain()), Err(ChainFault::Name { index: at }));
    }
}

#[test]
fn authorities_say_that_they_are() {
    for index in 1..4 {
        for extensions in [vec![usage(5)], vec![basic(false, None), usage(5)]] {
            let device = changed(index, |draft| draft.extensions = extensions);
            assert_eq!(judge(&device.chain()), Err(ChainFault::NotAuthority { index }));
        }
        for extensions in [vec![basic(true, None)], vec![basic(true, None), usage(0)]] {
            let device = changed(index, |draft| draft.extensions = extensions);
            assert_eq!(judge(&device.chain()), Err(ChainFault::Usage { index }));
        }
    }
    for key_usage in [vec![], vec![usage(5)]] {
        let device = changed(0, |draft| draft.extensions.splice(..1, key_usage).for_each(drop));
        assert_eq!(judge(&device.chain()), Err(ChainFault::Usage { index: 0 }));
    }
}

#[test]
fn a_path_is_as_long_as_its_authorities_allow() {
    for index in 1..4 {
        for allowed in 0..4 {
            let device = changed(index, |draft| draft.extensions[0] = basic(true, Some(allowed)));
            let below = index - 1;
            let expected = match usize::from(allowed) < below {
                true => Err(ChainFault::PathLength { index, allowed: allowed.into() }),
                false => Ok(()),
            };
            assert_eq!(judge(&device.chain()), expected, "{index} {allowed}");
        }
    }
}

#[test]
fn unknown_critical_extensions_are_refused() {
    const OTHER: &str = "1.2.3.4";
    for index in 0..4 {
        for (critical, kind) in [(true, OTHER), (false, OTHER), (true, "2.5.29.37")] {
            let value = if kind == OTHER { vec![1, 2] } else { seq(&[&oid("1.3.6.1.5.5.7.3.1")]) };
            let device = changed(index, |draft| draft.extensions.push(extension(kind, critical, &value)));
            let oid = const_oid::ObjectIdentifier::new_unwrap(kind);
            let expected = if critical { Err(ChainFault::Extension { index, oid }) } else { Ok(()) };
            assert_eq!(judge(&device.chain()), expected);
        }
    }
    // The firmware's digest may be critical.
    let value = seq(&[&tlv(2, &[1]), &spki(&key(1), crate::world::SECP384R1), &fwid(SHA384, &FWID)]);
    let device = changed(0, |draft| draft.extensions[1] = extension(COMPOSITE_ID, true, &value));
    assert_eq!(judge(&device.chain()), Ok(()));
    assert!(judged(&device.evidence()).checks.fwid.holds());
}

#[test]
fn only_ecdsa_with_sha384_on_p384_counts() {
    for index in 0..4 {
        let algorithm = seq(&[&oid(ECDSA_SHA256)]);
        let device = changed(index, |draft| draft.algorithm = algorithm);
        assert_eq!(judge(&device.chain()), Err(ChainFault::Algorithm { index }));
        let p256 = p256_spki();
        let device = changed(index, |draft| draft.spki = p256);
        assert_eq!(judge(&device.chain()), Err(ChainFault::Key { index }));
    }
}

/// A key whose curve is another one.
fn p256_spki() -> Vec<u8> {
    spki(&key(1), "1.2.840.10045.3.1.7")
}

#[test]
fn dates_are_judged_at_the_time_that_is_asked_for() {
    // 2030-01-01 and 2040-01-01.
    let (begins, ends) = (1_893_456_000, 2_208_988_800);
    for index in 0..4 {
        let device = changed(index, |draft| {
            draft.not_before = "300101000000Z";
            draft.not_after = "400101000000Z";
        });
        let chain = DeviceChain::from_der(&device.chain()).unwrap();
        let fault = Err(ChainFault::Validity { index });
        assert_eq!(chain.judge(&roots(), begins - 1), fault);
        assert_eq!(chain.judge(&roots(), begins), Ok(()));
        assert_eq!(chain.judge(&roots(), ends), Ok(()));
        assert_eq!(chain.judge(&roots(), ends + 1), fault);
    }
    let chain = DeviceChain::from_der(&device().chain()).unwrap();
    assert_eq!(chain.judge(&roots(), 0), Err(ChainFault::Validity { index: 0 }));
}

#[test]
fn only_serial_numbers_may_deviate_from_der() {
    for serial in [vec![0, 7], vec![0x87], vec![7; 24]] {
        assert_eq!(judge(&changed(0, |draft| draft.serial = serial).chain()), Ok(()));
    }
    let loose = extension(BASIC, true, &seq(&[&tlv(1, &[1])]));
    let device = changed(2, |draft| draft.extensions[0] = loose);
    let quirk = "loose-boolean";
    assert_eq!(judge(&device.chain()), Err(ChainFault::Encoding { index: 2, quirk }));
    let explicit = seq(&[&oid(USAGE), &tlv(1, &[0]), &tlv(4, &tlv(3, &[7, 0x80]))]);
    let device = changed(0, |draft| draft.extensions[0] = explicit);
    assert_eq!(judge(&device.chain()), Err(ChainFault::Encoding { index: 0, quirk: "explicit-default" }));
}

fn fwid_of(extensions: Vec<Vec<u8>>) -> Option<bool> {
    let device = changed(0, |draft| draft.extensions = [vec![usage(0)], extensions].concat());
    judged(&device.evidence()).checks.fwid.result
}

#[test]
fn the_first_digest_of_the_certificate_is_the_reports() {
    let other = [0xf2; 48];
    let composite = |algorithm, digest: &[u8]| composite_id(&key(1), algorithm, digest);
    for (extensions, result) in [
        (vec![composite(SHA384, &FWID)], Some(true)),
        (vec![composite(SHA384, &other)], Some(false)),
        (vec![composite(SHA256, &FWID)], Some(false)),
        (vec![composite(SHA384, &FWID[..47])], Some(false)),
        (vec![tcb_info(&[(SHA384, &FWID)])], Some(true)),
        (vec![tcb_info(&[(SHA384, &FWID), (SHA384, &other)])], Some(true)),
        (vec![tcb_info(&[(SHA384, &other), (SHA384, &FWID)])], Some(false)),
        (vec![tcb_info(&[(SHA256, &FWID)])], Some(false)),
        (vec![tcb_info(&[])], Some(false)),
        (vec![], Some(false)),
        (vec![composite(SHA384, &FWID), tcb_info(&[(SHA384, &FWID)])], Some(false)),
        (vec![extension(COMPOSITE_ID, false, &FWID)], Some(false)),
    ] {
        assert_eq!(fwid_of(extensions.clone()), result, "{extensions:x?}");
    }
}

#[test]
fn a_report_without_a_digest_has_nothing_to_compare() {
    let mut device = device();
    device.report = device.report.without(20);
    let judgement = judged(&device.evidence());
    assert_eq!(judgement.checks.fwid.result, None);
    assert!(judgement.is_accepted() && judgement.findings.contains(&Note::FwidAbsent));
}

#[test]
fn the_nonce_is_the_one_that_was_asked_for() {
    let mut device = device();
    device.report.nonce = [1; 32];
    let judgement = judged(&device.evidence());
    assert!(judgement.checks.nonce.fails() && judgement.checks.signature.holds() && !judgement.is_accepted());
    assert_eq!(judgement.facts.request_nonce, Some([1; 32]));
}

#[test]
fn malformed_parts_fail_the_checks_that_need_them() {
    let good = device().evidence();
    let no_report = judged(&DeviceEvidence { report: vec![1], ..good.clone() });
    let checks = &no_report.checks;
    assert!(checks.signature.fails() && checks.fwid.fails() && checks.nonce.fails() && checks.chain.holds());
    assert_eq!(no_report.facts.request_nonce, None);
    let no_chain = judged(&DeviceEvidence { chain: vec![vec![1]], ..good.clone() });
    let checks = &no_chain.checks;
    assert!(checks.signature.fails() && checks.fwid.fails() && checks.chain.fails() && checks.nonce.holds());
    assert_eq!(no_chain.facts.pdi, None);
    let empty = judged(&DeviceEvidence { chain: vec![], ..good });
    let checks = &empty.checks;
    assert!(checks.signature.fails() && checks.fwid.fails() && checks.chain.fails());
}

#[test]
fn notes_say_what_decides_nothing() {
    let mut device = device();
    device.report = device.report.with(33, &[7, 7]);
    device.report.trailing = vec![0];
    let evidence = DeviceEvidence { simulated: true, ..device.evidence() };
    let judgement = judged(&evidence);
    let notes = [Note::TrailingBytes { count: 1 }, Note::UnknownOpaque { kind: 33 }, Note::Simulated];
    assert_eq!(judgement.findings, notes);
    assert_eq!(notes.map(|note| note.id()), ["trailing-bytes", "unknown-opaque", "simulated"]);
    assert!(judgement.is_accepted() && judgement.facts.simulated);
}

#[test]
fn flipped_bytes_of_a_made_up_chain_are_refused() {
    let good = device().chain();
    for index in 0..5 {
        for at in (0..good[index].len()).step_by(3) {
            let mut chain = good.clone();
            chain[index][at] ^= 1 << (at % 8);
            if let Ok(chain) = DeviceChain::from_der(&chain) {
                assert!(chain.judge(&roots(), NOW).is_err(), "{index} {at}");
            }
        }
    }
}
