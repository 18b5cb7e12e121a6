//! Two bare wires into one namespace: whatever stands there, gateway or router, sees the frames of a test and no others.
//! The ends have no addresses, ask nothing and answer nothing.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::process;
use std::time::Duration;

use dataplane::device::Port;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth};

use crate::craft::{mac, router_mac};
use crate::deadline::Deadline;
use crate::failure::{During, Failure};
use crate::frames::FrameSender;
use crate::namespace::{Namespace, run};
use crate::topology::{INSIDE_PORT, OUTSIDE_PORT, check_prerequisites};

/// Longest frame that is looked at.
const SNAP_BYTES: usize = 2048;

/// A namespace in the middle, and what is at the other ends of its two ports. Gone when this value goes.
#[derive(Debug)]
pub struct Stations {
    /// Holds the two ports.
    pub middle: Namespace,
    /// At the other end of ports A and B.
    ends: [Station; 2],
}

/// One end: sends frames, and sees what arrives.
#[derive(Debug)]
pub struct Station {
    sender: FrameSender,
    socket: OwnedFd,
    own: [u8; 6],
    sent: Cell<u64>,
    /// Frames from `own` that the socket saw: on their way out, or back.
    seen_leaving: Cell<u64>,
    _namespace: Namespace,
}

impl Stations {
    /// Lays the wires. `purpose` is a part of the namespaces' names.
    ///
    /// # Errors
    /// Not root, or a tool or a kernel feature is missing.
    pub fn new(purpose: &str) -> Result<Self, Failure> {
        check_prerequisites()?;
        let name = |place: &str| format!("rv{}-{purpose}-{place}", process::id());
        let middle = Namespace::create(&name("middle"))?;
        for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            middle.set(&format!("net/{family}"), "0")?;
        }
        middle.set("net/ipv6/conf/default/disable_ipv6", "1")?;
        let outside = Station::new(&name("outside"), &middle, Port::A, OUTSIDE_PORT)?;
        let inside = Station::new(&name("inside"), &middle, Port::B, INSIDE_PORT)?;
        Ok(Self { middle, ends: [outside, inside] })
    }

    /// What is at the other end of this port.
    #[must_use]
    pub fn at(&self, port: Port) -> &Station {
        let [a, b] = &self.ends;
        if port == Port::A { a } else { b }
    }
}

impl Station {
    fn new(name: &str, middle: &Namespace, port: Port, interface: &str) -> Result<Self, Failure> {
        let namespace = Namespace::create(name)?;
        let words = |address: [u8; 6]| address.map(|byte| format!("{byte:02x}")).join(":");
        let (own, others) = (mac(port), router_mac(port));
        // Nobody shall say anything of its own accord, neither now nor when the interface comes up.
        namespace.set("net/ipv6/conf/default/accept_dad", "0")?;
        namespace.set("net/ipv6/conf/default/router_solicitations", "0")?;
        let peer =
            format!("peer name {interface} address {} netns {}", words(others), middle.name());
        namespace.ip(&format!("link add eth0 address {} type veth {peer}", words(own)))?;
        namespace.ip("link set eth0 up")?;
        middle.ip(&format!("link set {interface} up"))?;
        // VLAN tags and checksums are in the frames; nothing is left to hardware.
        run(namespace.command("ethtool").args(["-K", "eth0", "tx", "off", "txvlan", "off"]))?;
        let sender = FrameSender::within(&namespace)?;
        namespace.set("net/ipv6/conf/eth0/disable_ipv6", "1")?;
        let socket = namespace.run(listen)?.during("listen to frames")?;
        let (sent, seen_leaving) = (Cell::new(0), Cell::new(0));
        Ok(Self { sender, socket, own, sent, seen_leaving, _namespace: namespace })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn send(&self, frame: &[u8]) -> Result<(), Failure> {
        self.sent.set(self.sent.get() + 1);
        self.sender.send(frame)
    }

    /// The next frame that came in within `patience`. Those that left here are not among them.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Deadline::after(patience);
        loop {
            match self.read() {
                Some(frame) if frame.get(6..12) == Some(&self.own) => {
                    self.seen_leaving.set(self.seen_leaving.get() + 1);
                }
                Some(frame) => return Some(frame),
                None if deadline.is_over() => return None,
                None => self.wait(deadline),
            }
        }
    }

    /// Frames with this station's own address that it did not send: somebody sent them back.
    #[must_use]
    pub fn came_back(&self) -> u64 {
        self.seen_leaving.get() - self.sent.get()
    }

    fn read(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; SNAP_BYTES];
        let flags = RecvFlags::empty();
        let (length, _) = rustix::net::recv(&self.socket, frame.as_mut_slice(), flags).ok()?;
        frame.truncate(length);
        Some(frame)
    }

    /// Sleeps until something can be read.
    fn wait(&self, deadline: Deadline) {
        let left = deadline.left();
        let time = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        let mut sockets = [PollFd::new(&self.socket, PollFlags::IN)];
        // Whatever it says, the caller looks again.
        let _ = poll(&mut sockets, Some(&time));
    }
}

fn listen() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(eth::ALL))
}
