//! `ravelin trace --pcap`: what would become of what was recorded?

mod flows;
mod print;
mod sides;
mod tally;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use classifier::decision::Decision;
use classifier::image::{Image, View};
use classifier::packet::{PacketKey, Side};
use ipnet::IpNet;

use self::flows::{Belongs, End, FlowKey, Flows, Opening, opening};
use self::sides::Sides;
use self::tally::{Slot, Tally, Verdicts};
use super::{Origin, packet};
use crate::capture::{self, CaptureError, Packet, Recorded};
use crate::cli::say;
use crate::commands::documents::{Documents, gateway};
use crate::commands::ports::{Ends, Ports};
use crate::commands::{DONE, Output, WRONG};
use crate::settings::Settings;

/// What a capture is asked about.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "A recorded capture instead of one packet")]
pub(super) struct CaptureArguments {
    /// Judge a capture, pcap or pcapng, `-` for standard input: flow by flow, with a summary
    ///
    /// A reply passes by the state that its flow left, as in the gateway: the answer for the packet that opened a flow is
    /// the answer for all of it. What of a TCP connection was recorded without its beginning is judged as well; where not
    /// even the handshake's answer is there, the end with the lower port is taken for the server. The capture is never held
    /// in memory.
    ///
    /// Which end of a packet is behind the gateway is told by `--inside`; without it, an address is taken to be inside when
    /// some policy protects what it belongs to. Between two such addresses both directions are asked. What does not cross
    /// the gateway is counted and not judged. With `--in`, every packet comes in by that port: for what was recorded on one
    /// port in one direction.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pcap: Option<PathBuf>,
    /// Also write a line for each packet
    #[arg(long, requires = "pcap")]
    packets: bool,
    /// Also say what would change with these documents: a file, a directory, or a settings file
    #[arg(long, value_name = "PATH", requires = "pcap")]
    against: Option<PathBuf>,
    /// What is behind the gateway [default: what some policy protects]
    #[arg(long, value_name = "CIDR,..", value_delimiter = ',', value_parser = parse_net,
        requires = "pcap", conflicts_with = "in_port")]
    inside: Vec<IpNet>,
    /// Most flows that are remembered at a time, about 150 bytes each
    #[arg(long, value_name = "N", default_value_t = 262_144, requires = "pcap",
        value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    flows_max: u32,
    /// How many pairs of addresses are listed
    #[arg(long, value_name = "N", default_value_t = 10, requires = "pcap")]
    top: u16,
}

impl CaptureArguments {
    /// Whether a capture is asked about at all.
    pub(super) fn file(&self) -> Option<&Path> {
        self.pcap.as_deref()
    }
}

fn parse_net(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| address()).map_err(|_| {
        "expected an address or a prefix such as 198.18.70.0/24 or 2001:2::/48".to_owned()
    })
}

/// A policy that judges, and what it calls the ports.
#[derive(Clone, Copy)]
struct Judge<'a> {
    view: View<'a>,
    ports: Ports,
}

impl<'a> Judge<'a> {
    fn of(image: &'a Image, settings: Option<&Settings>) -> Self {
        let view = image.view();
        Self { view, ports: Ports::of(&view, settings) }
    }

    fn decision(&self, packet: &PacketKey, ends: Ends) -> Decision {
        self.view.classify(packet, self.ports.crossing(ends))
    }

    fn asks_untracked(&self) -> bool {
        let entry = |side| self.ports.crossing(Ends::across(side)).from;
        [Side::Inside, Side::Outside].into_iter().any(|side| self.view.asks_untracked(entry(side)))
    }

    fn is_untracked(&self, packet: &PacketKey, ends: Ends) -> bool {
        self.view.classify_untracked(packet, self.ports.crossing(ends).from).is_some()
    }
}

/// The policies that judge: the one that was asked, and the one it is compared with.
#[derive(Clone, Copy)]
struct Judges<'a> {
    now: Judge<'a>,
    against: Option<Judge<'a>>,
    /// Whether one of them has a `doNotTrack` policy for a port.
    ask_untracked: bool,
}

impl<'a> Judges<'a> {
    fn of(now: &Judge<'a>, against: Option<&Judge<'a>>) -> Self {
        let ask_untracked = now.asks_untracked() || against.is_some_and(Judge::asks_untracked);
        Self { now: *now, against: against.copied(), ask_untracked }
    }

    /// Whether a `doNotTrack` policy of one of them decides: then no flow plays a part, as in the data plane.
    fn is_untracked(&self, packet: &PacketKey, ends: Ends) -> bool {
        self.now.is_untracked(packet, ends)
            || self.against.is_some_and(|judge| judge.is_untracked(packet, ends))
    }

    fn judge(&self, packet: &PacketKey, ends: Ends) -> Verdicts {
        let Judge { view, ports } = self.now;
        let now = self.now.decision(packet, ends);
        let pending =
            view.has_pending().then(|| view.classify_pending(packet, ports.crossing(ends)).into());
        let against = self.against.map(|judge| judge.decision(packet, ends).into());
        Verdicts { now: now.into(), pending, against }
    }
}

/// Judges the capture and writes what came of it to `out`. Returns the exit status: 0 when it could be read to its end.
///
/// # Errors
/// When `out` does not take what is written.
pub(super) fn run(
    arguments: &super::Arguments,
    settings: Option<&Settings>,
    (image, origin): (Image, Origin),
    out: &mut dyn Write,
) -> io::Result<u8> {
    let asked = &arguments.capture;
    let Some(file) = asked.file() else { return Ok(WRONG) };
    let other = match asked.against.as_deref() {
        Some(path) => match Documents::load(path, &gateway(settings)) {
            Some(documents) => Some(documents),
            None => return Ok(WRONG),
        },
        None => None,
    };
    let against = other.as_ref().map(|other| Judge::of(&other.image, settings));
    let judges = Judges::of(&Judge::of(&image, settings), against.as_ref());
    let sides = match &arguments.packet.in_port {
        Some(port) => match packet::side(port, settings) {
            Ok(side) => Sides::All(side),
            Err(error) => {
                say(&error);
                return Ok(WRONG);
            }
        },
        None if asked.inside.is_empty() => Sides::Protected(&judges),
        None => Sides::Inside(&asked.inside),
    };
    let source = match open(file) {
        Ok(source) => source,
        Err(error) => {
            say(&format!("the capture `{}` cannot be read: {error}", file.display()));
            return Ok(WRONG);
        }
    };
    let mut replay = Replay {
        judges: &judges,
        sides,
        flows: Flows::new(asked.flows_max as usize),
        tally: Tally::default(),
        lines: asked.packets.then_some(arguments.output),
        failure: None,
    };
    let error = replay.read(source, out)?;
    let answer = print::Answer {
        file,
        origin: &origin,
        generation: image.generation(),
        against: asked.against.as_deref(),
        judges: &judges,
        sides: &replay.sides,
        tally: &replay.tally,
        flows_max: asked.flows_max,
        top: asked.top.into(),
        error: error.as_ref(),
    };
    match (arguments.output, asked.packets) {
        (Output::Human, _) => out.write_all(answer.human().as_bytes())?,
        (Output::Json, false) => writeln!(out, "{:#}", answer.json())?,
        // One value a line, so that the last of them is the summary.
        (Output::Json, true) => writeln!(out, "{}", answer.json())?,
    }
    if let Some(error) = &error {
        say(&format!("the capture `{}` was not read to its end: {error}", file.display()));
    }
    Ok(if error.is_some() { WRONG } else { DONE })
}

fn open(file: &Path) -> io::Result<Box<dyn Read + Send>> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(file)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(Box::new(file))
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Both its ends are on one side: the gateway does not see it.
    Stays,
    /// It is judged, itself or by the packet of that number, which opened its flow.
    Judged { verdicts: Verdicts, opened_by: Option<u64> },
}

/// A capture while it is judged.
struct Replay<'a> {
    judges: &'a Judges<'a>,
    sides: Sides<'a>,
    flows: Flows,
    tally: Tally,
    /// How to write a line for each packet, if so.
    lines: Option<Output>,
    /// Why nothing more could be written.
    failure: Option<io::Error>,
}

impl Replay<'_> {
    /// The inner error is the capture's, the outer one that of `out`.
    fn read(
        &mut self,
        source: impl Read + Send,
        out: &mut dyn Write,
    ) -> io::Result<Option<CaptureError>> {
        let mut format = None;
        let outcome =
            capture::read(source, &mut |begun| format = Some(begun), &mut |recorded| match self
                .packet(recorded, out)
            {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    self.failure = Some(error);
                    ControlFlow::Break(())
                }
            });
        self.tally.format = format;
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(outcome.err()),
        }
    }

    fn packet(&mut self, recorded: &Recorded<'_>, out: &mut dyn Write) -> io::Result<()> {
        self.tally.recorded(recorded);
        let packet = match capture::packet(recorded.link, recorded.bytes, recorded.length) {
            Ok(packet) => packet,
            Err(unjudged) => {
                self.tally.unjudged(unjudged);
                return match self.lines {
                    Some(output) => print::unjudged_line(recorded, unjudged, output, out),
                    None => Ok(()),
                };
            }
        };
        let fate = self.fate(&packet, recorded);
        match self.lines {
            Some(output) => {
                let line =
                    print::PacketLine { recorded, packet: &packet, fate, judges: self.judges };
                line.write(output, out)
            }
            None => Ok(()),
        }
    }

    fn fate(&mut self, packet: &Packet, recorded: &Recorded<'_>) -> Fate {
        if self.judges.ask_untracked
            && let Some(ends) = self.sides.ends(&packet.key)
            && self.judges.is_untracked(&packet.key, ends)
        {
            return self.alone(packet, recorded, ends);
        }
        let now_ns = recorded.time_ns.unwrap_or_default();
        let belongs = self.flows.find(packet, self.sides.of_all(), now_ns);
        if let Belongs::To { slot, opened_by } = belongs {
            self.tally.more(slot, recorded);
            return self.judged(slot, Some(opened_by));
        }
        let Some(ends) = self.sides.ends(&packet.key) else {
            self.tally.stayed(self.sides.is_inside(packet.key.src));
            return Fate::Stays;
        };
        if let Belongs::ToNone(key, sender) = belongs {
            return self.begin(packet, recorded, ends, (key, sender));
        }
        self.alone(packet, recorded, ends)
    }

    /// A packet that is judged by itself.
    fn alone(&mut self, packet: &Packet, recorded: &Recorded<'_>, ends: Ends) -> Fate {
        let verdicts = self.judges.judge(&packet.key, ends);
        let slot = self.tally.alone(verdicts, (packet.key, ends), recorded);
        self.judged(slot, None)
    }

    /// The first packet that was recorded of a flow.
    fn begin(
        &mut self,
        packet: &Packet,
        recorded: &Recorded<'_>,
        ends: Ends,
        (key, sender): (FlowKey, End),
    ) -> Fate {
        let now_ns = recorded.time_ns.unwrap_or_default();
        let Opening { key: opened, turned, known } = opening(packet);
        let (ends, opener) = if turned { (ends.turned(), sender.other()) } else { (ends, sender) };
        let verdicts = self.judges.judge(&opened, ends);
        if !self.flows.has_room(&key, now_ns) {
            self.tally.not_remembered += 1;
            let slot = self.tally.alone(verdicts, (opened, ends), recorded);
            return self.judged(slot, None);
        }
        let slot = self.tally.opened(verdicts, (opened, ends), recorded);
        self.tally.guessed += u64::from(!known);
        self.flows.insert(key, opener, slot, (recorded.number, now_ns));
        self.judged(slot, None)
    }

    fn judged(&self, slot: Slot, opened_by: Option<u64>) -> Fate {
        match self.tally.verdicts(slot) {
            Some(verdicts) => Fate::Judged { verdicts, opened_by },
            None => Fate::Stays,
        }
    }
}
