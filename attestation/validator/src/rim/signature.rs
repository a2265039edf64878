//! The XML signature of a RIM (XML-DSig 4), in its one shape.

use assay_tpm::{Curve, SignatureHash, TpmError, verify_ecdsa};
use assay_x509::{EcCurve, PublicKey};
use base64ct::{Base64, Encoding as _};
use roxmltree::Node;
use sha2::{Digest as _, Sha384};

use super::c14n::canonical;
use super::document::{DocumentError, attribute, elements, parse, shape, text};

const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const C14N: [&str; 2] =
    ["http://www.w3.org/2006/12/xml-c14n11", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"];
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";

/// The most certificates that are read.
const MAX_CERTIFICATES: usize = 8;

/// Why a document's signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// The document is not the one that was signed.
    #[error("the document does not have the digest that was signed")]
    Digest,
    /// The value is not base64 of two numbers of P-384.
    #[error("the signature value is not base64 of 96 bytes")]
    Value,
    /// There is no certificate, or its key is no P-384 key.
    #[error("the first certificate is not of a key on P-384")]
    Key,
    /// The key did not sign.
    #[error("under the first certificate's key: {0}")]
    Invalid(TpmError),
}

/// A document in the parts that its signature is made of.
#[derive(Debug)]
pub(super) struct Parts {
    /// Canonical form of the document without its signature: what the reference covers.
    pub(super) signed: String,
    /// Canonical form of `SignedInfo`: what the signature value covers.
    info: String,
    /// What `SignedInfo` says the digest of `signed` is; `None` where it is no digest.
    digest: Option<[u8; 48]>,
    /// `r || s` (RFC 4051 3.4.1); `None` where it is not.
    value: Option<[u8; 96]>,
    /// DER of the certificates, in their order.
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Parts {
    /// Takes an admitted document apart.
    ///
    /// # Errors
    /// [`DocumentError`] for anything but the one shape.
    pub(super) fn of(admitted: &str) -> Result<Self, DocumentError> {
        let document = parse(admitted)?;
        let root = document.root_element();
        let signature = only_signature(root)?;
        let [info, value, keys] =
            children(signature, "Signature", ["SignedInfo", "SignatureValue", "KeyInfo"])?;
        let signed = canonical(root, Some(signature.id()));
        let info = canonical(info, None);
        Ok(Self {
            digest: reference(&info)?,
            info,
            signed,
            value: sized("SignatureValue", value)?,
            certificates: certificates(keys)?,
        })
    }

    /// Whether `key` signed the document.
    ///
    /// # Errors
    /// [`SignatureFault`].
    pub(super) fn verify(&self, key: Option<&PublicKey>) -> Result<(), SignatureFault> {
        let Some(PublicKey::Ec { curve: EcCurve::P384, point }) = key else {
            return Err(SignatureFault::Key);
        };
        let (r, s) = self.value.as_ref().ok_or(SignatureFault::Value)?.split_at(48);
        verify_ecdsa(Curve::P384, point, SignatureHash::Sha384, self.info.as_bytes(), r, s)
            .map_err(SignatureFault::Invalid)?;
        match self.digest {
            Some(digest) if Sha384::digest(self.signed.as_bytes())[..] == digest => Ok(()),
            _ => Err(SignatureFault::Digest),
        }
    }
}

fn is_dsig(node: &Node<'_, '_>) -> bool {
    node.is_element() && node.tag_name().namespace() == Some(DSIG)
}

/// The document's one signature: the last element of the document element, and nothing of XML-DSig outside of it.
fn only_signature<'a, 'i>(root: Node<'a, 'i>) -> Result<Node<'a, 'i>, DocumentError> {
    const WHAT: &str = "Signature";
    let last = root.last_element_child().filter(|node| is_dsig(node) && node.tag_name().name() == WHAT);
    let signature = last.ok_or_else(|| shape(WHAT, root, "not the last element of the document element"))?;
    let inside = signature.descendants().filter(is_dsig).count();
    match root.descendants().filter(is_dsig).count() == inside {
        true => Ok(signature),
        false => Err(shape(WHAT, root, "more of XML-DSig than one signature")),
    }
}

/// The children of an element of XML-DSig: these, in this order, and nothing else.
fn children<'a, 'i, const N: usize>(
    parent: Node<'a, 'i>,
    what: &'static str,
    names: [&'static str; N],
) -> Result<[Node<'a, 'i>; N], DocumentError> {
    let found = elements(what, parent)?;
    let as_named =
        found.iter().map(|node| (is_dsig(node), node.tag_name().name())).eq(names.map(|name| (true, name)));
    match (as_named, found.try_into()) {
        (true, Ok(children)) => Ok(children),
        _ => Err(shape(what, parent, "not the elements that belong there")),
    }
}

/// The digest in `SignedInfo`, read from the bytes that are signed.
fn reference(info: &str) -> Result<Option<[u8; 48]>, DocumentError> {
    let document = parse(info)?;
    let [method, signature, reference] = children(
        document.root_element(),
        "SignedInfo",
        ["CanonicalizationMethod", "SignatureMethod", "Reference"],
    )?;
    algorithm("CanonicalizationMethod", method, &C14N)?;
    algorithm("SignatureMethod", signature, &[ECDSA_SHA384])?;
    if !attribute(reference, "URI")?.is_empty() || reference.attributes().len() != 1 {
        return Err(shape("Reference", reference, "not to the whole document"));
    }
    let [transforms, digest, value] =
        children(reference, "Reference", ["Transforms", "DigestMethod", "DigestValue"])?;
    match elements("Transforms", transforms)?.len() {
        // Without a second transform inclusive canonical XML is the default (4.4.3.2).
        1 => algorithm("Transform", children(transforms, "Transforms", ["Transform"])?[0], &[ENVELOPED])?,
        _ => {
            let [first, second] = children(transforms, "Transforms", ["Transform", "Transform"])?;
            algorithm("Transform", first, &[ENVELOPED])?;
            algorithm("Transform", second, &C14N)?;
        }
    }
    algorithm("DigestMethod", digest, &[SHA384])?;
    sized("DigestValue", value)
}

/// An empty element whose only attribute names one of these algorithms.
fn algorithm(what: &'static str, node: Node<'_, '_>, allowed: &[&str]) -> Result<(), DocumentError> {
    let named = attribute(node, "Algorithm")?;
    let plain = node.attributes().len() == 1 && !node.has_children();
    match allowed.contains(&named) && plain {
        true => Ok(()),
        false => Err(shape(what, node, "not the algorithm of a RIM")),
    }
}

/// DER of the certificates of `KeyInfo`, which holds nothing else.
fn certificates(keys: Node<'_, '_>) -> Result<Vec<Vec<u8>>, DocumentError> {
    let [data] = children(keys, "KeyInfo", ["X509Data"])?;
    let list = elements("X509Data", data)?;
    let read = |node: &Node<'_, '_>| match is_dsig(node) && node.tag_name().name() == "X509Certificate" {
        true => {
            let der = base64(text("X509Certificate", *node)?);
            der.ok_or_else(|| shape("X509Certificate", *node, "not base64"))
        }
        false => Err(shape("X509Data", *node, "something other than a certificate")),
    };
    match list.get(MAX_CERTIFICATES) {
        Some(node) => Err(DocumentError::TooMany {
            what: "certificates",
            limit: MAX_CERTIFICATES,
            offset: node.range().start,
        }),
        None => list.iter().map(read).collect(),
    }
}

/// Base64 of exactly `N` bytes; `None` of any other text.
fn sized<const N: usize>(what: &'static str, node: Node<'_, '_>) -> Result<Option<[u8; N]>, DocumentError> {
    Ok(base64(text(what, node)?).and_then(|bytes| bytes.try_into().ok()))
}

/// Base64 with white space (XML Schema part 2, 3.2.16).
fn base64(text: &str) -> Option<Vec<u8>> {
    let dense: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Base64::decode_vec(&dense).ok()
}
