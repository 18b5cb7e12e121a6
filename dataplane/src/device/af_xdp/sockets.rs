//! Packet memory and sockets of one queue number: the best mode that both ports have.

use std::error::Error;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use std::{io, thread};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{set_socket_send_buffer_size_force, xdp_options};
use rustix::net::xdp::XdpOptionsFlags;
use tracing::debug;
use xsk_rs::config::{
    BindFlags, FrameSize, Interface as Device, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
    XDP_UMEM_MIN_CHUNK_SIZE,
};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

use super::card::set_option;
use super::device::{AfXdpDevice, PortSocket};
use super::program::Attachment;
use super::{Mode, Queue, Sizes};
use crate::device::interface::{Interface, LINK_HEADER_MAX};
use crate::device::refusal::Refusal;
use crate::device::{BATCH_FRAMES, Port};

/// The kernel keeps this much of each frame free in front of the packet (`XDP_PACKET_HEADROOM`).
const HEADROOM: u32 = 256;

/// Huge pages are used when the packet memory is a multiple of this, since only then `munmap` takes its length.
const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// Bytes of unfinished transmissions a socket may have in the kernel, in terms of `truesize`. The default of 212 kB is
/// used up by about 277 small frames, and then sending stops with EAGAIN until some are done.
const SEND_BUFFER_BYTES: usize = 8 << 20;

/// `XDP_MAX_TX_SKB_BUDGET` of `linux/if_xdp.h` (since Linux 6.18): frames the kernel sends at most for one wake-up.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// More than a batch from each port, so that one wake-up each batch empties the transmit ring. The kernel's default is
/// smaller than a batch, and the ring fills up.
const TRANSMIT_BUDGET: u32 = 256;
const _: () = assert!(TRANSMIT_BUDGET as usize > 2 * BATCH_FRAMES);
/// The kernel's own budget, where it cannot be set.
const DEFAULT_TRANSMIT_BUDGET: usize = 32;

/// The kernel releases a queue some time after its last socket was closed, in deferred work: a restart finds it busy.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Opens a socket on queue `number` of both ports, in zero-copy mode if both have it, and directs the queue's frames
/// there.
pub(super) fn open(
    ports: &[Interface; 2],
    attachments: &mut [Attachment; 2],
    number: u32,
    sizes: Sizes,
) -> Result<(AfXdpDevice, [Queue; 2]), Refusal> {
    let native = attachments.iter().all(Attachment::is_native);
    let (memory, sockets) = open_pair(ports, number, sizes, native)?;
    let PacketMemory { umem, frames: _, huge_pages, frame_bytes } = memory;
    let [a, b] = &sockets;
    let [attachment_a, attachment_b] = attachments;
    let [port_a, port_b] = ports;
    let queue_a = direct(port_a, Port::A, attachment_a, number, a, huge_pages)?;
    let queue_b = direct(port_b, Port::B, attachment_b, number, b, huge_pages)?;
    let device = AfXdpDevice::new(umem, frame_bytes, sizes, sockets);
    Ok((device, [queue_a, queue_b]))
}

/// Memory with a socket on either port. The second socket takes over the mode of the first, because they share memory:
/// both or neither are zero-copy.
fn open_pair(
    ports: &[Interface; 2],
    number: u32,
    sizes: Sizes,
    try_zero_copy: bool,
) -> Result<(PacketMemory, [PortSocket; 2]), Refusal> {
    let [a, b] = ports;
    let memory = PacketMemory::new(frame_bytes(a.mtu.max(b.mtu)), sizes)?;
    let open = |port, mode, home| open_socket(port, number, sizes, mode, &memory.umem, home);
    let (home_a, home_b) = memory.frames.split_at(sizes.frames as usize);
    if try_zero_copy {
        match open(a, BindFlags::XDP_ZEROCOPY, home_a) {
            Ok(first) => match open(b, BindFlags::XDP_ZEROCOPY, home_b) {
                Ok(second) => return Ok((memory, [first, second])),
                Err(why) => {
                    debug!(queue = number, "no zero-copy: {why}");
                    drop(first);
                    // The memory is marked by its first socket for good.
                    return open_pair(ports, number, sizes, false);
                }
            },
            // The memory is as before. It is not made anew, because the kernel lets go of the old one only later, and
            // there might not be huge pages enough for both.
            Err(why) => debug!(queue = number, "no zero-copy: {why}"),
        }
    }
    let sockets = [open(a, BindFlags::XDP_COPY, home_a)?, open(b, BindFlags::XDP_COPY, home_b)?];
    Ok((memory, sockets))
}

/// The memory that frames lie in.
struct PacketMemory {
    umem: Umem,
    /// The first port's frames, then as many of the second's.
    frames: Vec<FrameDesc>,
    huge_pages: bool,
    frame_bytes: u32,
}

/// Bytes of a frame of packet memory, a power of two: the packet must fit behind the head room.
fn frame_bytes(mtu: u32) -> u32 {
    let needed = HEADROOM + LINK_HEADER_MAX + mtu;
    needed.next_power_of_two().max(XDP_UMEM_MIN_CHUNK_SIZE)
}

impl PacketMemory {
    /// On huge pages if there are enough.
    fn new(frame_bytes: u32, sizes: Sizes) -> Result<Self, Refusal> {
        let setting = |error: &dyn Error| Refusal::Setting { reason: error.to_string() };
        let ring = QueueSize::new(sizes.ring).map_err(|error| setting(&error))?;
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(frame_bytes).map_err(|error| setting(&error))?)
            .fill_queue_size(ring)
            .comp_queue_size(ring)
            .build()
            .map_err(|error| setting(&error))?;
        let reason = || format!("`--frames-per-queue {}`: too many", sizes.frames);
        let count = sizes.frames.checked_mul(2).and_then(NonZeroU32::new);
        let count = count.ok_or_else(|| Refusal::Setting { reason: reason() })?;
        let bytes = u64::from(count.get()) * u64::from(frame_bytes);
        if bytes.is_multiple_of(HUGE_PAGE_BYTES)
            && let Ok((umem, frames)) = Umem::new(config, count, true)
        {
            return Ok(Self { umem, frames, huge_pages: true, frame_bytes });
        }
        let (umem, frames) =
            Umem::new(config, count, false).map_err(|error| no_memory(bytes, &error))?;
        Ok(Self { umem, frames, huge_pages: false, frame_bytes })
    }
}

fn no_memory(bytes: u64, error: &dyn Error) -> Refusal {
    let cause = os_error(error);
    let limit = cause.as_ref().is_some_and(|cause| cause.raw_os_error() == Some(libc::ENOBUFS));
    let reason = cause.map_or_else(|| error.to_string(), |cause| cause.to_string());
    Refusal::PacketMemory { bytes, reason, limit }
}

fn open_socket(
    port: &Interface,
    number: u32,
    sizes: Sizes,
    mode: BindFlags,
    umem: &Umem,
    frames: &[FrameDesc],
) -> Result<PortSocket, Refusal> {
    let refuse = |reason| Refusal::Socket { port: port.name.clone(), queue: number, reason };
    let ring = QueueSize::new(sizes.ring).map_err(|error| refuse(error.to_string()))?;
    let config = SocketConfig::builder()
        .rx_queue_size(ring)
        .tx_queue_size(ring)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(mode | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let device: Device = port.name.parse().map_err(|_| refuse("a zero in its name".to_owned()))?;
    let rings = bind(config, umem, &device, number).map_err(refuse)?;
    // SAFETY: the descriptor belongs to the socket, which its receive queue keeps open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(rings.1.fd().as_raw_fd()) };
    // libxdp leaves it to be inherited, and a child would keep the queue busy when this process is gone.
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(|error| refuse(error.to_string()))?;
    let handle = borrowed.try_clone_to_owned().map_err(|error| refuse(error.to_string()))?;
    let wakeups = tune(&handle).map_err(|error| refuse(error.to_string()))?;
    Ok(PortSocket::new(rings, sizes.ring, handle, frames, wakeups))
}

type Rings = (TxQueue, RxQueue, FillQueue, CompQueue);

fn bind(config: SocketConfig, umem: &Umem, device: &Device, number: u32) -> Result<Rings, String> {
    let mut tries = BUSY_TRIES;
    loop {
        // SAFETY: the function's one demand is that the program is not loaded by libxdp when a queue of a port is bound
        // twice with the same memory; it is never loaded by libxdp here.
        let opened = unsafe { Socket::new(config, umem, device, number) };
        match opened {
            Ok((tx, rx, Some((fill, completion)))) => return Ok((tx, rx, fill, completion)),
            Ok((_, _, None)) => return Err("it has one already".to_owned()),
            Err(error) => {
                let cause = os_error(&error);
                let busy = cause.as_ref().is_some_and(|c| c.raw_os_error() == Some(libc::EBUSY));
                tries -= 1;
                if !busy || tries == 0 {
                    return Err(cause.map_or_else(|| error.to_string(), |cause| cause.to_string()));
                }
                thread::sleep(BUSY_PAUSE);
            }
        }
    }
}

/// Sets what lets a batch go out with one wake-up; returns how many wake-ups a batch needs.
fn tune(socket: &OwnedFd) -> io::Result<usize> {
    set_socket_send_buffer_size_force(socket, SEND_BUFFER_BYTES)?;
    let set = set_option(socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &TRANSMIT_BUDGET);
    Ok(if set.is_ok() { 1 } else { BATCH_FRAMES.div_ceil(DEFAULT_TRANSMIT_BUDGET) })
}

/// Lets the frames of the queue come, and notes what mode the kernel says it is in.
fn direct(
    interface: &Interface,
    port: Port,
    attachment: &mut Attachment,
    number: u32,
    socket: &PortSocket,
    huge_pages: bool,
) -> Result<Queue, Refusal> {
    let refuse = |reason| Refusal::Socket { port: interface.name.clone(), queue: number, reason };
    let handle = socket.handle().try_clone().map_err(|error| refuse(error.to_string()))?;
    let options = xdp_options(&handle).map_err(|error| refuse(error.to_string()))?;
    let mode = if options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY) {
        Mode::ZeroCopy
    } else if attachment.is_native() {
        Mode::Copy
    } else {
        Mode::GenericCopy
    };
    attachment.direct(number, &handle).map_err(refuse)?;
    Ok(Queue { port, number, mode, huge_pages, socket: handle })
}

fn os_error(error: &dyn Error) -> Option<io::Error> {
    let cause = error.source()?.downcast_ref::<io::Error>()?;
    cause.raw_os_error().map(io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::interface::MTU_MAX;

    #[test]
    fn frame_size_follows_the_mtu() {
        assert_eq!(frame_bytes(1500), 2048);
        assert_eq!(frame_bytes(1770), 2048);
        assert_eq!(frame_bytes(1771), 4096);
        assert_eq!(frame_bytes(MTU_MAX), 4096);
    }
}
