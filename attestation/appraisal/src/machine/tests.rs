use assay_wire::Network;

use super::*;
use crate::finding::Finding;
use crate::world::{
    Draft, basic, common, ek_public, extension, key, oid, platform, platform_with, seq, spki, tlv, usage,
};

/// 2026-11-01, in ms.
const NOW: u64 = 1_793_491_200_000;
/// The AK's key, and those of the machine's maker: who signs, and the house above.
const AK: u8 = 4;
const SIGNER: u8 = 9;
const HOUSE: u8 = 8;

struct Case {
    ek: Certificate,
    platforms: Vec<Vec<u8>>,
    devices: Vec<Vec<u8>>,
    trust: Trust,
}

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).unwrap()
}

/// A signer of platform certificates as RFC 5755 4.5 has it: no authority.
fn signer() -> Draft {
    let extensions = vec![basic(false, None), usage(0)];
    Draft { extensions, ..Draft::authority("maker", "house", &key(SIGNER)) }
}

fn house() -> Vec<u8> {
    Draft::authority("house", "house", &key(HOUSE)).sign(&key(HOUSE))
}

/// A certificate of the AK, after the profile for device identities.
fn iak() -> Draft {
    let value = seq(&[&oid("1.2.3.4"), &tlv(4, b"unit-7")]);
    let other = tlv(0xa0, &[oid("1.3.6.1.5.5.7.8.4"), tlv(0xa0, &value)].concat());
    let names = extension("2.5.29.17", true, &seq(&[&other]));
    let extensions = vec![basic(false, None), usage(0), names];
    Draft { subject: common("unit"), extensions, ..Draft::ek("line", &key(AK)) }
}

fn line() -> Draft {
    Draft { serial: vec![8], ..Draft::authority("line", "house", &key(7)) }
}

fn case() -> Case {
    let ek = parse(&Draft::ek("root", &key(3)).sign(&key(1)));
    Case { ek, platforms: vec![], devices: vec![], trust: Trust::of(Network::new("test")) }
}

impl Case {
    fn pin(&mut self, der: &[u8]) {
        let name = format!("pinned {}", self.trust.platform_signers.len());
        self.trust.platform_signers.push(PlatformSigner { name, certificate: parse(der) });
    }

    /// What is named, and what every finding that is no pass saw.
    fn judge(&self) -> (Named, Vec<String>) {
        let bytes = |list: &[Vec<u8>]| list.iter().map(|der| ByteVec::from(der.clone())).collect::<Vec<_>>();
        let (platforms, devices) = (bytes(&self.platforms), bytes(&self.devices));
        let presented =
            Presented { ek_certificates: &[], ek_chain: &[], platforms: &platforms, devices: &devices };
        let mut findings = Findings::default();
        let ak = ek_public(&key(AK));
        let named = named(&presented, Some(&self.ek), &ak, &self.trust, NOW, &mut findings);
        let others = findings.into_vec().into_iter().filter(|finding| finding.severity != Severity::Pass);
        (named, others.map(seen).collect())
    }

    /// The one thing that was seen where nothing is named.
    fn refused(&self) -> String {
        let (named, mut seen) = self.judge();
        assert_eq!((named, seen.len()), (Named::default(), 1), "{seen:?}");
        seen.remove(0)
    }
}

fn seen(finding: Finding) -> String {
    finding.seen.unwrap_or_default()
}

#[test]
fn a_platform_certificate_counts_when_its_signer_is_pinned() {
    let mut case = case();
    case.platforms = vec![platform(&case.ek, SIGNER)];
    let signer = signer().sign(&key(HOUSE));
    assert!(case.refused().contains("no platform signer"));
    // Who vouches for TPMs says nothing of machines.
    let maker = Draft::authority("maker", "maker", &key(SIGNER)).sign(&key(SIGNER));
    let class = assay_x509::VendorClass::Discrete;
    case.trust.authorities =
        vec![crate::trust::TrustedCa { name: "maker".into(), class, certificate: parse(&maker) }];
    assert!(case.refused().contains("no platform signer"));
    case.pin(&signer);
    let (named, others) = case.judge();
    assert_eq!(named.platforms, ["Maker Model S-1, by pinned 0"]);
    assert_eq!(others, Vec::<String>::new());
    case.ek = parse(&Draft { serial: vec![10], ..Draft::ek("root", &key(3)) }.sign(&key(1)));
    assert!(case.refused().contains("another TPM"));
}

#[test]
fn a_signer_may_come_with_it_and_lead_to_a_pinned_one() {
    let mut case = case();
    case.pin(&house());
    let about = platform(&case.ek, SIGNER);
    case.platforms = vec![signer().sign(&key(HOUSE)), about.clone()];
    let (named, others) = case.judge();
    assert_eq!((named.platforms.len(), others), (1, vec![]));
    // One authority further down, in any order.
    let under_line = Draft { issuer: common("line"), ..signer() }.sign(&key(7));
    case.platforms = vec![about.clone(), under_line, line().sign(&key(HOUSE))];
    let (named, others) = case.judge();
    assert_eq!((named.platforms, others), (vec!["Maker Model S-1, by pinned 0".to_owned()], vec![]));
    // Each of these is no signer that anyone pinned vouches for.
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut draft = signer();
        change(&mut draft);
        draft
    };
    for (what, draft) in [
        ("an authority", with(&|d| d.extensions = vec![basic(true, None)])),
        ("a key that does not sign", with(&|d| d.extensions[1] = usage(6))),
        ("unknown and critical", with(&|d| d.extensions.push(extension("1.2.3.4", true, &[5, 0])))),
        ("made later", with(&|d| d.not_before = "230101000000Z")),
        ("over before", with(&|d| d.not_after = "210101000000Z")),
        ("another key", with(&|d| d.spki = spki(&key(6)))),
    ] {
        case.platforms = vec![about.clone(), draft.sign(&key(HOUSE))];
        assert!(case.refused().contains("no platform signer"), "{what}");
    }
    case.platforms = vec![about, signer().sign(&key(6))];
    assert!(case.refused().contains("signature"), "{}", case.refused());
}

#[test]
fn dates_and_critical_extensions_of_a_platform_certificate_count() {
    let mut case = case();
    case.pin(&signer().sign(&key(HOUSE)));
    let dated = |case: &Case, dates| vec![platform_with(&case.ek, SIGNER, dates, &[])];
    case.platforms = dated(&case, ["20220101000000Z", "20260101000000Z"]);
    assert_eq!(case.refused(), "it is over");
    case.platforms = dated(&case, ["20270101000000Z", "20320101000000Z"]);
    assert_eq!(case.refused(), "it has not begun");
    case.platforms = dated(&case, ["20220101000000Z", "20320101000000Z"]);
    assert_eq!(case.judge().0.platforms.len(), 1);
    let with = |critical| {
        let targets = extension("2.5.29.55", critical, &seq(&[]));
        vec![platform_with(&case.ek, SIGNER, ["20220101000000Z", "20320101000000Z"], &targets)]
    };
    let (plain, critical) = (with(false), with(true));
    case.platforms = plain;
    assert_eq!(case.judge().0.platforms.len(), 1);
    case.platforms = critical;
    assert!(case.refused().contains("2.5.29.55"));
}

#[test]
fn a_device_certificate_leads_through_its_list_to_a_pinned_signer() {
    let mut case = case();
    case.devices = vec![iak().sign(&key(7)), line().sign(&key(HOUSE))];
    assert!(case.refused().contains("no pinned authority"), "{}", case.refused());
    case.pin(&house());
    let (named, others) = case.judge();
    assert_eq!((named.devices, others), (vec!["device unit-7 for the AK, by pinned 0".to_owned()], vec![]));
    case.devices.truncate(1);
    assert!(case.refused().contains("no pinned authority"));
    let others = Draft { spki: spki(&key(5)), ..iak() }.sign(&key(7));
    case.devices = vec![others, line().sign(&key(HOUSE))];
    assert!(case.refused().contains("nothing binds it"));
    case.devices =
        vec![Draft { not_after: "250101000000Z", ..iak() }.sign(&key(7)), line().sign(&key(HOUSE))];
    assert_eq!(case.refused(), "it is over");
}

#[test]
fn all_together_cost_no_more_signatures_than_one_chain() {
    let mut case = case();
    for n in 20..28 {
        case.pin(&Draft { spki: spki(&key(n)), ..signer() }.sign(&key(HOUSE)));
    }
    case.platforms = vec![platform(&case.ek, SIGNER); limits::CERTIFICATES];
    let (named, seen) = case.judge();
    assert_eq!(named, Named::default());
    let counted = |word: &str| seen.iter().filter(|seen| seen.contains(word)).count();
    assert_eq!((counted("no platform signer"), counted("too many signatures")), (2, 6));
}

#[test]
fn deviations_and_sizes_are_told() {
    let mut case = case();
    case.pin(&signer().sign(&key(HOUSE)));
    let padded = [&platform(&case.ek, SIGNER)[..], &[0xff; 9]].concat();
    case.platforms = vec![padded];
    let (named, seen) = case.judge();
    assert_eq!((named.platforms.len(), seen), (1, vec!["nv-padding: platform certificate".to_owned()]));
    case.platforms = vec![vec![0x30; limits::CERTIFICATE + 1]];
    assert_eq!(case.refused(), format!("{} bytes", limits::CERTIFICATE + 1));
}
