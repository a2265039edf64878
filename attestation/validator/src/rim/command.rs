//! `rim import`: its arguments, and what is printed.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use assay_gpu::device::Roots;
use assay_gpu::rim::SignerStatus;
use assay_x509::Seconds;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::import::{Import, Imported};
use super::load::answer;
use crate::cli::{print_json, time, undecodable};
use crate::config::Home;
use crate::error::{Error, chain};
use crate::ocsp::{self, Cache};
use crate::text::plain;
use crate::{civil, trusted};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check RIM documents of GPUs and switches, and write them in a reduced form that this validator signs.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// RIM documents, as the vendor's service gives them. A file's name may say for which board a VBIOS is
    /// (PROJECT_SKU_CHIPSKU_VERSION in it), which no document does; it then counts for that board only.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Directory of the validator that signs: takes its key, writes to its rims/, from which `serve` takes what is new,
    /// and keeps answers about signers in its ocsp/.
    #[arg(long, required_unless_present_all = ["out", "key"])]
    dir: Option<PathBuf>,
    /// The folder to write to, instead of the validator's; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The key that signs, instead of the validator's.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The time at which the signers' certificates must be in force, instead of now (RFC 3339).
    #[arg(long)]
    time: Option<String>,
    /// An answer of an OCSP responder (DER) about a signer's certificates, to be kept with what is written. May be given
    /// several times.
    #[arg(long, value_name = "FILE")]
    ocsp: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ImportArgs {
    /// A path that was given, or its place in the validator's directory.
    fn place(&self, given: Option<&PathBuf>, in_home: fn(&Home) -> PathBuf) -> Result<PathBuf, Error> {
        let home = || self.dir.clone().map(|dir| in_home(&Home::new(dir)));
        let missing = || Error::Argument("--dir, or --out and --key".to_owned());
        given.cloned().or_else(home).ok_or_else(missing)
    }
}

/// Runs one; `false` when a document is not imported.
pub(crate) fn run(command: &Command) -> Result<bool, Error> {
    let Command::Import(args) = command;
    let key = trusted::signing_key(&args.place(args.key.as_ref(), Home::key)?)?;
    let out = args.place(args.out.as_ref(), Home::rims)?;
    let at = Seconds::try_from(time(args.time.as_deref())? / 1000).unwrap_or(Seconds::MAX);
    let (roots, (answers, whole)) = (Roots::nvidia(), answers(&args.ocsp)?);
    let cache = args.dir.clone().map(|dir| Cache::open(&Home::new(dir).ocsp())).transpose()?;
    fs::create_dir_all(&out).map_err(|source| Error::WriteFile { path: out.clone(), source })?;
    let import =
        Import { out: &out, key: &key, at, root: roots.rim(), answers: &answers, cache: cache.as_ref() };
    let (mut done, mut failed) = (Vec::new(), None);
    for file in &args.files {
        match import.one(file) {
            Ok(one) => done.push(one),
            // The others are not to suffer for it.
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    match args.json {
        true => {
            let documents: Vec<Value> = done.iter().map(Imported::json).collect();
            print_json(&json!({ "schema": 1, "time": civil_of(at), "documents": documents }))?;
        }
        false => print(&done).map_err(Error::Output)?,
    }
    failed.map_or(Ok(whole && done.iter().all(|one| one.written.is_some())), Err)
}

/// The answers that say something, and whether all do: of each other a line on standard error says why not.
fn answers(files: &[PathBuf]) -> Result<(Vec<Vec<u8>>, bool), Error> {
    let (mut answers, mut whole) = (Vec::new(), true);
    for (file, bytes) in files.iter().zip(ocsp::load(files)?) {
        match answer(bytes) {
            Ok(answer) => answers.push(answer),
            Err(reason) => whole = undecodable(file, &reason)?,
        }
    }
    Ok((answers, whole))
}

fn civil_of(at: Seconds) -> String {
    civil::format(u64::try_from(at).unwrap_or_default().saturating_mul(1000))
}

/// A fact as JSON: whether it holds, and why not.
fn fact<E: std::error::Error>(fact: &Result<(), E>) -> Value {
    match fact {
        Ok(()) => json!({ "result": true }),
        Err(fault) => json!({ "result": false, "reason": chain(fault) }),
    }
}

impl Imported {
    fn json(&self) -> Value {
        let file = self.file.display().to_string();
        let written = self.written.as_ref().map(|path| path.display().to_string());
        let shown =
            |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let (removed, collides) = (shown(&self.removed), shown(&self.collides));
        let examined = match &self.examined {
            Ok(examined) => examined,
            Err(error) => {
                return json!({ "file": file, "refused": chain(error), "written": null, "removed": [] });
            }
        };
        let (first, last) = examined.validity.unwrap_or_default();
        json!({
            "file": file,
            "written": written,
            "removed": removed,
            "collides_with": collides,
            "id": self.id,
            "kind": examined.claim.kind.name(),
            "product": examined.claim.product,
            "version": examined.claim.version,
            "tag": examined.claim.tag,
            "active_rows": examined.claim.rows.len(),
            "source": examined.source.to_string(),
            "signer": examined.signer.map(|signer| signer.to_string()),
            "signature": fact(&examined.signature),
            "chain": fact(&examined.chain),
            "signer_status": self.signer.map(SignerStatus::name),
            "in_force": { "result": self.in_force, "from": civil_of(first), "until": civil_of(last) },
        })
    }

    /// Why it was not imported.
    fn refusal(&self) -> Option<String> {
        let examined = match &self.examined {
            Ok(examined) => examined,
            Err(error) => return Some(chain(error)),
        };
        let (first, last) = examined.validity.unwrap_or_default();
        match (&examined.signature, &examined.chain, self.signer) {
            (Err(fault), ..) => Some(format!("signature: {fault}")),
            (_, Err(fault), _) => Some(format!("chain: {fault}")),
            (.., Some(SignerStatus::Revoked)) => {
                Some("its signer is revoked, or unknown to its responder".to_owned())
            }
            (.., Some(SignerStatus::Hold)) => Some("its signer is on hold".to_owned()),
            _ if !self.in_force => Some(format!(
                "its signer's certificates are in force from {} to {}; name another --time",
                civil_of(first),
                civil_of(last)
            )),
            _ => self.unfit.as_ref().map(ToString::to_string),
        }
    }
}

/// Problems first.
fn print(done: &[Imported]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for one in done {
        if let Some(refusal) = one.refusal() {
            writeln!(out, "{}: refused: {}", plain(&one.file.display().to_string()), plain(&refusal))?;
        }
        for path in &one.removed {
            let path = plain(&path.display().to_string());
            writeln!(out, "{path}: removed, for it was signed by the same signer")?;
        }
        for path in &one.collides {
            let (path, id) = (plain(&path.display().to_string()), one.id.as_deref().unwrap_or_default());
            writeln!(out, "{path}: other rows for {id}; no device passes until one of the two is removed")?;
        }
    }
    for one in done {
        if let (Some(path), Some(id), Ok(examined)) = (&one.written, &one.id, &one.examined) {
            let rows = examined.claim.rows.len();
            writeln!(out, "{id}: {rows} rows in {}", plain(&path.display().to_string()))?;
        }
    }
    Ok(())
}
