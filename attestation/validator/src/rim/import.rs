//! Documents in, this validator's signed reduced forms out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use assay_gpu::device::HoldPolicy;
use assay_gpu::rim::{RIM_NETWORK, Rim, RimError, SignerStatus, same_rows};
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey, cbor};
use assay_x509::Seconds;

use super::document::{DocumentError, MAX_DOCUMENT};
use super::examine::{Examined, examine};
use super::load::{board, files};
use crate::error::{Error, read_up_to};
use crate::init;
use crate::ocsp::{Cache, attach_to_rims};

/// What documents are imported by, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// The folder of reduced forms.
    pub out: &'a Path,
    /// The key that signs them.
    pub key: &'a SigningKey,
    /// The time at which signers' certificates must be in force, in seconds since 1970.
    pub at: Seconds,
    /// The root that the certificates must lead to, DER.
    pub root: &'a [u8],
    /// Answers of OCSP responders about signers, DER.
    pub answers: &'a [Vec<u8>],
    /// Where good answers are kept, and looked for.
    pub cache: Option<&'a Cache>,
}

/// One document and what came of it.
#[derive(Debug)]
pub struct Imported {
    /// The document.
    pub file: PathBuf,
    /// What was found out about it.
    pub examined: Result<Examined, DocumentError>,
    /// Whether its signer's certificates are in force at that time.
    pub in_force: bool,
    /// What the answers say of the signer, where signature and chain hold.
    pub signer: Option<SignerStatus>,
    /// Its id in the vendor's service, where signature and chain hold.
    pub id: Option<String>,
    /// Why nobody could read the reduced form, with too many answers for instance.
    pub unfit: Option<RimError>,
    /// The reduced form, where it was written.
    pub written: Option<PathBuf>,
    /// Earlier reduced forms of the same signer, removed because it is revoked or on hold.
    pub removed: Vec<PathBuf>,
    /// Reduced forms of this key for the same id with other rows: no device passes while both are there.
    pub collides: Vec<PathBuf>,
}

impl Import<'_> {
    /// Imports one document, if it counts. Of a signer that is revoked or on hold nothing stays that this key has signed:
    /// what is known against a signer counts for all of its documents.
    ///
    /// # Errors
    /// [`Error::ReadFile`], [`Error::FileTooLarge`], [`Error::WriteFile`]; [`Error::AlreadyThere`] for another key's file
    /// in the place; [`Error::TooManyAnswers`].
    pub fn one(&self, file: &Path) -> Result<Imported, Error> {
        let examined = examine(&read_up_to(file, MAX_DOCUMENT)?, self.root);
        let in_force = examined.as_ref().is_ok_and(|examined| examined.in_force(self.at));
        let rim = match &examined {
            Ok(examined) => self.rim(file, examined)?,
            Err(_) => None,
        };
        let id = rim.as_ref().map(Rim::id);
        let signer = rim.as_ref().map(|rim| SignerStatus::of(rim, self.at, HoldPolicy::default()));
        let unfit = rim.as_ref().and_then(|rim| Rim::decode(&cbor::to_vec(rim)).err());
        let taken_back = matches!(signer, Some(SignerStatus::Revoked | SignerStatus::Hold));
        let removed = match &rim {
            Some(rim) if taken_back => self.withdraw(rim.signer)?,
            _ => Vec::new(),
        };
        let counts = in_force && !taken_back && unfit.is_none();
        let (mut written, mut collides) = (None, Vec::new());
        if let Some(rim) = rim.filter(|_| counts) {
            written = Some(self.write(&rim)?);
            collides = self.colliding(&rim)?;
        }
        let file = file.to_owned();
        Ok(Imported { file, examined, in_force, signer, id, unfit, written, removed, collides })
    }

    /// The RIM with the answers about its signer, if signature and chain hold.
    fn rim(&self, file: &Path, examined: &Examined) -> Result<Option<Rim>, Error> {
        let board = board(file, &examined.claim.version);
        let Ok(mut rim) = examined.clone().rim(board) else { return Ok(None) };
        let cache = self.cache.map(|cache| (cache, self.at));
        attach_to_rims(std::slice::from_mut(&mut rim), self.answers, cache)?;
        Ok(Some(rim))
    }

    /// Writes a RIM's envelope. What this key has signed of the same document gives way to it, with newer answers for
    /// instance; another's is left alone.
    fn write(&self, rim: &Rim) -> Result<PathBuf, Error> {
        let kid = self.key.verifying_key().validator_id();
        let bytes = Envelope::seal(Kind::GpuRim, kid, rim, self.key, &Network::new(RIM_NETWORK));
        let name = format!("{}-{}.rim", rim.id().replace('*', "ANY"), rim.source.short());
        let (path, new) = (self.out.join(&name), self.out.join(format!(".{name}.new")));
        if path.exists() && self.own(&path).is_none() {
            return Err(Error::AlreadyThere { path });
        }
        let failed = |source| Error::WriteFile { path: path.clone(), source };
        // What a crash has left of an earlier try.
        fs::remove_file(&new).or_else(absent).map_err(failed)?;
        init::write(&new, 0o644, bytes)?;
        fs::rename(&new, &path).map_err(failed)?;
        Ok(path)
    }

    /// Removes what this key has signed of a signer's documents, under whatever name.
    fn withdraw(&self, signer: Digest) -> Result<Vec<PathBuf>, Error> {
        let is_of_signer = |path: &PathBuf| {
            let rim = self.own(path).and_then(|envelope| Rim::decode(&envelope.payload).ok());
            rim.is_some_and(|rim| rim.signer == signer)
        };
        let removed: Vec<PathBuf> = files(self.out)?.into_iter().filter(is_of_signer).collect();
        for path in &removed {
            fs::remove_file(path).map_err(|source| Error::WriteFile { path: path.clone(), source })?;
        }
        Ok(removed)
    }

    /// What this key has signed for the same id with other rows.
    fn colliding(&self, rim: &Rim) -> Result<Vec<PathBuf>, Error> {
        let id = rim.id();
        let collides = |path: &PathBuf| {
            let other = self.own(path).and_then(|envelope| Rim::decode(&envelope.payload).ok());
            other.is_some_and(|other| other.id() == id && !same_rows(&other, rim))
        };
        Ok(files(self.out)?.into_iter().filter(collides).collect())
    }

    /// The envelope in a file, if it is a RIM's and says that it is of this key.
    fn own(&self, path: &Path) -> Option<Envelope> {
        let bytes = read_up_to(path, MAX_DOCUMENT).ok()?;
        let kid = self.key.verifying_key().validator_id();
        Envelope::decode_as(Kind::GpuRim, &bytes).ok().filter(|envelope| envelope.kid == kid)
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
