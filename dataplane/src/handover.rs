//! How a policy comes into force: control hands over an image, and it is judged here before anything changes.
//!
//! `Handover` holds what is in force and answers requests; `Server` is the socket they come by. One thread runs both, and
//! it is no worker: packets are judged by the last published image whatever happens here, also when control is gone.

mod memfd;
mod socket;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use classifier::handover::{Reply, Request};
use classifier::image::{Image, ImageError};
use tracing::{info, warn};

pub use self::memfd::MemfdError;
pub use self::socket::{Answer, BindError, Message, Peers, Server};
use crate::last_good::{LastGood, LastGoodError};

/// Time between two looks at `stop`, and between two attempts to keep an image that the disk refused.
const IDLE: Duration = Duration::from_millis(250);

/// Puts an image in force: called on the handover thread, must not fail.
pub type Publish = Box<dyn FnMut(Arc<Image>) + Send>;
/// Appends `key value` lines to the status.
pub type Describe = Box<dyn FnMut(&mut String) + Send>;

/// What is in force, and the only way to change it.
pub struct Handover {
    last_good: LastGood,
    image_bytes_max: usize,
    publish: Publish,
    describe: Describe,
    in_force: Option<InForce>,
    /// Images refused since the start, and why the last one was.
    refused: u64,
    last_refusal: Option<String>,
    /// Why the image in force is not on disk.
    unkept: Option<String>,
}

/// The image in force as it was handed over.
#[derive(Debug)]
struct InForce {
    image: Arc<Image>,
    memfd: OwnedFd,
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
            last_good: LastGood::in_directory(state_directory),
            image_bytes_max,
            publish,
            describe,
            in_force: None,
            refused: 0,
            last_refusal: None,
            unkept: None,
        }
    }

    /// Puts the last good image in force, if there is one. Returns its generation.
    ///
    /// # Errors
    /// When there is one and it cannot be used. Nothing is in force then, and nothing passes.
    pub fn start(&mut self, now: SystemTime) -> Result<Option<u64>, LastGoodError> {
        let loaded = self.last_good.load(self.image_bytes_max);
        let Some(image) = loaded.inspect_err(|error| self.note_refusal(error))? else {
            return Ok(None);
        };
        let generation = image.generation();
        let memfd = memfd::sealed(image.bytes())
            .map_err(|error| LastGoodError::memory(self.last_good.path(), error))?;
        self.enforce(image, memfd, now);
        Ok(Some(generation))
    }

    /// Serves `server` until `stop` is set.
    ///
    /// # Errors
    /// When the listening socket fails. What is in force stays.
    pub fn run(mut self, server: &Server, stop: &AtomicBool) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            if !server.serve_one(IDLE, |message| self.answer(message, SystemTime::now()))? {
                self.keep_if_unkept();
            }
        }
        Ok(())
    }

    /// Answers one request, whatever it is.
    pub fn answer(&mut self, message: Message, now: SystemTime) -> Answer<'_> {
        let Message { request, descriptors } = message;
        let done = |text| Answer { reply: Reply::Done, text, descriptor: None };
        match request.and_then(Request::from_byte) {
            Some(Request::Publish) => match self.publish(descriptors, now) {
                Ok(text) => done(text),
                Err(refusal) => {
                    self.note_refusal(&refusal);
                    refused(refusal.to_string())
                }
            },
            Some(Request::Status) => done(self.status()),
            Some(Request::Image) => match &self.in_force {
                Some(in_force) => {
                    let text = format!("generation {}", in_force.image.generation());
                    let descriptor = Some(in_force.memfd.as_fd());
                    Answer { reply: Reply::Done, text, descriptor }
                }
                None => refused("no policy is in force".to_owned()),
            },
            None => {
                warn!(?request, "handover: a request that is not known was refused");
                refused("a request is one byte: publish 1, status 2, image 3".to_owned())
            }
        }
    }

    fn publish(&mut self, descriptors: Vec<OwnedFd>, now: SystemTime) -> Result<String, Refusal> {
        let [memfd] = <[OwnedFd; 1]>::try_from(descriptors)
            .map_err(|descriptors| Refusal::Descriptors { count: descriptors.len() })?;
        let bytes = memfd::read(&memfd, self.image_bytes_max).map_err(Refusal::Memfd)?;
        let image = Image::load(bytes).map_err(Refusal::Image)?;
        let in_force = self.in_force.as_ref().map_or(0, |in_force| in_force.image.generation());
        let offered = image.generation();
        if offered <= in_force {
            return Err(Refusal::Generation { offered, in_force });
        }
        self.enforce(image, memfd, now);
        info!(generation = offered, "policy in force");
        self.keep();
        Ok(match &self.unkept {
            None => format!("generation {offered} is in force"),
            Some(why) => format!("generation {offered} is in force, but not kept on disk: {why}"),
        })
    }

    fn enforce(&mut self, image: Image, memfd: OwnedFd, now: SystemTime) {
        let image = Arc::new(image);
        (self.publish)(Arc::clone(&image));
        self.in_force = Some(InForce { image, memfd, since: now });
    }

    fn keep(&mut self) {
        let Some(InForce { image, .. }) = &self.in_force else { return };
        self.unkept = self.last_good.keep(image.bytes()).err().map(|error| error.to_string());
        if let Some(why) = &self.unkept {
            warn!(why, "the policy in force could not be kept on disk; a restart would go back");
        }
    }

    fn keep_if_unkept(&mut self) {
        if let (Some(_), Some(InForce { image, .. })) = (&self.unkept, &self.in_force)
            && self.last_good.keep(image.bytes()).is_ok()
        {
            self.unkept = None;
            info!("the policy in force is kept on disk now");
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
            }
        }
        line("policy.refused", &self.refused);
        if let Some(refusal) = &self.last_refusal {
            line("policy.last-refusal", refusal);
        }
        if let Some(why) = &self.unkept {
            line("policy.not-kept", why);
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

fn refused(text: String) -> Answer<'static> {
    Answer { reply: Reply::Refused, text, descriptor: None }
}

/// Why an image was not put in force.
#[derive(Debug)]
pub enum Refusal {
    /// Not exactly one file descriptor came with the request.
    Descriptors {
        /// How many were taken; there may have been more.
        count: usize,
    },
    /// The file descriptor does not carry a sealed image.
    Memfd(MemfdError),
    /// The image does not pass its validation.
    Image(ImageError),
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
                let came = if *count == 0 { "none" } else { "more than one" };
                write!(f, "publish takes exactly one file descriptor, {came} came")
            }
            Self::Memfd(error) => write!(f, "{error}"),
            Self::Image(error) => write!(f, "{error}"),
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
