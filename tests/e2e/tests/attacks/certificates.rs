//! EK certificates: of an authority made here, for the EK of a real software TPM, with one lie each.

use assay_appraisal::{Finding, PlatformSigner, Policy, Severity};
use assay_ledger::enrolment::{EnrolmentRecord, TpmClass};
use assay_ledger::session::time_extra_data;
use assay_tests::{Attester as _, Chip, Lab, Node, Paper, accepted, fatal, finding, refused};
use assay_tpm::{Attest, AttestBody, Curve, KeyKind, Public, TimeInfo};
use assay_x509::{Certificate, Entry, Role, VendorClass};

use world::{Draft, alt_name, key, oid, seq, tlv, tpm_name};

#[path = "../../../../attestation/x509/tests/world/mod.rs"]
pub(super) mod world;

const EXTRA: &str = "1.2.3.4";
/// The root's key, and the one in the middle.
const ROOT: u8 = 1;
const MIDDLE: u8 = 2;

/// A lab that pins an authority for one maker's discrete TPMs, and a node with a certificate under it.
struct Scene {
    lab: Lab,
    node: Node<Chip>,
    leaf: Draft,
    middle: Draft,
}

/// The public key of an EK, as certificates have it.
fn spki(ek_public: &[u8]) -> Vec<u8> {
    let ek = Public::parse(ek_public).unwrap();
    let KeyKind::Ecc { x, y, curve } = ek.kind() else { panic!("not on a curve") };
    let curve = if *curve == Curve::P384 { "1.3.132.0.34" } else { "1.2.840.10045.3.1.7" };
    let algorithm = seq(&[&oid("1.2.840.10045.2.1"), &oid(curve)]);
    seq(&[&algorithm, &tlv(3, &[&[0, 4], &x[..], y].concat())])
}

/// A lab that pins the authority.
fn lab() -> Lab {
    let mut lab = Lab::new();
    let root = Draft::authority("lab root", "lab root", &key(ROOT)).sign(&key(ROOT));
    let certificate = Certificate::parse(&root).unwrap();
    let entry = Entry {
        name: "lab root".into(),
        vendor: Some("id:49465800".into()),
        class: VendorClass::Discrete,
        role: Role::Root,
        source: String::new(),
        certificate,
    };
    lab.trust.store.add(entry).unwrap();
    lab
}

/// The authority in the middle.
fn middle() -> Draft {
    Draft { serial: vec![8], ..Draft::authority("lab middle", "lab root", &key(MIDDLE)) }
}

/// A certificate for this EK by the authority in the middle.
fn leaf(ek_public: &[u8]) -> Draft {
    Draft { spki: spki(ek_public), ..Draft::ek("lab middle", &key(9)) }
}

fn scene() -> Option<Scene> {
    let node = Node::new(Chip::new()?);
    let leaf = leaf(&node.identity.ek_public);
    Some(Scene { lab: lab(), node, leaf, middle: middle() })
}

impl Scene {
    /// The node shows what the drafts say.
    fn show(&mut self) {
        self.node.identity.ek_certificates = vec![self.leaf.sign(&key(MIDDLE))];
    }

    /// Goes through an enrolment with both certificates.
    fn enrol(&mut self) -> Result<EnrolmentRecord, Finding> {
        self.show();
        let chain = self.middle.sign(&key(ROOT));
        let mut request = self.lab.request(&self.node);
        request.ek_chain = vec![chain.into()];
        let (challenge, secret) = self.lab.challenge(&request)?;
        let answer = assay_tests::answer(&mut self.node, &request, &challenge).unwrap();
        self.lab.check_answer(&request, &challenge, &secret, &answer)
    }

    /// The verdict on a record with both certificates that a validator was made to sign.
    fn record(&mut self) -> assay_appraisal::Appraisal {
        self.show();
        let mut record = self.lab.record_of(&self.node);
        record.ek_chain = vec![self.middle.sign(&key(ROOT)).into()];
        self.lab.appraise(&self.lab.sign_record(0, &record))
    }

    /// One lie, told to the validator and written into a record; what was true before is restored.
    fn lie(&mut self, id: &str, change: &dyn Fn(&mut Self)) {
        let (leaf, middle) = (self.leaf.clone(), self.middle.clone());
        change(self);
        refused(self.enrol(), id);
        fatal(&self.record(), id);
        (self.leaf, self.middle) = (leaf, middle);
    }
}

#[test]
fn a_software_tpm_under_a_pinned_authority_is_software_still() {
    let Some(mut scene) = scene() else { return };
    let record = scene.enrol().unwrap();
    let appraisal = scene.lab.appraise(&scene.lab.sign_record(0, &record));
    accepted(&appraisal);
    assert_eq!(finding(&appraisal, "identity.vendor-root").severity, Severity::Pass);
    assert_eq!(finding(&appraisal, "enrolment.certificate-chain").severity, Severity::Pass);
    // The name of a discrete chip on it, signed by whom the verifier pinned: the firmware tells.
    assert_eq!((appraisal.axes.identity, appraisal.facts.node.unwrap().tpm_class), (0, "virtual"));
    scene.lab.trust.pinned_nodes.insert(scene.node.id);
    scene.lab.policy = Policy::builtin("open").unwrap();
    refused(scene.enrol(), "enrolment.identity");
}

/// An IDevID whose name is the SHA-256 of this EK certificate (TPM 2.0 Keys for Device Identity 1.0, 8).
fn idevid(ek: &Certificate) -> Draft {
    let value = seq(&[&oid("2.23.133.12.1"), &tlv(4, &ek.fingerprint().0)]);
    let other = tlv(0xa0, &[oid("1.3.6.1.5.5.7.8.4"), tlv(0xa0, &value)].concat());
    let names = world::extension(world::ALT_NAME, true, &seq(&[&other]));
    let extensions = vec![world::basic(false, None), world::usage(0), names];
    Draft { subject: world::common("unit"), extensions, ..Draft::ek("factory line", &key(21)) }
}

#[test]
fn a_machines_maker_names_machine_and_device_of_a_tpm() {
    const MAKER: u8 = 22;
    const FACTORY: u8 = 23;
    let Some(mut scene) = scene() else { return };
    scene.show();
    let ek = Certificate::parse(&scene.node.identity.ek_certificates[0]).unwrap();
    let plain = vec![world::basic(false, None), world::usage(0)];
    let maker = Draft { extensions: plain, ..Draft::authority("maker", "maker", &key(MAKER)) };
    let factory = Draft::authority("factory", "factory", &key(FACTORY));
    let line = Draft { serial: vec![8], ..Draft::authority("factory line", "factory", &key(24)) };
    let mut record = scene.lab.record_of(&scene.node);
    record.platform_certificates = vec![world::platform(&ek, MAKER).into()];
    record.device_certificates = vec![idevid(&ek).sign(&key(24)).into(), line.sign(&key(FACTORY)).into()];
    let severities = |scene: &Scene, record: &EnrolmentRecord| {
        let appraisal = scene.lab.appraise(&scene.lab.sign_record(0, record));
        accepted(&appraisal);
        ["identity.platform-certificate", "identity.device-certificate"]
            .map(|id| finding(&appraisal, id).severity)
    };
    assert_eq!(severities(&scene, &record), [Severity::Warning; 2], "nobody pinned the signers");
    for (name, draft, signer) in [("maker", &maker, MAKER), ("factory", &factory, FACTORY)] {
        let signer = PlatformSigner::read(name, &draft.sign(&key(signer))).unwrap();
        scene.lab.trust.platform_signers.push(signer);
    }
    assert_eq!(severities(&scene, &record), [Severity::Pass; 2]);
    // They vouch for no TPM.
    let appraisal = scene.lab.appraise(&scene.lab.sign_record(0, &record));
    assert_eq!(appraisal.axes.identity, 0);
    // The same files beside another TPM's certificate.
    scene.leaf.serial = vec![10];
    scene.show();
    let stolen = scene.lab.record_of(&scene.node);
    let stolen = EnrolmentRecord {
        platform_certificates: record.platform_certificates,
        device_certificates: record.device_certificates,
        ..stolen
    };
    assert_eq!(severities(&scene, &stolen), [Severity::Warning; 2]);
}

#[test]
fn what_a_node_carries_beside_its_certificate_does_not_keep_it_out() {
    let Some(mut scene) = scene() else { return };
    scene.show();
    let mut request = scene.lab.request(&scene.node);
    let middle = scene.middle.sign(&key(ROOT));
    // As an agent sends them: eight of a kind, one of them unreadable, and with deviations by name.
    let padded = [&middle[..], &[0xff; 40]].concat();
    request.ek_chain = vec![vec![0x30, 0x82, 1, 0].into(); 7];
    request.ek_chain.push(padded.into());
    request.platform_certificates = vec![vec![0x30, 0].into(); 8];
    request.device_certificates = vec![middle.into(); 8];
    let (challenge, secret) = scene.lab.challenge(&request).unwrap();
    let answer = assay_tests::answer(&mut scene.node, &request, &challenge).unwrap();
    let record = scene.lab.check_answer(&request, &challenge, &secret, &answer).unwrap();
    let appraisal = scene.lab.appraise(&scene.lab.sign_record(0, &record));
    accepted(&appraisal);
    assert_eq!(finding(&appraisal, "identity.vendor-root").severity, Severity::Pass);
    assert_eq!(finding(&appraisal, "enrolment.chain-form").severity, Severity::Warning);
    assert_eq!(finding(&appraisal, "enrolment.quirk").seen.as_deref(), Some("nv-padding: authority"));
}

#[test]
fn a_local_ca_that_borrows_a_makers_names_is_an_unknown_root() {
    let Some(mut scene) = scene() else { return };
    // Its own root, by the pinned root's name, with another key: and the same middle.
    let forged = Draft::authority("lab root", "lab root", &key(66)).sign(&key(66));
    scene.lab.trust.store = assay_x509::Store::default();
    let certificate = Certificate::parse(&forged).unwrap();
    let class = VendorClass::Discrete;
    let entry = |certificate| Entry {
        name: "lab root".into(),
        vendor: None,
        class,
        role: Role::Root,
        source: String::new(),
        certificate,
    };
    // Nothing pinned at all: no lie, and no identity.
    let appraisal = scene.record();
    accepted(&appraisal);
    assert_eq!(finding(&appraisal, "identity.vendor-root").severity, Severity::Info);
    assert_eq!(appraisal.axes.identity, 0);
    scene.lab.policy = Policy::builtin("open").unwrap();
    refused(scene.enrol(), "enrolment.identity");
    // Where the name is pinned with its own key, the signature does not hold.
    scene.lab.policy = Policy::builtin("development").unwrap();
    scene.lab.trust.store.add(entry(certificate)).unwrap();
    refused(scene.enrol(), "enrolment.certificate-chain");
}

#[test]
fn an_extra_critical_extension_is_refused() {
    let Some(mut scene) = scene() else { return };
    let extra = |critical| world::extension(EXTRA, critical, &[5, 0]);
    scene.lie("enrolment.certificate-extension", &|s| s.leaf.extensions.push(extra(true)));
    // In an authority above it too, where it makes the chain one that nobody may follow.
    scene.lie("enrolment.certificate-chain", &|s| s.middle.extensions.push(extra(true)));
    scene.leaf.extensions.push(extra(false));
    scene.enrol().unwrap();
    accepted(&scene.record());
}

#[test]
fn a_certificate_that_lies_is_refused_by_the_name_of_its_lie() {
    let Some(mut scene) = scene() else { return };
    scene.lie("enrolment.certificate-key", &|s| s.leaf.spki = world::spki(&key(9)));
    scene.lie("enrolment.certificate-version", &|s| (s.leaf.version, s.leaf.extensions) = (1, vec![]));
    scene.lie("enrolment.certificate-ca", &|s| s.leaf.extensions[0] = world::basic(true, None));
    scene.lie("enrolment.certificate-usage", &|s| s.leaf.extensions[1] = world::usage(0));
    scene.lie("enrolment.certificate-purpose", &|s| s.leaf.extensions[2] = world::purpose(EXTRA));
    scene.lie("enrolment.certificate-subject", &|s| {
        s.leaf.extensions[3] = alt_name(true, &tpm_name("x", "y"))
    });
    let other = alt_name(true, &tpm_name("id:53544D20", "ST33"));
    scene.lie("enrolment.certificate-vendor", &|s| s.leaf.extensions[3].clone_from(&other));
    scene.lie("enrolment.certificate-validity", &|s| s.leaf.not_before = "300101000000Z");
    scene.lie("enrolment.certificate-chain", &|s| s.middle.spki = world::spki(&key(7)));
    scene.lie("enrolment.certificate-chain", &|s| s.middle.extensions[0] = world::basic(false, None));
    scene.enrol().unwrap();
    accepted(&scene.record());
}

#[test]
fn an_ek_of_no_template_or_a_weak_one_is_refused() {
    let Some(mut scene) = scene() else { return };
    scene.node.identity.ek_certificates.clear();
    let free = assay_tests::changed(&scene.node.identity.ek_public, |parts| {
        parts.attributes = parts.attributes.without(assay_tpm::Attributes::FIXED_TPM);
    });
    let good = scene.lab.request(&scene.node);
    let free = assay_ledger::enrolment::EnrolRequest { ek_public: free, ..good.clone() };
    refused(scene.lab.challenge(&free), "enrolment.ek-template");
    // A modulus of the form that CVE-2017-15361 makes: a power of 65537 modulo the small primes.
    let weak = world::public(KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: roca_modulus() });
    let weak = assay_ledger::enrolment::EnrolRequest { ek_public: weak.to_bytes(), ..good.clone() };
    refused(scene.lab.challenge(&weak), "enrolment.weak-key");
    assert!(scene.lab.challenge(&good).is_ok());
}

#[test]
fn firmware_that_is_known_to_be_broken_is_a_warning() {
    let Some(mut scene) = scene() else { return };
    let before = scene.record();
    assert_eq!(finding(&before, "enrolment.firmware").severity, Severity::Pass);
    // All of this line of versions, by a file that the verifier adds.
    let major = scene.node.identity.properties.firmware_version >> 48;
    let floor = format!(
        "schema = 1\n[[floor]]\nvendor = \"id:49465800\"\nversion = \"{major}.65535\"\n\
         reason = \"broken\"\nsource = \"https://example.org\"\n"
    );
    scene.lab.trust.add_vendors(&floor).unwrap();
    assert_eq!(finding(&scene.record(), "enrolment.firmware").severity, Severity::Warning);
}

/// Verdicts on a session whose TPM runs `now`, under a record of a day when it ran `then`: severity of
/// `enrolment.firmware` and identity, of the session and of the record, where `vendors` are known.
fn judged_by(then: u64, now: u64, vendors: &str) -> [(Severity, u8); 2] {
    let mut lab = lab();
    lab.trust.add_vendors(&format!("schema = 1\n{vendors}")).unwrap();
    let mut node = Node::new(Paper::new(3));
    node.simulated.clear();
    node.identity.ek_certificates = vec![leaf(&node.identity.ek_public).sign(&key(MIDDLE))];
    let record = EnrolmentRecord {
        firmware_version: then,
        ek_chain: vec![middle().sign(&key(ROOT)).into()],
        class: TpmClass::Discrete,
        ..lab.record_of(&node)
    };
    node.record = lab.sign_record(0, &record);
    let mono_ms = lab.mono_ms;
    let session = lab.open_with(
        &mut node,
        |_| {},
        |evidence, tpm| {
            let extra = time_extra_data(&evidence.session.id());
            let told = Attest::parse(&tpm.time(&extra, mono_ms).attest).unwrap();
            let info = TimeInfo { firmware_version: now, ..*told.time().unwrap() };
            let told = Attest { firmware_version: now, body: AttestBody::Time(info), ..told };
            evidence.time = tpm.sign(&told);
        },
    );
    [session.records.evidence, node.record].map(|file| {
        let appraisal = lab.appraise(&file);
        accepted(&appraisal);
        (finding(&appraisal, "enrolment.firmware").severity, appraisal.axes.identity)
    })
}

#[test]
fn a_session_is_judged_by_the_firmware_that_its_tpm_runs_and_not_by_that_of_enrolment_day() {
    let floor = "[[floor]]\nvendor = \"id:49465800\"\nversion = \"73.20\"\nreason = \"broken\"\n\
                 source = \"https://example.org\"\n";
    let (old, new) = ((73 << 48) | (4 << 32), (73 << 48) | (64 << 32));
    let (good, broken) = ((Severity::Pass, 2), (Severity::Warning, 0));
    assert_eq!(judged_by(new, new, floor), [good, good]);
    assert_eq!(judged_by(new, old, floor), [broken, good], "put back after it enrolled");
    assert_eq!(judged_by(old, new, floor), [good, broken], "updated since it enrolled");
    // A virtual TPM's version on either day makes it virtual.
    let virtual_firmware = format!("virtual_firmware = [\"{new:016x}\"]\n");
    for (then, now) in [(old, new), (new, old)] {
        assert_eq!(judged_by(then, now, &virtual_firmware)[0].1, 0, "{then:016x} {now:016x}");
    }
    assert_eq!(judged_by(old, old, &virtual_firmware), [good, good]);
}

/// 2048 bits with the structure of CVE-2017-15361 (Nemec et al., 2.1): 65537^a + k * M, where M is the product
/// of the first primes.
fn roca_modulus() -> Vec<u8> {
    use rsa::BigUint;
    let primes = (2_u32..=701).filter(|n| (2..*n).all(|d| n % d != 0));
    let product = primes.fold(BigUint::from(1_u32), |product, prime| product * prime);
    let base = BigUint::from(65_537_u32).modpow(&BigUint::from(99_u32), &product);
    let factor = (BigUint::from(1_u32) << 2047) / &product + 1_u32;
    (base + factor * product).to_bytes_be()
}
