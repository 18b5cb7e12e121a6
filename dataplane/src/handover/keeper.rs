//! Writes what is in force to disk, on a thread of its own: neither an answer nor the next change waits for the disk.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use classifier::image::Image;
use tracing::{info, warn};

use crate::last_good::{LastGood, LastGoodError};

/// Time between two writings: changes in quick succession are kept as one, and a storm of them does not wear the disk.
const PAUSE: Duration = Duration::from_millis(100);

/// What is kept, and what is to be.
#[derive(Debug)]
pub(super) struct Keeper {
    files: Mutex<LastGood>,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In force, and not on disk yet.
    latest: Option<Arc<Image>>,
    /// Why what is in force is not on disk, when the disk refused it.
    refusal: Option<String>,
    is_ending: bool,
}

impl Keeper {
    pub(super) fn new(files: LastGood) -> Self {
        Self { files: Mutex::new(files), state: Mutex::default(), news: Condvar::new() }
    }

    /// The image kept last, as `LastGood::load` has it.
    pub(super) fn load(&self, bytes_max: usize) -> Result<Option<Image>, LastGoodError> {
        self.files().load(bytes_max)
    }

    /// The image is good, but there is no memory to hand it out again.
    pub(super) fn no_memory(&self, error: io::Error) -> LastGoodError {
        LastGoodError::memory(&self.files().path(), error)
    }

    /// From now on this is what has to be on disk.
    pub(super) fn note(&self, image: Arc<Image>) {
        self.state().latest = Some(image);
        self.news.notify_all();
    }

    /// Why what is in force is not on disk, when the disk refused it.
    pub(super) fn refusal(&self) -> Option<String> {
        self.state().refusal.clone()
    }

    /// Lets `run` return once it has written what there is.
    pub(super) fn end(&self) {
        self.state().is_ending = true;
        self.news.notify_all();
    }

    /// Writes until `end`.
    pub(super) fn run(&self) {
        loop {
            let nothing = |state: &mut State| state.latest.is_none() && !state.is_ending;
            let mut state =
                self.news.wait_while(self.state(), nothing).unwrap_or_else(PoisonError::into_inner);
            let is_ending = state.is_ending;
            let image = state.latest.take();
            drop(state);
            if let Some(image) = image {
                self.keep(image);
            }
            if is_ending {
                return;
            }
            let going_on = |state: &mut State| !state.is_ending;
            // Whether the time is over or the end has come, the next round finds out.
            drop(self.news.wait_timeout_while(self.state(), PAUSE, going_on));
        }
    }

    fn keep(&self, image: Arc<Image>) {
        let refusal = self.files().keep(&image).err().map(|error| error.to_string());
        let mut state = self.state();
        match (&refusal, &state.refusal) {
            (Some(why), known) if known.as_ref() != Some(why) => {
                warn!(
                    why,
                    "the policy in force could not be kept on disk; a restart would go back"
                );
            }
            (None, Some(_)) => info!("the policy in force is kept on disk now"),
            (Some(_) | None, _) => {}
        }
        if refusal.is_some() {
            state.latest.get_or_insert(image);
        }
        state.refusal = refusal;
    }

    fn files(&self) -> MutexGuard<'_, LastGood> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
