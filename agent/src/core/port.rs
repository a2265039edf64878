//! Core's end of the socket to link.
//!
//! One link at a time: a new connection takes the place of the old one, whose
//! unanswered requests fail. Link is another user's process, so its frames are
//! outside bytes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::link::frame::{self, FrameError, Method, Request, Response};

/// Longer than link's own deadline: only a link that hangs makes us wait this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause after the listening socket failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The way to the validators.
#[derive(Default)]
pub(super) struct Port {
    next: Cell<u64>,
    link: RefCell<Option<mpsc::UnboundedSender<Request>>>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Response>>>,
}

impl Port {
    /// Whether a link is there.
    pub(super) fn is_connected(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// Serves one link after another, forever.
    pub(super) async fn serve(self: Rc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    log::info!("link is connected");
                    self.replace(stream);
                }
                Err(error) => {
                    log::warn!("link's socket: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn replace(self: &Rc<Self>, stream: UnixStream) {
        let (requests, outgoing) = mpsc::unbounded_channel();
        // Dropping the old sender ends the old connection's task.
        *self.link.borrow_mut() = Some(requests.clone());
        self.waiting.borrow_mut().clear();
        let port = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Err(error) = port.carry(stream, outgoing).await {
                log::warn!("link: {error}");
            }
            let mut link = port.link.borrow_mut();
            if link.as_ref().is_some_and(|now| now.same_channel(&requests)) {
                *link = None;
                port.waiting.borrow_mut().clear();
                log::info!("link is gone");
            }
        });
    }

    async fn carry(
        &self,
        stream: UnixStream,
        mut outgoing: mpsc::UnboundedReceiver<Request>,
    ) -> Result<(), FrameError> {
        let (mut from_link, mut to_link) = stream.into_split();
        let write = async {
            while let Some(request) = outgoing.recv().await {
                frame::write(&mut to_link, &request).await?;
            }
            Ok(())
        };
        let read = async {
            while let Some(response) = frame::read::<Response, _>(&mut from_link).await? {
                if let Some(waiter) = self.waiting.borrow_mut().remove(&response.id) {
                    // Whoever asked may have given up.
                    let _ = waiter.send(response);
                }
            }
            Ok(())
        };
        tokio::select! {
            ended = read => ended,
            ended = write => ended,
        }
    }

    /// Sends one request and waits for its answer; status 0 says why there is none.
    pub(super) async fn exchange(
        &self,
        validator: u32,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Response {
        let id = self.next_id();
        self.send(Request { id, validator: Some(validator), method, path: path.to_owned(), body }).await
    }

    /// Fetches what lies under a whole URL, without regard to who serves it.
    pub(super) async fn fetch(&self, url: &str) -> Response {
        let (id, path) = (self.next_id(), url.to_owned());
        self.send(Request { id, validator: None, method: Method::Get, path, body: Vec::new() }).await
    }

    fn next_id(&self) -> u64 {
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        id
    }

    async fn send(&self, request: Request) -> Response {
        let id = request.id;
        let (waiter, answer) = oneshot::channel();
        let sent = self.link.borrow().as_ref().is_some_and(|link| link.send(request).is_ok());
        if !sent {
            return Response::failed(id, "link is not running");
        }
        self.waiting.borrow_mut().insert(id, waiter);
        match timeout(PATIENCE, answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Response::failed(id, "link went away before it answered"),
            Err(_) => {
                self.waiting.borrow_mut().remove(&id);
                Response::failed(id, "link did not answer")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port with a link on it that the test plays.
    fn connected() -> (Rc<Port>, UnixStream) {
        let port = Rc::new(Port::default());
        let (core, link) = UnixStream::pair().unwrap();
        port.replace(core);
        (port, link)
    }

    async fn local<T>(body: impl Future<Output = T>) -> T {
        tokio::task::LocalSet::new().run_until(body).await
    }

    #[tokio::test]
    async fn answers_find_their_requests_whatever_their_order() {
        local(async {
            let (port, mut link) = connected();
            let play = async {
                let first: Request = frame::read(&mut link).await.unwrap().unwrap();
                let second: Request = frame::read(&mut link).await.unwrap().unwrap();
                for request in [second, first] {
                    let body = request.path.into_bytes();
                    frame::write(&mut link, &Response { id: request.id, status: 200, body }).await.unwrap();
                }
                link
            };
            let ask = |path| port.exchange(0, Method::Get, path, vec![]);
            let (a, b, _link) = tokio::join!(ask("/a"), ask("/b"), play);
            assert_eq!((a.body, b.body), (b"/a".to_vec(), b"/b".to_vec()));
        })
        .await;
    }

    #[tokio::test]
    async fn without_link_and_with_one_that_dies_requests_fail_at_once() {
        local(async {
            let nobody = Port::default().exchange(0, Method::Get, "/", vec![]).await;
            assert_eq!((nobody.status, nobody.body), (0, b"link is not running".to_vec()));
            let (port, link) = connected();
            let die = async {
                tokio::task::yield_now().await;
                drop(link);
            };
            let (answer, ()) = tokio::join!(port.exchange(0, Method::Get, "/", vec![]), die);
            assert_eq!(answer.status, 0);
            assert!(!port.is_connected());
        })
        .await;
    }

    #[tokio::test]
    async fn garbage_from_link_ends_it_and_the_next_one_is_served() {
        local(async {
            let (port, mut link) = connected();
            let garbage = async {
                let _: Option<Request> = frame::read(&mut link).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut link, &[0, 0, 0, 1, 0xff]).await.unwrap();
            };
            let (answer, ()) = tokio::join!(port.exchange(0, Method::Get, "/", vec![]), garbage);
            assert_eq!(answer.status, 0);
            let (core, _link) = UnixStream::pair().unwrap();
            port.replace(core);
            assert!(port.is_connected());
        })
        .await;
    }
}
