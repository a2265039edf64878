//! Delivery: each validator gets every record once, in order, and says so.
//!
//! What was sent and not acknowledged is sent again, byte for byte; a validator takes
//! an identical record as the one it has. The cursor moves only when its receipts are
//! stored, in one transaction.

use std::rc::Rc;
use std::time::Duration;

use assay_ledger::protocol::Refusal;
use tokio::time::sleep;

use super::client::{ExchangeFault, Validator};
use super::error::chain;
use super::node::Node;
use super::status::Severity;
use crate::ledger::{Delivery, LedgerError};

/// First pause after a failed delivery; doubled by each failure that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A ledger that cannot be read is asked again after this.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// Delivers to one validator, forever.
pub(super) async fn deliver(node: Rc<Node>, index: usize) {
    let Some(validator) = node.validators.get(index) else { return };
    let mut stored = node.stored.subscribe();
    let mut pause = FIRST_PAUSE;
    loop {
        stored.mark_unchanged();
        let outbox = node.ledger.borrow().outbox(&validator.id);
        match outbox {
            Ok(None) => {
                if stored.changed().await.is_err() {
                    return;
                }
            }
            Ok(Some(delivery)) => match step(&node, validator, index == 0, &delivery).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(fault) => {
                    log::debug!("delivery to {}: {fault}", validator.name);
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
            Err(error) => {
                node.raise("ledger.failed", Severity::Error, chain(&error));
                sleep(LEDGER_PAUSE).await;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum StepFault {
    #[error("{0}")]
    Exchange(#[from] ExchangeFault),
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

/// One exchange; an error is one that is worth trying again.
async fn step(node: &Node, validator: &Validator, first: bool, delivery: &Delivery) -> Result<(), StepFault> {
    let (count, receipts, refusal) = match validator.deliver(&node.port, delivery).await {
        Ok(delivered) => (delivered.count, delivered.receipts, delivered.refusal),
        Err(fault) => match fault.final_refusal() {
            Some(refusal) => (0, Vec::new(), Some(refusal.clone())),
            None => return Err(fault.into()),
        },
    };
    if let Some(last) = count.checked_sub(1).and_then(|at| delivery.records.get(at)) {
        let stored = node.ledger.borrow_mut().acknowledge(&validator.id, first, last.ord, &receipts);
        node.watch_ledger(stored)?;
    }
    match refusal {
        Some(refusal) => refused(node, validator, first, delivery, &refusal)?,
        None if first => node.clear("validator.refused"),
        None => {}
    }
    node.delivered.send_replace(());
    Ok(())
}

/// Asking again would bring the same answer: this validator gets nothing more of the session.
fn refused(
    node: &Node,
    validator: &Validator,
    first: bool,
    delivery: &Delivery,
    refusal: &Refusal,
) -> Result<(), LedgerError> {
    let Refusal { code, message } = refusal;
    let session = &delivery.session;
    log::warn!("validator {} refused session {}: {code}: {message}", validator.name, session.short());
    let stored = node.ledger.borrow_mut().refuse_session(&validator.id, session, code, message);
    node.watch_ledger(stored)?;
    if !first {
        let text = format!("validator {}: {code}: {message}", validator.name);
        node.raise("validator.secondary-refused", Severity::Warning, text);
        return Ok(());
    }
    let reopened = ["session.unknown", "session.closed"].contains(&code.as_str());
    let severity = if reopened { Severity::Info } else { Severity::Error };
    node.raise("validator.refused", severity, format!("validator {}: {code}: {message}", validator.name));
    if code.starts_with("enrolment.") {
        let forgotten = node.ledger.borrow_mut().forget_enrolment(&validator.id);
        node.watch_ledger(forgotten)?;
    }
    let open = node.session.borrow().as_ref().is_some_and(|open| open.id == *session);
    if open {
        node.lost.notify_one();
    }
    Ok(())
}
