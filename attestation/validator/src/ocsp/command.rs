//! The commands: arguments, files, and what is printed.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use assay_gpu::bundle::MAX_BUNDLE;
use assay_gpu::device::{Asking, CertificateStatus, HoldPolicy, Revocation, Roots, asked};
use assay_x509::{CertIdHash, NonceResult, OcspStatus, OcspTerms, Seconds};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::request::name;
use super::{Cache, Request, Subject, judge, load, nonces, requests};
use crate::cli::{self, print_json};
use crate::error::{Error, read_up_to};
use crate::rim::MAX_DOCUMENT;
use crate::text::{colour, plain, styled};
use crate::{civil, init};

/// Longest file with a device's certificates.
const MAX_CHAIN: usize = 128 << 10;

/// What is asked and judged.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write OCSP requests (RFC 6960), one file for each certificate, to be sent with any HTTP client.
    #[command(after_help = REQUEST_HELP)]
    Request(RequestArgs),
    /// Judge answers, and keep the good ones.
    Check(CheckArgs),
}

const REQUEST_HELP: &str = "\
Send each with the line that is printed for it:

  curl -sSf -H 'Content-Type: application/ocsp-request' --data-binary @DIR/ID.request.der \\
    -o DIR/ID.answer.der URL

then judge what came with `assay-validator ocsp check --asked DIR`. Nothing here opens a connection, so requests
and answers may travel between machines by any means.";

/// Whose certificates.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Whose {
    /// Certificates of a device in PEM, leaf first. May be given several times.
    #[arg(long, value_name = "FILE")]
    chain: Vec<PathBuf>,
    /// Several devices: a JSON array of {arch, nonce, evidence, certificate}. May be given several times.
    #[arg(long, value_name = "FILE")]
    bundle: Vec<PathBuf>,
    /// A document of reference values, whose signer is asked about. May be given several times.
    #[arg(long, value_name = "FILE")]
    rim: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    whose: Whose,
    /// Folder for the requests, which is made if it is not there; no file is overwritten.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Hash of issuers' names and keys.
    #[arg(long, value_enum, default_value = "sha384")]
    hash: HashName,
    /// Leave out the nonce, for responders that only give answers made beforehand.
    #[arg(long)]
    no_nonce: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HashName {
    Sha1,
    Sha256,
    Sha384,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    whose: Whose,
    /// Folder that `ocsp request` wrote: its nonces must be the answers', whose files are read from it too.
    #[arg(long, value_name = "DIR")]
    asked: Option<PathBuf>,
    /// Refuse an answer without the nonce that was asked with.
    #[arg(long, requires = "asked")]
    require_nonce: bool,
    /// Folder of answers that are used as long as they last; good ones are added.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// The time to check at, instead of now (RFC 3339).
    #[arg(long)]
    time: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Answers, DER.
    files: Vec<PathBuf>,
}

/// Runs one; `false` when a certificate is not known to be good, or cannot be asked about.
pub(crate) fn run(command: &Command) -> Result<bool, Error> {
    match command {
        Command::Request(args) => ask(args),
        Command::Check(args) => check(args),
    }
}

impl Whose {
    /// The chains that hold, and whether those are all: of each other one a line on standard error says why, and it
    /// keeps none of these back.
    fn proven(&self, at: Seconds) -> Result<(Vec<Subject>, bool), Error> {
        let (roots, mut proven, mut whole) = (Roots::nvidia(), Vec::new(), true);
        let chains = self.chain.iter().map(|file| (file, MAX_CHAIN, Form::Chain));
        let bundles = self.bundle.iter().map(|file| (file, MAX_BUNDLE, Form::Bundle));
        let rims = self.rim.iter().map(|file| (file, MAX_DOCUMENT, Form::Rim));
        for (file, limit, form) in chains.chain(bundles).chain(rims) {
            let bytes = read_up_to(file, limit)?;
            let read = match form {
                Form::Chain => vec![Subject::device(file, &bytes, &roots, at)],
                Form::Bundle => {
                    Subject::bundle(file, &bytes, &roots, at).unwrap_or_else(|error| vec![Err(error)])
                }
                Form::Rim => vec![Subject::rim(file, &bytes, &roots)],
            };
            for one in read {
                let name = one.as_ref().map_or_else(|_| file.clone(), |one| PathBuf::from(&one.name));
                match one.and_then(Subject::proven) {
                    Ok(subject) => proven.push(subject),
                    Err(error) => whole = cli::undecodable(&name, &error)?,
                }
            }
        }
        Ok((proven, whole))
    }
}

/// What a file holds.
enum Form {
    Chain,
    Bundle,
    Rim,
}

fn seconds(time: Option<&str>) -> Result<Seconds, Error> {
    Ok(Seconds::try_from(cli::time(time)? / 1000).unwrap_or(Seconds::MAX))
}

fn ask(args: &RequestArgs) -> Result<bool, Error> {
    let (subjects, whole) = args.whose.proven(seconds(None)?)?;
    let hash = match args.hash {
        HashName::Sha1 => CertIdHash::Sha1,
        HashName::Sha256 => CertIdHash::Sha256,
        HashName::Sha384 => CertIdHash::Sha384,
    };
    let requests = requests(&subjects, hash, || if args.no_nonce { Ok(None) } else { nonce().map(Some) })?;
    let failed = |source| Error::WriteFile { path: args.out.clone(), source };
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    for request in &requests {
        init::write(&args.out.join(request.file()), 0o644, &request.der)?;
    }
    let lines: Vec<String> = requests.iter().map(|request| curl(request, &args.out)).collect();
    if args.json {
        let one = |(request, line): (&Request, &String)| {
            json!({
                "position": request.position,
                "subject": request.subject,
                "certificate": request.certificate.to_string(),
                "url": request.url,
                "request": args.out.join(request.file()),
                "answer": args.out.join(request.answer_file()),
                "command": line,
            })
        };
        let all: Vec<_> = requests.iter().zip(&lines).map(one).collect();
        return print_json(&json!({ "schema": 1, "requests": all })).map(|()| whole);
    }
    let mut out = io::stdout().lock();
    for (request, line) in requests.iter().zip(&lines) {
        let about = format!("# certificate {}: {}", request.position, plain(&request.subject));
        writeln!(out, "{about}\n{line}").map_err(Error::Output)?;
    }
    Ok(whole)
}

fn nonce() -> Result<[u8; 32], Error> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(Error::Randomness)?;
    Ok(nonce)
}

/// The line for a shell that sends a request.
fn curl(request: &Request, dir: &Path) -> String {
    let file = |name: String| dir.join(name).display().to_string();
    let body = quoted(&format!("@{}", file(request.file())));
    let answer = quoted(&file(request.answer_file()));
    // By the word of a certificate: nothing but an address of this kind goes to a shell, quoted.
    let url = request.url.as_deref().filter(|url| url.starts_with("http://") || url.starts_with("https://"));
    let url = url.map_or_else(|| "URL".to_owned(), quoted);
    format!("curl -sSf -H 'Content-Type: application/ocsp-request' --data-binary {body} -o {answer} {url}")
}

/// A word of a shell's command line that stands for exactly this text.
fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    match !text.is_empty() && text.chars().all(safe) {
        true => text.to_owned(),
        false => format!("'{}'", plain(text).replace('\'', r"'\''")),
    }
}

fn check(args: &CheckArgs) -> Result<bool, Error> {
    let at = seconds(args.time.as_deref())?;
    let (proven, whole) = args.whose.proven(at)?;
    let nonces = args.asked.as_deref().map(|dir| nonces(&proven, dir)).transpose()?.unwrap_or_default();
    let terms = OcspTerms { nonce_required: args.require_nonce, ..OcspTerms::at(at) };
    let asking = Asking { terms, nonces: &nonces, hold: HoldPolicy::default() };
    let cache = args.cache.as_deref().map(Cache::open).transpose()?;
    let given = load(&files(args, &proven))?;
    let mut judged = Vec::new();
    for subject in &proven {
        judged.push(judge(subject.kind, &subject.chain, &given, &asking, cache.as_ref())?);
    }
    print(args, &proven, &judged)?;
    Ok(whole && judged.iter().all(|one| one.check.holds()))
}

/// Answers that are named, and those that lie where `ocsp request` said.
fn files(args: &CheckArgs, subjects: &[Subject]) -> Vec<PathBuf> {
    let mut files = args.files.clone();
    let Some(dir) = &args.asked else { return files };
    for (_, certificate, _) in subjects.iter().flat_map(|subject| asked(subject.kind, &subject.chain)) {
        let path = dir.join(name(&certificate.fingerprint(), "answer"));
        if path.exists() && !files.contains(&path) {
            files.push(path);
        }
    }
    files
}

fn print(args: &CheckArgs, subjects: &[Subject], judged: &[Revocation]) -> Result<(), Error> {
    if args.json {
        let one = |(subject, judged): (&Subject, &Revocation)| {
            json!({
                "file": subject.name,
                "result": judged.check.result,
                "reason": judged.check.reason,
                "certificates": judged.certificates,
                "unread": judged.unread.iter().map(|(place, why)| json!({ "answer": place, "reason": why }))
                    .collect::<Vec<_>>(),
            })
        };
        let chains: Vec<_> = subjects.iter().zip(judged).map(one).collect();
        return print_json(&json!({ "schema": 1, "chains": chains }));
    }
    let mut page = String::new();
    for (subject, judged) in subjects.iter().zip(judged) {
        page.push_str(&table(subject, judged));
    }
    io::stdout().lock().write_all(page.as_bytes()).map_err(Error::Output)
}

fn table(subject: &Subject, judged: &Revocation) -> String {
    let (word, sgr) = match judged.check.result {
        Some(true) => ("GOOD", 32),
        Some(false) => ("BAD", 31),
        None => ("NOT KNOWN", 33),
    };
    let head = styled(colour(), sgr, word);
    let mut page = format!("{}  {head}: {}\n", plain(&subject.name), plain(&judged.check.reason));
    for one in &judged.certificates {
        page.push_str(&line(one));
    }
    for (place, why) in &judged.unread {
        page.push_str(&format!("  answer {place}: {}\n", plain(why)));
    }
    page
}

fn line(one: &CertificateStatus) -> String {
    let status = one.status.map_or_else(|| "no OCSP answer".to_owned(), |status| status.to_string());
    let until = one.next_update.and_then(|until| u64::try_from(until).ok());
    let until = until.map(|until| format!(", until {}", civil::format(until.saturating_mul(1000))));
    let nonce = match (one.status, one.nonce) {
        // Nothing of an answer that can't be used is known to be the responder's word.
        (None | Some(OcspStatus::NotUsable(_)), _) => "",
        (_, NonceResult::Equal) => ", made for this request",
        (_, NonceResult::Absent) => ", without the nonce",
        (_, NonceResult::NotAsked | NonceResult::Different) => "",
    };
    let subject = plain(&one.subject);
    format!("  certificate {}  {status}{}{nonce}  {subject}\n", one.position, until.unwrap_or_default())
}
