//! Attempts: one host tries to reach another, as a program would, and says what came of it.

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use classifier::packet::protocol;

use crate::deadline::Deadline;
use crate::failure::{During, Failure};
use crate::servers::request_for;
use crate::topology::Host;

/// Pause before a UDP request is sent once more: the first may wait for address resolution.
const UDP_AGAIN: Duration = Duration::from_millis(300);

/// What is tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// A TCP connection to this port, a request, an answer.
    Tcp(u16),
    /// A UDP request to this port and its answer.
    Udp(u16),
    /// An ICMP echo and its reply.
    Ping,
}

impl Probe {
    /// The IP protocol number towards `to`.
    #[must_use]
    pub fn protocol(self, to: IpAddr) -> u8 {
        match self {
            Self::Tcp(_) => protocol::TCP,
            Self::Udp(_) => protocol::UDP,
            Self::Ping if to.is_ipv4() => protocol::ICMP,
            Self::Ping => protocol::ICMPV6,
        }
    }

    /// The destination port, if the protocol has ports.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(port) | Self::Udp(port) => Some(port),
            Self::Ping => None,
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(22) => f.write_str("ssh (tcp/22)"),
            Self::Tcp(80) => f.write_str("http (tcp/80)"),
            Self::Udp(53) => f.write_str("dns (udp/53)"),
            Self::Tcp(port) => write!(f, "tcp/{port}"),
            Self::Udp(port) => write!(f, "udp/{port}"),
            Self::Ping => f.write_str("ping"),
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// The other side answered.
    Answered,
    /// Nothing came back in time.
    Nothing,
    /// Something else came back: a refusal, a reset. The network let it through.
    Refused,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "answered",
            Self::Nothing => "nothing",
            Self::Refused => "refused",
        })
    }
}

/// `from` tries `probe` on the address `to`, and waits no longer than `patience` for each step.
///
/// # Errors
/// The attempt could not be made at all.
pub fn attempt(from: &Host, to: IpAddr, probe: Probe, patience: Duration) -> Result<Seen, Failure> {
    match probe {
        Probe::Tcp(port) => from.namespace.run(|| tcp(SocketAddr::new(to, port), patience)),
        Probe::Udp(port) => from.namespace.run(|| udp(SocketAddr::new(to, port), patience))?,
        Probe::Ping => ping(from, to, patience),
    }
}

/// Opens a TCP connection to `to` and leaves it open.
///
/// # Errors
/// It does not come about within `patience`.
pub fn connect(from: &Host, to: SocketAddr, patience: Duration) -> Result<TcpStream, Failure> {
    let doing = format!("connect from {} to {to}", from.name);
    let stream =
        from.namespace.run(|| TcpStream::connect_timeout(&to, patience))?.during(&doing)?;
    stream.set_read_timeout(Some(patience)).during(&doing)?;
    stream.set_write_timeout(Some(patience)).during(&doing)?;
    stream.set_nodelay(true).during(&doing)?;
    Ok(stream)
}

/// Sends `line` on a connection to an echoing server and waits for it to come back.
///
/// # Errors
/// It does not come back in time, or is not what was sent.
pub fn echo(stream: &mut TcpStream, line: &str) -> Result<(), Failure> {
    let doing = format!("echo `{}`", line.trim());
    stream.write_all(line.as_bytes()).during(&doing)?;
    let mut back = vec![0; line.len()];
    stream.read_exact(&mut back).during(&doing)?;
    if back == line.as_bytes() {
        return Ok(());
    }
    Err(Failure::new(doing, format!("got `{}`", String::from_utf8_lossy(&back).trim())))
}

fn tcp(to: SocketAddr, patience: Duration) -> Seen {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(request_for(to.port()))?;
        let mut first = [0; 64];
        stream.read(&mut first)
    };
    match exchange() {
        Ok(1..) => Seen::Answered,
        Ok(0) => Seen::Refused,
        Err(error) => silence_or_refusal(&error),
    }
}

fn udp(to: SocketAddr, patience: Duration) -> Result<Seen, Failure> {
    let doing = format!("ask {to} by UDP");
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).during(&doing)?;
    socket.connect(to).during(&doing)?;
    let deadline = Deadline::after(patience);
    let mut seen = Seen::Nothing;
    while seen == Seen::Nothing && !deadline.is_over() {
        seen = ask_once(&socket, deadline.left().min(UDP_AGAIN)).during(&doing)?;
    }
    Ok(seen)
}

fn ask_once(socket: &UdpSocket, patience: Duration) -> std::io::Result<Seen> {
    socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
    let asked = socket.send(request_for(0));
    let mut answer = [0; 64];
    Ok(match asked.and_then(|_| socket.recv(&mut answer)) {
        Ok(_) => Seen::Answered,
        Err(error) => silence_or_refusal(&error),
    })
}

fn ping(from: &Host, to: IpAddr, patience: Duration) -> Result<Seen, Failure> {
    let seconds = patience.as_secs().max(1).to_string();
    let mut command: Command = from.namespace.command("ping");
    command.args(["-n", "-q", "-c", "1", "-W", &seconds]).arg(to.to_string());
    let output = command.output().during("run ping")?;
    match output.status.code() {
        Some(0) => Ok(Seen::Answered),
        Some(1) => Ok(Seen::Nothing),
        _ => Err(Failure::new("run ping", String::from_utf8_lossy(&output.stderr))),
    }
}

fn silence_or_refusal(error: &std::io::Error) -> Seen {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset};
    // All else is silence: a timeout, or "no route to host" when nobody answered the address resolution.
    let refused = [ConnectionRefused, ConnectionReset].contains(&error.kind());
    if refused { Seen::Refused } else { Seen::Nothing }
}
