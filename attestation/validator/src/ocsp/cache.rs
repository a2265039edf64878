//! Answers that are kept until their nextUpdate, and revocations without end: a folder with one file for each
//! certificate.
//!
//! A file is the answer as it came, named by the certificate's SHA-256; its time of modification is its
//! nextUpdate, so that the one that ends first is found without reading any. A revocation has a name of its own, by
//! which it is never removed. A file is written beside its place, flushed, and renamed: a machine that loses power
//! has the old answer or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_gpu::device::{Asking, ChainKind, asked};
use assay_x509::{
    Certificate, OcspAnswer, OcspQuestion, OcspResponse, OcspStatus, OcspTerms, Seconds, judge_ocsp,
};

use crate::error::Error;

/// The most answers in one folder: 128 MiB at most, and some hundred machines of eight GPUs. Revocations are counted and
/// not bounded: each is one that an issuer signed, of a certificate below a pinned root.
const MAX_ENTRIES: usize = 4096;

/// How the name of a revocation's file ends.
const REVOKED: &str = ".revoked.der";

/// A folder of answers.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    limit: usize,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    New,
    /// One that counts more is there: a revocation, or one that is as new.
    Known,
    /// It says nothing at that time, or does not say until when, or the folder is full of revocations.
    Useless,
}

impl Cache {
    /// Opens a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::WriteFile`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| Error::WriteFile { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), limit: MAX_ENTRIES })
    }

    /// The same with another limit than 4096 answers, at least one.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit: limit.max(1), ..self }
    }

    /// The answer about a certificate that holds at `at` and ends after it, if one is kept: a revocation before any
    /// other.
    ///
    /// # Errors
    /// [`Error::ReadFile`]. A file that is no such answer is not there.
    pub fn get(&self, question: &OcspQuestion<'_>, at: Seconds) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.held(question, &OcspTerms::at(at))?.map(|(bytes, _)| bytes))
    }

    /// Keeps an answer about a certificate, if it holds under these terms and ends after their time, or is a
    /// revocation. When the folder is full, the answers that end first go, and no revocation.
    ///
    /// # Errors
    /// [`Error::ReadFile`], [`Error::WriteFile`].
    pub fn put(&self, question: &OcspQuestion<'_>, answer: &[u8], terms: &OcspTerms) -> Result<Kept, Error> {
        let Some((new, until)) = usable(answer, question, terms) else { return Ok(Kept::Useless) };
        let plain = self.path(question.certificate);
        let asked_before = OcspQuestion { nonce: None, ..*question };
        let held = self.held(&asked_before, terms)?;
        if held.as_ref().is_some_and(|(_, held)| !outweighs(&new, held)) {
            return Ok(Kept::Known);
        }
        let final_path = is_revoked(&new).then(|| self.revoked_path(question.certificate));
        let path = final_path.as_ref().unwrap_or(&plain);
        if held.is_none() && !self.make_room(path)? && final_path.is_none() {
            return Ok(Kept::Useless);
        }
        let failed = |source| Error::WriteFile { path: path.clone(), source };
        self.write(path, answer, until).map_err(failed)?;
        if final_path.is_some() {
            fs::remove_file(&plain).or_else(gone).map_err(failed)?;
        }
        Ok(Kept::New)
    }

    /// What is kept about a certificate and holds under these terms.
    fn held(
        &self,
        question: &OcspQuestion<'_>,
        terms: &OcspTerms,
    ) -> Result<Option<(Vec<u8>, OcspAnswer)>, Error> {
        for path in [self.revoked_path(question.certificate), self.path(question.certificate)] {
            let Some(bytes) = self.read(&path)? else { continue };
            if let Some((answer, _)) = usable(&bytes, question, terms) {
                return Ok(Some((bytes, answer)));
            }
        }
        Ok(None)
    }

    /// The answers that are kept about a chain's certificates, each once.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn answers(
        &self,
        kind: ChainKind,
        chain: &[Certificate],
        at: Seconds,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut answers = Vec::new();
        for (_, certificate, issuer) in asked(kind, chain) {
            let question = OcspQuestion { certificate, issuer, known: chain, nonce: None };
            answers.extend(self.get(&question, at)?.filter(|answer| !answers.contains(answer)));
        }
        Ok(answers)
    }

    /// Keeps what is good among answers about a chain, which has been judged; gives how many are new.
    ///
    /// # Errors
    /// As [`Cache::put`].
    pub fn keep(
        &self,
        kind: ChainKind,
        chain: &[Certificate],
        answers: &[Vec<u8>],
        asking: &Asking<'_>,
    ) -> Result<usize, Error> {
        let mut new = 0;
        for (_, certificate, issuer) in asked(kind, chain) {
            let nonce = asking.nonce(certificate);
            let question = OcspQuestion { certificate, issuer, known: chain, nonce };
            for answer in answers {
                new += usize::from(self.put(&question, answer, &asking.terms)? == Kept::New);
            }
        }
        Ok(new)
    }

    fn path(&self, certificate: &Certificate) -> PathBuf {
        self.dir.join(format!("{}.der", certificate.fingerprint()))
    }

    fn revoked_path(&self, certificate: &Certificate) -> PathBuf {
        self.dir.join(format!("{}{REVOKED}", certificate.fingerprint()))
    }

    /// A file's bytes; `None` where there is none, or one that is longer than any answer.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let most = u64::try_from(OcspResponse::MAX).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        // Anything but a file could keep its reader waiting.
        let read = match fs::metadata(path) {
            Ok(kind) if !kind.is_file() => Err(io::Error::other("not a regular file")),
            Ok(_) => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
            Err(error) => Err(error),
        };
        match read {
            Ok(_) => Ok(Some(bytes).filter(|bytes| bytes.len() <= OcspResponse::MAX)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::ReadFile { path: path.to_owned(), source }),
        }
    }

    fn write(&self, path: &Path, answer: &[u8], until: Option<Seconds>) -> io::Result<()> {
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(answer)?;
        if let Some(until) = until {
            file.set_modified(time(until))?;
        }
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(&self.dir)?.sync_all()
    }

    /// Makes room for one more file; `false` where revocations leave none.
    fn make_room(&self, path: &Path) -> Result<bool, Error> {
        let failed = |source| Error::WriteFile { path: self.dir.clone(), source };
        let mut files = self.files().map_err(failed)?;
        files.retain(|(_, file)| file != path);
        let over = (files.len() + 1).saturating_sub(self.limit);
        files.retain(|(_, file)| !file.to_string_lossy().ends_with(REVOKED));
        files.sort();
        for (_, file) in files.iter().take(over) {
            fs::remove_file(file).or_else(gone).map_err(failed)?;
        }
        Ok(over <= files.len())
    }

    /// All files with the time at which they end.
    fn files(&self) -> io::Result<Vec<(SystemTime, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => files.push((metadata.modified()?, entry.path())),
                Ok(_) => {}
                Err(error) => gone(error)?,
            }
        }
        Ok(files)
    }
}

/// Another process was quicker.
fn gone(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

fn time(seconds: Seconds) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// The judged answer and its end, if it says something under these terms and ends after their time. A revocation has
/// no end.
fn usable(
    bytes: &[u8],
    question: &OcspQuestion<'_>,
    terms: &OcspTerms,
) -> Option<(OcspAnswer, Option<Seconds>)> {
    let answer = judge_ocsp(&OcspResponse::parse(bytes).ok()?, question, terms);
    match answer.status {
        OcspStatus::NotUsable(_) => None,
        OcspStatus::Revoked(_) => Some((answer, None)),
        _ => answer.next_update.filter(|until| *until > terms.at).map(|until| (answer, Some(until))),
    }
}

const fn is_revoked(answer: &OcspAnswer) -> bool {
    matches!(answer.status, OcspStatus::Revoked(_))
}

/// A revocation is final; else the newer answer counts.
fn outweighs(new: &OcspAnswer, held: &OcspAnswer) -> bool {
    match (is_revoked(new), is_revoked(held)) {
        (_, true) => false,
        (true, false) => true,
        _ => new.this_update > held.this_update,
    }
}
