//! Floods against a server behind the gateway, and what legitimate clients notice of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use classifier::packet::IpVersion::{V4, V6};
use dataplane::disposition::DropReason;
use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Type, Ipv4Header, PacketBuilder};

use crate::attempt::connect;
use crate::deadline::{now, wait_until};
use crate::failure::{During, Failure};
use crate::frames::FrameSender;
use crate::gateway::Gateway;
use crate::handover::Status;
use crate::servers::{greeting, request_for, serve};
use crate::topology::{Host, Lab};

/// How long a client waits for a connection and for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients that connect one time after the other.
const CLIENTS: usize = 4;
/// Pause of a client between two connections.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of one turn of the established connection.
const TURN_BYTES: usize = 32 << 10;
/// How often an attacker sends.
const TICK: Duration = Duration::from_millis(1);

/// What a flood is made of. All but the datagrams come from random addresses of nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flood {
    /// Openings of connections that policy allows, never completed.
    Syn,
    /// Segments of connections that nobody opened.
    Ack,
    /// Resets of connections that nobody opened.
    Rst,
    /// Datagrams that policy allows, each of a flow of its own.
    Udp,
    /// First fragments of datagrams that never become whole.
    Fragments,
    /// ICMP errors about connections that nobody opened.
    IcmpErrors,
}

impl Flood {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Syn, Self::Ack, Self::Rst, Self::Udp, Self::Fragments, Self::IcmpErrors];

    /// Why each frame of it is dropped, where none may pass.
    #[must_use]
    pub fn refused_as(self) -> Option<DropReason> {
        match self {
            Self::Syn | Self::Udp | Self::Fragments => None,
            Self::Ack | Self::Rst => Some(DropReason::TcpNotOpening),
            Self::IcmpErrors => Some(DropReason::IcmpUnmatched),
        }
    }

    /// A frame of it.
    fn frame(self, random: &mut fastrand::Rng, from: [u8; 6], to: &Host) -> Vec<u8> {
        let nobody = Ipv4Addr::new(198, 19, random.u8(128..), random.u8(..));
        let desk = Ipv4Addr::new(198, 18, 20, random.u8(129..255));
        let source = if self == Self::Udp { desk } else { nobody };
        let (port, number) = (random.u16(1024..), random.u32(..));
        let ip = PacketBuilder::ethernet2(from, to.mac).ipv4(source.octets(), to.v4.octets(), 64);
        let mut frame = Vec::new();
        let written = match self {
            Self::Syn => ip.tcp(port, 80, number, 64_240).syn().write(&mut frame, &[]),
            Self::Ack => ip.tcp(port, 80, number, 64_240).ack(!number).write(&mut frame, b"data"),
            Self::Rst => ip.tcp(port, 80, number, 0).rst().write(&mut frame, &[]),
            Self::Udp => ip.udp(port, 53).write(&mut frame, b"are you there?"),
            Self::Fragments => ip.udp(port, 53).write(&mut frame, &[0; 512]),
            Self::IcmpErrors => {
                let error = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host);
                ip.icmpv4(error).write(&mut frame, &quote(to.v4, nobody, port))
            }
        };
        // Writing into memory cannot fail.
        debug_assert!(written.is_ok(), "{written:?}");
        if self == Self::Fragments {
            fragment(&mut frame, random.u16(..));
        }
        frame
    }
}

/// What a router quotes of a segment: the IP header and eight octets.
fn quote(src: Ipv4Addr, dst: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut quoted = Vec::new();
    let segment = PacketBuilder::ipv4(src.octets(), dst.octets(), 63).tcp(80, port, 1, 1).ack(1);
    let written = segment.write(&mut quoted, &[]);
    debug_assert!(written.is_ok(), "{written:?}");
    quoted.truncate(28);
    quoted
}

/// Makes a frame say that more of its datagram follows. Its payload is a multiple of eight octets.
fn fragment(frame: &mut Vec<u8>, identification: u16) {
    if let Some(Ok((mut header, _))) = frame.get(14..).map(Ipv4Header::from_slice) {
        header.more_fragments = true;
        header.dont_fragment = false;
        header.identification = identification;
        header.header_checksum = header.calc_header_checksum();
        frame.splice(14..34, header.to_bytes().iter().copied());
    }
}

/// A flood under way.
#[derive(Debug)]
pub struct Attack {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl Attack {
    /// Floods `to`, `burst` frames each millisecond.
    ///
    /// # Errors
    /// No packet sockets.
    pub fn start(
        from: &Host,
        to: &Host,
        flood: Flood,
        burst: usize,
        seed: u64,
    ) -> Result<Self, Failure> {
        let sender = FrameSender::new(from)?;
        let mut random = fastrand::Rng::with_seed(seed);
        // Made before, so that the flood costs the machine little beside what it costs the gateway.
        let frames: Vec<Vec<u8>> =
            (0..1 << 17).map(|_| flood.frame(&mut random, from.mac, to)).collect();
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&sent), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let start = now();
            let mut turn = frames.iter().cycle();
            while !end.load(Ordering::Relaxed) {
                let due = (now() - start).as_millis().saturating_mul(burst as u128);
                let due = u64::try_from(due).unwrap_or(u64::MAX);
                // Who was kept from sending makes up for a little of it, not for all.
                let late = due.saturating_sub(count.load(Ordering::Relaxed)).min(burst as u64 * 8);
                for frame in turn.by_ref().take(usize::try_from(late).unwrap_or(burst)) {
                    sender.send(frame)?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(TICK);
            }
            Ok(())
        });
        Ok(Self { sent, stop, thread: Some(thread) })
    }

    /// Stops; returns how many frames were sent.
    ///
    /// # Errors
    /// Sending failed on the way.
    pub fn finish(mut self) -> Result<u64, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| Failure::new("flood", "the attacker panicked"))??;
        }
        Ok(self.sent.load(Ordering::Relaxed))
    }
}

/// What legitimate clients had for some time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service {
    /// Connections tried, and those that were answered.
    pub connects: [u64; 2],
    /// Bytes a second that an established connection carried both ways.
    pub goodput: f64,
}

/// Lets clients at `from` use `server` for `time`: connect to port 80 for an answer, and talk over a connection to port 22.
///
/// # Errors
/// The connection that carries bytes does not come about, or dies.
pub fn serve_clients(from: &Host, server: &Host, time: Duration) -> Result<Service, Failure> {
    let mut session = connect(from, SocketAddr::new(server.address(V4), 22), PATIENCE)?;
    greeting(&mut session)?;
    let (stop, counts) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
    let to = [V4, V6].map(|version| SocketAddr::new(server.address(version), 80));
    let client = |number: usize| {
        let turns = to.iter().cycle().skip(number);
        for to in turns.take_while(|_| !stop.load(Ordering::Relaxed)) {
            let [tried, answered] = &counts;
            tried.fetch_add(1, Ordering::Relaxed);
            if is_answered(*to) {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(PAUSE);
        }
    };
    let carried = from.namespace.run(|| {
        thread::scope(|scope| {
            (0..CLIENTS).for_each(|number| drop(scope.spawn(move || client(number))));
            let carried = talk(&mut session, time);
            stop.store(true, Ordering::Relaxed);
            carried
        })
    })?;
    let connects = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    Ok(Service { connects, goodput: carried.during("talk over an established connection")? })
}

fn is_answered(to: SocketAddr) -> bool {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request_for(to.port()))?;
        stream.read(&mut [0; 64])
    };
    matches!(exchange(), Ok(1..))
}

/// Sends to an echoing server for some time; returns bytes a second that came back.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn talk(session: &mut TcpStream, time: Duration) -> std::io::Result<f64> {
    let (start, mut bytes) = (now(), 0_u64);
    let (line, mut back) = (vec![b'x'; TURN_BYTES], vec![0; TURN_BYTES]);
    while now() - start < time {
        session.write_all(&line)?;
        session.read_exact(&mut back)?;
        bytes += TURN_BYTES as u64;
    }
    Ok(bytes as f64 / (now() - start).as_secs_f64())
}

/// What a flood did to clients and to the gateway.
#[derive(Debug)]
pub struct Siege {
    /// Frames of the flood.
    pub sent: u64,
    /// What clients had before, and during the flood.
    pub service: [Service; 2],
    /// KiB of the data plane's memory before and after.
    pub memory: [u64; 2],
    /// The status before and after.
    pub status: [Status; 2],
}

impl Siege {
    /// Besieges the server of `lab` behind `gateway`, for `time` after as long in peace.
    ///
    /// # Errors
    /// Clients cannot work even in peace, or the gateway does not answer.
    pub fn lay(
        lab: &Lab,
        gateway: &Gateway<'_>,
        flood: Flood,
        burst: usize,
        time: Duration,
    ) -> Result<Self, Failure> {
        let before = (gateway.status()?, resident(gateway)?);
        let peace = serve_clients(&lab.noc, &lab.server, time)?;
        // Another seed for each: no flood speaks of what another one opened.
        let attack = Attack::start(&lab.stranger, &lab.server, flood, burst, flood as u64)?;
        let war = serve_clients(&lab.noc, &lab.server, time)?;
        let sent = attack.finish()?;
        let after = (settled(gateway)?, resident(gateway)?);
        let (service, memory) = ([peace, war], [before.1, after.1]);
        Ok(Self { sent, service, memory, status: [before.0, after.0] })
    }

    /// Frames that the kernel dropped before the gateway could take them.
    #[must_use]
    pub fn missed(&self) -> u64 {
        let [before, after] = self.status.each_ref().map(|status| {
            let lines = status.text().lines().filter_map(|line| line.split_once(' '));
            let counts = lines.filter(|(key, _)| key.contains(".kernel."));
            counts.filter_map(|(_, count)| count.parse::<u64>().ok()).sum::<u64>()
        });
        after.saturating_sub(before)
    }

    /// How much a number of the status grew.
    ///
    /// # Errors
    /// There is no such number.
    pub fn grew(&self, key: &str) -> Result<u64, Failure> {
        let [before, after] = &self.status;
        Ok(after.number(key)?.saturating_sub(before.number(key)?))
    }
}

/// Servers on the lab's server; what it answers to nobody goes to nobody, without a question who that is.
///
/// # Errors
/// The kernel refuses.
pub fn prepare(lab: &Lab) -> Result<(), Failure> {
    serve(&lab.server, &[22, 80], &[53])?;
    let server = &lab.server.namespace;
    server.ip("neighbour add 198.18.255.1 lladdr 02:00:00:00:ff:01 dev eth0 nud permanent")?;
    for net in ["198.19.128.0/17", "198.18.20.128/25"] {
        server.ip(&format!("route add {net} via 198.18.255.1 dev eth0"))?;
    }
    Ok(())
}

/// The status once no frame is under way: every started flow is live or ended in one way.
///
/// # Errors
/// That never comes to be so.
fn settled(gateway: &Gateway<'_>) -> Result<Status, Failure> {
    let status = wait_until(PATIENCE, || {
        let status = gateway.status().ok()?;
        flows_balance(&status).ok().filter(|[started, known]| started == known)?;
        Some(status)
    });
    let last = || gateway.status().map_or_else(|error| error.to_string(), |s| s.text().to_owned());
    status.ok_or_else(|| Failure::new("wait for flows to balance", last()))
}

/// Flows that started, and flows that ended in any way or are live.
///
/// # Errors
/// The status does not tell.
pub fn flows_balance(status: &Status) -> Result<[u64; 2], Failure> {
    let ways = ["ended", "cut", "killed", "gave-way", "now"];
    let known = ways.into_iter().map(|way| status.number(&format!("flows.{way}")));
    Ok([status.number("flows.started")?, known.sum::<Result<u64, Failure>>()?])
}

/// KiB of memory that the data plane has.
fn resident(gateway: &Gateway<'_>) -> Result<u64, Failure> {
    let doing = "read the data plane's memory";
    let id = gateway.dataplane_id().ok_or_else(|| Failure::new(doing, "it does not run"))?;
    let text = fs::read_to_string(format!("/proc/{id}/status")).during(doing)?;
    let size = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    size.unwrap_or_default().parse().during(doing)
}
