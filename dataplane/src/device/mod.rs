//! The seam between the worker and what frames come from: AF_XDP sockets, or memory in tests and benches.

use std::time::Duration;

#[cfg(feature = "af-xdp")]
pub mod af_xdp;
pub mod interface;
pub mod memory;
pub mod refusal;

/// Most frames taken from a port in one go. 64 amortises the ring and clock costs, and keeps a batch in the L1 cache.
pub const BATCH_FRAMES: usize = 64;

/// One of the two ports of a pair, in the order of the settings.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Port {
    /// The first port.
    A,
    /// The second port.
    B,
}

impl Port {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The port at the other end of the wire.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// 0 or 1.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A received frame that the worker owns. It must go back to its device: forwarded or released, exactly once.
///
/// Neither `Clone` nor `Copy`: a frame has one owner.
#[derive(Debug)]
#[must_use]
pub struct Frame {
    /// What the device needs to find the memory again: an address in UMEM, a position in a pool.
    pub handle: u64,
    /// Bytes of the packet.
    pub length: u32,
    /// Device options that travel with the frame.
    pub options: u32,
}

/// Writes `bytes` over what stands at `at` in `frame`. False when they do not lie within it.
fn write(frame: &mut [u8], at: usize, bytes: &[u8]) -> bool {
    let place = frame.get_mut(at..).and_then(|place| place.get_mut(..bytes.len()));
    if let Some(place) = place {
        place.copy_from_slice(bytes);
        return true;
    }
    false
}

/// Where one worker's frames come from and go to: one queue of each of the two ports.
pub trait Device {
    /// Takes up to `BATCH_FRAMES` received frames of `port` and appends them to `batch`; returns how many.
    fn receive(&mut self, port: Port, batch: &mut Vec<Frame>) -> usize;

    /// The bytes of a frame that was received and not yet given back.
    fn bytes(&self, frame: &Frame) -> &[u8];

    /// Writes `bytes` over what stands at `at` in such a frame. False when they do not lie within it; then it is as it was.
    #[must_use]
    fn write(&mut self, frame: &Frame, at: usize, bytes: &[u8]) -> bool;

    /// Hands the frame to the transmit ring of `port`, bytes uncopied. A frame that finds no room comes back.
    ///
    /// # Errors
    /// The frame itself, when the ring is full.
    fn transmit(&mut self, port: Port, frame: Frame) -> Result<(), Frame>;

    /// Sends these bytes from the transmit ring of `port` in a free frame of the device. False when the ring is full, no
    /// frame is free, or the bytes are more than one holds.
    #[must_use]
    fn transmit_copy(&mut self, port: Port, bytes: &[u8]) -> bool;

    /// Gives the memory of a dropped frame back.
    fn release(&mut self, frame: Frame);

    /// Ends a batch: wakes transmitters that need it, reclaims sent frames, refills the receive side.
    fn flush(&mut self);

    /// Sleeps until a port has something or `timeout` is over.
    fn wait(&mut self, timeout: Duration);
}
