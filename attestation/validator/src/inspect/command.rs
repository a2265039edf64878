//! The command: which kind of file, its bytes, and what is printed of it.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::page::Page;
use super::{ek_cert, eventlog, ima, manifest, quote};
use crate::cli::{print_json, undecodable};
use crate::error::{Error, read_file, read_up_to};
use crate::{civil, text};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(override_usage = "assay-validator inspect [OPTIONS] [KIND] <FILE>")]
pub(crate) struct InspectArgs {
    /// The file, after its kind: eventlog, ima, quote, ek-cert, manifest or envelope (the default).
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    what: Vec<OsString>,
    /// For a quote: the TPMT_SIGNATURE over it.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// For a quote: the TPMT_PUBLIC or TPM2B_PUBLIC of the key that signed it.
    #[arg(long, value_name = "FILE", requires = "signature")]
    ak: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileKind {
    Envelope,
    Eventlog,
    Ima,
    Quote,
    EkCert,
    Manifest,
}

/// What a file says: as JSON, as a page for people, and whether what it proves by itself holds.
pub(super) struct Inspected {
    pub(super) json: Value,
    pub(super) page: Page,
    pub(super) good: bool,
}

/// Bytes that are not what they should be: one line, with field and offset.
pub(super) type Undecodable = Box<dyn StdError>;

/// Runs the command; `false` when the bytes could not be decoded or a check failed.
pub(crate) fn run(args: &InspectArgs) -> Result<bool, Error> {
    match run_kind(args) {
        // More than any of its kind may have is as good as undecodable.
        Err(error @ Error::FileTooLarge { .. }) => {
            writeln!(io::stderr().lock(), "{}", text::plain(&error.to_string())).map_err(Error::Output)?;
            Ok(false)
        }
        other => other,
    }
}

fn run_kind(args: &InspectArgs) -> Result<bool, Error> {
    let (kind, file) = kind_and_file(args)?;
    if args.signature.is_some() && kind != FileKind::Quote {
        return Err(Error::Argument("--signature and --ak go with a quote".to_owned()));
    }
    let inspected = match kind {
        FileKind::Envelope => return envelope(&file, args.json),
        FileKind::Eventlog => eventlog::inspect(&read_up_to(&file, eventlog::MAX_BYTES)?),
        FileKind::Ima => ima::inspect(&read_up_to(&file, ima::MAX_BYTES)?),
        FileKind::EkCert => ek_cert::inspect(&read_up_to(&file, ek_cert::MAX_BYTES)?, civil::now_ms()),
        FileKind::Manifest => manifest::inspect(&read_up_to(&file, manifest::MAX_BYTES)?),
        FileKind::Quote => {
            let part = |path: &PathBuf| read_up_to(path, quote::MAX_BYTES);
            let signature = args.signature.as_ref().map(part).transpose()?;
            let ak = args.ak.as_ref().map(part).transpose()?;
            quote::inspect(&part(&file)?, signature.as_deref(), ak.as_deref())
        }
    };
    match inspected {
        Ok(inspected) => show(&file, &inspected, args.json),
        Err(error) => undecodable(&file, error.as_ref()),
    }
}

fn kind_and_file(args: &InspectArgs) -> Result<(FileKind, PathBuf), Error> {
    match args.what.as_slice() {
        [file] => Ok((FileKind::Envelope, file.into())),
        [kind, file] => {
            let name = kind.to_string_lossy();
            let known = FileKind::from_str(&name, false);
            let kind = known
                .map_err(|_| Error::Argument(format!("no kind of file named {:?}", text::plain(&name))))?;
            Ok((kind, file.into()))
        }
        _ => Err(Error::Argument("one file".to_owned())),
    }
}

fn envelope(file: &Path, json: bool) -> Result<bool, Error> {
    let content = match super::inspect(&read_file(file)?) {
        Ok(content) => content,
        Err(error) => return undecodable(file, &error),
    };
    match json {
        true => print_json(&content)?,
        false => super::print(&mut io::stdout().lock(), &file.display().to_string(), &content)
            .map_err(Error::Output)?,
    }
    Ok(true)
}

fn show(file: &Path, inspected: &Inspected, json: bool) -> Result<bool, Error> {
    match json {
        true => print_json(&inspected.json)?,
        false => {
            let page = inspected.page.render(&file.display().to_string(), text::colour());
            io::stdout().lock().write_all(page.as_bytes()).map_err(Error::Output)?;
        }
    }
    Ok(inspected.good)
}
