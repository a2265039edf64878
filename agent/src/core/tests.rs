//! Core's tasks against a validator that the test plays, through a link that it plays, too.

use std::cell::RefCell;
use std::collections::BTreeMap;

use assay_ledger::beacon::{Beacon, BeaconName};
use assay_ledger::beat::{Beat, flags};
use assay_ledger::chain::Chain;
use assay_ledger::protocol::{self, Accepted, Records, Refusal};
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_wire::{Digest, Domain, Envelope, Kind, SigningKey, cbor, hash, limits};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::*;
use crate::config::{self, TpmConfig};
use crate::core::keys::SessionKeys;
use crate::core::session::Session;
use crate::ledger::NewSession;
use crate::ledger::testing::{Maker, key, network};
use crate::link::frame::{self, Request, Response};

mod enrolling;
mod starting;

const V: u8 = 7;

struct Rig {
    _dir: tempfile::TempDir,
    node: Rc<Node>,
}

fn rig(validators: u8) -> Rig {
    rig_on(validators, "/dev/no-such-tpm")
}

fn rig_on(validators: u8, tpm: &str) -> Rig {
    rig_of(validators, tpm, |_| {})
}

fn rig_of(validators: u8, tpm: &str, set: impl FnOnce(&mut Config)) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.network.id = network().id().to_owned();
    config.tpm = TpmConfig { backend: tpm.to_owned(), simulated: true, ..TpmConfig::default() };
    config.gpu.enabled = false;
    config.node.state_dir = dir.path().to_owned();
    config.validator = (0..validators)
        .map(|n| config::Validator {
            name: format!("v{n}"),
            url: "https://127.0.0.1:1".into(),
            key: key(V + n).verifying_key(),
            tls_spki: Digest([0; 32]),
        })
        .collect();
    set(&mut config);
    let ledger = Ledger::open(&config.node.ledger()).unwrap();
    let tpm = TpmHandle::start(&config.tpm).unwrap();
    Rig { _dir: dir, node: Rc::new(Node::new(&config, ledger, tpm, None)) }
}

impl Rig {
    /// A session as the keeper leaves one, with evidence that only this test's validator takes.
    fn open(&self) -> Digest {
        let keys = SessionKeys::generate().unwrap();
        let mut start = Maker::new(1).start;
        start.key = keys.sign.verifying_key();
        start.mono_ms = 1;
        let session = Session::new(start, keys, network());
        let (id, key) = (session.id, session.start.key);
        let evidence = session.seal(Kind::Evidence, &session.start);
        let new = NewSession { id, key, evidence: &evidence, local: false, opened_ms: 1 };
        self.node.ledger.borrow_mut().add_session(&new).unwrap();
        *self.node.session.borrow_mut() = Some(session);
        id
    }

    fn beat(&self, count: usize) {
        (0..count).for_each(|_| beats::beat(&self.node));
    }

    fn seq(&self) -> u64 {
        self.node.session.borrow().as_ref().unwrap().head.seq
    }
}

/// A validator with a chain per session; what it does wrong is up to the test.
#[derive(Default)]
struct Played {
    /// Requests that it answers before it dies.
    lives: Option<usize>,
    /// Dies after it has stored a delivery and before it has said so.
    mute: bool,
    refuse: Option<(&'static str, &'static str)>,
    forge: bool,
    chains: BTreeMap<Digest, Chain>,
    /// Every envelope it has taken, in order.
    taken: Vec<Vec<u8>>,
    deliveries: usize,
}

impl Played {
    fn answer(&mut self, request: &Request, signer: &SigningKey) -> Response {
        let id = request.id;
        let ok = |body: Vec<u8>| Response { id, status: 200, body };
        if let Some((path, code)) = self.refuse
            && request.path == path
        {
            let refusal = Refusal { code: code.to_owned(), message: String::new() };
            return Response { id, status: 403, body: cbor::to_vec(&refusal) };
        }
        match request.path.as_str() {
            protocol::SESSION => ok(self.session(&request.body, signer)),
            protocol::RECORDS => ok(self.records(&request.body, signer)),
            protocol::BEACON => {
                let beacon = Beacon { round: 3, time_ms: 3000, randomness: Digest([1; 32]) };
                ok(seal(Kind::Beacon, &beacon, signer))
            }
            other => panic!("{other}"),
        }
    }

    fn receipt(&self, session: Digest, subject: Subject, hash: Digest, signer: &SigningKey) -> Vec<u8> {
        let receipt = BeatReceipt { session, subject, seq: 1, hash, at_ms: 5 };
        match self.forge {
            true => seal(Kind::BeatReceipt, &receipt, &key(99)),
            false => seal(Kind::BeatReceipt, &receipt, signer),
        }
    }

    fn session(&mut self, body: &[u8], signer: &SigningKey) -> Vec<u8> {
        let envelope = Envelope::decode_as(Kind::Evidence, body).unwrap();
        let start: assay_ledger::session::SessionStart = envelope.message().unwrap();
        let id = start.id();
        self.chains.entry(id).or_insert_with(|| Chain::new(id, start.key, start.mono_ms));
        self.receipt(id, Subject::Session, envelope.hash(), signer)
    }

    fn records(&mut self, body: &[u8], signer: &SigningKey) -> Vec<u8> {
        self.deliveries += 1;
        let records: Records = cbor::from_slice("records", body, limits::ENVELOPE).unwrap();
        let mut receipts = Vec::new();
        for bytes in &records.envelopes {
            let envelope = Envelope::decode(bytes).unwrap();
            let subject = if envelope.kind == Kind::Beat { Subject::Beats } else { Subject::End };
            if !self.taken.contains(bytes) {
                if subject == Subject::Beats {
                    let chain = self.chains.get_mut(&records.session).expect("its evidence came first");
                    chain.extend(&[bytes.as_slice()], &network()).expect("in order");
                }
                self.taken.push(bytes.to_vec());
            }
            receipts.push(self.receipt(records.session, subject, envelope.hash(), signer).into());
        }
        let count = u32::try_from(records.envelopes.len()).unwrap();
        cbor::to_vec(&Accepted { count, receipts, refusal: None })
    }
}

fn seal<T: minicbor::Encode<()>>(kind: Kind, message: &T, signer: &SigningKey) -> Vec<u8> {
    Envelope::seal(kind, signer.verifying_key().validator_id(), message, signer, &network())
}

/// Plays link and validator on one connection until the validator dies.
async fn play(mut link: UnixStream, played: Rc<RefCell<Played>>) {
    while let Ok(Some(request)) = frame::read::<Request, _>(&mut link).await {
        let signer = key(V + u8::try_from(request.validator.unwrap()).unwrap());
        let answer = played.borrow_mut().answer(&request, &signer);
        let mute = played.borrow().mute;
        let dies = played.borrow_mut().lives.as_mut().is_some_and(|lives| {
            *lives = lives.saturating_sub(1);
            *lives == 0
        });
        if !(mute && dies) {
            frame::write(&mut link, &answer).await.unwrap();
        }
        if dies {
            return;
        }
    }
}

impl Rig {
    async fn connect(&self, played: &Rc<RefCell<Played>>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let link = UnixStream::connect(dir.path().join("s")).await.unwrap();
        let port = Rc::clone(&self.node.port);
        let serving = spawn_local(port.serve(listener));
        while !self.node.port.is_connected() {
            tokio::task::yield_now().await;
        }
        serving.abort();
        spawn_local(play(link, Rc::clone(played)));
    }

    async fn wait(&self, what: impl Fn(&Node) -> bool) {
        let wait = async {
            while !what(&self.node) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.expect("in time");
    }

    fn unsent(&self, n: u8) -> u64 {
        let id = key(V + n).verifying_key().validator_id();
        self.node.ledger.borrow().unsent(&id).unwrap()
    }
}

async fn local<T>(body: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(body).await
}

fn played(played: Played) -> Rc<RefCell<Played>> {
    Rc::new(RefCell::new(played))
}

fn codes(node: &Node) -> Vec<String> {
    node.health.borrow().items().into_iter().map(|item| item.code).collect()
}

#[tokio::test]
async fn beats_are_stored_chained_and_marked_offline() {
    let rig = rig(1);
    let id = rig.open();
    rig.beat(3);
    let stored = rig.node.ledger.borrow().records(&id, Kind::Beat).unwrap();
    let last: Beat = Envelope::decode(&stored[2].bytes).unwrap().message().unwrap();
    assert_eq!((last.seq, last.prev, last.flags), (3, stored[1].hash, flags::OFFLINE));
    assert_eq!(rig.seq(), 3);
}

#[tokio::test]
async fn a_beat_that_finds_the_disk_full_was_not_made() {
    let rig = rig(1);
    let id = rig.open();
    rig.beat(1);
    rig.node.ledger.borrow().limit_pages(0);
    rig.beat(50);
    let full = rig.seq();
    assert!(full < 51);
    assert_eq!(codes(&rig.node), ["ledger.full"]);
    assert!(rig.node.session.borrow().as_ref().unwrap().unstored.is_some());
    rig.node.ledger.borrow().limit_pages(1 << 20);
    rig.beat(1);
    assert_eq!(rig.seq(), full + 1);
    assert!(codes(&rig.node).is_empty());
    assert!(rig.node.session.borrow().as_ref().unwrap().unstored.is_none());
    assert_eq!(rig.node.ledger.borrow().head(&id).unwrap().seq, full + 1);
}

#[tokio::test]
async fn everything_is_delivered_once_in_order_through_breaks() {
    for mute in [false, true] {
        local(async {
            let rig = rig(1);
            rig.open();
            rig.beat(700);
            let dying = played(Played { lives: Some(2), mute, ..Played::default() });
            spawn_local(deliver::deliver(Rc::clone(&rig.node), 0));
            rig.connect(&dying).await;
            rig.wait(|node| !node.port.is_connected()).await;
            assert!(rig.unsent(0) > 0);
            rig.beat(5);
            dying.borrow_mut().lives = None;
            rig.connect(&dying).await;
            rig.wait(|_| rig.unsent(0) == 0).await;
            let taken = dying.borrow().taken.clone();
            assert_eq!(taken.len(), 705);
            let seqs: Vec<u64> =
                taken.iter().map(|b| Envelope::decode(b).unwrap().message::<Beat>().unwrap().seq).collect();
            assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1));
            // What is made from now on follows by itself.
            rig.beat(1);
            rig.wait(|_| rig.unsent(0) == 0).await;
            assert_eq!(dying.borrow().taken.len(), 706);
            assert!(rig.node.ledger.borrow().previous().unwrap().is_some_and(|head| head.seq == 706));
        })
        .await;
    }
}

#[tokio::test]
async fn a_receipt_that_does_not_hold_is_no_delivery() {
    local(async {
        let rig = rig(1);
        let id = rig.open();
        rig.beat(2);
        let forger = played(Played { forge: true, ..Played::default() });
        spawn_local(deliver::deliver(Rc::clone(&rig.node), 0));
        rig.connect(&forger).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(rig.unsent(0), 3);
        assert_eq!(rig.node.ledger.borrow().session(&id).unwrap().unwrap().receipts, 0);
        assert!(!rig.node.validators[0].is_connected());
        forger.borrow_mut().forge = false;
        rig.wait(|_| rig.unsent(0) == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_session_is_lost_to_the_first_validator_and_told() {
    local(async {
        let rig = rig(1);
        let id = rig.open();
        rig.beat(2);
        let refusing = (protocol::RECORDS, "session.unknown");
        let forgetful = played(Played { refuse: Some(refusing), ..Played::default() });
        spawn_local(deliver::deliver(Rc::clone(&rig.node), 0));
        rig.connect(&forgetful).await;
        timeout(Duration::from_secs(5), rig.node.lost.notified()).await.expect("told");
        assert_eq!(rig.unsent(0), 0);
        let refusal = rig.node.ledger.borrow().refusal(&rig.node.validators[0].id, &id).unwrap();
        assert_eq!(refusal.unwrap().0, "session.unknown");
        assert_eq!(codes(&rig.node), ["validator.refused"]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_enrolment_is_forgotten() {
    local(async {
        let rig = rig(1);
        rig.open();
        let first = rig.node.validators[0].id;
        rig.node.ledger.borrow_mut().set_enrolment(&first, b"record").unwrap();
        let refusing = (protocol::SESSION, "enrolment.validity");
        spawn_local(deliver::deliver(Rc::clone(&rig.node), 0));
        rig.connect(&played(Played { refuse: Some(refusing), ..Played::default() })).await;
        timeout(Duration::from_secs(5), rig.node.lost.notified()).await.expect("told");
        assert_eq!(rig.node.ledger.borrow().enrolment(&first).unwrap(), None);
        assert_eq!(rig.node.ledger.borrow().previous().unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_second_validator_that_refuses_holds_up_nobody() {
    local(async {
        let rig = rig(2);
        rig.open();
        rig.beat(3);
        let both = played(Played::default());
        spawn_local(deliver::deliver(Rc::clone(&rig.node), 0));
        rig.connect(&both).await;
        rig.wait(|_| rig.unsent(0) == 0).await;
        assert_eq!(rig.unsent(1), 4);
        both.borrow_mut().refuse = Some((protocol::SESSION, "challenge.unknown"));
        spawn_local(deliver::deliver(Rc::clone(&rig.node), 1));
        rig.wait(|_| rig.unsent(1) == 0).await;
        assert_eq!(codes(&rig.node), ["validator.secondary-refused"]);
        assert_eq!(rig.node.ledger.borrow().previous().unwrap().unwrap().seq, 3);
    })
    .await;
}

#[tokio::test]
async fn a_beacon_is_stored_before_a_beat_names_it() {
    local(async {
        let rig = rig(1);
        let id = rig.open();
        rig.connect(&played(Played::default())).await;
        let follow = spawn_local(anchors::follow(Rc::clone(&rig.node)));
        rig.wait(|node| node.beacon.get().is_some()).await;
        follow.abort();
        rig.beat(1);
        let beat = rig.node.ledger.borrow().records(&id, Kind::Beat).unwrap().remove(0);
        let beat: Beat = Envelope::decode(&beat.bytes).unwrap().message().unwrap();
        let (round, bytes) = rig.node.ledger.borrow().beacon(&beat.beacon).unwrap().unwrap();
        assert_eq!((round, beat.flags), (3, 0));
        assert_eq!(BeaconName::from(hash(Domain::Envelope, &[&bytes])), beat.beacon);
    })
    .await;
}

#[tokio::test]
async fn a_missing_tpm_is_told_and_ends_nothing() {
    local(async {
        let rig = rig(1);
        let (stop, stopping) = watch::channel(false);
        let keeper = spawn_local(keeper::keep(Rc::clone(&rig.node), stopping));
        rig.wait(|node| codes(node) == ["tpm.missing"]).await;
        let status = rig.node.status().unwrap();
        assert_eq!((status.schema, status.session, status.node), (1, None, None));
        stop.send_replace(true);
        timeout(Duration::from_secs(5), keeper).await.expect("in time").unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_orderly_end_names_the_head_and_is_delivered() {
    local(async {
        let rig = rig(1);
        let id = rig.open();
        rig.beat(2);
        let witness = played(Played::default());
        spawn_local(deliver::deliver(Rc::clone(&rig.node), 0));
        rig.connect(&witness).await;
        rig.wait(|_| rig.unsent(0) == 0).await;
        let (_stop, stopping) = watch::channel(true);
        keeper::keep(Rc::clone(&rig.node), stopping).await;
        assert!(rig.node.session.borrow().is_none());
        assert!(rig.node.ledger.borrow().session(&id).unwrap().unwrap().ended);
        assert_eq!(witness.borrow().taken.len(), 3);
    })
    .await;
}
