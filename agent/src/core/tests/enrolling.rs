//! Sessions on a software TPM: who enrols the node, what evidence carries, what ends a session.

use std::collections::BTreeSet;
use std::sync::Arc;

use assay_attester::{Identity, Properties};
use assay_demo::swtpm::Swtpm;
use assay_ledger::enrolment::{
    EnrolAnswer, EnrolChallenge, EnrolRequest, EnrolmentRecord, TpmClass, node_id,
};
use assay_ledger::protocol::SessionChallenge;
use assay_ledger::session::Evidence;
use assay_tpm::{Credential, Public, make_credential};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::*;

mod ima;

/// Link and all validators: they enrol whoever asks, challenge, and take what [`Played`] takes.
#[derive(Default)]
struct World {
    records: Played,
    asked: BTreeMap<u32, EnrolRequest>,
    /// Who has enrolled the node, in order.
    enrolled: Vec<u32>,
    evidence: Vec<Evidence>,
    /// Validators that do not answer.
    away: BTreeSet<u32>,
    /// What a TPM's maker answers, and what it was asked.
    maker: Option<(u16, Vec<u8>)>,
    urls: Vec<String>,
}

impl World {
    fn answer(&mut self, request: &Request) -> Response {
        let id = request.id;
        let ok = |body: Vec<u8>| Response { id, status: 200, body };
        let Some(index) = request.validator else {
            self.urls.push(request.path.clone());
            let (status, body) = self.maker.clone().unwrap_or((404, vec![]));
            return Response { id, status, body };
        };
        if self.away.contains(&index) {
            return Response::failed(id, "away");
        }
        let signer = key(V + u8::try_from(index).unwrap());
        match request.path.as_str() {
            protocol::ENROL => ok(self.enrol(index, &request.body)),
            protocol::ENROL_ANSWER => ok(self.record(index, &request.body, &signer)),
            protocol::CHALLENGE => ok(cbor::to_vec(&SessionChallenge { nonce: Digest([9; 32]) })),
            protocol::SESSION => ok(self.session(&request.body, &signer)),
            _ => self.records.answer(request, &signer),
        }
    }

    fn enrol(&mut self, index: u32, body: &[u8]) -> Vec<u8> {
        let request: EnrolRequest = cbor::from_slice("request", body, limits::ENVELOPE).unwrap();
        let public = |bytes: &[u8]| Public::parse(bytes).unwrap();
        let (ek, ak) = (public(&request.ek_public), public(&request.ak_public).name().unwrap());
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let Credential { id_object, encrypted_secret } =
            make_credential(&ek, &ak, b"secret", &mut rng).unwrap();
        self.asked.insert(index, request);
        cbor::to_vec(&EnrolChallenge { nonce: Digest([8; 32]), id_object, encrypted_secret })
    }

    fn record(&mut self, index: u32, body: &[u8], signer: &SigningKey) -> Vec<u8> {
        let _: EnrolAnswer = cbor::from_slice("answer", body, limits::ENVELOPE).unwrap();
        let request = self.asked.get(&index).unwrap().clone();
        self.enrolled.push(index);
        let record = EnrolmentRecord {
            node: node_id(&request.ek_public),
            ek_public: request.ek_public,
            ek_certificates: request.ek_certificates,
            ak_public: request.ak_public,
            class: TpmClass::Virtual,
            model: String::new(),
            firmware_version: 1,
            reset_count: 1,
            issued_ms: clock::unix_ms(),
            expires_ms: clock::unix_ms() + 86_400_000,
            ek_chain: request.ek_chain,
            platform_certificates: vec![],
            device_certificates: vec![],
            owner: request.owner,
            firmware: vec![],
        };
        seal(Kind::Enrolment, &record, signer)
    }

    fn session(&mut self, body: &[u8], signer: &SigningKey) -> Vec<u8> {
        let envelope = Envelope::decode_as(Kind::Evidence, body).unwrap();
        let evidence: Evidence = envelope.message().unwrap();
        let (id, start) = (evidence.session.id(), &evidence.session);
        self.records.chains.entry(id).or_insert_with(|| Chain::new(id, start.key, start.mono_ms));
        self.evidence.push(evidence);
        self.records.receipt(id, Subject::Session, envelope.hash(), signer)
    }
}

impl Rig {
    /// A link that this world answers.
    async fn join(&self, world: &Rc<RefCell<World>>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let mut link = UnixStream::connect(dir.path().join("s")).await.unwrap();
        let serving = spawn_local(Rc::clone(&self.node.port).serve(listener));
        while !self.node.port.is_connected() {
            tokio::task::yield_now().await;
        }
        serving.abort();
        let world = Rc::clone(world);
        spawn_local(async move {
            while let Ok(Some(request)) = frame::read::<Request, _>(&mut link).await {
                let answer = world.borrow_mut().answer(&request);
                frame::write(&mut link, &answer).await.unwrap();
            }
        });
    }

    /// The tasks of a running core but for the control socket.
    fn start(&self) -> watch::Sender<bool> {
        let (stop, stopping) = watch::channel(false);
        spawn_local(anchors::follow(Rc::clone(&self.node)));
        spawn_local(deliver::deliver(Rc::clone(&self.node), 0));
        spawn_local(keeper::keep(Rc::clone(&self.node), stopping));
        stop
    }

    /// Waits for a session that is not `last`, until the first validator has its evidence.
    async fn session_after(&self, last: Option<Digest>) -> Digest {
        let now = || self.node.session.borrow().as_ref().map(|session| session.id);
        self.wait(|_| now().is_some_and(|id| Some(id) != last) && self.unsent(0) == 0).await;
        now().unwrap()
    }

    fn ended(&self, id: &Digest) -> bool {
        self.node.ledger.borrow().session(id).unwrap().unwrap().ended
    }

    /// Anchors now, whatever the beacons say.
    async fn anchor(&self) -> Result<(), TpmFault> {
        let beacon = self.node.beacon.get().unwrap();
        anchors::make(&self.node, beacon).await
    }
}

/// A software TPM in a folder of its own; `None`, after saying so, where it is not installed.
fn swtpm() -> Option<(tempfile::TempDir, Swtpm)> {
    let dir = tempfile::tempdir().unwrap();
    if std::process::Command::new("swtpm").arg("--version").output().is_err() {
        eprintln!("SKIPPED: swtpm is not installed");
        return None;
    }
    let tpm = Swtpm::start(&dir.path().join("tpm")).unwrap();
    Some((dir, tpm))
}

#[tokio::test]
async fn every_validator_enrols_and_one_that_is_away_holds_up_nobody() {
    let Some((_dir, tpm)) = swtpm() else { return };
    local(async {
        let rig = rig_on(3, &tpm.tcti());
        let world = Rc::new(RefCell::new(World { away: [2].into(), ..World::default() }));
        rig.join(&world).await;
        let _stop = rig.start();
        let first = rig.session_after(None).await;
        assert_eq!(world.borrow().enrolled, [0, 1]);
        let by = |evidence: &Evidence| -> Vec<Digest> {
            evidence.further.iter().map(|bytes| Envelope::decode(bytes).unwrap().kid).collect()
        };
        let id = |n: u8| key(V + n).verifying_key().validator_id();
        assert_eq!(by(&world.borrow().evidence[0]), [id(1)]);
        // Each validator's record is kept as its own.
        for n in 0..2 {
            let record = rig.node.ledger.borrow().enrolment(&id(n)).unwrap().unwrap();
            assert_eq!(Envelope::decode(&record).unwrap().kid, id(n));
        }
        assert_eq!(rig.node.ledger.borrow().enrolment(&id(2)).unwrap(), None);
        // It comes back: the node enrols there too, and shows all three records.
        world.borrow_mut().away.clear();
        let second = rig.session_after(Some(first)).await;
        assert!(rig.ended(&first) && !rig.ended(&second));
        assert_eq!(world.borrow().enrolled, [0, 1, 2]);
        assert_eq!(by(world.borrow().evidence.last().unwrap()), [id(1), id(2)]);
    })
    .await;
}

#[tokio::test]
async fn a_measurement_and_a_reset_end_the_session_and_the_next_proves_the_boot() {
    let Some((_dir, mut tpm)) = swtpm() else { return };
    local(async {
        let rig = rig_on(1, &tpm.tcti());
        let world = Rc::new(RefCell::new(World::default()));
        rig.join(&world).await;
        let _stop = rig.start();
        let first = rig.session_after(None).await;
        rig.anchor().await.unwrap();
        assert!(!rig.ended(&first), "nothing has changed");
        let anchors = rig.node.ledger.borrow().records(&first, Kind::Anchor).unwrap().len();
        assert!(anchors > 0);

        rig.node.tpm.call(|tpm| tpm.pcr_extend(14, [7; 32])).await.unwrap();
        rig.anchor().await.unwrap();
        let second = rig.session_after(Some(first)).await;
        assert!(rig.ended(&first));
        let kept = rig.node.ledger.borrow().records(&first, Kind::Anchor).unwrap().len();
        assert_eq!(kept, anchors, "an anchor of the changed state is none of the old session");
        let pcr14 = |evidence: &Evidence| evidence.pcrs.iter().find(|value| value.pcr == 14).unwrap().value;
        let (before, after) = {
            let world = world.borrow();
            (pcr14(&world.evidence[0]), pcr14(&world.evidence[1]))
        };
        assert_ne!(before, after, "whole evidence again");

        tpm.restart().unwrap();
        // The first word to a TPM that went away says so; the next one opens it anew.
        while rig.anchor().await.is_err() {}
        let third = rig.session_after(Some(second)).await;
        assert!(rig.ended(&second) && !rig.ended(&third));
        assert_eq!(world.borrow().enrolled, [0], "one record for all of them");
    })
    .await;
}

/// An identity as an AMD firmware TPM gives it: no certificate.
fn bare() -> Arc<Identity> {
    let properties = Properties {
        manufacturer: "AMD".into(),
        vendor_string: "AMD".into(),
        firmware_version: 1,
        spec_revision: 138,
        spec_year: 2019,
    };
    // TPMT_PUBLIC of template L-2 with x = 1.., y = 2...
    let head = "0023000b000300b20020".to_owned() + &"07".repeat(32) + "0006008000430010" + "00030010";
    let point = format!("0020{}0020{}", "01".repeat(32), "02".repeat(32));
    Arc::new(Identity {
        ek_public: hex::decode(head + &point).unwrap(),
        ek_certificates: vec![],
        ek_chain: vec![],
        platform_certificates: vec![],
        device_certificates: vec![],
        skipped: vec![],
        ak_public: vec![],
        properties,
    })
}

#[tokio::test]
async fn a_firmware_tpms_certificate_comes_from_its_maker() {
    local(async {
        let rig = rig(0);
        let der = vec![0x30, 0x82, 0, 1, 5];
        let world = Rc::new(RefCell::new(World { maker: Some((200, der.clone())), ..World::default() }));
        rig.join(&world).await;
        let complete = endorsement::complete(&rig.node, bare()).await;
        assert_eq!(complete.ek_certificates, [der]);
        assert_eq!(rig.node.status().unwrap().certificate.as_deref(), Some("maker"));
        assert!(world.borrow().urls[0].starts_with("https://ftpm.amd.com/pki/aia/"));
        assert_eq!(rig.node.identity.borrow().as_ref(), Some(&complete));
        assert!(codes(&rig.node).is_empty());
        // Known from here on: nobody is asked again.
        endorsement::complete(&rig.node, complete).await;
        assert_eq!(world.borrow().urls.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_maker_that_gives_nothing_is_a_health_item_and_no_hammering() {
    for maker in [Some((404, vec![])), Some((200, b"<html>".to_vec())), Some((0, b"away".to_vec()))] {
        local(async {
            let rig = rig(0);
            let world = Rc::new(RefCell::new(World { maker, ..World::default() }));
            rig.join(&world).await;
            for _ in 0..3 {
                let left = endorsement::complete(&rig.node, bare()).await;
                assert_eq!(left, bare());
            }
            assert_eq!(codes(&rig.node), ["identity.certificate"]);
            assert_eq!(world.borrow().urls.len(), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn an_owners_file_comes_before_the_maker() {
    local(async {
        let rig = rig(0);
        let world = Rc::new(RefCell::new(World::default()));
        rig.join(&world).await;
        let der = vec![0x30, 0x82, 0, 1, 5];
        assert!(matches!(endorsement::give(&rig.node, "00"), answer::Answer::Refused { .. }));
        assert_eq!(endorsement::give(&rig.node, &hex::encode(&der)), answer::Answer::Taken);
        let complete = endorsement::complete(&rig.node, bare()).await;
        assert_eq!(complete.ek_certificates, [der]);
        assert_eq!(rig.node.status().unwrap().certificate.as_deref(), Some("file"));
        assert!(world.borrow().urls.is_empty());
    })
    .await;
}
