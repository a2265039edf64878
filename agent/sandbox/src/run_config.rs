//! What of an image's configuration is honoured (image-spec 1.1, config.md):
//! environment, entry point, command, user and working directory.
//!
//! Volumes, ports, labels, health checks and stop signals are not: a job's shape is
//! the job file's. Nothing here is looked at outside of the job; the variables by
//! which container runtimes let an image choose devices are dropped, so that they
//! cannot be mistaken for a grant inside either.

use oci_spec::image::{Arch, ImageConfiguration, Os};

use crate::error::SandboxError;

/// Variables by which images ask for devices.
const DEVICE_VARIABLES: [&str; 3] =
    ["NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_VISIBLE_DEVICES"];
/// Most entries in each list.
const ENTRIES_MAX: usize = 512;
/// Most bytes in one string, well below the kernel's 128 KiB (`MAX_ARG_STRLEN`, execve(2)).
const STRING_MAX: usize = 32 << 10;
/// Most bytes in all strings together.
const TOTAL_MAX: usize = 256 << 10;
/// Most bytes in a working directory.
const CWD_MAX: usize = 4095;
/// Most bytes in a user.
const USER_MAX: usize = 256;

/// What an image says about running it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunConfig {
    /// `Entrypoint` and then `Cmd`.
    pub argv: Vec<String>,
    /// `Env`, `KEY=value`, without the variables by which images ask for devices.
    pub env: Vec<String>,
    /// `WorkingDir`; `/` if it has none.
    pub cwd: String,
    /// `User`, as written.
    pub user: String,
}

/// Takes what is honoured, and refuses what could not be run or is absurdly large.
pub(crate) fn run_config(config: &ImageConfiguration) -> Result<RunConfig, SandboxError> {
    let refuse = |rule: &str| Err(SandboxError::image("config", rule));
    if *config.os() != Os::Linux || *config.architecture() != Arch::Amd64 {
        return refuse("is not for linux/amd64");
    }
    let Some(run) = config.config() else {
        return Ok(RunConfig { cwd: "/".to_owned(), ..RunConfig::default() });
    };
    let list = |items: &Option<Vec<String>>| items.clone().unwrap_or_default();
    let cwd = run.working_dir().clone().filter(|d| !d.is_empty()).unwrap_or_else(|| "/".to_owned());
    let result = RunConfig {
        argv: [list(run.entrypoint()), list(run.cmd())].concat(),
        env: list(run.env()),
        cwd,
        user: run.user().clone().unwrap_or_default(),
    };
    let strings = || result.argv.iter().chain(&result.env).chain([&result.cwd, &result.user]);
    if strings().any(|s| s.contains('\0')) || !result.cwd.starts_with('/') {
        return refuse("holds a NUL or a relative working directory");
    }
    let counts = result.argv.len().max(result.env.len()) > ENTRIES_MAX;
    let total = strings().fold(0usize, |sum, s| sum.saturating_add(s.len()));
    let lengths = strings().any(|s| s.len() > STRING_MAX) || total > TOTAL_MAX;
    if counts || lengths || result.cwd.len() > CWD_MAX || result.user.len() > USER_MAX {
        return refuse("has a command, environment, directory or user of absurd size");
    }
    Ok(RunConfig { env: result.env.into_iter().filter(|e| !asks_for_devices(e)).collect(), ..result })
}

fn asks_for_devices(entry: &str) -> bool {
    let name = entry.split('=').next().unwrap_or_default();
    DEVICE_VARIABLES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(run: Value) -> Result<RunConfig, String> {
        let config = json!({"architecture": "amd64", "os": "linux", "config": run,
                            "rootfs": {"type": "layers", "diff_ids": []}});
        run_config(&serde_json::from_value(config).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn devices_are_not_asked_for_and_other_variables_stay() {
        let env = json!([
            "NVIDIA_VISIBLE_DEVICES=all",
            "NVIDIA_DRIVER_CAPABILITIES=all",
            "LD_PRELOAD=/x.so",
            "CUDA_VISIBLE_DEVICES",
            "CUDA_VISIBLE_DEVICES_X=1",
            "A=NVIDIA_VISIBLE_DEVICES=1"
        ]);
        let run = parse(json!({"Env": env})).unwrap();
        assert_eq!(run.env, ["LD_PRELOAD=/x.so", "CUDA_VISIBLE_DEVICES_X=1", "A=NVIDIA_VISIBLE_DEVICES=1"]);
    }

    #[test]
    fn entry_point_comes_before_command() {
        let run = parse(json!({"Entrypoint": ["/e", "1"], "Cmd": ["2"], "User": "7:8"})).unwrap();
        assert_eq!(
            (run.argv.join(" ").as_str(), run.user.as_str(), run.cwd.as_str()),
            ("/e 1 2", "7:8", "/")
        );
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let refused = |run: Value| parse(run).unwrap_err().contains("absurd size");
        assert!(refused(json!({"Env": vec!["A=1"; 513]})));
        assert!(refused(json!({"Cmd": vec!["a"; 513]})));
        assert!(refused(json!({"Entrypoint": ["a".repeat(32769)]})));
        assert!(refused(json!({"Env": vec!["A".repeat(32000); 9]})));
        assert!(refused(json!({"WorkingDir": format!("/{}", "d".repeat(4095))})));
        assert!(refused(json!({"User": "u".repeat(257)})));
        assert!(parse(json!({"Env": vec!["A=1"; 512], "User": "u".repeat(256)})).is_ok());
    }
}
