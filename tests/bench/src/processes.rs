//! What our processes cost a node with eight GPUs sampled once a second.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use assay_demo::DemoError;
use assay_demo::world::{Pace, World, scenarios};

use crate::row;

/// How long CPU time is counted.
const WINDOW: Duration = Duration::from_secs(60);

/// PSS and CPU of run, core, link and nvml together, over TLS to a validator on loopback.
pub(crate) fn footprint() -> Result<(), DemoError> {
    let dir = tempfile::tempdir().map_err(|source| DemoError::WriteFile { path: "bench".into(), source })?;
    let pace = Pace {
        beat_ms: 60_000,
        sample_ms: 1_000,
        beacon_period_ms: 60_000,
        anchor_per_mille: 50,
        scenario: Some(scenarios().join("h100x8.toml")),
        real_parts: false,
    };
    let mut world = World::start(dir.path(), pace)?;
    world.start_agent()?;
    world.wait_for_beats(1, Duration::from_secs(120))?;
    sleep(Duration::from_secs(5));
    let pids = family(world.agent_pid().unwrap_or_default());
    let (before, start) = (cpu_ticks(&pids), Instant::now());
    sleep(WINDOW);
    let seconds = (cpu_ticks(&pids).saturating_sub(before)) as f64 / ticks_per_second();
    let share = 100.0 * seconds / start.elapsed().as_secs_f64();
    let pss: u64 = pids.iter().map(|pid| pss_kib(*pid)).sum();
    row("PSS, our processes", pss as f64 * 1024.0 / 1e6, 20.0, "MB");
    row("CPU, our processes, of one core", share, 0.5, "%");
    for pid in &pids {
        println!("  {:<32} {:>10} KiB", command(*pid), pss_kib(*pid));
    }
    Ok(())
}

/// A process and everything that any of its threads started.
fn family(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<u32> = children
        .flat_map(|c| c.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
        .collect();
    std::iter::once(pid).chain(pids.into_iter().flat_map(family)).collect()
}

fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let known = ["run", "core", "link", "nvml"];
    let name = words.iter().find(|word| known.contains(&word.as_str()));
    let program = words
        .first()
        .map(|first| Path::new(first).file_name().unwrap_or_default().to_string_lossy().into_owned());
    format!("{} {}", program.unwrap_or_default(), name.map_or("", String::as_str))
}

/// Proportional set size (proc(5), smaps_rollup).
fn pss_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// User and system time of every thread, in clock ticks (proc(5), stat fields 14 and 15).
fn cpu_ticks(pids: &[u32]) -> u64 {
    let ticks = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    pids.iter().filter_map(ticks).sum()
}

fn ticks_per_second() -> f64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|t| u32::try_from(t).ok()).map_or(100.0, f64::from)
}
