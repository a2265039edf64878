//! The IMA log on a software TPM: quoted, sent, and believed by a verifier as far as the quote goes.

use assay_appraisal::{Appraisal, Policy, State, Trust, TrustedValidator, appraise};
use sha2::{Digest as _, Sha256};

use super::*;

/// A log as Linux 6.10 and later show it per bank (Documentation/security/IMA-templates.rst), template
/// ima-ng, and what PCR 10 is extended with for each entry.
fn log(entries: u8) -> (Vec<u8>, Vec<[u8; 32]>) {
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let (mut log, mut extends) = (Vec::new(), Vec::new());
    for nth in 0..entries {
        let file = [b"sha256:\0".as_slice(), &[nth; 32]].concat();
        let data = [sized(&file), sized(format!("/bin/{nth}\0").as_bytes())].concat();
        let digest: [u8; 32] = Sha256::digest(&data).into();
        log.extend([&10u32.to_le_bytes()[..], &digest, &sized(b"ima-ng"), &sized(&data)].concat());
        extends.push(digest);
    }
    (log, extends)
}

fn judged(evidence: &[u8]) -> Appraisal {
    let key = key(V).verifying_key();
    let named = TrustedValidator { name: "v0".into(), operator: "o".into(), key };
    let trust = Trust { validators: [(key.validator_id(), named)].into(), ..Trust::of(network()) };
    let policy = Policy::builtin("development").unwrap();
    appraise(evidence, &trust, &policy, &State::default(), clock::unix_ms()).unwrap()
}

fn finding(appraisal: &Appraisal, id: &str) -> Option<String> {
    let found = appraisal.findings.iter().find(|finding| finding.id == id)?;
    Some(format!("{:?}: {}", found.severity, found.seen.as_deref().unwrap_or_default()))
}

#[tokio::test]
async fn a_log_that_runs_ahead_of_its_quote_is_believed_as_far_as_the_quote() {
    let Some((dir, tpm)) = swtpm() else { return };
    local(async {
        let path = dir.path().join("ima");
        let rig = rig_of(1, &tpm.tcti(), |config| config.boot.ima_log = Some(path.clone()));
        let world = Rc::new(RefCell::new(World::default()));
        rig.join(&world).await;
        let (whole, extends) = log(5);
        std::fs::write(&path, whole).unwrap();
        for digest in extends.into_iter().take(3) {
            rig.node.tpm.call(move |tpm| tpm.pcr_extend(10, digest)).await.unwrap();
        }
        let _stop = rig.start();
        let session = rig.session_after(None).await;
        let stored = rig.node.ledger.borrow().records(&session, Kind::Evidence).unwrap();
        let appraisal = judged(&stored[0].bytes);
        assert!(appraisal.accepted(), "{:#?}", appraisal.findings);
        assert_eq!(finding(&appraisal, "ima.quote").as_deref(), Some("Pass: holds"));
        assert_eq!(finding(&appraisal, "ima.replay").as_deref(), Some("Pass: 3 of 5 entries"));
        assert!(codes(&rig.node).is_empty(), "{:?}", codes(&rig.node));
    })
    .await;
}

#[tokio::test]
async fn a_log_that_is_too_long_or_missing_is_left_out() {
    let Some((dir, tpm)) = swtpm() else { return };
    local(async {
        let path = dir.path().join("ima");
        let rig = rig_of(1, &tpm.tcti(), |config| config.boot.ima_log = Some(path.clone()));
        let boot = &rig.node.config.boot;
        let add = async || {
            let mut logs = assay_ledger::session::BootLogs::default();
            let quote = machine::add_ima_log(&mut logs, boot, &rig.node.tpm, Digest([1; 32])).await;
            (quote.map(|quote| quote.is_some()).map_err(|fault| fault.to_string()), logs.ima.is_some())
        };
        assert_eq!(add().await, (Ok(false), false));
        std::fs::write(&path, vec![1; limits::IMA_LOG]).unwrap();
        assert_eq!(add().await, (Ok(true), true));
        std::fs::write(&path, vec![1; limits::IMA_LOG + 1]).unwrap();
        let (fault, is_there) = add().await;
        assert!(fault.unwrap_err().contains("longer than evidence can hold") && !is_there);

        let world = Rc::new(RefCell::new(World::default()));
        rig.join(&world).await;
        let _stop = rig.start();
        rig.session_after(None).await;
        assert_eq!(codes(&rig.node), ["boot.ima-log"]);
        assert_eq!(world.borrow().evidence[0].ima, None);
    })
    .await;
}

#[tokio::test]
async fn a_log_that_the_tpm_does_not_vouch_for_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ima");
    std::fs::write(&path, log(1).0).unwrap();
    let rig = rig_of(1, "/dev/no-such-tpm", |config| config.boot.ima_log = Some(path));
    let mut logs = assay_ledger::session::BootLogs::default();
    let over = Digest([1; 32]);
    let quote = machine::add_ima_log(&mut logs, &rig.node.config.boot, &rig.node.tpm, over).await;
    assert!(quote.unwrap_err().to_string().starts_with("cannot quote") && logs.ima.is_none());
}
