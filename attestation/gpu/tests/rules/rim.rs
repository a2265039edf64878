//! Reports held against reference values, in a world of our own.

use crate::authorities::ocsp::{AT, Answer, by_name, date, good, id_of, revoked, single, unknown};
use crate::world::Device;
use assay_gpu::device::{Architecture, ChainFault, HoldPolicy, Report, ReportFacts};
use assay_gpu::rim::{
    Board, Comparison, Rim, RimKind, RimRow, SignerChain, SignerProof, SignerStatus, Verdict, compare,
    rim_ids,
};
use assay_wire::Digest;
use assay_x509::Certificate;

/// A time at which the RIMs here are in force.
const NOW: i64 = 1_500;

/// No hold passes.
const REFUSE: HoldPolicy = HoldPolicy { device: false, rim: false };

fn field(kind: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    [&kind.to_le_bytes()[..], &len.to_le_bytes(), data].concat()
}

/// A report with one measurement in each of these blocks, the block's index in every byte of its value.
fn report(blocks: &[u8], fields: &[Vec<u8>]) -> Report {
    let block = |index: &u8| [&[*index, 1, 51, 0, 1, 48, 0][..], &[*index; 48]].concat();
    let record: Vec<u8> = blocks.iter().flat_map(block).collect();
    let opaque = fields.concat();
    let bytes = [
        &[0x11, 0xe0, 1, 0xff][..],
        &[9; 32],
        &[0],
        &[0x11, 0x60, 0, 0, u8::try_from(blocks.len()).unwrap()],
        &u32::try_from(record.len()).unwrap().to_le_bytes()[..3],
        &record,
        &[8; 32],
        &u16::try_from(opaque.len()).unwrap().to_le_bytes(),
        &opaque,
        &[1; 96],
    ];
    Report::parse(&bytes.concat()).unwrap()
}

fn gpu_fields(decoder: u8) -> Vec<Vec<u8>> {
    vec![
        field(3, b"550.1\0"),
        field(6, &[0x00, 0x5e, 0x00, 0x96, 0x01, 0, 0, 0]),
        field(11, &[decoder]),
        field(15, b"885\0"),
        field(17, b"G520\0"),
        field(18, b"0200\0"),
    ]
}

/// A GPU's report with blocks 1 to 64.
fn gpu() -> Report {
    report(&(1..=64).collect::<Vec<_>>(), &gpu_fields(0xaa))
}

/// Rows that the reports here equal.
fn rows(indices: &[u8]) -> Vec<RimRow> {
    let row = |index: &u8| RimRow {
        index: *index,
        name: format!("m{index}"),
        values: vec![[index + 1; 48].into()],
    };
    indices.iter().map(row).collect()
}

fn rim(kind: RimKind, product: &str, version: &str, indices: &[u8]) -> Rim {
    Rim {
        kind,
        product: product.into(),
        version: version.into(),
        tag: "t".into(),
        board: None,
        rows: rows(indices),
        source: Digest([indices.first().copied().unwrap_or_default(); 32]),
        signer: Digest([2; 32]),
        not_before: 1_000,
        not_after: 2_000,
        proof: SignerProof::default(),
    }
}

fn driver() -> Rim {
    rim(RimKind::Driver, "GH100", "550.1", &[7, 21, 35])
}

fn vbios() -> Rim {
    rim(RimKind::Vbios, "GH100", "96.00.5E.00.01", &[0, 1, 2])
}

fn hopper(report: &Report, rims: &[Rim]) -> Comparison {
    compare(report, Architecture::Hopper, rims, NOW, REFUSE)
}

/// Driver's and VBIOS's verdict.
fn verdicts(found: &Comparison) -> [Verdict; 2] {
    [found.parts[0].verdict, found.parts[1].verdict]
}

#[test]
fn the_fields_of_a_report_are_read_as_meant_here() {
    let facts = gpu().facts().clone();
    assert_eq!((facts.driver.as_deref(), facts.vbios.as_deref()), (Some("550.1"), Some("96.00.5E.00.01")));
    assert_eq!((facts.project.as_deref(), facts.chip_sku.as_deref()), (Some("G520"), Some("885")));
}

#[test]
fn both_rims_match_and_nothing_else_is_complete() {
    let all = hopper(&gpu(), &[driver(), vbios()]);
    assert_eq!((all.result(), all.is_complete(), all.compared()), (Some(true), true, 6));
    assert_eq!((verdicts(&all), all.mismatched_rows()), ([Verdict::Match; 2], vec![]));
    let half = hopper(&gpu(), &[vbios()]);
    assert_eq!((half.result(), half.is_complete(), half.compared()), (Some(true), false, 3));
    assert_eq!(verdicts(&half), [Verdict::NoRim, Verdict::Match]);
    assert!(half.reason().contains("no RIM yet for NV_GPU_DRIVER_GH100_550.1"), "{}", half.reason());
    let none = hopper(&gpu(), &[]);
    assert_eq!((none.result(), none.is_complete(), none.compared()), (None, false, 0));
}

#[test]
fn one_wrong_row_is_a_mismatch_and_named() {
    let mut wrong = vbios();
    wrong.rows[1].values = vec![[0xee; 48].into()];
    let found = hopper(&gpu(), &[driver(), wrong]);
    assert_eq!((found.result(), found.mismatched_rows(), found.compared()), (Some(false), vec![1], 6));
    assert_eq!(verdicts(&found), [Verdict::Match, Verdict::Mismatch]);
    assert!(found.reason().contains("row 1 of 3"), "{}", found.reason());
}

#[test]
fn any_alternative_will_do_and_a_missing_measurement_will_not() {
    let mut many = vbios();
    many.rows[0].values = vec![[0xee; 48].into(), [1; 48].into()];
    assert_eq!(hopper(&gpu(), &[many]).result(), Some(true));
    // Block 3 would be row 2.
    let found = hopper(&report(&[1, 2], &gpu_fields(0xaa)), &[vbios()]);
    assert_eq!((found.result(), found.mismatched_rows(), found.compared()), (Some(false), vec![2], 3));
}

#[test]
fn measurements_that_no_row_claims_are_ignored() {
    let found = hopper(&gpu(), &[rim(RimKind::Vbios, "GH100", "96.00.5E.00.01", &[63])]);
    assert_eq!((found.result(), found.compared()), (Some(true), 1));
}

#[test]
fn the_decoders_row_counts_while_the_decoder_is_on() {
    let mut driver = driver();
    driver.rows[2].values = vec![[0xee; 48].into()];
    let blocks: Vec<u8> = (1..=64).collect();
    let off = hopper(&report(&blocks, &gpu_fields(0x55)), std::slice::from_ref(&driver));
    assert_eq!((off.result(), off.compared()), (Some(true), 2));
    let on = hopper(&report(&blocks, &gpu_fields(0xaa)), std::slice::from_ref(&driver));
    assert_eq!((on.mismatched_rows(), on.compared()), (vec![35], 3));
    let unsaid: Vec<_> = gpu_fields(0).into_iter().filter(|field| field[0] != 11).collect();
    assert_eq!(hopper(&report(&blocks, &unsaid), std::slice::from_ref(&driver)).mismatched_rows(), [35]);
    // A RIM of nothing else was not compared.
    let alone = rim(RimKind::Driver, "GH100", "550.1", &[35]);
    let none = hopper(&report(&blocks, &gpu_fields(0x55)), &[alone]);
    assert_eq!((none.result(), none.compared()), (None, 0));
}

#[test]
fn driver_and_vbios_claim_different_rows() {
    let found = hopper(&gpu(), &[rim(RimKind::Driver, "GH100", "550.1", &[2, 7]), vbios()]);
    assert_eq!((found.result(), found.overlap.as_slice()), (Some(false), &[2][..]));
    assert!(!found.is_complete() && found.reason().contains("both claim row 2"), "{}", found.reason());
    // One that does not count contradicts nobody.
    let mut expired = rim(RimKind::Driver, "GH100", "550.1", &[2, 7]);
    expired.not_after = NOW - 1;
    assert_eq!(hopper(&gpu(), &[expired, vbios()]).result(), Some(true));
}

#[test]
fn a_rim_is_for_its_kind_product_and_version() {
    let change = |change: fn(&mut Rim)| {
        let mut rim = driver();
        change(&mut rim);
        hopper(&gpu(), &[rim]).result()
    };
    assert_eq!(change(|_| {}), Some(true));
    assert_eq!(change(|rim| rim.version = "550.2".into()), None);
    assert_eq!(change(|rim| rim.product = "GH200".into()), None);
    assert_eq!(change(|rim| rim.kind = RimKind::Switch), None);
    let found = hopper(&gpu(), &[rim(RimKind::Vbios, "GB100", "96.00.5E.00.01", &[0])]);
    assert_eq!(found.result(), None, "another architecture");
    let lower = rim(RimKind::Vbios, "GH100", "96.00.5e.00.01", &[0]);
    assert_eq!(hopper(&gpu(), &[lower]).result(), Some(true), "hexadecimal digits have no case");
    // A report that names no version asks for no RIM that could be found.
    let nameless = report(&[1, 2, 3], &[field(11, &[0xaa])]);
    let found = hopper(&nameless, &[driver(), vbios()]);
    assert_eq!((found.result(), verdicts(&found)), (None, [Verdict::NoRim; 2]));
}

#[test]
fn a_named_board_narrows_and_an_unnamed_one_is_said() {
    let board = |project: &str| {
        Some(Board { project: project.into(), project_sku: "0200".into(), chip_sku: "885".into() })
    };
    let with = |board| Rim { board, ..vbios() };
    let found = hopper(&gpu(), &[with(board("G520"))]);
    assert_eq!((found.result(), found.parts[1].board_unnamed), (Some(true), false));
    assert_eq!(hopper(&gpu(), &[with(board("1010"))]).result(), None);
    let found = hopper(&gpu(), &[with(None)]);
    assert_eq!((found.result(), found.parts[1].board_unnamed), (Some(true), true));
    assert!(found.reason().contains("for which board is not"), "{}", found.reason());
    let silent: Vec<_> = gpu_fields(0xaa).into_iter().filter(|field| field[0] != 17).collect();
    let silent = report(&(1..=64).collect::<Vec<_>>(), &silent);
    assert_eq!(hopper(&silent, &[with(board("G520"))]).result(), None, "a report that names no board");
}

#[test]
fn times_and_signers_are_verdicts_of_their_own() {
    let at = |at| compare(&gpu(), Architecture::Hopper, &[vbios()], at, REFUSE).parts[1].verdict;
    let seen = [999, 1_000, 2_000, 2_001].map(at);
    assert_eq!(seen, [Verdict::NotYet, Verdict::Match, Verdict::Match, Verdict::Expired]);
}

/// Names of a signer's chain; each one's key is its place.
const NAMES: [&str; 3] = ["signer", "authority", "root"];

fn draft(at: usize) -> crate::authorities::Draft {
    let (above, place) = ((at + 1).min(NAMES.len() - 1), u8::try_from(at + 10).unwrap());
    let draft =
        crate::authorities::Draft::authority(NAMES[at], NAMES[above], &crate::authorities::key(place));
    crate::authorities::Draft { serial: vec![place], ..draft }
}

fn certificate(at: usize) -> Vec<u8> {
    let above = (at + 1).min(NAMES.len() - 1);
    draft(at).sign(&crate::authorities::key(u8::try_from(above + 10).unwrap()))
}

fn chain_of(certificates: &[Vec<u8>]) -> SignerChain {
    SignerChain::from_der(certificates.iter().map(Vec::as_slice)).unwrap()
}

#[test]
fn a_signers_chain_leads_to_the_root_by_signatures() {
    let device = Device::new(Architecture::Hopper, 7);
    let certificates = device.chain();
    let root = &certificates[4];
    let chain = chain_of(&certificates);
    assert_eq!(chain.judge(root), Ok(()));
    let leaf = Certificate::parse(&certificates[0]).unwrap();
    assert_eq!((chain.leaf(), chain.signer()), (Some(&leaf), Some(Digest(leaf.fingerprint().0))));
    assert_eq!(chain.judge(&certificates[3]), Err(ChainFault::Root));
    assert_eq!(chain_of(&certificates[..4]).judge(root), Err(ChainFault::Root));
    assert_eq!(chain_of(&certificates[4..]).judge(root), Err(ChainFault::Count { seen: 1 }));
    // Six and more are counted as six; what they say is not asked.
    for count in [6, 9] {
        let long = vec![root.clone(); count];
        assert_eq!(chain_of(&long).judge(root), Err(ChainFault::Count { seen: 6 }));
    }
    let skipping = [certificates[0].clone(), root.clone()];
    assert!(chain_of(&skipping).judge(root).is_err());
    let unread = [certificates[0].as_slice(), b"no certificate"];
    assert!(matches!(SignerChain::from_der(unread), Err((1, _))));
}

#[test]
fn a_signers_chain_is_in_force_while_all_of_it_is() {
    let early = crate::authorities::Draft { not_after: "300101000000Z", ..draft(0) };
    let early = early.sign(&crate::authorities::key(11));
    let late = crate::authorities::Draft { not_before: "240101000000Z", ..draft(1) };
    let late = late.sign(&crate::authorities::key(12));
    let chain = chain_of(&[early, late, certificate(2)]);
    let each = chain.certificates();
    assert_eq!(chain.validity(), (each[1].not_before, each[0].not_after));
    assert!(each[1].not_before > each[2].not_before && each[0].not_after < each[2].not_after);
    let (first, last) = chain_of(&[]).validity();
    assert!(first > last);
}

#[test]
fn verdicts_and_statuses_have_names() {
    let verdicts = [
        Verdict::Match,
        Verdict::Mismatch,
        Verdict::NoRim,
        Verdict::Expired,
        Verdict::NotYet,
        Verdict::Revoked,
        Verdict::Hold,
        Verdict::Collision,
    ];
    let names = ["match", "mismatch", "no-rim", "expired", "not-yet", "revoked", "hold", "collision"];
    assert_eq!(verdicts.map(Verdict::name), names);
    let statuses = [SignerStatus::Unchecked, SignerStatus::Good, SignerStatus::Hold, SignerStatus::Revoked];
    assert_eq!(statuses.map(SignerStatus::name), ["unchecked", "good", "hold", "revoked"]);
}

/// The issuer's answer about the certificate at `at`.
fn answer(at: usize, status: &[u8]) -> Vec<u8> {
    let issuer = Certificate::parse(&certificate(at + 1)).unwrap();
    let (this, next) = ("20240601080000Z", "20240602080000Z");
    let singles = vec![single(&id_of(&draft(at).serial, &issuer), status, this, Some(next), &[])];
    let answer =
        Answer { responder: by_name(&draft(at + 1)), produced: date(this), singles, ..Answer::good() };
    answer.sign(&crate::authorities::key(u8::try_from(at + 11).unwrap()))
}

/// A VBIOS RIM whose signer has these answers.
fn signed(answers: &[Vec<u8>]) -> Rim {
    let certificates: Vec<Vec<u8>> = (0..NAMES.len()).map(certificate).collect();
    let chain = SignerChain::from_der(certificates.iter().map(Vec::as_slice)).unwrap();
    let list = |list: &[Vec<u8>]| list.iter().map(|der| der.clone().into()).collect();
    Rim {
        signer: chain.signer().unwrap(),
        not_before: AT - 1,
        not_after: AT + 1,
        proof: SignerProof { certificates: list(&certificates), ocsp: list(answers) },
        ..vbios()
    }
}

#[test]
fn answers_about_the_signer_decide() {
    let on_hold = || revoked("20240601000000Z", Some(6));
    let both = |status: &[u8]| vec![answer(0, status), answer(1, &good())];
    let (unchecked, passes) = (SignerStatus::Unchecked, HoldPolicy { device: false, rim: true });
    for (answers, hold, status, verdict) in [
        (vec![], REFUSE, unchecked, Verdict::Match),
        (vec![answer(0, &good())], REFUSE, unchecked, Verdict::Match),
        (both(&good()), REFUSE, SignerStatus::Good, Verdict::Match),
        (both(&revoked("20240601000000Z", Some(1))), REFUSE, SignerStatus::Revoked, Verdict::Revoked),
        (both(&unknown()), REFUSE, SignerStatus::Revoked, Verdict::Revoked),
        (vec![answer(1, &revoked("20240601000000Z", None))], REFUSE, SignerStatus::Revoked, Verdict::Revoked),
        (both(&on_hold()), REFUSE, SignerStatus::Hold, Verdict::Hold),
        (both(&on_hold()), passes, SignerStatus::Good, Verdict::Match),
        (both(&on_hold()), HoldPolicy { device: true, rim: false }, SignerStatus::Hold, Verdict::Hold),
    ] {
        let rim = signed(&answers);
        assert_eq!((SignerStatus::of(&rim, AT, hold), status.name()), (status, status.name()));
        let found = compare(&gpu(), Architecture::Hopper, std::slice::from_ref(&rim), AT, hold);
        let part = &found.parts[1];
        assert_eq!(part.was_compared(), verdict == Verdict::Match);
        assert_eq!((part.verdict, found.result()), (verdict, (verdict == Verdict::Match).then_some(true)));
        assert_eq!(part.sources, [rim.source]);
        if verdict == Verdict::Match {
            assert_eq!(part.signer, status);
        }
        // Revoked outweighs expired: it stays so.
        let late = compare(&gpu(), Architecture::Hopper, &[rim], AT + 2, hold).parts[1].verdict;
        assert_eq!(late == Verdict::Expired, verdict == Verdict::Match);
    }
    // Answers about a chain that is not the signer's say nothing.
    let other = Rim { signer: Digest([2; 32]), ..signed(&both(&revoked("20240601000000Z", None))) };
    assert_eq!(SignerStatus::of(&other, AT, REFUSE), unchecked);
}

/// Another reduced form of the same document, with an older proof or none, brings a signer no trust back.
#[test]
fn what_is_known_against_a_signer_counts_for_all_that_it_signed() {
    let with = |status: &[u8]| signed(&[answer(0, status), answer(1, &good())]);
    let other = |rim: Rim| Rim { source: Digest([77; 32]), ..rim };
    let taken = || revoked("20240601000000Z", Some(1));
    let on_hold = || revoked("20240601000000Z", Some(6));
    let found = |rims: &[Rim], hold| compare(&gpu(), Architecture::Hopper, rims, AT, hold);
    for (status, verdict) in
        [(taken(), Verdict::Revoked), (unknown(), Verdict::Revoked), (on_hold(), Verdict::Hold)]
    {
        for clean in [signed(&[]), with(&good())] {
            for pair in [[with(&status), other(clean.clone())], [other(clean.clone()), with(&status)]] {
                let found = found(&pair, REFUSE);
                assert_eq!((found.parts[1].verdict, found.result()), (verdict, None));
                assert_eq!(found.parts[1].sources.len(), 2);
            }
            // Though that is known by a document for something else.
            let elsewhere = Rim { product: "other".into(), ..with(&status) };
            assert_eq!(found(&[clean, elsewhere], REFUSE).parts[1].verdict, verdict);
        }
    }
    // A signer that nothing is known against, beside one that is revoked.
    let stranger = Rim { source: Digest([78; 32]), not_after: AT + 1, ..vbios() };
    let seen = found(&[with(&taken()), stranger], REFUSE);
    assert_eq!((seen.parts[1].verdict, seen.parts[1].signer), (Verdict::Match, SignerStatus::Unchecked));
    assert_eq!(seen.parts[1].sources, [Digest([78; 32])]);
    // Each by its own proof where none is bad: the least sure is told.
    let seen = found(&[with(&good()), other(signed(&[]))], REFUSE);
    assert_eq!((seen.parts[1].verdict, seen.parts[1].signer), (Verdict::Match, SignerStatus::Unchecked));
    let passes = HoldPolicy { device: false, rim: true };
    let seen = found(&[with(&on_hold()), other(with(&good()))], passes);
    assert_eq!((seen.parts[1].verdict, seen.parts[1].signer), (Verdict::Match, SignerStatus::Good));
}

/// nextUpdate is long past: what was good is unchecked, what was revoked stays so.
#[test]
fn a_signers_revocation_does_not_end() {
    let late = |status: &[u8]| {
        let rim = signed(&[answer(0, status), answer(1, &good())]);
        let rim = Rim { not_after: AT + 400 * 86_400, ..rim };
        let found = compare(&gpu(), Architecture::Hopper, &[rim], AT + 100 * 86_400, REFUSE);
        (found.parts[1].verdict, found.parts[1].signer_status())
    };
    assert_eq!(late(&good()), (Verdict::Match, Some(SignerStatus::Unchecked)));
    let taken = revoked("20240601000000Z", Some(1));
    assert_eq!(late(&taken), (Verdict::Revoked, Some(SignerStatus::Revoked)));
}

#[test]
fn a_signer_that_was_not_checked_is_told() {
    let found = |answers: &[Vec<u8>]| compare(&gpu(), Architecture::Hopper, &[signed(answers)], AT, REFUSE);
    let both = |status: &[u8]| vec![answer(0, status), answer(1, &good())];
    let seen = found(&[]);
    assert_eq!(seen.parts[1].signer_status(), Some(SignerStatus::Unchecked));
    assert!(seen.reason().contains("was not checked"), "{}", seen.reason());
    assert_eq!(seen.parts[0].signer_status(), None, "no RIM, no signer");
    let seen = found(&both(&good()));
    assert_eq!(seen.parts[1].signer_status(), Some(SignerStatus::Good));
    assert!(!seen.reason().contains("was not checked"), "{}", seen.reason());
    let seen = found(&both(&revoked("20240601000000Z", Some(6))));
    assert_eq!(seen.parts[1].signer_status(), Some(SignerStatus::Hold));
    assert!(!seen.reason().contains("was not checked"), "{}", seen.reason());
}

#[test]
fn equal_rims_are_one_and_different_ones_a_collision() {
    let again = Rim { source: Digest([77; 32]), tag: "u".into(), ..vbios() };
    let equal = hopper(&gpu(), &[vbios(), again.clone()]);
    assert_eq!((equal.result(), equal.parts[1].collision, equal.compared()), (Some(true), false, 3));
    let mut shuffled = again.clone();
    shuffled.rows[0].values = vec![[1; 48].into(), [1; 48].into()];
    assert!(!hopper(&gpu(), &[vbios(), shuffled]).parts[1].collision, "the same values, one of them twice");
    let mut different = again;
    different.rows[2].values = vec![[0xee; 48].into()];
    // Nobody here knows which of them counts.
    for pair in [[vbios(), different.clone()], [different.clone(), vbios()]] {
        let found = hopper(&gpu(), &pair);
        assert_eq!((found.result(), found.mismatched_rows(), found.compared()), (Some(false), vec![2], 3));
        assert_eq!((verdicts(&found)[1], found.parts[1].sources.len()), (Verdict::Collision, 2));
        assert_eq!(found.parts[1].signer_status(), Some(SignerStatus::Unchecked));
        assert!(
            found.parts[1].collision && found.reason().contains("differ from another"),
            "{}",
            found.reason()
        );
        let with_driver = hopper(&gpu(), &[&pair[..], &[driver()]].concat());
        assert_eq!((with_driver.result(), with_driver.is_complete()), (Some(false), false));
    }
    // It equals neither as a whole.
    let mut other = vbios();
    other.rows[0].values = vec![[0xee; 48].into()];
    let found = hopper(&gpu(), &[other.clone(), different.clone()]);
    assert_eq!((found.result(), found.mismatched_rows(), found.compared()), (Some(false), vec![0, 2], 3));
    assert_eq!(verdicts(&found)[1], Verdict::Mismatch);
    assert!(found.parts[1].collision && found.reason().contains("collision"), "{}", found.reason());
    // A document of nothing but a row that is passed over equals nothing.
    let nvdec = rim(RimKind::Vbios, "GH100", "96.00.5E.00.01", &[35]);
    let found =
        hopper(&report(&(1..=64).collect::<Vec<_>>(), &gpu_fields(0x55)), &[nvdec, different.clone()]);
    assert_eq!((found.result(), verdicts(&found)[1]), (Some(false), Verdict::Mismatch));
    // Different, and both match: said, and true.
    let more = Rim { rows: rows(&[0, 1, 2, 3]), ..vbios() };
    let found = hopper(&gpu(), &[vbios(), more]);
    assert_eq!((found.result(), found.parts[1].collision, found.compared()), (Some(true), true, 4));
}

#[test]
fn switches_ask_for_one_rim() {
    let fields = [field(6, b"96.10.55.00.01\0"), field(22, &[1; 8])];
    let switch = report(&(1..=31).collect::<Vec<_>>(), &fields);
    assert_eq!(switch.facts().vbios.as_deref(), Some("96.10.55.00.01"));
    let firmware = rim(RimKind::Switch, "LS10", "96.10.55.00.01", &[0, 30]);
    let found = compare(&switch, Architecture::Ls10, std::slice::from_ref(&firmware), NOW, REFUSE);
    assert_eq!((found.result(), found.is_complete(), found.compared()), (Some(true), true, 2));
    assert_eq!(found.parts[0].id, "NV_SWITCH_BIOS_5612_0002_890_9610550001");
    assert_eq!(firmware.id(), found.parts[0].id);
    let over = rim(RimKind::Switch, "LS10", "96.10.55.00.01", &[31]);
    assert_eq!(compare(&switch, Architecture::Ls10, &[over], NOW, REFUSE).mismatched_rows(), [31]);
    assert_eq!(hopper(&gpu(), &[firmware]).result(), None);
}

#[test]
fn ids_are_the_vendors() {
    let facts = |chip: Option<&str>| ReportFacts {
        chip_name: chip.map(str::to_owned),
        driver: Some("570.1".into()),
        vbios: Some("97.00.5e.00.0a".into()),
        project: Some("g520".into()),
        project_sku: Some("0200".into()),
        chip_sku: Some("885".into()),
        ..ReportFacts::default()
    };
    let ids = |facts: &ReportFacts, architecture| {
        rim_ids(facts, architecture).into_iter().map(|wanted| wanted.id).collect::<Vec<_>>()
    };
    let vbios = "NV_GPU_VBIOS_G520_0200_885_97005E000A";
    assert_eq!(ids(&facts(Some("GB102")), Architecture::Hopper), ["NV_GPU_DRIVER_GH100_570.1", vbios]);
    assert_eq!(ids(&facts(None), Architecture::Blackwell), ["NV_GPU_CC_DRIVER_GB100_570.1", vbios]);
    assert_eq!(ids(&facts(Some("GB102")), Architecture::Blackwell), ["NV_GPU_CC_DRIVER_GB102_570.1", vbios]);
    let nothing = ReportFacts::default();
    assert_eq!(ids(&nothing, Architecture::Hopper), ["NV_GPU_DRIVER_GH100_*", "NV_GPU_VBIOS_*_*"]);
    assert_eq!(ids(&nothing, Architecture::Ls10), ["NV_SWITCH_BIOS_5612_0002_890_*"]);
}

#[test]
fn a_blackwell_driver_is_for_the_chip_that_the_report_names() {
    let blackwell = |chip: Option<&[u8]>, product: &str| {
        let mut fields = gpu_fields(0xaa);
        fields.extend(chip.map(|chip| field(35, chip)));
        let report = report(&(1..=64).collect::<Vec<_>>(), &fields);
        let rim = rim(RimKind::Driver, product, "550.1", &[7]);
        compare(&report, Architecture::Blackwell, &[rim], NOW, REFUSE).result()
    };
    assert_eq!(blackwell(None, "GB100"), Some(true));
    assert_eq!(blackwell(None, "GB102"), None);
    assert_eq!(blackwell(Some(b"GB102\0"), "GB102"), Some(true));
    assert_eq!(blackwell(Some(b"GB102\0"), "GB100"), None);
}
