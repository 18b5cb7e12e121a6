//! A compiled policy that follows its documents: small changes at once, and behind them, on a thread of its own, what
//! keeps small changes small.
//!
//! Each change makes the patch of the image longer. A long patch is folded into the image; when changes have left much
//! behind, or nothing has changed for a while, the policy is compiled anew. Changes go on meanwhile, and what has changed
//! since is made up for at the end. No files, no clock: whoever drives this says when.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use classifier::compile::{Change, CompileError, Declined, Limits, Live, changes};
use classifier::image::{Image, ImageError};
use classifier::resource::PolicySet;
use tracing::{debug, warn};

/// A patch of more bytes than this is folded: each change writes, checks and hands over the whole of it.
const PATCH_BYTES_MAX: usize = 64 << 10;

/// A policy set, compiled and ready to follow changes.
#[derive(Debug)]
pub struct Follower {
    limits: Limits,
    live: Live,
    behind: Behind,
}

/// What is done behind the changes.
#[derive(Debug)]
enum Behind {
    Nothing,
    Fold(JoinHandle<Result<Image, ImageError>>),
    Compile { from: Arc<PolicySet>, thread: JoinHandle<Result<Live, Vec<CompileError>>> },
}

impl Follower {
    /// Compiles `set` in full.
    ///
    /// # Errors
    /// Those of the compiler.
    pub fn new(
        set: &PolicySet,
        generation: u64,
        limits: Limits,
    ) -> Result<Self, Vec<CompileError>> {
        let live = Live::new(set, generation, &limits)?;
        Ok(Self { limits, live, behind: Behind::Nothing })
    }

    /// What is to be in force.
    #[must_use]
    pub fn image(&self) -> &Image {
        self.live.image()
    }

    /// Makes the changes that lead to `set`, which is the policy with them made. Without changes it is the same policy by
    /// another number.
    ///
    /// # Errors
    /// When they touch too much, or the changed set cannot be compiled: a new follower is needed then.
    pub fn change(
        &mut self,
        set: &PolicySet,
        changes: &[Change<'_>],
        generation: u64,
    ) -> Result<&Image, Declined> {
        self.live.apply(set, changes, generation)
    }

    /// Takes what is done behind the changes, and begins what is due; `set` is the policy as it is now. Returns whether
    /// another image than before is to be changed from here on: its policy is the same.
    pub fn tend(&mut self, set: &Arc<PolicySet>) -> bool {
        let is_done = match &self.behind {
            Behind::Nothing => false,
            Behind::Fold(thread) => thread.is_finished(),
            Behind::Compile { thread, .. } => thread.is_finished(),
        };
        let has_moved = is_done && self.take(set);
        if matches!(self.behind, Behind::Nothing) {
            let patch = self.image().patch_bytes().map_or(0, <[u8]>::len);
            if self.live.wants_compile() {
                self.begin_compile(set);
            } else if patch > PATCH_BYTES_MAX {
                self.begin_fold();
            }
        }
        has_moved
    }

    /// Begins to compile the policy anew, unless there is something else under way, or no change to be rid of.
    pub fn tidy(&mut self, set: &Arc<PolicySet>) {
        let has_changed = self.image().patch_bytes().is_some();
        if has_changed && matches!(self.behind, Behind::Nothing) {
            self.begin_compile(set);
        }
    }

    /// Whether something is under way that `tend` will take.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !matches!(self.behind, Behind::Nothing)
    }

    fn begin_fold(&mut self) {
        let image = self.live.begin_fold();
        self.behind = match spawn("fold", move || image.fold()) {
            Some(thread) => Behind::Fold(thread),
            None => Behind::Nothing,
        };
    }

    fn begin_compile(&mut self, set: &Arc<PolicySet>) {
        // Above the one in force, so that it can be published when nothing changes meanwhile.
        let generation = self.image().generation() + 1;
        let (from, limits) = (Arc::clone(set), self.limits);
        let of_thread = Arc::clone(set);
        let compile = move || Live::new(&of_thread, generation, &limits);
        self.behind = match spawn("compile", compile) {
            Some(thread) => Behind::Compile { from, thread },
            None => Behind::Nothing,
        };
    }

    /// Goes on with what was made, if it can be brought up to date.
    fn take(&mut self, set: &Arc<PolicySet>) -> bool {
        match std::mem::replace(&mut self.behind, Behind::Nothing) {
            Behind::Nothing => false,
            Behind::Fold(thread) => {
                let Some(Ok(image)) = joined(thread) else { return false };
                self.live
                    .finish_fold(image)
                    .inspect_err(|error| warn!(%error, "the folded image is of no use"))
                    .is_ok()
            }
            Behind::Compile { from, thread } => {
                let Some(Ok(live)) = joined(thread) else { return false };
                self.catch_up(live, &from, set)
            }
        }
    }

    fn catch_up(&mut self, mut live: Live, from: &Arc<PolicySet>, set: &Arc<PolicySet>) -> bool {
        if !Arc::ptr_eq(from, set) {
            let generation = self.image().generation();
            let Some(changes) = changes(from, set) else {
                debug!("the policy has changed too much while it was compiled");
                return false;
            };
            if let Err(why) = live.apply(set, &changes, generation) {
                debug!(%why, "the policy has changed too much while it was compiled");
                return false;
            }
        }
        let before = std::mem::replace(&mut self.live, live);
        // It is as large as an estate: letting go of it takes a while too.
        drop(spawn("forget", move || drop(before)));
        true
    }
}

/// None when the system has no thread to give: there is no hurry.
fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<JoinHandle<T>> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.inspect_err(|error| warn!(%error, "cannot begin to {name} the policy")).ok()
}

/// None when the thread panicked.
fn joined<T>(thread: JoinHandle<T>) -> Option<T> {
    let joined = thread.join();
    joined.inspect_err(|_| warn!("a thread behind the policy panicked")).ok()
}
