//! The rings of one worker.
//!
//! A frame of packet memory is in one place at a time: free here, offered to the kernel to receive into, held by the
//! worker, or with the kernel to be sent. It has a home, the socket whose part of the memory it lies in, and from
//! wherever it comes back it goes home. Without that quota "refill any ring that has room" lets the socket of an idle port
//! swallow all frames, and the busy one has none to receive into.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::slice;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, TxQueue, Umem};

use super::Sizes;
use crate::device::{BATCH_FRAMES, Device, Frame, Port, write};

/// Frames a worker can hold: a batch of each port.
const HELD_MAX: usize = 2 * BATCH_FRAMES;

/// Free frames that a socket keeps back from the kernel, to send copies in; a quarter of all if that is less.
const SPARE_FRAMES: usize = 64;

/// Longest sleep while frames wait in a transmit ring that the kernel did not empty (its queue was full, or the socket's
/// send buffer): nothing tells when it would take them, so it is asked again.
const TRANSMIT_RETRY: Duration = Duration::from_millis(1);

/// One worker's packet memory, and a socket on the same queue of either port.
#[derive(Debug)]
pub struct AfXdpDevice {
    umem: Umem,
    homes: Homes,
    sockets: [PortSocket; 2],
    held: Held,
    /// Where descriptors are read from rings.
    scratch: Vec<FrameDesc>,
}

/// The rings of one socket, and the free frames at home there.
#[derive(Debug)]
pub(super) struct PortSocket {
    tx: TxQueue,
    rx: RxQueue,
    fill: FillQueue,
    completion: CompQueue,
    /// Entries of each ring.
    ring: u32,
    /// A second handle on the socket that `rx` and `tx` own.
    handle: OwnedFd,
    free: Vec<FrameDesc>,
    /// How many of the free ones are kept back.
    spare: usize,
    /// Frames the kernel has to receive into, or has received into.
    receiving: usize,
    /// Frames the kernel has to send, or has sent.
    sending: usize,
    /// Wake-ups the kernel needs to send a batch.
    wakeups: usize,
    /// The interface was deleted.
    gone: bool,
}

/// Which frame of packet memory is at home where.
#[derive(Clone, Copy, Debug)]
struct Homes {
    /// Bytes of packet memory that belong to the first port's socket; the second's follow.
    first_bytes: usize,
    total_frames: usize,
}

/// The frames the worker holds, by the number it knows them by.
#[derive(Debug)]
struct Held {
    frames: Vec<Option<FrameDesc>>,
    vacant: Vec<usize>,
}

impl AfXdpDevice {
    pub(super) fn new(
        umem: Umem,
        frame_bytes: u32,
        sizes: Sizes,
        sockets: [PortSocket; 2],
    ) -> Self {
        let frames = sizes.frames as usize;
        let homes = Homes { first_bytes: frames * frame_bytes as usize, total_frames: 2 * frames };
        let scratch = vec![FrameDesc::default(); BATCH_FRAMES];
        let mut device = Self { umem, homes, sockets, held: Held::new(), scratch };
        device.flush();
        device
    }

    /// Every frame is in exactly one place, or some were lost or doubled.
    fn frames_accounted_for(&self) -> usize {
        let [a, b] = &self.sockets;
        a.frames() + b.frames() + self.held.count()
    }

    /// Takes back the frames that `port` has sent.
    fn reclaim(&mut self, port: Port) {
        loop {
            let Self { sockets, scratch, homes, .. } = self;
            let socket = of_mut(sockets, port);
            // SAFETY: the completion ring and the frames it returns belong to the one packet memory of this device.
            let count = unsafe { socket.completion.consume(scratch) };
            socket.sending -= count.min(socket.sending);
            for frame in scratch.iter().take(count) {
                of_mut(sockets, homes.of(frame)).free.push(*frame);
            }
            if count < BATCH_FRAMES {
                return;
            }
        }
    }
}

impl Device for AfXdpDevice {
    fn receive(&mut self, port: Port, batch: &mut Vec<Frame>) -> usize {
        let Self { sockets, held, scratch, .. } = self;
        let room = scratch.len().min(held.vacant.len());
        let Some(scratch) = scratch.get_mut(..room) else { return 0 };
        let socket = of_mut(sockets, port);
        // SAFETY: the receive ring and the frames it returns belong to the one packet memory of this device.
        let count = unsafe { socket.rx.consume(scratch) };
        socket.receiving -= count.min(socket.receiving);
        batch.extend(scratch.iter().take(count).filter_map(|frame| held.take_in(*frame)));
        count
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        let Some(desc) = self.held.look(frame) else { return &[] };
        // SAFETY: the descriptor came out of this memory's receive ring and was not handed on since, or it would not be
        // among the held ones; so it describes a frame of this memory that the kernel does not touch.
        let data = unsafe { self.umem.data(desc) };
        data.contents()
    }

    fn write(&mut self, frame: &Frame, at: usize, bytes: &[u8]) -> bool {
        let Some(desc) = self.held.look_mut(frame) else { return false };
        // SAFETY: as in `bytes`; nobody else has a slice of the frame, because `self` is borrowed mutably.
        let mut data = unsafe { self.umem.data_mut(desc) };
        write(data.contents_mut(), at, bytes)
    }

    fn transmit(&mut self, port: Port, frame: Frame) -> Result<(), Frame> {
        let Self { sockets, held, .. } = self;
        let Some(desc) = held.look(&frame) else { return Err(frame) };
        let socket = of_mut(sockets, port);
        // SAFETY: the frame belongs to this memory and is held, so it is in no ring; it is let go of below if the ring
        // took it.
        let count = unsafe { socket.tx.produce_one(desc) };
        if count == 0 {
            return Err(frame);
        }
        socket.sending += count;
        held.let_go(&frame);
        Ok(())
    }

    fn transmit_copy(&mut self, port: Port, bytes: &[u8]) -> bool {
        let Self { umem, homes, sockets, .. } = self;
        // A frame that is at home there, since it is there that it comes back to.
        let socket = of_mut(sockets, port);
        let Some(mut desc) = socket.free.pop().or_else(|| of_mut(sockets, port.other()).free.pop())
        else {
            return false;
        };
        desc.set_options(0);
        // SAFETY: a free frame belongs to this memory and is in no ring, so neither the kernel nor a slice of a held frame
        // touches it.
        let mut data = unsafe { umem.data_mut(&mut desc) };
        let mut cursor = data.cursor();
        cursor.set_pos(0);
        let fits = cursor.write_all(bytes).is_ok();
        let socket = of_mut(sockets, port);
        // SAFETY: the frame belongs to this memory and is in no other place; it goes home below if the ring did not take it.
        let count = if fits { unsafe { socket.tx.produce_one(&desc) } } else { 0 };
        socket.sending += count;
        if count == 0 {
            of_mut(sockets, homes.of(&desc)).free.push(desc);
        }
        count > 0
    }

    fn release(&mut self, frame: Frame) {
        let desc = self.held.let_go(&frame);
        debug_assert!(desc.is_some(), "a frame came back twice");
        if let Some(desc) = desc {
            of_mut(&mut self.sockets, self.homes.of(&desc)).free.push(desc);
        }
    }

    fn flush(&mut self) {
        for port in Port::BOTH {
            of_mut(&mut self.sockets, port).send();
            self.reclaim(port);
        }
        for socket in &mut self.sockets {
            socket.refill();
        }
        debug_assert_eq!(
            self.frames_accounted_for(),
            self.homes.total_frames,
            "frames lost or doubled"
        );
    }

    fn wait(&mut self, timeout: Duration) {
        let stuck = self.sockets.iter_mut().any(PortSocket::has_unsent);
        let timeout = if stuck { timeout.min(TRANSMIT_RETRY) } else { timeout };
        let Ok(timeout) = Timespec::try_from(timeout) else { return };
        let [a, b] = &self.sockets;
        let mut both = [a.polled(), b.polled()];
        let [polled_a, polled_b] = &mut both;
        let polled = match (a.gone, b.gone) {
            (false, false) => &mut both[..],
            (false, true) => slice::from_mut(polled_a),
            (true, false) => slice::from_mut(polled_b),
            (true, true) => &mut [],
        };
        // An interrupted or refused poll is an early end of the sleep.
        let _ = poll(polled, Some(&timeout));
        // What is broken would end every sleep at once from now on, and the loop would spin.
        if polled.iter().any(is_broken) {
            for socket in &mut self.sockets {
                socket.gone |= socket.is_broken();
            }
        }
    }
}

impl PortSocket {
    /// The rings, of `ring` entries, with `frames` at home here.
    pub(super) fn new(
        rings: (TxQueue, RxQueue, FillQueue, CompQueue),
        ring: u32,
        handle: OwnedFd,
        frames: &[FrameDesc],
        wakeups: usize,
    ) -> Self {
        let (tx, rx, fill, completion) = rings;
        // All frames may be free at once, and pushing one must not allocate.
        let free = frames.to_vec();
        let spare = SPARE_FRAMES.min(frames.len() / 4);
        Self {
            tx,
            rx,
            fill,
            completion,
            ring,
            handle,
            free,
            spare,
            receiving: 0,
            sending: 0,
            wakeups,
            gone: false,
        }
    }

    pub(super) fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    fn frames(&self) -> usize {
        self.free.len() + self.receiving + self.sending
    }

    /// Whether the transmit ring has frames that the kernel waits to be told of.
    fn has_unsent(&mut self) -> bool {
        !self.gone
            && self.sending > 0
            && self.tx.needs_wakeup()
            && self.tx.nb_free_exact() < self.ring
    }

    /// Tells the kernel of frames to send.
    fn send(&mut self) {
        for _ in 0..self.wakeups {
            if !self.has_unsent() {
                return;
            }
            // A busy queue, a full send buffer, a link that is down or an interface that is gone: the frames stay in the
            // ring, and when that is full the worker drops and counts. None of it may end the worker.
            if self.tx.wakeup().is_err() {
                return;
            }
        }
    }

    /// Offers free frames to the kernel to receive into, but for those kept back.
    fn refill(&mut self) {
        // The ring takes all frames it is given or none.
        let room = self.fill.nb_free(BATCH_FRAMES.try_into().unwrap_or(u32::MAX)) as usize;
        let start = self.free.len().saturating_sub(room).max(self.spare);
        let Some(frames) = self.free.get(start..) else { return };
        // SAFETY: the frames belong to the packet memory of this ring, and free ones are in no other place.
        let count = unsafe { self.fill.produce(frames) };
        if count == 0 {
            return;
        }
        self.receiving += count;
        self.free.truncate(start);
        if self.fill.needs_wakeup() && !self.gone {
            // Without it the card goes on as soon as the worker polls.
            let _ = self.fill.wakeup(self.rx.fd_mut(), 0);
        }
    }

    fn polled(&self) -> PollFd<'_> {
        PollFd::new(&self.handle, PollFlags::IN)
    }

    /// Whether the socket can still be waited for.
    fn is_broken(&self) -> bool {
        let mut polled = [self.polled()];
        let _ = poll(&mut polled, Some(&Timespec::default()));
        polled.iter().any(is_broken)
    }
}

fn is_broken(polled: &PollFd<'_>) -> bool {
    polled.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}

impl Homes {
    fn of(self, frame: &FrameDesc) -> Port {
        if frame.addr() < self.first_bytes { Port::A } else { Port::B }
    }
}

impl Held {
    fn new() -> Self {
        Self { frames: vec![None; HELD_MAX], vacant: (0..HELD_MAX).collect() }
    }

    fn take_in(&mut self, desc: FrameDesc) -> Option<Frame> {
        let number = self.vacant.pop()?;
        *self.frames.get_mut(number)? = Some(desc);
        let length = u32::try_from(desc.lengths().data()).unwrap_or(u32::MAX);
        Some(Frame { handle: number as u64, length, options: desc.options() })
    }

    fn look(&self, frame: &Frame) -> Option<&FrameDesc> {
        self.frames.get(usize::try_from(frame.handle).ok()?)?.as_ref()
    }

    fn look_mut(&mut self, frame: &Frame) -> Option<&mut FrameDesc> {
        self.frames.get_mut(usize::try_from(frame.handle).ok()?)?.as_mut()
    }

    fn let_go(&mut self, frame: &Frame) -> Option<FrameDesc> {
        let number = usize::try_from(frame.handle).ok()?;
        let desc = self.frames.get_mut(number)?.take()?;
        self.vacant.push(number);
        Some(desc)
    }

    fn count(&self) -> usize {
        HELD_MAX - self.vacant.len()
    }
}

fn of_mut(sockets: &mut [PortSocket; 2], port: Port) -> &mut PortSocket {
    let [a, b] = sockets;
    if port == Port::A { a } else { b }
}
