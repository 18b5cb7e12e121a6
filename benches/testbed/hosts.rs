//! The programs of source and sink, each in a process of its own.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use super::cost;
use ravelin::support::ALLOWED_PORT;

const FLOWS: u16 = 64;
/// 14 Ethernet + 20 IP + 8 UDP + 18 = 60 bytes, 64 with the frame check sequence.
const PAYLOAD: [u8; 18] = [0; 18];
/// Source ports that flows of one destination begin at, and how many there are.
const FIRST_PORT: u16 = 1_024;
const PORTS: u64 = 64_000;
/// Addresses of the sink that the gateway knows the way to.
pub(super) const SINKS: u8 = 8;

/// The sender's own program, paced; `--fresh` gives every packet a flow of its own. Says how many packets it sent, and the
/// nanoseconds that it had of the processor meanwhile.
pub(crate) fn send(arguments: &[String]) {
    let number =
        |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok()).expect("a number");
    let (rate, duration) = (number(2), Duration::from_millis(u64::from(number(3))));
    let (sent, cpu_ns) = if arguments.iter().any(|word| word == "--fresh") {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::UDP)).expect("root");
        paced(rate, duration, |number| {
            let (bytes, to) = fresh(number);
            sendto(&raw, &bytes, SendFlags::empty(), &to).is_ok()
        })
    } else {
        let sockets: Vec<UdpSocket> = (0..FLOWS).map(|flow| flow_socket(40_000 + flow)).collect();
        paced(rate, duration, |number| {
            let flow = usize::try_from(number % u64::from(FLOWS)).expect("a flow");
            sockets.get(flow).expect("a socket").send(&PAYLOAD).is_ok()
        })
    };
    println!("{sent} {cpu_ns}");
}

/// Answers every packet, until it is ended.
pub(crate) fn answer() {
    let socket = UdpSocket::bind(("198.19.0.1", ALLOWED_PORT)).expect("the port");
    println!("ready");
    let mut buffer = [0; 64];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
    }
}

/// Calls `send` with numbers from 0 on, so often a second. A full queue is not an error of the bench: it is tried again.
fn paced(rate: u32, duration: Duration, mut send: impl FnMut(u64) -> bool) -> (u64, u64) {
    let cpu = cost::process_ns(std::process::id());
    let start = Instant::now();
    let mut sent: u64 = 0;
    while start.elapsed() < duration {
        let due = start.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        while u128::from(sent) < due && send(sent) {
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    (sent, cost::process_ns(std::process::id()) - cpu)
}

/// The UDP packet of that number, without an IP header, and where it goes.
fn fresh(number: u64) -> ([u8; 26], SocketAddrV4) {
    let source = FIRST_PORT + u16::try_from(number % PORTS).expect("a port");
    let host = u8::try_from(number / PORTS % u64::from(SINKS)).expect("few hosts") + 1;
    let [source_high, source_low] = source.to_be_bytes();
    let [port_high, port_low] = ALLOWED_PORT.to_be_bytes();
    let mut bytes = [0; 26];
    // Source port, destination port, length, and no checksum (RFC 768).
    let header = [source_high, source_low, port_high, port_low, 0, 26, 0, 0];
    bytes.iter_mut().zip(header).for_each(|(byte, value)| *byte = value);
    (bytes, SocketAddrV4::new(Ipv4Addr::new(198, 19, 0, host), ALLOWED_PORT))
}

fn flow_socket(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(("198.18.0.1", port)).expect("a port");
    socket.connect(("198.19.0.1", ALLOWED_PORT)).expect("the sink");
    socket
}
