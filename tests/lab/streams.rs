//! Streams of frames: sent steadily until stopped, recognised where they arrive, counted at both ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use classifier::packet::IpVersion;
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};

use crate::failure::{During, Failure};
use crate::frames::FrameSender;
use crate::topology::Host;

/// Pause between two bursts.
const TICK: Duration = Duration::from_millis(1);

/// Frames on their way from one host, each a copy of the same, until stopped.
#[derive(Debug)]
pub struct Stream {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl Stream {
    /// Sends these frames in turn out of `from`, `burst` of them each millisecond.
    ///
    /// # Errors
    /// No packet sockets.
    pub fn start(from: &Host, frames: Vec<Vec<u8>>, burst: usize) -> Result<Self, Failure> {
        let sender = FrameSender::new(from)?;
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&sent), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut turn = frames.iter().cycle();
            while !end.load(Ordering::Relaxed) {
                for frame in turn.by_ref().take(burst) {
                    sender.send(frame)?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(TICK);
            }
            Ok(())
        });
        Ok(Self { sent, stop, thread: Some(thread) })
    }

    /// How many frames have been sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops; returns how many frames were sent.
    ///
    /// # Errors
    /// Sending failed on the way.
    pub fn finish(mut self) -> Result<u64, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| Failure::new("send a stream", "the sender panicked"))??;
        }
        Ok(self.sent())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A UDP datagram in a frame, with a payload of 18 bytes: 60 bytes of frame over IPv4, the least that Ethernet carries.
///
/// # Errors
/// The packet cannot be built.
pub fn udp(
    from: &Host,
    to: &Host,
    version: IpVersion,
    ports: [u16; 2],
) -> Result<Vec<u8>, Failure> {
    let [source, destination] = ports;
    let packet = ip(from, to, version).udp(source, destination);
    let mut frame = Vec::new();
    packet.write(&mut frame, b"ravelin laboratory").during("build a UDP frame")?;
    Ok(frame)
}

/// A TCP segment that opens a connection, in a frame.
///
/// # Errors
/// The packet cannot be built.
pub fn syn(
    from: &Host,
    to: &Host,
    version: IpVersion,
    ports: [u16; 2],
) -> Result<Vec<u8>, Failure> {
    let [source, destination] = ports;
    let packet = ip(from, to, version).tcp(source, destination, 1, 1024).syn();
    let mut frame = Vec::new();
    packet.write(&mut frame, &[]).during("build a TCP frame")?;
    Ok(frame)
}

/// The Ethernet and IP headers of a packet.
#[must_use]
pub fn ip(from: &Host, to: &Host, version: IpVersion) -> PacketBuilderStep<IpHeaders> {
    let builder = PacketBuilder::ethernet2(from.mac, to.mac);
    match version {
        IpVersion::V4 => builder.ipv4(from.v4.octets(), to.v4.octets(), 64),
        IpVersion::V6 => builder.ipv6(from.v6.octets(), to.v6.octets(), 64),
    }
}

/// The frame with a VLAN tag of each of these numbers, the outermost first.
#[must_use]
pub fn tagged(frame: &[u8], vlans: &[u16]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(frame.len().min(12));
    let tags = vlans.iter().flat_map(|vlan| [[0x81, 0x00], vlan.to_be_bytes()]).flatten();
    addresses.iter().copied().chain(tags).chain(rest.iter().copied()).collect()
}
