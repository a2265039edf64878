//! A 300 MB image from a registry on loopback: fetched, checked and unpacked.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use assay_demo::image;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};

use crate::row;

/// Turns of each.
const ROUNDS: usize = 5;
/// Files in the image's large layer, and bytes of each: half of them random, so that they compress to half.
const FILES: usize = 300;
const FILE_BYTES: usize = 1 << 20;

/// A registry that ends with the benchmark.
struct Registry {
    process: Child,
    authority: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `assay-agent job run` of `true` on an image that is not there yet, against `skopeo copy` and `umoci unpack`.
///
/// # Errors
/// Where an image cannot be made, or one of the programs fails; without docker-registry, skopeo and umoci it is
/// left out and said.
pub(crate) fn pull_and_unpack(agent: &Path) -> io::Result<()> {
    let missing = ["docker-registry", "skopeo", "umoci"].into_iter().find(|tool| !is_there(tool));
    if let Some(tool) = missing {
        println!("  left out: pull and unpack: no {tool}");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let layout = make_image(dir)?;
    let registry = Registry::start(dir)?;
    let remote = format!("{}/bench:v1", registry.authority);
    let copy = ["--insecure-policy", "copy", "--dest-tls-verify=false"];
    succeed(Command::new("skopeo").args(copy).args([&layout, &format!("docker://{remote}")]))?;
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        ours.push(timed(|| run_job(agent, dir, &registry.authority, &remote), &dir.join("ours"))?);
        theirs.push(timed(|| copy_and_unpack(dir, &remote), &dir.join("theirs"))?);
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(ROUNDS / 2).copied().unwrap_or_default()
    };
    row(&format!("300 MB pulled, unpacked, {ROUNDS} runs"), median(&mut ours), median(&mut theirs), "s");
    Ok(())
}

/// Seconds of `work`, which starts from an empty `folder`.
fn timed(work: impl FnOnce() -> io::Result<()>, folder: &Path) -> io::Result<f64> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir(folder)?;
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn run_job(agent: &Path, dir: &Path, authority: &str, remote: &str) -> io::Result<()> {
    let state = dir.join("ours");
    let root = state.display();
    let config = format!(
        "[node]\nstate_dir = \"{root}/state\"\nruntime_dir = \"{root}/run\"\n[tpm]\nbackend = \"{root}/none\"\n\
         [gpu]\nenabled = false\n[sandbox.images]\ntags = true\ninsecure_registries = [\"{authority}\"]\n"
    );
    let job = format!(
        "[job]\nimage = \"{remote}\"\ncommand = [\"/bin/true\"]\n[job.resources]\nlimits = \"rlimit\"\n"
    );
    fs::write(state.join("agent.toml"), config)?;
    fs::write(state.join("job.toml"), job)?;
    let mut command = Command::new(agent);
    command.arg("--config").arg(state.join("agent.toml")).args(["job", "run"]);
    succeed(command.arg(state.join("job.toml")))
}

fn copy_and_unpack(dir: &Path, remote: &str) -> io::Result<()> {
    let layout = dir.join("theirs/layout");
    let copy = ["--insecure-policy", "copy", "--src-tls-verify=false"];
    let target = format!("oci:{}:v1", layout.display());
    succeed(Command::new("skopeo").args(copy).args([&format!("docker://{remote}"), &target]))?;
    let image = format!("{}:v1", layout.display());
    succeed(Command::new("umoci").args(["unpack", "--image", &image]).arg(dir.join("theirs/bundle")))
}

/// The demo's image with a large layer on top; its reference for skopeo.
fn make_image(dir: &Path) -> io::Result<String> {
    let layout = dir.join("layout");
    image::make_image(&layout).map_err(io::Error::other)?;
    let data = dir.join("data");
    fs::create_dir(&data)?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut bytes = vec![0; FILE_BYTES];
    for number in 0..FILES {
        random.fill_bytes(bytes.get_mut(..FILE_BYTES / 2).unwrap_or_default());
        fs::write(data.join(format!("{number:03}")), &bytes)?;
    }
    let image = format!("{}:{}", layout.display(), image::TAG);
    succeed(Command::new("umoci").args(["insert", "--image", &image]).arg(&data).arg("/data"))?;
    Ok(format!("oci:{image}"))
}

impl Registry {
    fn start(dir: &Path) -> io::Result<Self> {
        let authority = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let config: PathBuf = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {authority}\n",
            dir.join("store").display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new("docker-registry");
        let process =
            command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let registry = Self { process, authority };
        for _ in 0..200 {
            if TcpStream::connect(&registry.authority).is_ok() {
                return Ok(registry);
            }
            sleep(Duration::from_millis(50));
        }
        Err(io::Error::other("docker-registry does not answer"))
    }
}

fn is_there(tool: &str) -> bool {
    let asked = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok()
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let done = command.stdin(Stdio::null()).output()?;
    let said = || format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim());
    if done.status.success() { Ok(()) } else { Err(io::Error::other(said())) }
}
