//! The command: its arguments, the files they name, and what is printed.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use assay_gpu::bundle::{BundleError, MAX_BUNDLE, MAX_DEVICES};
use assay_gpu::device::{Architecture, HoldPolicy, Roots};
use assay_gpu::rim::Rim;
use assay_x509::Seconds;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Asked, Entry, InputError, Judged, MAX_CHAIN, MAX_OCSP, MAX_REPORT, bundle, judge, pair};
use crate::cli::{self, print_json};
use crate::error::{Error, chain, read_up_to};
use crate::ocsp::{Cache, attach, attach_to_rims};
use crate::rim::{Refused, load_dir};
use crate::{text, trusted};

/// Arguments of `verify-gpu`.
#[derive(Debug, Args)]
#[command(
    override_usage = "assay-validator verify-gpu [OPTIONS] --report <FILE> --chain <FILE>\n       \
                      assay-validator verify-gpu [OPTIONS] --bundle <FILE>...",
    after_help = "Exit codes: 0 every device's signature and chain hold and no check failed; 1 otherwise, or a bundle \
                  could not be decoded; 2 wrong arguments; 3 a file could not be read."
)]
pub(crate) struct VerifyGpuArgs {
    /// One device's report: SPDM request, response and signature, hexadecimal or as they are.
    #[arg(long, value_name = "FILE", requires = "chain", required_unless_present = "bundle")]
    report: Option<PathBuf>,
    /// Its certificates in PEM, leaf first.
    #[arg(long, value_name = "FILE", requires = "report")]
    chain: Option<PathBuf>,
    /// Several devices: a JSON array of {arch, nonce, evidence, certificate}. Of several files, such as one of
    /// the GPUs and one of the switches, all devices are held against each other.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["report", "chain", "arch"])]
    bundle: Vec<PathBuf>,
    /// The nonce that every report must answer, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    nonce: Option<String>,
    /// The time to check at, instead of now (RFC 3339).
    #[arg(long)]
    time: Option<String>,
    /// Reference values: a folder of NVIDIA's signed files, or of reduced forms (with --trust).
    #[arg(long, value_name = "DIR")]
    rims: Option<PathBuf>,
    /// An OCSP response, DER, for certificates of these devices. May be given several times.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    ocsp: Vec<PathBuf>,
    /// Keep good OCSP responses in this folder and use those that are kept until they end.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Let certificates on hold pass in chains of devices, or of those who signed reference values: each in no others.
    #[arg(long, value_name = "WHOSE")]
    allow_hold: Vec<Whose>,
    /// Whose reduced reference values count: those of the validators in this trust file.
    #[arg(long, value_name = "FILE", requires = "rims")]
    trust: Option<PathBuf>,
    /// What the report is of, instead of what the evidence shows.
    #[arg(long)]
    arch: Option<Arch>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Architectures by the words of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arch {
    Hopper,
    Blackwell,
    Ls10,
}

/// Whose chains a hold may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whose {
    Device,
    Rim,
}

/// In which chains a hold passes, by the words of the command line.
fn hold(allowed: &[Whose]) -> HoldPolicy {
    HoldPolicy { device: allowed.contains(&Whose::Device), rim: allowed.contains(&Whose::Rim) }
}

impl From<Arch> for Architecture {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::Hopper => Self::Hopper,
            Arch::Blackwell => Self::Blackwell,
            Arch::Ls10 => Self::Ls10,
        }
    }
}

/// Runs the command; `false` when a check failed or bytes could not be decoded.
pub(crate) fn run(args: &VerifyGpuArgs) -> Result<bool, Error> {
    match judged(args) {
        Ok(Ok((judged, at_ms))) => show(args, &judged, at_ms),
        Ok(Err((file, error))) => undecodable(args, &file, error.as_ref()),
        // More than any of its kind may have is as good as undecodable.
        Err(Error::FileTooLarge { path, limit }) if Some(&path) != args.trust.as_ref() => {
            undecodable(args, &path, &InputError::TooLong { limit })
        }
        Err(error) => Err(error),
    }
}

/// Bytes that are not what they should be, and the file that they are from.
type Undecodable = (PathBuf, Box<dyn StdError>);

fn judged(args: &VerifyGpuArgs) -> Result<Result<(Judged, u64), Undecodable>, Error> {
    let nonce = args.nonce.as_deref().map(nonce).transpose()?;
    let at_ms = cli::time(args.time.as_deref())?;
    let roots = Roots::nvidia();
    let (mut rims, refused) = rims(args, &roots)?;
    let mut entries = match entries(args)? {
        Ok(entries) => entries,
        Err(undecodable) => return Ok(Err(undecodable)),
    };
    let ocsp = args.ocsp.iter().map(|path| read_up_to(path, MAX_OCSP)).collect::<Result<Vec<_>, _>>()?;
    let cache = args.cache.as_deref().map(Cache::open).transpose()?;
    let at = Seconds::try_from(at_ms / 1000).unwrap_or(Seconds::MAX);
    attach_to_rims(&mut rims, &ocsp, cache.as_ref().map(|cache| (cache, at)))?;
    for entry in &mut entries {
        attach(&mut entry.evidence, &ocsp, cache.as_ref(), (&roots, at))?;
    }
    let hold = hold(&args.allow_hold);
    let mut judged = judge(entries, &Asked { nonce, at, roots: &roots, rims: &rims, hold });
    judged.refused = refused;
    Ok(Ok((judged, at_ms)))
}

fn entries(args: &VerifyGpuArgs) -> Result<Result<Vec<Entry>, Undecodable>, Error> {
    match (args.bundle.as_slice(), &args.report, &args.chain) {
        ([], Some(report), Some(certificates)) => {
            let (report, chain) = (read_up_to(report, MAX_REPORT)?, read_up_to(certificates, MAX_CHAIN)?);
            Ok(Ok(vec![pair(&report, &chain, args.arch.map(Architecture::from))]))
        }
        ([], ..) => Err(Error::Argument("a report and its chain, or a bundle".to_owned())),
        (files, ..) => bundles(files),
    }
}

/// The devices of all files, no more of them than one file may have.
fn bundles(files: &[PathBuf]) -> Result<Result<Vec<Entry>, Undecodable>, Error> {
    let mut entries = Vec::new();
    for file in files {
        match bundle(&read_up_to(file, MAX_BUNDLE)?) {
            Ok(more) => entries.extend(more),
            Err(error) => return Ok(Err((file.clone(), error.into()))),
        }
        if entries.len() > MAX_DEVICES {
            let error = BundleError::Devices { seen: entries.len() };
            return Ok(Err((file.clone(), error.into())));
        }
    }
    Ok(Ok(entries))
}

/// Reference values of the folder that count, and the files that don't.
fn rims(args: &VerifyGpuArgs, roots: &Roots) -> Result<(Vec<Rim>, Vec<Refused>), Error> {
    let trust = args.trust.as_deref().map(trusted::trust).transpose()?;
    match &args.rims {
        Some(dir) => load_dir(dir, roots.rim(), trust.as_ref()),
        None => Ok((Vec::new(), Vec::new())),
    }
}

fn nonce(text: &str) -> Result<[u8; 32], Error> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Error::Argument("--nonce: not 64 hexadecimal digits".to_owned()))
}

fn show(args: &VerifyGpuArgs, judged: &Judged, at_ms: u64) -> Result<bool, Error> {
    match args.json {
        true => print_json(&judged.json())?,
        false => {
            let files = args.bundle.iter().chain(&args.report).map(|file| file.display().to_string());
            let page = judged.page(&files.collect::<Vec<_>>().join(", "), at_ms, text::colour());
            io::stdout().lock().write_all(page.as_bytes()).map_err(Error::Output)?;
        }
    }
    Ok(judged.is_good())
}

/// One line on standard error; with `--json` also an object without devices, so that readers of JSON get some.
fn undecodable(args: &VerifyGpuArgs, file: &Path, error: &dyn StdError) -> Result<bool, Error> {
    if args.json {
        print_json(&json!({ "schema": 1, "devices": [], "error": text::plain(&chain(error)) }))?;
    }
    cli::undecodable(file, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_passes_where_it_was_allowed_and_nowhere_else() {
        let of = |device, rim| HoldPolicy { device, rim };
        assert_eq!(hold(&[]), of(false, false));
        assert_eq!(hold(&[Whose::Device]), of(true, false));
        assert_eq!(hold(&[Whose::Rim]), of(false, true));
        assert_eq!(hold(&[Whose::Rim, Whose::Device, Whose::Rim]), of(true, true));
    }
}
