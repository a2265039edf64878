//! The workaround for firmware that measures its last actions after it has given the log away
//! ([`crate::Quirk::ExitBootServicesMissing`]).

use crate::{EventLog, HashAlg};

/// The PCR that the actions are measured into (PFP 1.06, section 3.3.4.6).
pub(crate) const PCR: u8 = 5;

const INVOCATION: &str = "Exit Boot Services Invocation";
const SUCCESS: &str = "Exit Boot Services Returned with Success";
const FAILURE: &str = "Exit Boot Services Returned with Failure";

/// What may be missing: the call may fail once before it succeeds, and be given up.
const VARIANTS: [&[&str]; 3] =
    [&[INVOCATION, SUCCESS], &[INVOCATION, FAILURE], &[INVOCATION, FAILURE, SUCCESS]];

impl EventLog {
    /// Whether the log has the call of ExitBootServices, by data and not by type.
    pub(crate) fn has_exit_boot_services(&self) -> bool {
        self.extended().any(|event| event.pcr == u32::from(PCR) && event.data == INVOCATION.as_bytes())
    }
}

/// PCR 5 at the end of the firmware's log, and what was extended after the missing actions.
pub(crate) struct ExitBootServices<'a> {
    pub(crate) alg: HashAlg,
    pub(crate) before: &'a [u8],
    pub(crate) rest: &'a [&'a [u8]],
}

impl ExitBootServices<'_> {
    /// The actions that lead to a quoted value.
    pub(crate) fn variant_that_leads_to(&self, seen: &[u8]) -> Option<&'static [&'static str]> {
        VARIANTS.into_iter().find(|actions| self.with(actions).as_deref() == Some(seen))
    }

    fn with(&self, actions: &[&str]) -> Option<Vec<u8>> {
        let mut value = self.before.to_vec();
        for action in actions {
            let digest = self.alg.hash(&[action.as_bytes()])?;
            value = self.alg.hash(&[&value, &digest])?;
        }
        for digest in self.rest {
            value = self.alg.hash(&[&value, digest])?;
        }
        Some(value)
    }
}
