//! A boot that is a release's, with both logs; and the release.

use std::collections::BTreeMap;

use assay_appraisal::{RELEASE_NETWORK, ReleaseSigner};
use assay_boot::release::{Pcr7Digest, Pcr7Event, PhaseValue};
use assay_boot::write::LogWriter;
use assay_boot::{EventLog, HashAlg, KeyName, Release, SecureBootState, boot_applications};
use assay_demo::simulated_boot::write_log;
use assay_ledger::session::BootLogs;
use assay_wire::{Digest, Envelope, Kind, Network, SigningKey};

use crate::{Chip, Lab, Node, Paper};

/// The command line of the simulated unified kernel image.
const COMMAND_LINE: &str = "ro systemd.import_credentials=no";
const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// The logs of a boot, open to change, and what its TPM was extended with.
#[derive(Debug, Clone)]
pub struct Golden {
    locality: u8,
    events: Vec<(u8, u32, [u8; 32], Vec<u8>)>,
    records: Vec<(u8, String)>,
}

impl Golden {
    /// The simulated firmware's boot, and what systemd measures after it.
    pub fn new() -> Self {
        let log = EventLog::parse(&write_log().unwrap().log).unwrap();
        let event = |event: assay_boot::Event| {
            let digest = event.digests[0].value.as_slice().try_into().unwrap();
            (u8::try_from(event.pcr).unwrap(), event.kind, digest, event.data)
        };
        let phases = PHASES.map(|word| (11, word.to_owned()));
        let machine = (15, format!("machine-id:{}", "0a".repeat(16)));
        let records = phases.into_iter().chain([machine]).collect();
        Self { locality: 0, events: log.events.into_iter().map(event).collect(), records }
    }

    /// The same with a TPM that was started at this locality, and a log that says so.
    #[must_use]
    pub fn at_locality(mut self, locality: u8) -> Self {
        self.locality = locality;
        self
    }

    /// One more event of the firmware's log.
    #[must_use]
    pub fn event(mut self, pcr: u8, kind: u32, data: &[u8]) -> Self {
        self.events.push((pcr, kind, sha256(data), data.to_vec()));
        self
    }

    /// One more record of the userspace log.
    #[must_use]
    pub fn record(mut self, pcr: u8, text: &str) -> Self {
        self.records.push((pcr, text.to_owned()));
        self
    }

    /// How many events the firmware's log has, and how many records the other.
    pub fn len(&self) -> (usize, usize) {
        (self.events.len() + usize::from(self.locality > 0), self.records.len())
    }

    /// Both logs.
    pub fn logs(&self) -> BootLogs {
        let mut writer = LogWriter::new();
        if self.locality > 0 {
            writer.startup_locality(self.locality).unwrap();
        }
        for (pcr, kind, digest, data) in &self.events {
            writer.event(*pcr, *kind, *digest, data).unwrap();
        }
        let records: String = self.records.iter().map(|(pcr, text)| cel_record(*pcr, text)).collect();
        let (firmware, userspace) = (writer.finish(), records.into_bytes());
        BootLogs { firmware: Some(firmware.into()), userspace: Some(userspace.into()), ima: None }
    }

    /// What both logs say was extended, in order.
    pub fn extends(&self) -> Vec<(u8, [u8; 32])> {
        let events = self.events.iter().map(|(pcr, _, digest, _)| (*pcr, *digest));
        events.chain(self.records.iter().map(|(pcr, text)| (*pcr, sha256(text.as_bytes())))).collect()
    }

    /// What a TPM holds that lived through it.
    pub fn pcrs(&self) -> BTreeMap<u8, [u8; 32]> {
        let mut start = [0; 32];
        start[31] = self.locality;
        let mut pcrs = BTreeMap::from([(0, start)]);
        for (pcr, digest) in self.extends() {
            let value: &mut [u8; 32] = pcrs.entry(pcr).or_default();
            *value = sha256(&[*value, digest].concat());
        }
        pcrs
    }

    /// The release of which this boot is a good one.
    pub fn release(&self) -> Release {
        let log = EventLog::parse(self.logs().firmware.as_deref().unwrap()).unwrap();
        let state = SecureBootState::read(&log);
        let kind = |name: KeyName| Pcr7Event::ALL.into_iter().find(|event| event.name() == name.name());
        let keys = state.keys.iter().map(|keys| (kind(keys.name).unwrap(), keys.sha256));
        let authorities = state.authorities.iter().map(|read| (Pcr7Event::Authority, read.sha256));
        let digest = |digest: Option<[u8; 32]>| Digest(digest.unwrap());
        let pcr7 = |(event, sha256)| Pcr7Digest { event, digest: digest(sha256) };
        Release {
            name: "lab-appliance".into(),
            version: "1.0".into(),
            number: 1,
            minimum: 1,
            issued_ms: 1,
            expires_ms: u64::MAX >> 1,
            kernel_boot: vec![PhaseValue { path: PHASES.join(":"), value: Digest(self.pcrs()[&11]) }],
            applications: boot_applications(&log).iter().map(|read| digest(read.sha256)).collect(),
            secure_boot: keys.chain(authorities).map(pcr7).collect(),
            overrides: vec![],
            extensions: vec![],
            root_hash: Digest([1; 32]),
            agent: Digest([2; 32]),
            command_line: Some(COMMAND_LINE.into()),
        }
    }
}

impl Default for Golden {
    fn default() -> Self {
        Self::new()
    }
}

/// One record as systemd writes it (RFC 7464 framing).
pub fn cel_record(pcr: u8, text: &str) -> String {
    let kind = if pcr == 15 { "machine-id" } else { "phase" };
    let digest = Digest(sha256(text.as_bytes()));
    format!(
        "\x1e{{\"pcr\":{pcr},\"digests\":[{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}],\
         \"content_type\":\"systemd\",\"content\":{{\"eventType\":\"{kind}\",\"string\":\"{text}\"}}}}\n"
    )
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    HashAlg::Sha256.hash(&[bytes]).unwrap().try_into().unwrap()
}

impl Node<Chip> {
    /// What runs on the machine extends this boot, and shows its logs.
    pub fn boots(&mut self, golden: &Golden) {
        self.attester.extend(&golden.extends());
        self.logs = golden.logs();
    }
}

impl Node<Paper> {
    /// The boot as hardware of that make would have it.
    pub fn boots(&mut self, golden: &Golden) {
        self.attester.pcrs = golden.pcrs();
        self.logs = golden.logs();
        self.simulated.clear();
    }
}

impl Lab {
    /// A node with a new software TPM in which nothing was measured, enrolled. It does not say that its
    /// log will be a generator's: a liar, or a node whose boot is real.
    pub fn bare_chip(&mut self) -> Option<Node<Chip>> {
        let mut node = Node::new(Chip::bare()?);
        node.simulated.clear();
        let record = self.enrol(&mut node, |_| {}).unwrap();
        node.record = self.sign_record(0, &record);
        Some(node)
    }

    /// A release by a signer whom the lab trusts.
    pub fn publish(&mut self, release: &Release) {
        let key = SigningKey::from_seed(&[77; 32]);
        self.trust.release_signers = vec![ReleaseSigner { name: "lab".into(), key: key.verifying_key() }];
        let kid = key.verifying_key().validator_id();
        let manifest = Envelope::seal(Kind::Release, kid, release, &key, &Network::new(RELEASE_NETWORK));
        self.trust.add_release(&manifest).unwrap();
    }
}
