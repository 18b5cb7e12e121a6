//! Servers that answer: TCP and UDP, on threads of this process, with their sockets in a host's namespace.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::failure::{During, Failure};
use crate::topology::Host;

/// What a server on port 22 says first, as RFC 4253 section 4.2 wants it.
pub const SSH_BANNER: &str = "SSH-2.0-ravelin-lab\r\n";
/// How long a server waits for a silent client.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a client says first on `port`.
#[must_use]
pub fn request_for(port: u16) -> &'static [u8] {
    match port {
        80 => b"GET / HTTP/1.0\r\n\r\n",
        22 => b"SSH-2.0-ravelin-lab-client\r\n",
        _ => b"are you there?\r\n",
    }
}

/// Listens on these TCP and UDP ports of `host`, both families, as long as the process lives: port 80 speaks HTTP,
/// port 22 greets as SSH does and then echoes, all others echo.
///
/// # Errors
/// A port is taken.
pub fn serve(host: &Host, tcp: &[u16], udp: &[u16]) -> Result<(), Failure> {
    host.namespace.run(|| serve_here(tcp, udp))?
}

/// As `serve`, in the namespace that the calling thread is in.
///
/// # Errors
/// A port is taken.
pub fn serve_here(tcp: &[u16], udp: &[u16]) -> Result<(), Failure> {
    // A socket on `::` serves IPv4 too.
    let any = |port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    for port in tcp.iter().copied() {
        let listener = TcpListener::bind(any(port)).during(&format!("listen on tcp/{port}"))?;
        thread::spawn(move || accept(&listener, port));
    }
    for port in udp.iter().copied() {
        let socket = UdpSocket::bind(any(port)).during(&format!("listen on udp/{port}"))?;
        thread::spawn(move || answer(&socket));
    }
    Ok(())
}

/// Reads what an SSH server says first.
///
/// # Errors
/// It says something else, or nothing.
pub fn greeting(stream: &mut TcpStream) -> Result<(), Failure> {
    let doing = "read the greeting";
    let mut greeting = vec![0; SSH_BANNER.len()];
    stream.read_exact(&mut greeting).during(doing)?;
    if greeting == SSH_BANNER.as_bytes() {
        return Ok(());
    }
    Err(Failure::new(doing, String::from_utf8_lossy(&greeting)))
}

fn accept(listener: &TcpListener, port: u16) {
    for stream in listener.incoming().flatten() {
        // A client that goes away ends its own conversation, nothing else.
        thread::spawn(move || drop(converse(stream, port)));
    }
}

fn converse(mut stream: TcpStream, port: u16) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    if port == 80 {
        return http(&stream);
    }
    if port == 22 {
        stream.write_all(SSH_BANNER.as_bytes())?;
    }
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        let Some(heard @ [_, ..]) = buffer.get(..read) else { return Ok(()) };
        stream.write_all(heard)?;
    }
}

fn http(stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let body = "it works\n";
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    { stream }.write_all((head + body).as_bytes())
}

fn answer(socket: &UdpSocket) {
    // As long as a datagram can be.
    let mut buffer = vec![0; 1 << 16];
    while let Ok((read, from)) = socket.recv_from(&mut buffer) {
        if let Some(heard) = buffer.get(..read) {
            let _ = socket.send_to(heard, from);
        }
    }
}
