//! Checks of this node's set-up: configuration, agent, state, validators, clock.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Check, Mark, Source};
use crate::{
    cli::error::CliError,
    config::{Config, Node},
    core::status::Status,
};

/// Nothing of ours is older: 2025-01-01T00:00:00Z in Unix seconds.
const EARLIEST: u64 = 1_735_689_600;
/// 2100-01-01T00:00:00Z: a clock past it was never set.
const LATEST: u64 = 4_102_444_800;

pub(super) fn config(source: Source<'_>) -> Check {
    let path = source.path.display();
    match source.found {
        true => Check::good("config.file", format!("{path} is well formed")),
        false => Check::new("config.file", Mark::Note, format!("no {path}: the defaults are in force"))
            .next(format!("assay-agent --print-config > {path}")),
    }
}

pub(super) fn agent(answer: &Result<Status, CliError>) -> Check {
    const CODE: &str = "agent.running";
    match answer {
        Ok(status) => Check::good(CODE, format!("it answers; {} beats in this session", status.seq)),
        Err(error) => {
            let mark = if matches!(error, CliError::NoDaemon { .. }) { Mark::Warning } else { Mark::Failed };
            Check { next: error.hint(), ..Check::new(CODE, mark, error.line()) }
        }
    }
}

/// Whose the node is, and what vouches for its TPM; nothing where no agent answers.
pub(super) fn identity(node: &Node, daemon: Option<&Status>) -> Vec<Check> {
    let owner = match &node.owner {
        Some(owner) => Check::good("node.owner", format!("it belongs to {}", hex::encode(owner.0))),
        None => {
            Check::new("node.owner", Mark::Note, "no owner is named: its firmware never counts for others")
                .next("assay-agent owner new FILE, and name the key it prints as node.owner")
        }
    };
    let certificate = daemon.filter(|status| status.node.is_some()).map(|status| {
        const CODE: &str = "identity.certificate";
        let source = crate::cli::status::certificate(status.certificate.as_deref());
        match status.certificate {
            Some(_) => Check::good(CODE, format!("the endorsement key's certificate is {source}")),
            None => {
                Check::new(CODE, Mark::Note, "no endorsement certificate: I0, or I1 where the key is pinned")
                    .next("assay-agent enrol --ek-cert FILE")
            }
        }
    });
    [owner].into_iter().chain(certificate).collect()
}

pub(super) fn state_dir(node: &Node) -> Check {
    const CODE: &str = "node.state-dir";
    let dir = &node.state_dir;
    if !dir.exists() {
        // The agent makes it, if it can write to what is there of the path.
        let parent = dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir);
        return match writable(parent) {
            Ok(()) => Check::new(
                CODE,
                Mark::Note,
                format!("{} is not there yet; the agent makes it", dir.display()),
            ),
            Err(error) => {
                let text = format!(
                    "{} is not there, and {} cannot be written: {error}",
                    dir.display(),
                    parent.display()
                );
                Check::failed(CODE, text, format!("as root: install -d -m 700 -o USER {}", dir.display()))
            }
        };
    }
    match writable(dir) {
        Ok(()) => Check::good(CODE, format!("{} is writable", dir.display())),
        Err(error) => Check::failed(
            CODE,
            format!("{} cannot be written: {error}", dir.display()),
            "run this as the agent's user, or look for a full or read-only disk",
        ),
    }
}

/// Writes a file of our own, all the way to the disk, and removes it.
fn writable(dir: &Path) -> io::Result<()> {
    let probe = dir.join(format!(".doctor.{}", std::process::id()));
    let written = File::create_new(&probe).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    match fs::remove_file(&probe) {
        Err(error) if written.is_ok() => Err(error),
        _ => written,
    }
}

pub(super) fn validators(config: &Config, daemon: Option<&Status>) -> Vec<Check> {
    const CODE: &str = "validator.reachable";
    if config.validator.is_empty() {
        let none = Check::new(
            "validator.configured",
            Mark::Warning,
            "no validator is configured: nothing is proven to anyone",
        );
        return vec![none.next("add a [[validator]] table with the keys that assay-validator init printed")];
    }
    let Some(status) = daemon else {
        let names: Vec<&str> = config.validator.iter().map(|one| one.name.as_str()).collect();
        let text =
            format!("{} configured; link tells whether they answer, and it is not running", names.join(", "));
        return vec![Check::new(CODE, Mark::Note, text)];
    };
    let check = |one: &crate::core::status::ValidatorStatus| match one.connected {
        true => Check::good(CODE, format!("{} answers; {} records to deliver", one.name, one.unsent)),
        false => Check::failed(
            CODE,
            format!("{} does not answer; {} records wait", one.name, one.unsent),
            "check url and tls_spki in its [[validator]] table, and the way out of this network",
        ),
    };
    status.validators.iter().map(check).collect()
}

pub(super) fn clock() -> Check {
    judge_clock(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn judge_clock(unix_s: u64) -> Check {
    const CODE: &str = "clock.plausible";
    let text = crate::cli::units::utc(unix_s.saturating_mul(1000));
    match (EARLIEST..LATEST).contains(&unix_s) {
        true => Check::good(CODE, format!("it is {text}")),
        false => {
            Check::failed(CODE, format!("the clock says {text}"), "set the clock: timedatectl set-ntp true")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::status::ValidatorStatus;

    #[test]
    fn a_clock_that_was_never_set_is_a_failure() {
        assert_eq!(judge_clock(0).mark, Mark::Failed);
        assert_eq!(judge_clock(EARLIEST).mark, Mark::Good);
        assert_eq!(judge_clock(LATEST).mark, Mark::Failed);
    }

    #[test]
    fn an_agent_that_cannot_be_asked_is_worse_than_none() {
        let none = Err(CliError::NoDaemon { socket: "/run/x".into() });
        assert_eq!(agent(&none).mark, Mark::Warning);
        let closed = Err(CliError::Connect {
            socket: "/run/x".into(),
            source: io::ErrorKind::PermissionDenied.into(),
        });
        assert!(agent(&closed).mark == Mark::Failed && agent(&closed).next.is_some());
        assert_eq!(agent(&Ok(Status::default())).mark, Mark::Good);
    }

    #[test]
    fn owner_and_certificate_are_told_where_known() {
        let marks = |node: &Node, status: Option<&Status>| {
            identity(node, status).into_iter().map(|check| check.mark).collect::<Vec<_>>()
        };
        let owned = Node { owner: Some(assay_wire::VerifyingKey([1; 32])), ..Node::default() };
        assert_eq!(marks(&Node::default(), None), [Mark::Note]);
        assert_eq!(marks(&owned, Some(&Status::default())), [Mark::Good]);
        let bare = Status { node: Some("ab".into()), ..Status::default() };
        assert_eq!(marks(&owned, Some(&bare)), [Mark::Good, Mark::Note]);
        let certified = Status { certificate: Some("tpm".into()), ..bare };
        assert_eq!(marks(&owned, Some(&certified)), [Mark::Good, Mark::Good]);
    }

    #[test]
    fn the_state_directory_is_tried_and_left_clean() {
        let dir = tempfile::tempdir().unwrap();
        let node = Node { state_dir: dir.path().into(), ..Node::default() };
        assert_eq!(state_dir(&node).mark, Mark::Good);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = Node { state_dir: dir.path().join("none"), ..Node::default() };
        assert_eq!(state_dir(&missing).mark, Mark::Note);
        let nowhere = Node { state_dir: "/proc/none/state".into(), ..Node::default() };
        assert!(state_dir(&nowhere).next.is_some_and(|next| next.contains("/proc/none/state")));
        let no_directory = Node { state_dir: "/dev/null".into(), ..Node::default() };
        assert_eq!(state_dir(&no_directory).mark, Mark::Failed);
    }

    #[test]
    fn a_validator_that_link_cannot_reach_is_a_failure() {
        let key = "ab".repeat(32);
        let text = format!(
            "[[validator]]\nname = \"one\"\nurl = \"https://a\"\nkey = \"{key}\"\ntls_spki = \"{key}\"\n"
        );
        let config = Config::parse(&text).unwrap();
        let marks = |config: &Config, status: Option<&Status>| {
            validators(config, status).into_iter().map(|check| check.mark).collect::<Vec<_>>()
        };
        assert_eq!(marks(&Config::default(), None), [Mark::Warning]);
        assert_eq!(marks(&config, None), [Mark::Note]);
        let mut status = Status::default();
        for connected in [true, false] {
            status.validators.push(ValidatorStatus { name: "one".into(), connected, unsent: 0 });
        }
        assert_eq!(marks(&config, Some(&status)), [Mark::Good, Mark::Failed]);
    }
}
