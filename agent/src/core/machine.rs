//! What a session says of its machine: hardware, boot logs, what is simulated.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use assay_gpu::GpuIdentity;
use assay_inventory::host;
use assay_ledger::ByteVec;
use assay_ledger::session::{BootLogs, IMA_PCR, ImaQuote, Machine, Simulated};
use assay_sandbox::cgroup::pressure;
use assay_wire::{Digest, limits};

use super::node::Node;
use super::open::{attested_quote, pcr_values};
use super::status::Severity;
use super::tpm::{TpmFault, TpmHandle};
use crate::config::{Boot, Config};

/// A boot log that is there and could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogFault {
    /// It could not be read, or is too long.
    #[error("cannot read the log {}: {source}", path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The TPM did not vouch for it.
    #[error("cannot quote the PCR of the log {}: {fault}", path.display())]
    Quote {
        /// The log.
        path: PathBuf,
        /// Why.
        fault: TpmFault,
    },
}

/// Share of a minute, in hundredths of a percent, from which waiting for memory is worth a word, and
/// below which it is over.
const PRESSURE: (u32, u32) = (20_00, 10_00);

/// Tells the owner when the machine, jobs and all, is short of memory.
pub(super) fn watch_pressure(node: &Node) {
    const CODE: &str = "machine.memory-pressure";
    match pressure("memory") {
        Some(share) if share >= PRESSURE.0 => {
            let percent = share / 100;
            let text = format!("programs wait for memory {percent} % of the time: run fewer or smaller jobs");
            node.raise(CODE, Severity::Warning, text);
        }
        Some(share) if share >= PRESSURE.1 => {}
        _ => node.clear(CODE),
    }
}

/// The machine as the kernel describes it.
pub(super) fn machine() -> Machine {
    let host = host::inventory(Path::new("/"));
    let hints = &host.virtualization;
    let hint = hints.product.clone().or_else(|| hints.hypervisor.value().cloned());
    Machine {
        cpu: host.cpu.model.value().cloned().unwrap_or_default(),
        cpus: u32::try_from(host.cpu.threads).unwrap_or(u32::MAX),
        memory_mib: host.memory.total_mib.value().copied().unwrap_or_default(),
        kernel: host.kernel.release.value().cloned().unwrap_or_default(),
        virtualization: hint.or_else(|| hints.any().then(|| "yes".to_owned())),
    }
}

/// What is simulated, by our own configuration and by the GPU library's word.
pub(super) fn simulated(config: &Config, gpus: &[GpuIdentity]) -> Vec<Simulated> {
    let parts = [
        (config.tpm.simulated, Simulated::Tpm),
        (config.boot.simulated, Simulated::BootLog),
        (gpus.iter().any(|gpu| gpu.simulated), Simulated::Gpu),
    ];
    parts.into_iter().filter(|(is, _)| *is).map(|(_, part)| part).collect()
}

/// The logs of firmware and userspace, and why one that is there is not among them. A missing log is
/// no fault.
pub(super) fn boot_logs(boot: &Boot) -> (BootLogs, Option<LogFault>) {
    let mut fault = None;
    let mut log = |path: &Path| match read(path, limits::BOOT_LOG) {
        Ok(bytes) => bytes.map(ByteVec::from),
        Err(source) => {
            fault = Some(LogFault::Read { path: path.to_owned(), source });
            None
        }
    };
    let (firmware, userspace) = (log(&boot.firmware_log), log(&boot.userspace_log));
    (BootLogs { firmware, userspace, ima: None }, fault)
}

/// Adds the IMA log, where one is kept, and the quote that vouches for it. `over` is the quote's
/// [`assay_ledger::session::ima_extra_data`].
///
/// The quote comes first: what the kernel measures in between makes the log longer than the PCR, never
/// shorter.
///
/// # Errors
/// [`LogFault`]; then the log is left out.
pub(super) async fn add_ima_log(
    logs: &mut BootLogs,
    boot: &Boot,
    tpm: &TpmHandle,
    over: Digest,
) -> Result<Option<ImaQuote>, LogFault> {
    let Some(path) = boot.ima_log.as_deref().filter(|path| path.exists()) else { return Ok(None) };
    let quoted = tpm.call(move |tpm| tpm.quote(&over.0, &[IMA_PCR])).await;
    let quoted = quoted.map_err(|fault| LogFault::Quote { path: path.to_owned(), fault })?;
    let others = [&logs.firmware, &logs.userspace].into_iter().flatten().map(|log| log.len()).sum();
    let bytes = read(path, limits::IMA_LOG.saturating_sub(others));
    let bytes = bytes.map_err(|source| LogFault::Read { path: path.to_owned(), source })?;
    let value = pcr_values(&quoted).first().map(|pcr| pcr.value);
    let (Some(bytes), Some(value)) = (bytes, value) else { return Ok(None) };
    logs.ima = Some(bytes.into());
    Ok(Some(ImaQuote { quote: attested_quote(quoted), value }))
}

fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than evidence can hold"));
    }
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_taken_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, bytes: &[u8]| {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            dir.path().join(name)
        };
        let boot = Boot {
            firmware_log: at("firmware", b"events"),
            userspace_log: at("userspace", &vec![0; limits::BOOT_LOG + 1]),
            ima_log: None,
            simulated: true,
        };
        let (logs, fault) = boot_logs(&boot);
        assert_eq!(logs.firmware, Some(b"events".to_vec().into()));
        assert_eq!((logs.userspace, logs.ima), (None, None));
        assert!(fault.unwrap().to_string().contains("userspace"));
        let (_, fault) = boot_logs(&Boot { userspace_log: dir.path().join("none"), ..boot });
        assert!(fault.is_none());
    }

    #[test]
    fn what_is_simulated_is_said_in_order() {
        let mut config = Config::default();
        assert!(simulated(&config, &[]).is_empty());
        (config.tpm.simulated, config.boot.simulated) = (true, true);
        assert_eq!(simulated(&config, &[]), [Simulated::Tpm, Simulated::BootLog]);
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = machine();
        assert!(machine.cpus > 0 && machine.memory_mib > 0 && !machine.kernel.is_empty());
    }
}
