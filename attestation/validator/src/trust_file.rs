//! `trust`: changes to a trust file that are tedious by hand.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use assay_appraisal::{Trust, TrustedCa};
use clap::{Args, Subcommand};

use crate::error::{Error, read_file, read_text};
use crate::text::plain;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pin an authority whose EK certificates count.
    AddCa(CaArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    /// The authority's certificate, DER or PEM.
    certificate: PathBuf,
    /// What its TPMs are: discrete, firmware or virtual.
    #[arg(long)]
    class: String,
    /// Its name, instead of the file's.
    #[arg(long)]
    name: Option<String>,
    /// The trust file.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
}

/// Runs one.
pub(crate) fn run(command: &Command) -> Result<(), Error> {
    let Command::AddCa(args) = command;
    let stem = || args.certificate.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = args.name.clone().or_else(stem).unwrap_or_default();
    let ca = TrustedCa::read(&name, &args.class, &read_file(&args.certificate)?);
    let ca = ca.map_err(|source| Error::Trust { path: args.certificate.clone(), source })?;
    append(&args.trust, &ca.to_toml())?;
    let (class, name, trust) = (ca.class.name(), plain(&name), args.trust.display());
    let line =
        format!("{trust} believes {name} on {class} TPMs\nNext: restart a validator that serves with it");
    writeln!(io::stdout().lock(), "{line}").map_err(Error::Output)
}

/// Adds a section at the end, if the whole still is a trust file; a reader sees the old file or the new.
fn append(path: &Path, section: &str) -> Result<(), Error> {
    let text = read_text(path)? + section;
    Trust::parse(&text).map_err(|source| Error::Trust { path: path.to_owned(), source })?;
    let draft = path.with_extension("toml.new");
    let failed = |source| Error::WriteFile { path: path.to_owned(), source };
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, path)).map_err(failed)
}
