//! What can go wrong while setting up a demo.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use assay_attester::TpmError;
use assay_boot::BootError;

/// Why a part of the demo could not be set up, by the operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The simulated firmware log breaks a limit of the format.
    #[error("cannot write the simulated firmware log")]
    WriteLog(#[source] BootError),
    /// PCRs could not be read.
    #[error("cannot read the software TPM's PCRs")]
    ReadPcrs(#[source] TpmError),
    /// A PCR could not be extended.
    #[error("cannot extend PCR {pcr} of the software TPM")]
    ExtendPcr {
        /// PCR index.
        pcr: u8,
        /// What the TPM said.
        #[source]
        source: TpmError,
    },
    /// A PCR holds neither its reset value nor what the simulated boot leaves there: a real boot, or
    /// half of a simulated one. Restart the software TPM.
    #[error("PCR {pcr} was extended by something else than the simulated boot; restart the software TPM")]
    ForeignPcr {
        /// PCR index.
        pcr: u8,
    },
    /// A path that must be absolute, UTF-8 and without commas or line breaks is not: swtpm's options
    /// and configuration files could not hold it.
    #[error("path {path:?} cannot be given to swtpm: it must be absolute, without commas and line breaks")]
    UnusablePath {
        /// The path.
        path: PathBuf,
    },
    /// A directory or file could not be made.
    #[error("cannot write {path:?}")]
    WriteFile {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program is not installed.
    #[error("{program} is not installed; install the package {package}")]
    MissingProgram {
        /// The program.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// A program could not be started or waited for.
    #[error("cannot run {program}")]
    RunProgram {
        /// The program.
        program: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ended with a failure, or before it should.
    #[error("{program} ended with {status}: {output}")]
    ProgramFailed {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it printed or logged.
        output: String,
    },
    /// The software TPM does not accept connections in time.
    #[error("swtpm does not listen on port {port} after {seconds} s")]
    SwtpmSilent {
        /// TCP port on 127.0.0.1.
        port: u16,
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// No two neighbouring TCP ports of 127.0.0.1 are free.
    #[error("no two neighbouring TCP ports of 127.0.0.1 are free")]
    NoPorts,
    /// busybox cannot be read.
    #[error("cannot read {path:?}")]
    ReadBusybox {
        /// Where it was found.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// busybox is linked dynamically and would not run in an image of its own.
    #[error("{path:?} is not a static program; install the package busybox-static")]
    DynamicBusybox {
        /// Where it was found.
        path: PathBuf,
    },
    /// A program of the product was not built.
    #[error("{} is not built; run `make build`", path.display())]
    MissingBinary {
        /// Where it should be.
        path: PathBuf,
    },
    /// The software TPM could not be opened.
    #[error("cannot open the TPM")]
    OpenTpm(#[source] TpmError),
    /// A file could not be read.
    #[error("cannot read {path:?}")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A command could not be started.
    #[error("cannot run {line}")]
    StartCommand {
        /// The command line.
        line: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A command failed.
    #[error("{line}: {status}: {said}")]
    CommandFailed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// Its standard error.
        said: String,
    },
    /// A command printed no JSON.
    #[error("{line} printed no JSON: {said}")]
    Json {
        /// The command line.
        line: String,
        /// Its standard error.
        said: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A command's JSON lacks a field.
    #[error("no {name} in what was printed")]
    MissingField {
        /// The field.
        name: &'static str,
    },
    /// The demo's job did not succeed.
    #[error("the job failed: {said}")]
    JobFailed {
        /// What the agent said of it.
        said: String,
    },
    /// Something did not happen in time.
    #[error("waited {seconds} s for {what}{logs}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// The ends of the logs.
        logs: String,
    },
    /// A layer could not be packed.
    #[error("cannot pack the image layer")]
    PackLayer(#[source] io::Error),
}
