//! The connection to one TPM.

use std::{cell::Cell, marker::PhantomData};

use tss_esapi::{
    Context, Error as TssError, WrapperErrorKind,
    constants::tss::{TPM2_LOADED_SESSION_FIRST, TPM2_TRANSIENT_FIRST},
    handles::TpmHandle,
};

use crate::{
    Backend, TpmError,
    backend::Reservation,
    ek::{self, Endorsement},
    error::tss,
    key::wrong_value,
    nv,
};

/// The most bytes that one `TPM2_GetRandom` is asked for: what every TPM gives.
const RANDOM_CHUNK: usize = 32;

/// An open TPM. One command at a time: every method takes `&mut self`, and it is not `Sync`.
///
/// Calls block for as long as the TPM takes, typically up to a second on a chip. After
/// [`TpmError::Lost`] drop it and open another.
#[derive(Debug)]
pub struct Tpm {
    pub(crate) context: Context,
    /// Read from NV once: makers' data does not change while we run.
    endorsement: Option<Endorsement>,
    /// Last but one, so that it outlives the context's flushing when dropped.
    _reservation: Option<Reservation>,
    not_sync: PhantomData<Cell<()>>,
}

impl Tpm {
    /// Connects to a TPM, checks that it works, and removes what killed processes left in it.
    ///
    /// Returns within about five seconds even if the TPM is held by someone else.
    ///
    /// # Errors
    ///
    /// [`TpmError::Missing`], [`TpmError::Busy`], [`TpmError::Denied`],
    /// [`TpmError::OpenBackend`], [`TpmError::OpenTcti`], [`TpmError::NotStarted`],
    /// [`TpmError::FailureMode`], or [`TpmError::FlushLeftovers`].
    pub fn open(backend: &Backend) -> Result<Self, TpmError> {
        let reservation = backend.probe()?;
        let mut context = Context::new(backend.tcti()?).map_err(tss(TpmError::OpenTcti))?;
        // A TPM in failure mode answers only a few properties, so listing handles is the check.
        let transient = nv::handles(&mut context, TPM2_TRANSIENT_FIRST);
        let transient = transient.map_err(tss(TpmError::FlushLeftovers))?;
        if backend.keeps_leftovers() {
            flush_all(&mut context, &transient).map_err(tss(TpmError::FlushLeftovers))?;
        }
        Ok(Self { context, endorsement: None, _reservation: reservation, not_sync: PhantomData })
    }

    /// `count` bytes from the TPM's random number generator.
    ///
    /// # Errors
    ///
    /// [`TpmError::GetRandom`], or a state of the TPM.
    pub fn random(&mut self, count: usize) -> Result<Vec<u8>, TpmError> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let wanted = RANDOM_CHUNK.min(count - bytes.len());
            let part = self
                .context
                .execute_without_session(|context| context.get_random(wanted))
                .map_err(tss(TpmError::GetRandom))?;
            if part.value().is_empty() || part.value().len() > wanted {
                return Err(TpmError::GetRandom(wrong_value()));
            }
            bytes.extend(part.value());
        }
        Ok(bytes)
    }

    /// The canonical endorsement key's template, and the certificates.
    pub(crate) fn endorsement(&mut self) -> Result<Endorsement, TpmError> {
        if let Some(known) = &self.endorsement {
            return Ok(known.clone());
        }
        let found = ek::discover(&mut self.context)?;
        Ok(self.endorsement.insert(found).clone())
    }
}

/// Flushes transient objects and loaded sessions, and checks that none is left.
fn flush_all(context: &mut Context, transient: &[TpmHandle]) -> Result<(), TssError> {
    let sessions = nv::handles(context, TPM2_LOADED_SESSION_FIRST)?;
    if transient.is_empty() && sessions.is_empty() {
        return Ok(());
    }
    log::info!(
        "removing {} keys and {} sessions that an earlier process left in the TPM",
        transient.len(),
        sessions.len()
    );
    for handle in transient.iter().chain(&sessions) {
        flush(context, *handle)?;
    }
    let left = [TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST].map(|first| nv::handles(context, first));
    for handles in left {
        if !handles?.is_empty() {
            return Err(wrong_value());
        }
    }
    Ok(())
}

fn flush(context: &mut Context, handle: TpmHandle) -> Result<(), TssError> {
    let object = context.execute_without_session(|context| context.tr_from_tpm_public(handle))?;
    match context.flush_context(object) {
        // `tss-esapi` files a policy session under handles to close and complains, after having
        // flushed it. The caller looks whether anything is left.
        Err(TssError::WrapperError(WrapperErrorKind::InvalidHandleState)) => Ok(()),
        outcome => outcome,
    }
}
