//! What a node's certificates show: the EK's own, its chain, and those of machine and device.
//!
//! A certificate that lies ends the matter. One whose root nobody pinned proves nothing and is no
//! lie: the identity stays where it was, and the policy's floor decides.

use assay_ledger::ByteVec;
use assay_ledger::enrolment::{EnrolRequest, EnrolmentRecord, TpmClass};
use assay_tpm::{Public, ek_template};
use assay_wire::limits;
use assay_x509::{
    Certificate, Dates, EkCheck, PublicKey, Quirks, TpmNames, VendorClass, chain, dates, judge_ek, strong,
    tpm_names,
};

use crate::finding::{Check, Finding, Findings, Severity};
use crate::machine;
use crate::trust::Trust;

const PROFILE: &str = "TCG EK Credential Profile 2.5, 3.1";

const fn check(id: &'static str, spec: &'static str, checked: &'static str) -> Check {
    Check { id, spec, checked }
}

const COUNT: Check = check("enrolment.certificates", "DESIGN 4.1", "at most eight certificates of each kind");
const TEMPLATE: Check = check(
    "enrolment.ek-template",
    "TCG EK Credential Profile 2.5, B",
    "the EK follows template L-1, L-2, H-1, H-2 or H-3",
);
const FORM: Check = check("enrolment.certificate-form", PROFILE, "the EK certificate can be read");
const CHAIN_FORM: Check =
    check("enrolment.chain-form", "RFC 5280 4.1", "every certificate sent with the EK's can be read");
const QUIRK: Check = check("enrolment.quirk", "RFC 5280 4.1", "a declared deviation of a certificate");
const WEAK_KEY: Check =
    check("enrolment.weak-key", "NIST SP 800-131A; CVE-2017-15361", "the EK is a strong key");
const CHAIN: Check =
    check("enrolment.certificate-chain", "RFC 5280 6.1", "the EK certificate chains to a pinned authority");
const VENDOR: Check =
    check("enrolment.certificate-vendor", "DESIGN 4.1", "the authority vouches for this maker's TPMs");
const VALIDITY: Check =
    check("enrolment.certificate-validity", "RFC 5280 4.1.2.5", "the EK certificate is in force");
const FIRMWARE: Check =
    check("enrolment.firmware", "DESIGN 4.1", "the TPM's firmware is not known to be broken");
const ROOT: Check = check("identity.vendor-root", "DESIGN 2", "a pinned authority vouches for the EK");

const fn of(check: EkCheck) -> Check {
    let (id, checked) = match check {
        EkCheck::Version => ("enrolment.certificate-version", "the EK certificate is X.509 version 3"),
        EkCheck::Key => ("enrolment.certificate-key", "the EK certificate is for this EK"),
        EkCheck::WeakKey => return WEAK_KEY,
        EkCheck::Authority => ("enrolment.certificate-ca", "the EK certificate is no authority's"),
        EkCheck::Usage => ("enrolment.certificate-usage", "keyUsage is an EK's alone"),
        EkCheck::Purpose => ("enrolment.certificate-purpose", "extKeyUsage says EK certificate"),
        EkCheck::Subject => ("enrolment.certificate-subject", "maker, model and version are named once"),
        EkCheck::Extension => ("enrolment.certificate-extension", "no unknown extension is critical"),
    };
    Check { id, spec: PROFILE, checked }
}

/// Keys and certificates as a node sent them.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) ek_certificates: &'a [ByteVec],
    pub(crate) ek_chain: &'a [ByteVec],
    pub(crate) platforms: &'a [ByteVec],
    pub(crate) devices: &'a [ByteVec],
}

impl<'a> Presented<'a> {
    pub(crate) fn request(request: &'a EnrolRequest) -> Self {
        Self {
            ek_certificates: &request.ek_certificates,
            ek_chain: &request.ek_chain,
            platforms: &request.platform_certificates,
            devices: &request.device_certificates,
        }
    }

    pub(crate) fn record(record: &'a EnrolmentRecord) -> Self {
        Self {
            ek_certificates: &record.ek_certificates,
            ek_chain: &record.ek_chain,
            platforms: &record.platform_certificates,
            devices: &record.device_certificates,
        }
    }
}

/// What the EK's own certificate says, before anyone is asked to vouch for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Examined {
    pub(crate) certificate: Option<Certificate>,
    pub(crate) names: TpmNames,
}

impl Examined {
    /// Maker and model; empty without a certificate.
    pub(crate) fn model(&self) -> String {
        format!("{} {}", self.names.manufacturer, self.names.model).trim().to_owned()
    }
}

/// Checks that need no signature: counts, template, key and the certificate's own fields.
///
/// `None` when one is fatal: what could not be read is not followed, however much of it there is.
pub(crate) fn examine(presented: &Presented<'_>, ek: &Public, findings: &mut Findings) -> Option<Examined> {
    let lists = [presented.ek_certificates, presented.ek_chain, presented.platforms, presented.devices];
    if let Some(list) = lists.iter().find(|list| list.len() > limits::CERTIFICATES) {
        findings.fail(COUNT, Severity::Fatal, limits::CERTIFICATES, list.len());
        return None;
    }
    match ek_template(ek) {
        Ok(template) => findings.pass(TEMPLATE, template.name()),
        Err(fault) => findings.fail(TEMPLATE, Severity::Fatal, "a template", fault),
    }
    let Some(first) = presented.ek_certificates.first() else {
        result(WEAK_KEY, strong(&PublicKey::of(ek)), findings);
        return (!findings.is_fatal()).then(Examined::default);
    };
    let certificate = findings.result(FORM, format!("{} bytes", first.len()), read(first))?;
    quirks("EK certificate", &certificate.quirks, findings);
    for (kind, seen) in judge_ek(&certificate, ek) {
        result(of(kind), seen, findings);
    }
    let names = tpm_names(&certificate).unwrap_or_default();
    (!findings.is_fatal()).then_some(Examined { certificate: Some(certificate), names })
}

/// One finding for each deviation that was overlooked.
pub(crate) fn quirks(of: &str, quirks: &Quirks, findings: &mut Findings) {
    for quirk in quirks {
        findings.push(QUIRK.finding(Severity::Info).saw(format!("{}: {of}", quirk.name())));
    }
}

/// What can be read of the certificates above the EK's. One that can't is not followed, and no lie:
/// a node could as well leave it out.
fn readable(chain: &[ByteVec], findings: &mut Findings) -> Vec<Certificate> {
    let (mut all, mut deviations) = (Vec::new(), Quirks::new());
    for bytes in chain {
        match read(bytes) {
            Ok(certificate) => {
                deviations.extend(&certificate.quirks);
                all.push(certificate);
            }
            Err(seen) => findings.fail(CHAIN_FORM, Severity::Warning, "a certificate", seen),
        }
    }
    quirks("authority", &deviations, findings);
    all
}

fn read(bytes: &ByteVec) -> Result<Certificate, String> {
    if bytes.len() > limits::CERTIFICATE {
        return Err(format!("{} bytes, at most {}", bytes.len(), limits::CERTIFICATE));
    }
    Certificate::from_nv(bytes).map_err(|e| e.to_string())
}

fn result(check: Check, result: Result<String, String>, findings: &mut Findings) {
    match result {
        Ok(seen) => findings.pass(check, seen),
        Err(seen) => findings.push(Finding::fatal(check.id, check.spec, check.checked, seen)),
    }
}

/// What stands behind a TPM, and what else its certificates show.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) class: TpmClass,
    /// The authority that vouches for the EK, if one does.
    pub(crate) authority: Option<String>,
    /// Whether that authority, the class and the firmware are worth I2.
    pub(crate) hardware: bool,
    /// The machine and device that pinned authorities name for this TPM.
    pub(crate) machine: machine::Named,
}

/// Follows the certificates to pinned authorities.
pub(crate) fn vouch(
    presented: &Presented<'_>,
    examined: &Examined,
    ak: &Public,
    firmware_version: u64,
    trust: &Trust,
    now_ms: u64,
    findings: &mut Findings,
) -> Judged {
    let store = &trust.store;
    let names = &examined.names;
    let anchor = anchor(presented, examined, trust, findings);
    if let Some(certificate) = &examined.certificate {
        in_force(certificate, now_ms, findings);
    }
    let broken = store.broken_firmware(&names.manufacturer, firmware_version);
    match broken {
        None => findings.pass(FIRMWARE, format!("{firmware_version:016x}")),
        Some(floor) => {
            let least = format!("{}.{}", floor.major, floor.minor);
            let seen = format!("{firmware_version:016x}: {}", floor.reason);
            findings.fail(FIRMWARE, Severity::Warning, least, seen);
        }
    }
    let known = store.vendor_class(&names.manufacturer);
    let class = match anchor {
        _ if store.is_virtual(&names.model, Some(firmware_version)) => VendorClass::Virtual,
        _ if known == VendorClass::Virtual => VendorClass::Virtual,
        Some((_, class)) => class,
        None => known,
    };
    let hardware = anchor.is_some()
        && broken.is_none()
        && matches!(class, VendorClass::Discrete | VendorClass::Firmware);
    Judged {
        class: tpm_class(class),
        authority: anchor.map(|(name, _)| name.to_owned()),
        hardware,
        machine: machine::named(presented, examined.certificate.as_ref(), ak, trust, now_ms, findings),
    }
}

const fn tpm_class(class: VendorClass) -> TpmClass {
    match class {
        VendorClass::Discrete => TpmClass::Discrete,
        VendorClass::Firmware => TpmClass::Firmware,
        VendorClass::Virtual => TpmClass::Virtual,
        VendorClass::Unknown => TpmClass::Unknown,
    }
}

/// Name and class of the pinned authority above the EK certificate.
fn anchor<'a>(
    presented: &Presented<'_>,
    examined: &Examined,
    trust: &'a Trust,
    findings: &mut Findings,
) -> Option<(&'a str, VendorClass)> {
    let unknown = |findings: &mut Findings, seen: String| {
        findings.fail(ROOT, Severity::Info, "an authority in the trust file or its vendors", seen);
    };
    let Some(certificate) = &examined.certificate else {
        unknown(findings, "no EK certificate".to_owned());
        return None;
    };
    let extra = readable(presented.ek_chain, findings);
    let found = match chain(certificate, &extra, &trust.store) {
        Ok(found) => found,
        Err(fault) if fault.is_unknown() => {
            unknown(findings, fault.to_string());
            return None;
        }
        Err(fault) => {
            findings.push(Finding::fatal(CHAIN.id, CHAIN.spec, CHAIN.checked, fault));
            return None;
        }
    };
    let name = found.anchor.name.as_str();
    findings.pass(CHAIN, format!("{} signatures to {name}", found.depth));
    let maker = &examined.names.manufacturer;
    if !found.anchor.speaks_for(maker) {
        findings.fail(VENDOR, Severity::Fatal, found.anchor.vendor.as_deref().unwrap_or_default(), maker);
        return None;
    }
    findings.pass(ROOT, name);
    Some((name, found.anchor.class))
}

fn in_force(certificate: &Certificate, now_ms: u64, findings: &mut Findings) {
    let now = seconds(now_ms);
    let span = format!("{}..{} s", certificate.not_before, certificate.not_after);
    match dates(certificate, now) {
        Dates::Valid => findings.pass(VALIDITY, span),
        // The key is as good as it was: makers date certificates by habit, and nobody renews them.
        Dates::Expired => findings.fail(VALIDITY, Severity::Info, span, format!("over at {now} s")),
        Dates::Future => findings.fail(VALIDITY, Severity::Fatal, span, format!("not begun at {now} s")),
    }
}

pub(crate) fn seconds(now_ms: u64) -> i64 {
    i64::try_from(now_ms / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use assay_tpm::{Attributes, PublicParts};
    use assay_wire::Network;
    use assay_x509::{Entry, Role, Store};

    use super::*;
    use crate::world::{self, Draft, alt_name, ek_public, key, tpm_name};

    /// 2026-11-01, in ms.
    const NOW: u64 = 1_793_491_200_000;

    struct Case {
        leaf: Draft,
        chain: Vec<Vec<u8>>,
        trust: Trust,
        firmware: u64,
        ek: Public,
    }

    fn root(class: VendorClass, vendor: Option<&str>) -> Entry {
        let certificate =
            Certificate::parse(&Draft::authority("root", "root", &key(1)).sign(&key(1))).unwrap();
        let vendor = vendor.map(str::to_owned);
        Entry { name: "root".into(), vendor, class, role: Role::Root, source: String::new(), certificate }
    }

    fn good() -> Case {
        let mut trust = Trust::of(Network::new("test"));
        trust.store = Store::builtin().unwrap();
        trust.store.add(root(VendorClass::Discrete, Some("id:49465800"))).unwrap();
        let middle = Draft { serial: vec![8], ..Draft::authority("middle", "root", &key(2)) };
        let chain = vec![middle.sign(&key(1))];
        Case { leaf: Draft::ek("middle", &key(3)), chain, trust, firmware: 1, ek: ek_public(&key(3)) }
    }

    /// What is judged, and the ids of all findings that aren't passes.
    fn judge(case: &Case) -> (Option<Judged>, Vec<(&'static str, Severity)>) {
        let bytes = |list: &[Vec<u8>]| list.iter().map(|der| ByteVec::from(der.clone())).collect::<Vec<_>>();
        let (own, chain) = (bytes(&[case.leaf.sign(&key(2))]), bytes(&case.chain));
        let presented = Presented { ek_certificates: &own, ek_chain: &chain, platforms: &[], devices: &[] };
        let mut findings = Findings::default();
        let judged = examine(&presented, &case.ek, &mut findings).map(|examined| {
            vouch(&presented, &examined, &ek_public(&key(4)), case.firmware, &case.trust, NOW, &mut findings)
        });
        let others = findings.into_vec().into_iter().filter(|f| f.severity != Severity::Pass);
        (judged, others.map(|f| (f.id, f.severity)).collect())
    }

    #[test]
    fn a_chip_that_its_maker_vouches_for_is_hardware() {
        let (judged, others) = judge(&good());
        let judged = judged.unwrap();
        assert_eq!(
            (judged.class, judged.hardware, judged.authority.as_deref()),
            (TpmClass::Discrete, true, Some("root"))
        );
        assert_eq!(others, []);
    }

    #[test]
    fn an_unknown_root_is_no_lie_and_no_hardware() {
        let mut case = good();
        case.trust.store = Store::builtin().unwrap();
        let (judged, others) = judge(&case);
        assert!(!judged.unwrap().hardware);
        assert_eq!(others, [("identity.vendor-root", Severity::Info)]);
    }

    #[test]
    fn a_lie_is_fatal_under_its_own_id() {
        let fatal = |change: &dyn Fn(&mut Case)| {
            let mut case = good();
            change(&mut case);
            let (_, others) = judge(&case);
            let fatal: Vec<_> =
                others.iter().filter(|(_, s)| *s == Severity::Fatal).map(|(id, _)| *id).collect();
            assert_eq!(fatal.len(), 1, "{fatal:?}");
            fatal[0]
        };
        assert_eq!(fatal(&|c| c.leaf.spki = world::spki(&key(9))), "enrolment.certificate-key");
        assert_eq!(fatal(&|c| c.leaf.extensions[0] = world::basic(true, None)), "enrolment.certificate-ca");
        assert_eq!(fatal(&|c| c.leaf.extensions[1] = world::usage(0)), "enrolment.certificate-usage");
        assert_eq!(
            fatal(&|c| c.leaf.extensions[2] = world::purpose("1.2.3.4")),
            "enrolment.certificate-purpose"
        );
        let other = |c: &mut Case| c.leaf.extensions[3] = alt_name(true, &tpm_name("id:53544D20", "ST33"));
        assert_eq!(fatal(&other), "enrolment.certificate-vendor");
        assert_eq!(
            fatal(&|c| c.leaf.extensions[3] = alt_name(true, &tpm_name("x", "y"))),
            "enrolment.certificate-subject"
        );
        let unknown = world::extension("1.2.3.4", true, &[5, 0]);
        assert_eq!(fatal(&|c| c.leaf.extensions.push(unknown.clone())), "enrolment.certificate-extension");
        assert_eq!(fatal(&|c| c.leaf.not_before = "300101000000Z"), "enrolment.certificate-validity");
        let swapped = Draft::authority("middle", "root", &key(7)).sign(&key(1));
        assert_eq!(fatal(&|c| c.chain[0].clone_from(&swapped)), "enrolment.certificate-chain");
        assert_eq!(fatal(&|c| c.chain = vec![vec![]; limits::CERTIFICATES + 1]), "enrolment.certificates");
        let free = |c: &mut Case| {
            let parts = c.ek.parts().clone();
            let attributes = parts.attributes.without(Attributes::FIXED_TPM);
            c.ek = Public::from_parts(&PublicParts { attributes, ..parts }).unwrap();
        };
        assert_eq!(fatal(&free), "enrolment.ek-template");
    }

    #[test]
    fn as_many_and_as_long_certificates_as_allowed_and_no_more() {
        let mut case = good();
        let middle = case.chain[0].clone();
        case.chain.resize(limits::CERTIFICATES, middle);
        assert!(judge(&case).0.is_some_and(|judged| judged.hardware));
        let too_long = |len: usize| format!("{len} bytes, at most {}", limits::CERTIFICATE);
        let refused = |len: usize| read(&ByteVec::from(vec![0; len])).unwrap_err();
        assert_ne!(refused(limits::CERTIFICATE), too_long(limits::CERTIFICATE), "it is read");
        for len in [limits::CERTIFICATE + 1, limits::CERTIFICATE + 2] {
            assert_eq!(refused(len), too_long(len));
        }
    }

    #[test]
    fn what_cannot_be_read_above_the_certificate_is_passed_over() {
        let mut case = good();
        case.chain.insert(0, vec![0xff; 40]);
        let (judged, others) = judge(&case);
        assert!(judged.unwrap().hardware, "the rest of the chain is followed");
        assert_eq!(others, [("enrolment.chain-form", Severity::Warning)]);
        case.chain.truncate(1);
        let (judged, others) = judge(&case);
        assert!(!judged.unwrap().hardware);
        assert_eq!(others.len(), 2);
        assert_eq!(others[1], ("identity.vendor-root", Severity::Info));
    }

    #[test]
    fn each_deviation_leaves_a_finding() {
        let mut case = good();
        case.leaf.serial = vec![0, 9];
        let padded = [&case.chain[0][..], &[0xff; 9]].concat();
        case.chain = vec![padded.clone(), padded];
        let (judged, others) = judge(&case);
        assert!(judged.unwrap().hardware);
        let info = ("enrolment.quirk", Severity::Info);
        assert_eq!(others, [info, info], "one of the leaf, one of its authorities");
        let mut findings = Findings::default();
        quirks("EK certificate", &[assay_x509::Quirk::PaddedSerial].into(), &mut findings);
        assert_eq!(findings.into_vec()[0].seen.as_deref(), Some("padded-serial: EK certificate"));
    }

    #[test]
    fn an_ek_without_a_certificate_is_examined_for_itself() {
        let none = Presented { ek_certificates: &[], ek_chain: &[], platforms: &[], devices: &[] };
        let examined = |ek: &Public| examine(&none, ek, &mut Findings::default());
        assert!(examined(&ek_public(&key(3))).is_some_and(|examined| examined.model().is_empty()));
        let parts = ek_public(&key(3)).parts().clone();
        let attributes = parts.attributes.without(Attributes::FIXED_TPM);
        assert!(examined(&Public::from_parts(&PublicParts { attributes, ..parts }).unwrap()).is_none());
    }

    #[test]
    fn a_model_is_maker_and_model() {
        let named = |manufacturer: &str, model: &str| {
            let names =
                TpmNames { manufacturer: manufacturer.into(), model: model.into(), ..TpmNames::default() };
            Examined { certificate: None, names }.model()
        };
        assert_eq!(named("id:49465800", "SLB9672"), "id:49465800 SLB9672");
        assert_eq!([named("id:1", ""), named("", "m"), named("", "")], ["id:1", "m", ""]);
    }

    #[test]
    fn an_expired_certificate_is_a_note() {
        let mut case = good();
        case.leaf.not_after = "230101000000Z";
        let (judged, others) = judge(&case);
        assert!(judged.unwrap().hardware);
        assert_eq!(others, [("enrolment.certificate-validity", Severity::Info)]);
    }

    #[test]
    fn broken_firmware_is_not_hardware_to_rely_on() {
        let mut case = good();
        let floor = "schema = 1\n[[floor]]\nvendor = \"id:49465800\"\nversion = \"7.62\"\nreason = \"x\"\nsource = \"https://x\"\n";
        case.trust.add_vendors(floor).unwrap();
        case.firmware = 7 << 48 | 61 << 32;
        let (judged, others) = judge(&case);
        assert!(!judged.unwrap().hardware);
        assert_eq!(others, [("enrolment.firmware", Severity::Warning)]);
        case.firmware = 7 << 48 | 62 << 32;
        assert!(judge(&case).0.unwrap().hardware);
    }

    #[test]
    fn anything_virtual_makes_the_tpm_virtual() {
        let class = |change: &dyn Fn(&mut Case)| {
            let mut case = good();
            change(&mut case);
            let judged = judge(&case).0.unwrap();
            (judged.class, judged.hardware)
        };
        let both = (TpmClass::Virtual, false);
        assert_eq!(class(&|c| c.firmware = 0x2019_1023_0016_3636), both, "by firmwareVersion");
        let model = alt_name(true, &tpm_name("id:49465800", "swtpm"));
        assert_eq!(class(&|c| c.leaf.extensions[3].clone_from(&model)), both, "by model");
        let by_class = |c: &mut Case| {
            c.trust.store = Store::default();
            c.trust.store.add(root(VendorClass::Virtual, None)).unwrap();
        };
        assert_eq!(class(&by_class), both, "by the authority's class");
        let by_maker = |c: &mut Case| {
            c.trust.store = Store::builtin().unwrap();
            c.trust.store.add(root(VendorClass::Discrete, None)).unwrap();
            c.leaf.extensions[3] = alt_name(true, &tpm_name("id:00001014", "x"));
        };
        assert_eq!(class(&by_maker), both, "by the maker, whatever the authority is");
    }
}
