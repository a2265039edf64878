//! A validator's service in this process, on loopback, and a node's protocol with it.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use assay_appraisal::Trust;
use assay_ledger::protocol::{
    Accepted, CHALLENGE, ChallengeRequest, ENROL, ENROL_ANSWER, RECORDS, Records, Refusal, SESSION,
    SessionChallenge,
};
use assay_validator::config::Home;
use assay_validator::init::{Options, init};
use assay_validator::server::Service as Validator;
use assay_validator::store::Store;
use assay_validator::trusted;
use assay_wire::{Digest, cbor};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{Activates, Lab, Node, Session, answer_knowing};

/// Longest answer that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// A running validator; stopped when dropped.
#[derive(Debug)]
pub struct Service {
    dir: TempDir,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// A new validator of a network of its own, on a free port, with the real clock.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("v"));
        init(home.dir(), &Options::default()).unwrap();
        let (told, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let service = Validator::open(&home).unwrap();
                service.serve(listener, async { drop(stopped.await) }).await.unwrap();
            });
        });
        Self { dir, address: address.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    fn home(&self) -> Home {
        Home::new(self.dir.path().join("v"))
    }

    /// Whom the validator believes.
    pub fn trust(&self) -> Trust {
        trusted::trust(&self.home().trust()).unwrap()
    }

    /// Codes and severities of what the validator found about a node.
    pub fn findings(&self, node: &Digest) -> Vec<(String, String)> {
        let store = Store::open_read_only(&self.home().store()).unwrap();
        store.findings_of(node).unwrap().into_iter().map(|found| (found.code, found.severity)).collect()
    }

    /// How many offences it has recorded.
    pub fn offences(&self) -> usize {
        Store::open_read_only(&self.home().store()).unwrap().offences().unwrap().len()
    }

    /// Sends a message over a connection of its own.
    ///
    /// # Errors
    /// The code of the refusal.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.home().certificate()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut tls = StreamOwned::new(connection, TcpStream::connect(self.address).unwrap());
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        tls.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let (status, body) = response(&mut tls);
        match status.as_str() {
            "200" => Ok(body),
            _ => Err(cbor::from_slice::<Refusal>("refusal", &body, LONGEST).unwrap().code),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Status and body of one answer.
fn response(stream: &mut impl std::io::Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body)
}

/// A lab whose nodes talk to this validator: its trust, its network, and the clock on the wall.
pub fn lab_at(service: &Service) -> Lab {
    let mut lab = Lab::new();
    lab.trust = service.trust();
    lab.online = false;
    lab.unix_ms = assay_validator::civil::now_ms();
    lab
}

impl Lab {
    /// Enrols with the service; the node keeps the record.
    ///
    /// # Errors
    /// The code of the first refusal.
    pub fn enrol_at<T: Activates>(&mut self, service: &Service, node: &mut Node<T>) -> Result<(), String> {
        let request = self.request(node);
        let challenge = service.post(ENROL, &cbor::to_vec(&request))?;
        let challenge: assay_ledger::enrolment::EnrolChallenge =
            cbor::from_slice("challenge", &challenge, LONGEST).unwrap();
        let secret = node.attester.activate(&challenge.id_object, &challenge.encrypted_secret);
        let answer = answer_knowing(&secret.unwrap_or_default(), node, &request, &challenge);
        node.record = service.post(ENROL_ANSWER, &cbor::to_vec(&answer))?;
        Ok(())
    }

    /// A session under a challenge of the service's, not sent yet.
    pub fn prepare_at<T: Activates>(&mut self, service: &Service, node: &mut Node<T>) -> Session {
        let request = cbor::to_vec(&ChallengeRequest { node: node.id });
        let nonce = service.post(CHALLENGE, &request).unwrap();
        let nonce: SessionChallenge = cbor::from_slice("nonce", &nonce, LONGEST).unwrap();
        self.open_with(node, |start| start.challenge = nonce.nonce, |_, _| {})
    }

    /// Opens a session at the service.
    ///
    /// # Errors
    /// The code of the refusal.
    pub fn open_at<T: Activates>(
        &mut self,
        service: &Service,
        node: &mut Node<T>,
    ) -> Result<Session, String> {
        let session = self.prepare_at(service, node);
        service.post(SESSION, &session.records.evidence)?;
        Ok(session)
    }

    /// Delivers one more beat, with flags that tell two beats of one place apart.
    ///
    /// # Errors
    /// The code of the refusal, of the delivery or of the beat.
    pub fn beat_at(&mut self, service: &Service, session: &mut Session, flags: u32) -> Result<(), String> {
        self.advance(1);
        self.beat_with(session, |beat| beat.flags = flags);
        let newest = session.records.beats.last().unwrap().clone();
        let records = Records { session: session.id, envelopes: vec![newest] };
        let accepted = service.post(RECORDS, &cbor::to_vec(&records))?;
        let accepted: Accepted = cbor::from_slice("accepted", &accepted, LONGEST).unwrap();
        accepted.refusal.map_or(Ok(()), |refusal| Err(refusal.code))
    }
}
