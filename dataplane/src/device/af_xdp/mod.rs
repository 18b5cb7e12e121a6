//! AF_XDP sockets on every receive queue of two ports: the only module with `unsafe` in it.
//!
//! `open` attaches the XDP program to both ports and makes one `AfXdpDevice` for each queue number, which one worker
//! owns: a piece of packet memory (UMEM), a socket on that queue of either port, and the frames. Because both sockets
//! share the memory, a frame received from one is sent by the other without copying.
//!
//! Nothing passes without the process: the program is attached by a link that the process holds, its fall-back is
//! `XDP_DROP`, and the kernel may not forward between the ports (`interface::inspect` checks that).

#![expect(unsafe_code, reason = "rings and packet memory are shared with the kernel")]

mod card;
mod device;
mod program;
mod sockets;

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::xdp_statistics;

pub use self::device::AfXdpDevice;
pub use self::program::Attachment;
use super::Port;
use super::interface::Interface;
use super::refusal::Refusal;
use crate::handover::status_line;
use crate::status::port_key;

/// How large the rings and the packet memory are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sizes {
    /// Frames of packet memory for each queue of each port: its quota. See `device` on why there is one.
    pub frames: u32,
    /// Entries of each of the four rings of a socket, a power of two.
    pub ring: u32,
}

impl Default for Sizes {
    /// 4096 frames are about 5 ms of 64-byte frames at a gigabit: what a worker may be late.
    fn default() -> Self {
        Self { frames: 4096, ring: 2048 }
    }
}

/// How frames get from the card to the worker, best first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// The card writes into packet memory.
    ZeroCopy,
    /// The driver runs the program and the kernel copies.
    Copy,
    /// The kernel runs the program after the driver, and copies.
    GenericCopy,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
            Self::GenericCopy => "generic-copy",
        })
    }
}

/// Two ports in service. Frames stop when it is dropped.
#[derive(Debug)]
pub struct Opened {
    /// One device for each queue number, to be moved to its worker.
    pub devices: Vec<AfXdpDevice>,
    /// What to report of each queue of each port.
    pub queues: Vec<Queue>,
    /// The program on both ports, for as long as frames shall come.
    pub attachments: [Attachment; 2],
}

/// One receive queue of one port, for the status.
#[derive(Debug)]
pub struct Queue {
    /// The port.
    pub port: Port,
    /// Its number.
    pub number: u32,
    /// The mode that was had.
    pub mode: Mode,
    /// Whether its packet memory is on huge pages.
    pub huge_pages: bool,
    /// A second handle on the socket, for the counters.
    socket: OwnedFd,
}

/// What the kernel dropped of a queue, since it was opened (`struct xdp_statistics`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KernelDrops {
    /// Received frames for which there was no memory, or too small a one.
    pub rx_dropped: u64,
    /// Received frames for which the receive ring had no room.
    pub rx_ring_full: u64,
    /// Times the kernel found no free frame to receive into.
    pub rx_fill_ring_empty: u64,
    /// Free frames of ours that the kernel found invalid.
    pub rx_invalid: u64,
    /// Frames to send that the kernel found invalid.
    pub tx_invalid: u64,
}

impl Queue {
    /// Appends the lines of the status that are about this queue.
    pub fn describe(&self, lines: &mut String) {
        let mut line = |what: &str, value: &dyn fmt::Display| {
            let key = port_key(self.port, &format!("queue.{}.{what}", self.number));
            status_line(lines, &key, value);
        };
        line("mode", &self.mode);
        line("huge-pages", &if self.huge_pages { "yes" } else { "no" });
        let Some(drops) = self.kernel_drops() else { return };
        let KernelDrops { rx_dropped, rx_ring_full, rx_fill_ring_empty, rx_invalid, tx_invalid } =
            drops;
        line("kernel.rx-dropped", &rx_dropped);
        line("kernel.rx-ring-full", &rx_ring_full);
        line("kernel.rx-fill-ring-empty", &rx_fill_ring_empty);
        line("kernel.rx-invalid", &rx_invalid);
        line("kernel.tx-invalid", &tx_invalid);
    }

    /// What the kernel dropped so far; `None` when it does not say.
    #[must_use]
    pub fn kernel_drops(&self) -> Option<KernelDrops> {
        let statistics = xdp_statistics(&self.socket).ok()?;
        Some(KernelDrops {
            rx_dropped: statistics.rx_dropped,
            rx_ring_full: statistics.rx_ring_full.unwrap_or(0),
            rx_fill_ring_empty: statistics.rx_fill_ring_empty_descs.unwrap_or(0),
            rx_invalid: statistics.rx_invalid_descs,
            tx_invalid: statistics.tx_invalid_descs,
        })
    }
}

/// Takes two inspected ports into service.
///
/// # Errors
/// Why not: a card that hides VLAN tags, a program that cannot be attached, memory or a socket that cannot be had.
pub fn open(ports: &[Interface; 2], sizes: Sizes) -> Result<Opened, Vec<Refusal>> {
    check(ports, sizes)?;
    let [a, b] = ports;
    let attach = |port| Attachment::new(port).map_err(|refusal| vec![refusal]);
    let mut attachments = [attach(a)?, attach(b)?];
    let mut devices = Vec::new();
    let mut queues = Vec::new();
    for number in 0..a.queues {
        let (device, pair) =
            sockets::open(ports, &mut attachments, number, sizes).map_err(|error| vec![error])?;
        devices.push(device);
        queues.extend(pair);
    }
    Ok(Opened { devices, queues, attachments })
}

/// Whether the port is still the interface that was taken into service.
#[must_use]
pub fn is_here(port: &Interface) -> bool {
    card::is_here(port)
}

fn check(ports: &[Interface; 2], sizes: Sizes) -> Result<(), Vec<Refusal>> {
    let mut refusals = Vec::new();
    if !sizes.ring.is_power_of_two() {
        let reason = format!("`--ring-entries {}`: expected a power of two", sizes.ring);
        refusals.push(Refusal::Setting { reason });
    }
    if sizes.frames < sizes.ring {
        let reason = format!(
            "`--frames-per-queue {}`: expected at least `--ring-entries`, {}",
            sizes.frames, sizes.ring
        );
        refusals.push(Refusal::Setting { reason });
    }
    for port in ports {
        if !card::is_here(port) {
            refusals.push(Refusal::ForeignSysfs { port: port.name.clone() });
        } else if port.hardware && card::hides_vlan_tags(&port.name) {
            refusals.push(Refusal::VlanTagsHidden { port: port.name.clone() });
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}
