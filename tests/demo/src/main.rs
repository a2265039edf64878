//! `make run`: the whole road once, on loopback, ending in one page.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use assay_demo::page::{FILES, Input, render};
use assay_demo::world::{Pace, World, json};
use assay_demo::{DemoError, image, misbehaviour};
use clap::Parser;
use serde_json::Value;

/// Runs one machine and one validator on loopback and shows what a verifier finds.
#[derive(Parser)]
#[command(name = "assay-demo")]
struct Arguments {
    /// The demo's folder; kept between runs
    #[arg(long, default_value = "run")]
    dir: PathBuf,
    /// Shortest time that beats go on, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// How long the second anchor is waited for after the minute.
const ANCHOR_WAIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut progress = Progress::new();
    match walk(&arguments, &mut progress) {
        Ok(input) => {
            progress.end();
            print!("{}", render(&input));
            if input.all_accepted() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            progress.end();
            eprintln!("assay-demo: {}", chain(&error));
            ExitCode::from(3)
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn walk(arguments: &Arguments, progress: &mut Progress) -> Result<Input, DemoError> {
    progress.step("starting TPM and validator");
    let mut world = World::start(&arguments.dir, Pace::demo())?;
    progress.step("enrolling");
    world.start_agent()?;
    let began = Instant::now();
    world.wait_for_beats(1, Duration::from_secs(60))?;
    progress.step("running jobs that misbehave, and one that does not");
    let stopped = run_jobs(&world)?;
    progress.step("beating");
    let half = Duration::from_secs(arguments.seconds / 2);
    world.wait("the first half minute", half * 2 + ANCHOR_WAIT, |_| Ok(progress.tick(began) >= half))?;
    let anchors = world.status_number("anchors");
    progress.step("killing the agent, and letting it come back");
    world.kill_agent();
    world.start_agent()?;
    world.wait_for_beats(2, Duration::from_secs(60))?;
    progress.step("beating again");
    let whole = Duration::from_secs(arguments.seconds);
    world.wait("the minute to pass", whole + ANCHOR_WAIT, |_| Ok(progress.tick(began) >= whole))?;
    progress.step("waiting for the second anchor");
    let late = began + whole + ANCHOR_WAIT;
    world.wait("a second anchor", whole + ANCHOR_WAIT * 2, |world| {
        progress.tick(began);
        Ok(anchors + world.status_number("anchors") >= 2 || Instant::now() > late)
    })?;
    progress.step("exporting and verifying");
    world.wait("the validator to have every record", Duration::from_secs(30), |world| {
        Ok(world.status().is_some_and(|status| status.get("unsent").and_then(Value::as_u64) == Some(0)))
    })?;
    let input = Input { stopped, ..verify(&world, &arguments.dir)? };
    world.stop_agent();
    Ok(input)
}

/// Runs jobs that misbehave, then the one that renders the picture; gives how the former were stopped.
fn run_jobs(world: &World) -> Result<Vec<(String, String)>, DemoError> {
    let image = image::make_image(&world.dir().join("image"))?;
    // Where this user may make no cgroups, the limits are those of each process.
    let limited = cgroup_controllers() && run_job(world, &image, "cgroup").is_ok();
    let limits = if limited { "cgroup" } else { "rlimit" };
    let stopped = misbehaviour::run(world, &image, limits)?;
    // Last, so that its receipt is the one that is exported.
    run_job(world, &image, limits)?;
    Ok(stopped)
}

fn run_job(world: &World, image: &str, limits: &str) -> Result<(), DemoError> {
    let file = world.dir().join("job.toml");
    let text = format!(
        "# Renders a picture; see it in sandbox/jobs/*/out afterwards.\n[job]\nimage = \"{image}\"\n\
         timeout = \"1m\"\nnetwork = \"none\"\noutputs = [\"/out\"]\n\n[job.resources]\ncpu = \"1\"\n\
         memory = \"256Mi\"\ndisk = \"64Mi\"\npids = 64\ngpus = 0\n\
         # \"rlimit\" where this user may make no cgroups; the receipt says what held the limits.\n\
         limits = \"{limits}\"\n",
    );
    fs::write(&file, text).map_err(|source| DemoError::WriteFile { path: file.clone(), source })?;
    let ran = json(world.agent_command().args(["job", "run", "--json"]).arg(&file))?;
    match ran.get("succeeded").and_then(Value::as_bool) {
        Some(true) => Ok(()),
        _ => Err(DemoError::JobFailed { said: ran.to_string() }),
    }
}

/// Whether this machine can hold a job's limits by cgroups.
fn cgroup_controllers() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    ["cpu", "memory", "pids"].iter().all(|name| controllers.split_whitespace().any(|c| c == *name))
}

fn verify(world: &World, dir: &Path) -> Result<Input, DemoError> {
    let mut input = Input {
        dir: dir.display().to_string(),
        colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        ..Input::default()
    };
    for file in FILES {
        let path = world.dir().join(format!("{file}.cbor"));
        world.export(file, &path)?;
        let size =
            fs::metadata(&path).map_err(|source| DemoError::ReadFile { path: path.clone(), source })?;
        let began = Instant::now();
        let report = world.verify(&path)?;
        input.verify_ms.insert(file, u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        input.sizes.insert(file, size.len());
        input.reports.insert(file, report);
    }
    Ok(input)
}

/// One line that says what is going on; on a terminal it is written over itself.
struct Progress {
    terminal: bool,
    step: &'static str,
    shown: Option<u64>,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), step: "", shown: None }
    }

    fn step(&mut self, step: &'static str) {
        self.step = step;
        self.shown = None;
        match self.terminal {
            true => self.draw(String::new()),
            false => eprintln!("{step} ..."),
        }
    }

    /// Shows the seconds since `began` and gives the time passed.
    fn tick(&mut self, began: Instant) -> Duration {
        let passed = began.elapsed();
        if self.terminal && self.shown != Some(passed.as_secs()) {
            self.shown = Some(passed.as_secs());
            self.draw(format!(" {} s", passed.as_secs()));
        }
        passed
    }

    fn draw(&self, seconds: String) {
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "\r\x1b[K{} ...{seconds}", self.step);
        let _ = stderr.flush();
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
