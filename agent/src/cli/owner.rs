//! `owner`: an owner's key, and their word that a node belongs to someone else. Needs no agent and no TPM.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use assay_ledger::owner::OwnerTransfer;
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey, VerifyingKey};
use serde::Serialize;
use zeroize::Zeroizing;

use super::args::{NewOwner, Owner, Transfer};
use super::{error::CliError, export, print};

/// Permission bits of people other than the key's owner.
const OTHERS: u32 = 0o077;

#[derive(Serialize)]
struct Made {
    schema: u32,
    owner: String,
}

pub(super) fn run(command: &Owner, network: &str) -> Result<u8, CliError> {
    match command {
        Owner::New(new) => make(new),
        Owner::Transfer(transfer) => hand_over(transfer, &Network::new(network)),
    }
}

/// Makes a key file, never over another one, and prints its public half.
fn make(new: &NewOwner) -> Result<u8, CliError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| CliError::part("making a key", error.to_string()))?;
    let failed = |source| CliError::Write { path: new.file.clone(), source };
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new.file);
    let written = opened.and_then(|mut file| file.write_all(&*seed).and_then(|()| file.sync_all()));
    written.map_err(failed)?;
    let owner = format!("{:?}", SigningKey::from_seed(&seed).verifying_key());
    let told = match new.json.json {
        true => print::json(&Made { schema: print::SCHEMA, owner }),
        false => print::out(&format!("{owner}\n")),
    };
    told.map_err(CliError::Print).map(|()| 0)
}

/// Signs that a node belongs to another owner from now on.
fn hand_over(transfer: &Transfer, network: &Network) -> Result<u8, CliError> {
    let key = read_key(&transfer.key)?;
    let from = key.verifying_key();
    if from == transfer.to {
        return Err(CliError::Usage("--to is the key's own owner"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let word = OwnerTransfer { node: transfer.node, from, to: transfer.to, at_ms };
    let bytes = Envelope::seal(Kind::OwnerTransfer, Digest(from.0), &word, &key, network);
    let next = "the new owner names it in the node's configuration: node.transfer";
    export::put(Kind::OwnerTransfer.name(), &bytes, &transfer.out.output, transfer.out.json.json, next)
}

/// A seed of 32 bytes that nobody else may read.
fn read_key(path: &Path) -> Result<SigningKey, CliError> {
    let failed = |source| CliError::ReadKey { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_file() && about.mode() & OTHERS != 0 {
        return Err(CliError::OpenKey { path: path.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(33));
    file.take(33).read_to_end(&mut bytes).map_err(failed)?;
    let seed = <&[u8; 32]>::try_from(bytes.as_slice());
    let seed = seed.map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "not 32 bytes")))?;
    Ok(SigningKey::from_seed(seed))
}

/// 64 hexadecimal digits on the command line.
pub(super) fn digest(text: &str) -> Result<Digest, String> {
    Digest::from_hex(text).ok_or_else(|| "64 hexadecimal digits are needed".to_owned())
}

/// The same, as a public key.
pub(super) fn public_key(text: &str) -> Result<VerifyingKey, String> {
    digest(text).map(|digest| VerifyingKey(digest.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Json, Out};
    use std::fs::{Permissions, metadata, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    const JSON: Json = Json { json: false };

    #[test]
    fn a_key_is_private_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("owner.key");
        let new = NewOwner { file: file.clone(), json: JSON };
        assert_eq!(make(&new).unwrap(), 0);
        assert_eq!(metadata(&file).unwrap().mode() & 0o777, 0o600);
        let first = read_key(&file).unwrap().verifying_key();
        assert!(matches!(make(&new), Err(CliError::Write { .. })));
        assert_eq!(read_key(&file).unwrap().verifying_key(), first);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("owner.key");
        for (bytes, mode) in [(vec![1; 32], 0o640), (vec![1; 31], 0o600), (vec![1; 33], 0o600)] {
            write(&file, bytes).unwrap();
            set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let error = read_key(&file).unwrap_err();
            assert_eq!(matches!(error, CliError::OpenKey { .. }), mode == 0o640);
        }
    }

    #[test]
    fn a_transfer_is_the_owners_own_word() {
        let dir = tempfile::tempdir().unwrap();
        let (key, output) = (dir.path().join("owner.key"), dir.path().join("transfer"));
        make(&NewOwner { file: key.clone(), json: JSON }).unwrap();
        let from = read_key(&key).unwrap().verifying_key();
        let (node, to) = (Digest([7; 32]), SigningKey::from_seed(&[8; 32]).verifying_key());
        let out = Out { output: output.clone(), json: JSON };
        let transfer = Transfer { node, key, to, out };
        assert_eq!(hand_over(&transfer, &Network::new("n")).unwrap(), 0);
        let envelope = Envelope::decode_as(Kind::OwnerTransfer, &std::fs::read(output).unwrap()).unwrap();
        assert_eq!(envelope.kid, Digest(from.0));
        envelope.verify(&from, &Network::new("n")).unwrap();
        let word: OwnerTransfer = envelope.message().unwrap();
        assert_eq!((word.node, word.from, word.to), (node, from, to));
        let itself = Transfer { to: from, ..transfer };
        assert!(matches!(hand_over(&itself, &Network::new("n")), Err(CliError::Usage(_))));
    }
}
