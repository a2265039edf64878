//! The reference values of a validator's folder, read again when the folder changes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use assay_appraisal::Trust;
use assay_gpu::rim::Rim;

use super::load::{Refused, load_dir};
use crate::error::{Error, chain};
use crate::text::plain;

/// How long ago a folder must have changed for its time to tell it from one that changes again: clocks of file systems
/// have ticks.
const SETTLED: Duration = Duration::from_secs(1);

/// A folder of reference values and what was read in it.
///
/// Whether it is to be read again costs one look at the folder's time of modification, which every file that comes,
/// goes or is replaced moves on; a file that is written over in place does not.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    /// The folder's time when it was read, once it tells one state of the folder from the next.
    seen: Option<SystemTime>,
    rims: Vec<Rim>,
    /// What was said of files that don't count, so that it is said once.
    told: Vec<String>,
}

impl Shelf {
    /// Reads a folder as [`load_dir`] does, under `trust` and the roots in it. A folder that is not there is empty; files
    /// that don't count are logged.
    ///
    /// # Errors
    /// Those of [`load_dir`].
    pub fn open(dir: &Path, trust: &Trust) -> Result<Self, Error> {
        let mut shelf = Self { dir: dir.to_owned(), seen: None, rims: Vec::new(), told: Vec::new() };
        shelf.read(trust)?;
        Ok(shelf)
    }

    /// Reads the folder again if it has changed. One that can't be read leaves what is there, and a line in the log.
    pub fn refresh(&mut self, trust: &Trust) {
        if let Err(error) = self.read(trust) {
            log::error!("reference values stay as they were read: {}", chain(&error));
        }
    }

    /// What was read.
    #[must_use]
    pub fn rims(&self) -> &[Rim] {
        &self.rims
    }

    fn read(&mut self, trust: &Trust) -> Result<(), Error> {
        // Before the files: one that comes meanwhile is read the next time.
        let changed = self.changed()?;
        if changed.is_some() && changed == self.seen {
            return Ok(());
        }
        let (rims, refused) = match changed {
            Some(_) => load_dir(&self.dir, trust.device_roots.rim(), Some(trust))?,
            None => (Vec::new(), Vec::new()),
        };
        self.tell(rims.len(), &refused);
        self.rims = rims;
        self.seen = changed.filter(|at| at.elapsed().is_ok_and(|age| age > SETTLED));
        Ok(())
    }

    /// When the folder changed; `None` where there is none.
    fn changed(&self) -> Result<Option<SystemTime>, Error> {
        match fs::metadata(&self.dir).and_then(|folder| folder.modified()) {
            Ok(at) => Ok(Some(at)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::ReadFile { path: self.dir.clone(), source }),
        }
    }

    fn tell(&mut self, count: usize, refused: &[Refused]) {
        let line = |one: &Refused| {
            plain(&format!("{} is not used as reference values: {}", one.file.display(), one.reason))
        };
        let lines: Vec<String> = refused.iter().map(line).collect();
        if count != self.rims.len() {
            log::info!("reference values of GPUs in {}: {count}", self.dir.display());
        }
        if lines != self.told {
            lines.iter().for_each(|line| log::warn!("{line}"));
            self.told = lines;
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_gpu::rim::RIM_NETWORK;
    use assay_wire::{Envelope, Kind, Network, SigningKey};

    use super::*;
    use crate::config::Home;
    use crate::{init, rim, trusted};

    /// A validator's directory, its trust, and its key.
    fn place() -> (tempfile::TempDir, Home, Trust, SigningKey) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("v"));
        init::init(home.dir(), &init::Options::default()).unwrap();
        let (trust, key) =
            (trusted::trust(&home.trust()).unwrap(), trusted::signing_key(&home.key()).unwrap());
        (dir, home, trust, key)
    }

    fn put(home: &Home, name: &str, rim: &Rim, key: &SigningKey) {
        let id = key.verifying_key().validator_id();
        let bytes = Envelope::seal(Kind::GpuRim, id, rim, key, &Network::new(RIM_NETWORK));
        fs::create_dir_all(home.rims()).unwrap();
        fs::write(home.rims().join(name), bytes).unwrap();
    }

    #[test]
    fn what_does_not_count_is_named_and_hinders_nothing() {
        let (_dir, home, trust, own) = place();
        let rim = rim::made_up("590.12");
        assert_eq!(Shelf::open(&home.rims(), &trust).unwrap().rims(), []);
        put(&home, "a.rim", &rim, &own);
        // A validator that the trust file no longer names, a file of some other kind, and a draft.
        put(&home, "b.cbor", &rim, &SigningKey::from_seed(&[9; 32]));
        fs::write(home.rims().join("notes.txt"), "x").unwrap();
        fs::write(home.rims().join(".c.rim.new"), "x").unwrap();
        let shelf = Shelf::open(&home.rims(), &trust).unwrap();
        assert_eq!(shelf.rims(), std::slice::from_ref(&rim));
        let named = |name: &str| shelf.told.iter().any(|line| line.contains(name));
        assert!(shelf.told.len() == 2 && named("b.cbor") && named("notes.txt"), "{:?}", shelf.told);
        fs::remove_dir_all(home.rims()).unwrap();
        fs::write(home.rims(), "x").unwrap();
        assert!(Shelf::open(&home.rims(), &trust).is_err(), "what can't be read is no empty folder");
    }

    #[test]
    fn a_folder_that_changed_is_read_again_and_no_other() {
        let (_dir, home, trust, own) = place();
        let (old, new) = (rim::made_up("590.12"), rim::made_up("595.1"));
        let mut shelf = Shelf::open(&home.rims(), &trust).unwrap();
        let mut seen = |of: &[&Rim]| {
            shelf.refresh(&trust);
            assert!(shelf.rims().iter().eq(of.iter().copied()), "{:?}", shelf.rims());
        };
        put(&home, "a.rim", &old, &own);
        seen(&[&old]);
        put(&home, "b.rim", &new, &own);
        seen(&[&old, &new]);
        let folder = fs::File::open(home.rims()).unwrap();
        folder.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        seen(&[&old, &new]);
        // In place: the folder's time stays.
        put(&home, "b.rim", &old, &own);
        seen(&[&old, &new]);
        fs::remove_file(home.rims().join("b.rim")).unwrap();
        seen(&[&old]);
        fs::remove_dir_all(home.rims()).unwrap();
        seen(&[]);
    }
}
