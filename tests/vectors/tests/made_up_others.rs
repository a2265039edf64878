//! The other families on folders made here: right is `ok`, and each wrong thing a `DIFF` of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;

use assay_boot::write::LogWriter;
use assay_boot::{EV_POST_CODE, EventLog, HashAlg};
use assay_vectors::{Outcome, Sheet, judge};
use assay_x509::{Role, Store};
use serde_json::json;
use tempfile::TempDir;

struct Made(TempDir);

impl Made {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn row(&self, file: &str, meaning: &str) {
        self.file("MANIFEST.md", format!("| {file} | x | r | p | MIT | {meaning} |\n"));
    }

    fn judge(&self, family: &str) -> Sheet {
        judge(self.0.path(), |name| name == family).unwrap()
    }

    /// The checks that differ.
    fn differing(&self, family: &str) -> Vec<String> {
        let sheet = self.judge(family);
        let bad = sheet.verdicts().iter().filter(|verdict| verdict.outcome == Outcome::Differs);
        bad.map(|verdict| verdict.check.clone()).collect()
    }
}

fn log() -> Vec<u8> {
    let mut writer = LogWriter::new();
    for pcr in 0..8 {
        writer.measure(pcr, EV_POST_CODE, b"code").unwrap();
    }
    writer.finish()
}

#[test]
fn logs_beside_pcr_values_lead_to_them() {
    let made = Made::new();
    let replayed = EventLog::parse(&log()).unwrap().replay(HashAlg::Sha256);
    let mut values: serde_json::Map<_, _> =
        replayed.iter().map(|(pcr, value)| (pcr.to_string(), json!(hex::encode(value)))).collect();
    values.insert("10".into(), json!("11".repeat(32)));
    values.insert("23".into(), json!("00".repeat(32)));
    let pcrs = |values: &serde_json::Map<String, serde_json::Value>| {
        json!({ "pcrs": { "sha256": values } }).to_string()
    };
    made.file("boot/firmware", log());
    made.file("boot/pcrs.json", pcrs(&values));
    assert_eq!(made.differing("appliance"), [""; 0]);
    assert_eq!(made.judge("appliance").count(Outcome::NotJudged), 1, "PCR 10 is IMA's");
    values["7"] = json!("11".repeat(32));
    values["23"] = json!("11".repeat(32));
    made.file("boot/pcrs.json", pcrs(&values));
    assert_eq!(made.differing("appliance"), ["sha256.7", "sha256.23"]);
    fs::remove_file(made.0.path().join("boot/firmware")).unwrap();
    assert_eq!(made.differing("appliance"), ["replay"]);
}

fn entry(digest: &[u8], path: &str) -> String {
    let field = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let data = [field(&[b"sha256:\0", digest].concat()), field(&[path.as_bytes(), b"\0"].concat())].concat();
    let hash = hex::encode(HashAlg::Sha1.hash(&[&data]).unwrap());
    format!("10 {hash} ima-ng sha256:{} {path}\n", hex::encode(digest))
}

/// The kernel's boot aggregate over the made log: PCRs 0 to 9, the last two untouched.
fn aggregate() -> Vec<u8> {
    let values = EventLog::parse(&log()).unwrap().replay(HashAlg::Sha256);
    let parts: Vec<Vec<u8>> =
        (0..10).map(|pcr| values.get(&pcr).cloned().unwrap_or_else(|| vec![0; 32])).collect();
    HashAlg::Sha256.hash(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
}

#[test]
fn the_manifests_words_on_an_ima_log_are_held_against_it() {
    let made = Made::new();
    made.file("eventlogs/a", log());
    made.file("ima/log", entry(&aggregate(), "boot_aggregate"));
    made.row("ima/log", "server, 1 ima-ng entries, 0 violations; boot_aggregate must equal the digest");
    assert_eq!(made.differing("ima"), [""; 0]);
    let zeros = "00".repeat(20);
    made.row("ima/log", &format!("server, 2 ima-ng entries, 1 violations; PCR10 sha1 {zeros} (computed)"));
    assert_eq!(made.differing("ima"), ["ima-ng entries", "violations", "PCR 10 sha1"]);
    made.row("ima/log", "EXPECT reject");
    assert_eq!(made.differing("ima"), ["ima"]);
    made.file("ima/log", entry(&[7; 32], "boot_aggregate"));
    made.row("ima/log", "boot_aggregate must equal the digest");
    assert_eq!(made.differing("ima"), ["boot_aggregate"]);
    made.file("ima/log", "no log\n");
    assert_eq!(made.differing("ima"), ["ima"]);
}

#[test]
fn manifests_are_read_or_refused() {
    let made = Made::new();
    made.file("corim/bad", [0xd9, 0x01, 0xf5, 0xa0]);
    assert_eq!(made.differing("corim"), ["corim"]);
    made.row("corim/bad", "EXPECT reject");
    assert_eq!(made.differing("corim"), [""; 0]);
}

#[test]
fn certificates_are_read_signed_and_chained() {
    let store = Store::builtin().unwrap();
    let entries = store.entries();
    let roots =
        entries.iter().filter(|e| e.role == Role::Root && e.certificate.verify(&e.certificate.key).is_ok());
    let signed_by = |root: &assay_x509::Entry| {
        entries.iter().find(|e| e.role != Role::Root && e.certificate.verify(&root.certificate.key).is_ok())
    };
    let (root, child) = roots.filter_map(|root| Some((root, signed_by(root)?))).next().unwrap();
    let made = Made::new();
    made.file("ca-store/root.der", root.certificate.der());
    made.file("ekcerts/child.der", child.certificate.der());
    assert_eq!(made.differing("certificates"), [""; 0]);
    assert_eq!(made.judge("certificates").count(Outcome::NotJudged), 0);
    made.row("ekcerts/child.der", "an intermediate. EXPECT chain failure");
    assert_eq!(made.differing("certificates"), ["chain"]);
    made.row("ekcerts/child.der", "EXPECT reject");
    assert_eq!(made.differing("certificates"), ["certificate"]);
    made.row("ekcerts/child.der", "7-byte header before the DER, followed by 0xFF padding");
    assert_eq!(made.differing("certificates"), ["quirk", "quirk"]);
    let mut bent = child.certificate.der().to_vec();
    *bent.last_mut().unwrap() ^= 1;
    made.row("ekcerts/child.der", "");
    made.file("ekcerts/child.der", &bent);
    assert_eq!(made.differing("certificates"), ["signature"]);
    made.file("ekcerts/child.der", &bent[..bent.len() - 1]);
    assert_eq!(made.differing("certificates"), ["certificate"]);
}
