//! CoRIMs: other makers' reference values, as far as they hold measurements.

use assay_boot::Release;
use assay_boot::corim::{
    Comid, Corim, CorimTag, CryptoKey, DigestAlg, Identifier, Measurement, MeasurementKey, Profile,
    RELEASE_PROFILE, Svn, TagId, Triple,
};
use serde_json::{Value, json};

use super::command::{Inspected, Undecodable};
use super::manifest::{release_json, release_page};
use super::page::{Page, Table};
use crate::civil;

/// Reads an unsigned CoRIM; one of the release profile also as the release that it is.
pub(super) fn inspect(bytes: &[u8]) -> Result<Inspected, Undecodable> {
    let corim = Corim::parse(bytes)?;
    let release = corim.has_profile(RELEASE_PROFILE).then(|| Release::from_corim(bytes)).transpose()?;
    let validity = corim.validity.map(|validity| {
        let time = |seconds: u64| civil::format(seconds.saturating_mul(1_000));
        json!({ "not_before": validity.not_before.map(time), "not_after": time(validity.not_after) })
    });
    let json = json!({
        "schema": 1,
        "format": "corim",
        "id": tag_id(&corim.id),
        "profile": corim.profile.as_ref().map(profile),
        "validity": validity,
        "tags": corim.tags.iter().map(tag_json).collect::<Vec<_>>(),
        "release": release.as_ref().map(release_json),
    });
    let mut page = Page::new("a CoRIM, not signed");
    page.fact("id", tag_id(&corim.id));
    page.fact("profile", corim.profile.as_ref().map_or_else(|| "none".to_owned(), profile));
    match &release {
        Some(release) => release_page(release, &mut page),
        None => corim_page(&corim, &mut page),
    }
    Ok(Inspected { json, page, good: true })
}

fn corim_page(corim: &Corim, page: &mut Page) {
    let mut table = Table::new(&["tag", "kind", "key", "values"]);
    for (nth, tag) in corim.tags.iter().enumerate() {
        let CorimTag::Comid(comid) = tag else { continue };
        for (kind, triples) in [("reference", &comid.reference), ("endorsed", &comid.endorsed)] {
            let measurements = triples.iter().flat_map(|triple| &triple.measurements);
            table.rows.extend(measurements.map(|measurement| {
                let digests = measurement.values.digests.iter();
                let digests =
                    digests.map(|digest| format!("{} {}", alg(&digest.alg), hex::encode(&digest.value)));
                let key = measurement.key.as_ref().map(measurement_key).unwrap_or_default();
                vec![nth.to_string(), kind.to_owned(), key, digests.collect::<Vec<_>>().join(", ")]
            }));
        }
    }
    page.fact("tags", corim.tags.len());
    page.table(table);
}

fn tag_json(tag: &CorimTag) -> Value {
    match tag {
        CorimTag::Comid(comid) => comid_json(comid),
        CorimTag::Other(tag, content) => json!({ "tag": tag, "bytes": content.len() }),
    }
}

fn comid_json(comid: &Comid) -> Value {
    let triples = |list: &[Triple]| list.iter().map(triple_json).collect::<Vec<_>>();
    let keys = comid.attest_keys.iter().flat_map(|triple| &triple.keys).map(key_json);
    json!({
        "tag": 506,
        "id": tag_id(&comid.id),
        "version": comid.version,
        "reference": triples(&comid.reference),
        "endorsed": triples(&comid.endorsed),
        "attest_keys": keys.collect::<Vec<_>>(),
    })
}

fn triple_json(triple: &Triple) -> Value {
    let class = triple.environment.class.as_ref();
    json!({
        "class": class.and_then(|class| class.id.as_ref()).map(identifier),
        "vendor": class.and_then(|class| class.vendor.clone()),
        "model": class.and_then(|class| class.model.clone()),
        "instance": triple.environment.instance.as_ref().map(identifier),
        "measurements": triple.measurements.iter().map(measurement_json).collect::<Vec<_>>(),
    })
}

fn measurement_json(measurement: &Measurement) -> Value {
    let values = &measurement.values;
    let digests = values
        .digests
        .iter()
        .map(|digest| json!({ "alg": alg(&digest.alg), "value": hex::encode(&digest.value) }));
    json!({
        "key": measurement.key.as_ref().map(measurement_key),
        "name": values.name,
        "version": values.version,
        "svn": values.svn.as_ref().map(svn),
        "digests": digests.collect::<Vec<_>>(),
    })
}

fn key_json(key: &CryptoKey) -> Value {
    match key {
        CryptoKey::PkixBase64Key(pem) => json!({ "spki_pem": pem }),
        CryptoKey::Other(tag) => json!({ "tag": tag }),
    }
}

fn uuid(bytes: &[u8; 16]) -> String {
    let hex = hex::encode(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
    parts.join("-")
}

fn tag_id(id: &TagId) -> String {
    match id {
        TagId::Text(text) => text.clone(),
        TagId::Uuid(bytes) => uuid(bytes),
    }
}

fn profile(profile: &Profile) -> String {
    match profile {
        Profile::Uri(uri) => uri.clone(),
        Profile::Oid(oid) => format!("oid {}", hex::encode(oid)),
    }
}

fn identifier(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Uuid(bytes) => uuid(bytes),
        Identifier::Oid(oid) => format!("oid {}", hex::encode(oid)),
        Identifier::Ueid(bytes) => format!("ueid {}", hex::encode(bytes)),
        Identifier::Bytes(bytes) => hex::encode(bytes),
        Identifier::Other(tag) => format!("tag {tag}"),
    }
}

fn measurement_key(key: &MeasurementKey) -> String {
    match key {
        MeasurementKey::Uint(number) => number.to_string(),
        MeasurementKey::Text(text) => text.clone(),
        MeasurementKey::Uuid(bytes) => uuid(bytes),
        MeasurementKey::Oid(oid) => format!("oid {}", hex::encode(oid)),
    }
}

fn svn(svn: &Svn) -> Value {
    match svn {
        Svn::Exact(number) => json!({ "exact": number }),
        Svn::Minimum(number) => json!({ "minimum": number }),
    }
}

/// Named Information Hash Algorithm Registry.
fn alg(alg: &DigestAlg) -> String {
    match alg {
        DigestAlg::Id(1) => "sha-256".to_owned(),
        DigestAlg::Id(7) => "sha-384".to_owned(),
        DigestAlg::Id(8) => "sha-512".to_owned(),
        DigestAlg::Id(id) => id.to_string(),
        DigestAlg::Name(name) => name.clone(),
    }
}
