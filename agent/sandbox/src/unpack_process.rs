//! Unpacking in a process of its own, seen from whoever starts it.
//!
//! The child first makes itself namespaces ([`crate::unpack_child`]); its user
//! namespace gets its ids from here: 0 to 65,535 as they are, so that a layer's
//! owners can be kept, where we are root, and our own id alone elsewhere. Then it
//! is told its job and fed the blob. It hears and says nothing else.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, getegid, geteuid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use assay_jailer::plan::ID_RANGE;

use crate::image::Compression;
use crate::images::{Fault, Watch};
use crate::unpack::{UnpackError, UnpackLimits, Unpacked};

/// Longest job line, bytes: a path and some numbers.
pub(crate) const JOB_MAX: usize = 16 << 10;
/// Longest answer, bytes.
const ANSWER_MAX: u64 = 64 << 10;
/// What the child says once it has its namespaces.
pub(crate) const READY: &[u8; 1] = b"u";
/// How often the wish and the time are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Bytes copied at a time.
const CHUNK: usize = 128 << 10;

/// Where layers are unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpacker {
    /// In this process: for programs that have no agent beside them, such as tests.
    InProcess,
    /// In a child: this program, whose `unpack` command is [`crate::unpack_child::main`].
    Process(PathBuf),
}

/// One layer to unpack.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) compression: Compression,
    pub(crate) dir: PathBuf,
    pub(crate) limits: UnpackLimits,
}

/// A [`Job`] as the child reads it: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobLine {
    pub(crate) compression: Compression,
    /// The directory's path in hex: paths need not be text.
    pub(crate) dir: String,
    pub(crate) limits: UnpackLimits,
    pub(crate) keep_owners: bool,
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    Done(Unpacked),
    Read { entry: String, text: String },
    Refused { entry: String, rule: String },
    Make { entry: String, text: String },
    Unable { text: String },
}

impl From<Result<Unpacked, UnpackError>> for Answer {
    fn from(result: Result<Unpacked, UnpackError>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(UnpackError::Read { entry, source }) => Self::Read { entry, text: source.to_string() },
            Err(UnpackError::Refused { entry, rule }) => Self::Refused { entry, rule },
            Err(UnpackError::Make { entry, source }) => Self::Make { entry, text: source.to_string() },
            Err(other) => Self::Unable { text: other.to_string() },
        }
    }
}

impl Answer {
    fn into_result(self) -> Result<Unpacked, UnpackError> {
        Err(match self {
            Self::Done(done) => return Ok(done),
            Self::Read { entry, text } => UnpackError::Read { entry, source: io::Error::other(text) },
            Self::Refused { entry, rule } => UnpackError::Refused { entry, rule },
            Self::Make { entry, text } => UnpackError::Make { entry, source: io::Error::other(text) },
            Self::Unable { text } => process("confine")(io::Error::other(text)),
        })
    }
}

fn process(action: &'static str) -> impl FnOnce(io::Error) -> UnpackError {
    move |source| UnpackError::Process { action, source }
}

impl Job {
    /// Runs the job in a child, which is gone when this returns.
    pub(crate) fn run(
        &self,
        program: &Path,
        blob: &mut dyn Read,
        watch: &Watch<'_>,
    ) -> Result<Unpacked, UnpackError> {
        let mut child = Command::new(program)
            .arg("unpack")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(process("start"))?;
        let result = self.watched(&mut child, blob, watch);
        // Only one that has not answered is still there.
        let _ = child.kill();
        child.wait().map_err(process("wait"))?;
        result
    }

    fn watched(
        &self,
        child: &mut Child,
        blob: &mut dyn Read,
        watch: &Watch<'_>,
    ) -> Result<Unpacked, UnpackError> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| process("find")(io::ErrorKind::NotFound.into()))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| process("watch")(e.into()))?;
        let (done, ended) = mpsc::channel::<()>();
        let (input, mut output) = match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => (input, output),
            _ => return Err(process("start")(io::ErrorKind::BrokenPipe.into())),
        };
        let flags = (watch.cancel, watch.deadline);
        std::thread::scope(|scope| {
            let guard = scope.spawn(move || {
                let silent = Watch { cancel: flags.0, deadline: flags.1, events: &|_| {} };
                let fault = wait_for(&ended, &silent)?;
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                Some(fault)
            });
            let result = self.feed(pid, input, &mut output, blob);
            drop(done);
            match (result, guard.join().ok().flatten()) {
                (Ok(done), _) => Ok(done),
                (Err(_), Some(Fault::Cancelled)) => Err(UnpackError::Cancelled),
                (Err(_), Some(_)) => Err(UnpackError::TimedOut),
                (Err(error), None) => Err(error),
            }
        })
    }

    fn feed(
        &self,
        pid: Pid,
        mut input: ChildStdin,
        output: &mut ChildStdout,
        blob: &mut dyn Read,
    ) -> Result<Unpacked, UnpackError> {
        let mut ready = [0; READY.len()];
        output.read_exact(&mut ready).map_err(process("make namespaces"))?;
        if ready != *READY {
            return answer(output, &ready);
        }
        let is_root = geteuid().is_root();
        map_ids(pid, is_root).map_err(process("map ids"))?;
        let line = JobLine {
            compression: self.compression,
            dir: hex::encode(self.dir.as_os_str().as_bytes()),
            limits: self.limits,
            keep_owners: is_root,
        };
        let mut line = serde_json::to_vec(&line).map_err(|e| process("say the job")(e.into()))?;
        line.push(b'\n');
        let fed = input.write_all(&line).and_then(|()| copy(blob, &mut input));
        // The pipe's end is the blob's.
        drop(input);
        let answered = answer(output, &[]);
        match (answered, fed) {
            // A child that is gone answers nothing; what ended the feeding says why.
            (Err(UnpackError::Process { .. }), Err(error)) => Err(process("feed")(error)),
            (answered, _) => answered,
        }
    }
}

fn wait_for(ended: &Receiver<()>, watch: &Watch<'_>) -> Option<Fault> {
    loop {
        match ended.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => {
                if let Err(fault) = watch.check() {
                    return Some(fault);
                }
            }
            _ => return None,
        }
    }
}

fn copy(blob: &mut dyn Read, input: &mut ChildStdin) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let got = match blob.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let bytes = buffer.get(..got).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        input.write_all(bytes)?;
    }
}

fn answer(output: &mut ChildStdout, start: &[u8]) -> Result<Unpacked, UnpackError> {
    let mut bytes = start.to_vec();
    output.take(ANSWER_MAX).read_to_end(&mut bytes).map_err(process("hear"))?;
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|e| process("understand")(e.into()))?;
    answer.into_result()
}

/// Gives the child's user namespace its ids (user_namespaces(7)).
fn map_ids(pid: Pid, is_root: bool) -> io::Result<()> {
    let file = |name: &str| PathBuf::from(format!("/proc/{}/{name}", pid.as_raw_nonzero()));
    if is_root {
        let all = format!("0 0 {ID_RANGE}");
        fs::write(file("gid_map"), &all)?;
        return fs::write(file("uid_map"), &all);
    }
    fs::write(file("setgroups"), "deny")?;
    fs::write(file("gid_map"), format!("0 {} 1", getegid().as_raw()))?;
    fs::write(file("uid_map"), format!("0 {} 1", geteuid().as_raw()))
}
