//! What the documents say against what is in force: when to publish, and when to leave everything as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use classifier::compile::{CompileError, Limits, changes};
use classifier::image::Image;
use classifier::resource::PolicySet;
use jiff::Timestamp;
use tracing::{debug, info, warn};

use crate::diagnostic::{self, Diagnostic};
use crate::document::Dialect;
use crate::follow::Follower;
use crate::images::Images;
use crate::inventory::{self, Known};
use crate::publish::{Dataplane, DataplaneStatus, HandoverError};
use crate::report::{DataplaneReport, LoadReport, PolicyReport, Report, SharedReport};
use crate::settings::Settings;

/// The version of the report's form.
const REPORT_SCHEMA: u32 = 1;
/// Looks at a data plane that is as it should be until the policy is compiled anew, to be rid of what changes left.
const IDLE_LOOKS: u32 = 120;

/// Holds the last accepted documents and makes them what is in force.
#[derive(Debug)]
pub struct Reconciler {
    settings: Settings,
    dataplane: Dataplane,
    images: Images,
    desired: Option<Desired>,
    /// The generation that was found to hold the desired policy.
    settled: Option<u64>,
    /// The image that was last seen in force.
    seen: Option<Image>,
    /// Looks in a row that found everything as it should be.
    idle_looks: u32,
    /// What files said at the last reading.
    known: Known,
    /// Files of the last reading, accepted or not: the ones to watch.
    files: Vec<PathBuf>,
    report: SharedReport,
}

/// A set that was accepted.
#[derive(Debug)]
struct Desired {
    set: Arc<PolicySet>,
    follower: Follower,
}

impl Reconciler {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings, images: Images) -> Self {
        let dataplane = Dataplane::at(&settings.dataplane.socket);
        let socket = settings.dataplane.socket.clone();
        let report = SharedReport::new(Report {
            schema: REPORT_SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            gateway: settings.gateway_name.clone(),
            policy: PolicyReport::default(),
            last_load: None,
            dataplane: DataplaneReport { socket, ..DataplaneReport::default() },
            flow_log: crate::flowlog::FlowLogState::default(),
        });
        Self {
            settings,
            dataplane,
            images,
            desired: None,
            settled: None,
            seen: None,
            idle_looks: 0,
            known: Known::default(),
            files: Vec::new(),
            report,
        }
    }

    /// Reads and compiles the documents. A set that is refused changes nothing but the report.
    pub fn load(&mut self, now: Timestamp) {
        let (directory, gateway) = (&self.settings.policy_directory, self.settings.gateway());
        let loaded = inventory::load_again(directory, &gateway, &mut self.known);
        self.files.clone_from(&loaded.files);
        let mut findings = loaded.findings;
        let accepted = loaded.policy_set.is_some_and(|set| {
            let taken = self.take(set);
            taken.map_err(|errors| findings.extend(errors.iter().map(refused))).is_ok()
        });
        log(&findings, accepted);
        let (lists, sources) = loaded.files.into_iter().partition(|file| is_list(file));
        self.report.change(|report| {
            let (at, findings) = (format!("{now:.3}"), diagnostic::to_json(&findings));
            report.last_load = Some(LoadReport { at, accepted, findings });
            if accepted {
                report.policy.sources = sources;
                report.policy.lists = lists;
                report.policy.current = false;
            }
        });
    }

    /// Compares what is in force with the accepted documents and publishes them when they differ.
    ///
    /// Returns whether all is well; if not, it is worth asking again soon.
    pub fn reconcile(&mut self) -> bool {
        match self.try_reconcile() {
            Ok(status) => {
                self.tell(Some(&status), None);
                true
            }
            Err(error) => {
                // An answer, if only a refusal, says that it is there.
                let status = self.dataplane.status().ok();
                self.tell(status.as_ref(), Some(error.to_string()));
                false
            }
        }
    }

    /// The report, for whoever answers for it.
    #[must_use]
    pub fn report(&self) -> SharedReport {
        self.report.clone()
    }

    /// The files of the last reading.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Where the documents are.
    #[must_use]
    pub fn policy_directory(&self) -> &Path {
        &self.settings.policy_directory
    }

    fn try_reconcile(&mut self) -> Result<DataplaneStatus, HandoverError> {
        let status = self.dataplane.status()?;
        let in_force = status.generation();
        if in_force.is_some_and(|generation| !self.images.has(generation)) {
            self.keep(&self.dataplane.image()?);
        }
        let has_moved = self.tend();
        if self.desired.is_none() {
            return Ok(status);
        }
        let is_settled = in_force.is_some() && in_force == self.settled;
        if !is_settled
            && in_force.is_some()
            && in_force != self.seen.as_ref().map(Image::generation)
        {
            let image = self.dataplane.image()?;
            if self.is_desired(&image) {
                self.settled = in_force;
            }
            self.seen = Some(image);
        }
        if in_force.is_some() && in_force == self.settled && !has_moved {
            self.idle_looks += 1;
            return Ok(status);
        }
        self.idle_looks = 0;
        self.publish(in_force.unwrap_or(0))?;
        self.dataplane.status()
    }

    /// Makes `set` what is to be in force.
    fn take(&mut self, set: PolicySet) -> Result<(), Vec<CompileError>> {
        let generation = self.next_generation();
        let set = Arc::new(set);
        if let Some(Desired { set: before, follower }) = &mut self.desired
            && let Some(changes) = changes(before, &set)
        {
            if changes.is_empty() {
                return Ok(());
            }
            match follower.change(&set, &changes, generation) {
                Ok(_) => {
                    *before = set;
                    self.settled = None;
                    return Ok(());
                }
                Err(why) => debug!(%why, "the documents have changed by much"),
            }
        }
        let follower = Follower::new(&set, generation, Limits::default())?;
        self.desired = Some(Desired { set, follower });
        self.settled = None;
        Ok(())
    }

    /// Looks after what goes on behind the changes; returns whether there is another image of the same policy.
    fn tend(&mut self) -> bool {
        let Some(Desired { set, follower }) = &mut self.desired else { return false };
        if self.idle_looks == IDLE_LOOKS {
            follower.tidy(set);
        }
        follower.tend(set)
    }

    /// Whether `image`, which is in force, is what the documents say. Its names are kept for the flow log.
    fn is_desired(&self, image: &Image) -> bool {
        let known = self.images.load(image.generation());
        let is_it = |known: Image| {
            known.bytes() == image.bytes() && known.patch_bytes() == image.patch_bytes()
        };
        if !known.is_some_and(is_it) {
            self.keep(image);
        }
        let desired = self.desired.as_ref();
        desired.is_some_and(|desired| desired.follower.image().same_policy(image))
    }

    fn publish(&mut self, in_force: u64) -> Result<(), HandoverError> {
        let taken = self.images.newest().max(in_force);
        let Some(desired) = &mut self.desired else { return Ok(()) };
        let image = desired.image_above(taken);
        let generation = image.generation();
        self.keep(&image);
        match self.hand_over(&image, in_force) {
            Ok(answer) => {
                info!(generation, answer, "policy published");
                self.settled = Some(generation);
                self.seen = Some(image);
                Ok(())
            }
            Err(error) => {
                self.seen = None;
                if let HandoverError::Refused(_) = error {
                    self.images.forget(generation);
                }
                Err(error)
            }
        }
    }

    /// As a change where the data plane has the image that it is a change of, else in full.
    fn hand_over(&self, image: &Image, in_force: u64) -> Result<String, HandoverError> {
        let is_there = |seen: &Image| seen.generation() == in_force && seen.same_base(image);
        if let Some(patch) = image.patch_bytes()
            && self.seen.as_ref().is_some_and(is_there)
        {
            match self.dataplane.change(patch) {
                Err(HandoverError::Refused(why)) => {
                    warn!(why, "a change was refused; the whole policy is published");
                }
                answered => return answered,
            }
        }
        self.dataplane.publish(image)
    }

    /// Above every generation that was ever kept here: a number never names two policies in the flow log.
    fn next_generation(&self) -> u64 {
        let made = self.desired.as_ref().map_or(0, |desired| desired.follower.image().generation());
        self.images.newest().max(made) + 1
    }

    fn keep(&self, image: &Image) {
        if let Err(error) = self.images.keep(image) {
            let generation = image.generation();
            warn!(%error, generation, "cannot keep the image: the flow log will have numbers for names");
        }
    }

    fn tell(&self, status: Option<&DataplaneStatus>, error: Option<String>) {
        let before = self.report.snapshot().dataplane;
        match (&error, &before.error) {
            (Some(error), said) if said.as_ref() != Some(error) => {
                warn!(error, "what is in force cannot be brought up to date; trying again");
            }
            (None, Some(_)) => info!("the data plane is there again"),
            _ => {}
        }
        let generation = status.and_then(DataplaneStatus::generation);
        let since = status.and_then(|status| status.value("policy.since")?.parse().ok());
        let since = since.and_then(|seconds| Timestamp::from_second(seconds).ok());
        self.report.change(|report| {
            report.policy.generation = generation;
            report.policy.since = since.map(|since| since.to_string());
            report.policy.current = generation.is_some() && generation == self.settled;
            report.dataplane.connected = status.is_some();
            report.dataplane.error = error;
        });
    }
}

impl Desired {
    /// The image by a number above `taken`.
    fn image_above(&mut self, taken: u64) -> Image {
        let Self { set, follower } = self;
        let generation = taken + 1;
        if follower.image().generation() <= taken && follower.change(set, &[], generation).is_err()
        {
            // The set was compiled before, so it can be again.
            match Follower::new(set, generation, Limits::default()) {
                Ok(anew) => *follower = anew,
                Err(errors) => warn!(?errors, "the accepted policy does not compile any more"),
            }
        }
        follower.image().clone()
    }
}

/// A compiler's refusal as a finding like all others.
fn refused(error: &CompileError) -> Diagnostic {
    Diagnostic::error("compile", error.to_string())
}

/// Documents have the name of their language; whatever else was read is a list.
fn is_list(file: &Path) -> bool {
    !file.is_dir() && Dialect::named(file).is_none()
}

fn log(findings: &[Diagnostic], accepted: bool) {
    for finding in findings {
        let help = finding.help.as_deref();
        warn!(help, "{finding}");
    }
    if accepted {
        info!(warnings = findings.len(), "documents accepted");
    } else {
        let errors = findings.iter().filter(|finding| finding.is_error()).count();
        warn!(errors, "documents refused; what is in force stays");
    }
}
