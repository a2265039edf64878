//! Whose certificates are asked about: chains out of files.

use std::path::Path;

use assay_gpu::bundle::{self, BundleError, EntryFault};
use assay_gpu::device::{ChainKind, DeviceChain, DeviceError, Roots};
use assay_x509::{Certificate, Seconds};

use crate::rim::{DocumentError, examine};

/// A chain that is asked about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The file that it is from, with its number in a bundle.
    pub name: String,
    /// What the chain is.
    pub kind: ChainKind,
    /// The leaf's certificate first.
    pub chain: Vec<Certificate>,
    /// Whether it leads to the root; of a device's also whether it is in force.
    judged: Result<(), String>,
}

/// Bytes that hold no chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The certificates cannot be decoded.
    #[error("chain")]
    Chain(#[source] DeviceError),
    /// The file is no text.
    #[error("not UTF-8 at offset {offset}")]
    Text {
        /// The first byte that is none.
        offset: usize,
    },
    /// The bundle cannot be decoded.
    #[error("bundle")]
    Bundle(#[source] BundleError),
    /// An entry of the bundle has no certificates that can be decoded.
    #[error("device {device}")]
    Entry {
        /// Its place in the bundle, from 0.
        device: usize,
        /// What is wrong with it.
        #[source]
        fault: EntryFault,
    },
    /// The file is no RIM.
    #[error("no document of reference values")]
    Document(#[source] DocumentError),
    /// The chain does not hold: answers below it would mean nothing.
    #[error("the chain does not hold: {0}")]
    Unproven(String),
}

impl Subject {
    /// A device's chain in PEM, leaf first.
    ///
    /// # Errors
    /// [`SubjectError`].
    pub fn device(file: &Path, bytes: &[u8], roots: &Roots, at: Seconds) -> Result<Self, SubjectError> {
        let text =
            std::str::from_utf8(bytes).map_err(|error| SubjectError::Text { offset: error.valid_up_to() })?;
        let chain = DeviceChain::from_pem(text).map_err(SubjectError::Chain)?;
        Ok(Self::of_device(file.display().to_string(), &chain, roots, at))
    }

    /// The chains of a bundle's devices, in its order; an entry without certificates hides none of the others.
    ///
    /// # Errors
    /// [`SubjectError`] of bytes that are no bundle.
    pub fn bundle(
        file: &Path,
        bytes: &[u8],
        roots: &Roots,
        at: Seconds,
    ) -> Result<Vec<Result<Self, SubjectError>>, SubjectError> {
        let devices = bundle::parse(bytes).map_err(SubjectError::Bundle)?;
        let one = |(nth, device): (usize, bundle::BundleDevice)| {
            let of_chain = |fault: &EntryFault| {
                matches!(fault, EntryFault::Form | EntryFault::Certificates | EntryFault::Pem(_))
            };
            if let Some(fault) = device.faults.into_iter().find(of_chain) {
                return Err(SubjectError::Entry { device: nth, fault });
            }
            let chain = DeviceChain::from_der(&device.chain).map_err(SubjectError::Chain)?;
            Ok(Self::of_device(format!("{}#{nth}", file.display()), &chain, roots, at))
        };
        Ok(devices.into_iter().enumerate().map(one).collect())
    }

    /// The certificates of whoever signed a document of reference values.
    ///
    /// # Errors
    /// [`SubjectError::Document`].
    pub fn rim(file: &Path, bytes: &[u8], roots: &Roots) -> Result<Self, SubjectError> {
        let examined = examine(bytes, roots.rim()).map_err(SubjectError::Document)?;
        let judged = examined.chain.map_err(|fault| fault.to_string());
        let (name, chain) = (file.display().to_string(), examined.certificates);
        Ok(Self { name, kind: ChainKind::Rim, chain, judged })
    }

    fn of_device(name: String, chain: &DeviceChain, roots: &Roots, at: Seconds) -> Self {
        let judged = chain.judge(roots, at).map_err(|fault| fault.to_string());
        Self { name, kind: ChainKind::Device, chain: chain.certificates().to_vec(), judged }
    }

    /// The same once its chain holds.
    ///
    /// # Errors
    /// [`SubjectError::Unproven`].
    pub fn proven(self) -> Result<Self, SubjectError> {
        match self.judged {
            Ok(()) => Ok(self),
            Err(fault) => Err(SubjectError::Unproven(fault)),
        }
    }
}
