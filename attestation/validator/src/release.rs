//! `release`: what whoever builds images does for verifiers: a key, and signed reference values.
//!
//! A description is TOML that a person or a build writes, or a CoRIM; signed, it is a manifest that
//! verifiers hold boots against when the key is a release signer in their trust file.
//!
//! Not here: measuring an image, and what a boot must match (`assay-boot`).

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use assay_appraisal::RELEASE_NETWORK;
use assay_boot::Release;
use assay_boot::release::{MAX_RELEASE_BYTES, Pcr7Digest, Pcr7Event, PhaseValue};
use assay_wire::{Digest, Envelope, Kind, Network, cbor};
use clap::{Args, Subcommand};
use serde::Deserialize;

use crate::error::{Error, read_file};
use crate::text::plain;
use crate::{civil, init, trusted};

/// A description with every key that there is.
const TEMPLATE: &str = include_str!("release.toml");

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key that signs releases, and print what trust files say of it.
    Key {
        /// A new file; keys are never overwritten.
        file: PathBuf,
        /// The signer's name in trust files.
        #[arg(long, default_value = "releases")]
        name: String,
    },
    /// Print a release description to fill in.
    Template,
    /// Sign a release description.
    Sign(SignArgs),
    /// Write what a signed manifest says as a CoRIM; its signature is not looked at.
    Corim {
        /// The manifest.
        file: PathBuf,
        /// A new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The description: TOML as `release template` prints it, or an unsigned CoRIM (`.corim`).
    description: PathBuf,
    /// The key, as `release key` writes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A new file for the manifest.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs one.
pub(crate) fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Key { file, name } => {
            let key = hex::encode(init::key(&file)?.0);
            print(&format!(
                "made {}\n\nNext: add to the trust file of everyone who is to believe it\n\n\
                 [[release_signer]]\nname = {name:?}\nkey = \"{key}\"",
                file.display()
            ))
        }
        Command::Template => print(TEMPLATE.trim_end()),
        Command::Sign(args) => sign(&args),
        Command::Corim { file, out } => corim(&file, &out),
    }
}

fn print(text: &str) -> Result<(), Error> {
    writeln!(io::stdout().lock(), "{text}").map_err(Error::Output)
}

fn sign(args: &SignArgs) -> Result<(), Error> {
    let key = trusted::signing_key(&args.key)?;
    let release = described(&args.description)?;
    let kid = key.verifying_key().validator_id();
    let manifest = Envelope::seal(Kind::Release, kid, &release, &key, &Network::new(RELEASE_NETWORK));
    init::write(&args.out, 0o644, manifest)?;
    let (name, version) = (plain(&release.name), plain(&release.version));
    let until = civil::format(release.expires_ms);
    let line = format!("signed {name} {version} (number {}), a reference until {until}", release.number);
    print(&line)?;
    if release.refuses_credentials() != Some(true) {
        print(
            "note: its command line does not say systemd.import_credentials=no, so no boot of it reaches P1",
        )?;
    }
    if release.names_root_hash().is_none() {
        print("note: its command line has no roothash=, so no boot of it proves root_hash")?;
    }
    Ok(())
}

fn corim(file: &Path, out: &Path) -> Result<(), Error> {
    let fault = |source| Error::Release { path: file.to_owned(), source };
    let envelope = Envelope::decode_as(Kind::Release, &read_file(file)?).map_err(|e| fault(e.into()))?;
    let release: Release = envelope.message().map_err(|e| fault(e.into()))?;
    let corim = release.to_corim().map_err(|source| Error::Corim { path: file.to_owned(), source })?;
    init::write(out, 0o644, corim)
}

/// Reads a description, and refuses one that no verifier could use.
fn described(path: &Path) -> Result<Release, Error> {
    let bytes = read_file(path)?;
    let release = match path.extension().is_some_and(|extension| extension == "corim") {
        true => {
            Release::from_corim(&bytes).map_err(|source| Error::Corim { path: path.to_owned(), source })?
        }
        false => parse(&bytes).map_err(|detail| Error::Description { path: path.to_owned(), detail })?,
    };
    match useless(&release) {
        None => Ok(release),
        Some(detail) => Err(Error::Description { path: path.to_owned(), detail: detail.to_owned() }),
    }
}

fn useless(release: &Release) -> Option<&'static str> {
    let faults = [
        (release.name.is_empty(), "name: empty"),
        (release.expires_ms <= release.issued_ms, "expires: not after issued"),
        (release.minimum > release.number, "minimum: above number, so the release takes itself back"),
        (release.kernel_boot.is_empty(), "kernel_boot: no value of PCR 11, so no boot could match"),
        (release.names_root_hash() == Some(false), "root_hash: command_line has another one in roothash="),
        (cbor::to_vec(release).len() > MAX_RELEASE_BYTES, "larger than a release may be"),
    ];
    faults.into_iter().find_map(|(is, fault)| is.then_some(fault))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    name: String,
    version: String,
    number: u64,
    #[serde(default)]
    minimum: u64,
    issued: String,
    expires: String,
    kernel_boot: Vec<PhaseSection>,
    applications: Vec<String>,
    secure_boot: Vec<Pcr7Section>,
    #[serde(default)]
    overrides: Vec<String>,
    #[serde(default)]
    extensions: Vec<String>,
    root_hash: String,
    agent: String,
    command_line: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseSection {
    path: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pcr7Section {
    event: String,
    digest: String,
}

fn parse(bytes: &[u8]) -> Result<Release, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let read: Description = toml::from_str(text).map_err(|error| error.to_string())?;
    let phase = |one: &PhaseSection| {
        Ok(PhaseValue { path: one.path.clone(), value: digest("kernel_boot.value", &one.value)? })
    };
    Ok(Release {
        kernel_boot: read.kernel_boot.iter().map(phase).collect::<Result<_, String>>()?,
        applications: digests("applications", &read.applications)?,
        secure_boot: read.secure_boot.iter().map(pcr7).collect::<Result<_, _>>()?,
        overrides: digests("overrides", &read.overrides)?,
        extensions: digests("extensions", &read.extensions)?,
        root_hash: digest("root_hash", &read.root_hash)?,
        agent: digest("agent", &read.agent)?,
        issued_ms: time("issued", &read.issued)?,
        expires_ms: time("expires", &read.expires)?,
        name: read.name,
        version: read.version,
        number: read.number,
        minimum: read.minimum,
        command_line: read.command_line,
    })
}

fn pcr7(section: &Pcr7Section) -> Result<Pcr7Digest, String> {
    let event = Pcr7Event::ALL.into_iter().find(|event| event.name() == section.event);
    let names = Pcr7Event::ALL.map(Pcr7Event::name).join(", ");
    let event = event.ok_or_else(|| format!("secure_boot.event: {:?} is none of {names}", section.event))?;
    Ok(Pcr7Digest { event, digest: digest("secure_boot.digest", &section.digest)? })
}

fn digests(key: &str, all: &[String]) -> Result<Vec<Digest>, String> {
    all.iter().map(|one| digest(key, one)).collect()
}

fn digest(key: &str, text: &str) -> Result<Digest, String> {
    Digest::from_hex(text).ok_or_else(|| format!("{key}: {text:?} is not 64 hexadecimal digits"))
}

fn time(key: &str, text: &str) -> Result<u64, String> {
    civil::parse(text).ok_or_else(|| format!("{key}: {text:?} is no RFC 3339 time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_description() {
        let release = parse(TEMPLATE.as_bytes()).unwrap();
        assert_eq!((useless(&release), release.refuses_credentials()), (None, Some(true)));
        assert_eq!(release.names_root_hash(), Some(true));
        assert_eq!(release.secure_boot.len(), 5);
        assert_eq!(release.kernel_boot.len(), 2);
        assert_eq!(civil::format(release.issued_ms), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn wrong_descriptions_are_refused_by_key() {
        let fault = |from: &str, to: &str| {
            assert!(TEMPLATE.contains(from), "{from}");
            match parse(TEMPLATE.replacen(from, to, 1).as_bytes()) {
                Ok(release) => useless(&release).unwrap_or_default().to_owned(),
                Err(fault) => fault,
            }
        };
        for (from, to, key) in [
            ("\"PK\"", "\"pk\"", "secure_boot.event"),
            ("\"1111", "\"11", "kernel_boot.value"),
            ("2026-01-01", "2026-13-01", "issued"),
            ("2027-01-01", "2025-01-01", "expires"),
            ("minimum = 1", "minimum = 2", "minimum"),
            ("name = \"appliance\"", "name = \"\"", "name"),
            ("number = 1", "number = -1", "number"),
            ("root_hash", "surprise", "surprise"),
            ("root_hash = \"88", "root_hash = \"99", "root_hash"),
            ("roothash=88", "roothash=99", "root_hash"),
        ] {
            assert!(fault(from, to).contains(key), "{to}: {}", fault(from, to));
        }
        assert!(parse(&[0xff]).is_err());
    }
}
