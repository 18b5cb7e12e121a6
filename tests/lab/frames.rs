//! Raw Ethernet frames: sent as they are, and captured as they arrive, VLAN tags included.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, eth,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::{Deadline, wait_until};
use crate::failure::{During, Failure};
use crate::namespace::Namespace;
use crate::topology::Host;

/// Longest frame that is looked at.
const SNAP_BYTES: usize = 2048;
/// Patience with `tcpdump` and the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends frames out of a host's `eth0`.
#[derive(Debug)]
pub struct FrameSender {
    socket: OwnedFd,
    interface: SocketAddrAny,
}

impl FrameSender {
    /// A sender on `host`.
    ///
    /// # Errors
    /// No packet sockets, or not root.
    pub fn new(host: &Host) -> Result<Self, Failure> {
        Self::within(&host.namespace)
    }

    /// A sender at `eth0` of a namespace.
    ///
    /// # Errors
    /// No packet sockets, no IPv6 to find the interface with, or not root.
    pub fn within(namespace: &Namespace) -> Result<Self, Failure> {
        let doing = format!("open a packet socket in {}", namespace.name());
        namespace.run(open_packet_socket)?.during(&doing)
    }

    /// The socket, which sees every frame of the namespace that others send or that arrives.
    #[must_use]
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Sends one frame; waits while the interface has no room.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn send(&self, frame: &[u8]) -> Result<(), Failure> {
        loop {
            match rustix::net::sendto(&self.socket, frame, SendFlags::empty(), &self.interface) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN) => thread::yield_now(),
                Err(error) => return Err(Failure::new("send a frame", error)),
            }
        }
    }
}

/// A packet socket and the address of `eth0` as packet sockets know it. The only address type of that kind is one that the
/// kernel gave us, so we make the interface send something and keep the address it is reported with.
fn open_packet_socket() -> Result<FrameSender, Failure> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = AddressFamily::PACKET;
    let socket = rustix::net::socket_with(family, SocketType::RAW, flags, Some(eth::ALL))
        .during("open it")?;
    let index = rustix::net::netdevice::name_to_index(&socket, "eth0").during("find eth0")?;
    let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 9, 0, index);
    let prompt = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).during("open a socket")?;
    let mut buffer = [0; SNAP_BYTES];
    let interface = wait_until(PATIENCE, || {
        prompt.send_to(b"who am I", all_nodes).ok()?;
        rustix::net::recvfrom(&socket, &mut buffer, RecvFlags::empty()).ok()?.2
    });
    let interface = interface.ok_or_else(|| Failure::new("find eth0", "no frame was seen"))?;
    Ok(FrameSender { socket, interface })
}

/// Frames that arrive at a host's `eth0`, from the moment this value exists.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Child,
    frames: Receiver<Vec<u8>>,
    complaints: Receiver<String>,
}

impl Capture {
    /// Captures what arrives at `host` and matches `filter` (pcap-filter; empty for everything).
    ///
    /// # Errors
    /// No `tcpdump`, or it refuses the filter.
    pub fn new(host: &Host, filter: &str) -> Result<Self, Failure> {
        let doing = format!("capture `{filter}` on {}", host.name);
        let mut command = host.namespace.command("tcpdump");
        command.args(["-i", "eth0", "-Q", "in", "-n", "-U", "--immediate-mode"]);
        command.args(["-B", "65536", "-s", &SNAP_BYTES.to_string(), "-w", "-"]).arg(filter);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tcpdump = command.spawn().during(&doing)?;
        let (Some(stdout), Some(stderr)) = (tcpdump.stdout.take(), tcpdump.stderr.take()) else {
            return Err(Failure::new(doing, "no pipes"));
        };
        let (frame, frames) = channel();
        let (complaint, complaints) = channel();
        thread::spawn(move || pass_on_frames(BufReader::new(stdout), |found| frame.send(found)));
        thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| complaint.send(line))
        });
        let capture = Self { tcpdump, frames, complaints };
        capture.wait_for_listening().during(&doing)?;
        Ok(capture)
    }

    /// The next frame, if one arrives within `patience`.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Option<Vec<u8>> {
        self.frames.recv_timeout(patience).ok()
    }

    /// Frames that have arrived and were not taken yet.
    #[must_use]
    pub fn arrived(&self) -> Vec<Vec<u8>> {
        self.frames.try_iter().collect()
    }

    /// Ends the capture; returns the frames not taken yet.
    ///
    /// # Errors
    /// The kernel dropped frames before they were captured: what was seen is not all there was.
    pub fn finish(mut self) -> Result<Vec<Vec<u8>>, Failure> {
        let doing = "end a capture";
        let pid = Pid::from_child(&self.tcpdump);
        kill_process(pid, Signal::INT).during(doing)?;
        self.tcpdump.wait().during(doing)?;
        let frames = self.frames.iter().collect();
        let last_words: Vec<String> = self.complaints.iter().collect();
        if last_words.iter().any(|line| line.starts_with("0 packets dropped by kernel")) {
            return Ok(frames);
        }
        Err(Failure::new(doing, last_words.join("; ")))
    }

    fn wait_for_listening(&self) -> Result<(), Failure> {
        let deadline = Deadline::after(PATIENCE);
        let mut said = Vec::new();
        loop {
            match self.complaints.recv_timeout(deadline.left()) {
                Ok(line) if line.contains("listening on") => return Ok(()),
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                    return Err(Failure::new("start tcpdump", said.join("; ")));
                }
            }
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Already gone after `finish`.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// Reads a capture file: a header of 24 bytes, then records of 16 bytes and the frame (little-endian, as this machine).
fn pass_on_frames<E>(
    mut file: BufReader<ChildStdout>,
    mut give: impl FnMut(Vec<u8>) -> Result<(), E>,
) -> Option<()> {
    file.read_exact(&mut [0; 24]).ok()?;
    loop {
        let mut header = [0; 16];
        file.read_exact(&mut header).ok()?;
        let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = header;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?;
        let mut frame = vec![0; length.min(SNAP_BYTES)];
        file.read_exact(&mut frame).ok()?;
        give(frame).ok()?;
    }
}
