//! The trust file: whom a verifier believes. Nothing verifies without one.

use std::collections::{BTreeMap, BTreeSet};

use assay_gpu::device::Roots;
use assay_wire::{Digest, Network, VerifyingKey};
use assay_x509::{Certificate, Entry, Role, Store, VendorClass, X509Error, der_to_pem};
use serde::Deserialize;

use crate::platform_signer::{self, PlatformSigner};
use crate::releases::TrustedRelease;

/// A trust or policy file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not TOML, an unknown key, a missing key or a value of the wrong type.
    #[error("{file}: {detail}")]
    Parse {
        /// `trust file` or `policy`.
        file: &'static str,
        /// What the parser says, with line and column.
        detail: String,
    },
    /// A value that parses and makes no sense.
    #[error("{file}: {field}: {detail}")]
    Value {
        /// `trust file` or `policy`.
        file: &'static str,
        /// The key.
        field: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A certificate or a vendor file that can't be used.
    #[error("{file}: {field}: {source}")]
    Certificate {
        /// `trust file` or `vendor file`.
        file: &'static str,
        /// The key.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: X509Error,
    },
}

/// A validator whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedValidator {
    /// Its name.
    pub name: String,
    /// Who runs it; receipts of one operator count once.
    pub operator: String,
    /// Its Ed25519 key.
    pub key: VerifyingKey,
}

/// Which authorities of TPM makers count without being named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendors {
    /// Those that come with this version.
    #[default]
    Builtin,
    /// None.
    None,
}

/// An authority that the verifier vouches for by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedCa {
    /// Its name.
    pub name: String,
    /// What its TPMs are.
    pub class: VendorClass,
    /// Its certificate.
    pub certificate: Certificate,
}

/// Someone whose release manifests count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSigner {
    /// Its name.
    pub name: String,
    /// Its Ed25519 key.
    pub key: VerifyingKey,
}

/// Whom a verifier believes, and the network's public parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The network that signatures are made for.
    pub network: Network,
    /// Name of the policy that applies when none is named.
    pub policy: String,
    /// Validators by id.
    pub validators: BTreeMap<Digest, TrustedValidator>,
    /// How many operators must have receipted a record: t of n.
    pub receipt_threshold: usize,
    /// Length of a beacon round, which is an anchor slot, in ms.
    pub beacon_period_ms: u64,
    /// Probability that a slot is an anchor slot, in thousandths.
    pub anchor_per_mille: u32,
    /// Nodes whose EK the verifier vouches for by hand.
    pub pinned_nodes: BTreeSet<Digest>,
    /// How many operators must have enrolled a node: k of n.
    pub enrolment_threshold: usize,
    /// How many unrelated owners must have a firmware before it counts as known.
    pub firmware_owners: usize,
    /// Whether the shipped vendors' authorities count.
    pub vendors: Vendors,
    /// Authorities vouched for by hand.
    pub authorities: Vec<TrustedCa>,
    /// Whose platform and device certificates count.
    pub platform_signers: Vec<PlatformSigner>,
    /// Whose release manifests count.
    pub release_signers: Vec<ReleaseSigner>,
    /// All authorities that count, shipped, named and added.
    pub store: Store,
    /// Firmware vouched for by its vendor's reference values: PCR 0 of the SHA-256 bank, and whose it is.
    pub firmware: BTreeMap<Digest, String>,
    /// Release manifests at hand; see [`Trust::add_release`].
    pub releases: Vec<TrustedRelease>,
    /// Where certificates of GPUs end: NVIDIA's root. No trust file can name another one, since G3 means
    /// a report of NVIDIA's devices; only a program that links this library can.
    pub device_roots: Roots,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    schema: u32,
    policy: String,
    network: NetworkSection,
    #[serde(default)]
    validator: Vec<ValidatorSection>,
    #[serde(default)]
    pinned: Vec<PinnedSection>,
    #[serde(default)]
    vendors: Vendors,
    #[serde(default)]
    ca: Vec<CaSection>,
    #[serde(default)]
    platform_signer: Vec<platform_signer::Section>,
    #[serde(default)]
    release_signer: Vec<SignerSection>,
    #[serde(default)]
    firmware: Vec<FirmwareSection>,
    #[serde(default)]
    release: Vec<ReleaseSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkSection {
    id: String,
    receipt_threshold: usize,
    beacon_period_ms: u64,
    anchor_per_mille: u32,
    #[serde(default = "default_enrolment_threshold")]
    enrolment_threshold: usize,
    #[serde(default = "default_firmware_owners")]
    firmware_owners: usize,
}

const fn default_enrolment_threshold() -> usize {
    1
}

const fn default_firmware_owners() -> usize {
    3
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaSection {
    name: String,
    class: String,
    certificate: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseSection {
    manifest: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirmwareSection {
    pcr0: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignerSection {
    name: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidatorSection {
    name: String,
    operator: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinnedSection {
    node: String,
    #[serde(rename = "note", default)]
    _note: String,
}

const FILE: &str = "trust file";

pub(crate) fn value(field: impl Into<String>, detail: &'static str) -> TrustError {
    TrustError::Value { file: FILE, field: field.into(), detail }
}

impl Trust {
    /// Reads a trust file.
    ///
    /// # Errors
    /// [`TrustError`] names the key; unknown keys are refused.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let file: TrustFile =
            toml::from_str(text).map_err(|e| TrustError::Parse { file: FILE, detail: e.to_string() })?;
        if file.schema != 1 {
            return Err(value("schema", "this version reads schema 1"));
        }
        let validators = validators(&file.validator)?;
        let operators = validators.values().map(|v| &v.operator).collect::<BTreeSet<_>>().len();
        let network = network(&file.network, operators)?;
        let pinned = file.pinned.iter().map(|p| {
            Digest::from_hex(&p.node).ok_or_else(|| value("pinned.node", "not 64 hexadecimal digits"))
        });
        let authorities =
            file.ca.iter().map(|ca| TrustedCa::read(&ca.name, &ca.class, ca.certificate.as_bytes()));
        let authorities = authorities.collect::<Result<Vec<_>, _>>()?;
        let mut store = shipped(file.vendors)?;
        for authority in &authorities {
            store.add(authority.entry()).map_err(ca)?;
        }
        let mut trust = Self {
            enrolment_threshold: file.network.enrolment_threshold,
            firmware_owners: file.network.firmware_owners,
            vendors: file.vendors,
            authorities,
            platform_signers: platform_signer::read_all(&file.platform_signer)?,
            release_signers: release_signers(&file.release_signer)?,
            firmware: firmware(&file.firmware)?,
            releases: Vec::new(),
            device_roots: Roots::nvidia(),
            store,
            network,
            policy: file.policy,
            validators,
            receipt_threshold: file.network.receipt_threshold,
            beacon_period_ms: file.network.beacon_period_ms,
            anchor_per_mille: file.network.anchor_per_mille,
            pinned_nodes: pinned.collect::<Result<_, _>>()?,
        };
        for section in &file.release {
            let manifest = hex::decode(&section.manifest);
            let manifest = manifest.map_err(|_| value("release.manifest", "not hexadecimal digits"))?;
            let refused = |_| value("release.manifest", "not a release by one of the release signers");
            trust.add_release(&manifest).map_err(refused)?;
        }
        Ok(trust)
    }

    /// A trust that believes nobody, with the shipped vendors: to be filled in.
    pub fn of(network: Network) -> Self {
        Self {
            network,
            policy: String::new(),
            validators: BTreeMap::new(),
            receipt_threshold: 1,
            beacon_period_ms: 1,
            anchor_per_mille: 0,
            pinned_nodes: BTreeSet::new(),
            enrolment_threshold: default_enrolment_threshold(),
            firmware_owners: default_firmware_owners(),
            vendors: Vendors::Builtin,
            authorities: Vec::new(),
            platform_signers: Vec::new(),
            release_signers: Vec::new(),
            firmware: BTreeMap::new(),
            releases: Vec::new(),
            device_roots: Roots::nvidia(),
            // The shipped file reads (a test says so); without it fewer TPMs would count, not more.
            store: Store::builtin().unwrap_or_default(),
        }
    }

    /// Adds what a vendor file says: authorities, vendors, firmware floors.
    ///
    /// # Errors
    /// [`TrustError::Certificate`] names the entry.
    pub fn add_vendors(&mut self, text: &str) -> Result<(), TrustError> {
        let added = Store::parse(text).and_then(|store| self.store.merge(store));
        added.map_err(|source| TrustError::Certificate { file: "vendor file", field: "certificate", source })
    }

    /// Believed keys by validator id.
    pub fn keys(&self) -> BTreeMap<Digest, VerifyingKey> {
        self.validators.iter().map(|(id, v)| (*id, v.key)).collect()
    }

    /// How many different operators there are: the n of t of n.
    pub fn operators(&self) -> usize {
        self.validators.values().map(|v| &v.operator).collect::<BTreeSet<_>>().len()
    }

    /// The file's text; [`Trust::parse`] reads it back to the same value.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "# Whom a verifier of this network believes. Hand it to everyone who checks proofs.\n\
             schema = 1\n# The policy that applies when none is named: development, open or strict.\n\
             policy = {}\n# TPM makers whose certificates count: builtin or none.\nvendors = {:?}\n\n[network]\nid = {}\n\
             # A record counts when this many different operators have receipted it.\nreceipt_threshold = {}\n\
             # Length of a beacon round, which is an anchor slot.\nbeacon_period_ms = {}\n\
             # Chance that a slot asks a node for an anchor, in thousandths.\nanchor_per_mille = {}\n\
             # A node counts when this many different operators have enrolled it.\nenrolment_threshold = {}\n\
             # Firmware is known when this many unrelated owners have it.\nfirmware_owners = {}\n",
            quoted(&self.policy),
            match self.vendors {
                Vendors::Builtin => "builtin",
                Vendors::None => "none",
            },
            quoted(self.network.id()),
            self.receipt_threshold,
            self.beacon_period_ms,
            self.anchor_per_mille,
            self.enrolment_threshold,
            self.firmware_owners,
        );
        for validator in self.validators.values() {
            text.push_str(&format!(
                "\n[[validator]]\nname = {}\noperator = {}\nkey = \"{}\"\n",
                quoted(&validator.name),
                quoted(&validator.operator),
                hex::encode(validator.key.0),
            ));
        }
        for node in &self.pinned_nodes {
            text.push_str(&format!("\n# Vouched for by hand: identity I1.\n[[pinned]]\nnode = \"{node}\"\n"));
        }
        self.authorities.iter().for_each(|ca| text.push_str(&ca.to_toml()));
        self.platform_signers.iter().for_each(|signer| text.push_str(&signer.to_toml()));
        for signer in &self.release_signers {
            let (name, key) = (quoted(&signer.name), hex::encode(signer.key.0));
            text.push_str(&format!("\n[[release_signer]]\nname = {name}\nkey = \"{key}\"\n"));
        }
        for release in &self.releases {
            let (name, version) = (&release.release.name, &release.release.version);
            let label = format!("{name} {version}").replace(|c: char| c.is_control(), " ");
            let manifest = hex::encode(&release.envelope);
            text.push_str(&format!("\n# {label}\n[[release]]\nmanifest = \"{manifest}\"\n"));
        }
        for (pcr0, name) in &self.firmware {
            let name = quoted(name);
            text.push_str(&format!("\n[[firmware]]\npcr0 = \"{pcr0}\"\nname = {name}\n"));
        }
        text
    }
}

/// A TOML string; Rust's escapes are others.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl TrustedCa {
    /// An authority from a certificate's file, DER or PEM; `class` is `discrete`, `firmware` or `virtual`.
    ///
    /// # Errors
    /// [`TrustError`] names the key of the trust file.
    pub fn read(name: &str, class: &str, file: &[u8]) -> Result<Self, TrustError> {
        if name.is_empty() {
            return Err(value("ca.name", "empty"));
        }
        let class = VendorClass::of(class);
        let class = class.ok_or_else(|| value("ca.class", "discrete, firmware or virtual"))?;
        let certificate = Certificate::from_file(file).map_err(ca)?;
        if !certificate.is_ca() {
            let signer = "not an authority's certificate; one that signs platform certificates goes under [[platform_signer]]";
            return Err(value("ca.certificate", signer));
        }
        Ok(Self { name: name.to_owned(), class, certificate })
    }

    /// Its section of a trust file.
    pub fn to_toml(&self) -> String {
        let (pem, class) = (der_to_pem(self.certificate.der()), self.class.name());
        let name = quoted(&self.name);
        format!("\n[[ca]]\nname = {name}\nclass = {class:?}\ncertificate = \"\"\"\n{pem}\"\"\"\n")
    }

    /// A named authority ends a chain, whether it is a root or not, and speaks for every TPM maker.
    fn entry(&self) -> Entry {
        Entry {
            name: self.name.clone(),
            vendor: None,
            class: self.class,
            role: Role::Pinned,
            source: FILE.to_owned(),
            certificate: self.certificate.clone(),
        }
    }
}

const fn ca(source: X509Error) -> TrustError {
    TrustError::Certificate { file: FILE, field: "ca.certificate", source }
}

fn shipped(vendors: Vendors) -> Result<Store, TrustError> {
    let store = Store::builtin();
    let store = store.map_err(|source| TrustError::Certificate { file: FILE, field: "vendors", source })?;
    Ok(match vendors {
        Vendors::Builtin => store,
        Vendors::None => store.without_authorities(),
    })
}

fn firmware(sections: &[FirmwareSection]) -> Result<BTreeMap<Digest, String>, TrustError> {
    let read = |section: &FirmwareSection| {
        let pcr0 = Digest::from_hex(&section.pcr0);
        let pcr0 = pcr0.ok_or_else(|| value("firmware.pcr0", "not 64 hexadecimal digits"))?;
        match section.name.is_empty() {
            true => Err(value("firmware.name", "empty")),
            false => Ok((pcr0, section.name.clone())),
        }
    };
    sections.iter().map(read).collect()
}

fn release_signers(sections: &[SignerSection]) -> Result<Vec<ReleaseSigner>, TrustError> {
    let mut keys = BTreeSet::new();
    let signer = |section: &SignerSection| {
        if section.name.is_empty() {
            return Err(value("release_signer.name", "empty"));
        }
        let key = Digest::from_hex(&section.key);
        let key = key.ok_or_else(|| value("release_signer.key", "not 64 hexadecimal digits"))?;
        match keys.insert(key) {
            true => Ok(ReleaseSigner { name: section.name.clone(), key: VerifyingKey(key.0) }),
            false => Err(value("release_signer.key", "the same key twice")),
        }
    };
    sections.iter().map(signer).collect()
}

fn network(section: &NetworkSection, operators: usize) -> Result<Network, TrustError> {
    if section.id.is_empty() || section.id.len() > 64 || !section.id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(value("network.id", "1 to 64 printable ASCII characters without spaces"));
    }
    if section.receipt_threshold == 0 || section.receipt_threshold > operators {
        return Err(value("network.receipt_threshold", "between 1 and the number of different operators"));
    }
    if section.enrolment_threshold == 0 || section.enrolment_threshold > operators {
        return Err(value("network.enrolment_threshold", "between 1 and the number of different operators"));
    }
    if !(1..=1000).contains(&section.firmware_owners) {
        return Err(value("network.firmware_owners", "between 1 and 1000"));
    }
    if !(1_000..=3_600_000).contains(&section.beacon_period_ms) {
        return Err(value("network.beacon_period_ms", "between 1000 and 3600000"));
    }
    if section.anchor_per_mille > 1000 {
        return Err(value("network.anchor_per_mille", "between 0 and 1000"));
    }
    Ok(Network::new(&section.id))
}

fn validators(sections: &[ValidatorSection]) -> Result<BTreeMap<Digest, TrustedValidator>, TrustError> {
    let mut validators = BTreeMap::new();
    for section in sections {
        let key = Digest::from_hex(&section.key)
            .ok_or_else(|| value("validator.key", "not 64 hexadecimal digits"))?;
        let key = VerifyingKey(key.0);
        let (name, operator) = (section.name.clone(), section.operator.clone());
        if operator.is_empty() {
            return Err(value("validator.operator", "empty"));
        }
        if validators.insert(key.validator_id(), TrustedValidator { name, operator, key }).is_some() {
            return Err(value("validator.key", "the same key twice"));
        }
    }
    if validators.is_empty() {
        return Err(value("validator", "at least one is needed"));
    }
    Ok(validators)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
schema = 1
policy = "development"
[network]
id = "demo"
receipt_threshold = 1
beacon_period_ms = 5000
anchor_per_mille = 250
[[validator]]
name = "v1"
operator = "me"
key = "0101010101010101010101010101010101010101010101010101010101010101"
[[pinned]]
node = "0202020202020202020202020202020202020202020202020202020202020202"
"#;

    #[test]
    fn a_good_file_reads_and_writes_back() {
        let trust = Trust::parse(GOOD).unwrap();
        assert_eq!(trust.operators(), 1);
        assert_eq!(trust.keys().len(), 1);
        assert_eq!(Trust::parse(&trust.to_toml()), Ok(trust));
    }

    /// The first authority of the shipped file, as a trust file has one.
    fn named_ca(class: &str) -> String {
        let builtin = Store::builtin().unwrap();
        let pem = der_to_pem(builtin.entries()[0].certificate.der());
        format!("[[ca]]\nname = \"mine\"\nclass = \"{class}\"\ncertificate = \"\"\"\n{pem}\"\"\"\n")
    }

    const SIGNER: &str = "[[release_signer]]\nname = \"us\"\n\
        key = \"0303030303030303030303030303030303030303030303030303030303030303\"\n";

    #[test]
    fn authorities_and_signers_write_back() {
        let none = GOOD.replace("schema = 1", "schema = 1\nvendors = \"none\"");
        let trust = Trust::parse(&format!("{none}{}{SIGNER}", named_ca("virtual"))).unwrap();
        assert_eq!(
            (trust.store.entries().len(), trust.enrolment_threshold, trust.firmware_owners),
            (1, 1, 3)
        );
        assert_eq!(trust.store.entries()[0].class, VendorClass::Virtual);
        assert_eq!(trust.release_signers[0].key, VerifyingKey([3; 32]));
        assert_eq!(Trust::parse(&trust.to_toml()), Ok(trust.clone()));
        let mut more = trust;
        assert!(more.add_vendors(Store::BUILTIN).is_err(), "the same authority twice");
        let mut plain = Trust::parse(&none).unwrap();
        assert_eq!(plain.store.entries().len(), 0);
        plain.add_vendors(Store::BUILTIN).unwrap();
        assert_eq!(plain.store.entries(), Trust::parse(GOOD).unwrap().store.entries());
    }

    #[test]
    fn wrong_authorities_are_refused_by_name() {
        let none = GOOD.replace("schema = 1", "schema = 1\nvendors = \"none\"");
        let refused = |more: &str| match Trust::parse(&format!("{none}{more}")) {
            Err(TrustError::Value { field, .. }) => field,
            Err(TrustError::Certificate { field, .. }) => field.to_owned(),
            other => panic!("{more}: {other:?}"),
        };
        let ca = named_ca("virtual");
        assert_eq!(refused(&ca.replace("mine", "")), "ca.name");
        assert_eq!(refused(&ca.replace("\"virtual\"", "\"unknown\"")), "ca.class");
        assert_eq!(refused(&ca.replace("MII", "M!I")), "ca.certificate");
        assert_eq!(refused(&format!("{ca}{ca}")), "ca.certificate");
        assert_eq!(refused(&SIGNER.replace("us", "")), "release_signer.name");
        assert_eq!(refused(&SIGNER.replace("0303", "03")), "release_signer.key");
        assert_eq!(refused(&format!("{SIGNER}{SIGNER}")), "release_signer.key");
        assert!(Trust::parse(&none.replace("\"none\"", "\"some\"")).is_err());
    }

    #[test]
    fn names_of_any_characters_write_back() {
        let name = GOOD.replace("\"v1\"", r#""\u0086\u0000\n\"\\ \u007f'""#);
        let trust = Trust::parse(&name).unwrap();
        assert_eq!(Trust::parse(&trust.to_toml()), Ok(trust));
    }

    #[test]
    fn wrong_files_are_refused_by_name() {
        let field = |from: &str, to: &str| match Trust::parse(&GOOD.replace(from, to)) {
            Err(TrustError::Value { field, .. }) => field,
            other => panic!("{to}: {other:?}"),
        };
        assert_eq!(field("schema = 1", "schema = 2"), "schema");
        assert_eq!(field("\"demo\"", "\"\""), "network.id");
        assert_eq!(field("receipt_threshold = 1", "receipt_threshold = 0"), "network.receipt_threshold");
        assert_eq!(field("receipt_threshold = 1", "receipt_threshold = 2"), "network.receipt_threshold");
        let rule = |line: &str| format!("anchor_per_mille = 250\n{line}");
        for bad in ["enrolment_threshold = 0", "enrolment_threshold = 2"] {
            assert_eq!(field("anchor_per_mille = 250", &rule(bad)), "network.enrolment_threshold");
        }
        assert_eq!(field("anchor_per_mille = 250", &rule("firmware_owners = 0")), "network.firmware_owners");
        assert_eq!(field("5000", "10"), "network.beacon_period_ms");
        assert_eq!(field("250", "1001"), "network.anchor_per_mille");
        assert_eq!(field("0101", "01"), "validator.key");
        assert_eq!(field("\"me\"", "\"\""), "validator.operator");
        assert_eq!(field("0202", "02"), "pinned.node");
        let twice =
            format!("{GOOD}{}", &GOOD[GOOD.find("[[validator]]").unwrap()..GOOD.find("[[pinned]]").unwrap()]);
        assert!(
            matches!(Trust::parse(&twice), Err(TrustError::Value { field, .. }) if field == "validator.key")
        );
        let unknown = Trust::parse(&format!("surprise = 1\n{GOOD}")).unwrap_err();
        assert!(unknown.to_string().contains("surprise"), "{unknown}");
        let nobody = &GOOD[..GOOD.find("[[validator]]").unwrap()];
        assert!(Trust::parse(nobody).is_err());
    }
}
