//! Jobs that do what no job may, run so that one can see what stops them.

use std::fs;

use serde_json::Value;

use crate::DemoError;
use crate::world::{World, json};

/// One job of bad manners.
struct Bad {
    name: &'static str,
    script: &'static str,
    timeout: &'static str,
    /// What its end has to be, and what that shows.
    ends: fn(&str) -> bool,
    shows: &'static str,
}

const PROCESSES: u32 = 32;

const BAD: [Bad; 3] = [
    Bad {
        name: "never ends",
        // Deaf to signals, with a child that has left its session.
        script: "trap '' TERM INT HUP; setsid sh -c 'while :; do sleep 1; done' & while :; do sleep 1; done",
        timeout: "2s",
        ends: |state| state == "timed out",
        shows: "time limit; its daemon died with it",
    },
    Bad {
        name: "forks without end",
        script: "i=0; while [ $i -lt 1000 ]; do sleep 30 & i=$((i+1)); done; exit 0",
        timeout: "20s",
        ends: |state| state.starts_with("exit ") && state != "exit 0",
        shows: "process limit of 32",
    },
    Bad {
        name: "looks for a way out",
        // Its exit code is the number of ways that it found.
        script: "n=0; w() { \"$@\" >/dev/null 2>&1 && n=$((n+1)); }
w mount -t tmpfs none /tmp
w mknod /tmp/disk b 8 0
w hostname elsewhere
w nc -w 2 198.51.100.1 80 </dev/null
w dd if=/dev/mem of=/dev/null count=1
w sh -c 'echo 1 > /proc/sys/kernel/sysrq'
w sh -c 'echo x > /sys/kernel/uevent_helper'
w sh -c 'cat /proc/1/environ | grep .'
exit $n",
        timeout: "20s",
        ends: |state| state == "exit 0",
        shows: "8 ways tried: mounts, devices, host name, network, memory, kernel settings, other processes; none worked",
    },
];

/// Runs each and gives a line of the page for it: its name, how it ended, and what that shows.
///
/// # Errors
/// [`DemoError::JobFailed`] where one ended otherwise than by what had to stop it.
pub fn run(world: &World, image: &str, limits: &str) -> Result<Vec<(String, String)>, DemoError> {
    BAD.iter().map(|bad| run_one(world, image, limits, bad)).collect()
}

fn run_one(world: &World, image: &str, limits: &str, bad: &Bad) -> Result<(String, String), DemoError> {
    let file = world.dir().join("bad-job.toml");
    let text = format!(
        "# A job that misbehaves, to see what stops it.\n[job]\nimage = \"{image}\"\n\
         command = [\"/bin/sh\", \"-c\", '''{}''']\ntimeout = \"{}\"\n\n[job.resources]\ncpu = \"1\"\n\
         memory = \"64Mi\"\ndisk = \"16Mi\"\npids = {PROCESSES}\nlimits = \"{limits}\"\n",
        bad.script, bad.timeout
    );
    fs::write(&file, text).map_err(|source| DemoError::WriteFile { path: file.clone(), source })?;
    let ran = json(world.agent_command().args(["job", "run", "--json"]).arg(&file))?;
    let state = ran.get("state").and_then(Value::as_str).unwrap_or_default();
    let wall_ms = ran.get("wall_ms").and_then(Value::as_u64).unwrap_or_default();
    if !(bad.ends)(state) {
        return Err(DemoError::JobFailed { said: format!("the job that {}: {ran}", bad.name) });
    }
    Ok((bad.name.to_owned(), format!("{state} after {wall_ms} ms: {}", bad.shows)))
}
