//! The host inventory on machines made of files, and on this one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_inventory::Fact;
use assay_inventory::host::{HostInventory, inventory};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

fn put(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn link(root: &Path, path: &str, target: &str) {
    let link = root.join(path);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(target, link).unwrap();
}

/// Two sockets of two cores with two threads each.
fn cpuinfo(flags: &str) -> String {
    let mut text = String::new();
    for cpu in 0..8 {
        let (socket, core) = (cpu / 4, cpu % 2);
        write!(
            text,
            "processor\t: {cpu}\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9654\n\
             physical id\t: {socket}\ncore id\t\t: {core}\nflags\t\t: fpu {flags}\n\n"
        )
        .unwrap();
    }
    text
}

fn pci(root: &Path, address: &str, class: &str, device: &str, driver: Option<&str>) {
    let folder = format!("sys/bus/pci/devices/{address}");
    put(root, &format!("{folder}/class"), class);
    put(root, &format!("{folder}/vendor"), "0x10de\n");
    put(root, &format!("{folder}/device"), device);
    put(root, &format!("{folder}/numa_node"), "-1\n");
    if let Some(driver) = driver {
        link(root, &format!("{folder}/driver"), &format!("../../../../bus/pci/drivers/{driver}"));
    }
}

fn machine() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(root, "proc/cpuinfo", &cpuinfo("sse4_2"));
    put(root, "proc/meminfo", "MemTotal:       1056 kB\nMemAvailable: 1048576 kB\nSwapTotal: 0 kB\n");
    put(root, "sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:  2097152 kB\n");
    put(root, "sys/devices/system/node/node1/cpulist", "4-7\n");
    put(root, "sys/devices/system/node/node0/cpulist", "0-3\n");
    put(root, "sys/block/nvme0n1/size", "7501476528\n");
    put(root, "sys/block/nvme0n1/queue/rotational", "0\n");
    put(root, "sys/block/nvme0n1/device/model", "SAMSUNG MZWLR3T8HBLS   \n");
    put(root, "sys/block/loop0/size", "8\n");
    put(root, "sys/class/net/lo/address", "00:00:00:00:00:00\n");
    put(root, "sys/class/net/eno1/address", "3c:ec:ef:00:00:01\n");
    put(root, "sys/class/net/eno1/speed", "25000\n");
    put(root, "sys/class/net/eno1/operstate", "up\n");
    link(root, "sys/class/net/eno1/device/driver", "../../bnxt_en");
    put(root, "sys/class/net/docker0/address", "02:42:00:00:00:01\n");
    put(root, "sys/class/net/docker0/speed", "-1\n");
    put(root, "sys/class/net/bonding_masters", "\n");
    put(root, "sys/class/dmi/id/sys_vendor", "Supermicro\n");
    put(root, "proc/sys/kernel/osrelease", "6.12.48\n");
    put(root, "proc/sys/kernel/random/boot_id", "e2c1d7f0-0000-4000-8000-000000000001\n");
    put(root, "sys/module/nvidia/version", "580.105.08\n");
    pci(root, "0000:1a:00.0", "0x030200\n", "0x2330\n", Some("nvidia"));
    pci(root, "0000:1b:00.0", "0x030200\n", "0x2330\n", None);
    pci(root, "0000:00:1f.0", "0x060100\n", "0x1234\n", None);
    folder
}

fn read(folder: &TempDir) -> HostInventory {
    inventory(folder.path())
}

#[test]
fn processors_and_memory() {
    let host = read(&machine());
    assert_eq!(host.cpu.model, Fact::Value("AMD EPYC 9654".into()));
    assert_eq!((host.cpu.sockets, host.cpu.cores, host.cpu.threads), (Fact::Value(2), Fact::Value(4), 8));
    assert_eq!(host.memory.total_mib, Fact::Value(1));
    assert_eq!(host.memory.available_mib, Fact::Value(1024));
    let ids: Vec<u32> = host.numa.iter().map(|node| node.id).collect();
    assert_eq!(ids, [0, 1]);
    assert_eq!(host.numa[1].memory_mib, Fact::Value(2048));
    assert_eq!(host.numa[0].memory_mib, Fact::NotSupported);
}

#[test]
fn disks_and_links_with_a_device() {
    let host = read(&machine());
    assert_eq!(host.disks.len(), 1, "a loop device is no disk");
    assert_eq!(host.disks[0].size_mib, Fact::Value(3_662_830));
    assert_eq!(host.disks[0].model, Fact::Value("SAMSUNG MZWLR3T8HBLS".into()));
    assert_eq!(host.disks[0].rotational, Fact::Value(false));
    let names: Vec<&str> = host.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(names, ["docker0", "eno1"]);
    assert_eq!((&host.nics[0].speed_mbps, host.nics[0].physical), (&Fact::NotSupported, false));
    assert_eq!((&host.nics[1].speed_mbps, host.nics[1].physical), (&Fact::Value(25_000), true));
    assert_eq!(host.nics[1].driver, Fact::Value("bnxt_en".into()));
}

#[test]
fn display_devices_without_a_driver_stand_out() {
    let host = read(&machine());
    assert_eq!(host.display.len(), 2, "a bridge is no display controller");
    assert_eq!(host.display[0].driver, Fact::Value("nvidia".into()));
    assert_eq!(host.display[0].numa_node, Fact::NotSupported);
    let idle: Vec<&str> = host.display_without_driver().map(|device| device.address.as_str()).collect();
    assert_eq!(idle, ["0000:1b:00.0"]);
}

#[test]
fn signs_of_virtualization() {
    let metal = machine();
    assert!(!read(&metal).virtualization.any());
    put(metal.path(), "proc/cpuinfo", &cpuinfo("hypervisor"));
    assert!(read(&metal).virtualization.any());
    let named = machine();
    put(named.path(), "sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009), QEMU\n");
    assert!(read(&named).virtualization.product.is_some());
    let boxed = machine();
    put(boxed.path(), ".dockerenv", "");
    assert!(read(&boxed).virtualization.container);
}

#[test]
fn kernel_and_boot() {
    let host = read(&machine());
    assert_eq!(host.kernel.release, Fact::Value("6.12.48".into()));
    assert_eq!(host.kernel.nvidia_module, Fact::Value("580.105.08".into()));
    assert_eq!(host.kernel.boot_id, Fact::Value("e2c1d7f0-0000-4000-8000-000000000001".into()));
}

#[test]
fn a_machine_without_any_file_is_described_without_values() {
    let host = read(&tempfile::tempdir().unwrap());
    assert_eq!(host.cpu.threads, 0);
    assert_eq!(host.cpu.hypervisor, Fact::NotSupported);
    assert!(host.disks.is_empty() && host.display.is_empty() && !host.virtualization.any());
}

#[test]
fn this_machine_has_a_kernel_and_a_processor() {
    let host = inventory(Path::new("/"));
    assert!(host.cpu.threads > 0);
    assert!(host.memory.total_mib.value() > Some(&0));
    assert!(host.kernel.boot_id.value().is_some());
    let json = serde_json::to_string(&host).unwrap();
    assert_eq!(serde_json::from_str::<HostInventory>(&json).unwrap(), host);
}
