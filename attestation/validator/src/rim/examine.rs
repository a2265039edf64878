//! A document's three facts, and the RIM that it is when they are good.

use assay_gpu::device::ChainFault as PathFault;
use assay_gpu::rim::{Board, Rim, SignerChain, SignerProof};
use assay_wire::Digest;
use assay_x509::{Certificate, Seconds, X509Error};
use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::document::{DocumentError, admit};
use super::signature::{Parts, SignatureFault};

/// Why a document's certificates do not lead to the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// One can't be read.
    #[error("certificate {index}: {error}")]
    Certificate {
        /// Its position, the signer's being 0.
        index: usize,
        /// Why.
        error: X509Error,
    },
    /// They are no chain to the root.
    #[error(transparent)]
    Path(#[from] PathFault),
}

/// Why a document's content is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// It is not what a RIM looks like.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Its signature does not hold.
    #[error("signature: {0}")]
    Signature(#[from] SignatureFault),
    /// Its certificates do not lead to the root.
    #[error("chain: {0}")]
    Chain(#[from] ChainFault),
}

/// A document in the shape of a RIM, and what was found out about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Examined {
    /// SHA-256 of the document's bytes.
    pub source: Digest,
    /// SHA-256 of the signer's certificate, where it can be read.
    pub signer: Option<Digest>,
    /// Whether the key of the first certificate signed the document.
    pub signature: Result<(), SignatureFault>,
    /// Whether the certificates lead to the root, dates apart.
    pub chain: Result<(), ChainFault>,
    /// The certificates, the signer's first; none where one can't be read.
    pub certificates: Vec<Certificate>,
    /// First and last second at which all certificates are in force.
    pub validity: Option<(Seconds, Seconds)>,
    /// What the signed part says: nothing but a claim until [`Examined::rim`].
    pub claim: Content,
}

/// Examines a document against a root, given as DER.
///
/// # Errors
/// [`DocumentError`] for bytes that have not the one shape of a RIM; then there is nothing to say about a signature.
pub fn examine(bytes: &[u8], root: &[u8]) -> Result<Examined, DocumentError> {
    let parts = Parts::of(admit(bytes)?)?;
    let claim = Content::read(&parts.signed)?;
    let chain = SignerChain::from_der(parts.certificates.iter().map(Vec::as_slice));
    let leaf = chain.as_ref().ok().and_then(SignerChain::leaf);
    let signature = parts.verify(leaf.map(|leaf| &leaf.key));
    let (signer, validity) = match &chain {
        Ok(chain) => (chain.signer(), Some(chain.validity())),
        Err(_) => (None, None),
    };
    let certificates = chain.as_ref().map(|chain| chain.certificates().to_vec()).unwrap_or_default();
    let chain = match chain {
        Ok(chain) => chain.judge(root).map_err(ChainFault::Path),
        Err((index, error)) => Err(ChainFault::Certificate { index, error }),
    };
    let source = Digest(Sha256::digest(bytes).into());
    Ok(Examined { source, signer, signature, chain, certificates, validity, claim })
}

impl Examined {
    /// Whether all certificates are in force at `at`.
    #[must_use]
    pub fn in_force(&self, at: Seconds) -> bool {
        self.validity.is_some_and(|(first, last)| first <= at && at <= last)
    }

    /// The RIM, if signature and chain hold. Its dates come with it, for whoever uses it to judge.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn rim(self, board: Option<Board>) -> Result<Rim, Unproven> {
        self.chain?;
        self.signature?;
        let (Some(signer), Some((not_before, not_after))) = (self.signer, self.validity) else {
            return Err(SignatureFault::Key.into());
        };
        let Content { kind, product, version, tag, rows } = self.claim;
        let certificates = self.certificates.iter().map(|one| one.der().to_vec().into()).collect();
        let (proof, source) = (SignerProof { certificates, ocsp: Vec::new() }, self.source);
        Ok(Rim { kind, product, version, tag, board, rows, source, signer, not_before, not_after, proof })
    }
}
