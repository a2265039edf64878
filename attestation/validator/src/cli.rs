//! The command line: arguments in, one operation, an exit code out.
//!
//! 0: good. 1: a verdict is reject, or bytes could not be decoded. 2: wrong arguments,
//! configuration or trust file. 3: it could not be done (I/O, network).

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Home};
use crate::error::{Error, chain};
use crate::server::Service;
use crate::{
    admin, civil, ear, init, inspect, logger, nodes, ocsp, release, report, rim, seal, text, trust_file,
    verify, verify_gpu,
};

/// The network's side of Assay: checks what machines say of themselves.
#[derive(Debug, Parser)]
#[command(name = "assay-validator", version)]
#[command(
    after_help = "Exit codes: 0 good; 1 a verdict is reject; 2 wrong arguments, configuration or trust; \
                        3 it could not be done."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a validator's directory: keys, trust file, policies, configuration.
    Init(InitArgs),
    /// Serve nodes over HTTPS, with DIR's trust.toml, vendors.toml and releases/*.cbor.
    Serve(ServeArgs),
    /// Check exported files, offline.
    Verify(VerifyArgs),
    /// Check the signed reports of NVIDIA GPUs and switches, offline.
    VerifyGpu(verify_gpu::VerifyGpuArgs),
    /// Show what a file says, without believing it.
    Inspect(inspect::InspectArgs),
    /// Ask whether certificates of devices, or of who signed reference values, were taken back.
    #[command(subcommand)]
    Ocsp(ocsp::Command),
    /// List the nodes that a validator knows.
    Nodes(NodesArgs),
    /// Show a claim as one page.
    Report(ReportArgs),
    /// Seal secrets of a job to the session that is to run it, once its evidence is accepted.
    Seal(seal::SealArgs),
    /// Change a trust file.
    #[command(subcommand)]
    Trust(trust_file::Command),
    /// Make and sign the reference values of releases.
    #[command(subcommand)]
    Release(release::Command),
    /// Look after reference values of GPUs.
    #[command(subcommand)]
    Rim(rim::Command),
    /// Look after a validator.
    #[command(flatten)]
    Admin(admin::command::Command),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Directory to make; files in it are never overwritten.
    dir: PathBuf,
    /// The network's id: what is signed for one network means nothing on another.
    #[arg(long)]
    network: Option<String>,
    /// This validator's name in the trust file.
    #[arg(long)]
    name: Option<String>,
    /// Who runs it; receipts of one operator count once.
    #[arg(long)]
    operator: Option<String>,
    /// Address and port to serve on.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Names and addresses for the TLS certificate.
    #[arg(long, num_args = 1..)]
    host: Vec<String>,
    /// Milliseconds between two beacons; also the length of an anchor slot.
    #[arg(long)]
    beacon_period_ms: Option<u64>,
    /// Chance that a slot asks for an anchor, in thousandths.
    #[arg(long)]
    anchor_per_mille: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Directory that `init` made.
    #[arg(long, required_unless_present = "print_config")]
    dir: Option<PathBuf>,
    /// Print the configuration file with its defaults and comments, and end.
    #[arg(long)]
    print_config: bool,
    /// Address and port, instead of the configuration's.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Log more: connections too.
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AgainstArgs {
    /// Whom to believe.
    #[arg(long)]
    trust: PathBuf,
    /// Policy, instead of the trust file's.
    #[arg(long)]
    policy: Option<String>,
    /// The time to check at, instead of now (RFC 3339).
    #[arg(long)]
    time: Option<String>,
    /// More TPM makers and their authorities, as in a validator's vendors.toml.
    #[arg(long, value_name = "FILE")]
    vendors: Option<PathBuf>,
    /// A release manifest by a release signer in the trust file. May be given several times.
    #[arg(long, value_name = "FILE")]
    release: Vec<PathBuf>,
    /// What to remember: a revocation list, a firmware table or a GPU's reference values in reduced form, signed by a
    /// validator in the trust file. May be given several times.
    #[arg(long, value_name = "FILE", visible_aliases = ["revocations", "firmware"])]
    state: Vec<PathBuf>,
    /// Reference values of GPUs: a folder of NVIDIA's signed files, or of reduced forms by validators in the trust file.
    #[arg(long, value_name = "DIR")]
    rims: Option<PathBuf>,
    /// An OCSP response, DER, about certificates of GPUs or of who signed their reference values. May be given several
    /// times.
    #[arg(long, value_name = "FILE")]
    ocsp: Vec<PathBuf>,
}

impl AgainstArgs {
    pub(crate) fn load(&self) -> Result<(verify::Verifier, u64), Error> {
        let now_ms = time(self.time.as_deref())?;
        let sources = verify::Sources {
            trust: self.trust.clone(),
            policy: self.policy.clone(),
            vendors: self.vendors.clone(),
            releases: self.release.clone(),
            statements: self.state.clone(),
        };
        let mut verifier = verify::Verifier::load(&sources)?;
        let answers = ocsp::load(&self.ocsp)?;
        for refused in verifier.take_devices(self.rims.as_deref(), &answers)? {
            let line = format!("{} is not used: {}", refused.file.display(), refused.reason);
            writeln!(io::stderr().lock(), "{}", text::plain(&line)).map_err(Error::Output)?;
        }
        Ok((verifier, now_ms))
    }
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    against: AgainstArgs,
    /// Write the result of one file as an EAR token (draft-ietf-rats-ear).
    #[arg(long, value_name = "FORMAT", requires_all = ["key", "out"])]
    ear: Option<ear::Format>,
    /// The key that signs the token: a validator's `validator.key`.
    #[arg(long, value_name = "FILE", requires = "ear")]
    key: Option<PathBuf>,
    /// A new file for the token; written for every verdict.
    #[arg(long, value_name = "FILE", requires = "ear")]
    out: Option<PathBuf>,
    /// Print JSON: an object for one file, an array for several.
    #[arg(long)]
    json: bool,
    /// Exported files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct NodesArgs {
    /// Directory of the validator.
    #[arg(long)]
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// A claim; evidence and receipts give a shorter page.
    file: PathBuf,
    #[command(flatten)]
    against: AgainstArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command line and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli.command) {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(3),
        Err(error) => {
            let mut stderr = io::stderr().lock();
            let _ = writeln!(stderr, "assay-validator: {}", chain(&error));
            if let Some(hint) = error.hint() {
                let _ = writeln!(stderr, "  {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs one command; `false` for a verdict of reject.
fn dispatch(command: Command) -> Result<bool, Error> {
    match command {
        Command::Init(args) => run_init(args).map(|()| true),
        Command::Serve(args) => run_serve(&args).map(|()| true),
        Command::Verify(args) => run_verify(&args),
        Command::VerifyGpu(args) => verify_gpu::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Ocsp(command) => ocsp::run(&command),
        Command::Nodes(args) => run_nodes(&args).map(|()| true),
        Command::Report(args) => run_report(&args),
        Command::Seal(args) => seal::run(&args),
        Command::Trust(command) => trust_file::run(&command).map(|()| true),
        Command::Release(command) => release::run(command).map(|()| true),
        Command::Rim(command) => rim::run(&command),
        Command::Admin(command) => admin::command::run(command),
    }
}

pub(crate) fn print_json(value: &Value) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out))
        .map_err(Error::Output)
}

fn run_init(args: InitArgs) -> Result<(), Error> {
    let defaults = init::Options::default();
    let options = init::Options {
        network: args.network.unwrap_or(defaults.network),
        name: args.name.unwrap_or(defaults.name),
        operator: args.operator.unwrap_or(defaults.operator),
        listen: args.listen.unwrap_or(defaults.listen),
        hosts: if args.host.is_empty() { defaults.hosts } else { args.host },
        beacon_period_ms: args.beacon_period_ms.unwrap_or(defaults.beacon_period_ms),
        anchor_per_mille: args.anchor_per_mille.unwrap_or(defaults.anchor_per_mille),
    };
    let made = init::init(&args.dir, &options)?;
    let (dir, key) = (args.dir.display().to_string(), hex::encode(made.key.0));
    if args.json {
        let id = made.key.validator_id().to_string();
        return print_json(&json!({ "schema": 1, "dir": dir, "pin": made.pin, "key": key, "id": id }));
    }
    let next = format!("assay-validator serve --dir {dir}");
    let page = format!(
        "made {dir}\nkey   {key}\npin   {}\n\nNext: hand {dir}/trust.toml to everyone who checks proofs, put the \
         pin into each node's configuration, and run\n  {next}",
        made.pin
    );
    writeln!(io::stdout().lock(), "{page}").map_err(Error::Output)
}

fn run_serve(args: &ServeArgs) -> Result<(), Error> {
    match &args.dir {
        Some(dir) if !args.print_config => serve(args, dir),
        _ => {
            let listen = args.listen.unwrap_or_else(|| init::Options::default().listen);
            write!(io::stdout().lock(), "{}", Config::template(listen)).map_err(Error::Output)
        }
    }
}

fn serve(args: &ServeArgs, dir: &Path) -> Result<(), Error> {
    logger::start(if args.verbose { log::LevelFilter::Debug } else { log::LevelFilter::Info });
    let service = Service::open(&Home::new(dir))?;
    let address = args.listen.unwrap_or_else(|| service.listen_address());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Start { what: "the runtime", source })?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| Error::Listen { address: address.to_string(), source })?;
        let signals = |kind| signal(kind).map_err(|source| Error::Start { what: "signals", source });
        let (mut term, mut int) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
        let at = listener.local_addr().unwrap_or(address);
        log::info!("validator {} listens on {at}, pin {}", service.id(), service.pin());
        let stop = async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        };
        service.serve(listener, stop).await
    })
}

pub(crate) fn time(text: Option<&str>) -> Result<u64, Error> {
    match text {
        Some(text) => civil::parse(text).ok_or_else(|| {
            Error::Argument(format!("--time {text:?}: not an RFC 3339 time, such as {}", civil::format(0)))
        }),
        None => Ok(civil::now_ms()),
    }
}

fn run_verify(args: &VerifyArgs) -> Result<bool, Error> {
    if args.ear.is_some() && args.files.len() > 1 {
        return Err(Error::Argument("--ear takes one file at a time".to_owned()));
    }
    let (verifier, now_ms) = args.against.load()?;
    let checked = verify::verify(&args.files, &verifier, now_ms)?;
    if let (Some(format), Some(key), Some(out)) = (args.ear, &args.key, &args.out) {
        for appraisal in checked.iter().filter_map(|one| one.outcome.as_ref().ok()) {
            ear::export(appraisal, format, key, out)?;
        }
    }
    match args.json {
        true => print_json(&verify::json(&checked))?,
        false => verify::print(&mut io::stdout().lock(), &checked, text::colour()).map_err(Error::Output)?,
    }
    Ok(checked.iter().all(verify::Checked::accepted))
}

pub(crate) fn undecodable(file: &Path, error: &dyn std::error::Error) -> Result<bool, Error> {
    let line = text::plain(&format!("{}: {}", file.display(), chain(error)));
    writeln!(io::stderr().lock(), "{line}").map_err(Error::Output)?;
    Ok(false)
}

fn run_nodes(args: &NodesArgs) -> Result<(), Error> {
    let list = nodes::list(&Home::new(&args.dir))?;
    match args.json {
        true => print_json(&nodes::json(&list)),
        false => nodes::print(&mut io::stdout().lock(), &list).map_err(Error::Output),
    }
}

fn run_report(args: &ReportArgs) -> Result<bool, Error> {
    let (verifier, now_ms) = args.against.load()?;
    let checked = verify::verify(std::slice::from_ref(&args.file), &verifier, now_ms)?;
    if args.json {
        print_json(&verify::json(&checked))?;
        return Ok(checked.iter().all(verify::Checked::accepted));
    }
    let Some(one) = checked.first() else { return Ok(false) };
    match &one.outcome {
        Ok(appraisal) => {
            report::print(&mut io::stdout().lock(), &one.file, appraisal, text::colour())
                .map_err(Error::Output)?;
            Ok(appraisal.accepted())
        }
        Err(error) => undecodable(&one.file, error),
    }
}
