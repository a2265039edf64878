//! `ocsp`: whether certificates of devices, and of those who sign reference values, were taken back.
//!
//! Purpose: writes requests that an operator sends with any HTTP client, judges what comes back, and keeps
//! good answers until they end ([`Cache`]), so that whoever verifies needs no network. What an answer is
//! worth is decided by `assay-x509` and `assay-gpu`; here are files.
//!
//! Trust boundary: answers are hostile wherever they come from, the cache's folder included: each is judged
//! again whenever it is used. Nothing here opens a connection.

mod cache;
mod command;
mod request;
mod subject;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use assay_gpu::device::{
    Asking, ChainKind, DeviceChain, DeviceEvidence, HoldPolicy, MAX_JUDGED, Revocation, Roots, about,
    crowded, judge_revocation,
};
use assay_gpu::rim::{MAX_ANSWERS, Rim, SignerChain};
use assay_x509::{Certificate, OcspResponse, Seconds};
use minicbor::bytes::ByteVec;

pub use cache::{Cache, Kept};
pub(crate) use command::{Command, run};
pub use request::{Request, nonces, requests};
pub use subject::{Subject, SubjectError};

use crate::error::{Error, read_up_to};

/// The most answers of strangers that are looked at for keeping, each once for every certificate of its chain.
const MAX_BROUGHT: usize = 64;

/// Reads answers, DER, as `--ocsp FILE...` names them.
///
/// # Errors
/// [`Error::ReadFile`], [`Error::FileTooLarge`].
pub fn load(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, Error> {
    files.iter().map(|file| read_up_to(file, OcspResponse::MAX)).collect()
}

/// Judges answers about a chain, which has been judged itself. What is good is kept in the cache; what is kept
/// there comes first, unless nonces were asked with: then only answers to these requests count.
///
/// # Errors
/// [`Error::TooManyAnswers`] about one certificate, and those of the cache.
pub fn judge(
    kind: ChainKind,
    chain: &[Certificate],
    answers: &[Vec<u8>],
    asking: &Asking<'_>,
    cache: Option<&Cache>,
) -> Result<Revocation, Error> {
    let mut all = Vec::new();
    if let Some(cache) = cache {
        cache.keep(kind, chain, answers, asking)?;
        if asking.nonces.is_empty() {
            all = cache.answers(kind, chain, asking.terms.at)?;
        }
    }
    all.extend(answers.iter().cloned());
    bounded(kind, chain, &all)?;
    Ok(judge_revocation(kind, chain, &all, asking))
}

/// Refuses more answers of the verifier's own about one certificate than would be judged.
fn bounded(kind: ChainKind, chain: &[Certificate], answers: &[Vec<u8>]) -> Result<(), Error> {
    match crowded(kind, chain, answers) {
        Some(position) => Err(Error::TooManyAnswers { position, limit: MAX_JUDGED }),
        None => Ok(()),
    }
}

/// Refuses more of the verifier's own answers about one certificate of a device than would be judged: a revocation might be
/// among those that are left out.
///
/// # Errors
/// [`Error::TooManyAnswers`].
pub(crate) fn refuse_crowd(evidence: &DeviceEvidence, answers: &[Vec<u8>]) -> Result<(), Error> {
    match DeviceChain::from_der(&evidence.chain) {
        Ok(chain) => bounded(ChainKind::Device, chain.certificates(), answers),
        Err(_) => Ok(()),
    }
}

/// Adds answers to a device's evidence: those that are kept and those at hand come before those that the evidence
/// brought along. If the device's chain holds, what is good among all of them is kept.
///
/// # Errors
/// [`Error::TooManyAnswers`] at hand and kept about one certificate, and those of the cache.
pub fn attach(
    evidence: &mut DeviceEvidence,
    at_hand: &[Vec<u8>],
    cache: Option<&Cache>,
    (roots, at): (&Roots, Seconds),
) -> Result<(), Error> {
    let (kind, proven) = (ChainKind::Device, proven(evidence, (roots, at)));
    let chain = proven.as_ref().map(DeviceChain::certificates).unwrap_or_default();
    let mut own = Vec::new();
    if let Some(cache) = cache {
        let asking = Asking::stapled(at, HoldPolicy::default());
        cache.keep(kind, chain, at_hand, &asking)?;
        cache.keep(kind, chain, &distinct(&evidence.ocsp, &mut BTreeSet::new()), &asking)?;
        own = cache.answers(kind, chain, at)?;
    }
    own.extend(at_hand.iter().cloned());
    bounded(kind, chain, &own)?;
    evidence.ocsp.splice(..0, own);
    Ok(())
}

/// Adds to each of some RIMs the answers about its signer's certificates: those that are kept and those at hand come
/// before those that the RIM carries, which give way where there is no room. What is good among those at hand is kept.
///
/// # Errors
/// [`Error::TooManyAnswers`] at hand and kept about one certificate, and those of the cache.
pub fn attach_to_rims(
    rims: &mut [Rim],
    at_hand: &[Vec<u8>],
    cache: Option<(&Cache, Seconds)>,
) -> Result<(), Error> {
    let mut signers: BTreeMap<Vec<ByteVec>, Vec<ByteVec>> = BTreeMap::new();
    for rim in rims {
        let proof = &mut rim.proof;
        if !signers.contains_key(&proof.certificates) {
            let answers = about_signer(&proof.certificates, at_hand, cache)?;
            signers.insert(proof.certificates.clone(), answers);
        }
        let own = signers.get(&proof.certificates).into_iter().flatten().cloned();
        let carried = std::mem::take(&mut proof.ocsp);
        proof.ocsp = own.chain(carried).take(MAX_ANSWERS).collect();
    }
    Ok(())
}

/// The answers kept and at hand about a signer's certificates, each once: fewer than a RIM may carry, since each of its
/// few certificates may have a few.
fn about_signer(
    certificates: &[ByteVec],
    at_hand: &[Vec<u8>],
    cache: Option<(&Cache, Seconds)>,
) -> Result<Vec<ByteVec>, Error> {
    let Ok(chain) = SignerChain::from_der(certificates.iter().map(|der| der.as_slice())) else {
        return Ok(Vec::new());
    };
    let (kind, chain) = (ChainKind::Rim, chain.certificates());
    let mut own = Vec::new();
    if let Some((cache, at)) = cache {
        cache.keep(kind, chain, at_hand, &Asking::stapled(at, HoldPolicy::default()))?;
        own = cache.answers(kind, chain, at)?;
    }
    for answer in about(kind, chain, at_hand) {
        if !own.contains(answer) {
            own.push(answer.clone());
        }
    }
    bounded(kind, chain, &own)?;
    Ok(own.into_iter().map(ByteVec::from).collect())
}

/// Keeps what is good among the answers that devices brought along whose chains hold: of all of them the first 64
/// different ones are looked at, a machine of eight GPUs and four switches having half as many. Gives how many are new.
///
/// # Errors
/// Those of the cache.
pub fn keep_brought(
    devices: &[DeviceEvidence],
    cache: &Cache,
    (roots, at): (&Roots, Seconds),
) -> Result<usize, Error> {
    let asking = Asking::stapled(at, HoldPolicy::default());
    let (mut seen, mut new) = (BTreeSet::new(), 0);
    for device in devices.iter().filter(|device| !device.ocsp.is_empty()) {
        if seen.len() >= MAX_BROUGHT {
            break;
        }
        let Some(chain) = proven(device, (roots, at)) else { continue };
        let answers = distinct(&device.ocsp, &mut seen);
        new += cache.keep(ChainKind::Device, chain.certificates(), &answers, &asking)?;
    }
    Ok(new)
}

/// Those of the answers that were not seen before, while fewer than the most were.
fn distinct<'a>(answers: &'a [Vec<u8>], seen: &mut BTreeSet<&'a [u8]>) -> Vec<Vec<u8>> {
    let new = answers.iter().filter(|answer| seen.len() < MAX_BROUGHT && seen.insert(answer.as_slice()));
    new.cloned().collect()
}

/// The evidence's chain, if it holds.
fn proven(evidence: &DeviceEvidence, (roots, at): (&Roots, Seconds)) -> Option<DeviceChain> {
    DeviceChain::from_der(&evidence.chain).ok().filter(|chain| chain.judge(roots, at).is_ok())
}
