//! Where the TPM is, and whether someone is there.
//!
//! `libtss2` blocks for ever on a TPM that never answers and tells a missing device from a busy
//! one only in a log line. So we look first, with time limits, and let `libtss2` connect after.

use std::{
    fs::OpenOptions,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::{linux::net::SocketAddrExt, unix},
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use tss_esapi::TctiNameConf;

use crate::error::{RC_FAILURE, RC_INITIALIZE, TpmError, tss};

/// How long a simulator may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long a simulator may take to answer one command. It serves one connection at a time, so
/// silence means that another process holds it. A key generation of the other lasts less.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// `TPM2_GetCapability(TPM_CAP_TPM_PROPERTIES, TPM_PT_MANUFACTURER, 1)`: the cheapest command
/// that every TPM answers in every state (TPM 2.0 Part 3, 30.2).
const PROBE: [u8; 22] = [0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, 0, 0, 0, 6, 0, 0, 0x01, 0x05, 0, 0, 0, 1];

/// How long to wait for another process of ours to be done with a simulator, and between looks.
const RESERVE_LIMIT: Duration = Duration::from_secs(3);
const RESERVE_PAUSE: Duration = Duration::from_millis(20);

/// The sole use, among programs with this crate, of a TPM without a resource manager: an abstract
/// socket with the TPM's address in its name, which the kernel removes when we die.
#[derive(Debug)]
pub(crate) struct Reservation {
    _socket: unix::net::UnixDatagram,
}

/// How to reach the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A character device; `/dev/tpmrm0` on every ordinary system.
    Device(PathBuf),
    /// A TCTI string for swtpm over TCP: `swtpm:host=ADDRESS,port=PORT`. swtpm's control channel
    /// must listen on the next port. Development and tests only: anyone who can connect to the port
    /// is the TPM's owner.
    Tcti(String),
}

impl Backend {
    /// Reads a backend from a configuration: an absolute device path, `device:PATH`, or
    /// `swtpm:host=ADDRESS,port=PORT`.
    ///
    /// # Errors
    ///
    /// [`TpmError::InvalidBackend`] for anything else. swtpm's unix sockets (`swtpm:path=`) are
    /// among it: `tss-esapi` 7.7 cannot name one.
    pub fn parse(text: &str) -> Result<Self, TpmError> {
        let device = text.strip_prefix("device:").unwrap_or(text);
        if Path::new(device).is_absolute() {
            return Ok(Self::Device(device.into()));
        }
        match text.strip_prefix("swtpm:") {
            Some(options) => swtpm_address(options)
                .map(|_| Self::Tcti(text.to_owned()))
                .map_err(|reason| invalid(text, reason)),
            None => Err(invalid(text, "neither an absolute device path nor swtpm:host=ADDRESS,port=PORT")),
        }
    }

    /// Whether objects that a dead process left behind stay in the TPM, because nothing between
    /// it and us cleans up. The kernel's resource manager (`/dev/tpmrm*`) does.
    pub(crate) fn keeps_leftovers(&self) -> bool {
        match self {
            Self::Device(path) => {
                !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"tpmrm"))
            }
            Self::Tcti(_) => true,
        }
    }

    /// Finds out whether a TPM is there and free, within a few seconds, and reserves it if nothing
    /// else would keep others away. Keep what is returned as long as the TPM is in use.
    pub(crate) fn probe(&self) -> Result<Option<Reservation>, TpmError> {
        match self {
            Self::Device(path) => probe_device(path).map(|()| None),
            Self::Tcti(text) => {
                let options = text.strip_prefix("swtpm:").unwrap_or(text);
                let (host, port) = swtpm_address(options).map_err(|reason| invalid(text, reason))?;
                probe_simulator(host, port).map(Some)
            }
        }
    }

    /// The same place in the words of `tss-esapi`.
    pub(crate) fn tcti(&self) -> Result<TctiNameConf, TpmError> {
        let text = match self {
            Self::Device(path) => match path.to_str() {
                Some(path) => format!("device:{path}"),
                None => return Err(invalid(&path.to_string_lossy(), "the path is not UTF-8")),
            },
            Self::Tcti(text) => text.clone(),
        };
        TctiNameConf::from_str(&text).map_err(tss(TpmError::OpenTcti))
    }
}

fn invalid(given: &str, reason: &'static str) -> TpmError {
    TpmError::InvalidBackend { given: given.to_owned(), reason }
}

/// Host and port out of `host=..,port=..`, in either order and both required: a default would
/// connect to whatever happens to listen there.
fn swtpm_address(options: &str) -> Result<(&str, u16), &'static str> {
    let (mut host, mut port) = (None, None);
    for option in options.split(',') {
        match option.split_once('=') {
            Some(("host", value)) if host.is_none() && !value.is_empty() => host = Some(value),
            Some(("port", value)) if port.is_none() => {
                port = Some(value.parse().map_err(|_| "the port is not a number below 65536")?);
            }
            Some(("path", _)) => return Err("unix sockets are not supported; use host= and port="),
            _ => return Err("expected host=ADDRESS,port=PORT"),
        }
    }
    host.zip(port).ok_or("expected host=ADDRESS,port=PORT")
}

fn probe_device(path: &Path) -> Result<(), TpmError> {
    let what = path.display().to_string();
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(match source.kind() {
            io::ErrorKind::NotFound => TpmError::Missing { what },
            io::ErrorKind::ResourceBusy => TpmError::Busy { what },
            io::ErrorKind::PermissionDenied => TpmError::Denied { what, source },
            _ if is_no_device(&source) => TpmError::Missing { what },
            _ => TpmError::OpenBackend { what, source },
        }),
    }
}

/// `ENXIO` and `ENODEV`: the node exists, the device behind it does not.
fn is_no_device(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(6 | 19))
}

fn probe_simulator(host: &str, port: u16) -> Result<Reservation, TpmError> {
    let what = format!("swtpm {host}:{port}");
    let address = resolve(host, port, &what)?;
    let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)
        .map_err(|_| TpmError::Missing { what: what.clone() })?;
    let reservation = reserve(address, &what)?;
    match ask(stream) {
        Ok(RC_INITIALIZE) => Err(TpmError::NotStarted),
        Ok(RC_FAILURE) => Err(TpmError::FailureMode),
        Ok(_) => Ok(reservation),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(TpmError::Busy { what })
        }
        Err(source) => Err(TpmError::OpenBackend { what, source }),
    }
}

fn reserve(address: SocketAddr, what: &str) -> Result<Reservation, TpmError> {
    let opening = |source| TpmError::OpenBackend { what: what.to_owned(), source };
    let name = unix::net::SocketAddr::from_abstract_name(format!("assay-tpm {address}")).map_err(opening)?;
    let deadline = Instant::now() + RESERVE_LIMIT;
    loop {
        match unix::net::UnixDatagram::bind_addr(&name) {
            Ok(socket) => return Ok(Reservation { _socket: socket }),
            Err(source) if source.kind() != io::ErrorKind::AddrInUse => return Err(opening(source)),
            Err(_) if Instant::now() >= deadline => return Err(TpmError::Busy { what: what.to_owned() }),
            Err(_) => thread::sleep(RESERVE_PAUSE),
        }
    }
}

fn resolve(host: &str, port: u16, what: &str) -> Result<SocketAddr, TpmError> {
    (host, port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| TpmError::Missing { what: what.to_owned() })
}

/// Sends the probe and returns the response code (TPM 2.0 Part 1, 18: tag, size, code).
fn ask(mut stream: TcpStream) -> io::Result<u32> {
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(&PROBE)?;
    let mut header = [0; 10];
    stream.read_exact(&mut header)?;
    let [_, _, _, _, _, _, code @ ..] = header;
    Ok(u32::from_be_bytes(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn parses_devices_and_swtpm() {
        let device = Backend::Device("/dev/tpmrm0".into());
        assert_eq!(Backend::parse("/dev/tpmrm0").unwrap(), device);
        assert_eq!(Backend::parse("device:/dev/tpmrm0").unwrap(), device);
        for text in ["swtpm:host=127.0.0.1,port=2321", "swtpm:port=1,host=localhost"] {
            assert_eq!(Backend::parse(text).unwrap(), Backend::Tcti(text.to_owned()));
        }
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for text in [
            "",
            "tpmrm0",
            "device:",
            "device:tpm0",
            "swtpm",
            "swtpm:",
            "swtpm:host=127.0.0.1",
            "swtpm:port=2321",
            "swtpm:host=a,host=b,port=1",
            "swtpm:host=a,port=1,port=2",
            "swtpm:host=,port=1",
            "swtpm:host=a,port=65536",
            "swtpm:host=a,port=1,x=2",
            "swtpm:path=/run/swtpm.sock",
            "mssim:host=a,port=1",
        ] {
            assert!(matches!(Backend::parse(text), Err(TpmError::InvalidBackend { .. })), "{text}");
        }
    }

    #[test]
    fn only_the_resource_manager_cleans_up() {
        assert!(!Backend::Device("/dev/tpmrm0".into()).keeps_leftovers());
        assert!(Backend::Device("/dev/tpm0".into()).keeps_leftovers());
        assert!(Backend::Tcti(String::new()).keeps_leftovers());
    }

    #[test]
    fn a_missing_device_is_missing_and_a_file_that_is_none_is_not() {
        let missing = Backend::Device("/nonexistent/tpmrm0".into());
        assert!(matches!(missing.probe(), Err(TpmError::Missing { .. })));
        let directory = Backend::Device("/".into());
        assert!(matches!(directory.probe(), Err(TpmError::OpenBackend { .. })));
    }

    /// A listener that answers any probe with `answer`, and the backend that leads to it.
    fn answering(answer: &'static [u8]) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; PROBE.len()]).unwrap();
            stream.write_all(answer).unwrap();
        });
        Backend::parse(&format!("swtpm:host=127.0.0.1,port={port}")).unwrap()
    }

    #[test]
    fn the_probe_reads_the_response_code() {
        let start = |code| matches!(answering(code).probe(), Err(TpmError::NotStarted));
        assert!(start(&[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0]));
        let failed = answering(&[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1]).probe();
        assert!(matches!(failed, Err(TpmError::FailureMode)), "{failed:?}");
        assert!(answering(&[0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]).probe().is_ok());
        let short = answering(&[0x80, 1, 0]).probe();
        assert!(matches!(short, Err(TpmError::OpenBackend { .. })), "{short:?}");
    }

    #[test]
    fn silence_is_busy_and_a_closed_port_is_missing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let backend = Backend::parse(&format!("swtpm:host=127.0.0.1,port={port}")).unwrap();
        assert!(matches!(backend.probe(), Err(TpmError::Busy { .. })));
        drop(listener);
        assert!(matches!(backend.probe(), Err(TpmError::Missing { .. })));
    }
}
