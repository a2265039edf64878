//! What a CoRIM says, as far as it is about measurements (draft-ietf-rats-corim, sections 4 and 5).

/// `corim-map`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corim {
    /// The manifest's id.
    pub id: TagId,
    /// The profile whose rules it keeps to.
    pub profile: Option<Profile>,
    /// When it holds.
    pub validity: Option<Validity>,
    /// What it holds; at least one.
    pub tags: Vec<CorimTag>,
}

/// An id: text, or a UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagId {
    /// Text.
    Text(String),
    /// RFC 9562, in network order.
    Uuid([u8; 16]),
}

/// `$profile-type-choice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// A URI.
    Uri(String),
    /// An object identifier in BER, without tag and length.
    Oid(Vec<u8>),
}

/// `validity-map`, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: Option<u64>,
    /// Last second.
    pub not_after: u64,
}

/// One element of `tags`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorimTag {
    /// A concise module identifier (tag 506).
    Comid(Comid),
    /// Another kind of tag and its content: CoSWID (505) or a trust list (508).
    Other(u64, Vec<u8>),
}

/// `concise-mid-tag`; who made it, and links to other tags, are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comid {
    /// `tag-id`.
    pub id: TagId,
    /// `tag-version`; 0 where it is absent.
    pub version: u64,
    /// Reference values.
    pub reference: Vec<Triple>,
    /// Endorsed values.
    pub endorsed: Vec<Triple>,
    /// Keys that verify attestations.
    pub attest_keys: Vec<KeyTriple>,
    /// Keys of the map of triples that hold something else.
    pub other: Vec<u64>,
}

/// `reference-triple-record` or `endorsed-triple-record`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triple {
    /// What is measured.
    pub environment: Environment,
    /// Its measurements; at least one.
    pub measurements: Vec<Measurement>,
}

/// `attest-key-triple-record`, without its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTriple {
    /// Whose keys.
    pub environment: Environment,
    /// The keys; at least one.
    pub keys: Vec<CryptoKey>,
}

/// `$crypto-key-type-choice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CryptoKey {
    /// A SubjectPublicKeyInfo in PEM (tag 554).
    PkixBase64Key(String),
    /// Another form, by its tag.
    Other(u64),
}

/// `environment-map`; one of the three is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// A kind of thing.
    pub class: Option<Class>,
    /// One thing.
    pub instance: Option<Identifier>,
    /// Some things.
    pub group: Option<Identifier>,
}

/// `class-map`; one of the five is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Class {
    /// Its id.
    pub id: Option<Identifier>,
    /// Who makes it.
    pub vendor: Option<String>,
    /// What it is called.
    pub model: Option<String>,
    /// Layer in a stack of environments.
    pub layer: Option<u64>,
    /// Number among equals.
    pub index: Option<u64>,
}

/// Something that identifies a class, an instance or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// Tag 37, in network order.
    Uuid([u8; 16]),
    /// Tag 111.
    Oid(Vec<u8>),
    /// Tag 550.
    Ueid(Vec<u8>),
    /// Tag 560.
    Bytes(Vec<u8>),
    /// Another form, by its tag.
    Other(u64),
}

/// `measurement-map`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// Which of the environment's elements.
    pub key: Option<MeasurementKey>,
    /// Its values; at least one.
    pub values: MeasurementValues,
}

/// `$measured-element-type-choice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeasurementKey {
    /// A number: of a PCR, where a TPM is measured.
    Uint(u64),
    /// Text.
    Text(String),
    /// Tag 37, in network order.
    Uuid([u8; 16]),
    /// Tag 111.
    Oid(Vec<u8>),
}

/// `measurement-values-map`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeasurementValues {
    /// `version`, without its scheme.
    pub version: Option<String>,
    /// `svn`.
    pub svn: Option<Svn>,
    /// `digests`; empty where they are absent.
    pub digests: Vec<CorimDigest>,
    /// `name`.
    pub name: Option<String>,
    /// Keys of other values.
    pub other: Vec<i64>,
}

/// A security version number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Svn {
    /// Exactly this.
    Exact(u64),
    /// This or more.
    Minimum(u64),
}

/// One digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorimDigest {
    /// Its algorithm.
    pub alg: DigestAlg,
    /// Its value, of the algorithm's length where that is known.
    pub value: Vec<u8>,
}

/// An algorithm: a number of the Named Information Hash Algorithm Registry (1 is SHA-256, 7 is
/// SHA-384, 8 is SHA-512) or of COSE (negative), or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DigestAlg {
    /// By number.
    Id(i64),
    /// By name.
    Name(String),
}
