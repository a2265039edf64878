//! `trust`: changes to a trust file that are tedious by hand.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use assay_appraisal::{PlatformSigner, Trust, TrustedCa};
use clap::{Args, Subcommand};

use crate::error::{Error, read_file, read_text};
use crate::text::plain;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pin an authority whose EK certificates count.
    AddCa(CaArgs),
    /// Pin a signer of machines' certificates: its own certificate, or that of an authority above it.
    AddPlatformSigner(SignerArgs),
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

#[derive(Debug, Args)]
pub(crate) struct SignerArgs {
    /// The certificate, DER or PEM.
    certificate: PathBuf,
    /// Its name, instead of the file's.
    #[arg(long)]
    name: Option<String>,
    /// The trust file.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
}

/// Runs one.
pub(crate) fn run(command: &Command) -> Result<(), Error> {
    match command {
        Command::AddCa(args) => {
            let name = named(args.name.as_ref(), &args.certificate);
            let ca = TrustedCa::read(&name, &args.class, &read_file(&args.certificate)?);
            let ca = ca.map_err(|source| Error::Trust { path: args.certificate.clone(), source })?;
            append(&args.trust, &ca.to_toml())?;
            believed(&args.trust, &name, &format!("{} TPMs", ca.class.name()))
        }
        Command::AddPlatformSigner(args) => {
            let name = named(args.name.as_ref(), &args.certificate);
            let signer = PlatformSigner::read(&name, &read_file(&args.certificate)?);
            let signer = signer.map_err(|source| Error::Trust { path: args.certificate.clone(), source })?;
            append(&args.trust, &signer.to_toml())?;
            believed(&args.trust, &name, "machines and devices")
        }
    }
}

/// The name that was given, else the file's.
fn named(name: Option<&String>, file: &Path) -> String {
    let stem = || file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    name.cloned().or_else(stem).unwrap_or_default()
}

fn believed(trust: &Path, name: &str, on: &str) -> Result<(), Error> {
    let (trust, name) = (trust.display(), plain(name));
    let line = format!("{trust} believes {name} on {on}\nNext: restart a validator that serves with it");
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
