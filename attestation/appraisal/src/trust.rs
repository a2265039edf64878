//! The trust file: whom a verifier believes. Nothing verifies without one.

use std::collections::{BTreeMap, BTreeSet};

use assay_wire::{Digest, Network, VerifyingKey};
use serde::Deserialize;

/// A trust or policy file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not TOML, an unknown key, a missing key or a value of the wrong type.
    #[error("{file}: {detail}")]
    Parse {
        /// `trust file` or `policy`.
        file: &'static str,
        /// What the parser says, with line and column.
        detail: String,
    },
    /// A value that parses and makes no sense.
    #[error("{file}: {field}: {detail}")]
    Value {
        /// `trust file` or `policy`.
        file: &'static str,
        /// The key.
        field: String,
        /// What is wrong with it.
        detail: &'static str,
    },
}

/// A validator whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedValidator {
    /// Its name.
    pub name: String,
    /// Who runs it; receipts of one operator count once.
    pub operator: String,
    /// Its Ed25519 key.
    pub key: VerifyingKey,
}

/// Whom a verifier believes, and the network's public parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The network that signatures are made for.
    pub network: Network,
    /// Name of the policy that applies when none is named.
    pub policy: String,
    /// Validators by id.
    pub validators: BTreeMap<Digest, TrustedValidator>,
    /// How many operators must have receipted a record: t of n.
    pub receipt_threshold: usize,
    /// Length of a beacon round, which is an anchor slot, in ms.
    pub beacon_period_ms: u64,
    /// Probability that a slot is an anchor slot, in thousandths.
    pub anchor_per_mille: u32,
    /// Nodes whose EK the verifier vouches for by hand.
    pub pinned_nodes: BTreeSet<Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    schema: u32,
    policy: String,
    network: NetworkSection,
    #[serde(default)]
    validator: Vec<ValidatorSection>,
    #[serde(default)]
    pinned: Vec<PinnedSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkSection {
    id: String,
    receipt_threshold: usize,
    beacon_period_ms: u64,
    anchor_per_mille: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidatorSection {
    name: String,
    operator: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinnedSection {
    node: String,
    #[serde(rename = "note", default)]
    _note: String,
}

const FILE: &str = "trust file";

fn value(field: impl Into<String>, detail: &'static str) -> TrustError {
    TrustError::Value { file: FILE, field: field.into(), detail }
}

impl Trust {
    /// Reads a trust file.
    ///
    /// # Errors
    /// [`TrustError`] names the key; unknown keys are refused.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let file: TrustFile =
            toml::from_str(text).map_err(|e| TrustError::Parse { file: FILE, detail: e.to_string() })?;
        if file.schema != 1 {
            return Err(value("schema", "this version reads schema 1"));
        }
        let validators = validators(&file.validator)?;
        let operators = validators.values().map(|v| &v.operator).collect::<BTreeSet<_>>().len();
        let network = network(&file.network, operators)?;
        let pinned = file.pinned.iter().map(|p| {
            Digest::from_hex(&p.node).ok_or_else(|| value("pinned.node", "not 64 hexadecimal digits"))
        });
        Ok(Self {
            network,
            policy: file.policy,
            validators,
            receipt_threshold: file.network.receipt_threshold,
            beacon_period_ms: file.network.beacon_period_ms,
            anchor_per_mille: file.network.anchor_per_mille,
            pinned_nodes: pinned.collect::<Result<_, _>>()?,
        })
    }

    /// Believed keys by validator id.
    pub fn keys(&self) -> BTreeMap<Digest, VerifyingKey> {
        self.validators.iter().map(|(id, v)| (*id, v.key)).collect()
    }

    /// How many different operators there are: the n of t of n.
    pub fn operators(&self) -> usize {
        self.validators.values().map(|v| &v.operator).collect::<BTreeSet<_>>().len()
    }

    /// The file's text; [`Trust::parse`] reads it back to the same value.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "# Whom a verifier of this network believes. Hand it to everyone who checks proofs.\n\
             schema = 1\n# The policy that applies when none is named: development, open or strict.\n\
             policy = {}\n\n[network]\nid = {}\n\
             # A record counts when this many different operators have receipted it.\nreceipt_threshold = {}\n\
             # Length of a beacon round, which is an anchor slot.\nbeacon_period_ms = {}\n\
             # Chance that a slot asks a node for an anchor, in thousandths.\nanchor_per_mille = {}\n",
            quoted(&self.policy),
            quoted(self.network.id()),
            self.receipt_threshold,
            self.beacon_period_ms,
            self.anchor_per_mille,
        );
        for validator in self.validators.values() {
            text.push_str(&format!(
                "\n[[validator]]\nname = {}\noperator = {}\nkey = \"{}\"\n",
                quoted(&validator.name),
                quoted(&validator.operator),
                hex::encode(validator.key.0),
            ));
        }
        for node in &self.pinned_nodes {
            text.push_str(&format!("\n# Vouched for by hand: identity I1.\n[[pinned]]\nnode = \"{node}\"\n"));
        }
        text
    }
}

/// A TOML string; Rust's escapes are others.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn network(section: &NetworkSection, operators: usize) -> Result<Network, TrustError> {
    if section.id.is_empty() || section.id.len() > 64 || !section.id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(value("network.id", "1 to 64 printable ASCII characters without spaces"));
    }
    if section.receipt_threshold == 0 || section.receipt_threshold > operators {
        return Err(value("network.receipt_threshold", "between 1 and the number of different operators"));
    }
    if !(1_000..=3_600_000).contains(&section.beacon_period_ms) {
        return Err(value("network.beacon_period_ms", "between 1000 and 3600000"));
    }
    if section.anchor_per_mille > 1000 {
        return Err(value("network.anchor_per_mille", "between 0 and 1000"));
    }
    Ok(Network::new(&section.id))
}

fn validators(sections: &[ValidatorSection]) -> Result<BTreeMap<Digest, TrustedValidator>, TrustError> {
    let mut validators = BTreeMap::new();
    for section in sections {
        let key = Digest::from_hex(&section.key)
            .ok_or_else(|| value("validator.key", "not 64 hexadecimal digits"))?;
        let key = VerifyingKey(key.0);
        let (name, operator) = (section.name.clone(), section.operator.clone());
        if operator.is_empty() {
            return Err(value("validator.operator", "empty"));
        }
        if validators.insert(key.validator_id(), TrustedValidator { name, operator, key }).is_some() {
            return Err(value("validator.key", "the same key twice"));
        }
    }
    if validators.is_empty() {
        return Err(value("validator", "at least one is needed"));
    }
    Ok(validators)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
schema = 1
policy = "development"
[network]
id = "demo"
receipt_threshold = 1
beacon_period_ms = 5000
anchor_per_mille = 250
[[validator]]
name = "v1"
operator = "me"
key = "0101010101010101010101010101010101010101010101010101010101010101"
[[pinned]]
node = "0202020202020202020202020202020202020202020202020202020202020202"
"#;

    #[test]
    fn a_good_file_reads_and_writes_back() {
        let trust = Trust::parse(GOOD).unwrap();
        assert_eq!(trust.operators(), 1);
        assert_eq!(trust.keys().len(), 1);
        assert_eq!(Trust::parse(&trust.to_toml()), Ok(trust));
    }

    #[test]
    fn names_of_any_characters_write_back() {
        let name = GOOD.replace("\"v1\"", r#""\u0086\u0000\n\"\\ \u007f'""#);
        let trust = Trust::parse(&name).unwrap();
        assert_eq!(Trust::parse(&trust.to_toml()), Ok(trust));
    }

    #[test]
    fn wrong_files_are_refused_by_name() {
        let field = |from: &str, to: &str| match Trust::parse(&GOOD.replace(from, to)) {
            Err(TrustError::Value { field, .. }) => field,
            other => panic!("{to}: {other:?}"),
        };
        assert_eq!(field("schema = 1", "schema = 2"), "schema");
        assert_eq!(field("\"demo\"", "\"\""), "network.id");
        assert_eq!(field("receipt_threshold = 1", "receipt_threshold = 0"), "network.receipt_threshold");
        assert_eq!(field("receipt_threshold = 1", "receipt_threshold = 2"), "network.receipt_threshold");
        assert_eq!(field("5000", "10"), "network.beacon_period_ms");
        assert_eq!(field("250", "1001"), "network.anchor_per_mille");
        assert_eq!(field("0101", "01"), "validator.key");
        assert_eq!(field("\"me\"", "\"\""), "validator.operator");
        assert_eq!(field("0202", "02"), "pinned.node");
        let twice =
            format!("{GOOD}{}", &GOOD[GOOD.find("[[validator]]").unwrap()..GOOD.find("[[pinned]]").unwrap()]);
        assert!(
            matches!(Trust::parse(&twice), Err(TrustError::Value { field, .. }) if field == "validator.key")
        );
        let unknown = Trust::parse(&format!("surprise = 1\n{GOOD}")).unwrap_err();
        assert!(unknown.to_string().contains("surprise"), "{unknown}");
        let nobody = &GOOD[..GOOD.find("[[validator]]").unwrap()];
        assert!(Trust::parse(nobody).is_err());
    }
}
