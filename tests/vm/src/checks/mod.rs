//! The checks, in their order.

pub(crate) mod ends;
pub(crate) mod limits;
pub(crate) mod places;

use assay_sandbox::Sandbox;

use crate::tap::Tap;
use crate::world::{config, job, residue, run};

/// Runs all of them.
pub(crate) fn all() {
    let mut tap = Tap::default();
    let sandbox = Sandbox::new(config("state")).unwrap();
    tap.check("a job runs", || {
        let done = run(&sandbox, &job("true", "", "")).unwrap();
        assert!(done.exit.is_success(), "{done:?}");
    });
    let before = residue();
    places::support(&mut tap);
    places::audit(&mut tap, &sandbox);
    limits::all(&mut tap, &sandbox);
    ends::all(&mut tap, &sandbox);
    places::all(&mut tap);
    tap.check("nothing is left of any of them", || assert_eq!(residue(), before));
    tap.plan();
}
