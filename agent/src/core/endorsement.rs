//! The endorsement certificate of a TPM that does not carry it: from a file, or from its maker.
//!
//! Without one a node stays at I0, or at I1 where a validator pins its key; it works all the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_attester::Identity;
use assay_tpm::{KeyKind, Public};
use base64ct::{Base64Url, Encoding as _};
use sha2::{Digest as _, Sha256};

use super::answer::Answer;
use super::node::Node;
use super::status::Severity;
use crate::certificate;

/// Code of the health item.
const CODE: &str = "identity.certificate";
/// A maker that gave nothing is asked again after this.
const AGAIN: Duration = Duration::from_secs(600);
/// The owner's file, as `enrol --ek-cert` leaves it in the state directory.
const GIVEN: &str = "ek-certificate";

/// The TPM's identity with the certificate that a file or its maker has of it.
pub(super) async fn complete(node: &Node, identity: Arc<Identity>) -> Arc<Identity> {
    if node.certificate.get().is_none() && !identity.ek_certificates.is_empty() {
        node.certificate.set(Some("tpm"));
    }
    let (found, source) = match from_file(node) {
        Some(found) => (found, "file"),
        None => match wanted(node, &identity) {
            Some(url) => (from_maker(node, &url).await.map(|one| vec![one]), "maker"),
            None => return identity,
        },
    };
    match found {
        Ok(certificates) => {
            node.clear(CODE);
            node.certificate.set(Some(source));
            let identity = Arc::new(with(&identity, certificates));
            *node.identity.borrow_mut() = Some(Arc::clone(&identity));
            identity
        }
        Err(why) => {
            let text = format!("{why}; give it with: assay-agent enrol --ek-cert FILE");
            node.raise(CODE, Severity::Warning, text);
            identity
        }
    }
}

type Found = Result<Vec<Vec<u8>>, String>;

fn given(node: &Node) -> PathBuf {
    node.config.node.state_dir.join(GIVEN)
}

/// The configured file, else the one that was given on the command line.
fn from_file(node: &Node) -> Option<Found> {
    let path =
        node.config.tpm.ek_certificate.clone().or_else(|| Some(given(node)).filter(|path| path.exists()))?;
    let read = certificate::read(&path);
    Some(read.map_err(|error| format!("the endorsement certificate {}: {error}", path.display())))
}

/// The identity with these in front: the key's own certificate first, then its issuers.
fn with(identity: &Identity, certificates: Vec<Vec<u8>>) -> Identity {
    let mut certified = identity.clone();
    let mut all = certificates.into_iter();
    if let Some(own) = all.next().filter(|own| !certified.ek_certificates.contains(own)) {
        certified.ek_certificates.insert(0, own);
    }
    let mut chain: Vec<_> = all.collect();
    let more = certified.ek_chain.into_iter().filter(|one| !chain.contains(one)).collect::<Vec<_>>();
    chain.extend(more);
    certified.ek_chain = chain;
    certified
}

/// The URL to ask, when the TPM carries nothing, a maker is known to have it, and the owner allows it.
fn wanted(node: &Node, identity: &Identity) -> Option<String> {
    let asked = node.asked_maker.get().is_some_and(|at| at.elapsed() < AGAIN);
    if asked || !identity.ek_certificates.is_empty() || !node.config.tpm.ek_certificate_url {
        return None;
    }
    url(identity, node.config.tpm.ek_certificate_service.as_deref())
}

async fn from_maker(node: &Node, url: &str) -> Result<Vec<u8>, String> {
    node.asked_maker.set(Some(Instant::now()));
    log::info!("asking the TPM's maker for the endorsement certificate: {url}");
    let answer = node.port.fetch(url).await;
    let failed = |why: &str| format!("no endorsement certificate from {url}: {why}");
    match answer.status {
        200 => certificate::from_answer(&answer.body).ok_or_else(|| failed("the answer holds none")),
        0 => Err(failed(&String::from_utf8_lossy(&answer.body))),
        404 => Err(failed("the maker does not know this TPM (404)")),
        status => Err(failed(&format!("status {status}"))),
    }
}

/// Where the maker of a firmware TPM serves the certificate of this endorsement key.
///
/// Intel: base64url of SHA-256 over modulus and exponent (three bytes), or over x and y. AMD: the first
/// 16 bytes in hex of SHA-256 over a word for the type, exponent (four bytes) and modulus, or x and y.
fn url(identity: &Identity, service: Option<&str>) -> Option<String> {
    let public = Public::parse(&identity.ek_public).ok()?;
    let (base, name) = match identity.properties.manufacturer.as_str() {
        "INTC" => {
            let name = Base64Url::encode_string(&hashed(&intel(public.kind())));
            ("https://ekop.intel.com/ekcertservice/", name.replace('=', "%3D"))
        }
        "AMD" => {
            let hash = hashed(&amd(public.kind()));
            ("https://ftpm.amd.com/pki/aia/", hex::encode(hash.get(..16)?))
        }
        _ => return None,
    };
    Some(format!("{}{name}", service.unwrap_or(base)))
}

fn hashed(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

fn intel(kind: &KeyKind) -> Vec<u8> {
    match kind {
        KeyKind::Rsa { modulus, exponent, .. } => {
            let [_, exponent @ ..] = exponent.to_be_bytes();
            [&modulus[..], &exponent].concat()
        }
        KeyKind::Ecc { x, y, .. } => [&x[..], y].concat(),
    }
}

fn amd(kind: &KeyKind) -> Vec<u8> {
    match kind {
        KeyKind::Rsa { modulus, exponent, .. } => {
            [&[0, 0, 0x22, 0x22][..], &exponent.to_be_bytes(), modulus].concat()
        }
        KeyKind::Ecc { x, y, .. } => [&[0, 0, 0x44, 0x44][..], x, y].concat(),
    }
}

/// Keeps the certificate that the owner gave, and enrols anew with it.
pub(super) fn give(node: &Node, file: &str) -> Answer {
    let refused = |text: &str| Answer::refused(CODE, text);
    let Ok(bytes) = hex::decode(file) else { return refused("not hexadecimal") };
    if bytes.len() > certificate::MAX_BYTES {
        return refused("the file is longer than any certificate");
    }
    if let Err(fault) = certificate::parse(&bytes) {
        return refused(&format!("the file cannot be used: {fault}"));
    }
    if node.config.tpm.ek_certificate.is_some() {
        return refused("the configuration names a file already: tpm.ek_certificate");
    }
    let (path, part) = (given(node), node.config.node.state_dir.join(format!("{GIVEN}.part")));
    let kept = std::fs::write(&part, &bytes).and_then(|()| std::fs::rename(&part, &path));
    if let Err(error) = kept {
        return refused(&format!("cannot keep it in {}: {error}", path.display()));
    }
    for validator in &node.validators {
        let forgotten = node.ledger.borrow_mut().forget_enrolment(&validator.id);
        if let Err(error) = node.watch_ledger(forgotten) {
            return Answer::refused("ledger.failed", error.to_string());
        }
    }
    // The TPM is asked again, so that no certificate stays that was given before.
    *node.identity.borrow_mut() = None;
    node.certificate.set(None);
    node.renew("the owner gave an endorsement certificate");
    Answer::Taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_attester::Properties;
    use assay_tpm::{Attributes, Curve, HashAlg, PublicParts, Scheme, Symmetric};

    fn identity(manufacturer: &str, kind: KeyKind) -> Identity {
        let parts = PublicParts {
            name_alg: HashAlg::Sha256,
            attributes: Attributes::from_bits(0x0003_00b2).unwrap(),
            auth_policy: vec![7; 32],
            symmetric: Symmetric::Aes128Cfb,
            scheme: Scheme::Null,
            kind,
        };
        let properties = Properties {
            manufacturer: manufacturer.into(),
            vendor_string: String::new(),
            firmware_version: 1,
            spec_revision: 138,
            spec_year: 2019,
        };
        Identity {
            ek_public: Public::from_parts(&parts).unwrap().to_bytes(),
            ek_certificates: vec![],
            ek_chain: vec![],
            platform_certificates: vec![],
            device_certificates: vec![],
            skipped: vec![],
            ak_public: vec![],
            properties,
        }
    }

    fn rsa() -> KeyKind {
        KeyKind::Rsa { bits: 2048, exponent: 65_537, modulus: vec![0xab; 256] }
    }

    fn ecc() -> KeyKind {
        KeyKind::Ecc { curve: Curve::P256, x: vec![1; 32], y: vec![2; 32] }
    }

    /// The hashes by another implementation:
    /// `python3 -c "import hashlib,base64; h = hashlib.sha256(bytes([0xab])*256 + bytes([1,0,1])).digest(); ..."`.
    #[test]
    fn makers_name_certificates_by_a_hash_of_the_key() {
        let url = |maker, kind| url(&identity(maker, kind), None).unwrap();
        assert_eq!(
            url("INTC", rsa()),
            "https://ekop.intel.com/ekcertservice/0derUO1WPNzOxkggBKz77pbCl3aVS2QNwtnYV2cWN2U%3D"
        );
        assert_eq!(
            url("INTC", ecc()),
            "https://ekop.intel.com/ekcertservice/-Biv03ptw7yS-0RzEBEncAbbTvpukCPNdGjAIzXSKk0%3D"
        );
        assert_eq!(url("AMD", rsa()), "https://ftpm.amd.com/pki/aia/68bad76300f2615761c31914fffadab0");
        assert_eq!(url("AMD", ecc()), "https://ftpm.amd.com/pki/aia/b3bc1196a1cb8cb07e1db6532c153b87");
    }

    #[test]
    fn another_maker_is_not_asked_and_another_service_is() {
        assert_eq!(url(&identity("IFX", rsa()), Some("https://a/b/")), None);
        let mirrored = url(&identity("AMD", ecc()), Some("https://a/b/")).unwrap();
        assert_eq!(mirrored, "https://a/b/b3bc1196a1cb8cb07e1db6532c153b87");
    }

    #[test]
    fn a_certificate_comes_first_and_once() {
        let mut bare = identity("AMD", ecc());
        bare.ek_certificates = vec![vec![1]];
        let once = with(&bare, vec![vec![9], vec![8], vec![7]]);
        assert_eq!(
            (&once.ek_certificates, &once.ek_chain),
            (&vec![vec![9], vec![1]], &vec![vec![8], vec![7]])
        );
        assert_eq!(with(&once, vec![vec![9], vec![8], vec![7]]), once);
        // The owner's stand before the TPM's: there may not be room for all.
        assert_eq!(with(&once, vec![vec![9], vec![6]]).ek_chain, [vec![6], vec![8], vec![7]]);
    }
}
