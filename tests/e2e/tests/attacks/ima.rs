//! IMA logs: ahead of their quote, against it, with violations, or with somebody else's quote.

use assay_appraisal::{Appraisal, Severity};
use assay_boot::HashAlg;
use assay_ledger::session::{Evidence, IMA_PCR, ImaQuote, SESSION_PCRS, ima_extra_data};
use assay_tests::{Attester, Chip, Lab, Node, accepted, fatal, finding, warned};
use assay_wire::Digest;

fn sha256(bytes: &[u8]) -> [u8; 32] {
    HashAlg::Sha256.hash(&[bytes]).unwrap().try_into().unwrap()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}

/// Template data of `ima-ng`.
fn data(path: &str, digest: [u8; 32]) -> Vec<u8> {
    [sized(&[&b"sha256:\0"[..], &digest].concat()), sized(format!("{path}\0").as_bytes())].concat()
}

/// A binary record of `ima-ng` in PCR 10.
fn record(hash: &[u8], data: &[u8]) -> Vec<u8> {
    [&u32::from(IMA_PCR).to_le_bytes()[..], hash, &sized(b"ima-ng"), &sized(data)].concat()
}

/// What a kernel measures: its log, and the digests that it extends PCR 10 with.
#[derive(Clone, Default)]
struct Kernel {
    log: Vec<u8>,
    extends: Vec<[u8; 32]>,
}

impl Kernel {
    /// After a boot with this aggregate, these programs.
    fn ran(aggregate: [u8; 32], paths: &[&str]) -> Self {
        let mut kernel = Self::default();
        kernel.measures(&data("boot_aggregate", aggregate));
        paths.iter().for_each(|path| kernel.measures(&data(path, sha256(path.as_bytes()))));
        kernel
    }

    fn measures(&mut self, data: &[u8]) {
        self.log.extend(record(&HashAlg::Sha1.hash(&[data]).unwrap(), data));
        self.extends.push(sha256(data));
    }

    /// A file that was written while it was measured.
    fn violated(&mut self, path: &str) {
        self.log.extend(record(&[0; 20], &data(path, [0; 32])));
        self.extends.push([0xff; 32]);
    }
}

/// The boot aggregate of this machine (Linux, `ima_calc_boot_aggregate`): PCRs 0 to 9.
fn aggregate(node: &mut Node<Chip>) -> [u8; 32] {
    let (_, values) = node.attester.quote(&Digest::default(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    sha256(&values.iter().flat_map(|pcr| pcr.value.0).collect::<Vec<_>>())
}

type Change<'a> = &'a dyn Fn(&mut Evidence, &mut Chip);

/// A lab, a node of it that ran two programs, and its kernel.
fn scene() -> Option<(Lab, Node<Chip>, Kernel)> {
    let mut lab = Lab::new();
    let mut node = lab.chip()?;
    let kernel = Kernel::ran(aggregate(&mut node), &["/usr/bin/init", "/usr/bin/agent"]);
    extend(&mut node, &kernel, 0);
    Some((lab, node, kernel))
}

/// PCR 10 gets what the kernel measured from `after` on.
fn extend(node: &mut Node<Chip>, kernel: &Kernel, after: usize) {
    let extends: Vec<_> = kernel.extends[after..].iter().map(|digest| (IMA_PCR, *digest)).collect();
    node.attester.extend(&extends);
}

/// PCR 10 as the agent quotes it.
fn quoted(evidence: &Evidence, tpm: &mut Chip) -> ImaQuote {
    let over = ima_extra_data(&evidence.session.challenge, &evidence.session.node);
    let (quote, values) = tpm.quote(&over, &[IMA_PCR]);
    ImaQuote { quote, value: values[0].value }
}

/// The verdict on a session with this log, and a quote that is changed.
fn with(
    lab: &mut Lab,
    node: &mut Node<Chip>,
    log: &[u8],
    change: impl FnOnce(&mut Evidence, &mut Chip),
) -> Appraisal {
    node.logs.ima = Some(log.to_vec().into());
    let session = lab.open_with(
        node,
        |_| {},
        |evidence, tpm| {
            evidence.ima = Some(quoted(evidence, tpm));
            change(evidence, tpm);
        },
    );
    lab.appraise(&session.records.evidence)
}

fn entries(appraisal: &Appraisal) -> Option<usize> {
    appraisal.facts.sessions.first().and_then(|session| session.boot.ima_entries)
}

#[test]
fn a_log_ahead_of_its_quote_is_accepted_as_far_as_the_quote_goes() {
    let Some((mut lab, mut node, mut kernel)) = scene() else { return };
    let appraisal = with(&mut lab, &mut node, &kernel.log, |_, _| {});
    accepted(&appraisal);
    assert_eq!(entries(&appraisal), Some(3));
    for id in ["ima.log", "ima.quote", "ima.replay", "ima.boot-aggregate", "ima.violation"] {
        assert_eq!(finding(&appraisal, id).severity, Severity::Pass, "{id}");
    }
    // A program started after the quote, and the log was read after that.
    kernel.measures(&data("/usr/bin/late", [5; 32]));
    let appraisal = with(&mut lab, &mut node, &kernel.log, |_, _| {});
    accepted(&appraisal);
    assert_eq!(entries(&appraisal), Some(3));
    assert_eq!(finding(&appraisal, "ima.replay").seen.as_deref(), Some("3 of 4 entries"));
    extend(&mut node, &kernel, 3);
    assert_eq!(entries(&with(&mut lab, &mut node, &kernel.log, |_, _| {})), Some(4));
}

#[test]
fn a_log_that_contradicts_pcr_10_is_refused() {
    let Some((mut lab, mut node, kernel)) = scene() else { return };
    let aggregate = aggregate(&mut node);
    accepted(&with(&mut lab, &mut node, &kernel.log, |_, _| {}));
    // A program left out, another in its place, two in another order, a log that ends too soon.
    for paths in [
        &["/usr/bin/agent"][..],
        &["/usr/bin/evil", "/usr/bin/agent"],
        &["/usr/bin/agent", "/usr/bin/init"],
        &["/usr/bin/init"],
    ] {
        let other = Kernel::ran(aggregate, paths);
        fatal(&with(&mut lab, &mut node, &other.log, |_, _| {}), "ima.replay");
    }
    // Hidden in the data of an entry whose logged hash is still the old one.
    let at = kernel.log.len() - 2;
    let mut hidden = kernel.log.clone();
    hidden[at] ^= 1;
    let appraisal = with(&mut lab, &mut node, &hidden, |_, _| {});
    assert!(fatal(&appraisal, "ima.replay").seen.as_ref().unwrap().contains("entry 2"));
    fatal(&with(&mut lab, &mut node, &kernel.log[..at], |_, _| {}), "ima.log");
}

#[test]
fn a_file_that_changed_while_it_was_measured_is_a_violation() {
    let Some((mut lab, mut node, mut kernel)) = scene() else { return };
    accepted(&with(&mut lab, &mut node, &kernel.log, |_, _| {}));
    kernel.violated("/usr/bin/agent");
    extend(&mut node, &kernel, 3);
    let appraisal = with(&mut lab, &mut node, &kernel.log, |_, _| {});
    assert_eq!(warned(&appraisal, "ima.violation").seen.as_deref(), Some("1 violations"));
    assert_eq!(entries(&appraisal), Some(4));
    // A policy may end it there.
    lab.policy.checks = [("ima.violation".to_owned(), Severity::Fatal)].into();
    fatal(&with(&mut lab, &mut node, &kernel.log, |_, _| {}), "ima.violation");
}

#[test]
fn a_quote_of_pcr_10_for_another_challenge_or_selection_is_refused() {
    let Some((mut lab, mut node, kernel)) = scene() else { return };
    let mut old = None;
    accepted(&with(&mut lab, &mut node, &kernel.log, |evidence, _| old = evidence.ima.clone()));
    fatal(&with(&mut lab, &mut node, &kernel.log, |evidence, _| evidence.ima = old), "ima.quote");
    let quote = |evidence: &Evidence, tpm: &mut Chip, pcrs: &[u8]| {
        let over = ima_extra_data(&evidence.session.challenge, &evidence.session.node);
        tpm.quote(&over, pcrs).0
    };
    let resettable: Vec<_> = kernel.extends.iter().map(|digest| (16, *digest)).collect();
    node.attester.extend(&resettable);
    // Another PCR that holds the value, more PCRs than one, a time, a value that was not quoted.
    let others: [Change; 4] = [
        &|evidence, tpm| evidence.ima.as_mut().unwrap().quote = quote(evidence, tpm, &[16]),
        &|evidence, tpm| evidence.ima.as_mut().unwrap().quote = quote(evidence, tpm, &SESSION_PCRS),
        &|evidence, tpm| {
            let over = ima_extra_data(&evidence.session.challenge, &evidence.session.node);
            evidence.ima.as_mut().unwrap().quote = tpm.time(&over, 0);
        },
        &|evidence, _| evidence.ima.as_mut().unwrap().value.0[0] ^= 1,
    ];
    for change in others {
        fatal(&with(&mut lab, &mut node, &kernel.log, change), "ima.quote");
    }
    let without = with(&mut lab, &mut node, &kernel.log, |evidence, _| evidence.ima = None);
    assert!(warned(&without, "ima.quote").seen.as_ref().unwrap().contains("proves nothing"));
    assert_eq!(entries(&without), None);
}

#[test]
fn a_log_of_another_boot_is_told_by_its_aggregate() {
    let Some((mut lab, mut node, kernel)) = scene() else { return };
    accepted(&with(&mut lab, &mut node, &kernel.log, |_, _| {}));
    node.attester.restart();
    let other = Kernel::ran([4; 32], &["/usr/bin/init"]);
    extend(&mut node, &other, 0);
    warned(&with(&mut lab, &mut node, &other.log, |_, _| {}), "ima.boot-aggregate");
    // The old boot's log does not lead to the new PCR.
    fatal(&with(&mut lab, &mut node, &kernel.log, |_, _| {}), "ima.replay");
}

#[test]
fn a_bank_that_got_padded_sha_1_is_worth_no_more_than_that() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    let kernel = Kernel::ran(aggregate(&mut node), &["/usr/bin/init"]);
    let padded = |at: usize| {
        let sha1 = |data: &[u8]| HashAlg::Sha1.hash(&[data]).unwrap();
        let paths =
            [data("boot_aggregate", aggregate(&mut node)), data("/usr/bin/init", sha256(b"/usr/bin/init"))];
        let mut digest = [0; 32];
        digest[..20].copy_from_slice(&sha1(&paths[at]));
        (IMA_PCR, digest)
    };
    let extends: Vec<_> = [0, 1].map(padded).into();
    node.attester.extend(&extends);
    let appraisal = with(&mut lab, &mut node, &kernel.log, |_, _| {});
    assert!(warned(&appraisal, "ima.replay").seen.as_ref().unwrap().contains("SHA-1"));
}

#[test]
fn a_log_that_the_tpm_knows_nothing_of_covers_nothing() {
    let mut lab = Lab::new();
    let Some(mut node) = lab.chip() else { return };
    // Its kernel never extended PCR 10; the log is made up, from a true aggregate on.
    let kernel = Kernel::ran(aggregate(&mut node), &["/usr/bin/init"]);
    let appraisal = with(&mut lab, &mut node, &kernel.log, |_, _| {});
    assert_eq!(warned(&appraisal, "ima.replay").seen.as_deref(), Some("0 of 2 entries"));
    assert_eq!(entries(&appraisal), None);
    assert!(!appraisal.findings.iter().any(|f| f.id == "ima.boot-aggregate"));
    extend(&mut node, &kernel, 0);
    assert_eq!(entries(&with(&mut lab, &mut node, &kernel.log, |_, _| {})), Some(2));
}
