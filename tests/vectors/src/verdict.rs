//! One line per check of a file.

use std::collections::BTreeSet;
use std::fmt;

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Seen as expected.
    Same,
    /// Seen otherwise.
    Differs,
    /// Nothing here can tell.
    NotJudged,
}

/// One check of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// The file, relative to the folder, or the case.
    pub file: String,
    /// What was checked.
    pub check: String,
    /// What the folder expects; empty where it says nothing.
    pub expected: String,
    /// What was seen, or why nothing was.
    pub seen: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Same => "ok",
            Outcome::Differs => "DIFF",
            Outcome::NotJudged => "not-judged",
        };
        let Self { file, check, expected, seen, .. } = self;
        let expected = if expected.is_empty() { "-" } else { expected };
        write!(f, "{outcome}  {file}  {check}  {expected}  {seen}")
    }
}

/// All verdicts in the order in which they were made.
#[derive(Debug, Default)]
pub struct Sheet {
    verdicts: Vec<Verdict>,
    covered: BTreeSet<String>,
}

impl Sheet {
    /// Notes that a rule looks into `file`, whatever it finds.
    pub fn cover(&mut self, file: &str) {
        self.covered.insert(file.to_owned());
    }

    /// Whether some rule looked into `file`.
    #[must_use]
    pub fn covers(&self, file: &str) -> bool {
        self.covered.contains(file)
    }

    /// A check that compares two texts.
    pub fn same(&mut self, file: &str, check: &str, expected: impl fmt::Display, seen: impl fmt::Display) {
        let (expected, seen) = (expected.to_string(), seen.to_string());
        let outcome = if expected == seen { Outcome::Same } else { Outcome::Differs };
        self.push(outcome, file, check, expected, seen);
    }

    /// A check whose `seen` is good or not in itself.
    pub fn holds(&mut self, file: &str, check: &str, good: bool, expected: &str, seen: impl fmt::Display) {
        let outcome = if good { Outcome::Same } else { Outcome::Differs };
        self.push(outcome, file, check, expected.to_owned(), seen.to_string());
    }

    /// A check that nothing here can make.
    pub fn not_judged(&mut self, file: &str, check: &str, why: &str) {
        self.push(Outcome::NotJudged, file, check, String::new(), why.to_owned());
    }

    fn push(&mut self, outcome: Outcome, file: &str, check: &str, expected: String, seen: String) {
        self.cover(file);
        let (file, check) = (file.to_owned(), check.to_owned());
        self.verdicts.push(Verdict { outcome, file, check, expected, seen });
    }

    /// The verdicts.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// How many ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.outcome == outcome).count()
    }

    /// The last line of the output.
    #[must_use]
    pub fn summary(&self) -> String {
        let [same, differ, not] =
            [Outcome::Same, Outcome::Differs, Outcome::NotJudged].map(|outcome| self.count(outcome));
        format!("vectors: {same} ok, {differ} DIFF, {not} not judged")
    }
}
