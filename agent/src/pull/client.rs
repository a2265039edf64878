//! Requests to a registry: redirects, challenges and tokens.

use std::sync::Arc;
use std::time::Duration;

use assay_sandbox::registry_ref::RegistryRef;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderValue, LOCATION, RANGE, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use rustls::ClientConfig;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::auth::{self, Challenge};
use super::fault::Fault;
use super::policy::Policy;
use super::url::Url;
use super::{connect, credentials};
use crate::config::ImageSettings;

/// Most redirects of one request.
const REDIRECTS_MAX: usize = 5;
/// Longest time from a request to the answer's head, and between two parts of its body.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// Most bytes of a token service's answer.
const TOKEN_MAX: usize = 64 << 10;

/// What is asked for.
pub(super) struct Ask<'a> {
    /// Path below `/v2/NAME/`.
    pub(super) path: &'a str,
    /// Media types that are understood.
    pub(super) accept: &'a str,
    /// First byte of what is still missing.
    pub(super) from: u64,
}

/// A registry's answer, and who gave it.
pub(super) struct Answer {
    pub(super) host: String,
    pub(super) response: Response<Incoming>,
}

/// Asks registries in the owner's name and by the owner's rules.
pub(super) struct Client {
    settings: ImageSettings,
    policy: Policy,
    tls: Option<Arc<ClientConfig>>,
    /// What the last registry and repository took.
    authorized: Option<(Url, Zeroizing<String>)>,
}

impl Client {
    /// Asks nobody yet.
    pub(super) fn new(settings: &ImageSettings) -> Self {
        let policy = Policy::new(settings);
        Self { settings: settings.clone(), policy, tls: None, authorized: None }
    }

    /// Asks a registry, with authorization where it wants one.
    pub(super) async fn get(&mut self, image: &RegistryRef, ask: &Ask<'_>) -> Result<Answer, Fault> {
        let tls = !self.policy.is_insecure(&image.authority());
        let base = Url::of_registry(image, tls, format!("/v2/{}/", image.repository()));
        let url = Url { target: format!("{}{}", base.target, ask.path), ..base.clone() };
        let known = self.authorized.as_ref().filter(|(place, _)| *place == base);
        let known = known.map(|(_, value)| value.clone());
        let (last, answer) = self.follow(&url, ask, known.as_ref().map(|value| value.as_str())).await?;
        if answer.response.status() != StatusCode::UNAUTHORIZED || !last.is_same_place(&url) {
            return checked(answer);
        }
        let value = self.authorize(image, &base, &answer).await?;
        let (_, answer) = self.follow(&url, ask, Some(value.as_str())).await?;
        self.authorized = Some((base, value));
        checked(answer)
    }

    /// Follows redirects; the authorization stays with whom it is for.
    async fn follow(
        &mut self,
        start: &Url,
        ask: &Ask<'_>,
        authorization: Option<&str>,
    ) -> Result<(Url, Answer), Fault> {
        let mut url = start.clone();
        for _ in 0..=REDIRECTS_MAX {
            let authorization = authorization.filter(|_| url.is_same_place(start));
            let answer = self.once(&url, ask, authorization).await?;
            if !answer.response.status().is_redirection() {
                return Ok((url, answer));
            }
            let location = answer.response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location)).ok_or(Fault::Url)?;
            if url.tls && !next.tls {
                return Err(Fault::Plain { host: next.authority() });
            }
            url = next;
        }
        Err(Fault::Redirects(REDIRECTS_MAX))
    }

    async fn once(&mut self, url: &Url, ask: &Ask<'_>, authorization: Option<&str>) -> Result<Answer, Fault> {
        let host = url.authority();
        let mut request = Request::builder()
            .uri(&url.target)
            .header(HOST, &host)
            .header(USER_AGENT, concat!("assay-agent/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, ask.accept)
            .header(ACCEPT_ENCODING, "identity");
        if ask.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(text) = authorization {
            let mut value = HeaderValue::from_str(text).map_err(|e| Fault::Request(e.into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(Fault::Request)?;
        if url.tls && self.tls.is_none() {
            self.tls = Some(connect::tls(self.settings.ca_file.as_deref())?);
        }
        let mut connection = connect::open(url, &self.policy, self.tls.clone()).await?;
        let response = timeout(SILENCE, connection.send_request(request)).await;
        let response = response.map_err(|_| Fault::Slow { host: host.clone() })?;
        let response = response.map_err(|source| Fault::Http { host: host.clone(), source })?;
        Ok(Answer { host, response })
    }

    /// What a registry's challenge is answered with.
    async fn authorize(
        &mut self,
        image: &RegistryRef,
        base: &Url,
        answer: &Answer,
    ) -> Result<Zeroizing<String>, Fault> {
        let refused = || Fault::Unauthorized { host: answer.host.clone() };
        let file = self.settings.credentials.as_deref();
        let basic = file.map(|path| credentials::basic(path, &image.authority())).transpose()?.flatten();
        match auth::challenge(answer.response.headers())?.ok_or_else(refused)? {
            Challenge::Basic => basic.ok_or_else(refused),
            Challenge::Bearer { realm, service } => {
                if base.tls && !realm.tls {
                    return Err(Fault::Plain { host: realm.authority() });
                }
                let url = auth::token_url(&realm, service.as_deref(), image.repository());
                self.token(&url, basic.as_ref().map(|value| value.as_str())).await
            }
        }
    }

    /// Asks a token service. It is the one that the registry names; where it redirects to, nobody knows.
    async fn token(&mut self, url: &Url, basic: Option<&str>) -> Result<Zeroizing<String>, Fault> {
        let ask = Ask { path: "", accept: "application/json", from: 0 };
        let Answer { host, response } = checked(self.once(url, &ask, basic).await?)?;
        let body = timeout(SILENCE, Limited::new(response.into_body(), TOKEN_MAX).collect()).await;
        let body = body.map_err(|_| Fault::Slow { host })?.map_err(|_| Fault::Token)?;
        auth::bearer(&body.to_bytes())
    }
}

/// The answer, if it is one.
fn checked(answer: Answer) -> Result<Answer, Fault> {
    let host = || answer.host.clone();
    match answer.response.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(answer),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Fault::Unauthorized { host: host() }),
        StatusCode::NOT_FOUND => Err(Fault::NotFound { host: host() }),
        status if status.is_redirection() => Err(Fault::Url),
        status => Err(Fault::Status { host: host(), status: status.as_u16() }),
    }
}
