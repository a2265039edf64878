//! Opening a session: fresh keys, and the TPM's word on them and on this boot.

use assay_attester::{Quoted, Signed};
use assay_gpu::GpuIdentity;
use assay_ledger::session::{
    Attested, BootLogs, Evidence, Head, ImaQuote, PcrValue, SESSION_PCRS, SessionStart, quote_extra_data,
    time_extra_data,
};
use assay_wire::{Digest, Kind, Network};

use super::boot_state::BootState;
use super::client::ExchangeFault;
use super::devices::Reporters;
use super::enrol::Enrolled;
use super::keys::SessionKeys;
use super::session::Session;
use super::tpm::{TpmFault, TpmHandle};
use super::{clock, machine};
use crate::config::Config;
use crate::ledger::LedgerError;

/// Why no session could be opened; asked again later.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenFault {
    /// The TPM's reason.
    #[error("{0}")]
    Tpm(TpmFault),
    /// The validator's, or the way to it.
    #[error("{0}")]
    Exchange(#[from] ExchangeFault),
    /// The ledger's.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The validator signed a record that is not ours.
    #[error("{0}")]
    Record(String),
    /// No random numbers.
    #[error("no random numbers for a key: {0}")]
    Random(getrandom::Error),
}

impl From<getrandom::Error> for OpenFault {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

impl From<TpmFault> for OpenFault {
    fn from(fault: TpmFault) -> Self {
        Self::Tpm(fault)
    }
}

/// What decides what a session says of itself.
pub(super) struct Opening<'a> {
    pub(super) config: &'a Config,
    pub(super) enrolled: &'a Enrolled,
    /// The validator's nonce; zero for a session that no validator asked for.
    pub(super) challenge: Digest,
    /// Envelope hash of the newest beacon.
    pub(super) beacon: Digest,
    pub(super) previous: Option<Head>,
    pub(super) gpus: Vec<GpuIdentity>,
    /// Who signs for those GPUs; nobody where no validator asks.
    pub(super) reporters: Option<Reporters<'a>>,
    pub(super) logs: BootLogs,
    /// What vouches for the IMA log among them.
    pub(super) ima: Option<ImaQuote>,
    /// Further validators' enrolment records.
    pub(super) further: Vec<Vec<u8>>,
}

impl Opening<'_> {
    fn start(&self, keys: &SessionKeys) -> SessionStart {
        SessionStart {
            node: self.enrolled.node,
            enrolment: self.enrolled.hash,
            boot_logs: self.logs.digest(),
            key: keys.sign.verifying_key(),
            sealing_key: keys.sealing_public(),
            challenge: self.challenge,
            beacon: self.beacon,
            mono_ms: clock::boot_ms(),
            previous: self.previous,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            config: self.config.digest(),
            machine: machine::machine(),
            gpus: self.gpus.clone(),
            simulated: machine::simulated(self.config, &self.gpus),
        }
    }

    /// Has the TPM attest the session; returns it with its evidence envelope. Stores and sends nothing.
    pub(super) async fn attest(
        self,
        keys: SessionKeys,
        network: &Network,
        tpm: &TpmHandle,
    ) -> Result<(Session, Vec<u8>), TpmFault> {
        let start = self.start(&keys);
        let id = start.id();
        let (time, quote) = attest(tpm, time_extra_data(&id), quote_extra_data(&id)).await?;
        let pcrs = pcr_values(&quote);
        let devices = match self.reporters {
            Some(reporters) => reporters.collect(&start, &quote.attest).await,
            None => Vec::new(),
        };
        let mut session = Session::new(start.clone(), keys, network.clone());
        session.boot = BootState::of(&time.attest, &quote.attest);
        let evidence = Evidence {
            enrolment: self.enrolled.bytes.clone(),
            session: start,
            quote: attested_quote(quote),
            time: attested(time),
            pcrs,
            logs: self.logs,
            further: self.further.into_iter().map(Into::into).collect(),
            ima: self.ima,
            devices: (!devices.is_empty()).then_some(devices),
        };
        let bytes = session.seal(Kind::Evidence, &evidence);
        Ok((session, bytes))
    }
}

/// GetTime and a quote over the session's PCRs, one right after the other.
pub(super) async fn attest(
    tpm: &TpmHandle,
    over_time: Digest,
    over_quote: Digest,
) -> Result<(Signed, Quoted), TpmFault> {
    tpm.call(move |tpm| Ok((tpm.get_time(&over_time.0)?, tpm.quote(&over_quote.0, &SESSION_PCRS)?))).await
}

/// As it travels.
pub(super) fn attested(signed: Signed) -> Attested {
    Attested { attest: signed.attest, signature: signed.signature }
}

/// As it travels; the PCR values go apart.
pub(super) fn attested_quote(quote: Quoted) -> Attested {
    Attested { attest: quote.attest, signature: quote.signature }
}

pub(super) fn pcr_values(quote: &Quoted) -> Vec<PcrValue> {
    quote.pcr_values.iter().map(|(pcr, value)| PcrValue { pcr: *pcr, value: Digest(*value) }).collect()
}
