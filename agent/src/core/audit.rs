//! The sandbox's audit, once before this core's first job.
//!
//! A node on which something forbidden was not stopped takes no job, and says so as the health
//! item [`CODE`]. Neither does one whose audit could not be made: that says nothing for the
//! walls. It is tried again with the next job.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use assay_sandbox::Sandbox;
use assay_sandbox::audit::Audit;
use tokio::sync::oneshot;

use super::answer::Answer;
use super::error::chain;
use super::node::Node;
use super::status::Severity;

/// Code of the health item.
const CODE: &str = "sandbox.audit";

/// What this machine's audit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every wall stood.
    Passed,
    /// Something was not stopped, in one line.
    Failed(String),
    /// It could not be made or did not end, and why.
    Inconclusive(String),
}

impl Verdict {
    fn of(audit: Result<Audit, String>) -> Self {
        let audit = match audit {
            Ok(audit) => audit,
            Err(text) => return Self::Inconclusive(text),
        };
        let open: Vec<_> = audit.failures().map(|attempt| attempt.name).collect();
        match open.is_empty() {
            true => Self::Passed,
            false => Self::Failed(format!("not stopped in a job: {}", open.join(", "))),
        }
    }

    /// Whether it holds for this core's later jobs, too.
    fn stands(&self) -> bool {
        !matches!(self, Self::Inconclusive(_))
    }

    /// Why no job may run, if that is so.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::Passed => None,
            Self::Failed(text) => Some(text.clone()),
            Self::Inconclusive(text) => Some(format!("the sandbox could not be audited: {text}")),
        }
    }
}

/// Refuses the job on a machine that failed its audit, or could not be audited.
pub(super) async fn check(node: &Rc<Node>, sandbox: &Arc<Sandbox>) -> Result<(), Answer> {
    let known = node.jobs.borrow().audited.clone();
    let verdict = match known {
        Some(verdict) => verdict,
        None => {
            let verdict = Verdict::of(run(Arc::clone(sandbox)).await);
            if verdict.stands() {
                node.jobs.borrow_mut().audited = Some(verdict.clone());
            }
            match verdict.refusal() {
                None => node.clear(CODE),
                Some(text) => node.raise(CODE, Severity::Error, text),
            }
            verdict
        }
    };
    verdict.refusal().map_or(Ok(()), |text| Err(Answer::refused(CODE, text)))
}

async fn run(sandbox: Arc<Sandbox>) -> Result<Audit, String> {
    let (sender, audit) = oneshot::channel();
    // The jailer dies with the thread that started it.
    let body = move || {
        // Core's tasks outlive its audit.
        let _ = sender.send(sandbox.audit().map_err(|error| chain(&error)));
    };
    let thread = thread::Builder::new().name("audit".to_owned());
    thread.spawn(body).map_err(|error| format!("no thread for it: {error}"))?;
    audit.await.unwrap_or_else(|_| Err("its thread ended without a result".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_audit_that_passed_lets_jobs_run() {
        let none = Verdict::of(Err("no probe".into()));
        assert!(none.refusal().unwrap().contains("no probe") && !none.stands());
        let failed = Verdict::Failed("mount".into());
        assert!(failed.refusal().is_some() && failed.stands());
        assert!(Verdict::Passed.refusal().is_none() && Verdict::Passed.stands());
    }
}
