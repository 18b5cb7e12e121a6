//! Documents that a question is asked of: read and compiled now.

use std::path::Path;

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use classifier::packet::{Crossing, Side};
use classifier::resource::PolicySet;

use crate::cli::say;
use crate::diagnostic::{self, Diagnostic};
use crate::inventory;
use crate::resolve::Gateway;
use crate::settings::{Settings, is_settings};

/// A document set and what it compiles to.
pub(super) struct Documents {
    pub(super) set: PolicySet,
    pub(super) image: Image,
}

impl Documents {
    /// Reads documents, a file or a directory; of a settings file those that it names, as that gateway. Why there are
    /// none is said.
    pub(super) fn load(path: &Path, gateway: &Gateway) -> Option<Self> {
        if is_settings(path) {
            let settings = super::load_settings(path)?;
            return Self::read(&settings.policy_directory, &settings.gateway());
        }
        Self::read(path, gateway)
    }

    fn read(path: &Path, gateway: &Gateway) -> Option<Self> {
        let loaded = inventory::load(path, gateway);
        let mut findings = loaded.findings;
        if let Some(set) = loaded.policy_set {
            match compile(&set, 0, &Limits::default()) {
                Ok(image) => return Some(Self { set, image }),
                Err(errors) => findings.extend(
                    errors
                        .iter()
                        .map(|error| Diagnostic::error("policy.compile", error.to_string())),
                ),
            }
        }
        let path = path.display();
        let findings = diagnostic::render_human(&findings, false);
        say(&format!("the documents of `{path}` are refused\n{findings}"));
        None
    }
}

/// The gateway that the settings say, or one without name and ports.
pub(super) fn gateway(settings: Option<&Settings>) -> Gateway {
    settings.map(Settings::gateway).unwrap_or_default()
}

/// The way of packets through the gateway.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Way {
    /// The side that packets come in by [default: outside]
    #[arg(long = "in", value_name = "SIDE")]
    incoming: Option<SideName>,
    /// The side that packets leave by [default: the other one]
    #[arg(long = "out", value_name = "SIDE")]
    outgoing: Option<SideName>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
enum SideName {
    /// Towards the protected things
    Inside,
    /// Towards the rest of the world
    Outside,
}

impl Way {
    /// The way that was asked for; none when nothing was.
    pub(super) fn crossing(self) -> Option<Crossing> {
        let other = |side| if side == Side::Inside { Side::Outside } else { Side::Inside };
        let side = |name| match name {
            SideName::Inside => Side::Inside,
            SideName::Outside => Side::Outside,
        };
        match (self.incoming.map(side), self.outgoing.map(side)) {
            (None, None) => None,
            (Some(from), to) => Some(Crossing::sides(from, to.unwrap_or_else(|| other(from)))),
            (None, Some(to)) => Some(Crossing::sides(Side::Outside, to)),
        }
    }
}

/// Into what is behind the gateway.
pub(super) const INWARD: Crossing = Crossing::sides(Side::Outside, Side::Inside);
/// Out of it.
pub(super) const OUTWARD: Crossing = Crossing::sides(Side::Inside, Side::Outside);
