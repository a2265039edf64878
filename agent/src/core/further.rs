//! Enrolment with the validators beside the first one, each at its own pace.
//!
//! Every record is of the same EK and AK, and a session's evidence carries those in force: a verifier
//! may ask for more than one. A validator that is away is asked again later and holds up nobody.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use assay_attester::Identity;
use assay_wire::{Digest, VerifyingKey};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::client::Validator;
use super::enrol::{self, Ours};
use super::node::Node;
use super::open::OpenFault;
use super::status::Severity;

/// Most records beside the first validator's in one session's evidence.
const MOST: usize = 8;
/// How long a session that is being opened waits for records that nobody has given yet.
const WAIT: Duration = Duration::from_secs(2);
/// Pauses between two tries to enrol.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The records in force of the validators beside the first one, after a moment for those to come.
pub(super) async fn records(
    node: &Rc<Node>,
    identity: &Arc<Identity>,
    keys: (VerifyingKey, Digest),
) -> Vec<Vec<u8>> {
    // Every first try holds a sender; the channel ends when all of them are over.
    let (trying, mut over) = mpsc::channel::<()>(1);
    for index in 1..node.validators.len() {
        if of(node, identity, index).is_none() && node.enrolling.borrow_mut().insert(index) {
            let (node, identity, trying) = (Rc::clone(node), Arc::clone(identity), trying.clone());
            tokio::task::spawn_local(async move {
                pursue(&node, &identity, index, keys, trying).await;
                node.enrolling.borrow_mut().remove(&index);
            });
        }
    }
    drop(trying);
    let _ = timeout(WAIT, over.recv()).await;
    (1..node.validators.len()).filter_map(|index| of(node, identity, index)).take(MOST).collect()
}

/// A validator's record, if it is ours and in force.
fn of(node: &Node, identity: &Identity, index: usize) -> Option<Vec<u8>> {
    let validator = node.validators.get(index)?;
    let bytes = node.ledger.borrow().enrolment(&validator.id).ok().flatten()?;
    let ours = Ours::of(node, identity);
    enrol::check(&bytes, &validator.key(), &ours).ok().map(|enrolled| enrolled.bytes)
}

/// Tries until the validator has given a record or refused for good.
async fn pursue(
    node: &Rc<Node>,
    identity: &Arc<Identity>,
    index: usize,
    keys: (VerifyingKey, Digest),
    trying: mpsc::Sender<()>,
) {
    let Some(validator) = node.validators.get(index) else { return };
    let mut first = Some(trying);
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt(node, validator, identity, keys).await {
            Ok(()) => {
                log::info!("enrolled with validator {}, too", validator.name);
                if first.as_ref().is_none_or(mpsc::Sender::is_closed) {
                    // Nobody waited for this record: the session's evidence is without it.
                    node.renew("another validator has enrolled this node");
                }
                return;
            }
            Err(fault) if is_final(&fault) => {
                let text = format!("validator {} does not enrol this node: {fault}", validator.name);
                node.raise("validator.secondary-refused", Severity::Warning, text);
                return;
            }
            Err(fault) => log::debug!("enrolling with {}: {fault}", validator.name),
        }
        first = None;
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn is_final(fault: &OpenFault) -> bool {
    match fault {
        OpenFault::Exchange(fault) => fault.final_refusal().is_some(),
        OpenFault::Record(_) => true,
        _ => false,
    }
}

async fn attempt(
    node: &Node,
    validator: &Validator,
    identity: &Identity,
    keys: (VerifyingKey, Digest),
) -> Result<(), OpenFault> {
    let request = enrol::request(node, identity, keys);
    let bytes = enrol::enrol(validator, &node.port, &node.tpm, &request).await?;
    enrol::check(&bytes, &validator.key(), &Ours::of(node, identity)).map_err(OpenFault::Record)?;
    let stored = node.ledger.borrow_mut().set_enrolment(&validator.id, &bytes);
    node.watch_ledger(stored)?;
    Ok(())
}
