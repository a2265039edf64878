//! The sandbox's audit, once before this core's first job.
//!
//! A node on which something forbidden was not stopped takes no job, and says so
//! as the health item [`CODE`]. An audit that could not be run is an item, too.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use assay_sandbox::Sandbox;
use tokio::sync::oneshot;

use super::answer::Answer;
use super::error::chain;
use super::node::Node;
use super::status::Severity;

/// Code of the health item.
const CODE: &str = "sandbox.audit";

/// Refuses the job on a machine that failed its audit.
pub(super) async fn check(node: &Rc<Node>, sandbox: &Arc<Sandbox>) -> Result<(), Answer> {
    let known = node.jobs.borrow().audited.clone();
    let refusal = match known {
        Some(refusal) => refusal,
        None => {
            let refusal = run(node, Arc::clone(sandbox)).await;
            node.jobs.borrow_mut().audited = Some(refusal.clone());
            refusal
        }
    };
    refusal.map_or(Ok(()), |text| Err(Answer::refused(CODE, text)))
}

/// Why no job may run here, if that is so.
async fn run(node: &Rc<Node>, sandbox: Arc<Sandbox>) -> Option<String> {
    let (sender, verdict) = oneshot::channel();
    // The jailer dies with the thread that started it.
    let body = move || {
        // Core's tasks outlive its audit.
        let _ = sender.send(sandbox.audit().map_err(|error| chain(&error)));
    };
    if let Err(error) = thread::Builder::new().name("audit".to_owned()).spawn(body) {
        node.raise(CODE, Severity::Warning, format!("no thread for the sandbox's audit: {error}"));
        return None;
    }
    match verdict.await {
        Ok(Ok(audit)) => {
            let open: Vec<_> = audit.failures().map(|attempt| attempt.name).collect();
            if open.is_empty() {
                node.clear(CODE);
                return None;
            }
            let text = format!("not stopped in a job: {}; see assay-agent doctor --sandbox", open.join(", "));
            node.raise(CODE, Severity::Error, text.clone());
            Some(text)
        }
        Ok(Err(text)) => {
            node.raise(CODE, Severity::Warning, format!("the sandbox could not be audited: {text}"));
            None
        }
        Err(_) => None,
    }
}
