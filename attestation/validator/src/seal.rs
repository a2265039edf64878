//! `seal`: a tenant's secrets for one session of one node, after the node's evidence was checked.
//!
//! The node's owner is whom secrets are kept from, and only P2 says that the owner has not changed
//! what runs there. Anything below is asked for by name, and said loudly.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use assay_appraisal::Appraisal;
use assay_job::file::{JOB_FILE_MAX, Sealed};
use assay_job::seal::{self, Binding, is_secret_name};
use assay_job::{JobError, JobFile};
use assay_ledger::session::{Evidence, SessionStart};
use assay_wire::{Envelope, Kind};
use base64ct::{Base64, Encoding as _};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::{AgainstArgs, print_json};
use crate::error::{Error, chain, read_up_to};
use crate::text::{self, plain};
use crate::verify::{self, Checked};

/// Most bytes of one secret.
const SECRET_MAX: usize = 32 << 10;

/// How far the platform's word has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Platform {
    /// Any operating system: the node's owner can read the secrets.
    P0,
    /// A known release, if the firmware's root of measurement is honest.
    P1,
    /// A known release, and the root of measurement holds.
    P2,
}

impl Platform {
    fn level(self) -> u8 {
        match self {
            Self::P0 => 0,
            Self::P1 => 1,
            Self::P2 => 2,
        }
    }
}

/// Seal secrets of a job to the session that is to run it.
#[derive(Debug, Args)]
pub(crate) struct SealArgs {
    /// The session's boot evidence, as `assay-agent evidence` exports it.
    #[arg(long, value_name = "FILE")]
    session: PathBuf,
    #[command(flatten)]
    against: AgainstArgs,
    /// The job file, TOML or JSON, without secrets.
    #[arg(long, value_name = "FILE")]
    job: PathBuf,
    /// How far the platform's word has to go.
    #[arg(long, value_enum, default_value = "p2")]
    platform: Platform,
    /// Where the job file with its secrets goes, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Secrets: a name, and the file that holds the value.
    #[arg(required = true, value_name = "NAME=@FILE", value_parser = secret)]
    secrets: Vec<(String, PathBuf)>,
}

/// `NAME=@FILE`; a value on a command line would be every process's to see.
fn secret(text: &str) -> Result<(String, PathBuf), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=@FILE")?;
    let file = value.strip_prefix('@').filter(|file| !file.is_empty());
    let file = file.ok_or("write NAME=@FILE: values come from files only")?;
    match is_secret_name(name) {
        true => Ok((name.to_owned(), file.into())),
        false => Err("the name must be 1 to 64 letters, digits, '_', '-' and '.'".to_owned()),
    }
}

/// Runs `seal`; `false` when the session's evidence does not go far enough.
///
/// # Errors
/// Those of the files, and [`Error::Argument`] for a job file or secret that cannot be sealed.
pub(crate) fn run(args: &SealArgs) -> Result<bool, Error> {
    let (text, job) = read_job(&args.job)?;
    let (verifier, now_ms) = args.against.load()?;
    let checked = verify::verify(std::slice::from_ref(&args.session), &verifier, now_ms)?;
    let Some(checked) = checked.first() else { return Ok(false) };
    let Some((start, appraisal)) = believed(checked, args.platform)? else { return Ok(false) };
    let sealed = seal_all(&args.secrets, &job, &start, verifier.trust.network.id())?;
    let file = with_secrets(&text, &sealed).ok_or_else(|| NO_PLACE.to_owned());
    let file = file.and_then(|file| check(file, &sealed)).map_err(|why| unusable(&args.job, &why))?;
    if let Some(out) = &args.out {
        std::fs::write(out, &file).map_err(|source| Error::WriteFile { path: out.clone(), source })?;
    }
    let digest = JobFile::parse(file.as_bytes()).map(|job| hex::encode(job.digest())).unwrap_or_default();
    match (args.json, &args.out) {
        (true, _) => print_json(&json!({
            "schema": 1,
            "session": start.id().to_string(),
            "node": start.node.to_string(),
            "axes": appraisal.axes,
            "job": digest,
            "secrets": sealed.keys().collect::<Vec<_>>(),
            "file": file,
        }))?,
        (false, Some(_)) => {}
        (false, None) => write!(io::stdout().lock(), "{file}").map_err(Error::Output)?,
    }
    Ok(true)
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::Argument(format!("{}: {why}", path.display()))
}

fn read_job(path: &Path) -> Result<(String, JobFile), Error> {
    let bytes = read_up_to(path, JOB_FILE_MAX)?;
    let job = JobFile::parse(&bytes).map_err(|error: JobError| unusable(path, &chain(&error)))?;
    if !job.secrets.is_empty() {
        return Err(unusable(
            path,
            "has secrets already: name all of them at once, for the file without them",
        ));
    }
    // Its parser has read it as text.
    Ok((String::from_utf8_lossy(&bytes).into_owned(), job))
}

/// The session, when its evidence is accepted and its platform goes far enough.
fn believed(checked: &Checked, wanted: Platform) -> Result<Option<(SessionStart, &Appraisal)>, Error> {
    let mut stderr = io::stderr().lock();
    let refused = |stderr: &mut io::StderrLock<'_>, why: &str| {
        verify::print(stderr, std::slice::from_ref(checked), text::colour())?;
        writeln!(stderr, "nothing was sealed: {why}")
    };
    let appraisal = match &checked.outcome {
        Ok(appraisal) if appraisal.kind == Kind::Evidence && appraisal.accepted() => appraisal,
        _ => {
            refused(&mut stderr, "no evidence of a session that is accepted").map_err(Error::Output)?;
            return Ok(None);
        }
    };
    let platform = appraisal.axes.platform;
    if platform < wanted.level() {
        let why = format!(
            "the node is at P{platform}, where its owner may read what runs on it; --platform p{platform} seals \
             all the same"
        );
        refused(&mut stderr, &why).map_err(Error::Output)?;
        return Ok(None);
    }
    let bytes = crate::error::read_file(&checked.file)?;
    let evidence = Envelope::decode_as(Kind::Evidence, &bytes).and_then(|e| e.message::<Evidence>());
    let start = evidence.map_err(|error| unusable(&checked.file, &chain(&error)))?.session;
    // What was appraised is what is sealed to, whatever became of the file between.
    let appraised = appraisal.facts.sessions.iter().any(|facts| facts.id == start.id().to_string());
    if !appraised {
        return Err(unusable(&checked.file, "changed while it was read"));
    }
    if platform < Platform::P2.level() {
        let line = format!("WARNING: the node is at P{platform}: its owner may read these secrets");
        writeln!(stderr, "{}", plain(&line)).map_err(Error::Output)?;
    }
    Ok(Some((start, appraisal)))
}

fn seal_all(
    secrets: &[(String, PathBuf)],
    job: &JobFile,
    start: &SessionStart,
    network: &str,
) -> Result<BTreeMap<String, Sealed>, Error> {
    let mut job = job.clone();
    // The digest covers the names, so all of them come first.
    for (name, _) in secrets {
        if job.secrets.insert(name.clone(), Sealed(vec![])).is_some() {
            return Err(Error::Argument(format!("secret {name} is named twice")));
        }
    }
    let (digest, session) = (job.digest(), start.id());
    let binding = Binding { network, session: &session, node: &start.node, job: &digest };
    let mut sealed = BTreeMap::new();
    for (name, file) in secrets {
        let value = Zeroizing::new(read_up_to(file, SECRET_MAX)?);
        let mut ephemeral = Zeroizing::new([0; 32]);
        getrandom::fill(ephemeral.as_mut()).map_err(Error::Randomness)?;
        let one = seal::seal(&start.sealing_key.0, &binding, name, &value, &ephemeral);
        let one = one.map_err(|error| Error::Argument(error.to_string()))?;
        sealed.insert(name.clone(), one);
    }
    Ok(sealed)
}

/// The job file's text with the secrets; everything else in it stays as it was written.
fn with_secrets(text: &str, sealed: &BTreeMap<String, Sealed>) -> Option<String> {
    let sealed = sealed.iter().map(|(name, sealed)| (name, Base64::encode_string(&sealed.0)));
    if text.trim_start().starts_with('{') {
        let mut value: Value = serde_json::from_str(text).ok()?;
        let secrets: BTreeMap<_, _> = sealed.collect();
        value.get_mut("job")?.as_object_mut()?.insert("secrets".to_owned(), json!(secrets));
        return serde_json::to_string_pretty(&value).ok().map(|text| text + "\n");
    }
    let lines: String = sealed.map(|(name, value)| format!("\"{name}\" = \"{value}\"\n")).collect();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    Some(format!("{text}{end}\n[job.secrets]\n{lines}"))
}

/// What keeps secrets from a file that is a job file without them.
const NO_PLACE: &str = "secrets cannot be added to it: write job as a table of its own, under the line [job]";

/// The file, if it reads back with exactly these secrets; else why not.
fn check(file: String, sealed: &BTreeMap<String, Sealed>) -> Result<String, String> {
    if file.len() > JOB_FILE_MAX {
        let bytes = file.len();
        return Err(format!(
            "has {bytes} bytes with its secrets, and a job file has {JOB_FILE_MAX} at most: seal smaller ones"
        ));
    }
    match JobFile::parse(file.as_bytes()) {
        Ok(job) if job.secrets == *sealed => Ok(file),
        _ => Err(NO_PLACE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> BTreeMap<String, Sealed> {
        [("A".to_owned(), Sealed(vec![1; 50])), ("b.c".to_owned(), Sealed(vec![2; 60]))].into()
    }

    #[test]
    fn secrets_are_added_to_both_kinds_of_file() {
        let toml = "# mine\n[job]\nimage = \"oci:/l\"\n[job.resources]\npids = 9";
        let json = "{\"job\": {\"image\": \"oci:/l\", \"resources\": {\"pids\": 9}}}";
        let files =
            [toml, json].map(|text| check(with_secrets(text, &sealed()).unwrap(), &sealed()).unwrap());
        assert!(files[0].starts_with(toml));
        let jobs = files.map(|file| JobFile::parse(file.as_bytes()).unwrap());
        assert_eq!(jobs[0], jobs[1]);
        assert_eq!((jobs[0].secrets.len(), jobs[0].resources.pids), (2, 9));
    }

    #[test]
    fn a_file_that_cannot_take_them_is_refused() {
        let inline = "job = { image = \"oci:/l\" }\n";
        assert!(JobFile::parse(inline.as_bytes()).is_ok());
        let why = |text: &str| check(with_secrets(text, &sealed()).unwrap(), &sealed()).unwrap_err();
        assert!(why(inline).contains("[job]"));
        let full = format!("[job]\nimage = \"oci:/l\"\n#{}", "x".repeat(JOB_FILE_MAX - 40));
        assert!(JobFile::parse(full.as_bytes()).is_ok());
        assert!(why(&full).contains("65536 at most"));
    }

    #[test]
    fn values_come_from_files() {
        assert_eq!(secret("KEY=@/k"), Ok(("KEY".to_owned(), "/k".into())));
        for text in ["KEY", "KEY=value", "KEY=@", "=@/k", "../KEY=@/k", "a b=@/k"] {
            assert!(secret(text).is_err(), "{text}");
        }
    }
}
