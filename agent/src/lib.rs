//! Everything that runs on a provider machine, as one program.

// The command line (cli/) calls, as long as nothing else is agreed:
//   core::run(&Config) -> Result<(), E>, link::run(&Config) -> Result<(), E>,
//   core::job_without_daemon(&Config, text: &str) -> Result<JobAnswer, E>, E: std::error::Error + Send + Sync,
//   paths config.node.ledger() and config.node.sandbox_dir(), the GPU child by nvml::client(&config.gpu),
//   a read-only view of the ledger: sessions and counts, job receipts, verify.
pub mod cli;
pub mod config;
pub mod control;
pub mod ledger;
pub mod link;
pub mod nvml;
#[allow(missing_docs)]
pub mod core {
    pub mod answer;
    pub mod status;
    use crate::config::Config;
    pub fn run(_: &Config) -> Result<(), std::io::Error> {
        Ok(())
    }
    pub fn job_without_daemon(_: &Config, _: &str) -> Result<answer::JobAnswer, std::io::Error> {
        Err(std::io::ErrorKind::Other.into())
    }
    pub fn job_directory(config: &Config, job: &str) -> std::path::PathBuf {
        config.node.state_dir.join(job)
    }
}
