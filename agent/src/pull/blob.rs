//! Manifests and blobs, with their digests checked on the way.

use std::io::Write;
use std::time::{Duration, Instant};

use assay_sandbox::image::DOCUMENT_MAX;
use assay_sandbox::registry_ref::RegistryRef;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};

use super::Answers;
use super::client::{Answer, Ask, Client, SILENCE};
use super::fault::Fault;

/// How often a request is made before it is given up.
const ATTEMPTS: u32 = 5;
/// Wait before the second attempt; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Manifests and indexes, as OCI and Docker call them.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";
/// What blobs are, whatever they are.
const BLOBS: &str = "application/octet-stream";

/// Bytes that must come in each [`SILENCE`] of waiting. What trickles would hold whoever waits for it.
const TRICKLE: u64 = 128 << 10;

/// What the bytes must be.
pub(super) struct Wanted {
    pub(super) digest: [u8; 32],
    pub(super) size: u64,
}

impl Wanted {
    fn text(&self) -> String {
        format!("sha256:{}", hex::encode(self.digest))
    }
}

/// The manifest or index that a reference names: by its digest, and by its tag if it has no other name.
pub(super) async fn entry<W: Write>(
    client: &mut Client,
    image: &RegistryRef,
    answers: &mut Answers<W>,
) -> Result<(), Fault> {
    let digest = image.digest().map(|digest| Wanted { digest, size: 0 });
    let name = digest.as_ref().map_or_else(|| image.tag().unwrap_or_default().to_owned(), Wanted::text);
    let (media_type, bytes) = document(client, image, &name).await?;
    if digest.is_some_and(|wanted| Sha256::digest(&bytes)[..] != wanted.digest) {
        return Err(Fault::Digest);
    }
    answers.head(&media_type)?;
    answers.data(&bytes)
}

/// A manifest by its digest.
pub(super) async fn manifest<W: Write>(
    client: &mut Client,
    image: &RegistryRef,
    wanted: &Wanted,
    answers: &mut Answers<W>,
) -> Result<(), Fault> {
    let (media_type, bytes) = document(client, image, &wanted.text()).await?;
    if Sha256::digest(&bytes)[..] != wanted.digest {
        return Err(Fault::Digest);
    }
    answers.head(&media_type)?;
    answers.data(&bytes)
}

async fn document(client: &mut Client, image: &RegistryRef, name: &str) -> Result<(String, Bytes), Fault> {
    let path = format!("manifests/{name}");
    let mut attempt = 0;
    loop {
        let ask = Ask { path: &path, accept: MANIFESTS, from: 0 };
        let answered = match client.get(image, &ask).await {
            Ok(answer) => read_document(answer).await,
            Err(fault) => Err(fault),
        };
        attempt += 1;
        match answered {
            Err(fault) if fault.is_passing() && attempt < ATTEMPTS => pause(attempt).await,
            other => return other,
        }
    }
}

async fn read_document(answer: Answer) -> Result<(String, Bytes), Fault> {
    let Answer { host, response } = answer;
    check_encoding(&response)?;
    let media_type = header(&response, CONTENT_TYPE).ok_or(Fault::MediaType)?;
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
    if !(1..=255).contains(&media_type.len()) {
        return Err(Fault::MediaType);
    }
    let limit = usize::try_from(DOCUMENT_MAX).unwrap_or(usize::MAX);
    let body = timeout(SILENCE, Limited::new(response.into_body(), limit).collect()).await;
    let body = body.map_err(|_| Fault::Slow { host: host.clone() })?;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(source) => Fault::Http { host, source: *source },
        Err(other) if other.is::<LengthLimitError>() => Fault::TooLong,
        Err(_) => Fault::TooLong,
    })?;
    Ok((media_type, body.to_bytes()))
}

/// A blob's bytes as far as they have come.
struct Progress {
    hash: Sha256,
    done: u64,
}

impl Progress {
    fn check(self, digest: &[u8; 32]) -> Result<(), Fault> {
        if self.hash.finalize()[..] == *digest { Ok(()) } else { Err(Fault::Digest) }
    }
}

/// A blob, taken up again where it broke off.
pub(super) async fn blob<W: Write>(
    client: &mut Client,
    image: &RegistryRef,
    wanted: &Wanted,
    answers: &mut Answers<W>,
) -> Result<(), Fault> {
    let path = format!("blobs/{}", wanted.text());
    let mut progress = Progress { hash: Sha256::new(), done: 0 };
    let mut attempt = 0;
    answers.head(BLOBS)?;
    loop {
        let ask = Ask { path: &path, accept: BLOBS, from: progress.done };
        let streamed = match client.get(image, &ask).await {
            Ok(answer) => stream(answer, wanted.size, &mut progress, answers).await,
            Err(fault) => Err(fault),
        };
        attempt += 1;
        match streamed {
            Ok(()) => return progress.check(&wanted.digest),
            // It broke off behind its last byte: there is nothing left to ask for.
            Err(fault) if fault.is_passing() && progress.done == wanted.size => {
                return progress.check(&wanted.digest);
            }
            Err(fault) if fault.is_passing() && attempt < ATTEMPTS => {
                log::info!("{}, trying again: {fault}", image.authority());
                pause(attempt).await;
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// How a blob's bytes come, counted while they are waited for: an unpacker that takes its time is no fault.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Whether it is fast enough with so many bytes more after so long a wait.
    fn keeps(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.waited < SILENCE {
            return true;
        }
        std::mem::take(self).bytes >= TRICKLE
    }
}

async fn stream<W: Write>(
    answer: Answer,
    size: u64,
    progress: &mut Progress,
    answers: &mut Answers<W>,
) -> Result<(), Fault> {
    let Answer { host, response } = answer;
    check_encoding(&response)?;
    let mut skip = skipped(&response, size, progress.done)?;
    let mut body = response.into_body();
    let mut pace = Pace::default();
    loop {
        let start = Instant::now();
        let part = timeout(SILENCE, body.frame()).await.map_err(|_| Fault::Slow { host: host.clone() })?;
        let Some(part) = part else { break };
        let part = part.map_err(|source| Fault::Http { host: host.clone(), source })?;
        let Some(bytes) = part.data_ref() else { continue };
        if !pace.keeps(start.elapsed(), bytes.len()) {
            return Err(Fault::Slow { host });
        }
        let known = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
        skip = skip.saturating_sub(u64::try_from(known).unwrap_or(u64::MAX));
        let fresh = bytes.get(known..).unwrap_or_default();
        progress.done = progress.done.saturating_add(u64::try_from(fresh.len()).unwrap_or(u64::MAX));
        if progress.done > size {
            return Err(Fault::TooLong);
        }
        progress.hash.update(fresh);
        answers.data(fresh)?;
    }
    match progress.done {
        got if got == size => Ok(()),
        got => Err(Fault::Short { got, size }),
    }
}

/// How many bytes of the answer are known already.
fn skipped(response: &Response<Incoming>, size: u64, done: u64) -> Result<u64, Fault> {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range = header(response, CONTENT_RANGE).unwrap_or_default();
        return if range == format!("bytes {done}-{}/{size}", size.saturating_sub(1)) {
            Ok(0)
        } else {
            Err(Fault::Range)
        };
    }
    // A length that differs would be found at the end, too; a bomb is better refused at its start.
    match header(response, CONTENT_LENGTH).map(|length| length.parse() == Ok(size)) {
        Some(false) => Err(Fault::TooLong),
        _ => Ok(done),
    }
}

fn header<B>(response: &Response<B>, name: HeaderName) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn check_encoding<B>(response: &Response<B>) -> Result<(), Fault> {
    match header(response, CONTENT_ENCODING).as_deref() {
        None | Some("identity") => Ok(()),
        Some(_) => Err(Fault::Encoding),
    }
}

async fn pause(attempt: u32) {
    sleep(FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(8))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_trickles_is_too_slow() {
        let mut pace = Pace::default();
        let almost = SILENCE - Duration::from_secs(1);
        assert!(pace.keeps(almost, 1) && !pace.keeps(almost, 1), "a byte now and then");
        assert!(pace.keeps(almost, 128 << 10) && pace.keeps(almost, 1), "enough for its time");
        assert!(pace.keeps(almost, 1) && !pace.keeps(almost, 1), "what was enough before counts no more");
        assert!((0..1000).all(|_| pace.keeps(Duration::ZERO, 1)), "small parts without a wait");
    }
}
