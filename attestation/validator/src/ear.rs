//! `verify --ear`: a result as others read it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use assay_appraisal::{Appraisal, Ear};
use clap::ValueEnum;

use crate::error::Error;
use crate::trusted::signing_key;

/// How a result is serialised and signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON in a JWS: text.
    Jwt,
    /// CBOR in a COSE_Sign1: bytes.
    Cwt,
}

/// Signs the result with the key in a file and writes the token; the same result gives the same bytes.
///
/// A file that is there is left alone: a token of yesterday, or a key, is never taken for or lost to this one.
///
/// # Errors
/// [`Error::ReadFile`] or [`Error::Config`] for the key, [`Error::WriteFile`] for the token.
pub fn export(appraisal: &Appraisal, format: Format, key: &Path, out: &Path) -> Result<(), Error> {
    let (key, ear) = (signing_key(key)?, Ear::new(appraisal));
    let token = match format {
        Format::Jwt => ear.to_jwt(&key).into_bytes(),
        Format::Cwt => ear.to_cwt(&key),
    };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(out)
        .and_then(|mut file| file.write_all(&token))
        .map_err(|source| Error::WriteFile { path: out.to_owned(), source })
}
