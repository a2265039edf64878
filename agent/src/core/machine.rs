//! What a session says of its machine: hardware, boot logs, what is simulated.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use assay_gpu::GpuIdentity;
use assay_inventory::host;
use assay_ledger::ByteVec;
use assay_ledger::session::{BootLogs, Machine, Simulated};
use assay_wire::limits;

use crate::config::{Boot, Config};

/// A boot log that is there and could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the boot log {}: {source}", path.display())]
pub(super) struct LogFault {
    path: PathBuf,
    source: io::Error,
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

/// The boot logs, and why one that is there is not among them. A missing log is no fault.
pub(super) fn boot_logs(boot: &Boot) -> (BootLogs, Option<LogFault>) {
    let mut fault = None;
    let mut log = |path: &Path| match read(path) {
        Ok(bytes) => bytes.map(ByteVec::from),
        Err(source) => {
            fault = Some(LogFault { path: path.to_owned(), source });
            None
        }
    };
    let logs = BootLogs {
        firmware: log(&boot.firmware_log),
        userspace: log(&boot.userspace_log),
        ima: boot.ima_log.as_deref().and_then(&mut log),
    };
    (logs, fault)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(limits::BOOT_LOG).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limits::BOOT_LOG {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than any boot log"));
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
            userspace_log: dir.path().join("none"),
            ima_log: Some(at("ima", &vec![0; limits::BOOT_LOG + 1])),
            simulated: true,
        };
        let (logs, fault) = boot_logs(&boot);
        assert_eq!(logs.firmware, Some(b"events".to_vec().into()));
        assert_eq!((logs.userspace, logs.ima), (None, None));
        assert!(fault.unwrap().to_string().contains("ima"));
        let (_, fault) = boot_logs(&Boot { ima_log: None, ..boot });
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
