//! The command line's words, by clap.

use std::path::PathBuf;

use assay_wire::{Digest, VerifyingKey};
use clap::{Args, Parser, Subcommand};

/// Assay's node: proves what this machine is, that it was up, and what it did.
#[derive(Debug, Parser)]
#[command(name = "assay-agent", version, propagate_version = true, arg_required_else_help = true)]
#[command(max_term_width = 100, subcommand_required = false)]
#[command(after_help = "Exit codes: 0 good; 1 a check or a job failed; 2 wrong arguments or configuration; \
                        3 it could not be done.")]
pub(crate) struct Cli {
    /// The configuration file [default: /etc/assay/agent.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the configuration in force with all its comments, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Log more; twice: everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run core and link together, for development and simple set-ups
    Run,
    /// Run the process that owns TPM, ledger and jobs
    Core(Child),
    /// Run the process that carries signed bytes to validators
    Link(Child),
    /// Answer questions about GPUs on standard input, a socket; started by core
    Nvml {
        /// NVML's file name or path
        #[arg(long, value_name = "LIBRARY", default_value = "libnvidia-ml.so.1")]
        library: String,
    },
    /// Show what hardware is here; needs no running agent
    Inventory(Json),
    /// Show how the running agent is
    Status(Json),
    /// Check what the agent needs, and say how to mend it
    Doctor(Doctor),
    /// Wait until this node is enrolled
    Enrol(Enrol),
    /// Write the running session's boot evidence to a file
    Evidence(Out),
    /// Make an owner's key, or hand a node to another owner; needs no running agent
    #[command(subcommand)]
    Owner(Owner),
    /// Run and watch jobs
    #[command(subcommand)]
    Job(Job),
    /// Look into the ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// Fetch from registries what is asked for on standard input, a socket
    #[command(hide = true)]
    Pull {
        /// Settings as JSON, in place of the configuration's [sandbox.images]
        #[arg(long, value_name = "JSON")]
        settings: Option<String>,
    },
    /// Unpack one layer from standard input, in namespaces of its own
    #[command(hide = true)]
    Unpack,
    /// Find out whether this user may make a user namespace
    #[command(hide = true)]
    ProbeUserns,
}

impl Command {
    /// Whether it stays, so that its log is somebody's to read.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self, Self::Run | Self::Core(_) | Self::Link(_) | Self::Nvml { .. } | Self::Pull { .. })
    }

    /// Whether its output is for programs.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Inventory(json) | Self::Status(json) => json.json,
            Self::Doctor(doctor) => doctor.json.json,
            Self::Enrol(enrol) => enrol.json.json,
            Self::Evidence(out) => out.json.json,
            Self::Owner(Owner::New(new)) => new.json.json,
            Self::Owner(Owner::Transfer(transfer)) => transfer.out.json.json,
            Self::Job(job) => job.json(),
            Self::Ledger(ledger) => ledger.json(),
            Self::Run | Self::Core(_) | Self::Link(_) | Self::Nvml { .. } => false,
            Self::Pull { .. } | Self::Unpack | Self::ProbeUserns => false,
        }
    }
}

/// How a process of ours is tied to the one that started it.
#[derive(Debug, Args)]
pub(crate) struct Child {
    /// Die when this parent does
    #[arg(long, value_name = "PID", hide = true)]
    pub(crate) die_with_parent: Option<i32>,
}

/// Output for programs.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Try from inside a job what no job may do, and show what stopped it
    #[arg(long)]
    pub(crate) sandbox: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// How long to wait for the enrolment.
#[derive(Debug, Args)]
pub(crate) struct Enrol {
    /// Seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Enrol with this certificate of the TPM's endorsement key, DER or PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ek_cert: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Where an exported file goes.
#[derive(Debug, Args)]
pub(crate) struct Out {
    /// The file to write; `-` for standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// What an owner does.
#[derive(Debug, Subcommand)]
pub(crate) enum Owner {
    /// Make a key and print its public half, for `owner` in the configuration
    New(NewOwner),
    /// Sign that a node belongs to another owner from now on
    Transfer(Transfer),
}

/// Where a new key goes.
#[derive(Debug, Args)]
pub(crate) struct NewOwner {
    /// The key file to make; only its owner can read it
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Which node goes to whom.
#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// The node's id
    #[arg(long, value_name = "HEX", value_parser = super::owner::digest)]
    pub(crate) node: Digest,
    /// Key file of the owner until now
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Public key of the owner from now on
    #[arg(long, value_name = "HEX", value_parser = super::owner::public_key)]
    pub(crate) to: VerifyingKey,
    #[command(flatten)]
    pub(crate) out: Out,
}

/// One job, by the start of its digest.
#[derive(Debug, Args)]
pub(crate) struct JobName {
    /// The job's digest, or enough of its start
    #[arg(value_name = "JOB")]
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Run and watch jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Run a job file to its end; without a running agent, too
    Run {
        /// The job file, TOML or JSON
        file: PathBuf,
        #[command(flatten)]
        json: Json,
    },
    /// Show this node's jobs, newest first
    List(Json),
    /// Show what one job kept of its output
    Logs {
        /// The job's digest, or enough of its start
        #[arg(value_name = "JOB")]
        job: String,
        /// Standard error in place of standard output
        #[arg(long)]
        stderr: bool,
        /// Go on until the job ends
        #[arg(long, short, conflicts_with = "json")]
        follow: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Stop a running job
    Stop(JobName),
    /// Show one job's receipt
    Show(JobName),
    /// Remove the outputs, logs and unused checkpoint of a job's ended runs; receipts stay in the ledger
    Remove(JobName),
    /// Print the JSON Schema of job files
    Schema(Json),
    /// Print the hash by which a job file names a file or directory as an input
    Hash {
        /// The file or directory
        path: PathBuf,
        #[command(flatten)]
        json: Json,
    },
}

impl Job {
    fn json(&self) -> bool {
        match self {
            Self::Run { json, .. } | Self::List(json) | Self::Schema(json) => json.json,
            Self::Logs { json, .. } | Self::Hash { json, .. } => json.json,
            Self::Stop(name) | Self::Show(name) | Self::Remove(name) => name.json.json,
        }
    }
}

/// Look into the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Show what the ledger holds
    Show(Json),
    /// Check the ledger's chains and signatures
    Verify(Json),
    /// Write a file that anyone can check with `assay-validator verify`
    Export {
        /// What to export
        #[arg(value_enum)]
        what: What,
        /// The file to write; `-` for standard output
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// The receipt of this job; the newest without it
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
        #[command(flatten)]
        json: Json,
    },
}

impl Ledger {
    fn json(&self) -> bool {
        match self {
            Self::Show(json) | Self::Verify(json) | Self::Export { json, .. } => json.json,
        }
    }
}

/// What can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// The node's uptime and utilization, with everything needed to check them
    Claim,
    /// One job's receipt
    Receipt,
    /// The running session's boot evidence
    Evidence,
    /// The validator's record of this node
    Enrolment,
}
