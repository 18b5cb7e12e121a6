//! How a policy comes into force: control hands over an image, and it is judged here before anything changes.
//!
//! `Handover` holds what is in force and answers requests; `Server` is the socket they come by. One thread runs both, and
//! it is no worker: packets are judged by the last published image whatever happens here, also when control is gone.

mod desk;
mod keeper;
mod memfd;
mod socket;

use std::fmt;
use std::io;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use classifier::handover::flows::Conversation;
use classifier::handover::{Reply, Request};
use classifier::image::{Image, ImageError};
use tracing::{debug, error, info, warn};

pub use self::desk::{DeskCounts, DeskParts, FlowDesk};
use self::keeper::Keeper;
pub use self::memfd::MemfdError;
pub use self::socket::{Answer, BindError, Message, Peers, Server};
use crate::last_good::{LastGood, LastGoodError};

/// Time between two looks at `stop`.
const IDLE: Duration = Duration::from_millis(250);

/// Puts an image in force: called on the handover thread, must not fail.
pub type Publish = Box<dyn FnMut(Arc<Image>) + Send>;
/// Appends `key value` lines to the status.
pub type Describe = Box<dyn FnMut(&mut String) + Send>;

/// What is in force, and the only way to change it.
pub struct Handover {
    keeper: Arc<Keeper>,
    image_bytes_max: usize,
    publish: Publish,
    describe: Describe,
    desk: Option<FlowDesk>,
    in_force: Option<InForce>,
    /// Changes that came into force since the start.
    changes: u64,
    /// Images and changes refused since the start, and why the last one was.
    refused: u64,
    last_refusal: Option<String>,
}

/// The image in force as it was handed over.
#[derive(Debug)]
struct InForce {
    image: Arc<Image>,
    memfd: OwnedFd,
    patch_memfd: Option<OwnedFd>,
    since: SystemTime,
}

impl Handover {
    /// Nothing in force; the last good image is kept in `state_directory`. `describe` adds what others know to the status.
    #[must_use]
    pub fn new(
        state_directory: &Path,
        image_bytes_max: usize,
        publish: Publish,
        describe: Describe,
    ) -> Self {
        Self {
            keeper: Arc::new(Keeper::new(LastGood::in_directory(state_directory))),
            image_bytes_max,
            publish,
            describe,
            desk: None,
            in_force: None,
            changes: 0,
            refused: 0,
            last_refusal: None,
        }
    }

    /// The same, with a desk for questions about flows.
    #[must_use]
    pub fn with_desk(self, desk: FlowDesk) -> Self {
        Self { desk: Some(desk), ..self }
    }

    /// Puts the last good image in force, if there is one. Returns its generation.
    ///
    /// # Errors
    /// When there is one and it cannot be used. Nothing is in force then, and nothing passes.
    pub fn start(&mut self, now: SystemTime) -> Result<Option<u64>, LastGoodError> {
        let loaded = self.keeper.load(self.image_bytes_max);
        let Some(image) = loaded.inspect_err(|error| self.note_refusal(error))? else {
            return Ok(None);
        };
        let generation = image.generation();
        let sealed = |bytes| memfd::sealed(bytes).map_err(|error| self.keeper.no_memory(error));
        let memfd = sealed(image.bytes())?;
        let patch_memfd = image.patch_bytes().map(sealed).transpose()?;
        self.enforce(InForce { image: Arc::new(image), memfd, patch_memfd, since: now });
        Ok(Some(generation))
    }

    /// Serves `server` until `stop` is set. What comes into force is kept on disk meanwhile, and when this returns.
    ///
    /// # Errors
    /// When the listening socket fails. What is in force stays.
    pub fn run(mut self, server: &Server, stop: &AtomicBool) -> io::Result<()> {
        let keeper = Arc::clone(&self.keeper);
        let kept = thread::Builder::new().name("keeper".to_owned()).spawn(move || keeper.run())?;
        let mut served = Ok(true);
        while served.is_ok() && !stop.load(Ordering::Relaxed) {
            served = server.serve_one(IDLE, |message| self.answer(message, SystemTime::now()));
        }
        self.keeper.end();
        if kept.join().is_err() {
            error!("the thread that keeps the policy in force on disk panicked");
        }
        served.map(drop)
    }

    /// Answers one request, whatever it is.
    pub fn answer(&mut self, message: Message, now: SystemTime) -> Answer<'_> {
        let Message { request, body, descriptors } = message;
        match (request.and_then(Request::from_byte), body.as_slice()) {
            (Some(Request::Publish), []) => {
                let published = self.publish(descriptors, now);
                self.answer_of(published)
            }
            (Some(Request::Change), []) => {
                let changed = self.change(descriptors, now);
                self.answer_of(changed)
            }
            (Some(Request::Status), []) => Answer::done(self.status()),
            (Some(Request::Image), []) => self.image(),
            (Some(Request::Flows), cursor) => self.flows(cursor),
            (Some(Request::Kill), flows) => self.kill(flows),
            (_, body) => {
                let length = body.len();
                warn!(?request, length, "handover: a request that is not known was refused");
                let known = "publish 1, status 2, image 3, change 4; or more: flows 5, kill 6";
                Answer::refused(format!("a request is one byte: {known}"))
            }
        }
    }

    fn image(&self) -> Answer<'_> {
        let Some(in_force) = &self.in_force else {
            return Answer::refused("no policy is in force".to_owned());
        };
        let text = format!("generation {}", in_force.image.generation());
        let descriptors = iter::once(&in_force.memfd).chain(&in_force.patch_memfd);
        let descriptors = descriptors.map(AsFd::as_fd).collect();
        Answer { reply: Reply::Done, text, bytes: Vec::new(), descriptors }
    }

    fn flows(&mut self, cursor: &[u8]) -> Answer<'static> {
        match (&mut self.desk, <[u8; 8]>::try_from(cursor)) {
            (Some(desk), Ok(cursor)) => Answer::bytes(desk.page(u64::from_le_bytes(cursor))),
            (Some(_), Err(_)) => Answer::refused("a cursor has eight bytes".to_owned()),
            (None, _) => Answer::refused("there is no flow table".to_owned()),
        }
    }

    fn kill(&mut self, flows: &[u8]) -> Answer<'static> {
        match (&mut self.desk, Conversation::decode_all(flows)) {
            (Some(desk), Some(flows)) => {
                let killed = desk.kill(&flows);
                info!(killed, asked = flows.len(), "flows were killed by request");
                Answer::done(killed.to_string())
            }
            (Some(_), None) => Answer::refused("these are no flows".to_owned()),
            (None, _) => Answer::refused("there is no flow table".to_owned()),
        }
    }

    fn answer_of(&mut self, enforced: Result<u64, Refusal>) -> Answer<'static> {
        match enforced {
            Ok(generation) => Answer::done(format!("generation {generation} is in force")),
            Err(refusal) => {
                self.note_refusal(&refusal);
                Answer::refused(refusal.to_string())
            }
        }
    }

    /// Puts an image in force, with its patch if one came; returns their generation.
    fn publish(&mut self, descriptors: Vec<OwnedFd>, now: SystemTime) -> Result<u64, Refusal> {
        let count = descriptors.len();
        let mut descriptors = descriptors.into_iter();
        let (Some(memfd), patch_memfd, None) =
            (descriptors.next(), descriptors.next(), descriptors.next())
        else {
            return Err(Refusal::Descriptors { count });
        };
        let bytes = memfd::read(&memfd, self.image_bytes_max).map_err(Refusal::Memfd)?;
        let mut image = Image::load(bytes).map_err(Refusal::Image)?;
        if let Some(memfd) = &patch_memfd {
            image = self.patched(&image, memfd)?;
        }
        let generation = self.newer(&image)?;
        self.enforce(InForce { image: Arc::new(image), memfd, patch_memfd, since: now });
        self.keep();
        info!(generation, "policy in force");
        Ok(generation)
    }

    /// Puts a patch in force, in place of the one that the image in force has; returns its generation.
    fn change(&mut self, descriptors: Vec<OwnedFd>, now: SystemTime) -> Result<u64, Refusal> {
        let [patch_memfd] = <[OwnedFd; 1]>::try_from(descriptors)
            .map_err(|descriptors| Refusal::ChangeDescriptors { count: descriptors.len() })?;
        let in_force = self.in_force.as_ref().ok_or(Refusal::NothingToChange)?;
        let image = self.patched(&in_force.image, &patch_memfd)?;
        let generation = self.newer(&image)?;
        let Some(InForce { memfd, .. }) = self.in_force.take() else {
            return Err(Refusal::NothingToChange);
        };
        let patch_memfd = Some(patch_memfd);
        self.enforce(InForce { image: Arc::new(image), memfd, patch_memfd, since: now });
        self.keep();
        self.changes += 1;
        debug!(generation, "a change is in force");
        Ok(generation)
    }

    /// Image and patch together are as large as an image may be.
    fn patched(&self, image: &Image, memfd: &OwnedFd) -> Result<Image, Refusal> {
        let room = self.image_bytes_max.saturating_sub(image.bytes().len());
        let bytes = memfd::read(memfd, room).map_err(Refusal::ChangeMemfd)?;
        image.with_patch(bytes).map_err(Refusal::Change)
    }

    /// The generation of the image, when it is above the one in force.
    fn newer(&self, image: &Image) -> Result<u64, Refusal> {
        let in_force = self.in_force.as_ref().map_or(0, |in_force| in_force.image.generation());
        let offered = image.generation();
        if offered > in_force {
            Ok(offered)
        } else {
            Err(Refusal::Generation { offered, in_force })
        }
    }

    fn enforce(&mut self, in_force: InForce) {
        (self.publish)(Arc::clone(&in_force.image));
        self.in_force = Some(in_force);
    }

    /// Has what is in force written to disk, some time soon.
    fn keep(&self) {
        if let Some(InForce { image, .. }) = &self.in_force {
            self.keeper.note(Arc::clone(image));
        }
    }

    fn note_refusal(&mut self, refusal: &dyn fmt::Display) {
        warn!(%refusal, "a policy image was refused; what was in force stays");
        self.refused += 1;
        self.last_refusal = Some(refusal.to_string());
    }

    fn status(&mut self) -> String {
        let mut lines = String::new();
        let mut line = |key, value: &dyn fmt::Display| status_line(&mut lines, key, value);
        match &self.in_force {
            None => line("policy.generation", &"none"),
            Some(InForce { image, since, .. }) => {
                let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                line("policy.generation", &image.generation());
                line("policy.since", &since);
                line("policy.bytes", &image.bytes().len());
                line("policy.base-generation", &image.base_generation());
                line("policy.patch-bytes", &image.patch_bytes().map_or(0, <[u8]>::len));
            }
        }
        line("policy.changes", &self.changes);
        line("policy.refused", &self.refused);
        if let Some(refusal) = &self.last_refusal {
            line("policy.last-refusal", refusal);
        }
        if let Some(why) = self.keeper.refusal() {
            line("policy.not-kept", &why);
        }
        (self.describe)(&mut lines);
        lines
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("in_force", &self.in_force).finish_non_exhaustive()
    }
}

/// Appends one `key value` line of the status; a value never breaks its line.
pub fn status_line(lines: &mut String, key: &str, value: &dyn fmt::Display) {
    let value = value.to_string().replace('\n', " ");
    lines.extend([key, " ", &value, "\n"]);
}

/// Why an image or a change was not put in force.
#[derive(Debug)]
pub enum Refusal {
    /// Neither one nor two file descriptors came with an image.
    Descriptors {
        /// How many were taken; there may have been more.
        count: usize,
    },
    /// Not exactly one file descriptor came with a change.
    ChangeDescriptors {
        /// How many were taken; there may have been more.
        count: usize,
    },
    /// The file descriptor does not carry a sealed image.
    Memfd(MemfdError),
    /// The file descriptor does not carry a sealed patch.
    ChangeMemfd(MemfdError),
    /// The image does not pass its validation.
    Image(ImageError),
    /// The patch does not pass its validation, or belongs to another image.
    Change(ImageError),
    /// A change of no policy.
    NothingToChange,
    /// It is not newer than what is in force.
    Generation {
        /// Its generation.
        offered: u64,
        /// The generation in force; 0 is before the first.
        in_force: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors { count } => {
                let came = if *count == 0 { "none" } else { "more" };
                write!(f, "publish takes one or two file descriptors, {came} came")
            }
            Self::ChangeDescriptors { count } => {
                let came = if *count == 0 { "none" } else { "more than one" };
                write!(f, "a change takes exactly one file descriptor, {came} came")
            }
            Self::Memfd(error) => write!(f, "{error}"),
            Self::ChangeMemfd(error) => write!(f, "the change cannot be read: {error}"),
            Self::Image(error) => write!(f, "{error}"),
            Self::Change(error) => write!(f, "the change cannot be made: {error}"),
            Self::NothingToChange => {
                f.write_str("no policy is in force that could change; publish one in full")
            }
            Self::Generation { offered, in_force } => {
                write!(
                    f,
                    "generation {offered} is not above generation {in_force}, which is in force"
                )
            }
        }
    }
}

impl std::error::Error for Refusal {}
