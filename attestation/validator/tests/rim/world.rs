//! Authorities, signers and documents of our own.
//!
//! Documents are written in their canonical form to begin with, so that what is signed here does not depend on the
//! code under test.

use assay_validator::rim::{DocumentError, Examined, Unproven, examine};
use base64ct::{Base64, Encoding as _};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, SigningKey as _, date_time_ymd,
};
use sha2::{Digest as _, Sha384};

pub const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
pub const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
pub const RIM: &str =
    "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
pub const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
pub const C14N: &str = "http://www.w3.org/2006/12/xml-c14n11";
pub const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
pub const ECDSA: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
pub const DIGEST: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";

/// A certificate and its key.
pub struct Holder {
    pub key: KeyPair,
    pub params: CertificateParams,
    pub der: Vec<u8>,
}

/// What a certificate to be made is for.
pub fn params(name: &str, ca: Option<BasicConstraints>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params.key_usages = match ca {
        Some(_) => vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
        None => vec![KeyUsagePurpose::DigitalSignature],
    };
    params.is_ca = ca.map_or(IsCa::ExplicitNoCa, IsCa::Ca);
    params
}

pub fn p384() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

impl Holder {
    pub fn root(params: CertificateParams) -> Self {
        let key = p384();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { key, params, der }
    }

    pub fn below(&self, params: CertificateParams) -> Self {
        self.below_with(params, p384())
    }

    pub fn below_with(&self, params: CertificateParams, key: KeyPair) -> Self {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        Self { key, params, der }
    }
}

/// A root, two authorities and a signer.
pub struct World {
    pub root: Holder,
    pub upper: Holder,
    pub lower: Holder,
    pub leaf: Holder,
}

impl World {
    pub fn new() -> Self {
        let root = Holder::root(params("root", Some(BasicConstraints::Unconstrained)));
        let upper = root.below(params("upper", Some(BasicConstraints::Unconstrained)));
        let lower = upper.below(params("lower", Some(BasicConstraints::Constrained(0))));
        let leaf = lower.below(params("leaf", None));
        Self { root, upper, lower, leaf }
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        [&self.leaf, &self.lower, &self.upper, &self.root].map(|one| one.der.clone()).into()
    }

    pub fn examine(&self, document: &str) -> Result<Examined, DocumentError> {
        examine(document.as_bytes(), &self.root.der)
    }

    /// Whether it is believed, and if not why.
    pub fn believed(&self, document: &str) -> Result<assay_gpu::rim::Rim, Unproven> {
        self.examine(document)?.rim(None)
    }
}

/// A document to be: every part of it open to change.
#[derive(Clone)]
pub struct Draft {
    /// Namespaces and attributes of the document element, in canonical order.
    pub head: String,
    pub meta: String,
    pub rows: Vec<String>,
    /// Anything more in the document element.
    pub more: String,
    pub canonicalization: String,
    pub method: String,
    pub reference: String,
    pub transforms: String,
    pub digest_method: String,
    /// Anything more in `DigestValue`.
    pub more_digest: String,
    /// Anything more in `SignedInfo`, such as a second reference.
    pub more_info: String,
    /// Anything more in `Signature`.
    pub more_signature: String,
    /// Anything more in `KeyInfo`.
    pub more_keys: String,
}

pub fn row(index: &str, active: bool, values: &[[u8; 48]]) -> String {
    let hashes: String =
        values.iter().enumerate().map(|(n, v)| format!(" ns2:Hash{n}=\"{}\"", hex::encode(v))).collect();
    let active = if active { "True" } else { "False" };
    format!(
        "<Resource active=\"{active}\" alternatives=\"{}\" index=\"{index}\" name=\"m{index}\" size=\"48\" \
         type=\"Measurement\"{hashes}></Resource>",
        values.len()
    )
}

pub fn algorithm(element: &str, name: &str) -> String {
    format!("<ds:{element} Algorithm=\"{name}\"></ds:{element}>")
}

pub fn head() -> String {
    format!(
        "xmlns=\"{SWID}\" xmlns:ns2=\"{SHA384}\" corpus=\"false\" name=\"GH100\" patch=\"false\" \
         supplemental=\"false\" tagId=\"t\" tagVersion=\"0\" version=\"1.0\""
    )
}

impl Draft {
    pub fn new() -> Self {
        Self {
            head: head(),
            meta: meta("550.1.2", "GPU", "GH100"),
            rows: vec![row("7", true, &[[7; 48]]), row("8", false, &[[0; 48]])],
            more: String::new(),
            canonicalization: algorithm("CanonicalizationMethod", C14N),
            method: algorithm("SignatureMethod", ECDSA),
            reference: "URI=\"\"".into(),
            transforms: algorithm("Transform", ENVELOPED) + &algorithm("Transform", C14N),
            digest_method: algorithm("DigestMethod", DIGEST),
            more_digest: String::new(),
            more_info: String::new(),
            more_signature: String::new(),
            more_keys: String::new(),
        }
    }

    /// The document without its signature.
    pub fn body(&self) -> String {
        let Self { head, meta, rows, more, .. } = self;
        format!(
            "<SoftwareIdentity {head}>{meta}<Payload>{}</Payload>{more}</SoftwareIdentity>",
            rows.concat()
        )
    }

    /// The signature of some canonical bytes, as text.
    pub fn signature(&self, signed: &str, key: &KeyPair, certificates: &[Vec<u8>]) -> String {
        let info = self.info(signed);
        // In scope at the signature, in canonical order.
        let scope = format!("xmlns=\"{SWID}\" xmlns:ds=\"{DSIG}\" xmlns:ns2=\"{SHA384}\"");
        let canonical = info.replacen("<ds:SignedInfo>", &format!("<ds:SignedInfo {scope}>"), 1);
        let value = Base64::encode_string(&raw(&key.sign(canonical.as_bytes()).unwrap()));
        let certificates: String = certificates
            .iter()
            .map(|der| format!("<ds:X509Certificate>{}</ds:X509Certificate>", Base64::encode_string(der)))
            .collect();
        format!(
            "<ds:Signature xmlns:ds=\"{DSIG}\">{info}<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo>\
             <ds:X509Data>{certificates}</ds:X509Data>{}</ds:KeyInfo>{}</ds:Signature>",
            self.more_keys, self.more_signature
        )
    }

    fn info(&self, signed: &str) -> String {
        let Self { canonicalization, method, reference, transforms, digest_method, more_info, .. } = self;
        let digest = format!("{}{}", self.more_digest, Base64::encode_string(&Sha384::digest(signed)));
        format!(
            "<ds:SignedInfo>{canonicalization}{method}<ds:Reference {reference}><ds:Transforms>{transforms}\
             </ds:Transforms>{digest_method}<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>{more_info}\
             </ds:SignedInfo>"
        )
    }

    /// The whole document, signed by the world's leaf.
    pub fn sign(&self, world: &World) -> String {
        self.sign_with(&world.leaf.key, &world.chain())
    }

    pub fn sign_with(&self, key: &KeyPair, certificates: &[Vec<u8>]) -> String {
        let body = self.body();
        let signature = self.signature(&body, key, certificates);
        within(&body, &signature)
    }
}

/// A document with something more at its end.
pub fn within(body: &str, more: &str) -> String {
    let end = "</SoftwareIdentity>";
    format!("{}{more}{end}", body.strip_suffix(end).unwrap())
}

pub fn meta(version: &str, edition: &str, product: &str) -> String {
    format!(
        "<Meta xmlns:r=\"{RIM}\" colloquialVersion=\"{version}\" edition=\"{edition}\" product=\"{product}\" \
         r:BindingSpec=\"RIMIM\"></Meta>"
    )
}

/// `r || s` of a DER signature (RFC 3279 2.2.3) of P-384.
pub fn raw(der: &[u8]) -> Vec<u8> {
    let mut at = 2;
    let mut out = Vec::new();
    for _ in 0..2 {
        let len = usize::from(der[at + 1]);
        let number = &der[at + 2..at + 2 + len];
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        out.extend(std::iter::repeat_n(0, 48 - number.len()));
        out.extend(number);
        at += 2 + len;
    }
    out
}
