//! Chains that were changed, judged here and by OpenSSL: what OpenSSL refuses is never accepted.
//!
//! OpenSSL is asked as a program would ask it: the first certificate as the leaf, the pinned root as the only
//! anchor, everything else as a heap to build a path from. Ours is stricter in what it takes for evidence, and in
//! nothing else: [`Rule`] says where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::path::Path;
use std::process::Command;

use assay_gpu::device::{Architecture, DeviceChain, Roots};
use assay_x509::der_to_pem;
use world::{Device, Draft, NOW, basic, common, data, key, usage};

/// How far both must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Both accept.
    Good,
    /// Both refuse.
    Bad,
    /// Ours refuses, since the list itself is evidence: five certificates in their order, the root the last.
    List,
    /// Ours refuses, since an authority below the root must say what its key is for (OpenSSL takes no keyUsage
    /// as any).
    Usage,
}

/// A list of certificates, the root that it is judged under, and what must come of it.
struct Chain {
    name: String,
    der: Vec<Vec<u8>>,
    root: Vec<u8>,
    rule: Rule,
}

fn openssl(args: &[&str]) -> bool {
    Command::new("openssl").args(args).output().is_ok_and(|output| output.status.success())
}

impl Chain {
    fn ours(&self) -> bool {
        let roots = Roots::new(self.root.clone(), Vec::new());
        DeviceChain::from_der(&self.der).is_ok_and(|chain| chain.judge(&roots, NOW).is_ok())
    }

    fn theirs(&self, folder: &Path) -> bool {
        let write = |name: &str, list: &[Vec<u8>]| {
            let path = folder.join(name);
            std::fs::write(&path, list.iter().map(|der| der_to_pem(der)).collect::<String>()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let Some((leaf, rest)) = self.der.split_first() else { return false };
        let leaf = write("leaf", std::slice::from_ref(leaf));
        let root = write("root", std::slice::from_ref(&self.root));
        let rest = write("rest", rest);
        openssl(&["verify", "-attime", &NOW.to_string(), "-CAfile", &root, "-untrusted", &rest, &leaf])
    }

    fn judge(&self, folder: &Path) {
        let (ours, theirs) = (self.ours(), self.theirs(folder));
        assert!(theirs || !ours, "{}: accepted here and refused by OpenSSL", self.name);
        match self.rule {
            Rule::Good => assert!(ours && theirs, "{}: {ours} {theirs}", self.name),
            Rule::Bad => assert!(!ours && !theirs, "{}: {ours} {theirs}", self.name),
            Rule::List | Rule::Usage => assert!(!ours, "{}", self.name),
        }
    }
}

/// One good list and the ways to take it apart; `other` is a root that it does not end in.
fn rearranged(name: &str, good: &[Vec<u8>], (root, other): (&[u8], &[u8])) -> Vec<Chain> {
    let chain = |what: String, der: Vec<Vec<u8>>, rule| {
        let name = format!("{name}: {what}");
        Chain { name, der, root: root.to_vec(), rule }
    };
    let mut all = vec![chain("as it is".into(), good.to_vec(), Rule::Good)];
    for at in 0..good.len() {
        let without = [&good[..at], &good[at + 1..]].concat();
        all.push(chain(format!("without {at}"), without, Rule::List));
        let twice = [&good[..=at], &good[at..]].concat();
        all.push(chain(format!("{at} twice"), twice, Rule::List));
        for other in 0..at {
            let mut swapped = good.to_vec();
            swapped.swap(at, other);
            all.push(chain(format!("{other} and {at} swapped"), swapped, Rule::List));
        }
    }
    let reversed = good.iter().rev().cloned().collect();
    all.push(chain("reversed".into(), reversed, Rule::List));
    let foreign = [&good[..good.len() - 1], &[other.to_vec()]].concat();
    all.push(chain("with another root last".into(), foreign.clone(), Rule::List));
    for (what, der) in [("under another root", good), ("and with it last", &foreign)] {
        all.push(Chain { root: other.to_vec(), ..chain(what.into(), der.to_vec(), Rule::Bad) });
    }
    all
}

/// A bit in some bytes of each certificate below the root, of which each is signed or a signature.
fn flipped(name: &str, good: &[Vec<u8>], root: &[u8]) -> Vec<Chain> {
    let places = |index: usize| (0..good[index].len()).step_by(61).map(move |at| (index, at));
    let flip = |(index, at): (usize, usize)| {
        let mut der = good.to_vec();
        der[index][at] ^= 1 << (at % 8);
        Chain { name: format!("{name}: {index} at {at}"), der, root: root.to_vec(), rule: Rule::Bad }
    };
    (0..good.len() - 1).flat_map(places).map(flip).collect()
}

fn all_hold(chains: &[Chain]) {
    if !openssl(&["version"]) {
        println!("SKIPPED: no openssl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    chains.iter().for_each(|chain| chain.judge(folder.path()));
}

/// Chains of real devices, one of each architecture.
fn real() -> Vec<(String, Vec<Vec<u8>>)> {
    let Some(folder) = data() else { return Vec::new() };
    let cases = std::fs::read(folder.join("cases.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_slice(&cases).unwrap();
    let mut seen = Vec::new();
    let mut read = |case: &serde_json::Value| {
        let holds = case["expected"]["chain"] == true && !seen.contains(&case["arch"]);
        let text = std::fs::read_to_string(folder.join(case["chain"].as_str().filter(|_| holds)?)).unwrap();
        seen.push(case["arch"].clone());
        Some((case["name"].to_string(), DeviceChain::from_pem(&text).unwrap().der()))
    };
    cases["cases"].as_array().unwrap().iter().filter_map(&mut read).collect()
}

#[test]
fn real_chains_that_were_changed() {
    let (roots, other) = (Roots::nvidia(), world::roots());
    let mut chains = Vec::new();
    for (name, good) in real() {
        chains.extend(rearranged(&name, &good, (roots.device(), other.device())));
        chains.extend(flipped(&name, &good, roots.device()));
    }
    all_hold(&chains);
}

/// A made-up device with one certificate changed.
fn changed(name: &str, at: usize, rule: Rule, change: impl FnOnce(&mut Draft)) -> Chain {
    let mut device = Device::new(Architecture::Hopper, 7);
    let root = device.chain()[4].clone();
    change(&mut device.certificates[at]);
    Chain { name: name.into(), der: device.chain(), root, rule }
}

#[test]
fn made_up_chains_with_one_thing_changed() {
    let good = Device::new(Architecture::Hopper, 7).chain();
    let mut chains = rearranged("made up", &good, (&good[4], Roots::nvidia().device()));
    for at in 1..4_usize {
        // So many authorities may stand below, and so many do.
        for (allowed, rule) in [(at - 1, Rule::Good), (at, Rule::Good), (at.wrapping_sub(2), Rule::Bad)] {
            let Ok(allowed) = u8::try_from(allowed) else { continue };
            let limit =
                move |draft: &mut Draft| draft.extensions = vec![basic(true, Some(allowed)), usage(5)];
            chains.push(changed(&format!("{at} allows {allowed} below"), at, rule, limit));
        }
        let plain = |draft: &mut Draft| draft.extensions = vec![basic(false, None), usage(5)];
        chains.push(changed("no authority", at, Rule::Bad, plain));
        let signs = |draft: &mut Draft| draft.extensions = vec![basic(true, None), usage(0)];
        chains.push(changed("a key for data", at, Rule::Bad, signs));
        let unsaid = |draft: &mut Draft| draft.extensions = vec![basic(true, None)];
        chains.push(changed("no keyUsage", at, Rule::Usage, unsaid));
    }
    for at in 0..4 {
        chains.push(changed("over", at, Rule::Bad, |draft| draft.not_after = "200102000000Z"));
        chains.push(changed("not yet", at, Rule::Bad, |draft| draft.not_before = "490101000000Z"));
        chains.push(changed("another issuer", at, Rule::Bad, |draft| draft.issuer = common("somebody")));
        let mut der = good.clone();
        der[at] = Device::new(Architecture::Hopper, 7).certificates[at].sign(&key(99));
        chains.push(Chain { name: format!("{at} forged"), der, root: good[4].clone(), rule: Rule::Bad });
    }
    all_hold(&chains);
}
