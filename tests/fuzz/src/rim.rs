//! RIM documents and their reduced form.

use std::sync::OnceLock;

use assay_gpu::device::Roots;
use assay_gpu::rim::Rim;
use assay_validator::rim::{Content, examine};
use assay_wire::cbor;
use base64ct::{Base64, Encoding as _};
use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey};
use sha2::{Digest as _, Sha384};

use crate::device::made::{Draft, basic, common, key, usage};
use crate::seeds::rim_files;

/// Namespaces of the document and of its signature, in canonical order.
const SCOPE: [&str; 3] = [
    "xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\"",
    "xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"",
    "xmlns:h=\"http://www.w3.org/2001/04/xmlenc#sha384\"",
];

/// The document in its canonical form, without its end and without its default and value namespaces.
const BODY: &str = " tagId=\"t\"><Meta xmlns:r=\"https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/\" \
colloquialVersion=\"1.2\" edition=\"GPU\" product=\"GH100\" r:BindingSpec=\"RIMIM\"></Meta><Payload><Resource active=\"True\" \
alternatives=\"1\" index=\"7\" name=\"m\" size=\"48\" type=\"Measurement\" h:Hash0=\"VALUE\"></Resource></Payload>";

const END: &str = "</SoftwareIdentity>";

const SIGNED_INFO: &str = "><ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"></ds:CanonicalizationMethod>\
<ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384\"></ds:SignatureMethod><ds:Reference URI=\"\">\
<ds:Transforms><ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform></ds:Transforms>\
<ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#sha384\"></ds:DigestMethod><ds:DigestValue>DIGEST</ds:DigestValue>\
</ds:Reference></ds:SignedInfo>";

/// Documents that are believed under a root, and what they say.
struct World {
    root: Vec<u8>,
    believed: Vec<(Vec<u8>, Content)>,
}

impl World {
    fn of(root: Vec<u8>, documents: Vec<Vec<u8>>) -> Self {
        let believed = documents.into_iter().filter_map(|document| {
            let examined = examine(&document, &root).ok()?;
            examined.clone().rim(None).ok()?;
            Some((document, examined.claim))
        });
        Self { believed: believed.collect(), root }
    }
}

/// A made-up signer's world, and the real one as far as its documents are at hand.
fn worlds() -> &'static [World; 2] {
    static WORLDS: OnceLock<[World; 2]> = OnceLock::new();
    WORLDS.get_or_init(|| {
        let (root, document) = made();
        let real = rim_files().into_iter().map(|(_, bytes)| bytes).collect();
        let worlds = [World::of(root, vec![document]), World::of(Roots::nvidia().rim().to_vec(), real)];
        assert_eq!(worlds[0].believed.len(), 1);
        worlds
    })
}

/// A root, and a document by a signer below it.
fn made() -> (Vec<u8>, Vec<u8>) {
    let (top, signer) = (key(91), key(92));
    let root = Draft { subject: common("root"), issuer: common("root"), ..Draft::new(&top) };
    let root = Draft { extensions: vec![basic(true, None), usage(5)], ..root }.sign(&top);
    let leaf = Draft { subject: common("signer"), issuer: common("root"), ..Draft::new(&signer) };
    let leaf = Draft { extensions: vec![basic(false, None), usage(0)], ..leaf }.sign(&top);
    let [plain, ds, hashes] = SCOPE;
    let start = format!("<SoftwareIdentity {plain} {hashes}{}", BODY.replace("VALUE", &"5a".repeat(48)));
    let digest = Base64::encode_string(&Sha384::digest(format!("{start}{END}")));
    let info = SIGNED_INFO.replace("DIGEST", &digest);
    let signature = sign(&signer, &format!("<ds:SignedInfo {plain} {ds} {hashes}{info}"));
    let certificates = [&leaf, &root]
        .map(|der| format!("<ds:X509Certificate>{}</ds:X509Certificate>", Base64::encode_string(der)));
    let document = format!(
        "{start}<ds:Signature {ds}><ds:SignedInfo{info}<ds:SignatureValue>{signature}</ds:SignatureValue><ds:KeyInfo>\
         <ds:X509Data>{}</ds:X509Data></ds:KeyInfo></ds:Signature>{END}",
        certificates.concat()
    );
    (root, document.into_bytes())
}

fn sign(key: &SigningKey, text: &str) -> String {
    let signature: Signature = key.sign(text.as_bytes());
    Base64::encode_string(&signature.to_bytes())
}

/// Documents, and the reduced forms of those that are believed.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let reduced = |world: &World, document: &[u8]| {
        let rim = examine(document, &world.root).unwrap().rim(None).unwrap();
        cbor::to_vec(&rim)
    };
    let one = |world: &'static World| {
        world.believed.iter().flat_map(move |(document, _)| [document.clone(), reduced(world, document)])
    };
    let unbelieved = rim_files().into_iter().map(|(_, bytes)| bytes);
    worlds().iter().flat_map(one).chain(unbelieved).collect()
}

/// A document or a reduced form: found alike every time; what is believed says what a document says that somebody
/// signed; a reduced form has one encoding, and names that are no paths.
pub fn rim(data: &[u8]) {
    for world in worlds() {
        let first = examine(data, &world.root);
        assert_eq!(first, examine(data, &world.root));
        let Ok(examined) = first else { continue };
        let claim = examined.claim.clone();
        let Ok(rim) = examined.rim(None) else { continue };
        let signed = world.believed.iter().any(|(_, content)| *content == claim);
        assert!(signed || world.believed.is_empty(), "a document that nobody signed");
        assert_eq!((&rim.rows, &rim.version, rim.check()), (&claim.rows, &claim.version, Ok(())));
    }
    let Ok(rim) = Rim::decode(data) else { return };
    assert_eq!(cbor::to_vec(&rim), data, "one encoding");
    assert!(!rim.id().contains(['/', '\0']) && rim.rows.windows(2).all(|pair| pair[0].index < pair[1].index));
}
