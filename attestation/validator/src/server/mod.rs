//! The service: HTTPS, with limits on everything a stranger can ask for.
//!
//! Purpose: accept connections, pace them, decode requests, hand them to the engine.
//! One thread for the network and one for the engine.
//!
//! Trust boundary: everything that connects is hostile until the engine has checked a
//! signature. TLS 1.3 only; HTTP/1.1 only; a cap on connections, on a request's bytes
//! and on all requests' bytes together; a time limit for the handshake, each header,
//! each body and for silence. Each address has its share of connections, handshakes and
//! requests (`rate`), and a malformed body is refused before any public-key work.
//! Orders of whoever runs the validator come over a socket of their own (`admin`).
//!
//! Not here: authentication by TLS (messages are signed by themselves), metrics.

mod connection;
mod pace;
mod rate;
mod routes;

use std::fs::{File, TryLockError};
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use assay_appraisal::Policy;
use assay_wire::Digest;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use rate::{Address, Rates};

use crate::admin::socket;
use crate::beacon::{BeaconSource, OsBeacons};
use crate::config::{Config, Home, Limits};
use crate::engine::{self, Clock, Handle, Parts};
use crate::error::{Error, read_text};
use crate::ocsp::Cache;
use crate::rim::Shelf;
use crate::store::Store;
use crate::{civil, tls, trusted};

/// A validator's directory, read and checked, ready to serve.
#[derive(Debug)]
pub struct Service {
    home: Home,
    config: Config,
    parts: Parts,
    tls: Arc<ServerConfig>,
    pin: String,
    /// For orders of whoever runs the validator.
    orders: UnixListener,
    /// Held for as long as the directory is served; dropped with the service.
    lock: File,
}

impl Service {
    /// Reads a validator's directory and locks it.
    ///
    /// # Errors
    /// Any [`Error`] of a file that is missing or can't be used, [`Error::Locked`] when another
    /// process serves the directory.
    pub fn open(home: &Home) -> Result<Self, Error> {
        let config = Config::load(&home.config())?;
        let trust = trusted::home(home)?;
        let policy = trusted::policy(&home.trust(), &trust.policy)?;
        let key = trusted::signing_key(&home.key())?;
        let id = key.verifying_key().validator_id();
        if !trust.validators.contains_key(&id) {
            let detail = format!("does not name this validator's own key, {:?}", key.verifying_key());
            return Err(Error::Config { path: home.trust(), detail });
        }
        let tls = tls::server(&home.certificate(), &home.tls_key())?;
        let pin = tls::pin(&home.tls_key())?;
        let lock = lock(home)?;
        let store = Store::open(&home.store(), trust.network.id(), &id.to_string())?;
        let (beacons, clock): (_, Clock) = (Box::new(OsBeacons), Arc::new(civil::now_ms));
        store.begin()?;
        store.finish(engine::index_records(&store))?;
        let (challenge_ms, challenges) = (config.limits.challenge_s * 1000, config.limits.challenges);
        let (ak_change_ms, twins) = (config.limits.ak_change_s * 1000, config.twins);
        let policy_text = policy_text(home, &trust.policy)?;
        let parts = Parts {
            rims: Shelf::open(&home.rims(), &trust)?,
            ocsp: Cache::open(&home.ocsp())?,
            trust,
            policy,
            key,
            store,
            beacons,
            clock,
            challenge_ms,
            challenges,
            policy_text,
            ak_change_ms,
            twins,
        };
        let orders = socket::bind(&home.admin())?;
        Ok(Self { home: home.clone(), config, parts, tls, pin, orders, lock })
    }

    /// Tells the time by another clock: a test's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.parts.clock = clock;
        self
    }

    /// Takes beacons from another source than the operating system.
    #[must_use]
    pub fn with_beacons(mut self, beacons: Box<dyn BeaconSource>) -> Self {
        self.parts.beacons = beacons;
        self
    }

    /// With other limits than those of the configuration file.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.parts.challenge_ms = limits.challenge_s * 1000;
        self.parts.challenges = limits.challenges;
        self.parts.ak_change_ms = limits.ak_change_s * 1000;
        self.config.limits = limits;
        self
    }

    /// Where the configuration says to listen.
    pub fn listen_address(&self) -> SocketAddr {
        self.config.listen
    }

    /// SHA-256 of the TLS key's SubjectPublicKeyInfo, in hex.
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// The validator's id.
    pub fn id(&self) -> Digest {
        self.parts.key.verifying_key().validator_id()
    }

    /// Serves until `stop` completes, then lets requests finish and closes the store.
    ///
    /// # Errors
    /// [`Error::Start`] or [`Error::Engine`].
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { home, config, parts, tls, lock, orders, .. } = self;
        let (engine, thread) = engine::start(parts)?;
        let orders = tokio::net::UnixListener::from_std(orders)
            .map_err(|source| Error::Start { what: "the admin socket", source })?;
        let owner = socket::owner(home.dir())
            .map_err(|source| Error::ReadFile { path: home.dir().to_owned(), source })?;
        let admin = engine.clone();
        let acceptor = TlsAcceptor::from(tls);
        let shared = Arc::new(Shared::new(engine, acceptor, config.limits));
        let (closing, closed) = watch::channel(());
        tokio::select! {
            () = accept(&listener, &shared, &closed) => {}
            () = socket::serve(&orders, &admin, owner) => {}
            () = stop => log::info!("stopping"),
            () = engine_gone(&thread) => return Err(Error::Engine),
        }
        drop(listener);
        drop(admin);
        let _ = std::fs::remove_file(home.admin());
        let _ = closing.send(());
        drop(closed);
        // Completes when the last connection has dropped its end: they time themselves.
        closing.closed().await;
        drop(shared);
        join(thread).await?;
        drop(lock);
        Ok(())
    }
}

/// The text that a policy was read from.
fn policy_text(home: &Home, name: &str) -> Result<String, Error> {
    let path = home.policies().join(format!("{name}.toml"));
    let builtin = || Policy::BUILTIN.into_iter().find(|(builtin, _)| *builtin == name);
    match path.exists() {
        true => read_text(&path),
        false => Ok(builtin().map(|(_, text)| text.to_owned()).unwrap_or_default()),
    }
}

/// Takes the lock that whoever writes the directory's store holds.
pub(crate) fn lock(home: &Home) -> Result<File, Error> {
    let path = home.lock();
    let file = File::create(&path).map_err(|source| Error::WriteFile { path: path.clone(), source })?;
    // A process that was just forked holds the file until it runs its program; so may a predecessor
    // that is about to end.
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(Error::WriteFile { path, source }),
        }
    }
}

/// How long a lock is waited for.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// What all connections share.
struct Shared {
    engine: Handle,
    acceptor: TlsAcceptor,
    limits: Limits,
    connections: Arc<Semaphore>,
    rates: Rates,
    /// KiB of bodies that may be in memory.
    bodies: Arc<Semaphore>,
}

impl Shared {
    fn new(engine: Handle, acceptor: TlsAcceptor, limits: Limits) -> Self {
        let kib = usize::try_from(limits.body_memory_mib).unwrap_or(64) * 1024;
        let connections = Arc::new(Semaphore::new(limits.connections));
        let rates = Rates::new(&limits);
        Self { engine, acceptor, connections, rates, bodies: Arc::new(Semaphore::new(kib)), limits }
    }
}

/// Accepts connections for ever.
async fn accept(listener: &TcpListener, shared: &Arc<Shared>, closed: &watch::Receiver<()>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: connections that end will free some.
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
            log::debug!("too many connections: one closed");
            continue;
        };
        let address = Address::of(peer.ip());
        // A handshake is public-key work too: it counts before it begins.
        let Some(place) = shared.rates.connect(address) else {
            log::debug!("too many connections of one address: one closed");
            continue;
        };
        let (shared, closed) = (Arc::clone(shared), closed.clone());
        tokio::spawn(async move {
            connection::run(stream, address, shared, closed).await;
            drop((permit, place));
        });
    }
}

/// Completes when the engine's thread has ended by itself, which it must not.
async fn engine_gone(thread: &JoinHandle<()>) {
    while !thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn join(thread: JoinHandle<()>) -> Result<(), Error> {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    match joined {
        Ok(Ok(())) => Ok(()),
        _ => Err(Error::Engine),
    }
}
