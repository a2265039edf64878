//! Real documents, as `cases.json` of the data folder judges them.

use std::path::{Path, PathBuf};

use assay_gpu::device::{Architecture, HoldPolicy, Report, Roots};
use assay_gpu::rim::{Rim, compare};
use assay_validator::civil;
use assay_validator::rim::{Examined, examine};
use base64ct::{Base64, Encoding as _};
use serde_json::Value;

/// The folder of GPU data, and what it says of itself.
pub fn data() -> Option<(PathBuf, Value)> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("ASSAY_DATA").map_or_else(default, PathBuf::from).join("gpu");
    let Ok(cases) = std::fs::read(folder.join("cases.json")) else {
        eprintln!("SKIPPED: no {}", folder.join("cases.json").display());
        return None;
    };
    Some((folder, serde_json::from_slice(&cases).unwrap()))
}

fn list<'a>(cases: &'a Value, name: &str) -> &'a [Value] {
    cases[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn seconds(time: &Value) -> i64 {
    i64::try_from(civil::parse(time.as_str().unwrap()).unwrap() / 1000).unwrap()
}

/// Every document, its case and what was found.
pub fn examined() -> Vec<(PathBuf, Value, Examined)> {
    let Some((folder, cases)) = data() else { return vec![] };
    let roots = Roots::nvidia();
    let one = |case: &Value| {
        let path = folder.join(case["file"].as_str().unwrap());
        let examined = examine(&std::fs::read(&path).unwrap(), roots.rim()).unwrap();
        (path, case.clone(), examined)
    };
    list(&cases, "rims").iter().map(one).collect()
}

#[test]
fn every_document_is_judged_as_its_case_says() {
    for (path, case, examined) in examined() {
        let name = path.display();
        assert_eq!(
            examined.signature.is_ok(),
            case["expected"]["signature"],
            "{name}: {:?}",
            examined.signature
        );
        assert_eq!(examined.chain.is_ok(), case["expected"]["chain"], "{name}: {:?}", examined.chain);
        assert_eq!(examined.claim.rows.len(), case["active_rows"], "{name}");
        assert!(examined.in_force(seconds(&case["time"])), "{name}");
        let ends = Value::from(format!("{}T00:00:00Z", case["leaf_valid"][1].as_str().unwrap()));
        assert!(!examined.in_force(seconds(&ends) + 2 * 86_400), "{name}");
        let believed = examined.signature.is_ok() && examined.chain.is_ok();
        match examined.rim(None) {
            Ok(rim) => assert_eq!((believed, rim.check()), (true, Ok(())), "{name}"),
            Err(why) => assert!(!believed, "{name}: {why}"),
        }
    }
}

#[test]
fn under_another_root_none_is_believed() {
    let Some((folder, cases)) = data() else { return };
    let (own, nvidia) = (crate::world::World::new(), Roots::nvidia());
    for case in list(&cases, "rims") {
        let bytes = std::fs::read(folder.join(case["file"].as_str().unwrap())).unwrap();
        for root in [own.root.der.as_slice(), nvidia.device(), b""] {
            assert!(examine(&bytes, root).unwrap().rim(None).is_err());
        }
    }
}

#[test]
fn measurements_are_compared_as_their_cases_say() {
    let Some((folder, cases)) = data() else { return };
    let roots = Roots::nvidia();
    for case in list(&cases, "measurements") {
        let named = |cases: &Value, list_name: &str, key: &str, name: &Value| {
            list(cases, list_name).iter().find(|one| one[key] == *name).cloned().unwrap()
        };
        let of = named(&cases, "cases", "name", &case["case"]);
        let document = named(&cases, "rims", "file", &case["rim"]);
        let bytes = std::fs::read(folder.join(document["file"].as_str().unwrap())).unwrap();
        let rim = examine(&bytes, roots.rim()).unwrap().rim(None).unwrap();
        let report = report(&folder, &of);
        let architecture = Architecture::from_word(of["arch"].as_str().unwrap()).unwrap();
        let found = compare(&report, architecture, &[rim], seconds(&document["time"]), HoldPolicy::default());
        let mismatched: Vec<Value> = found.mismatched_rows().into_iter().map(Value::from).collect();
        assert_eq!(found.compared(), case["compared"], "{case}");
        assert_eq!(&Value::from(mismatched.clone()), &case["mismatched_rows"], "{case}");
        assert_eq!(found.result(), Some(mismatched.is_empty()), "{case}: {}", found.reason());
    }
}

/// A case's report: a file of hex, or an entry of a bundle.
fn report(folder: &Path, case: &Value) -> Report {
    let file = |name: &Value| std::fs::read(folder.join(name.as_str().unwrap())).unwrap();
    let bytes = match case.get("report") {
        Some(name) => hex::decode(String::from_utf8(file(name)).unwrap().trim()).unwrap(),
        None => {
            let bundle: Value = serde_json::from_slice(&file(&case["bundle"])).unwrap();
            let index = usize::try_from(case["index"].as_u64().unwrap()).unwrap();
            Base64::decode_vec(bundle[index]["evidence"].as_str().unwrap()).unwrap()
        }
    };
    Report::parse(&bytes).unwrap()
}

/// All documents at hand together: those that say different things of one version stay a contradiction.
#[test]
fn reports_against_all_documents_at_once() {
    let Some((folder, cases)) = data() else { return };
    let all: Vec<Rim> =
        examined().into_iter().filter_map(|(_, _, examined)| examined.rim(None).ok()).collect();
    for case in
        list(&cases, "measurements").iter().filter(|case| case["mismatched_rows"] != Value::Array(vec![]))
    {
        let of = list(&cases, "cases").iter().find(|one| one["name"] == case["case"]).unwrap();
        let document = list(&cases, "rims").iter().find(|one| one["file"] == case["rim"]).unwrap();
        let architecture = Architecture::from_word(of["arch"].as_str().unwrap()).unwrap();
        let found = compare(
            &report(&folder, of),
            architecture,
            &all,
            seconds(&document["time"]),
            HoldPolicy::default(),
        );
        assert_eq!(found.result(), Some(false), "{case}: {}", found.reason());
    }
}
