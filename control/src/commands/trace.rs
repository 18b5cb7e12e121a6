//! `ravelin trace`: what would become of this packet, and why?

mod capture;
mod packet;

mod print;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use classifier::compile::{Limits, compile};
use classifier::image::Image;

use self::capture::CaptureArguments;
use self::packet::PacketArguments;
pub(super) use self::packet::parse_protocol;
use super::ports::Ports;
use super::{DONE, Output, SETTINGS_PATH, WRONG, load_settings};
use crate::cli::say;
use crate::diagnostic::{self, Diagnostic};
use crate::inventory;
use crate::publish::Dataplane;
use crate::resolve::Gateway;
use crate::settings::Settings;

/// Arguments of `ravelin trace`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(flatten)]
    packet: PacketArguments,
    #[command(flatten)]
    capture: CaptureArguments,
    /// Ask these policy documents, a file or a directory, instead of the policy in force
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    file: Option<PathBuf>,
    /// The settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Where the image that is asked came from.
#[derive(Clone, Debug)]
enum Origin {
    /// The data plane says that it is in force.
    InForce { socket: PathBuf },
    /// These documents, compiled now.
    Documents { path: PathBuf },
}

/// Traces one packet and writes everything that was visited to `out`, or judges a capture. Returns the exit status: 0
/// whatever the verdict.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let Some(settings) = settings(arguments.config.as_deref()) else { return Ok(WRONG) };
    let settings = settings.as_ref();
    if arguments.capture.file().is_some() {
        let Some(asked) = image(arguments.file.as_deref(), settings) else { return Ok(WRONG) };
        return capture::run(arguments, settings, asked, out);
    }
    let question = match arguments.packet.question(settings) {
        Ok(question) => question,
        Err(error) => {
            say(&error);
            return Ok(WRONG);
        }
    };
    let Some((image, origin)) = image(arguments.file.as_deref(), settings) else {
        return Ok(WRONG);
    };
    let view = image.view();
    let crossing = Ports::of(&view, settings).crossing(question.ends);
    let trace = view.trace(&question.packet, crossing);
    let pending = view.has_pending().then(|| view.trace_pending(&question.packet, crossing));
    let generation = image.generation();
    let answer = print::Answer { question, crossing, trace, pending, view, generation, origin };
    match arguments.output {
        Output::Human => out.write_all(answer.human().as_bytes())?,
        Output::Json => writeln!(out, "{:#}", answer.json())?,
    }
    Ok(DONE)
}

/// The settings that were named, or the usual ones where they are. The outer `None`: refused, and said.
#[expect(clippy::option_option, reason = "no settings and refused settings are two things")]
pub(super) fn settings(config: Option<&Path>) -> Option<Option<Settings>> {
    let usual = Path::new(SETTINGS_PATH);
    match config {
        Some(path) => load_settings(path).map(Some),
        None if usual.exists() => load_settings(usual).map(Some),
        None => Some(None),
    }
}

/// The image to ask; why there is none is said.
fn image(documents: Option<&Path>, settings: Option<&Settings>) -> Option<(Image, Origin)> {
    if let Some(path) = documents {
        let gateway = settings.map(Settings::gateway).unwrap_or_default();
        return compiled(path, &gateway)
            .map(|image| (image, Origin::Documents { path: path.to_owned() }));
    }
    let Some(settings) = settings else {
        say(&format!(
            "there is no `{SETTINGS_PATH}` to say where the data plane is: name a settings file with `--config`, or documents with `-f`"
        ));
        return None;
    };
    let dataplane = Dataplane::at(&settings.dataplane.socket);
    match dataplane.image() {
        Ok(image) => Some((image, Origin::InForce { socket: dataplane.socket().to_owned() })),
        Err(error) => {
            say(&format!(
                "{error}; `-f {}` asks the documents instead",
                settings.policy_directory.display()
            ));
            None
        }
    }
}

fn compiled(path: &Path, gateway: &Gateway) -> Option<Image> {
    let loaded = inventory::load(path, gateway);
    let mut findings = loaded.findings;
    let image = loaded.policy_set.and_then(|set| {
        let compiled = compile(&set, 0, &Limits::default());
        compiled.map_err(|errors| findings.extend(errors.iter().map(too_large))).ok()
    });
    if image.is_none() {
        say(&format!("the documents are refused\n{}", diagnostic::render_human(&findings, false)));
    }
    image
}

fn too_large(error: &classifier::compile::CompileError) -> Diagnostic {
    Diagnostic::error("policy.compile", error.to_string())
}
