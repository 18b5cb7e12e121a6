//! A bad wire between the world and the gateway's outside port: it loses frames, sends some twice and some late, the same
//! ones for the same seed and the same order of arrival.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, sockopt};

use crate::deadline::now;
use crate::failure::{During, Failure};
use crate::frames::FrameSender;
use crate::namespace::{Namespace, run};
use crate::topology::{Lab, OUTSIDE_PORT};

/// Longest frame that is carried.
const FRAME_BYTES_MAX: usize = 2048;
/// Most frames that overtake a late one. More than a whole window late is another thing than late: it is old, and for the
/// gateway to refuse.
const OVERTAKEN_MAX: u32 = 5;
/// When a late frame goes that nothing overtakes.
const LATE: Duration = Duration::from_millis(2);
/// Longest pause between two looks at `stop`.
const IDLE: Duration = Duration::from_millis(50);
/// Room for frames that wait for the relay, bytes.
const BUFFER_BYTES: usize = 8 << 20;
/// Frames carried one way before the other way is looked at.
const BATCH: usize = 64;

/// How bad the wire is: of a thousand frames, how many have each fate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Frames that never arrive.
    pub lost: u32,
    /// Frames that arrive twice.
    pub doubled: u32,
    /// Frames that arrive behind later ones.
    pub late: u32,
}

/// What the wire did so far.
#[derive(Debug, Default)]
pub struct Deeds {
    carried: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    late: AtomicU64,
}

/// The wire. Gone when this value goes.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<AtomicBool>,
    deeds: Arc<Deeds>,
    thread: Option<JoinHandle<()>>,
    _ends: [Namespace; 2],
}

impl Relay {
    /// Puts the wire between the switch outside and the gateway's port, which must not be in use yet.
    ///
    /// # Errors
    /// A namespace or a socket cannot be made.
    pub fn between(lab: &Lab, faults: Faults, seed: u64) -> Result<Self, Failure> {
        let end = |place: &str| Namespace::create(&format!("rv{}-wire-{place}", process::id()));
        let ends = [end("hosts")?, end("gateway")?];
        let [hosts, gateway] = &ends;
        for end in &ends {
            end.set("net/ipv6/conf/default/accept_dad", "0")?;
            end.set("net/ipv6/conf/default/router_solicitations", "0")?;
        }
        lab.gateway.ip(&format!("link delete {OUTSIDE_PORT}"))?;
        let peer = format!("type veth peer name eth0 netns {}", gateway.name());
        lab.gateway.ip(&format!("link add {OUTSIDE_PORT} {peer}"))?;
        lab.gateway.ip(&format!("link set {OUTSIDE_PORT} up"))?;
        lab.wire_outside_to(hosts)?;
        let sockets = [open(hosts)?, open(gateway)?];
        let (stop, deeds) = (Arc::new(AtomicBool::new(false)), Arc::new(Deeds::default()));
        let carrier = Carrier {
            sockets,
            faults,
            random: fastrand::Rng::with_seed(seed),
            late: VecDeque::new(),
            deeds: Arc::clone(&deeds),
        };
        let stopped = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || carrier.run(&stopped)));
        Ok(Self { stop, deeds, thread, _ends: ends })
    }

    /// Frames carried, and of them those that were lost, doubled and late.
    #[must_use]
    pub fn deeds(&self) -> [u64; 4] {
        let Deeds { carried, lost, doubled, late } = &*self.deeds;
        [carried, lost, doubled, late].map(|count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A carrier that panicked was seen as a wire that carries nothing.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A socket that sees the frames of the one interface and sends out of it.
fn open(end: &Namespace) -> Result<FrameSender, Failure> {
    end.ip("link set eth0 up")?;
    // VLAN tags and checksums are in the frames; nothing is left to hardware.
    run(end.command("ethtool").args(["-K", "eth0", "tx", "off", "txvlan", "off"]))?;
    let socket = FrameSender::within(end)?;
    // From here on the kernel says nothing of its own accord.
    end.set("net/ipv6/conf/eth0/disable_ipv6", "1")?;
    let doing = "give a packet socket room";
    sockopt::set_socket_recv_buffer_size_force(socket.socket(), BUFFER_BYTES).during(doing)?;
    while receive(socket.socket(), &mut [0; FRAME_BYTES_MAX]).is_some() {}
    Ok(socket)
}

/// Carries frames between two sockets.
struct Carrier {
    sockets: [FrameSender; 2],
    faults: Faults,
    random: fastrand::Rng,
    late: VecDeque<Late>,
    deeds: Arc<Deeds>,
}

/// A frame that waits until others have overtaken it.
struct Late {
    to: usize,
    /// How many still will.
    overtakers: u32,
    /// Without them.
    due: Instant,
    frame: Vec<u8>,
}

impl Carrier {
    fn run(mut self, stop: &AtomicBool) {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        while !stop.load(Ordering::Relaxed) {
            self.wait();
            for from in [0, 1] {
                for _ in 0..BATCH {
                    let socket = self.sockets.get(from).map(FrameSender::socket);
                    let Some(length) = socket.and_then(|socket| receive(socket, &mut buffer))
                    else {
                        break;
                    };
                    self.carry(buffer.get(..length).unwrap_or_default(), 1 - from);
                }
            }
            let now = now();
            self.send_late(|late| late.due <= now);
        }
    }

    fn carry(&mut self, frame: &[u8], to: usize) {
        let Faults { lost, doubled, late } = self.faults;
        let Deeds { carried, lost: was_lost, doubled: was_doubled, late: was_late } = &*self.deeds;
        carried.fetch_add(1, Ordering::Relaxed);
        let fate = self.random.u32(0..1000);
        if fate < lost {
            was_lost.fetch_add(1, Ordering::Relaxed);
        } else if fate < lost + late {
            was_late.fetch_add(1, Ordering::Relaxed);
            let (overtakers, due) = (self.random.u32(1..=OVERTAKEN_MAX), now() + LATE);
            self.late.push_back(Late { to, overtakers, due, frame: frame.to_vec() });
        } else {
            self.send(to, frame);
            if fate < lost + late + doubled {
                was_doubled.fetch_add(1, Ordering::Relaxed);
                self.send(to, frame);
            }
            for late in self.late.iter_mut().filter(|late| late.to == to) {
                late.overtakers -= 1;
            }
            self.send_late(|late| late.overtakers == 0);
        }
    }

    fn send_late(&mut self, is_due: impl Fn(&Late) -> bool) {
        while let Some(at) = self.late.iter().position(&is_due) {
            if let Some(late) = self.late.remove(at) {
                self.send(late.to, &late.frame);
            }
        }
    }

    fn send(&self, to: usize, frame: &[u8]) {
        if let Some(socket) = self.sockets.get(to) {
            // An interface that is gone is the end of the laboratory.
            let _ = socket.send(frame);
        }
    }

    /// Sleeps until there is something to carry.
    fn wait(&self) {
        let due = self.late.iter().map(|late| late.due).min();
        let due = due.map(|due| due.saturating_duration_since(now()));
        let time = due.unwrap_or(IDLE).min(IDLE);
        let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        let [a, b] = self.sockets.each_ref().map(FrameSender::socket);
        let mut sockets = [PollFd::new(a, PollFlags::IN), PollFd::new(b, PollFlags::IN)];
        // Whatever it says, the caller looks again.
        let _ = poll(&mut sockets, Some(&time));
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Option<usize> {
    rustix::net::recv(socket, buffer, RecvFlags::empty()).ok().map(|(_, length)| length)
}
