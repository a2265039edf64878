//! Decoders of the jailer's library, on any bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::Write;

use assay_jailer::attempts::Record;
use assay_jailer::plan::{Bind, Ids, Logs, PLAN_VERSION, Plan, Rlimits, Secret};
use assay_jailer::report::Report;
use assay_jailer::ring;
use proptest::prelude::*;

fn plan() -> Plan {
    Plan {
        version: PLAN_VERSION,
        supervisor: 1,
        layers: vec!["/layer".into()],
        ids: Ids::Range { base: 1 << 20 },
        uid: 0,
        gid: 0,
        argv: vec!["/bin/true".into()],
        env: vec!["A=1".into()],
        cwd: "/".into(),
        hostname: "job".into(),
        outputs: vec!["/out".into()],
        scratch_bytes: 1,
        scratch_inodes: 1,
        timeout_ms: 1,
        logs: Logs { stdout: "/o".into(), stderr: "/e".into(), limit_bytes: 1 },
        rlimits: Rlimits {
            processes: 1,
            open_files: 1,
            file_bytes: 1,
            cpu_seconds: 1,
            data_bytes: None,
            address_space_bytes: None,
        },
        cgroup: None,
        binds: vec![Bind { source: "/in".into(), target: "/in".into(), writable: false }],
        secrets: vec![Secret { name: "key".into(), value_hex: "00ff".into() }],
        #[cfg(feature = "broken-walls")]
        without: vec![],
    }
}

/// A plan with some bytes changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let text = serde_json::to_vec(&plan()).unwrap();
    let changes = prop::collection::vec((0..text.len(), any::<u8>()), 0..6);
    changes.prop_map(move |changes| {
        let mut text = text.clone();
        changes.into_iter().for_each(|(at, byte)| text[at] = byte);
        text
    })
}

proptest! {
    /// What is accepted says the same when it is written again, and breaks no rule.
    #[test]
    fn a_plan_is_read_one_way(text in mutated()) {
        if let Ok(plan) = serde_json::from_slice::<Plan>(&text)
            && plan.validate().is_ok()
        {
            let again = serde_json::to_vec(&plan).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Plan>(&again).unwrap(), plan);
        }
    }

    #[test]
    fn reports_and_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = serde_json::from_slice::<Report>(&bytes);
        let _ = serde_json::from_slice::<Record>(&bytes);
    }

    /// A ring that is read has no more than its file, whatever its header says.
    #[test]
    fn a_ring_is_bounded_by_its_file(
        capacity in prop_oneof![0..300u64, any::<u64>()],
        written in prop_oneof![0..900u64, any::<u64>()],
        data in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut file = tempfile::tempfile().unwrap();
        let words = [capacity.to_le_bytes(), written.to_le_bytes(), [0; 8]].concat();
        file.write_all(&[&ring::MAGIC[..], &words, &data].concat()).unwrap();
        if let Ok(tail) = ring::read(&file) {
            prop_assert!(tail.bytes.len() <= data.len());
            prop_assert_eq!(tail.start + tail.bytes.len() as u64, tail.written);
        }
    }
}
