//! Answers of OpenSSL's responder to our requests, about certificates that OpenSSL made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use assay_x509::{
    CertIdHash, Certificate, NonceResult, OcspAnswer, OcspFault, OcspQuestion, OcspResponse, OcspStatus,
    OcspTerms, Responder, SignatureFault, judge_ocsp, ocsp_request,
};

const HASHES: [CertIdHash; 3] = [CertIdHash::Sha1, CertIdHash::Sha256, CertIdHash::Sha384];
const NONCE: [u8; 32] = [0x5a; 32];

fn openssl(dir: &Path, words: &str) {
    let out = Command::new("openssl").args(words.split_whitespace()).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&out.stderr));
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// An authority with four certificates, one of each status, a responder, and another authority.
struct World {
    dir: tempfile::TempDir,
}

/// Serial number and what the responder knows of it, as `openssl ca` writes its index.
const CERTIFICATES: [(&str, &str); 4] = [
    ("good", "V\t491231235959Z\t\t1001\tunknown\t/CN=good"),
    ("revoked", "R\t491231235959Z\t240101000000Z,keyCompromise\t1002\tunknown\t/CN=revoked"),
    ("hold", "R\t491231235959Z\t240102000000Z,certificateHold\t1003\tunknown\t/CN=hold"),
    ("unknown", ""),
];

impl World {
    fn new(keys: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            println!("SKIPPED: no openssl");
            return None;
        }
        let this = Self { dir: tempfile::tempdir().unwrap() };
        let dir = this.dir.path();
        for name in ["ca", "other", "responder", "plain", "good", "revoked", "hold", "unknown"] {
            openssl(dir, &format!("genpkey {keys} -out {name}.key"));
        }
        for ca in ["ca", "other"] {
            openssl(
                dir,
                &format!("req -x509 -sha384 -new -key {ca}.key -subj /CN={ca} -days 3650 -out {ca}.pem"),
            );
        }
        std::fs::write(dir.join("responder.ext"), "extendedKeyUsage=OCSPSigning\nnoCheck=ignored\n").unwrap();
        std::fs::write(dir.join("none.ext"), "basicConstraints=CA:false\n").unwrap();
        let leafs =
            CERTIFICATES.iter().zip(0x1001..).map(|((name, _), serial)| (*name, serial, "ca", "none"));
        let signers = [("responder", 0x2001, "ca", "responder"), ("plain", 0x2002, "ca", "none")];
        for (name, serial, ca, extensions) in leafs.chain(signers) {
            this.issue(name, name, serial, ca, extensions, "-days 3000");
        }
        this.issue("responder", "foreign", 0x2003, "other", "responder", "-days 3000");
        let index: Vec<_> =
            CERTIFICATES.iter().map(|(_, line)| *line).filter(|line| !line.is_empty()).collect();
        std::fs::write(dir.join("index.txt"), index.join("\n") + "\n").unwrap();
        Some(this)
    }

    /// A certificate `file` for the key `name`.
    fn issue(&self, name: &str, file: &str, serial: u32, ca: &str, extensions: &str, more: &str) {
        let dir = self.dir.path();
        openssl(dir, &format!("req -new -sha384 -key {name}.key -subj /CN={name} -out {file}.csr"));
        openssl(
            dir,
            &format!(
                "x509 -req -sha384 -in {file}.csr -CA {ca}.pem -CAkey {ca}.key -set_serial {serial} \
                 -extfile {extensions}.ext {more} -out {file}.pem"
            ),
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn certificate(&self, name: &str) -> Certificate {
        Certificate::from_file(&std::fs::read(self.path(&format!("{name}.pem"))).unwrap()).unwrap()
    }

    /// What the responder with this certificate and key answers to our request about `name`.
    fn ask(&self, name: &str, hash: CertIdHash, nonce: Option<&[u8]>, signer: &str, more: &str) -> Vec<u8> {
        let request = ocsp_request(hash, &self.certificate(name), &self.certificate("ca"), nonce).unwrap();
        std::fs::write(self.path("request.der"), request).unwrap();
        openssl(
            self.dir.path(),
            &format!(
                "ocsp -index index.txt -CA ca.pem {signer} -reqin request.der -respout answer.der {more}"
            ),
        );
        std::fs::read(self.path("answer.der")).unwrap()
    }

    fn judged(&self, answer: &[u8], name: &str, nonce: Option<&[u8]>, at: i64) -> OcspAnswer {
        let (certificate, issuer) = (self.certificate(name), self.certificate("ca"));
        let response = OcspResponse::parse(answer).unwrap();
        let question = OcspQuestion { certificate: &certificate, issuer: &issuer, known: &[], nonce };
        judge_ocsp(&response, &question, &OcspTerms::at(at))
    }
}

const ISSUER: &str = "-rsigner ca.pem -rkey ca.key -ndays 1 -rmd sha384";
const DELEGATED: &str = "-rsigner responder.pem -rkey responder.key -ndays 1 -rmd sha384";

#[test]
fn every_status_by_both_responders_under_every_hash() {
    let Some(world) = World::new("-algorithm EC -pkeyopt ec_paramgen_curve:P-384") else { return };
    for (signer, more) in
        [(ISSUER, ""), (DELEGATED, ""), (ISSUER, "-resp_no_certs"), (DELEGATED, "-resp_key_id")]
    {
        for (hash, nonce) in HASHES.into_iter().zip([None, Some(&NONCE[..]), Some(&NONCE[..])]) {
            for (name, _) in CERTIFICATES {
                let answer = world.judged(&world.ask(name, hash, nonce, signer, more), name, nonce, now());
                let fits = match answer.status {
                    OcspStatus::Good => name == "good",
                    OcspStatus::Revoked(revoked) => {
                        name == "revoked" && revoked.reason_name() == "keyCompromise"
                    }
                    OcspStatus::Hold(at) => name == "hold" && at == 1_704_153_600,
                    OcspStatus::Unknown => name == "unknown",
                    OcspStatus::NotUsable(_) => false,
                };
                assert!(fits, "{name} {hash:?} {signer} {more}: {answer:?}");
                let expected = nonce.map_or(NonceResult::NotAsked, |_| NonceResult::Equal);
                assert_eq!(answer.nonce, expected);
                let delegated = Responder::Delegated { no_check: true };
                let by = if signer == ISSUER { Responder::Issuer } else { delegated };
                assert_eq!(answer.responder, Some(by));
            }
        }
    }
}

#[test]
fn other_keys_and_hashes() {
    let p256 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    for (keys, digest) in [(p256, "sha256"), ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "sha256")] {
        let Some(world) = World::new(keys) else { return };
        let signer = DELEGATED.replace("sha384", digest);
        let ask = |signer: &str| {
            let answer = world.ask("good", CertIdHash::Sha256, None, signer, "");
            world.judged(&answer, "good", None, now()).status
        };
        assert_eq!(ask(&signer), OcspStatus::Good, "{keys}");
        let weak = OcspStatus::NotUsable(OcspFault::Signature(SignatureFault::WeakHash));
        assert_eq!(ask(&DELEGATED.replace("sha384", "sha1")), weak);
    }
}

#[test]
fn answers_that_must_not_count() {
    let Some(world) = World::new("-algorithm EC -pkeyopt ec_paramgen_curve:P-384") else { return };
    let seen = |signer: &str, about: &str, nonce: Option<&[u8]>, at: i64| {
        let answer = world.ask("good", CertIdHash::Sha384, nonce, signer, "");
        match world.judged(&answer, about, nonce, at).status {
            OcspStatus::NotUsable(fault) => Some(fault),
            OcspStatus::Good => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(seen(DELEGATED, "good", None, now()), None);
    assert_eq!(seen(DELEGATED, "hold", None, now()), Some(OcspFault::OtherCertificate));
    assert_eq!(seen(DELEGATED, "good", None, now() + 2 * 86_400), Some(OcspFault::Stale));
    assert!(matches!(
        seen(DELEGATED, "good", None, now() - 3600),
        Some(OcspFault::Future(_) | OcspFault::ResponderDates)
    ));
    assert!(matches!(seen(ISSUER, "good", None, now() - 3600), Some(OcspFault::Future(_))));
    let plain = DELEGATED.replace("responder.", "plain.");
    assert_eq!(seen(&plain, "good", None, now()), Some(OcspFault::ResponderPurpose));
    let foreign = DELEGATED.replace("responder.pem", "foreign.pem");
    assert!(matches!(seen(&foreign, "good", None, now()), Some(OcspFault::ResponderIssuer(_))));
    let other = ISSUER.replace("ca.", "other.");
    assert_eq!(seen(&other, "good", None, now()), Some(OcspFault::ResponderPurpose));
    // An answer to another request.
    let answer = world.ask("good", CertIdHash::Sha384, Some(&[1; 32]), DELEGATED, "");
    let judged = world.judged(&answer, "good", Some(&NONCE), now());
    assert_eq!(judged.status, OcspStatus::NotUsable(OcspFault::NonceDiffers));
    assert_eq!(judged.nonce, NonceResult::Different);
}

/// OpenSSL reads our request, and verifies an answer exactly when we do.
#[test]
fn openssl_agrees() {
    let Some(world) = World::new("-algorithm EC -pkeyopt ec_paramgen_curve:P-384") else { return };
    let good = world.ask("good", CertIdHash::Sha1, Some(&NONCE), DELEGATED, "");
    let verified = |answer: &[u8]| {
        std::fs::write(world.path("seen.der"), answer).unwrap();
        let words = "ocsp -respin seen.der -CAfile ca.pem -issuer ca.pem -cert good.pem -no_nonce";
        let out =
            Command::new("openssl").args(words.split(' ')).current_dir(world.dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        text.contains("Response verify OK") && text.contains("good.pem: good")
    };
    assert!(verified(&good));
    // Within the signed part and the signature both refuse what was changed.
    for at in (40..good.len()).step_by(41) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let ours = OcspResponse::parse(&changed)
            .is_ok_and(|_| world.judged(&changed, "good", None, now()).status == OcspStatus::Good);
        assert!(!ours, "byte {at}");
        assert!(!verified(&changed), "openssl, byte {at}");
    }
}
