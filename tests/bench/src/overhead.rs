//! What the sandbox takes from a job that only computes.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use assay_demo::image;
use assay_sandbox::{JobFile, Sandbox, SandboxConfig};

/// Pairs of runs; odd, so that one is the median.
const ROUNDS: usize = 31;
/// About two seconds of one core, in a shell's loop: system calls at its ends only.
const SCRIPT: &str = "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done";

/// Median of (inside / outside) over pairs that alternate in order, with the order statistics that
/// enclose it at 95 % confidence.
///
/// # Errors
/// Where a job cannot be run.
pub(crate) fn cpu_bound(jailer: &Path) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let image = image::make_image(&dir.path().join("image")).map_err(io::Error::other)?;
    let config =
        SandboxConfig { jailer: Some(jailer.to_owned()), ..SandboxConfig::new(dir.path().join("state")) };
    let sandbox = Sandbox::new(config).map_err(io::Error::other)?;
    let job = format!(
        "[job]\nimage = \"{image}\"\ncommand = [\"/bin/sh\", \"-c\", '{SCRIPT}']\n[job.resources]\nlimits = \"rlimit\"\n"
    );
    let job = JobFile::parse(job.as_bytes()).map_err(io::Error::other)?;
    let inside = || -> io::Result<Duration> {
        let start = Instant::now();
        let ended = sandbox.run(&job, &[], &AtomicBool::new(false), &|_| ()).map_err(io::Error::other)?;
        if ended.exit.is_success() { Ok(start.elapsed()) } else { Err(io::Error::other("the job failed")) }
    };
    inside()?;
    let mut ratios = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let (ours, plain) = match round % 2 {
            0 => (inside()?, outside()?),
            _ => {
                let plain = outside()?;
                (inside()?, plain)
            }
        };
        ratios.push(100.0 * (ours.as_secs_f64() / plain.as_secs_f64() - 1.0));
    }
    ratios.sort_by(f64::total_cmp);
    let at = |rank: usize| ratios.get(rank).copied().unwrap_or_default();
    // Ranks 10 and 22 of 31 enclose the median with 97 %: the binomial distribution's tails below 1.5 % each.
    println!(
        "{:<34} {:>14} {:>14}          95 % interval {:.2} to {:.2} %, {ROUNDS} pairs",
        "CPU-bound job, slower by",
        format!("{:.2} %", at(ROUNDS / 2)),
        "0.5 %",
        at(9),
        at(21)
    );
    Ok(())
}

/// The same shell and loop without a sandbox.
fn outside() -> io::Result<Duration> {
    let start = Instant::now();
    let status = Command::new("/bin/busybox").args(["sh", "-c", SCRIPT]).stdin(Stdio::null()).status()?;
    if status.success() { Ok(start.elapsed()) } else { Err(io::Error::other("the loop failed")) }
}
