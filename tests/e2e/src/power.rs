//! What an owner does to a chip's power: cuts it, resets it under a running system, suspends, copies it.
//!
//! swtpm's control channel stands for the wires: whoever has them initialises the TPM, at the
//! locality that they choose, without the operating system's leave.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use assay_demo::swtpm::Swtpm;

use crate::Chip;

/// Commands of swtpm's control channel (swtpm_ioctls.h).
const CMD_INIT: u32 = 2;
const CMD_SET_LOCALITY: u32 = 5;
/// `TPM_SU_CLEAR` and `TPM_SU_STATE` (TPM 2.0 Part 2, 6.10).
const CLEAR: u16 = 0;
const STATE: u16 = 1;
/// `TPM_CC_Startup`, `TPM_CC_Shutdown` and `TPM_CC_ClockSet` (TPM 2.0 Part 2, 6.5.2).
const STARTUP: u32 = 0x144;
const SHUTDOWN: u32 = 0x145;
const CLOCK_SET: u32 = 0x128;
/// `TPM_ST_NO_SESSIONS` and `TPM_ST_SESSIONS` (TPM 2.0 Part 2, 6.9).
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// `TPM_RH_OWNER`, and an empty password as a command's authorisation (TPM 2.0 Part 1, 19.4).
const OWNER_BY_EMPTY_PASSWORD: [u8; 17] = [0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];

/// Where a TPM's wires are.
pub(crate) struct Wires {
    port: u16,
}

impl Wires {
    /// Of the software TPM with this TCTI string.
    pub(crate) fn of(tcti: &str) -> Self {
        Self { port: tcti.rsplit('=').next().unwrap().parse().unwrap() }
    }

    /// `TPM2_Startup(CLEAR)` at a locality, after a reset that the operating system knows nothing of.
    pub(crate) fn reset(&self, locality: u8) {
        self.control(CMD_INIT, &[0; 4]);
        self.control(CMD_SET_LOCALITY, &[locality]);
        self.command(NO_SESSIONS, STARTUP, &CLEAR.to_be_bytes());
        self.control(CMD_SET_LOCALITY, &[0]);
    }

    /// `TPM2_Shutdown(STATE)`, power off and on, `TPM2_Startup(STATE)`: suspended and resumed.
    pub(crate) fn suspend(&self) {
        self.command(NO_SESSIONS, SHUTDOWN, &STATE.to_be_bytes());
        self.control(CMD_INIT, &[0; 4]);
        self.command(NO_SESSIONS, STARTUP, &STATE.to_be_bytes());
    }

    /// `TPM2_ClockSet` by the owner (TPM 2.0 Part 3, 29.2).
    pub(crate) fn set_clock(&self, ms: u64) {
        self.command(SESSIONS, CLOCK_SET, &[&OWNER_BY_EMPTY_PASSWORD[..], &ms.to_be_bytes()].concat());
    }

    fn control(&self, command: u32, data: &[u8]) {
        let sent = [&command.to_be_bytes()[..], data].concat();
        let answer = exchange(self.port + 1, &sent, 4);
        assert_eq!(answer, [0; 4], "control command {command}");
    }

    fn command(&self, tag: u16, code: u32, rest: &[u8]) {
        let size = u32::try_from(10 + rest.len()).unwrap();
        let sent = [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), rest].concat();
        let answer = exchange(self.port, &sent, 10);
        assert_eq!(answer[6..], [0; 4], "command {code:#x}");
    }
}

fn exchange(port: u16, sent: &[u8], len: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(sent).unwrap();
    let mut answer = vec![0; len];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// A TPM with another bank than SHA-256's: swtpm's own tool changes it while it is off.
pub(crate) fn only_bank(swtpm: &mut Swtpm, dir: &Path, bank: &str) {
    swtpm.kill9();
    let mut tool = Command::new("swtpm_setup");
    let state = dir.join("state");
    tool.args(["--tpm2", "--reconfigure", "--pcr-banks", bank, "--tpm-state"]).arg(state);
    tool.arg("--config").arg(dir.join("ca").join("swtpm_setup.conf"));
    let outcome = tool.output().unwrap();
    assert!(outcome.status.success(), "{outcome:?}");
    swtpm.restart().unwrap();
}

impl Chip {
    /// The power fails, and comes back: the TPM was told nothing. The same boot follows.
    pub fn power_cut(&mut self) {
        self.without_connection(|swtpm, _| {
            swtpm.kill9();
            swtpm.restart().unwrap();
        });
        self.boot();
    }

    /// The TPM alone is reset, at a locality; nothing is measured.
    pub fn reset(&mut self, locality: u8) {
        self.without_connection(|swtpm, _| Wires::of(&swtpm.tcti()).reset(locality));
    }

    /// The machine sleeps and wakes up.
    pub fn suspend(&mut self) {
        self.without_connection(|swtpm, _| Wires::of(&swtpm.tcti()).suspend());
    }

    /// The owner sets the TPM's clock.
    pub fn set_clock(&mut self, ms: u64) {
        self.without_connection(|swtpm, _| Wires::of(&swtpm.tcti()).set_clock(ms));
    }
}
