//! `evidence` and `ledger export`: signed files that anyone can check.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::Path,
};

use serde::Serialize;

use super::{args::What, client::Client, error::CliError, print, progress::Progress, units};
use crate::{
    control::{Export, Request},
    core::answer::Answer,
};

/// What was written.
#[derive(Serialize)]
struct Exported<'a> {
    schema: u32,
    kind: &'a str,
    file: &'a Path,
    bytes: usize,
}

/// What the command line names, in the words of the control socket.
pub(super) fn what(what: What, job: Option<String>) -> Result<Export, CliError> {
    match (what, job) {
        (What::Receipt, job) => Ok(Export::Receipt { job }),
        (_, Some(_)) => Err(CliError::Usage("--job goes with `receipt` only")),
        (What::Claim, None) => Ok(Export::Claim),
        (What::Evidence, None) => Ok(Export::Evidence),
        (What::Enrolment, None) => Ok(Export::Enrolment),
    }
}

/// Asks the running agent for a file and writes it.
pub(super) fn write(client: &Client, what: Export, output: &Path, json: bool) -> Result<u8, CliError> {
    check_output(output, json)?;
    let (kind, bytes) = fetch(client, what)?;
    put(&kind, &bytes, output, json, "check it with: assay-validator verify --trust TRUST FILE")
}

/// Refuses an output that the bytes or what is told of them would spoil.
fn check_output(output: &Path, json: bool) -> Result<(), CliError> {
    let to_stdout = output.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(CliError::Terminal);
    }
    if to_stdout && json {
        return Err(CliError::Usage("--json describes the file, so the file cannot be standard output, too"));
    }
    Ok(())
}

/// Writes a signed file and tells it, with what to do `next`.
pub(super) fn put(kind: &str, bytes: &[u8], output: &Path, json: bool, next: &str) -> Result<u8, CliError> {
    check_output(output, json)?;
    let failed = |source| CliError::Write { path: output.to_owned(), source };
    if output.as_os_str() == "-" {
        return io::stdout().lock().write_all(bytes).map_err(failed).map(|()| 0);
    }
    replace(output, bytes).map_err(failed)?;
    tell(kind, output, bytes.len(), json, next).map_err(CliError::Print).map(|()| 0)
}

/// The envelope's kind and its bytes.
pub(super) fn fetch(client: &Client, what: Export) -> Result<(String, Vec<u8>), CliError> {
    let answer = {
        let _progress = Progress::start("waiting for the export");
        client.ask(&Request::Export { what })?
    };
    let Answer::Exported { kind, envelope } = &answer else {
        return Err(client.unexpected(&answer));
    };
    match hex::decode(envelope) {
        Ok(bytes) => Ok((kind.clone(), bytes)),
        Err(_) => Err(client.unexpected(&answer)),
    }
}

/// Writes beside the target and renames, so that a full disk leaves the old file whole.
fn replace(output: &Path, bytes: &[u8]) -> io::Result<()> {
    if std::fs::metadata(output).is_ok_and(|existing| !existing.is_file()) {
        // A pipe or a device, such as /dev/stdout: nothing to replace.
        return std::fs::OpenOptions::new().write(true).open(output)?.write_all(bytes);
    }
    let mut name = output.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = output.with_file_name(name);
    let written = File::create_new(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, output)
    });
    written.inspect_err(|_| drop(std::fs::remove_file(&part)))
}

fn tell(kind: &str, file: &Path, bytes: usize, json: bool, next: &str) -> io::Result<()> {
    if json {
        return print::json(&Exported { schema: print::SCHEMA, kind, file, bytes });
    }
    let size = units::bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
    let file = print::plain(&file.to_string_lossy());
    let next = next.replace("FILE", &file);
    print::out(&format!("{kind} written to {file} ({size}); {next}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_receipt_has_a_job() {
        assert!(matches!(what(What::Claim, Some("ab".into())), Err(CliError::Usage(_))));
        let job = Some("ab".to_owned());
        assert_eq!(what(What::Receipt, job.clone()).unwrap(), Export::Receipt { job });
    }

    #[test]
    fn a_file_is_replaced_whole_and_no_part_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("claim.cbor");
        replace(&file, b"old").unwrap();
        replace(&file, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        replace(dir.path(), b"x").unwrap_err();
        replace(&dir.path().join("none/claim.cbor"), b"x").unwrap_err();
        replace(Path::new("/dev/null"), b"x").unwrap();
    }
}
