//! `inventory`: what hardware is here, with or without a running agent.

use std::{fmt::Display, path::Path};

use assay_inventory::{
    Fact,
    host::{self, HostInventory},
    nvml::{Client, DeviceState, GpuAttestation, GpuFacts, GpuInventory, GpuStatus},
};
use serde::Serialize;

use super::{
    error::CliError,
    print::{self, Page, Paint, Tone},
    progress::Progress,
    units,
};
use crate::{config::Gpu, gpu_report::checked, nvml};

#[derive(Serialize)]
struct Inventory<'a> {
    schema: u32,
    host: &'a HostInventory,
    gpu: &'a GpuInventory,
    attestation: &'a [Attested],
}

/// Whether a GPU signs reports of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Attested {
    /// Index in the library's enumeration.
    pub(super) index: u8,
    /// Bytes of the report that it signed over a nonce of ours; whether its certificates are NVIDIA's is not judged
    /// here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) report_bytes: Option<usize>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unattested: Option<String>,
}

/// Shows host and GPUs.
pub(super) fn show(config: &Gpu, json: bool) -> Result<u8, CliError> {
    let progress = Progress::start("asking the GPU library");
    let host = host::inventory(Path::new("/"));
    let (gpu, attestation) = gpus(config);
    drop(progress);
    let printed = if json {
        print::json(&Inventory { schema: print::SCHEMA, host: &host, gpu: &gpu, attestation: &attestation })
    } else {
        page(&host, (&gpu, &attestation), Paint::stdout()).print()
    };
    printed.map_err(CliError::Print).map(|()| 0)
}

/// The GPUs, asked through a child process, and which of them sign reports.
pub(super) fn gpus(config: &Gpu) -> (GpuInventory, Vec<Attested>) {
    let none = |reason: String| GpuInventory::without_gpus(GpuStatus::Failed { reason }, false);
    if !config.enabled {
        return (none("gpu.enabled is false".to_owned()), Vec::new());
    }
    match nvml::client(config) {
        Ok(mut client) => {
            let inventory = client.inventory();
            let present = inventory.gpus.iter().filter(|gpu| gpu.state == DeviceState::Present);
            let attested = present.map(|gpu| attested(&mut client, gpu.index)).collect();
            (inventory, attested)
        }
        Err(error) => (none(error.to_string()), Vec::new()),
    }
}

/// Has a GPU sign a report that nobody will see: of interest is whether it can.
fn attested(client: &mut Client, index: u8) -> Attested {
    let mut nonce = [0; 32];
    let asked = getrandom::fill(&mut nonce).map_err(|error| error.to_string());
    let asked = asked.and_then(|()| client.attest(index, &nonce).map_err(|fault| fault.to_string()));
    said(index, asked, &nonce)
}

/// Bytes that do not hold as far as a node can tell are no report.
fn said(index: u8, asked: Result<GpuAttestation, String>, nonce: &[u8; 32]) -> Attested {
    match asked.and_then(|attested| checked(&attested, nonce)) {
        Ok((report, _)) => Attested { index, report_bytes: Some(report.len()), unattested: None },
        Err(why) => Attested { index, report_bytes: None, unattested: Some(why) },
    }
}

fn page(host: &HostInventory, gpu: (&GpuInventory, &[Attested]), paint: Paint) -> Page {
    let mut page = Page::new(paint);
    machine(&mut page, host);
    virtualization(&mut page, host);
    memory(&mut page, host);
    disks(&mut page, host);
    nics(&mut page, host);
    display(&mut page, host);
    gpu_section(&mut page, gpu.0);
    attestation(&mut page, gpu.1);
    page
}

fn machine(page: &mut Page, host: &HostInventory) {
    page.section("Machine");
    page.fact("maker", &words(&[&host.firmware.system_vendor, &host.firmware.product]));
    page.fact("board", &word(&host.firmware.board));
    let bios = [&host.firmware.bios_vendor, &host.firmware.bios_version, &host.firmware.bios_date];
    page.fact("firmware", &words(&bios));
    page.fact("os", &word(&host.kernel.os));
    page.fact("kernel", &word(&host.kernel.release));
    page.fact("boot id", &word(&host.kernel.boot_id));
    page.section("Processor");
    let cpu = &host.cpu;
    page.fact("model", &word(&cpu.model));
    page.fact("sockets", &word(&cpu.sockets));
    page.fact("cores", &word(&cpu.cores));
    page.fact("threads", &cpu.threads.to_string());
}

fn virtualization(page: &mut Page, host: &HostInventory) {
    let hints = &host.virtualization;
    let mut said = Vec::new();
    if hints.cpuid.value() == Some(&true) {
        said.push("the processor reports a hypervisor".to_owned());
    }
    said.extend(hints.hypervisor.value().map(|name| format!("hypervisor {name}")));
    said.extend(hints.product.as_ref().map(|name| format!("product {name}")));
    if hints.container {
        said.push("inside a container".to_owned());
    }
    match said.is_empty() {
        true => page.fact("virtual", "no sign of it"),
        false => page.toned("virtual", Tone::Yellow, &said.join(", ")),
    }
}

fn memory(page: &mut Page, host: &HostInventory) {
    page.section("Memory");
    page.fact("total", &mib(&host.memory.total_mib));
    page.fact("available", &mib(&host.memory.available_mib));
    page.fact("swap", &mib(&host.memory.swap_mib));
    for node in &host.numa {
        page.fact(
            &format!("node {}", node.id),
            &format!("{}, processors {}", mib(&node.memory_mib), word(&node.cpus)),
        );
    }
}

fn disks(page: &mut Page, host: &HostInventory) {
    page.section("Disks");
    if host.disks.is_empty() {
        page.line(Tone::Plain, "none");
        return;
    }
    let kind = |rotational: &bool| if *rotational { "rotating" } else { "solid state" };
    let row = |disk: &host::DiskFacts| {
        let kind = word(&disk.rotational.clone().map(|rotational| kind(&rotational)));
        vec![disk.name.clone(), mib(&disk.size_mib), kind, word(&disk.model), word(&disk.serial)]
    };
    let rows: Vec<_> = host.disks.iter().map(row).collect();
    page.table(&["name", "size", "kind", "model", "serial"], &rows);
}

fn nics(page: &mut Page, host: &HostInventory) {
    page.section("Network");
    if host.nics.is_empty() {
        page.line(Tone::Plain, "none");
        return;
    }
    let row = |nic: &host::NicFacts| {
        let speed = word(&nic.speed_mbps.clone().map(|mbps| format!("{mbps} Mbit/s")));
        let kind = if nic.physical { "physical" } else { "virtual" };
        vec![nic.name.clone(), kind.to_owned(), word(&nic.state), speed, word(&nic.driver), word(&nic.mac)]
    };
    let rows: Vec<_> = host.nics.iter().map(row).collect();
    page.table(&["name", "kind", "state", "speed", "driver", "address"], &rows);
}

fn display(page: &mut Page, host: &HostInventory) {
    page.section("Display controllers");
    if host.display.is_empty() {
        page.line(Tone::Plain, "none");
        return;
    }
    let hex = |fact: &Fact<u32>| word(&fact.clone().map(|id| format!("{id:04x}")));
    let row = |device: &host::DisplayDevice| {
        let id = format!("{}:{}", hex(&device.vendor), hex(&device.device));
        let driver = match &device.driver {
            Fact::NotSupported => "no driver".to_owned(),
            driver => word(driver),
        };
        vec![device.address.clone(), id, driver]
    };
    let rows: Vec<_> = host.display.iter().map(row).collect();
    page.table(&["address", "id", "driver"], &rows);
}

fn gpu_section(page: &mut Page, gpu: &GpuInventory) {
    page.section("GPUs");
    if gpu.status != GpuStatus::Ready {
        page.toned("library", Tone::Yellow, &gpu.status.to_string());
        if let Some(hint) = gpu.status.hint() {
            page.toned("next", Tone::Dim, hint);
        }
    } else {
        page.fact("driver", &word(&gpu.driver));
        page.fact("library", &format!("{}, CUDA {}", word(&gpu.nvml_version), word(&gpu.cuda_version)));
    }
    if gpu.simulated {
        page.toned("simulated", Tone::Yellow, "the library says that it is a simulation: GPUs stay at G0");
    }
    let rows: Vec<_> = gpu.gpus.iter().map(gpu_row).collect();
    if !rows.is_empty() {
        page.table(
            &["#", "state", "name", "memory", "address", "power", "temp", "use", "energy", "procs"],
            &rows,
        );
    }
}

fn attestation(page: &mut Page, attested: &[Attested]) {
    for one in attested {
        let name = format!("GPU {}", one.index);
        match (&one.unattested, one.report_bytes) {
            (Some(why), _) => page.toned(&name, Tone::Yellow, &format!("GPU unattested: {why}")),
            (None, bytes) => {
                let bytes = bytes.unwrap_or_default();
                page.fact(
                    &name,
                    &format!("signs reports of itself ({bytes} bytes; its certificates are not judged here)"),
                );
            }
        }
    }
}

fn gpu_row(gpu: &GpuFacts) -> Vec<String> {
    let state = match &gpu.state {
        DeviceState::Present => "present".to_owned(),
        DeviceState::Lost => "lost".to_owned(),
        DeviceState::Silent => "silent".to_owned(),
        DeviceState::Failed { reason } => format!("failed: {reason}"),
    };
    let mut row = vec![gpu.index.to_string(), state];
    let Some(device) = &gpu.device else { return row };
    let watts = |mw: &u32| format!("{} W", mw / 1000);
    row.extend([
        word(&device.name),
        word(&device.memory.clone().map(|memory| format!("{} MiB", memory.total_mib))),
        word(&device.pci.clone().map(|pci| pci.bus_id)),
        format!(
            "{} of {}",
            word(&device.power.draw_mw.clone().map(|mw| watts(&mw))),
            word(&device.power.limit_mw.clone().map(|mw| watts(&mw)))
        ),
        word(&device.temperature_c.clone().map(|c| format!("{c} C"))),
        word(&device.utilization.clone().map(|used| format!("{} %", used.gpu_percent))),
        word(&device.energy_mj.clone().map(|mj| format!("{} J", mj / 1000))),
        word(&device.processes.clone().map(|all| all.len())),
    ]);
    row
}

/// A fact in its three states.
fn word<T: Display>(fact: &Fact<T>) -> String {
    match fact {
        Fact::Value(value) => value.to_string(),
        Fact::NotSupported => "not there".to_owned(),
        Fact::Error(reason) => format!("unknown ({reason})"),
    }
}

/// Facts that read as one; those that are not there are left out.
fn words(facts: &[&Fact<String>]) -> String {
    let said: Vec<String> =
        facts.iter().filter(|fact| ***fact != Fact::NotSupported).map(|fact| word(fact)).collect();
    if said.is_empty() { "not there".to_owned() } else { said.join(" ") }
}

fn mib(fact: &Fact<u64>) -> String {
    word(&fact.clone().map(|mib| units::bytes(mib.saturating_mul(1 << 20))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_states_read_differently() {
        assert_eq!(word(&Fact::Value(7)), "7");
        assert_eq!(word(&Fact::<u8>::NotSupported), "not there");
        assert_eq!(word(&Fact::<u8>::Error("no permission".into())), "unknown (no permission)");
        let (here, gone) = (Fact::Value("a".to_owned()), Fact::NotSupported);
        assert_eq!(words(&[&here, &gone, &here]), "a a");
        assert_eq!(words(&[&gone]), "not there");
    }

    #[test]
    fn bytes_that_do_not_hold_are_no_report() {
        let Some((report, chain)) = crate::gpu_report::recorded() else { return };
        let nonce = report[4..36].try_into().unwrap();
        let attested = |report: &[u8]| GpuAttestation {
            simulated: false,
            architecture: Fact::NotSupported,
            report: Fact::Value(report.to_vec()),
            chain: Fact::Value(chain.clone()),
        };
        let good = said(1, Ok(attested(&report)), &nonce);
        assert_eq!((good.report_bytes, good.unattested), (Some(report.len()), None));
        let bad = [(attested(&[1]), nonce), (attested(&report), [7; 32]), (attested(&report[..37]), nonce)];
        for (attested, nonce) in bad {
            let one = said(1, Ok(attested), &nonce);
            assert!(one.report_bytes.is_none() && one.unattested.is_some(), "{one:?}");
        }
        assert_eq!(said(1, Err("lost".to_owned()), &nonce).unattested.as_deref(), Some("lost"));
    }

    #[test]
    fn a_machine_without_anything_still_has_a_page() {
        let empty = tempfile::tempdir().unwrap();
        let host = host::inventory(empty.path());
        let gpu = GpuInventory::without_gpus(GpuStatus::DriverNotLoaded, false);
        let page = page(&host, (&gpu, &[]), Paint(false));
        for section in ["Machine", "Processor", "Memory", "Disks", "Network", "Display controllers", "GPUs"] {
            assert!(page.text().lines().any(|line| line == section), "{section}\n{}", page.text());
        }
        assert!(page.text().contains("kernel driver not loaded") && page.text().contains("modprobe nvidia"));
    }

    #[test]
    fn gpus_that_are_switched_off_are_not_asked_for() {
        let off = Gpu { enabled: false, ..Gpu::default() };
        assert!(gpus(&off).0.status.to_string().contains("gpu.enabled"));
    }
}
