//! Whom a verifier believes beyond its trust file: authorities, vendor files, releases.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assay_boot::Release;
use assay_validator::config::Home;
use assay_validator::trusted;
use assay_wire::{Envelope, Kind};

use crate::node::Node;
use crate::server::{Server, fresh_dir};

/// Makes the TPMs of these tests virtual ones.
const VENDORS: &str = "schema = 1\nvirtual_firmware = [\"0000000000000006\"]\n";

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assay-validator")).args(args).output().unwrap()
}

fn good(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A command that must end with 2 and name a file.
fn refused(args: &[&str], file: &Path) -> String {
    let output = run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert!(said.contains(text(file)), "{said}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write(path: PathBuf, content: impl AsRef<[u8]>) -> PathBuf {
    std::fs::write(&path, content).unwrap();
    path
}

fn authority(is_ca: bool) -> String {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    if is_ca {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().pem()
}

/// A signer's key, a trust file that names it, and a signed release, in one folder.
fn released(dir: &Path, home: &Home) -> (PathBuf, PathBuf) {
    let (key, manifest) = (dir.join("release.key"), dir.join("release.cbor"));
    let section = good(&["release", "key", text(&key), "--name", "builder"]);
    let section = section.split_once("[[release_signer]]").unwrap().1;
    let description = write(dir.join("release.toml"), good(&["release", "template"]));
    let signed =
        good(&["release", "sign", text(&description), "--key", text(&key), "--out", text(&manifest)]);
    assert!(signed.contains("appliance 1.0.0") && !signed.contains("note:"), "{signed}");
    let trust = std::fs::read_to_string(home.trust()).unwrap();
    (write(dir.join("with-signer.toml"), format!("{trust}\n[[release_signer]]{section}")), manifest)
}

/// A node's exported enrolment record.
fn record(server: &Server) -> PathBuf {
    let node = Node::enrolled(server, &mut server.client(), 1);
    write(server.dir.path().join("enrolment.cbor"), &node.record)
}

#[test]
fn an_authority_is_pinned_once_and_a_broken_one_changes_nothing() {
    let dir = fresh_dir();
    let trust = Home::new(dir.path().join("v")).trust();
    let ca = write(dir.path().join("maker ca.pem"), authority(true));
    let run_add = |file: &Path, class: &str| {
        run(&["trust", "add-ca", text(file), "--class", class, "--trust", text(&trust)])
    };
    let comments = std::fs::read_to_string(&trust).unwrap();
    assert_eq!(run_add(&ca, "firmware").status.code(), Some(0));
    let after = std::fs::read_to_string(&trust).unwrap();
    assert!(after.starts_with(&comments));
    let pinned = trusted::trust(&trust).unwrap().authorities;
    assert_eq!((pinned.len(), pinned[0].name.as_str(), pinned[0].class.name()), (1, "maker ca", "firmware"));
    let leaf = write(dir.path().join("leaf.pem"), authority(false));
    let other = write(dir.path().join("other.pem"), authority(true));
    for (file, class) in [(&ca, "firmware"), (&leaf, "virtual"), (&other, "unknown"), (&trust, "virtual")] {
        assert_eq!(run_add(file, class).status.code(), Some(2), "{} {class}", file.display());
    }
    assert_eq!(std::fs::read_to_string(&trust).unwrap(), after);
}

#[test]
fn a_signer_of_platform_certificates_is_pinned_though_it_is_no_authority() {
    let dir = fresh_dir();
    let trust = Home::new(dir.path().join("v")).trust();
    let signer = write(dir.path().join("board maker.pem"), authority(false));
    let add = |command: &str, more: &[&str]| {
        run(&[&["trust", command, text(&signer), "--trust", text(&trust)][..], more].concat())
    };
    let as_ca = add("add-ca", &["--class", "discrete"]);
    let said = String::from_utf8(as_ca.stderr).unwrap();
    assert!(as_ca.status.code() == Some(2) && said.contains("[[platform_signer]]"), "{said}");
    assert_eq!(add("add-platform-signer", &[]).status.code(), Some(0));
    let read = trusted::trust(&trust).unwrap();
    assert_eq!((read.platform_signers[0].name.as_str(), read.authorities.len()), ("board maker", 0));
    assert_eq!(add("add-platform-signer", &[]).status.code(), Some(2), "twice");
}

#[test]
fn a_release_is_signed_exported_and_signed_from_its_export() {
    let dir = fresh_dir();
    let (_, manifest) = released(dir.path(), &Home::new(dir.path().join("v")));
    let path = |name: &str| dir.path().join(name);
    good(&["release", "corim", text(&manifest), "--out", text(&path("release.corim"))]);
    let bytes = std::fs::read(&manifest).unwrap();
    let release: Release = Envelope::decode_as(Kind::Release, &bytes).unwrap().message().unwrap();
    assert_eq!(Release::from_corim(&std::fs::read(path("release.corim")).unwrap()), Ok(release));
    let key = path("release.key");
    let again = path("again.cbor");
    good(&["release", "sign", text(&path("release.corim")), "--key", text(&key), "--out", text(&again)]);
    assert_eq!(std::fs::read(&again).unwrap(), bytes);
    // Nothing is overwritten, and what is no release is refused by name.
    let sign = |from: &str, out: &str| {
        let (from, out) = (path(from), path(out));
        run(&["release", "sign", text(&from), "--key", text(&key), "--out", text(&out)]).status.code()
    };
    assert_eq!(sign("release.toml", "release.key"), Some(3));
    refused(&["release", "key", text(&key)], &key);
    write(path("bad.toml"), "name = 1");
    write(path("bad.corim"), "name = 1");
    assert_eq!((sign("bad.toml", "x"), sign("bad.corim", "x")), (Some(2), Some(2)));
    let trust = path("v/trust.toml");
    refused(&["release", "corim", text(&trust), "--out", text(&path("x"))], &trust);
    assert!(!path("x").exists());
}

#[test]
fn offline_commands_take_vendors_and_releases() {
    let server = Server::start();
    let record = record(&server);
    let dir = server.dir.path();
    let (trust, manifest) = released(dir, &server.home());
    let vendors = write(dir.join("makers.toml"), VENDORS);
    for command in ["verify", "report"] {
        let page = good(&[command, "--trust", text(&trust), text(&record)]);
        assert!(page.contains("unknown TPM") && !page.contains("virtual TPM"), "{page}");
        let more = ["--vendors", text(&vendors), "--release", text(&manifest), text(&record)];
        let page = good(&[&[command, "--trust", text(&trust)][..], &more].concat());
        assert!(page.contains("virtual TPM"), "{page}");
        let broken = write(dir.join("broken"), "schema = 2\n");
        refused(&[command, "--trust", text(&trust), "--vendors", text(&broken), text(&record)], &broken);
        refused(&[command, "--trust", text(&trust), "--release", text(&broken), text(&record)], &broken);
        let without = server.home().trust();
        let said = refused(
            &[command, "--trust", text(&without), "--release", text(&manifest), text(&record)],
            &manifest,
        );
        assert!(said.contains("release_signer"), "{said}");
    }
}

#[test]
fn a_validator_serves_and_replays_with_its_vendors_and_releases() {
    let server = Server::start();
    let (home, dir) = (server.home(), server.dir.path().to_owned());
    let (trust, manifest) = released(&dir, &home);
    let node = Node::enrolled(&server, &mut server.client(), 1);
    let server = server.restart_after(|| {
        std::fs::copy(&trust, home.trust()).unwrap();
        std::fs::create_dir(home.releases()).unwrap();
        std::fs::copy(&manifest, home.releases().join("one.cbor")).unwrap();
        write(home.releases().join("README"), "not a manifest");
        write(home.vendors(), VENDORS);
    });
    assert_eq!(trusted::home(&home).unwrap().releases.len(), 1);
    let session = node.open(&mut server.client(), None).id.to_string();
    let (exit, replayed) = server.try_order(&["replay", &session]);
    assert_eq!((exit, &replayed["same"]), (0, &true.into()));
    let findings = replayed["now"]["findings"].as_array().unwrap();
    let tpm = findings.iter().find(|finding| finding["id"] == "identity.tpm").unwrap();
    assert!(tpm["seen"].as_str().unwrap().starts_with("virtual"), "{tpm}");
    // Without the file another result comes out, and it shows.
    std::fs::remove_file(home.vendors()).unwrap();
    assert_eq!(server.try_order(&["replay", &session]).0, 1);
}

#[test]
fn a_validator_with_a_broken_file_does_not_serve() {
    let dir = fresh_dir();
    let home = Home::new(dir.path().join("v"));
    let serve = ["serve", "--dir", text(home.dir())];
    let vendors = write(home.vendors(), "schema = 2\n");
    refused(&serve, &vendors);
    std::fs::remove_file(vendors).unwrap();
    std::fs::create_dir(home.releases()).unwrap();
    let release = write(home.releases().join("broken.cbor"), "junk");
    refused(&serve, &release);
}
