//! A software TPM of its own for each test, with a CA of its own, gone when dropped.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use assay_attester::{Backend, Tpm, TpmError};
use tempfile::TempDir;

/// How long swtpm may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running swtpm with persistent state.
pub(crate) struct Swtpm {
    dir: TempDir,
    process: Option<Child>,
    port: u16,
}

impl Swtpm {
    /// A new TPM; with `certificates`, swtpm_setup makes RSA-2048 and P-384 endorsement
    /// certificates as a maker would. `None`, after saying so, where the tools are not installed.
    pub(crate) fn new(certificates: bool) -> Option<Self> {
        for tool in ["swtpm", "swtpm_setup", "tpm2_makecredential"] {
            if Command::new(tool).arg("--version").output().is_err() {
                eprintln!("SKIPPED: {tool} is not installed");
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let mut tpm = Self { dir, process: None, port: 0 };
        tpm.manufacture(certificates);
        tpm.start();
        Some(tpm)
    }

    /// A file in the TPM's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn backend(&self) -> Backend {
        Backend::parse(&self.tcti()).unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    pub(crate) fn open(&self) -> Tpm {
        Tpm::open(&self.backend()).unwrap()
    }

    /// Starts swtpm and the TPM in it, as firmware does.
    pub(crate) fn start(&mut self) {
        self.start_with("not-need-init,startup-clear");
    }

    /// Starts swtpm with `flags` on two free ports (commands, and control on the next one).
    pub(crate) fn start_with(&mut self, flags: &str) {
        let deadline = Instant::now() + START_LIMIT;
        while self.process.is_none() {
            assert!(Instant::now() < deadline, "swtpm does not start");
            self.port = free_pair();
            let mut child = Command::new("swtpm")
                .args(["socket", "--tpm2", "--flags", flags])
                .arg("--tpmstate")
                .arg(format!("dir={}", self.path("state").display()))
                .args(["--server", &format!("type=tcp,port={}", self.port)])
                .args(["--ctrl", &format!("type=tcp,port={}", self.port + 1)])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Another test may have taken a port meanwhile; swtpm then exits.
            while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
                if TcpStream::connect(("127.0.0.1", self.port + 1)).is_ok() {
                    self.process = Some(child);
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Pulls the plug: SIGKILL, so that the TPM sees no orderly shutdown.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Runs one of tpm2-tools on this TPM, in its directory. No [`Tpm`] may be open: swtpm
    /// serves one connection at a time.
    pub(crate) fn tool(&self, name: &str, arguments: &[&str]) -> Output {
        Command::new(name)
            .args(arguments)
            .current_dir(self.dir.path())
            .env("TPM2TOOLS_TCTI", self.tcti())
            .output()
            .unwrap()
    }

    /// As [`Self::tool`], and it must succeed.
    pub(crate) fn must(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.tool(name, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {arguments:?}: {error}");
        output.stdout
    }

    fn manufacture(&self, certificates: bool) {
        let root = self.dir.path().display();
        fs::create_dir(self.path("state")).unwrap();
        let setup = format!(
            "create_certs_tool=swtpm_localca\ncreate_certs_tool_config={root}/ca.conf\ncreate_certs_tool_options={root}/ca.options\n"
        );
        let ca = format!(
            "statedir={root}/ca\nsigningkey={root}/ca/key.pem\nissuercert={root}/ca/issuer.pem\ncertserial={root}/ca/serial\n"
        );
        fs::write(self.path("setup.conf"), setup).unwrap();
        fs::write(self.path("ca.conf"), ca).unwrap();
        fs::write(self.path("ca.options"), "").unwrap();
        fs::create_dir(self.path("ca")).unwrap();
        let output = Command::new("swtpm_setup")
            .args(["--tpm2", "--pcr-banks", "sha256", "--tpmstate"])
            .arg(self.path("state"))
            .arg("--config")
            .arg(self.path("setup.conf"))
            .args(certificates.then_some("--create-ek-cert"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port whose successor is free too.
fn free_pair() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

/// The message of an expected error.
pub(crate) fn refused<T>(outcome: Result<T, TpmError>) -> TpmError {
    outcome.err().expect("must be refused")
}
