//! Why a registry gave no bytes, by the operation that failed.

use std::error::Error;
use std::io;

/// Longest text that goes back.
const TEXT_MAX: usize = 1024;

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error(
        "{host} is at a private, local or reserved address, which jobs must not reach; see allow_private"
    )]
    Private { host: String },
    #[error("{host} is to be reached without TLS, and is not among insecure_registries")]
    Plain { host: String },
    #[error("cannot find {host}")]
    Resolve { host: String, source: io::Error },
    #[error("cannot connect to {host}")]
    Connect { host: String, source: io::Error },
    #[error("no TLS with {host}")]
    Tls { host: String, source: io::Error },
    #[error("TLS cannot be set up: {0}")]
    TlsSetup(String),
    #[error("HTTP with {host}")]
    Http { host: String, source: hyper::Error },
    #[error("the request cannot be made")]
    Request(#[source] hyper::http::Error),
    #[error("{host} did not answer in time")]
    Slow { host: String },
    #[error("the image did not come within its time")]
    Late,
    #[error("a redirect or token service with an address that is no plain http or https URL")]
    Url,
    #[error("more than {0} redirects")]
    Redirects(usize),
    #[error("{host} answered with status {status}")]
    Status { host: String, status: u16 },
    #[error("{host} asks for credentials that it does not take or that are not configured")]
    Unauthorized { host: String },
    #[error("the credentials file cannot be used: {0}")]
    Credentials(&'static str),
    #[error("{host} has no such manifest or blob")]
    NotFound { host: String },
    #[error("the token service's answer is no token")]
    Token,
    #[error("an answer of more bytes than its limit or descriptor")]
    TooLong,
    #[error("an answer that ended after {got} of {size} bytes")]
    Short { got: u64, size: u64 },
    #[error("an answer in an encoding that was not asked for")]
    Encoding,
    #[error("a part of a blob that was not asked for")]
    Range,
    #[error("an answer without a media type")]
    MediaType,
    #[error("bytes that do not have their digest")]
    Digest,
    #[error("write the answer")]
    Write(#[source] io::Error),
}

impl Fault {
    /// A stable name.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Private { .. } | Self::Plain { .. } | Self::Url | Self::Redirects(_) => "pull.refused",
            Self::Unauthorized { .. } | Self::Credentials(_) | Self::Token => "pull.unauthorized",
            Self::NotFound { .. } => "pull.not-found",
            Self::Digest | Self::TooLong | Self::Encoding | Self::Range | Self::MediaType => "pull.mismatch",
            Self::Tls { .. } | Self::TlsSetup(_) => "pull.tls",
            _ => "pull.failed",
        }
    }

    /// Whether trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::Http { .. } => true,
            Self::Slow { .. } | Self::Short { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

/// One line with the causes, of bounded length and without control characters.
pub(super) fn line(fault: &Fault) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}
