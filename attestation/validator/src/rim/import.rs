//! `rim import`: documents in, this validator's signed reduced forms out.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use assay_gpu::device::{HoldPolicy, Roots};
use assay_gpu::rim::{RIM_NETWORK, Rim, RimError, SignerStatus};
use assay_wire::{Envelope, Kind, Network, SigningKey, cbor};
use clap::{Args, Subcommand};
use minicbor::bytes::ByteVec;
use serde_json::{Value, json};

use super::document::{DocumentError, MAX_DOCUMENT};
use super::examine::{Examined, examine};
use super::load::{attach, board};
use crate::cli::{print_json, time};
use crate::error::{Error, chain, read_up_to};
use crate::text::plain;
use crate::{civil, init, ocsp, trusted};

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
    /// The folder to write to; it must be there.
    #[arg(long, value_name = "DIR", visible_alias = "dir")]
    out: PathBuf,
    /// The key that signs: a validator's `validator.key`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
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

/// Runs one; `false` when a document is not imported.
pub(crate) fn run(command: &Command) -> Result<bool, Error> {
    let Command::Import(args) = command;
    let key = trusted::signing_key(&args.key)?;
    let at = i64::try_from(time(args.time.as_deref())? / 1000).unwrap_or(i64::MAX);
    let roots = Roots::nvidia();
    let answers = ocsp::load(&args.ocsp)?.into_iter().map(ByteVec::from).collect();
    let import = Import { out: &args.out, key: &key, at, root: roots.rim(), answers };
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
    failed.map_or(Ok(done.iter().all(|one| one.written.is_some())), Err)
}

struct Import<'a> {
    out: &'a Path,
    key: &'a SigningKey,
    at: i64,
    root: &'a [u8],
    answers: Vec<ByteVec>,
}

/// One document and what came of it.
struct Imported {
    file: PathBuf,
    examined: Result<Examined, DocumentError>,
    in_force: bool,
    /// What the answers at hand say of the signer, where signature and chain hold.
    signer: Option<SignerStatus>,
    id: Option<String>,
    /// Why nobody could read the reduced form, with too many answers for instance.
    unfit: Option<RimError>,
    written: Option<PathBuf>,
}

impl Import<'_> {
    fn one(&self, file: &Path) -> Result<Imported, Error> {
        let examined = examine(&read_up_to(file, MAX_DOCUMENT)?, self.root);
        let in_force = examined.as_ref().is_ok_and(|examined| examined.in_force(self.at));
        let rim = examined.as_ref().ok().and_then(|examined| {
            let board = board(file, &examined.claim.version);
            let mut rim = examined.clone().rim(board).ok()?;
            attach(&mut rim, &self.answers);
            Some(rim)
        });
        let (id, signer) = (rim.as_ref().map(Rim::id), rim.as_ref().map(|rim| self.status(rim)));
        let counts = in_force && !matches!(signer, Some(SignerStatus::Revoked | SignerStatus::Hold));
        let unfit = rim.as_ref().and_then(|rim| Rim::decode(&cbor::to_vec(rim)).err());
        let counts = counts && unfit.is_none();
        let written = rim.filter(|_| counts).map(|rim| self.write(&rim)).transpose()?;
        Ok(Imported { file: file.to_owned(), examined, in_force, signer, id, unfit, written })
    }

    fn status(&self, rim: &Rim) -> SignerStatus {
        SignerStatus::of(rim, self.at, HoldPolicy::default())
    }

    /// Writes a RIM's envelope. What this key has signed of the same document gives way to it, with newer answers for
    /// instance; another's is left alone.
    fn write(&self, rim: &Rim) -> Result<PathBuf, Error> {
        let kid = self.key.verifying_key().validator_id();
        let bytes = Envelope::seal(Kind::GpuRim, kid, rim, self.key, &Network::new(RIM_NETWORK));
        let name = format!("{}-{}.rim", rim.id().replace('*', "ANY"), rim.source.short());
        let (path, new) = (self.out.join(&name), self.out.join(format!(".{name}.new")));
        let is_ours = |path: &Path| {
            let bytes = read_up_to(path, MAX_DOCUMENT).unwrap_or_default();
            Envelope::decode_as(Kind::GpuRim, &bytes).is_ok_and(|old| old.kid == kid)
        };
        if path.exists() && !is_ours(&path) {
            return Err(Error::AlreadyThere { path });
        }
        let failed = |source| Error::WriteFile { path: path.clone(), source };
        // What a crash has left of an earlier try.
        fs::remove_file(&new).or_else(absent).map_err(failed)?;
        init::write(&new, 0o644, bytes)?;
        fs::rename(&new, &path).map_err(failed)?;
        Ok(path)
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn civil_of(at: i64) -> String {
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
        let examined = match &self.examined {
            Ok(examined) => examined,
            Err(error) => return json!({ "file": file, "refused": chain(error), "written": null }),
        };
        let (first, last) = examined.validity.unwrap_or_default();
        json!({
            "file": file,
            "written": written,
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
        match (&examined.signature, &examined.chain) {
            (Err(fault), _) => Some(format!("signature: {fault}")),
            (_, Err(fault)) => Some(format!("chain: {fault}")),
            _ if !self.in_force => Some(format!(
                "its signer's certificates are in force from {} to {}; name another --time",
                civil_of(first),
                civil_of(last)
            )),
            _ => match self.signer {
                Some(SignerStatus::Revoked) => {
                    Some("its signer is revoked, or unknown to its responder".to_owned())
                }
                Some(SignerStatus::Hold) => Some("its signer is on hold".to_owned()),
                _ => self.unfit.as_ref().map(ToString::to_string),
            },
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
    }
    for one in done {
        if let (Some(path), Some(id), Ok(examined)) = (&one.written, &one.id, &one.examined) {
            let rows = examined.claim.rows.len();
            writeln!(out, "{id}: {rows} rows in {}", plain(&path.display().to_string()))?;
        }
    }
    Ok(())
}
