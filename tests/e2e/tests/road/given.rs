//! What a tenant gives a job: sealed secrets, inputs, a checkpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::*;

const LIMITS: &str = "[job.resources]\nlimits = \"rlimit\"\n";
const VALUE: &str = "swordfish-4c1d7e-swordfish";

impl Stage {
    /// The text of a job file over the demo's image.
    fn job_text(&self, body: &str) -> String {
        let reference = image::make_image(&self.path("image")).unwrap();
        format!("[job]\nimage = \"{reference}\"\n{body}")
    }

    /// `assay-validator seal` of the secret TOKEN, to the session of an evidence file.
    fn seal(&self, evidence: &Path, job: &Path, more: &[&str]) -> Output {
        let value = self.path("../token");
        fs::write(&value, VALUE).unwrap();
        let mut seal = Command::new(self.world.programs().validator());
        seal.arg("seal").arg("--session").arg(evidence).arg("--trust").arg(self.world.trust());
        seal.arg("--job").arg(job).args(more).arg(format!("TOKEN=@{}", value.display()));
        let output = seal.output().unwrap();
        fs::remove_file(value).unwrap();
        output
    }

    fn agent(&self, args: &[&str], file: &Path) -> Output {
        self.world.agent_command().args(args).arg(file).output().unwrap()
    }
}

/// A world one folder below the temporary one, so that what is outside of it is no part of it.
fn started_inside() -> Option<(Stage, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("world");
    fs::create_dir(&inside).unwrap();
    let mut world = match World::start(&inside, quick()) {
        Ok(world) => world,
        Err(error @ DemoError::MissingProgram { .. }) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    world.start_agent().unwrap();
    world.wait_for_beats(2, LONG).unwrap();
    Some((Stage { world, _dir: tempfile::tempdir().unwrap() }, dir))
}

/// Files below `dir` that hold any of `needles`.
fn holding(dir: &Path, needles: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(holding(&entry.path(), needles));
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(entry.path())
            && needles.iter().any(|n| bytes.windows(n.len()).any(|window| window == n))
        {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_secret_reaches_the_job_it_is_sealed_for_and_nothing_else() {
    let Some((mut stage, _dir)) = started_inside() else { return };
    let evidence = stage.export("evidence");
    let (plain, sealed) = (stage.path("plain.toml"), stage.path("sealed.toml"));
    let script = "sha256sum < /run/secrets/TOKEN > /out/sum";
    let command = format!("command = [\"/bin/sh\", \"-c\", \"{script}\"]\noutputs = [\"/out\"]\n");
    fs::write(&plain, stage.job_text(&format!("{command}{LIMITS}"))).unwrap();

    // A software TPM is never P2: sealing to it has to be asked for, and is said loudly.
    let refused = stage.seal(&evidence, &plain, &[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        refused.stdout.is_empty() && String::from_utf8_lossy(&refused.stderr).contains("nothing was sealed")
    );
    let strict = stage.seal(&evidence, &plain, &["--policy", "strict", "--platform", "p0"]);
    assert_eq!(strict.status.code(), Some(1), "{strict:?}");
    let out = ["--platform", "p0", "--out", sealed.to_str().unwrap()];
    let good = stage.seal(&evidence, &plain, &out);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stderr).contains("WARNING"), "{good:?}");

    let ran = stage.agent(&["job", "run", "--json"], &sealed);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let answer: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let sum =
        fs::read_to_string(Path::new(answer["directory"].as_str().unwrap()).join("out/out/sum")).unwrap();
    let expected = Command::new("sh").args(["-c", &format!("printf {VALUE} | sha256sum")]).output().unwrap();
    assert_eq!(sum, String::from_utf8(expected.stdout).unwrap());

    // Another job with the same sealed secret gets nothing.
    let other = stage.path("other.toml");
    let text = fs::read_to_string(&sealed).unwrap().replace("sha256sum", "cat");
    fs::write(&other, text).unwrap();
    let stolen = stage.agent(&["job", "run", "--json"], &other);
    assert_eq!(stolen.status.code(), Some(3), "{stolen:?}");
    assert!(String::from_utf8_lossy(&stolen.stderr).contains("not sealed to this session"), "{stolen:?}");

    // Neither does the same job in the agent's next session, or without an agent.
    stage.world.stop_agent();
    let alone = stage.agent(&["job", "run"], &sealed);
    assert_eq!(alone.status.code(), Some(3), "{alone:?}");
    stage.world.start_agent().unwrap();
    stage.world.wait_for_beats(2, LONG).unwrap();
    let late = stage.agent(&["job", "run"], &sealed);
    assert_eq!(late.status.code(), Some(3), "{late:?}");

    // Ledgers, logs, outputs, configurations: nothing holds the value, as it is or in hexadecimal.
    let hex: String = VALUE.bytes().map(|b| format!("{b:02x}")).collect();
    let found = holding(stage.world.dir(), &[VALUE.as_bytes().to_vec(), hex.into_bytes()]);
    assert_eq!(found, Vec::<PathBuf>::new());
    for output in [good, ran, stolen, late] {
        let said = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains(VALUE));
    }
}

#[test]
fn inputs_checkpoints_and_restarts_are_in_the_receipt() {
    let Some(stage) = Stage::started(quick()) else { return };
    let data = stage.path("data").canonicalize().unwrap_or_else(|_| stage.path("data"));
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("sub/file"), "given").unwrap();
    let data = data.canonicalize().unwrap();
    let hash = stage.agent(&["job", "hash", "--json"], &data);
    let hash: Value = serde_json::from_slice(&hash.stdout).unwrap();
    assert_eq!(hash["kind"], "directory", "{hash}");
    let sha256 = hash["sha256"].as_str().unwrap();
    let script =
        "cat /in/sub/file >> /ckpt/seen; [ $ASSAY_RESTART = 2 ] && cp /ckpt/seen /out/ && exit 0; exit 1";
    let body = format!(
        "command = [\"/bin/sh\", \"-c\", \"{script}\"]\noutputs = [\"/out\"]\ncheckpoint = \"/ckpt\"\n\
         checkpoint_bytes = \"1Mi\"\nrestart = {{ on = \"failure\", max = 2, backoff = \"10ms\" }}\n\
         [[job.inputs]]\nsource = {data:?}\nsha256 = \"{sha256}\"\ntarget = \"/in\"\n{LIMITS}"
    );
    let ran = stage.job(&body);
    assert_eq!(ran["succeeded"], true, "{ran}");
    assert_eq!(ran["detail"]["restarts"], 2, "{ran}");
    let seen = Path::new(ran["directory"].as_str().unwrap()).join("out/out/seen");
    assert_eq!(fs::read_to_string(seen).unwrap(), "givengivengiven");
    // What is told is what is signed.
    stage.drained();
    let report = stage.world.verify(&stage.export("receipt")).unwrap();
    let job = &report["facts"]["jobs"][0];
    assert_eq!(report["verdict"], "accept", "{report:#}");
    assert_eq!((&job["restarts"], &job["policy"]), (&ran["detail"]["restarts"], &ran["detail"]["policy"]));
    assert!(job["checkpoint"].is_string() && job["checkpoint"] == ran["detail"]["checkpoint"]);
    let wrong = stage.path("wrong.toml");
    let text = stage.job_text(&body.replace(sha256, &"07".repeat(32)));
    fs::write(&wrong, text).unwrap();
    assert_eq!(stage.agent(&["job", "run"], &wrong).status.code(), Some(3));
}
