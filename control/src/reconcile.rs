//! What the documents say against what is in force: when to publish, and when to leave everything as it is.

use std::path::{Path, PathBuf};

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use classifier::resource::PolicySet;
use jiff::Timestamp;
use tracing::{info, warn};

use crate::diagnostic::{self, Diagnostic};
use crate::document::Dialect;
use crate::images::Images;
use crate::inventory;
use crate::publish::{Dataplane, DataplaneStatus, HandoverError};
use crate::report::{DataplaneReport, LoadReport, PolicyReport, Report, SharedReport};
use crate::settings::Settings;

/// The version of the report's form.
const REPORT_SCHEMA: u32 = 1;

/// Holds the last accepted documents and makes them what is in force.
#[derive(Debug)]
pub struct Reconciler {
    settings: Settings,
    dataplane: Dataplane,
    images: Images,
    desired: Option<Desired>,
    /// The generation that was found to hold the desired policy.
    settled: Option<u64>,
    /// Files of the last reading, accepted or not: the ones to watch.
    files: Vec<PathBuf>,
    report: SharedReport,
}

/// A set that was accepted.
#[derive(Debug)]
struct Desired {
    set: PolicySet,
    image: Image,
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
        let (desired, settled, files) = (None, None, Vec::new());
        Self { settings, dataplane, images, desired, settled, files, report }
    }

    /// Reads and compiles the documents. A set that is refused changes nothing but the report.
    pub fn load(&mut self, now: Timestamp) {
        let loaded = inventory::load(&self.settings.policy_directory, &self.settings.gateway());
        self.files.clone_from(&loaded.files);
        let mut findings = loaded.findings;
        let desired = loaded.policy_set.and_then(|set| {
            let compiled = compile(&set, self.next_generation(), &Limits::default());
            let image = compiled.map_err(|errors| findings.extend(errors.iter().map(refused)));
            Some(Desired { set, image: image.ok()? })
        });
        let accepted = desired.is_some();
        log(&findings, accepted);
        if let Some(desired) = desired {
            self.desired = Some(desired);
            self.settled = None;
        }
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
        if self.desired.is_none() || (in_force.is_some() && in_force == self.settled) {
            return Ok(status);
        }
        if in_force.is_some() && self.is_desired(&self.dataplane.image()?) {
            self.settled = in_force;
            return Ok(status);
        }
        self.publish(in_force.unwrap_or(0))?;
        self.dataplane.status()
    }

    /// Whether `image`, which is in force, is what the documents say. Its names are kept for the flow log.
    fn is_desired(&self, image: &Image) -> bool {
        let known = self.images.load(image.generation());
        if known.is_none_or(|known| known.bytes() != image.bytes()) {
            self.keep(image);
        }
        self.desired.as_ref().is_some_and(|desired| desired.image.same_policy(image))
    }

    fn publish(&mut self, in_force: u64) -> Result<(), HandoverError> {
        let generation = self.next_generation().max(in_force + 1);
        let Some(desired) = &mut self.desired else { return Ok(()) };
        if desired.image.generation() != generation {
            // The same set compiled before: only the number is another one.
            if let Ok(image) = compile(&desired.set, generation, &Limits::default()) {
                desired.image = image;
            }
        }
        let Some(Desired { image, .. }) = &self.desired else { return Ok(()) };
        self.keep(image);
        match self.dataplane.publish(image) {
            Ok(answer) => {
                info!(generation, answer, "policy published");
                self.settled = Some(generation);
                Ok(())
            }
            Err(error) => {
                if let HandoverError::Refused(_) = error {
                    self.images.forget(generation);
                }
                Err(error)
            }
        }
    }

    /// Above every generation that was ever kept here: a number never names two policies in the flow log.
    fn next_generation(&self) -> u64 {
        self.images.newest() + 1
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

/// A compiler's refusal as a finding like all others.
fn refused(error: &classifier::compile::CompileError) -> Diagnostic {
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
