//! A job file on its way to the agent, which stands in another folder.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use assay_sandbox::job::{JOB_FILE_MAX, JobFile};

use crate::cli::error::CliError;

/// Reads a job file, makes a relative `oci:` path absolute, and checks what can be checked here.
pub(super) fn read(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::ReadJob { path: path.to_owned(), source };
    let malformed = |message: String| CliError::ParseJob { path: path.to_owned(), message };
    let limit = u64::try_from(JOB_FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)).map_err(failed)?;
    let folder = path.canonicalize().map_err(failed)?;
    let folder = folder
        .parent()
        .and_then(Path::to_str)
        .ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    let text = rebase(&text, folder).map_err(|message| malformed(message.to_owned()))?;
    JobFile::parse(text.as_bytes()).map_err(|error| malformed(chain(&error)))?;
    Ok(text)
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// The text with its image's path made absolute against `folder`.
///
/// The text itself is changed, not what it means: written anew from parsed values, it would lose the
/// double keys that the agent's parser refuses.
fn rebase(text: &str, folder: &str) -> Result<String, &'static str> {
    let Some(image) = image(text) else { return Ok(text.to_owned()) };
    let Some(relative) = image.strip_prefix("oci:").filter(|path| !path.starts_with('/')) else {
        return Ok(text.to_owned());
    };
    // Then it is the same in every kind of TOML and JSON string.
    let plain = |text: &str| !text.contains(['"', '\'', '\\']) && !text.chars().any(char::is_control);
    if text.matches(image.as_str()).count() != 1 || !plain(&image) || !plain(folder) {
        return Err("job.image: write the image's path as an absolute one");
    }
    Ok(text.replacen(image.as_str(), &format!("oci:{folder}/{relative}"), 1))
}

/// What `job.image` says; nothing where the text is malformed, which the job file's parser explains better.
fn image(text: &str) -> Option<String> {
    let image = if text.trim_start().starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        value.get("job")?.get("image")?.as_str()?.to_owned()
    } else {
        let value: toml::Table = text.parse().ok()?;
        value.get("job")?.get("image")?.as_str()?.to_owned()
    };
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "# run me\n[job]\nimage = 'oci:img:v1'\ncommand = [\"/bin/true\"]\n";

    #[test]
    fn relative_image_paths_start_at_the_job_file() {
        let toml = rebase(TOML, "/srv/jobs").unwrap();
        assert_eq!(toml, TOML.replace("oci:img:v1", "oci:/srv/jobs/img:v1"));
        let json = rebase("{\"job\": {\"image\": \"oci:../img\"}}", "/srv").unwrap();
        assert_eq!(json, "{\"job\": {\"image\": \"oci:/srv/../img\"}}");
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in
            [TOML.replace("oci:img", "oci:/img"), "[job".to_owned(), "{".to_owned(), "[job]\n".to_owned()]
        {
            assert_eq!(rebase(&text, "/srv").unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_be_changed_safely_is_refused() {
        assert!(rebase(&format!("{TOML}[job.env]\nA = 'oci:img:v1'\n"), "/srv").is_err());
        assert!(rebase(TOML, "/srv/it's").is_err());
    }

    #[test]
    fn a_malformed_job_file_is_a_wrong_argument() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.toml");
        assert!(matches!(read(&path), Err(CliError::ReadJob { .. })));
        std::fs::write(&path, TOML.replace("[job]", "[job]\nhooks = []")).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.line().contains("hooks") && error.code() == 2, "{}", error.line());
        std::fs::write(&path, TOML).unwrap();
        let folder = dir.path().canonicalize().unwrap();
        assert!(read(&path).unwrap().contains(folder.to_str().unwrap()));
    }
}
