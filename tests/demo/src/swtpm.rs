//! A software TPM (swtpm) for demos and tests: made with endorsement certificates from a CA of its
//! own, started, power-cycled, killed.
//!
//! It listens on two neighbouring TCP ports of 127.0.0.1, for commands and for control: `tss-esapi`
//! cannot name swtpm's unix sockets. Whoever can connect is the TPM's owner, so this is nothing for a
//! machine with other users. All files, the CA's keys among them, lie under one directory.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::DemoError;

/// How long swtpm may take until it listens, in seconds.
const START_SECONDS: u64 = 10;
/// How long swtpm may take to store its state after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);
/// How often other ports are tried when someone else took the chosen ones in the meantime.
const PORT_TRIES: usize = 8;
const PORT_TAKEN: &str = "Address already in use";
/// Certificates that swtpm_localca leaves in its directory: the issuer's and its root's.
const CA_FILES: [&str; 2] = ["issuercert.pem", "swtpm-localca-rootca-cert.pem"];
const LOG: &str = "swtpm.log";
const STATE_FILE: &str = "tpm2-00.permall";

/// A running software TPM. Dropping it ends the process; its state stays in the directory.
#[derive(Debug)]
pub struct Swtpm {
    dir: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Swtpm {
    /// Starts the TPM of `dir`, an absolute path, and makes it first when there is none: RSA-2048 and
    /// P-384 endorsement keys with certificates, SHA-256 bank, and a local CA under `dir`.
    ///
    /// # Errors
    /// A [`DemoError`] saying what is missing or failed.
    pub fn start(dir: &Path) -> Result<Self, DemoError> {
        let text = usable(dir)?;
        make_dirs(dir)?;
        if !dir.join("state").join(STATE_FILE).exists() {
            set_up(text)?;
        }
        let mut tries = PORT_TRIES;
        loop {
            let mut tpm = Self { dir: dir.into(), port: free_ports()?, child: None };
            tries -= 1;
            match tpm.spawn() {
                Err(DemoError::ProgramFailed { output, .. }) if tries > 0 && output.contains(PORT_TAKEN) => {}
                outcome => return outcome.map(|()| tpm),
            }
        }
    }

    /// TCTI string: what `Backend::parse`, `TPM2TOOLS_TCTI` and an agent's config take. The same after
    /// [`Swtpm::restart`].
    #[must_use]
    pub fn tcti(&self) -> String {
        format!("swtpm:host={},port={}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// PEM files of the CA that signed the endorsement certificates: issuer, then root.
    #[must_use]
    pub fn ca_certificates(&self) -> Vec<PathBuf> {
        CA_FILES.iter().map(|name| self.dir.join("ca").join(name)).collect()
    }

    /// Process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A power cycle: PCRs return to their reset values, resetCount rises, keys and address stay.
    ///
    /// # Errors
    /// [`DemoError::ProgramFailed`] or [`DemoError::SwtpmSilent`] when it does not come back.
    pub fn restart(&mut self) -> Result<(), DemoError> {
        self.stop();
        self.spawn()
    }

    /// Ends the process with SIGKILL, as a crash or a power cut would; [`Swtpm::restart`] brings it back.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a process that is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn stop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Ok(pid) = i32::try_from(child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            sleep(POLL);
        }
        self.kill9();
    }

    fn spawn(&mut self) -> Result<(), DemoError> {
        let dir = usable(&self.dir)?;
        let (log, written) = open_log(&self.dir)?;
        let control = self.port.saturating_add(1);
        let child = crate::world::clean_command("swtpm")
            .args(["socket", "--tpm2", "--flags", "startup-clear", "--tpmstate"])
            .arg(format!("dir={dir}/state"))
            .arg("--server")
            .arg(format!("type=tcp,port={},bindaddr={}", self.port, Ipv4Addr::LOCALHOST))
            .arg("--ctrl")
            .arg(format!("type=tcp,port={control},bindaddr={}", Ipv4Addr::LOCALHOST))
            .arg("--pid")
            .arg(format!("file={dir}/swtpm.pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|source| not_run("swtpm", "swtpm", source))?;
        let ready = self.await_ports(child);
        if let Err(DemoError::ProgramFailed { program, status, .. }) = ready {
            let log = fs::read(self.dir.join(LOG)).unwrap_or_default();
            let output = summary(log.get(written..).unwrap_or_default());
            return Err(DemoError::ProgramFailed { program, status, output });
        }
        ready
    }

    /// Keeps the child once it listens, and ends it if it does not.
    fn await_ports(&mut self, child: Child) -> Result<(), DemoError> {
        let child = self.child.insert(child);
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS);
        let outcome = loop {
            match child.try_wait() {
                Err(source) => break Err(DemoError::RunProgram { program: "swtpm", source }),
                Ok(Some(status)) => {
                    break Err(DemoError::ProgramFailed { program: "swtpm", status, output: String::new() });
                }
                Ok(None) if listens(self.port.saturating_add(1)) && answers(self.port) => break Ok(()),
                Ok(None) if Instant::now() < deadline => sleep(POLL),
                Ok(None) => {
                    break Err(DemoError::SwtpmSilent { port: self.port, seconds: START_SECONDS });
                }
            }
        };
        if outcome.is_err() {
            self.kill9();
        }
        outcome
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether a TPM answers there: swtpm listens before it has its state, and may yet fail to get it.
///
/// Asks for one property (TPM2_GetCapability, Part 3 30.2) and takes any answer.
fn answers(port: u16) -> bool {
    const ASK: [u8; 22] = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 1, 5, 0, 0, 0, 1];
    let ask = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(STOP_LIMIT))?;
        stream.write_all(&ASK)?;
        stream.read_exact(&mut [0; 10])
    };
    ask().is_ok()
}

/// swtpm's options are split at commas, its configuration files at line breaks.
fn usable(dir: &Path) -> Result<&str, DemoError> {
    let text = dir.to_str().filter(|text| dir.is_absolute() && !text.contains([',', '\n', '\r']));
    text.ok_or_else(|| DemoError::UnusablePath { path: dir.into() })
}

fn make_dirs(dir: &Path) -> Result<(), DemoError> {
    for path in [dir.join("state"), dir.join("ca")] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|source| DemoError::WriteFile { path, source })?;
    }
    Ok(())
}

/// Makes the TPM and, on the first call, the CA: swtpm_setup asks swtpm_localca for certificates.
fn set_up(dir: &str) -> Result<(), DemoError> {
    for (name, text) in configuration(dir) {
        let path = Path::new(dir).join("ca").join(name);
        fs::write(&path, text).map_err(|source| DemoError::WriteFile { path, source })?;
    }
    let outcome = Command::new("swtpm_setup")
        .args(["--tpm2", "--create-ek-cert", "--overwrite", "--pcr-banks", "sha256", "--tpm-state"])
        .arg(format!("{dir}/state"))
        .arg("--config")
        .arg(format!("{dir}/ca/swtpm_setup.conf"))
        .stdin(Stdio::null())
        .output()
        .map_err(|source| not_run("swtpm_setup", "swtpm-tools", source))?;
    if outcome.status.success() {
        return Ok(());
    }
    let output = summary(&[outcome.stdout, outcome.stderr].concat());
    // A state without certificates must not be taken for a finished one next time.
    let _ = fs::remove_file(Path::new(dir).join("state").join(STATE_FILE));
    Err(DemoError::ProgramFailed { program: "swtpm_setup", status: outcome.status, output })
}

fn configuration(dir: &str) -> [(&'static str, String); 3] {
    [
        (
            "swtpm_setup.conf",
            format!(
                "create_certs_tool = swtpm_localca\n\
                 create_certs_tool_config = {dir}/ca/swtpm-localca.conf\n\
                 create_certs_tool_options = {dir}/ca/swtpm-localca.options\n\
                 active_pcr_banks = sha256\n"
            ),
        ),
        (
            "swtpm-localca.conf",
            format!(
                "statedir = {dir}/ca\n\
                 signingkey = {dir}/ca/signkey.pem\n\
                 issuercert = {dir}/ca/issuercert.pem\n\
                 certserial = {dir}/ca/certserial\n"
            ),
        ),
        (
            "swtpm-localca.options",
            "--platform-manufacturer Assay\n--platform-version 1\n--platform-model Simulated\n".into(),
        ),
    ]
}

/// A port of 127.0.0.1 that is free together with the next one, which `libtss2` takes for control.
fn free_ports() -> Result<u16, DemoError> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let pair = |_| {
        let first = bind(0).ok()?;
        let port = first.local_addr().ok()?.port();
        bind(port.checked_add(1)?).ok().map(|_| port)
    };
    (0..64).find_map(pair).ok_or(DemoError::NoPorts)
}

fn listens(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

fn not_run(program: &'static str, package: &'static str, source: std::io::Error) -> DemoError {
    match source.kind() {
        ErrorKind::NotFound => DemoError::MissingProgram { program, package },
        _ => DemoError::RunProgram { program, source },
    }
}

/// The file that swtpm complains to, and how much others have written there before.
fn open_log(dir: &Path) -> Result<(File, usize), DemoError> {
    let path = dir.join(LOG);
    let open = || {
        let file = File::options().append(true).create(true).open(&path)?;
        let written = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        Ok((file, written))
    };
    open().map_err(|source| DemoError::WriteFile { path: path.clone(), source })
}

/// The last three lines that say something, on one line.
fn summary(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.rchunks(3).next() {
        Some(last) => last.join("; "),
        None => "it printed nothing".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_swtpm_cannot_be_given_are_refused() {
        for path in ["relative", "/tmp/a,b", "/tmp/a\nb"] {
            let refused = Swtpm::start(Path::new(path));
            assert!(matches!(refused, Err(DemoError::UnusablePath { .. })), "{path}");
        }
    }

    #[test]
    fn a_free_pair_of_ports_is_free() {
        let binds = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        // Somebody else may take one in between, but not time after time.
        let found = (0..16).any(|_| {
            let port = free_ports().unwrap();
            binds(port) && binds(port + 1)
        });
        assert!(found);
    }

    #[test]
    fn a_port_that_someone_took_is_told_from_other_failures() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut tpm = Swtpm { dir: dir.path().into(), port, child: None };
        make_dirs(dir.path()).unwrap();
        match tpm.spawn() {
            Err(DemoError::ProgramFailed { output, .. }) => assert!(output.contains(PORT_TAKEN), "{output}"),
            Err(error @ DemoError::MissingProgram { .. }) => eprintln!("SKIPPED: {error}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_lines_that_say_something_are_kept() {
        assert_eq!(summary(b"zero\none\ntwo \n\nthree\n"), "one; two; three");
        assert_eq!(summary(b""), "it printed nothing");
    }
}
