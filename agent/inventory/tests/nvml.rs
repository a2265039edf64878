//! The client against the simulated library, each in its own process.
//!
//! The child is this test program again: [`nvml_child`] is a test that does nothing unless it is asked
//! to be the child.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use assay_gpu::{Accumulator, Limits, check};
use assay_inventory::Fact;
use assay_inventory::nvml::{
    Client, ClientConfig, DeviceState, GpuStatus, NvmlFault, SCENARIO_ENV, serve_stdin,
};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const CHILD_ENV: &str = "ASSAY_TEST_NVML_LIBRARY";
const DEADLINE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(300);

/// The child's side; in a normal run of the tests it does nothing.
#[test]
fn nvml_child() {
    if let Some(library) = std::env::var_os(CHILD_ENV) {
        serve_stdin(Path::new(&library)).unwrap();
    }
}

/// The simulated library, built if cargo is there to build it.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let exe = std::env::current_exe().unwrap();
        let profile = exe.parent().and_then(Path::parent).unwrap();
        if let Some(cargo) = std::env::var_os("CARGO") {
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "--package", "assay-nvml-sim"]);
            build.args(profile.ends_with("release").then_some("--release"));
            assert!(build.status().unwrap().success());
        }
        profile.join("libnvidia_ml.so")
    })
}

fn config(library: &Path) -> ClientConfig {
    let args = ["--exact", "nvml_child", "--nocapture"].map(Into::into).to_vec();
    let mut config = ClientConfig::new(std::env::current_exe().unwrap(), args);
    config.env = vec![(CHILD_ENV.into(), library.into())];
    config.deadline = DEADLINE;
    config.first_pause = PAUSE;
    config
}

/// The simulated library playing a scenario of its folder.
fn scenario(name: &str) -> ClientConfig {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/nvml-sim/scenarios");
    let file = folder.join(name).with_extension("toml");
    assert!(file.exists(), "{}", file.display());
    let mut config = config(library());
    config.env.push((SCENARIO_ENV.into(), file.into()));
    config
}

/// A client with the usual patience: this machine may be busy.
fn client(name: &str) -> Client {
    Client::new(ClientConfig { deadline: Duration::from_secs(5), ..scenario(name) })
}

/// Lets the first pause go by.
fn wait_for_next_try() {
    std::thread::sleep(PAUSE + Duration::from_millis(10));
}

#[test]
fn eight_gpus_with_all_their_facts() {
    let inventory = client("h100x8").inventory();
    assert_eq!(inventory.status, GpuStatus::Ready);
    assert!(inventory.simulated, "the simulation says that it is one");
    assert_eq!(inventory.driver, Fact::Value("580.105.08".into()));
    assert_eq!(inventory.cuda_version, Fact::Value("13.0".into()));
    assert_eq!(inventory.gpus.len(), 8);
    let device = inventory.gpus[2].device.as_ref().unwrap();
    assert_eq!(device.uuid, Fact::Value("GPU-01000100-0000-0000-0000-000000000002".into()));
    assert_eq!(device.memory.value().unwrap().total_mib, 81_559);
    assert_eq!(device.pci.value().unwrap().bus_id, "00000000:4A:00.0");
    assert_eq!(device.power.limit_mw, Fact::Value(700_000));
    assert_eq!(device.pdi, Fact::Value(0x5A5A_0000_0000_0003));
    assert_eq!(device.compute_capability, Fact::Value([9, 0]));
    assert_eq!(device.architecture, Fact::Value("Hopper".into()));
    assert!(device.energy_mj.value().is_some() && device.temperature_c.value().is_some());
    assert!(device.utilization.value().is_some() && device.processes.value().is_some());
}

#[test]
fn no_fact_of_the_simulated_gpu_is_an_error() {
    let inventory = client("h100x8").inventory();
    let json = serde_json::to_string(&inventory).unwrap();
    assert!(!json.contains("error") && !json.contains("not_supported"), "{json}");
}

#[test]
fn identities_make_the_session_table() {
    let identities = client("h100x8").inventory().identities();
    assert_eq!(identities.len(), 8);
    assert_eq!(identities[7].index, 7);
    assert_eq!(identities[7].memory_mib, 81_559);
    assert!(identities.iter().all(|identity| identity.simulated));
}

#[test]
fn samples_fold_into_lines_that_obey_the_rules() {
    let mut client = client("h100x8");
    let mut gpus: Vec<Accumulator> = (0..8).map(|index| Accumulator::new(index, 81_559)).collect();
    let mut beats = Vec::new();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(200));
        let samples = client.sample().unwrap();
        assert_eq!(samples.len(), 8);
        gpus.iter_mut().for_each(|gpu| samples.iter().for_each(|sample| gpu.push(sample)));
        beats.push(gpus.iter_mut().map(Accumulator::beat).collect::<Vec<_>>());
    }
    for (before, after) in beats[1].iter().zip(&beats[2]) {
        assert!(after.energy.unwrap().delta_mj > 0);
        assert!(after.pcie.is_some() && after.power_w.is_some());
        assert_eq!(check(before, after, 200, Limits { power_mw: Some(700_000) }), []);
    }
}

#[test]
fn counters_go_on_when_the_process_is_replaced() {
    let first = client("h100x8").sample().unwrap();
    let second = client("h100x8").sample().unwrap();
    assert!(first[0].readings.energy_mj <= second[0].readings.energy_mj);
    assert!(first[0].t_ms <= second[0].t_ms);
}

#[test]
fn a_hang_is_cut_short_recorded_and_recovered_from() {
    let mut client = Client::new(scenario("one-gpu-hang"));
    assert_eq!(client.inventory().status, GpuStatus::Ready);
    std::thread::sleep(Duration::from_millis(1_000));
    let asked = Instant::now();
    assert!(matches!(client.sample(), Err(NvmlFault::Hung(DEADLINE))));
    assert!(asked.elapsed() < DEADLINE + Duration::from_millis(900), "{:?}", asked.elapsed());
    assert!(matches!(client.status(), GpuStatus::Hung { .. }));
    pausing_answers_at_once(&mut client);
    wait_for_next_try();
    assert_eq!(client.sample().unwrap().len(), 1, "a new child answers again");
    assert_eq!(client.status(), GpuStatus::Ready);
}

/// Until the next child is due, questions are answered without one: GPUs as last seen.
fn pausing_answers_at_once(client: &mut Client) {
    let inventory = client.inventory();
    assert!(matches!(inventory.status, GpuStatus::Hung { .. }));
    assert_eq!(inventory.gpus[0].state, DeviceState::Silent);
    assert!(inventory.gpus[0].device.is_some());
    assert!(inventory.identities().is_empty());
}

#[test]
fn a_crash_ends_the_child_only() {
    let mut client = client("crash");
    assert_eq!(client.sample().unwrap().len(), 1);
    std::thread::sleep(Duration::from_millis(1_050));
    let Err(NvmlFault::ChildDied(reason)) = client.sample() else { panic!("the library aborts its process") };
    assert!(reason.contains("SIGABRT"), "{reason}");
    assert!(matches!(client.status(), GpuStatus::ChildDied { .. }));
    wait_for_next_try();
    assert_eq!(client.sample().unwrap().len(), 1);
}

#[test]
fn a_library_that_claims_absurd_sizes_ends_the_child_only() {
    let mut client = client("absurd-sizes");
    let inventory = client.inventory();
    assert!(matches!(inventory.status, GpuStatus::ChildDied { .. }), "{:?}", inventory.status);
    wait_for_next_try();
    assert_eq!(client.sample().unwrap().len(), 1, "samples do not ask for processes");
}

#[test]
fn a_library_that_counts_billions_of_gpus_is_not_believed() {
    let mut client = client("absurd-count");
    let GpuStatus::Failed { reason } = client.inventory().status else { panic!("a machine has fewer") };
    assert!(reason.contains("4294967294"), "{reason}");
    assert!(matches!(client.sample(), Err(NvmlFault::Unavailable(GpuStatus::Failed { .. }))));
}

#[test]
fn strings_without_an_end_and_absurd_gauges_become_facts_of_their_kind() {
    let mut client = client("absurd-strings");
    let inventory = client.inventory();
    if inventory.status == GpuStatus::Ready {
        let device = inventory.gpus[0].device.as_ref().unwrap();
        assert!(matches!(device.uuid, Fact::Error(_)), "{:?}", device.uuid);
        assert!(inventory.identities().is_empty(), "a device that can't be named");
    }
    let mut gpu = Accumulator::new(0, 81_559);
    gpu.push(&client.sample().unwrap()[0]);
    let beat = gpu.beat();
    assert!(beat.flags.implausible);
    assert_eq!((beat.utilization_per_mille, beat.memory_per_mille), (None, None));
}

#[test]
fn a_lost_gpu_is_recorded_for_that_gpu_only() {
    let mut client = client("lost-gpu");
    let inventory = client.inventory();
    assert_eq!(inventory.status, GpuStatus::Ready);
    let states: Vec<&DeviceState> = inventory.gpus.iter().map(|gpu| &gpu.state).collect();
    assert_eq!(states, [&DeviceState::Present, &DeviceState::Lost]);
    assert_eq!(inventory.identities().len(), 1);
    let samples = client.sample().unwrap();
    assert_eq!([samples[0].lost, samples[1].lost], [false, true]);
    assert!(!samples[0].readings.is_empty() && samples[1].readings.is_empty());
}

#[test]
fn a_gpu_that_gets_lost_is_listed_as_last_seen() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("later.toml");
    let text = include_str!("../../../tests/nvml-sim/scenarios/lost-gpu.toml");
    std::fs::write(&scenario, format!("{text}after_ms = 500\n")).unwrap();
    let mut config = config(library());
    config.env.push((SCENARIO_ENV.into(), scenario.into()));
    let mut client = Client::new(config);
    assert_eq!(client.inventory().gpus[1].state, DeviceState::Present);
    std::thread::sleep(Duration::from_millis(520));
    let gpu = client.inventory().gpus[1].clone();
    assert_eq!(gpu.state, DeviceState::Lost);
    assert!(gpu.device.unwrap().uuid.value().is_some());
}

#[test]
fn a_missing_library_is_a_state() {
    let mut client = Client::new(config(Path::new("/nowhere/libnvidia-ml.so.1")));
    let GpuStatus::LibraryMissing { reason } = client.inventory().status else { panic!("it is not there") };
    assert!(reason.contains("/nowhere/libnvidia-ml.so.1"), "{reason}");
    assert!(matches!(client.sample(), Err(NvmlFault::Unavailable(GpuStatus::LibraryMissing { .. }))));
}

#[test]
fn a_missing_driver_and_a_driver_of_another_version_are_states() {
    let mut without = client("driver-not-loaded");
    let inventory = without.inventory();
    assert_eq!(inventory.status, GpuStatus::DriverNotLoaded);
    assert!(inventory.simulated && inventory.gpus.is_empty());
    assert!(matches!(without.sample(), Err(NvmlFault::Unavailable(GpuStatus::DriverNotLoaded))));
    assert_eq!(without.status(), GpuStatus::DriverNotLoaded);
    assert_eq!(client("version-mismatch").inventory().status, GpuStatus::VersionMismatch);
}

/// Where distributions and the vendor's installer put the library.
const VENDOR: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.1",
    "/usr/lib64/libnvidia-ml.so.1",
];

#[test]
fn the_vendors_library_without_its_driver_says_so() {
    let named = std::env::var_os("ASSAY_VENDOR_NVML").map(PathBuf::from);
    let library = named.into_iter().chain(VENDOR.map(PathBuf::from)).find(|path| path.exists());
    let Some(library) = library.filter(|_| !Path::new("/proc/driver/nvidia").exists()) else {
        eprintln!(
            "SKIPPED: needs the vendor's libnvidia-ml.so.1 (or ASSAY_VENDOR_NVML) and no NVIDIA driver"
        );
        return;
    };
    let inventory = Client::new(config(&library)).inventory();
    assert_eq!(inventory.status, GpuStatus::DriverNotLoaded);
    assert!(!inventory.simulated);
}

#[test]
fn a_program_that_is_no_child_is_a_state_with_growing_pauses() {
    let mut config = config(library());
    config.program = "/bin/true".into();
    let mut client = Client::new(config.clone());
    let died = |fault| matches!(fault, Err(NvmlFault::ChildDied(_)));
    assert!(died(client.sample()));
    wait_for_next_try();
    assert!(died(client.sample()), "after the first pause");
    wait_for_next_try();
    assert!(matches!(client.sample(), Err(NvmlFault::Unavailable(_))), "the second pause is longer");
    config.program = "/nowhere/assay-agent".into();
    assert!(matches!(Client::new(config).sample(), Err(NvmlFault::Spawn(_))));
}

#[test]
fn a_child_that_answers_garbage_is_replaced() {
    let mut config = config(library());
    config.program = "/bin/sh".into();
    config.args = ["-c", "printf '\\377\\377\\377\\377' >&0; sleep 5"].map(Into::into).to_vec();
    let mut client = Client::new(config);
    assert!(matches!(client.sample(), Err(NvmlFault::TooLong { .. })));
    assert!(matches!(client.status(), GpuStatus::Failed { .. }));
}

/// Replays a made-up report, and has one of these faults.
fn replaying(folder: &Path, fault: &str) -> ClientConfig {
    let text = include_str!("../../../tests/nvml-sim/scenarios/lost-gpu.toml");
    let text = text.split("[[fault]]").next().unwrap();
    let (first, rest) = text.split_once("[[gpu]]").unwrap();
    let fault =
        if fault.is_empty() { String::new() } else { format!("[[fault]]\nkind = \"{fault}\"\ngpu = 0\n") };
    let keys = "report = \"report.hex\"\nchain = \"chain.pem\"\n";
    let text = format!("{first}[[gpu]]\n{keys}{rest}\n{fault}");
    std::fs::write(folder.join("scenario.toml"), text).unwrap();
    std::fs::write(folder.join("report.hex"), "11e001ff\n").unwrap();
    std::fs::write(folder.join("chain.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let mut config = config(library());
    config.env.push((SCENARIO_ENV.into(), folder.join("scenario.toml").into()));
    config
}

fn patient(config: ClientConfig) -> Client {
    Client::new(ClientConfig { deadline: Duration::from_secs(5), ..config })
}

#[test]
fn a_gpu_gives_its_report_and_its_neighbour_supports_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = patient(replaying(folder.path(), ""));
    let attested = client.attest(0, &[7; 32]).unwrap();
    assert!(attested.simulated, "the simulation says that it is one");
    assert_eq!(attested.architecture, Fact::Value("Hopper".into()));
    assert_eq!(attested.evidence(), Ok((&[0x11, 0xe0, 0x01, 0xff][..], "-----BEGIN CERTIFICATE-----\n")));
    let neighbour = client.attest(1, &[7; 32]).unwrap();
    assert_eq!((&neighbour.report, &neighbour.chain), (&Fact::NotSupported, &Fact::NotSupported));
    let nobody = client.attest(200, &[7; 32]).unwrap();
    assert!(matches!(nobody.report, Fact::Error(_)), "{nobody:?}");
}

#[test]
fn a_report_or_a_chain_larger_than_its_buffer_is_an_error_of_that_gpu() {
    for (fault, report) in [("absurd-report-size", true), ("absurd-chain-size", false)] {
        let folder = tempfile::tempdir().unwrap();
        let mut client = patient(replaying(folder.path(), fault));
        let attested = client.attest(0, &[7; 32]).unwrap();
        let struck = if report { attested.report.map(|_| ()) } else { attested.chain.clone().map(|_| ()) };
        assert!(matches!(&struck, Fact::Error(why) if why.contains("4294967288")), "{struck:?}");
        assert!(client.attest(1, &[7; 32]).is_ok(), "the child lives on");
        assert_eq!(client.status(), GpuStatus::Ready);
    }
}

#[test]
fn a_report_that_never_comes_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = Client::new(replaying(folder.path(), "hanging-report"));
    assert!(matches!(client.attest(0, &[7; 32]), Err(NvmlFault::Hung(DEADLINE))));
    assert!(matches!(client.attest(1, &[7; 32]), Err(NvmlFault::Unavailable(_))), "its pause is not over");
    wait_for_next_try();
    assert!(client.sample().is_ok(), "a new child answers again");
}

/// Asks a child without a client, as its dead parent would have.
fn ask_sample(socket: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let request = br#"{"question":"sample","give_up_s":1}"#;
    socket.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes())?;
    socket.write_all(request)?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let mut reply = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    socket.read_exact(&mut reply)?;
    Ok(reply)
}

#[test]
fn a_hung_child_without_a_parent_ends_itself() {
    let config = scenario("one-gpu-hang");
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(&config.program);
    command.args(&config.args).envs(config.env).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    assert!(ask_sample(&mut ours).unwrap().starts_with(b"{\"samples\""));
    std::thread::sleep(Duration::from_millis(1_000));
    assert!(ask_sample(&mut ours).is_err());
    assert!(child.wait().unwrap().to_string().contains("SIGALRM"));
}

#[test]
fn a_child_that_drips_does_not_stretch_the_deadline() {
    let mut config = config(library());
    config.program = "/bin/sh".into();
    config.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    let script = "printf '\\000\\000\\001\\000' >&0; while printf x >&0; do sleep 0.1; done";
    config.args = ["-c", script].map(Into::into).to_vec();
    let asked = Instant::now();
    assert!(matches!(Client::new(config).sample(), Err(NvmlFault::Hung(DEADLINE))));
    assert!(asked.elapsed() < DEADLINE * 2, "{:?}", asked.elapsed());
}

#[test]
fn the_child_has_no_environment_but_its_own() {
    let mut config = config(library());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    config.program = "/bin/sh".into();
    config.args = ["-c".into(), format!("export -p >{}", file.display()).into()].to_vec();
    assert!(matches!(Client::new(config).sample(), Err(NvmlFault::ChildDied(_))));
    let variables = std::fs::read_to_string(file).unwrap();
    assert!(variables.contains(CHILD_ENV) && !variables.contains("HOME"), "{variables}");
}

#[test]
fn dropping_the_client_ends_the_child() {
    let mut config = config(library());
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    config.program = "/bin/sh".into();
    config.args = ["-c".into(), format!("echo $$ >{}; exec sleep 60", pid_file.display()).into()].to_vec();
    config.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    let mut client = Client::new(config);
    assert!(matches!(client.sample(), Err(NvmlFault::Hung(_))));
    drop(client);
    let pid = std::fs::read_to_string(pid_file).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}
