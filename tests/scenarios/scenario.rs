//! A scenario: frames in order, and what becomes of each. Data only; who sends them and looks is elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::device::Port;
use dataplane::disposition::DropReason;
use ravelin::craft::{Connection, frame, udp};

use crate::contract::{Bar, ROWS, Row};

/// One row of the contract, ready to be tried.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) row: Row,
    pub(crate) settings: Setting,
    pub(crate) steps: Vec<Step>,
}

/// What the gateway must be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Setting {
    /// Nothing: the defaults.
    Plain,
    /// Which networks are behind which port.
    Networks,
}

/// How strict the gateway is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Strict {
    Default,
    CommonCriteria,
}

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) from: Port,
    pub(crate) frame: Vec<u8>,
    /// Whether the row is about this frame. Those before it only lead there.
    pub(crate) is_subject: bool,
    then: Then,
    /// When it is another thing in the strict profile.
    strictly: Option<Then>,
}

/// What becomes of a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Then {
    /// It leaves by the other port as it came.
    Pass,
    /// It is dropped for this reason.
    Drop(DropReason),
    /// It is a fragment and waits for the others.
    Hold,
    /// It completes a datagram: the frames of these steps leave, in this order.
    Complete(Vec<usize>),
    /// It is dropped for this reason, and with it the fragments that waited: so many frames in all.
    Discard(DropReason, u64),
}

/// What can be seen of a frame's fate.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    /// What left by the other port.
    pub(crate) left: Vec<Vec<u8>>,
    /// What the port that it came in by counted as dropped.
    pub(crate) drops: Vec<(DropReason, u64)>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, drops } = self;
        let drops = drops.iter().map(|(reason, count)| format!(" {count} {}", reason.name()));
        write!(f, "{} left, dropped:{}", left.len(), drops.collect::<String>())
    }
}

impl Scenario {
    /// What shall be seen when the step at this position is sent.
    pub(crate) fn expected(&self, at: usize, strict: Strict) -> Seen {
        let frame = |at: &usize| self.steps[*at].frame.clone();
        match self.then(at, strict) {
            Then::Pass => Seen { left: vec![frame(&at)], drops: Vec::new() },
            Then::Hold => Seen::default(),
            Then::Complete(steps) => {
                Seen { left: steps.iter().map(frame).collect(), drops: Vec::new() }
            }
            Then::Drop(reason) => Seen { left: Vec::new(), drops: vec![(*reason, 1)] },
            Then::Discard(reason, count) => {
                Seen { left: Vec::new(), drops: vec![(*reason, *count)] }
            }
        }
    }

    /// Fragments that came in by the port and still wait when all is sent: their time will be over.
    pub(crate) fn left_waiting(&self, port: Port, strict: Strict) -> u64 {
        let held = |at: usize| -> i64 {
            match self.then(at, strict) {
                Then::Pass | Then::Drop(_) => 0,
                Then::Hold => 1,
                Then::Complete(steps) => 1 - i64::try_from(steps.len()).unwrap(),
                Then::Discard(_, count) => 1 - i64::try_from(*count).unwrap(),
            }
        };
        let steps = self.steps.iter().enumerate().filter(|(_, step)| step.from == port);
        u64::try_from(steps.map(|(at, _)| held(at)).sum::<i64>()).expect("no fragment leaves twice")
    }

    /// Whether what is expected of the subjects is what the contract says.
    pub(crate) fn keeps_the_contract(&self, strict: Strict) -> bool {
        let subjects = self.steps.iter().enumerate().filter(|(_, step)| step.is_subject);
        let passes = |at| match self.then(at, strict) {
            Then::Pass | Then::Complete(_) => Some(true),
            Then::Hold => None,
            Then::Drop(_) | Then::Discard(..) => Some(false),
        };
        let fates: Vec<bool> = subjects.filter_map(|(at, _)| passes(at)).collect();
        match self.row.bar {
            Bar::Pass => !fates.is_empty() && fates.iter().all(|passes| *passes),
            // Fragments that wait for ever are dropped too.
            Bar::Drop => fates.iter().all(|passes| !passes),
        }
    }

    fn then(&self, at: usize, strict: Strict) -> &Then {
        let step = &self.steps[at];
        match (strict, &step.strictly) {
            (Strict::CommonCriteria, Some(then)) => then,
            (Strict::CommonCriteria | Strict::Default, _) => &step.then,
        }
    }
}

/// Makes the scenario of a row. Each has addresses and ports of its own, so that none disturbs another.
pub(crate) fn row(id: &str, write: impl FnOnce(Place) -> Script) -> Scenario {
    let number = ROWS.iter().position(|row| row.id == id).expect("the table has the row");
    let steps = write(Place(u16::try_from(number).unwrap())).0;
    assert!(steps.iter().any(|step| step.is_subject), "{id} is about nothing");
    Scenario { row: ROWS[number], settings: Setting::Plain, steps }
}

/// The same, for rows that need to know which networks are where.
pub(crate) fn row_of_networks(id: &str, write: impl FnOnce(Place) -> Script) -> Scenario {
    Scenario { settings: Setting::Networks, ..row(id, write) }
}

/// Addresses and ports of one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u16);

impl Place {
    pub(crate) fn client(self) -> Ipv4Addr {
        self.host(18, 1)
    }

    pub(crate) fn server(self) -> Ipv4Addr {
        self.host(19, 1)
    }

    /// Other hosts of the scenario, with these numbers from 2 on.
    pub(crate) fn other_client(self, number: u8) -> Ipv4Addr {
        self.host(18, number)
    }

    pub(crate) fn other_server(self, number: u8) -> Ipv4Addr {
        self.host(19, number)
    }

    pub(crate) fn client_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 2, 0, 0xa, 0, 0, self.0, 1)
    }

    pub(crate) fn server_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 2, 0, 0xb, 0, 0, self.0, 1)
    }

    /// The port of the client, and an identifier of its queries.
    pub(crate) fn port(self) -> u16 {
        20_000 + self.0
    }

    /// A connection to the web server that nobody opened yet.
    pub(crate) fn web(self) -> Connection {
        self.connection([self.client().into(), self.server().into()])
    }

    pub(crate) fn web_v6(self) -> Connection {
        self.connection([self.client_v6().into(), self.server_v6().into()])
    }

    /// A question to the name server.
    pub(crate) fn question(self) -> Vec<u8> {
        self.question_from(self.client())
    }

    /// The same with another source address.
    pub(crate) fn question_from(self, src: Ipv4Addr) -> Vec<u8> {
        self.question_between(src.into(), self.server().into())
    }

    pub(crate) fn question_v6_from(self, src: Ipv6Addr) -> Vec<u8> {
        self.question_between(src.into(), self.server_v6().into())
    }

    pub(crate) fn question_between(self, src: IpAddr, dst: IpAddr) -> Vec<u8> {
        let datagram = udp(src, dst, [self.port(), 53], b"who is there?");
        frame(Port::A, &ravelin::craft::ip(src, dst, ravelin::craft::UDP, datagram))
    }

    fn connection(self, ends: [IpAddr; 2]) -> Connection {
        let [client, server] =
            [0x1000_0000, 0x7000_0000].map(|base| base + u32::from(self.0) * 7919);
        Connection { ends, ports: [self.port(), 80], isn: [client, server], windows: [8192; 2] }
    }

    fn host(self, net: u8, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, net, u8::try_from(self.0 + 1).unwrap(), number)
    }
}

/// The steps of a scenario, as they are written down.
#[derive(Debug, Default)]
pub(crate) struct Script(Vec<Step>);

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A frame that leads to what the row is about, and passes.
    pub(crate) fn given(self, from: Port, frame: Vec<u8>) -> Self {
        self.step(from, frame, Then::Pass, false)
    }

    /// A frame that leads to what the row is about, and is dropped.
    pub(crate) fn given_dropped(self, from: Port, frame: Vec<u8>, reason: DropReason) -> Self {
        self.step(from, frame, Then::Drop(reason), false)
    }

    /// A fragment that waits.
    pub(crate) fn holds(self, frame: Vec<u8>) -> Self {
        self.step(Port::A, frame, Then::Hold, true)
    }

    /// The row is about this frame, which passes.
    pub(crate) fn passes(self, from: Port, frame: Vec<u8>) -> Self {
        self.step(from, frame, Then::Pass, true)
    }

    /// The row is about this frame, which is dropped.
    pub(crate) fn drops(self, from: Port, frame: Vec<u8>, reason: DropReason) -> Self {
        self.step(from, frame, Then::Drop(reason), true)
    }

    /// The row is about this fragment, which completes a datagram.
    pub(crate) fn completes(self, frame: Vec<u8>, leaving: &[usize]) -> Self {
        self.step(Port::A, frame, Then::Complete(leaving.to_vec()), true)
    }

    /// The row is about this fragment, which spoils a datagram of which so many frames are dropped now.
    pub(crate) fn spoils(self, frame: Vec<u8>, reason: DropReason, frames: u64) -> Self {
        self.step(Port::A, frame, Then::Discard(reason, frames), true)
    }

    /// In the strict profile, the last frame is dropped.
    pub(crate) fn strictly(mut self, reason: DropReason) -> Self {
        self.0.last_mut().expect("a frame").strictly = Some(Then::Drop(reason));
        self
    }

    fn step(mut self, from: Port, frame: Vec<u8>, then: Then, is_subject: bool) -> Self {
        self.0.push(Step { from, frame, is_subject, then, strictly: None });
        self
    }
}
