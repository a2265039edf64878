//! The owner's credentials, in the file that container tools keep them in:
//! `{"auths": {"HOST[:PORT]": {"auth": "BASE64 OF USER:PASSWORD"}}}`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::fault::Fault;

/// Largest file.
const FILE_MAX: u64 = 64 << 10;
/// Docker's registry as references name it, and as container tools call it when they log in.
const DOCKER: (&str, &str) = ("docker.io", "https://index.docker.io/v1/");

#[derive(Deserialize)]
struct AuthFile {
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
}

/// The `Authorization` header's value for a registry, named as in its references.
pub(super) fn basic(path: &Path, registry: &str) -> Result<Option<Zeroizing<String>>, Fault> {
    let unreadable = |_| Fault::Credentials("it cannot be read");
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX).read_to_string(&mut text).map_err(unreadable)?;
    let file: AuthFile =
        serde_json::from_str(&text).map_err(|_| Fault::Credentials("it is no JSON with \"auths\""))?;
    let names = [Some(registry), (registry == DOCKER.0).then_some(DOCKER.1)];
    let auth = names.into_iter().flatten().find_map(|name| file.auths.get(name)?.auth.as_deref());
    let Some(auth) = auth else { return Ok(None) };
    let decoded = Base64::decode_vec(auth).map(Zeroizing::new);
    match decoded.is_ok_and(|pair| pair.contains(&b':') && !pair.iter().any(u8::is_ascii_control)) {
        true => Ok(Some(Zeroizing::new(format!("Basic {auth}")))),
        false => Err(Fault::Credentials("an \"auth\" is not base64 of user:password")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_gets_its_own_credentials_and_no_others() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let of = |text: &str, registry: &str| {
            std::fs::write(file.path(), text).unwrap();
            basic(file.path(), registry).map(|found| found.map(|value| value.to_string()))
        };
        let text = r#"{"auths": {"r.example": {"auth": "dTpw"}, "other:5000": {}, "bad": {"auth": "dXA="}}}"#;
        assert_eq!(of(text, "r.example").unwrap().unwrap(), "Basic dTpw");
        assert_eq!((of(text, "r.example:443").unwrap(), of(text, "other:5000").unwrap()), (None, None));
        let docker = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}}"#;
        assert_eq!(of(docker, "docker.io").unwrap().unwrap(), "Basic dTpw");
        assert_eq!((of(docker, "index.docker.io").unwrap(), of(docker, "r.example").unwrap()), (None, None));
        assert!(of(text, "bad").is_err() && of("[]", "r.example").is_err());
        assert!(of(r#"{"auths": {"r": {"auth": "!"}}}"#, "r").is_err());
        assert!(basic(Path::new("/nonexistent"), "r").is_err());
    }
}
