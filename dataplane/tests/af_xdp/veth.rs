//! Two hosts and a gateway in namespaces of their own, joined by veth pairs:
//! `left: host - g0 :gateway: g1 - host :right`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use dataplane::device::Port;
use dataplane::device::interface::Interface;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, eth, netdevice,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// `EtherType` for local experiments (IEEE 802): what our frames carry, and nobody else's here.
pub(crate) const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
/// Patience with the kernel and `tcpdump`; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The network of one test. It goes when this is dropped.
pub(crate) struct Net {
    left: Namespace,
    gateway: Namespace,
    right: Namespace,
    queues: u32,
    /// One network at a time: two would take each other's cores.
    _alone: MutexGuard<'static, ()>,
}

impl Net {
    /// A network whose gateway ports have `queues` queues.
    pub(crate) fn new(queues: u32) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let net = Self {
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
            left: Namespace::new(),
            gateway: Namespace::new(),
            right: Namespace::new(),
            queues,
        };
        for namespace in [&net.left, &net.gateway, &net.right] {
            // What a host says by itself would only disturb.
            namespace.write("net/ipv6/conf/default/disable_ipv6", "1");
        }
        net.connect("g0", &net.left);
        net.connect("g1", &net.right);
        net
    }

    /// A network whose gateway ports are bridges, in front of the veth pairs: an interface without native XDP.
    pub(crate) fn with_bridges() -> Self {
        let net = Self::new(1);
        for (port, inner) in [("g0", "inner0"), ("g1", "inner1")] {
            net.in_gateway_ip(&["link", "set", port, "name", inner]);
            net.in_gateway_ip(&["link", "add", port, "mtu", "1500", "type", "bridge"]);
            net.in_gateway_ip(&["link", "set", inner, "up", "master", port]);
            net.in_gateway_ip(&["link", "set", port, "up"]);
        }
        net
    }

    /// Does `work` on a thread in the gateway's namespace.
    pub(crate) fn in_gateway<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.gateway.run(work)
    }

    /// The gateway's ports as `inspect` would describe them.
    pub(crate) fn ports(&self) -> [Interface; 2] {
        self.in_gateway(|| {
            ["g0", "g1"].map(|name| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let index = netdevice::name_to_index(socket, name).unwrap();
                let name = name.to_owned();
                Interface { name, index, mtu: 1500, queues: self.queues, hardware: false }
            })
        })
    }

    /// The host behind `port`.
    pub(crate) fn host(&self, port: Port) -> &Namespace {
        if port == Port::A { &self.left } else { &self.right }
    }

    /// A capture of what the gateway's kernel receives from a port.
    pub(crate) fn kernel_capture(&self, port: &str) -> Capture {
        Capture::start(&self.gateway.name, port)
    }

    /// `ip` with these words in the gateway's namespace.
    pub(crate) fn in_gateway_ip(&self, words: &[&str]) {
        ip(&[&["-n", &self.gateway.name], words].concat());
    }

    /// Switches an offload of a gateway port.
    pub(crate) fn in_gateway_ethtool(&self, words: &[&str]) {
        run(&[&["ip", "netns", "exec", &self.gateway.name, "ethtool"], words].concat());
    }

    fn connect(&self, port: &str, host: &Namespace) {
        let queues = self.queues.to_string();
        let (gateway, host_name) = (&self.gateway.name, &host.name);
        let numbers = ["numrxqueues", &queues, "numtxqueues", &queues];
        let mut words = vec!["link", "add", port, "netns", gateway];
        words.extend(numbers);
        words.extend(["type", "veth", "peer", "name", "host", "netns", host_name]);
        words.extend(numbers);
        ip(&words);
        ip(&["-n", gateway, "link", "set", port, "up"]);
        ip(&["-n", host_name, "link", "set", "host", "up"]);
        // A veth end without NAPI receives by a queue that it shares with everything else on the same core, and under other
        // load loses frames there. It takes a ring of its own when it may aggregate and the sender does not segment.
        run(&["ip", "netns", "exec", host_name, "ethtool", "-K", "host", "gro", "on"]);
        self.in_gateway_ethtool(&["-K", port, "tso", "off"]);
    }
}

/// A network namespace; deleted when this is dropped.
pub(crate) struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ravelin-xdp-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        let handle = File::open(format!("/run/netns/{name}")).unwrap();
        Self { name, handle }
    }

    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.handle.as_fd(), kind).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap()
    }

    fn write(&self, key: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/{key}"), value)).unwrap();
    }

    /// A sender of raw frames.
    pub(crate) fn sender(&self) -> Sender {
        self.write("net/ipv6/conf/host/disable_ipv6", "0");
        let sender = self.run(Sender::open);
        self.write("net/ipv6/conf/host/disable_ipv6", "1");
        sender
    }

    /// A capture of the frames that arrive.
    pub(crate) fn capture(&self) -> Capture {
        Capture::start(&self.name, "host")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Sends raw frames out of a host.
pub(crate) struct Sender {
    socket: OwnedFd,
    interface: SocketAddrAny,
}

impl Sender {
    /// There is no way to write down a packet socket's address without `unsafe`; so the host is made to send something,
    /// and the kernel tells the address it saw that on.
    fn open() -> Self {
        let flags = SocketFlags::CLOEXEC;
        let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
        let socket = rustix::net::socket_with(family, kind, flags, Some(eth::ALL)).unwrap();
        let index = netdevice::name_to_index(&socket, "host").unwrap();
        let nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let prompt = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let mut buffer = [0; 2048];
        let patience = Some(Duration::from_millis(100));
        let kind = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&socket, kind, patience).unwrap();
        for _ in 0..100 {
            let _ = prompt.send_to(b"?", SocketAddrV6::new(nodes, 9, 0, index));
            if let Ok((.., Some(interface))) =
                rustix::net::recvfrom(&socket, &mut buffer, RecvFlags::empty())
            {
                return Self { socket, interface };
            }
        }
        panic!("the host sent nothing in ten seconds");
    }

    /// Sends one frame; false when the interface is gone.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        rustix::net::sendto(&self.socket, frame, SendFlags::empty(), &self.interface).is_ok()
    }
}

/// Frames of ours that arrive at a host, VLAN tags included: `tcpdump` puts them back where they were.
pub(crate) struct Capture {
    tcpdump: Child,
    frames: Receiver<Vec<u8>>,
}

impl Capture {
    fn start(namespace: &str, interface: &str) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "tcpdump", "-i", interface, "-Q", "in", "-n"]);
        command.args(["-U", "--immediate-mode", "-B", "65536", "-s", "2048", "-w", "-"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tcpdump = command.spawn().expect("`ip` and `tcpdump` are needed");
        let stdout = BufReader::new(tcpdump.stdout.take().unwrap());
        let mut stderr = BufReader::new(tcpdump.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on") {
            assert!(stderr.read_line(&mut said).unwrap() > 0, "tcpdump does not start: {said}");
        }
        let (give, frames) = channel();
        thread::spawn(move || pass_on(stdout, &give));
        thread::spawn(move || stderr.read_to_string(&mut String::new()));
        Self { tcpdump, frames }
    }

    /// The next frame; `None` when none arrives for long.
    pub(crate) fn next(&self) -> Option<Vec<u8>> {
        self.frames.recv_timeout(PATIENCE).ok()
    }

    /// The next frame if it has arrived.
    pub(crate) fn arrived(&self) -> Option<Vec<u8>> {
        self.frames.try_recv().ok()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// Reads a capture file: a header of 24 bytes, then records of 16 bytes and the frame.
fn pass_on(mut file: impl Read, give: &mpsc::Sender<Vec<u8>>) -> Option<()> {
    file.read_exact(&mut [0; 24]).ok()?;
    loop {
        let mut header = [0; 16];
        file.read_exact(&mut header).ok()?;
        let length = u32::from_ne_bytes(header[8..12].try_into().unwrap());
        let mut frame = vec![0; length as usize];
        file.read_exact(&mut frame).ok()?;
        if is_ours(&frame) {
            give.send(frame).ok()?;
        }
    }
}

/// Whether the test sent this frame: by its addresses.
pub(crate) fn is_ours(frame: &[u8]) -> bool {
    frame.get(..12) == Some(&[ADDRESSES[0], ADDRESSES[1]].concat())
}

/// Destination and source: locally administered, nobody's.
const ADDRESSES: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// A frame of `length` bytes with `tags` VLAN tags whose payload depends on `number`.
pub(crate) fn frame(number: u32, tags: u16, length: usize) -> Vec<u8> {
    let mut frame = ADDRESSES.concat();
    for tag in 0..tags {
        frame.extend([0x81, 0x00]);
        frame.extend((100 + tag).to_be_bytes());
    }
    frame.extend(EXPERIMENT);
    frame.extend(number.to_be_bytes());
    let start = frame.len();
    frame.extend((start..length).map(|at| (number as usize + at).to_le_bytes()[0]));
    frame
}

/// A frame with an IPv4 and a UDP header, whose ports let the kernel choose a queue by them.
pub(crate) fn udp_frame(number: u16) -> Vec<u8> {
    let mut frame = ADDRESSES.concat();
    frame.extend([0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([198, 18, 0, 1, 198, 19, 0, 1]);
    frame.extend(number.to_be_bytes());
    frame.extend([0, 53, 0, 26, 0, 0]);
    frame.extend([0; 18]);
    frame
}

/// One of several IPv6 fragments, with 48 bytes of data, of a UDP datagram whose addresses depend on its number. The kernel
/// takes what a sender sends for IPv6, because that is what it saw when it told the address.
pub(crate) fn fragment_frame(number: u16, offset: u16, more: bool) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let mut frame = ADDRESSES.concat();
    frame.extend([0x86, 0xDD, 0x60, 0, 0, 0, 0, 56, 44, 64]);
    for last in [[high, low], [0xff, 0xff]] {
        frame.extend([0x20, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(last);
    }
    frame.extend([17, 0]);
    frame.extend((offset | u16::from(more)).to_be_bytes());
    frame.extend([0, 0, high, low]);
    // What would be ports in another packet, and must not choose the queue.
    let start = frame.len();
    frame.extend([low, low, 0, 53, 0, 144, 0, 0]);
    frame.resize(start + 48, low ^ u8::from(more));
    frame
}

fn ip(words: &[&str]) {
    run(&[&["ip"], words].concat());
}

fn run(words: &[&str]) {
    let command = words.join(" ");
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("`{command}`: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` needs root: {said}");
}
