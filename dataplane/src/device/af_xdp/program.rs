//! The XDP program on one port.

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};

use aya::maps::XskMap;
use aya::programs::links::FdLink;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use super::card;
use crate::device::interface::Interface;
use crate::device::refusal::Refusal;

/// `bpf/ravelin.bpf.c`, compiled.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ravelin.bpf.o"));
/// Name of the program and of its map of sockets by queue.
const PROGRAM: &str = "ravelin";
const SOCKETS: &str = "xsks";

/// The program, attached to one port. When this is dropped, or the process is gone, the program is detached.
pub struct Attachment {
    /// Closing it detaches the program: there must be no other handle on it, and it must not be pinned.
    _link: FdLink,
    /// Keeps the card receiving what is addressed to others.
    _promiscuous: OwnedFd,
    ebpf: Ebpf,
    native: bool,
}

impl Attachment {
    /// Loads the program and attaches it, in the driver if possible. Every frame is dropped until queues have sockets.
    pub(super) fn new(port: &Interface) -> Result<Self, Refusal> {
        let refuse = |reason| Refusal::Attach { port: port.name.clone(), reason };
        let promiscuous = card::receive_for_others(port.index)
            .map_err(|error| refuse(format!("it cannot be made promiscuous: {error}")))?;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(SOCKETS, port.queues)
            .load(OBJECT)
            .map_err(|error| refuse(chain(&error)))?;
        let (link, native) = attach(&mut ebpf, port.index).map_err(refuse)?;
        Ok(Self { _link: link, _promiscuous: promiscuous, ebpf, native })
    }

    /// Whether the driver runs the program.
    pub(super) fn is_native(&self) -> bool {
        self.native
    }

    /// Directs the frames of `queue` to `socket`.
    pub(super) fn direct(&mut self, queue: u32, socket: &OwnedFd) -> Result<(), String> {
        let map = self.ebpf.map_mut(SOCKETS).ok_or("the program has no map of sockets")?;
        let mut sockets = XskMap::try_from(map).map_err(|error| chain(&error))?;
        sockets.set(queue, socket.as_raw_fd(), 0).map_err(|error| chain(&error))
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").field("native", &self.native).finish_non_exhaustive()
    }
}

fn attach(ebpf: &mut Ebpf, index: u32) -> Result<(FdLink, bool), String> {
    let program = ebpf.program_mut(PROGRAM).ok_or("the object has no such program")?;
    let program: &mut Xdp = program.try_into().map_err(|error| chain(&error))?;
    program.load().map_err(|error| chain(&error))?;
    match attach_in(program, index, XdpMode::Driver) {
        Ok(link) => Ok((link, true)),
        Err(native) => match attach_in(program, index, XdpMode::Skb) {
            Ok(link) => Ok((link, false)),
            Err(generic) => Err(format!(
                "{native} (native), {generic} (generic); is another program on it? `ip link show` tells"
            )),
        },
    }
}

/// Attaches by a link that the process owns. Where the kernel has no such links, aya attaches by netlink instead; that
/// would stay when the process is gone, and is taken back here.
fn attach_in(program: &mut Xdp, index: u32, mode: XdpMode) -> Result<FdLink, String> {
    let id = program.attach_to_if_index(index, mode).map_err(|error| chain(&error))?;
    let link = program.take_link(id).map_err(|error| chain(&error))?;
    FdLink::try_from(link).map_err(|_| "the kernel has no links for XDP; Linux 5.9 has".to_owned())
}

/// The error and what is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
