//! Who is told what: tokens, credentials, redirects, and hosts that are none of a job's business.

use std::sync::Arc;

use super::image::{Held, tar};
use super::*;

const LAYER: &[u8] = b"content";

fn held() -> (Held, String) {
    let mut held = Held::default();
    let manifest = held.add(&[tar("f", LAYER)], |_, _| {});
    (held, manifest)
}

fn credentials(dir: &Path, authority: &str) -> PathBuf {
    let file = dir.join("auth.json");
    std::fs::write(&file, format!("{{\"auths\": {{\"{authority}\": {{\"auth\": \"dTpw\"}}}}}}")).unwrap();
    file
}

#[test]
fn tokens_are_fetched_for_reading_and_stay_with_their_registry() {
    let (held, manifest) = held();
    let held = Arc::new(held);
    let storage = {
        let held = Arc::clone(&held);
        Server::start(move |asked, to| give(&held, asked, to))
    };
    let tokens = Server::start(|_, to| reply(to, "200 OK", &[], br#"{"token": "secret-token"}"#));
    let (realm, elsewhere) = (tokens.authority.clone(), storage.authority.clone());
    let registry = Server::start(move |asked, to| {
        if asked.header("authorization") != Some("Bearer secret-token") {
            let value =
                format!("Bearer realm=\"http://{realm}/token\",service=\"reg\",scope=\"repository:a:push\"");
            return reply(to, "401 Unauthorized", &[("WWW-Authenticate", &value)], b"");
        }
        match asked.path.contains("/blobs/") {
            true => {
                let location = format!("http://{elsewhere}{}", asked.path);
                reply(to, "307 Temporary Redirect", &[("Location", &location)], b"");
            }
            false => give(&held, asked, to),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let all = [&*registry.authority, &tokens.authority, &storage.authority];
    let credentials = Some(credentials(dir.path(), &registry.authority));
    let node = Node::new(&ImageSettings { credentials, ..insecure(&all) });
    let provided = node.pull(&format!("{}/lib/a@{manifest}", registry.authority)).unwrap();
    assert_eq!(file_of(&provided), LAYER);
    // One token, for one repository, to read, whatever the challenge says; with the owner's credentials.
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token?service=reg&scope=repository%3Alib%2Fa%3Apull");
    assert_eq!(asked[0].header("authorization"), Some("Basic dTpw"));
    // Who is redirected to learns neither.
    assert_eq!(storage.count("/blobs/"), 2);
    assert!(storage.asked().iter().all(|asked| asked.header("authorization").is_none()));
    // The registry itself never sees the password.
    assert!(
        registry.asked().iter().all(|a| a.header("authorization").is_none_or(|v| v.starts_with("Bearer")))
    );
}

#[test]
fn a_token_service_that_redirects_is_not_followed() {
    let thief = Server::start(|_, to| reply(to, "200 OK", &[], br#"{"token": "x"}"#));
    let location = format!("http://{}/", thief.authority);
    let tokens = Server::start(move |_, to| reply(to, "302 Found", &[("Location", &location)], b""));
    let realm = tokens.authority.clone();
    let registry = Server::start(move |_, to| {
        let value = format!("Bearer realm=\"http://{realm}/\"");
        reply(to, "401 Unauthorized", &[("WWW-Authenticate", &value)], b"");
    });
    let dir = tempfile::tempdir().unwrap();
    let all = [&*registry.authority, &tokens.authority, &thief.authority];
    let credentials = Some(credentials(dir.path(), &registry.authority));
    let node = Node::new(&ImageSettings { credentials, ..insecure(&all) });
    assert_eq!(code(node.pull(&format!("{}/a:v1", registry.authority)).unwrap_err()), "pull.refused");
    assert!(thief.asked().is_empty());
}

#[test]
fn redirects_and_token_services_do_not_lead_to_private_hosts() {
    let inside = Server::start(|_, to| reply(to, "200 OK", &[], br#"{"token": "x"}"#));
    for target in
        [&*inside.authority, "169.254.169.254", "[::1]:1", "[fd00:ec2::254]", "localhost:1", "0.0.0.0:1"]
    {
        let location = format!("http://{target}/latest/meta-data");
        let secure = format!("https://{target}/latest/meta-data");
        for to_where in [location, secure] {
            let copy = to_where.clone();
            let redirecting = Server::start(move |_, to| reply(to, "302 Found", &[("Location", &copy)], b""));
            let challenging = Server::start(move |_, to| {
                let value = format!("Bearer realm=\"{to_where}\"");
                reply(to, "401 Unauthorized", &[("WWW-Authenticate", &value)], b"");
            });
            for server in [redirecting, challenging] {
                let node = Node::new(&insecure(&[&server.authority]));
                let error = node.pull(&format!("{}/a:v1", server.authority)).unwrap_err();
                assert_eq!(code(error), "pull.refused", "{target}");
            }
        }
    }
    assert!(inside.asked().is_empty());
}

#[test]
fn registries_at_private_addresses_must_be_named() {
    let (held, manifest) = held();
    let (server, pem) = Server::start_tls(move |asked, to| give(&held, asked, to));
    let reference = format!("{}/a@{manifest}", server.authority);
    let dir = tempfile::tempdir().unwrap();
    let ca_file = Some(dir.path().join("ca.pem"));
    std::fs::write(ca_file.as_ref().unwrap(), pem).unwrap();
    let trusting = ImageSettings { ca_file, ..ImageSettings::default() };
    assert_eq!(code(Node::new(&trusting).pull(&reference).unwrap_err()), "pull.refused");
    assert!(server.asked().is_empty());
    let node = Node::new(&ImageSettings { allow_private: true, ..trusting });
    assert_eq!(file_of(&node.pull(&reference).unwrap()), LAYER);
}

#[test]
fn certificates_are_checked_and_tls_is_not_given_up() {
    let plain = Server::start(|_, to| reply(to, "200 OK", &[], b"{}"));
    let location = format!("http://{}/", plain.authority);
    let (server, pem) =
        Server::start_tls(move |_, to| reply(to, "302 Found", &[("Location", &location)], b""));
    let (_, other) = Server::start_tls(|_, _| {});
    let dir = tempfile::tempdir().unwrap();
    let settings = |name: &str, pem: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, pem).unwrap();
        let named = insecure(&[&plain.authority]);
        Node::new(&ImageSettings { ca_file: Some(file), allow_private: true, ..named })
    };
    let reference = format!("{}/a:v1", server.authority);
    assert_eq!(code(settings("other", &other).pull(&reference).unwrap_err()), "pull.tls");
    // Named as one without TLS, the other host is still no place to go to from one with.
    assert_eq!(code(settings("own", &pem).pull(&reference).unwrap_err()), "pull.refused");
    assert!(plain.asked().is_empty());
}

#[test]
fn redirects_end() {
    let server = Server::start(|_, to| reply(to, "302 Found", &[("Location", "/v2/again")], b""));
    let node = Node::new(&insecure(&[&server.authority]));
    assert_eq!(code(node.pull(&format!("{}/a:v1", server.authority)).unwrap_err()), "pull.refused");
    assert_eq!(server.asked().len(), 6);
}
