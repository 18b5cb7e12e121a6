//! Notices that documents or list files changed, and when it is quiet enough to read them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tracing::debug;

/// Quiet needed before files are read: an editor or a deployment writes in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// Longest that unrest can put the reading off.
const UNREST_MAX: Duration = Duration::from_millis(400);

/// What the daemon's loop wakes up for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// Something in a watched directory changed.
    Changed,
    /// The operator says: read it all again, now.
    Reload,
    /// The operator says: end.
    Stop,
}

/// Collects changes until it is quiet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Debounce {
    first_and_last: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Something changed.
    pub fn note(&mut self, now: Instant) {
        let first = self.first_and_last.map_or(now, |(first, _)| first);
        self.first_and_last = Some((first, now));
    }

    /// When to act on what changed, if anything did.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.first_and_last.map(|(first, last)| (last + QUIET).min(first + UNREST_MAX))
    }

    /// Whether it is time to act; if so, the changes so far are settled with it.
    pub fn settle(&mut self, now: Instant) -> bool {
        let settled = self.due().is_some_and(|due| due <= now);
        if settled {
            self.first_and_last = None;
        }
        settled
    }
}

/// Watches directories. Files are watched by their directory, since most writers replace them.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    /// The directories watched, each with what identifies it: one that is replaced must be watched anew.
    watched: BTreeMap<PathBuf, Identity>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Watch {
    /// Watches nothing yet; changes are sent to `events`.
    ///
    /// # Errors
    /// When the kernel gives no means to watch.
    pub fn new(events: Sender<Event>) -> notify::Result<Self> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            // Whoever no longer listens is ending.
            let _ = events.send(Event::Changed);
        })?;
        Ok(Self { watcher, watched: BTreeMap::new() })
    }

    /// Watches exactly these directories, as far as they exist. Returns whether one is watched that was not before: what
    /// changed in it until now went unnoticed.
    pub fn update(&mut self, directories: &[PathBuf]) -> bool {
        let mut wanted = BTreeMap::new();
        for directory in directories {
            wanted.extend(identity(directory).map(|identity| (directory.clone(), identity)));
        }
        let kept = |path: &PathBuf, identity: &mut Identity| wanted.get(path) == Some(identity);
        let gone: Vec<_> = self.watched.extract_if(.., |path, found| !kept(path, found)).collect();
        for (directory, _) in gone {
            // Of a directory that is gone the kernel has dropped the watch already.
            let _ = self.watcher.unwatch(&directory);
        }
        let mut added = false;
        for (directory, identity) in wanted {
            if self.watched.contains_key(&directory) {
                continue;
            }
            match self.watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(directory, identity);
                    added = true;
                }
                Err(error) => debug!(%error, "cannot watch a directory yet"),
            }
        }
        added
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let metadata = directory.metadata().ok().filter(std::fs::Metadata::is_dir)?;
    Some(Identity { device: metadata.dev(), inode: metadata.ino() })
}

/// The directories to watch for these files, and for `root` itself.
#[must_use]
pub fn directories(root: &Path, files: &[PathBuf]) -> Vec<PathBuf> {
    let parent = |file: &PathBuf| file.parent().map(Path::to_owned);
    let mut directories: Vec<PathBuf> = files.iter().filter_map(parent).collect();
    directories.push(if root.is_file() {
        parent(&root.to_owned()).unwrap_or_default()
    } else {
        root.to_owned()
    });
    for directory in &mut directories {
        if directory.as_os_str().is_empty() {
            *directory = PathBuf::from(".");
        }
    }
    directories.sort();
    directories.dedup();
    directories
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::slice::from_ref;
    use std::sync::mpsc::channel;

    use super::*;

    /// Longest wait for the kernel's word; it comes at once, else the test fails.
    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn changes_are_settled_when_it_is_quiet() {
        let start = moment();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debounce = Debounce::default();
        assert!(!debounce.settle(start));
        debounce.note(at(0));
        debounce.note(at(60));
        assert!(!debounce.settle(at(159)));
        assert!(debounce.settle(at(160)));
        assert!(!debounce.settle(at(1000)));
    }

    #[test]
    fn unrest_does_not_put_the_reading_off_for_ever() {
        let start = moment();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debounce = Debounce::default();
        for step in 0..8 {
            debounce.note(at(step * 50));
            assert!(!debounce.settle(at(step * 50 + 49)));
        }
        assert!(debounce.settle(at(400)));
    }

    #[test]
    fn a_change_in_a_directory_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, events) = channel();
        let mut watch = Watch::new(sender).unwrap();
        assert!(watch.update(&[directory.path().to_owned()]));
        fs::write(directory.path().join("a.toml"), "").unwrap();
        assert_eq!(events.recv_timeout(SOON), Ok(Event::Changed));
    }

    #[test]
    fn a_directory_that_is_replaced_is_watched_anew() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("policy");
        let (sender, events) = channel();
        let mut watch = Watch::new(sender).unwrap();
        assert!(!watch.update(from_ref(&directory)), "it is not there yet");
        fs::create_dir(&directory).unwrap();
        assert!(watch.update(from_ref(&directory)));
        assert!(!watch.update(from_ref(&directory)));
        fs::rename(&directory, parent.path().join("old")).unwrap();
        fs::create_dir(&directory).unwrap();
        assert!(watch.update(from_ref(&directory)));
        while events.try_recv().is_ok() {}
        fs::write(directory.join("a.toml"), "").unwrap();
        assert_eq!(events.recv_timeout(SOON), Ok(Event::Changed));
    }

    #[test]
    fn files_are_watched_by_their_directories() {
        let files = ["p/a.toml", "p/b.toml", "lists/x.cidr", "y.cidr"].map(PathBuf::from);
        let expected = [".", "lists", "p"].map(PathBuf::from);
        assert_eq!(directories(Path::new("p"), &files), expected);
    }

    #[expect(clippy::disallowed_methods, reason = "some moment; nothing is measured against it")]
    fn moment() -> Instant {
        Instant::now()
    }
}
