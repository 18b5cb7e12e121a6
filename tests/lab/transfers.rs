//! TCP transfers between the kernels of two hosts: both sides make the same bytes from a seed, so each knows whether the
//! other's arrived as they were sent. Connections end in every way that programs end them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::failure::{During, Failure};
use crate::topology::Host;

/// How long a side waits for the other: many retransmissions.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes written and read in one go.
const CHUNK_BYTES: usize = 16 << 10;
/// What the server says when all bytes arrived as they were sent.
const WHOLE: u8 = b'=';
const DAMAGED: u8 = b'!';

/// What came of many transfers.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All bytes arrived as they were sent, both ways, and both sides closed.
    pub whole: AtomicU64,
    /// Bytes arrived that were not sent.
    pub corrupted: AtomicU64,
    /// The connection did not come about, or broke.
    pub failed: AtomicU64,
    /// Bytes carried both ways.
    pub bytes: AtomicU64,
}

/// Serves transfers on `port` of `host`, as long as the process lives.
///
/// # Errors
/// The port is taken.
pub fn serve_transfers(host: &Host, port: u16) -> Result<(), Failure> {
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    host.namespace.run(|| {
        let listener = TcpListener::bind(any).during(&format!("listen on tcp/{port}"))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The client counts what goes wrong.
                thread::spawn(move || drop(answer(stream)));
            }
        });
        Ok(())
    })?
}

/// Makes `count` transfers from `host` to a server at `to`, `at_once` of them at a time, of at most `bytes_max` each way.
///
/// # Errors
/// The host's namespace cannot be entered.
pub fn transfer(
    host: &Host,
    to: &[SocketAddr],
    [count, at_once, bytes_max]: [u64; 3],
    seed: u64,
) -> Result<Outcome, Failure> {
    let (outcome, next) = (Outcome::default(), AtomicU64::new(0));
    let work = || {
        let mut number = next.fetch_add(1, Ordering::Relaxed);
        while number < count {
            let to = to.get(usize::try_from(number).unwrap_or(0) % to.len().max(1));
            let plan = Plan::of(seed.wrapping_add(number), bytes_max);
            outcome.note(&plan, &to.ok_or_else(gone).and_then(|to| ask(*to, &plan)));
            number = next.fetch_add(1, Ordering::Relaxed);
        }
    };
    // Threads that are made inside stay inside.
    host.namespace.run(|| {
        thread::scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(work))));
    })?;
    Ok(outcome)
}

impl Outcome {
    fn note(&self, plan: &Plan, came: &io::Result<bool>) {
        let count = match came {
            Ok(true) => &self.whole,
            Ok(false) => &self.corrupted,
            Err(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(plan.up + plan.down, Ordering::Relaxed);
    }

    /// Whole, corrupted and failed transfers.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        [&self.whole, &self.corrupted, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }
}

/// What both sides make of a seed.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    bytes_max: u64,
    /// From the client.
    up: u64,
    /// From the server.
    down: u64,
    end: End,
}

/// Who ends a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    Client,
    Server,
    /// The client says that it has no more to say, and the server sends all its bytes after that.
    HalfClosed,
}

impl Plan {
    /// Small sizes are as frequent as large ones.
    fn of(seed: u64, bytes_max: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = || {
            let bits = random.u32(0..=bytes_max.max(1).ilog2());
            random.u64(0..=1 << bits)
        };
        let (up, down) = (bytes(), bytes());
        let end = match random.u8(0..3) {
            0 => End::Client,
            1 => End::Server,
            _ => End::HalfClosed,
        };
        Self { seed, bytes_max, up, down, end }
    }
}

/// The client's part. Whether everything arrived as it was sent.
fn ask(to: SocketAddr, plan: &Plan) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&plan.seed.to_be_bytes())?;
    stream.write_all(&plan.bytes_max.to_be_bytes())?;
    send(&mut stream, plan.seed, plan.up)?;
    if matches!(plan.end, End::HalfClosed) {
        stream.shutdown(Shutdown::Write)?;
    }
    let is_as_sent = receive(&mut stream, !plan.seed, plan.down)?;
    let mut verdict = [0];
    stream.read_exact(&mut verdict)?;
    if !matches!(plan.end, End::Client) && stream.read(&mut [0])? != 0 {
        return Ok(false);
    }
    Ok(is_as_sent && verdict == [WHOLE])
}

/// The server's part.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut words = [[0; 8]; 2];
    stream.read_exact(words.as_flattened_mut())?;
    let [seed, bytes_max] = words.map(u64::from_be_bytes);
    let plan = Plan::of(seed, bytes_max);
    let mut is_as_sent = receive(&mut stream, seed, plan.up)?;
    if matches!(plan.end, End::HalfClosed) {
        is_as_sent &= stream.read(&mut [0])? == 0;
    }
    send(&mut stream, !seed, plan.down)?;
    stream.write_all(&[if is_as_sent { WHOLE } else { DAMAGED }])?;
    if matches!(plan.end, End::Client) {
        // It ends when the client does.
        let _ = stream.read(&mut [0])?;
    }
    Ok(())
}

fn send(stream: &mut TcpStream, seed: u64, bytes: u64) -> io::Result<()> {
    each_chunk(seed, bytes, |chunk| stream.write_all(chunk))
}

/// Whether `bytes` bytes came as the other side makes them.
fn receive(stream: &mut TcpStream, seed: u64, bytes: u64) -> io::Result<bool> {
    let (mut is_as_sent, mut buffer) = (true, vec![0; CHUNK_BYTES]);
    each_chunk(seed, bytes, |chunk| {
        let heard = buffer.get_mut(..chunk.len()).ok_or_else(gone)?;
        stream.read_exact(heard)?;
        is_as_sent &= heard == chunk;
        Ok(())
    })?;
    Ok(is_as_sent)
}

/// The bytes of a seed, a chunk at a time.
fn each_chunk(
    seed: u64,
    bytes: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
    let (mut left, mut chunk) = (bytes, vec![0; CHUNK_BYTES]);
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let chunk = chunk.get_mut(..length).ok_or_else(gone)?;
        random.fill(chunk);
        take(chunk)?;
        left -= length as u64;
    }
    Ok(())
}

fn gone() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}
