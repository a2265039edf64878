//! What an anchor's attestations must be over, and by whom: each rule broken alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_ledger::anchor::{
    Anchor, AnchorContext, AnchorPoint, AttestFault, AttestationKey, TpmInstant, extra_data,
};
use assay_ledger::session::Attested;
use assay_tpm::{
    AK_ATTRIBUTES, Attest, AttestBody, ClockInfo, Curve, HashAlg, KeyKind, PcrSelection, PcrSet, Public,
    PublicParts, QuoteInfo, RH_ENDORSEMENT, RH_OWNER, Scheme, Signature, Symmetric, TimeInfo, TpmError,
    qualified_name,
};
use assay_wire::{Digest, Domain};
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer;

const SESSION: Digest = Digest([1; 32]);
const POINT: AnchorPoint =
    AnchorPoint { seq: 7, head: Digest([2; 32]), beacon: Digest([3; 32]), mono_ms: 8_000 };
const INSTANT: TpmInstant =
    TpmInstant { time_ms: 9_000, reset_count: 4, restart_count: 5, firmware_version: 6 };

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn public(key: &SigningKey) -> Public {
    let point = key.verifying_key().to_encoded_point(false);
    let (x, y) = (point.x().unwrap().to_vec(), point.y().unwrap().to_vec());
    Public::from_parts(&PublicParts {
        name_alg: HashAlg::Sha256,
        attributes: AK_ATTRIBUTES,
        auth_policy: vec![],
        symmetric: Symmetric::Null,
        scheme: Scheme::Ecdsa(HashAlg::Sha256),
        kind: KeyKind::Ecc { curve: Curve::P256, x, y },
    })
    .unwrap()
}

/// What a TPM says about [`POINT`], ready to be told wrongly.
struct Told {
    hierarchy: u32,
    signer: SigningKey,
    session: Digest,
    point: AnchorPoint,
    time: ClockInfo,
    quote: ClockInfo,
    pcr_digest: Vec<u8>,
}

fn told() -> Told {
    let clock = ClockInfo {
        clock: 1,
        reset_count: INSTANT.reset_count,
        restart_count: INSTANT.restart_count,
        safe: true,
    };
    Told {
        hierarchy: RH_ENDORSEMENT,
        signer: key(1),
        session: SESSION,
        point: POINT,
        time: clock,
        quote: clock,
        pcr_digest: vec![8; 32],
    }
}

impl Told {
    fn attested(&self, domain: Domain, clock: ClockInfo, body: AttestBody) -> Attested {
        let name = public(&key(1)).name().unwrap();
        let attest = Attest {
            qualified_signer: qualified_name(self.hierarchy, &name).as_bytes().to_vec(),
            extra_data: extra_data(domain, &self.session, &self.point).0.to_vec(),
            clock_info: clock,
            firmware_version: 1,
            body,
        };
        let attest = attest.to_bytes().unwrap();
        let signature: p256::ecdsa::Signature = self.signer.sign(&attest);
        let (r, s) = signature.split_bytes();
        let signature = Signature::ecdsa(HashAlg::Sha256, &r, &s).unwrap().to_bytes();
        Attested { attest, signature }
    }

    fn time(&self) -> Attested {
        let (time, firmware_version) = (INSTANT.time_ms, INSTANT.firmware_version);
        let body = AttestBody::Time(TimeInfo { time, clock_info: self.time, firmware_version });
        self.attested(Domain::AnchorTime, self.time, body)
    }

    fn quote(&self) -> Attested {
        let pcrs = PcrSet::from_indices(&[0, 7]).unwrap();
        let selection = vec![PcrSelection { alg: HashAlg::Sha256, pcrs }];
        let body = AttestBody::Quote(QuoteInfo { selection, pcr_digest: self.pcr_digest.clone() });
        self.attested(Domain::AnchorQuote, self.quote, body)
    }
}

fn check(time: Attested, quote: Attested) -> Result<TpmInstant, AttestFault> {
    let AnchorPoint { seq, head, beacon, mono_ms } = POINT;
    let anchor = Anchor { seq, head, beacon, mono_ms, time, quote };
    let ak = AttestationKey::parse(public(&key(1)).as_bytes()).unwrap();
    assert_eq!((anchor.point(), ak.public()), (POINT, &public(&key(1))));
    anchor.check(&ak, &AnchorContext { session: SESSION, pcr_digest: vec![8; 32], opened: INSTANT })
}

/// The fault when the time, and when the quote, is told with this change.
fn faults(change: impl Fn(&mut Told)) -> [Option<AttestFault>; 2] {
    let (good, mut bad) = (told(), told());
    change(&mut bad);
    [check(bad.time(), good.quote()).err(), check(good.time(), bad.quote()).err()]
}

fn both(fault: AttestFault) -> [Option<AttestFault>; 2] {
    [Some(fault.clone()), Some(fault)]
}

#[test]
fn an_honest_anchor_gives_the_tpms_instant() {
    assert_eq!(check(told().time(), told().quote()), Ok(INSTANT));
}

#[test]
fn the_signer_is_the_enrolled_key_in_the_endorsement_hierarchy() {
    assert_eq!(faults(|told| told.hierarchy = RH_OWNER), both(AttestFault::Signer));
    let invalid = AttestFault::Signature(TpmError::SignatureInvalid);
    assert_eq!(faults(|told| told.signer = key(2)), both(invalid));
}

#[test]
fn both_attestations_are_over_this_session_and_every_part_of_the_point() {
    let changes: [&dyn Fn(&mut Told); 5] = [
        &|told| told.session = Digest([9; 32]),
        &|told| told.point.seq += 1,
        &|told| told.point.head = Digest([9; 32]),
        &|told| told.point.beacon = Digest([9; 32]),
        &|told| told.point.mono_ms += 1,
    ];
    for change in changes {
        assert_eq!(faults(change), both(AttestFault::ExtraData));
    }
}

#[test]
fn a_time_and_a_quote_are_not_each_other() {
    assert_eq!(check(told().quote(), told().quote()), Err(AttestFault::ExtraData), "another domain");
    let (mut time, mut quote) = (told().time(), told().quote());
    (time.attest, quote.signature) = (vec![], vec![]);
    assert!(matches!(check(time, told().quote()), Err(AttestFault::Malformed(_))));
    assert!(matches!(check(told().time(), quote), Err(AttestFault::Malformed(_))));
    let body = AttestBody::Quote(QuoteInfo { selection: vec![], pcr_digest: vec![8; 32] });
    let time = told().attested(Domain::AnchorTime, told().time, body);
    assert!(matches!(check(time, told().quote()), Err(AttestFault::Malformed(TpmError::AttestType { .. }))));
}

#[test]
fn pcrs_that_moved_are_told() {
    assert_eq!(faults(|told| told.pcr_digest = vec![9; 32]), [None, Some(AttestFault::Pcrs)]);
}

#[test]
fn no_reset_and_no_restart_since_the_opening() {
    let changes: [&dyn Fn(&mut ClockInfo); 2] =
        [&|clock| clock.reset_count += 1, &|clock| clock.restart_count += 1];
    for change in changes {
        assert_eq!(faults(|told| change(&mut told.time)), [Some(AttestFault::Reset), None]);
        assert_eq!(faults(|told| change(&mut told.quote)), [None, Some(AttestFault::Reset)]);
        let mut moved = told();
        change(&mut moved.time);
        change(&mut moved.quote);
        assert_eq!(check(moved.time(), moved.quote()), Err(AttestFault::Reset), "together");
    }
}
