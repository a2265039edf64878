//! A folder of RIMs: documents as vendors sign them, and reduced forms as validators do.

use std::path::{Path, PathBuf};

use assay_appraisal::Trust;
use assay_gpu::rim::{Board, MAX_ANSWERS, RIM_NETWORK, Rim, RimError};
use assay_wire::{Envelope, Kind, Network, WireError};
use assay_x509::{OcspFault, OcspResponse, X509Error};

use super::document::MAX_DOCUMENT;
use super::examine::{Unproven, examine};
use crate::error::{Error, read_up_to};
use crate::ocsp::attach_to_rims;

/// The most files that are read.
pub const MAX_FILES: usize = 4096;

/// The first byte of an envelope (CBOR tag 18), which no text has.
const ENVELOPE: u8 = 0xd2;

/// The first byte of an OCSP answer (a DER SEQUENCE), which no RIM has.
const ANSWER: u8 = 0x30;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] Error),
    /// A document that is not believed.
    #[error(transparent)]
    Document(#[from] Unproven),
    /// Not an envelope of a RIM, or not of this signer.
    #[error(transparent)]
    Envelope(#[from] WireError),
    /// A reduced form that no RIM has.
    #[error(transparent)]
    Reduced(#[from] RimError),
    /// Not an answer of an OCSP responder.
    #[error("OCSP answer: {0}")]
    Answer(X509Error),
    /// An answer of an OCSP responder that says nothing of any certificate.
    #[error("OCSP answer: {0}")]
    Refusal(OcspFault),
    /// More OCSP answers than are taken.
    #[error("more than {MAX_ANSWERS} OCSP answers")]
    Answers,
    /// A reduced form, and nobody said whom to believe.
    #[error("a reduced form signed by a validator counts only with a trust file")]
    NoTrust,
    /// A reduced form of a validator that the trust file does not name.
    #[error("signed by {0}, who is no validator in the trust file")]
    Stranger(assay_wire::Digest),
}

/// A file that is not used.
#[derive(Debug)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// Reads every file of a folder, by name, but those whose name begins with a dot: documents whose signature holds and whose chain leads to `root` (DER), and
/// reduced forms by validators that `trust` names. Answers of OCSP responders (DER) come with the RIMs whose signers they are about. Whether a RIM is in
/// force and its signer good is for [`assay_gpu::rim::compare`] to say.
///
/// # Errors
/// [`Error::ReadFile`] when the folder can't be read; [`Error::Argument`] when it has more than [`MAX_FILES`] files;
/// [`Error::TooManyAnswers`] about one certificate.
pub fn load_dir(dir: &Path, root: &[u8], trust: Option<&Trust>) -> Result<(Vec<Rim>, Vec<Refused>), Error> {
    let (mut rims, mut refused, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for file in files(dir)? {
        match load(&file, root, trust) {
            Ok(Loaded::Rim(rim)) => rims.push(*rim),
            Ok(Loaded::Answer(answer)) if answers.len() < MAX_ANSWERS => answers.push(answer),
            Ok(Loaded::Answer(_)) => refused.push(Refused { file, reason: Reason::Answers }),
            Err(reason) => refused.push(Refused { file, reason }),
        }
    }
    attach_to_rims(&mut rims, &answers, None)?;
    Ok((rims, refused))
}

/// What a file holds.
enum Loaded {
    Rim(Box<Rim>),
    Answer(Vec<u8>),
}

/// The files of a folder by name, without drafts of [`super::Import`], whose names begin with a dot.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::ReadFile { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in dir.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if files.len() == MAX_FILES {
            return Err(Error::Argument(format!("{}: more than {MAX_FILES} files", dir.display())));
        }
        if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn load(file: &Path, root: &[u8], trust: Option<&Trust>) -> Result<Loaded, Reason> {
    let bytes = read_up_to(file, MAX_DOCUMENT)?;
    match bytes.first() {
        Some(&ENVELOPE) => reduced(&bytes, trust).map(|rim| Loaded::Rim(Box::new(rim))),
        // What an answer is worth is judged with the chain that it is about.
        Some(&ANSWER) => answer(bytes).map(Loaded::Answer),
        _ => Ok(Loaded::Rim(Box::new(load_document(file, &bytes, root)?))),
    }
}

/// An answer that says something of a certificate.
pub(super) fn answer(bytes: Vec<u8>) -> Result<Vec<u8>, Reason> {
    match OcspResponse::parse(&bytes).map_err(Reason::Answer)?.refusal() {
        Some(refusal) => Err(Reason::Refusal(OcspFault::Refused(refusal))),
        None => Ok(bytes),
    }
}

/// A document's reference values, for the board that its file's name names.
///
/// # Errors
/// [`Unproven`].
pub fn load_document(file: &Path, bytes: &[u8], root: &[u8]) -> Result<Rim, Unproven> {
    let examined = examine(bytes, root)?;
    let board = board(file, &examined.claim.version);
    examined.rim(board)
}

fn reduced(bytes: &[u8], trust: Option<&Trust>) -> Result<Rim, Reason> {
    let envelope = Envelope::decode_as(Kind::GpuRim, bytes)?;
    let trust = trust.ok_or(Reason::NoTrust)?;
    let signer = trust.validators.get(&envelope.kid).ok_or(Reason::Stranger(envelope.kid))?;
    envelope.verify(&signer.key, &Network::new(RIM_NETWORK))?;
    Ok(Rim::decode(&envelope.payload)?)
}

/// The board that a file's name names: `PROJECT_SKU_CHIPSKU_VERSION` in it, of four, four and three letters or digits, the
/// version without dots and equal to the signed one. No vendor signs it; it makes a RIM apply to reports of this board only.
pub(super) fn board(file: &Path, version: &str) -> Option<Board> {
    let stem = file.file_stem()?.to_str()?.to_ascii_uppercase();
    let version = version.replace('.', "").to_ascii_uppercase();
    let parts: Vec<&str> = stem.split('_').collect();
    let at = parts.iter().position(|part| *part == version)?;
    let [project, project_sku, chip_sku] = parts.get(at.checked_sub(3)?..at)? else { return None };
    let named = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let all = named(project, 4) && named(project_sku, 4) && named(chip_sku, 3);
    let board = || Board {
        project: (*project).to_owned(),
        project_sku: (*project_sku).to_owned(),
        chip_sku: (*chip_sku).to_owned(),
    };
    all.then(board)
}
