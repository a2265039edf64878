//! Checks of the machine: TPM, boot log, GPUs, what the sandbox needs.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    process::{Command, Stdio},
};

use assay_attester::{Backend, Tpm, TpmError};
use assay_boot::EventLog;
use assay_inventory::nvml::{GpuInventory, GpuStatus};
use assay_sandbox::SandboxError;
use assay_sandbox::cgroup::{Support, own_place, support};

use super::{Check, Mark};
use crate::{
    cli::inventory::{Attested, gpus},
    config::{Boot, Gpu, SandboxSettings, TpmConfig},
    core::{NO_CGROUPS, status::Status},
};

/// NVIDIA's PCI vendor id.
const NVIDIA: &str = "0x10de";
/// A firmware log of a real machine has some 20 to 100 KiB.
const LOG_BYTES: u64 = 16 << 20;

pub(super) fn tpm(config: &TpmConfig, daemon: Option<&Status>) -> Vec<Check> {
    // A simulator talks to one process at a time, so a running agent answers for it.
    if let (Some(status), true) = (daemon, config.backend.starts_with("swtpm:")) {
        return vec![through_agent(status)];
    }
    look(config).unwrap_or_else(|error| vec![Check::failed("tpm.usable", chain(&error), error.hint())])
}

fn through_agent(status: &Status) -> Check {
    let worry = status.health.iter().find(|item| item.code.starts_with("tpm."));
    match worry {
        Some(item) => Check::failed("tpm.usable", item.text.clone(), "assay-agent status"),
        None => Check::good("tpm.usable", "in use by the running agent"),
    }
}

fn look(config: &TpmConfig) -> Result<Vec<Check>, TpmError> {
    let mut tpm = Tpm::open(&Backend::parse(&config.backend)?)?;
    let identity = tpm.identity()?;
    let lockout = tpm.lockout_state()?;
    let who = &identity.properties;
    let maker = format!("{} {}", who.manufacturer, who.vendor_string);
    let mut checks = vec![Check::good("tpm.usable", format!("{maker} at {}", config.backend))];
    checks.push(match identity.ek_certificates.len() {
        0 => Check::new(
            "tpm.certificate",
            Mark::Warning,
            "no endorsement certificate: identity stays at I0, or I1 once a validator pins this TPM",
        )
        .next("some firmware fetches it: see the TPM maker's provisioning tool"),
        count => Check::good("tpm.certificate", format!("{count} endorsement certificates")),
    });
    let machine = identity.platform_certificates.len() + identity.device_certificates.len();
    if machine > 0 {
        checks.push(Check::good("tpm.machine-certificate", format!("{machine} certificates of the machine")));
    }
    checks.extend(identity.skipped.iter().map(|skipped| {
        let text = format!("NV index {:#010x} is passed over: {}", skipped.index, skipped.reason);
        Check::new("tpm.machine-certificate", Mark::Note, text)
    }));
    if config.simulated {
        checks.push(Check::new("tpm.simulated", Mark::Note, "a software TPM: identity stays at I0"));
    }
    if lockout.locked_out {
        let text =
            format!("locked out after {} failed authorisations; our keys still work", lockout.failed_tries);
        checks.push(
            Check::new("tpm.lockout", Mark::Warning, text).next("tpm2_dictionarylockout --clear-lockout"),
        );
    }
    Ok(checks)
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

pub(super) fn firmware_log(boot: &Boot) -> Check {
    const CODE: &str = "boot.firmware-log";
    let path = boot.firmware_log.display();
    let bytes = match read(&boot.firmware_log) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Check::new(CODE, Mark::Warning, format!("no {path}: platform stays at P0"))
                .next("boot by UEFI with the TPM on, and see that /sys/kernel/security is mounted");
        }
        Err(error) => return Check::failed(CODE, format!("{path}: {error}"), "run this as root"),
    };
    match EventLog::parse(&bytes) {
        Ok(log) if boot.simulated => {
            let text = format!("{path}: {} events, simulated: platform stays at P0", log.events.len());
            Check::new(CODE, Mark::Note, text)
        }
        Ok(log) => Check::good(CODE, format!("{path}: {} events", log.events.len())),
        Err(error) => Check::failed(
            CODE,
            format!("{path}: {error}"),
            "update the firmware; its log breaks the TCG's rules",
        ),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The GPUs, and which of them sign for themselves.
pub(super) fn gpu(config: &Gpu) -> Vec<Check> {
    if !config.enabled {
        return vec![Check::new("gpu.ready", Mark::Note, "gpu.enabled is false: GPUs are not looked for")];
    }
    let (found, attested) = gpus(config);
    [library(config, &found)].into_iter().chain(attestation(&attested)).collect()
}

fn attestation(attested: &[Attested]) -> Option<Check> {
    const CODE: &str = "device.attestation";
    let all = attested.len();
    let without = || attested.iter().filter_map(|one| Some((one.index, one.unattested.as_deref()?)));
    match without().next() {
        _ if attested.is_empty() => None,
        None => Some(Check::good(CODE, format!("all {all} GPUs sign reports of themselves"))),
        Some((index, why)) => {
            let text = format!("GPU unattested: {} of {all}; GPU {index}: {why}", without().count());
            Some(Check::new(CODE, Mark::Note, text))
        }
    }
}

fn library(config: &Gpu, found: &GpuInventory) -> Check {
    if found.status == GpuStatus::Ready {
        let simulated = if found.simulated { ", simulated: GPUs stay at G0" } else { "" };
        return Check::good(
            "gpu.ready",
            format!("{} GPUs by {}{simulated}", found.gpus.len(), config.library),
        );
    }
    let text = found.status.to_string();
    if is_absent(&found.status) && !has_nvidia(Path::new("/sys/bus/pci/devices")) {
        return Check::new(found.status.code(), Mark::Note, format!("no NVIDIA GPU is here ({text})"));
    }
    Check::failed(found.status.code(), text, found.status.hint().unwrap_or("see the kernel log"))
}

/// Missing, rather than broken.
fn is_absent(status: &GpuStatus) -> bool {
    matches!(status, GpuStatus::LibraryMissing { .. } | GpuStatus::DriverNotLoaded)
}

fn has_nvidia(devices: &Path) -> bool {
    let is_ours = |entry: io::Result<fs::DirEntry>| {
        let vendor = entry.and_then(|entry| fs::read_to_string(entry.path().join("vendor")));
        vendor.is_ok_and(|vendor| vendor.trim() == NVIDIA)
    };
    fs::read_dir(devices).is_ok_and(|mut entries| entries.any(is_ours))
}

pub(super) fn jailer(config: &SandboxSettings) -> Check {
    let found = config.jailer.clone().map_or_else(assay_sandbox::sandbox::find_jailer, Ok);
    match found {
        Ok(path) if path.is_file() => Check::good("sandbox.jailer", format!("{}", path.display())),
        Ok(path) => Check::failed(
            "sandbox.jailer",
            format!("{} is not there", path.display()),
            "set sandbox.jailer to where it is, or leave the key out",
        ),
        Err(error) => Check::failed(
            "sandbox.jailer",
            chain(&error),
            "install assay-jailer beside assay-agent or in /usr/lib/assay, or set sandbox.jailer",
        ),
    }
}

/// Tries it in a process of its own: reading settings would miss what a container or an LSM forbids.
pub(super) fn user_namespaces() -> Check {
    const CODE: &str = "sandbox.user-namespaces";
    const NEXT: &str = "allow them: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                        kernel.apparmor_restrict_unprivileged_userns; in a container: its seccomp profile";
    let probe = std::env::current_exe().and_then(|exe| {
        Command::new(exe).arg("probe-userns").stdin(Stdio::null()).stdout(Stdio::null()).output()
    });
    match probe {
        Ok(probe) if probe.status.success() => Check::good(CODE, "this user may make them"),
        Ok(probe) => {
            let said = String::from_utf8_lossy(&probe.stderr);
            Check::failed(
                CODE,
                format!("cannot be made: {}", said.lines().next().unwrap_or("no reason given")),
                NEXT,
            )
        }
        Err(error) => Check::failed(CODE, format!("cannot be tried: {error}"), NEXT),
    }
}

/// The kernel's part first, then whether the agent has a cgroup to divide: the running one, or one that
/// were started from here.
pub(super) fn cgroups(daemon: Option<&Status>) -> Check {
    judge_place(judge_support(&support()), daemon, own_place)
}

const CGROUPS: &str = "sandbox.cgroups";

fn judge_place(
    machine: Check,
    daemon: Option<&Status>,
    own: impl FnOnce() -> Result<(), SandboxError>,
) -> Check {
    const NEXT: &str = "start it by its systemd unit, or by systemd-run --scope --property=Delegate=yes";
    if machine.mark != Mark::Good {
        return machine;
    }
    let found = match daemon {
        Some(status) => {
            status.health.iter().find(|item| item.code == NO_CGROUPS).map(|item| item.text.clone())
        }
        None => own().err().map(|error| format!("an agent started from here has none: {}", chain(&error))),
    };
    match found {
        Some(text) => Check::new(CGROUPS, Mark::Warning, format!("{}, but {text}", machine.text)).next(NEXT),
        None => machine,
    }
}

fn judge_support(support: &Support) -> Check {
    const NEXT: &str =
        "boot with systemd.unified_cgroup_hierarchy=1; until then only jobs with limits = \"rlimit\" run";
    let list = |names: &[&str]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    if support.mount.is_none() {
        return Check::new(CGROUPS, Mark::Warning, "no cgroup v2 hierarchy is mounted").next(NEXT);
    }
    let there = list(&support.present);
    if !support.missing.is_empty() {
        let text = format!("cgroup v2 with {there} lacks {}", list(&support.missing));
        return Check::new(CGROUPS, Mark::Warning, text).next(NEXT);
    }
    let mut text = format!("cgroup v2 with {there}");
    if !support.absent.is_empty() {
        text.push_str(&format!("; without {}", list(&support.absent)));
    }
    if !support.pressure {
        text.push_str("; the kernel counts no stalls (psi=1)");
    }
    Check::good(CGROUPS, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tpm_is_told_with_what_to_do() {
        let config = TpmConfig { backend: "/nonexistent/tpmrm0".into(), ..TpmConfig::default() };
        let checks = tpm(&config, None);
        assert_eq!((checks[0].code, checks[0].mark), ("tpm.usable", Mark::Failed));
        assert!(checks[0].next.is_some());
    }

    /// A log of its header alone: TCG_PCClientPCREvent with a Spec ID Event03 for SHA-256
    /// (PC Client Platform Firmware Profile 1.06, 10.4.5.1).
    fn smallest_log() -> Vec<u8> {
        let mut spec_id = b"Spec ID Event03\0".to_vec();
        spec_id.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        spec_id.extend([1, 0, 0, 0, 0x0b, 0, 32, 0, 0]);
        let mut log = [0_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat();
        log.extend([0; 20]);
        log.extend(u32::try_from(spec_id.len()).unwrap().to_le_bytes());
        log.extend(spec_id);
        log
    }

    #[test]
    fn a_firmware_log_is_parsed_not_only_opened() {
        let dir = tempfile::tempdir().unwrap();
        let firmware_log = dir.path().join("log");
        let boot = Boot { firmware_log: firmware_log.clone(), ..Boot::default() };
        assert_eq!(super::firmware_log(&boot).mark, Mark::Warning);
        fs::write(&firmware_log, b"no log").unwrap();
        assert_eq!(super::firmware_log(&boot).mark, Mark::Failed);
        fs::write(&firmware_log, smallest_log()).unwrap();
        assert_eq!(super::firmware_log(&boot).mark, Mark::Good);
        assert_eq!(super::firmware_log(&Boot { simulated: true, ..boot }).mark, Mark::Note);
    }

    #[test]
    fn all_controllers_must_be_there() {
        let all = Support {
            mount: Some("/sys/fs/cgroup".into()),
            present: vec!["cpu", "cpuset", "io", "memory", "pids"],
            pressure: true,
            ..Support::default()
        };
        let check = judge_support(&all);
        assert_eq!(
            (check.mark, check.text.as_str()),
            (Mark::Good, "cgroup v2 with cpu, cpuset, io, memory, pids")
        );
        let check = judge_support(&Support { absent: vec!["misc"], pressure: false, ..all.clone() });
        assert!(
            check.mark == Mark::Good
                && check.text.ends_with("; without misc; the kernel counts no stalls (psi=1)")
        );
        let some = Support { present: vec!["cpu"], missing: vec!["io", "pids"], ..all.clone() };
        let check = judge_support(&some);
        assert!(check.mark == Mark::Warning && check.text == "cgroup v2 with cpu lacks io, pids");
        assert_eq!(judge_support(&Support { mount: None, ..some }).mark, Mark::Warning);
    }

    /// Controllers at the root of the machine say nothing of the cgroup that an agent is in.
    #[test]
    fn a_cgroup_that_is_not_the_agents_is_told() {
        use crate::core::status::{HealthItem, Severity};
        let machine = || Check::good(CGROUPS, "cgroup v2 with cpu");
        let none = || Err(SandboxError::NoPlace { reason: "not delegated" });
        assert_eq!(judge_place(machine(), None, || Ok(())), machine());
        let login = judge_place(machine(), None, none);
        assert!(login.mark == Mark::Warning && login.text.contains("not delegated") && login.next.is_some());
        let mut status = Status::default();
        assert_eq!(judge_place(machine(), Some(&status), none).mark, Mark::Good);
        let code = NO_CGROUPS.to_owned();
        status.health.push(HealthItem { code, severity: Severity::Warning, text: "refused".into() });
        let running = judge_place(machine(), Some(&status), || Ok(()));
        assert!(running.mark == Mark::Warning && running.text.contains("refused"));
        let old = Check::new(CGROUPS, Mark::Warning, "no cgroup v2");
        assert_eq!(judge_place(old.clone(), None, none), old);
    }

    #[test]
    fn nvidia_is_known_by_its_vendor_id() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_nvidia(dir.path()) && !has_nvidia(&dir.path().join("none")));
        for (slot, vendor) in [("0000:00:02.0", "0x8086\n"), ("0000:01:00.0", "0x10de\n")] {
            fs::create_dir(dir.path().join(slot)).unwrap();
            fs::write(dir.path().join(slot).join("vendor"), vendor).unwrap();
        }
        assert!(has_nvidia(dir.path()));
    }

    #[test]
    fn a_running_agent_answers_for_its_tpm() {
        use crate::core::status::{HealthItem, Severity};
        let mut status = Status::default();
        assert_eq!(through_agent(&status).mark, Mark::Good);
        status.health.push(HealthItem {
            code: "tpm.lost".into(),
            severity: Severity::Error,
            text: "gone".into(),
        });
        assert_eq!(through_agent(&status).mark, Mark::Failed);
    }
}
