//! The commands of whoever runs a validator.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use assay_appraisal::Trust;
use assay_ledger::revocation::RevokedKind;
use assay_wire::{Digest, Envelope, Kind, SigningKey};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Done, Order, apply, socket};
use crate::cli::print_json;
use crate::config::Home;
use crate::error::{Error, read_file};
use crate::store::Store;
use crate::text::plain;
use crate::{civil, offences, replay, server, trusted};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take a node or one enrolment record back, for ever.
    Revoke(RevokeArgs),
    /// Let a node enrol once although something stands against it.
    Allow(NodeArgs),
    /// Take what changed at a node as good.
    #[command(subcommand)]
    Approve(ApproveCommand),
    /// Vouch for a node's EK by hand: I1 at this validator.
    Pin(PinArgs),
    /// Take a pin back.
    Unpin(NodeArgs),
    /// Keep another validator's revocation list or firmware table.
    Import(ImportArgs),
    /// Export this validator's revocation list, or show it.
    Revocations(ExportArgs),
    /// Export the table of firmware seen at owners of hardware nodes, or show it.
    Firmware(ExportArgs),
    /// List nodes' offences, or export the proofs.
    Offences(ExportArgs),
    /// Appraise a stored session again and compare with what was kept.
    Replay(ReplayArgs),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Revoked {
    Node,
    Record,
}

#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// Directory of the validator.
    #[arg(long)]
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// What the digest is of.
    kind: Revoked,
    /// Node id, or envelope hash of an enrolment record, in hex.
    digest: String,
    /// Why, for people.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    at: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Node id in hex.
    node: String,
    #[command(flatten)]
    at: Directory,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApproveCommand {
    /// A node's firmware, by the PCR value that the finding `boot.firmware-changed` shows.
    Firmware(FirmwareArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FirmwareArgs {
    /// Node id in hex.
    node: String,
    /// The node's SHA-256 value of PCR 0, or of PCR 2, in hex.
    #[arg(value_name = "VALUE")]
    pcr0: String,
    #[command(flatten)]
    at: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// Node id in hex.
    node: String,
    /// Why, for people.
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    at: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    at: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write the file here; one that is there is replaced.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    at: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Session id in hex.
    session: String,
    #[command(flatten)]
    at: Directory,
}

/// Runs one; `false` when it was refused or, for a replay, differs.
pub(crate) fn run(command: Command) -> Result<bool, Error> {
    match command {
        Command::Revoke(args) => {
            let kind = match args.kind {
                Revoked::Node => RevokedKind::Node,
                Revoked::Record => RevokedKind::Record,
            };
            order(&args.at, &Order::Revoke { kind, digest: digest(&args.digest)?, reason: args.reason })
        }
        Command::Allow(args) => order(&args.at, &Order::Allow { node: digest(&args.node)? }),
        Command::Approve(ApproveCommand::Firmware(args)) => {
            order(&args.at, &Order::Approve { node: digest(&args.node)?, pcr0: digest(&args.pcr0)? })
        }
        Command::Pin(args) => order(&args.at, &Order::Pin { node: digest(&args.node)?, note: args.note }),
        Command::Unpin(args) => order(&args.at, &Order::Unpin { node: digest(&args.node)? }),
        Command::Import(args) => order(&args.at, &Order::Import { envelope: read_file(&args.file)?.into() }),
        Command::Revocations(args) => revocations(&args),
        Command::Firmware(args) => firmware(&args),
        Command::Offences(args) => list_offences(&args),
        Command::Replay(args) => run_replay(&args),
    }
}

fn digest(text: &str) -> Result<Digest, Error> {
    Digest::from_hex(text)
        .ok_or_else(|| Error::Argument(format!("{:?}: not 64 hexadecimal digits", plain(text))))
}

/// Gives an order to whoever serves the directory, or carries it out under the directory's lock.
fn order(at: &Directory, order: &Order) -> Result<bool, Error> {
    let home = Home::new(&at.dir);
    let done = match socket::ask(&home.admin(), order)? {
        Some(done) => done,
        None => alone(&home, order)?,
    };
    match at.json {
        true => print_json(&json!({
            "schema": 1, "done": done.done, "code": done.code, "message": done.message,
        }))?,
        false => print_line(&format!("{}: {}", plain(&done.code), plain(&done.message)))?,
    }
    Ok(done.done)
}

fn alone(home: &Home, order: &Order) -> Result<Done, Error> {
    let (trust, key) = signer(home)?;
    let _lock = server::lock(home)?;
    let id = key.verifying_key().validator_id();
    let store = Store::open(&home.store(), trust.network.id(), &id.to_string())?;
    store.begin()?;
    Ok(store.finish(apply(&store, &trust, order, civil::now_ms()))?)
}

fn signer(home: &Home) -> Result<(Trust, SigningKey), Error> {
    Ok((trusted::trust(&home.trust())?, trusted::signing_key(&home.key())?))
}

/// Signs something of the store and writes it; its hash, when it was written.
fn export<T: minicbor::Encode<()>>(
    home: &Home,
    out: Option<&Path>,
    kind: Kind,
    message: &T,
) -> Result<(), Error> {
    let Some(out) = out else { return Ok(()) };
    let (trust, key) = signer(home)?;
    let id = key.verifying_key().validator_id();
    write(out, &Envelope::seal(kind, id, message, &key, &trust.network))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|source| Error::WriteFile { path: path.to_owned(), source })
}

fn revocations(args: &ExportArgs) -> Result<bool, Error> {
    let home = Home::new(&args.at.dir);
    let list = Store::open_read_only(&home.store())?.revocations()?;
    export(&home, args.out.as_deref(), Kind::Revocations, &list)?;
    let kind = |kind| if kind == RevokedKind::Node { "node" } else { "record" };
    if args.at.json {
        let entries: Vec<Value> = list.entries.iter().map(|one| {
            json!({ "kind": kind(one.kind), "digest": one.digest.to_string(), "at_ms": one.at_ms, "reason": one.reason })
        }).collect();
        print_json(
            &json!({ "schema": 1, "number": list.number, "issued_ms": list.issued_ms, "entries": entries }),
        )?;
        return Ok(true);
    }
    print_line(&format!("list {}, {} entries", list.number, list.entries.len()))?;
    for one in &list.entries {
        let at = civil::format(one.at_ms);
        print_line(&format!("{at}  {:6}  {}  {}", kind(one.kind), one.digest, plain(&one.reason)))?;
    }
    Ok(true)
}

fn firmware(args: &ExportArgs) -> Result<bool, Error> {
    let home = Home::new(&args.at.dir);
    let table = Store::open_read_only(&home.store())?.firmware_table()?;
    export(&home, args.out.as_deref(), Kind::Firmware, &table)?;
    if args.at.json {
        let sets: Vec<Value> = table.sets.iter().map(|set| {
            json!({ "pcr0": set.pcr0.to_string(), "owners": set.owners, "first_ms": set.first_ms, "name": set.name })
        }).collect();
        print_json(&json!({ "schema": 1, "issued_ms": table.issued_ms, "sets": sets }))?;
        return Ok(true);
    }
    print_line(&format!("{} firmware sets", table.sets.len()))?;
    for set in &table.sets {
        let first = civil::format(set.first_ms);
        print_line(&format!("{}  {:>4} owners  since {first}  {}", set.pcr0, set.owners, plain(&set.name)))?;
    }
    Ok(true)
}

fn list_offences(args: &ExportArgs) -> Result<bool, Error> {
    let store = Store::open_read_only(&Home::new(&args.at.dir).store())?;
    let found = store.offences()?;
    if let Some(out) = &args.out {
        write(out, &offences::file(&store, &found)?)?;
    }
    if args.at.json {
        let list: Vec<Value> = found.iter().map(|one| {
            json!({
                "session": one.session.to_string(), "seq": one.seq, "node": one.node.to_string(), "seen_ms": one.seen_ms,
            })
        }).collect();
        print_json(&json!({ "schema": 1, "offences": list }))?;
        return Ok(true);
    }
    print_line(&format!("{} offences", found.len()))?;
    for one in &found {
        let seen = civil::format(one.seen_ms);
        print_line(&format!("{seen}  node {}  two beats {} of session {}", one.node, one.seq, one.session))?;
    }
    Ok(true)
}

fn run_replay(args: &ReplayArgs) -> Result<bool, Error> {
    let home = Home::new(&args.at.dir);
    let store = Store::open_read_only(&home.store())?;
    let replayed = replay::replay(&home, &store, &digest(&args.session)?)?;
    match args.at.json {
        true => print_json(&json!({
            "schema": 1, "same": replayed.same(), "at_ms": replayed.at_ms,
            "kept": replay::value(&replayed.kept), "now": replay::value(&replayed.now),
        }))?,
        false => {
            let at = civil::format(replayed.at_ms);
            let outcome = if replayed.same() { "the same bytes" } else { "ANOTHER RESULT" };
            print_line(&format!("appraised again as of {at}: {outcome}"))?;
        }
    }
    Ok(replayed.same())
}

fn print_line(line: &str) -> Result<(), Error> {
    writeln!(io::stdout().lock(), "{line}").map_err(Error::Output)
}
