//! Against a software TPM: credentials that it opens, and attestations that it signs, with every
//! scheme and key type this crate takes. Needs `swtpm` and tpm2-tools; skipped without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use assay_tpm::{
    Attest, Credential, Curve, EkTemplate, HashAlg, KeyKind, Name, Public, RH_ENDORSEMENT, RH_OWNER,
    Signature, Symmetric, TpmError, check_ak, ek_template, make_credential, pcr_digest, qualified_name,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const AK_ATTRIBUTES: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign";
const AK_KEY: &str = "ecc256:ecdsa-sha256:null";
const SECRET: &[u8; 32] = b"thirty-two bytes of some secret!";

/// A software TPM of this test's own; it ends with the value.
struct Tpm {
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the folder goes either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Tpm {
    /// None, and a line that says so, when the tools are not installed.
    fn start() -> Option<Self> {
        for tool in ["swtpm", "tpm2_createprimary"] {
            let version =
                Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if let Err(error) = version {
                eprintln!("SKIPPED: {tool}: {error}");
                return None;
            }
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", folder.path().display())])
            .args(["--server", &format!("type=unixio,path={}", at("tpm"))])
            .args(["--ctrl", &format!("type=unixio,path={}", at("tpm.ctrl"))])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start swtpm");
        let tpm = Self { folder, process };
        tpm.wait_for_sockets();
        Some(tpm)
    }

    fn wait_for_sockets(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !(self.path("tpm").exists() && self.path("tpm.ctrl").exists()) {
            assert!(Instant::now() < deadline, "swtpm opens no socket");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("write a file");
    }

    /// Runs one line of tpm2-tools; without a resource manager, loaded keys are flushed after it.
    fn try_tool(&self, line: &str) -> Result<(), String> {
        let run = |line: &str| {
            let mut words = line.split_whitespace();
            Command::new(words.next().unwrap())
                .args(words)
                .current_dir(self.folder.path())
                .env("TPM2TOOLS_TCTI", format!("swtpm:path={}", self.path("tpm").display()))
                .output()
                .unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        let output = run(line);
        run("tpm2_flushcontext -t");
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn tool(&self, line: &str) {
        self.try_tool(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    /// Makes a primary key in the endorsement hierarchy, kept as `{name}.ctx`.
    fn primary(&self, name: &str, name_alg: &str, key: &str, attributes: Option<&str>) -> Public {
        let attributes = attributes.map_or_else(String::new, |list| format!("-a {list}"));
        self.tool(&format!("tpm2_createprimary -C e -g {name_alg} -G {key} {attributes} -c {name}.ctx"));
        self.public(name)
    }

    /// The public area of a kept key, its Name checked against the TPM's.
    fn public(&self, name: &str) -> Public {
        self.tool(&format!("tpm2_readpublic -c {name}.ctx -f tss -o pub -n name -q qname"));
        // The file is a TPM2B_PUBLIC.
        let public = Public::parse(&self.read("pub")[2..]).expect("public area");
        let ours = public.name().expect("name");
        assert_eq!(ours.as_bytes(), self.read("name"), "{name}");
        assert_eq!(qualified_name(RH_ENDORSEMENT, &ours).as_bytes(), self.read("qname"), "{name}");
        assert_ne!(qualified_name(RH_OWNER, &ours).as_bytes(), self.read("qname"), "{name}");
        public
    }

    /// `TPM2_ActivateCredential` with the keys `ak` and `ek`; `policy` when `ek` follows the TCG's template.
    fn activate(&self, ek: &str, credential: &Credential, policy: bool) -> Result<Vec<u8>, String> {
        self.write("credential", &credential_file(credential));
        let mut auth = "";
        if policy {
            self.tool("tpm2_startauthsession --policy-session -S session.ctx");
            self.tool("tpm2_policysecret -S session.ctx -c e");
            auth = "-P session:session.ctx";
        }
        let result = self
            .try_tool(&format!("tpm2_activatecredential -c ak.ctx -C {ek}.ctx -i credential -o out {auth}"));
        if policy {
            self.tool("tpm2_flushcontext session.ctx");
        }
        result.map(|()| self.read("out"))
    }
}

/// The file format of tpm2-tools: magic, version, `TPM2B_ID_OBJECT`, `TPM2B_ENCRYPTED_SECRET`.
fn credential_file(credential: &Credential) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let header = [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1];
    [&header[..], &sized(&credential.id_object), &sized(&credential.encrypted_secret)].concat()
}

/// The TPM opens a credential for its own attestation key, and none for another object.
fn check_activation(tpm: &Tpm, name: &str, ek: &Public, ak: &Name, policy: bool) {
    let mut rng = ChaCha20Rng::from_seed([u8::from(policy); 32]);
    let credential = make_credential(ek, ak, SECRET, &mut rng).expect("credential");
    assert_eq!(tpm.activate(name, &credential, policy).as_deref(), Ok(&SECRET[..]), "{name}");
    let mut stranger = ak.as_bytes().to_vec();
    stranger[33] ^= 1;
    let stranger = Name::parse(&stranger).unwrap();
    let credential = make_credential(ek, &stranger, SECRET, &mut rng).expect("credential");
    assert!(tpm.activate(name, &credential, policy).is_err(), "{name}: opened for another object");
}

#[test]
fn endorsement_keys_of_the_tcg_templates_open_credentials() {
    let Some(tpm) = Tpm::start() else { return };
    let ak = tpm.primary("ak", "sha256", AK_KEY, Some(AK_ATTRIBUTES));
    assert_eq!(check_ak(&ak), Ok(()));
    for (name, algorithm, template) in [("rsa", "rsa", EkTemplate::L1), ("p256", "ecc", EkTemplate::L2)] {
        tpm.tool(&format!("tpm2_createek -G {algorithm} -c {name}.ctx -u unused"));
        let ek = tpm.public(name);
        assert_eq!(ek_template(&ek), Ok(template));
        check_activation(&tpm, name, &ek, &ak.name().unwrap(), true);
    }
}

/// The high range's keys take their policy's other branch; tpm2-tools makes them by hand.
#[test]
fn endorsement_keys_of_the_high_range_open_credentials() {
    let Some(tpm) = Tpm::start() else { return };
    let ak = tpm.primary("ak", "sha256", AK_KEY, Some(AK_ATTRIBUTES)).name().unwrap();
    for (name, hash, key, template) in [
        ("h1", "sha256", "rsa2048:aes128cfb", EkTemplate::H1),
        ("h2", "sha256", "ecc256:aes128cfb", EkTemplate::H2),
        ("h3", "sha384", "ecc384:aes256cfb", EkTemplate::H3),
    ] {
        let policy = if hash == "sha384" { POLICY_B_SHA384 } else { POLICY_B_SHA256 };
        tpm.write("policy", &hex(policy));
        let attributes =
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|restricted|decrypt";
        tpm.tool(&format!(
            "tpm2_createprimary -C e -g {hash} -G {key} -a {attributes} -L policy -c {name}.ctx"
        ));
        let ek = tpm.public(name);
        assert_eq!(ek_template(&ek), Ok(template));
        // Their empty auth value does here, where no lockout can follow.
        check_activation(&tpm, name, &ek, &ak, false);
    }
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// TCG EK Credential Profile 2.5, annex B: `PolicyB`.
const POLICY_B_SHA256: &str = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
const POLICY_B_SHA384: &str = "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca\
cb47ba09699646150f9fc000f3f80e12";

#[test]
fn p384_and_sha384_endorsement_keys_open_credentials() {
    let Some(tpm) = Tpm::start() else { return };
    let ak = tpm.primary("ak", "sha256", AK_KEY, Some(AK_ATTRIBUTES)).name().unwrap();
    for (name, key) in
        [("p384", "ecc384:aes256cfb"), ("p256", "ecc256:aes256cfb"), ("rsa", "rsa2048:aes256cfb")]
    {
        let ek = tpm.primary(name, "sha384", key, None);
        assert_eq!((ek.name_alg(), ek.symmetric()), (HashAlg::Sha384, Symmetric::Aes256Cfb));
        let is_p384 = matches!(ek.kind(), KeyKind::Ecc { curve: Curve::P384, .. });
        assert_eq!(is_p384, name == "p384");
        check_activation(&tpm, name, &ek, &ak, false);
    }
}

/// Attestation and signature that a tool wrote, checked to hold for these very bytes alone.
fn signed(tpm: &Tpm, public: &Public) -> Attest {
    let bytes = tpm.read("attest");
    let signature = Signature::parse(&tpm.read("sig")).expect("signature");
    assert_eq!(signature.scheme(), public.scheme());
    assert_eq!(public.verify(&bytes, &signature), Ok(()), "{:?}", public.scheme());
    for index in (0..bytes.len()).step_by(11) {
        let mut bytes = bytes.clone();
        bytes[index] ^= 1;
        assert_eq!(public.verify(&bytes, &signature), Err(TpmError::SignatureInvalid));
    }
    let attest = Attest::parse(&bytes).expect("attestation");
    assert_eq!(attest.extra_data, [0xab, 0xcd]);
    let qualified = qualified_name(RH_ENDORSEMENT, &public.name().unwrap());
    assert_eq!(attest.qualified_signer, qualified.as_bytes());
    attest
}

#[test]
fn quotes_and_times_of_every_scheme_hold() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.tool(&format!("tpm2_pcrextend 7:sha256={}", "5a".repeat(32)));
    tpm.tool("tpm2_pcrread sha256:0,7,23 -o values");
    let values = tpm.read("values");
    let value = |_: HashAlg, pcr: u8| {
        let at = [0, 7, 23].iter().position(|&index| index == pcr)?;
        values.chunks(32).nth(at).map(<[u8]>::to_vec)
    };
    for (key, scheme, hash) in [
        ("ecc256", "ecdsa", "sha256"),
        ("ecc384", "ecdsa", "sha384"),
        ("rsa2048", "rsassa", "sha256"),
        ("rsa2048", "rsassa", "sha384"),
        ("rsa2048", "rsapss", "sha256"),
        ("rsa2048", "rsapss", "sha384"),
    ] {
        let key = format!("{key}:{scheme}-{hash}:null");
        let public = tpm.primary("key", "sha256", &key, Some(AK_ATTRIBUTES));
        let with = format!("-c key.ctx -q abcd -g {hash} --scheme {scheme}");
        tpm.tool(&format!("tpm2_quote {with} -l sha256:0,7,23 -m attest -s sig"));
        let attest = signed(&tpm, &public);
        let quote = attest.quote().expect("a quote");
        let digest = pcr_digest(&quote.selection, &value, public.scheme().hash().unwrap());
        assert_eq!(digest.as_ref(), Some(&quote.pcr_digest), "{key}");
        tpm.tool(&format!("tpm2_gettime {with} --attestation attest -o sig"));
        let attest = signed(&tpm, &public);
        let time = attest.time().expect("a time");
        assert_eq!((time.clock_info, time.firmware_version), (attest.clock_info, attest.firmware_version));
        assert!(attest.quote().is_err(), "{key}: a time passed for a quote");
    }
}
