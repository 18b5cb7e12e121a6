//! The data plane's socket, spoken to directly: its counters when no daemon is there, and images that tests make.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use classifier::handover::{MESSAGE_MAX, Reply, Request};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, sendmsg, socket_with,
};

use dataplane::disposition::DropReason;

use crate::failure::{During, Failure};

/// How long the data plane may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of the data plane: lines of `key value`.
///
/// # Errors
/// Nobody answers.
pub fn status(socket: &Path) -> Result<Status, Failure> {
    ask(socket, Request::Status, None).map(Status)
}

/// Hands an image over; returns what the data plane says.
///
/// # Errors
/// Nobody answers, or the image is refused: then with the reason.
pub fn publish(socket: &Path, image: &[u8]) -> Result<String, Failure> {
    let memfd = sealed(image).during("make a memfd")?;
    ask(socket, Request::Publish, Some(memfd.as_fd()))
}

/// What the data plane says of itself.
#[derive(Clone, Debug)]
pub struct Status(String);

impl Status {
    /// The value of `key`.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// The number at `key`.
    ///
    /// # Errors
    /// There is no such key, or no number.
    pub fn number(&self, key: &str) -> Result<u64, Failure> {
        let doing = format!("read `{key}` of the status");
        let value = self.value(key).ok_or_else(|| Failure::new(&doing, &self.0))?;
        value.parse().during(&doing)
    }

    /// Frames dropped for this reason, at both ports.
    ///
    /// # Errors
    /// The status does not name the reason.
    pub fn dropped(&self, reason: &str) -> Result<u64, Failure> {
        self.sum(&format!(".dropped.{reason}"))
    }

    /// Frames received, and frames accounted for: forwarded, held or dropped for any reason, at both ports.
    ///
    /// # Errors
    /// The status does not tell.
    pub fn balance(&self) -> Result<(u64, u64), Failure> {
        let dropped = DropReason::ALL.into_iter().map(|reason| self.dropped(reason.name()));
        let dropped: u64 = dropped.sum::<Result<u64, Failure>>()?;
        let kept = self.sum(".forwarded.packets")? + self.sum(".held.packets")?;
        Ok((self.sum(".received.packets")?, kept + dropped))
    }

    /// The sum of the numbers whose keys end like this, of which there must be one for each port.
    fn sum(&self, key_end: &str) -> Result<u64, Failure> {
        let lines = self.0.lines().filter_map(|line| line.split_once(' '));
        let values: Vec<u64> = lines
            .filter(|(key, _)| key.starts_with("port.") && key.ends_with(key_end))
            .filter_map(|(_, value)| value.parse().ok())
            .collect();
        if values.len() == 2 {
            return Ok(values.iter().sum());
        }
        Err(Failure::new(format!("sum up `port.*{key_end}` of the status"), &self.0))
    }

    /// The lines.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

fn ask(path: &Path, request: Request, attached: Option<BorrowedFd<'_>>) -> Result<String, Failure> {
    let doing = format!("ask the data plane at {}", path.display());
    let socket = connected(path).during(&doing)?;
    let attached: Vec<BorrowedFd<'_>> = attached.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !attached.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&attached));
    }
    let byte = [request as u8];
    let flags = SendFlags::NOSIGNAL;
    sendmsg(&socket, &[IoSlice::new(&byte)], &mut ancillary, flags).during(&doing)?;
    let mut message = vec![0; MESSAGE_MAX];
    let (length, _) = recv(&socket, message.as_mut_slice(), RecvFlags::empty()).during(&doing)?;
    message.truncate(length);
    let text = String::from_utf8_lossy(message.get(1..).unwrap_or_default()).into_owned();
    match message.first().copied().and_then(Reply::from_byte) {
        Some(Reply::Done) => Ok(text),
        Some(Reply::Refused) => Err(Failure::new(doing, format!("refused: {text}"))),
        None => Err(Failure::new(doing, "the reply is none")),
    }
}

fn connected(path: &Path) -> rustix::io::Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    for direction in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&socket, direction, Some(PATIENCE))?;
    }
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn sealed(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("ravelin-lab-image", flags)?);
    file.write_all(bytes)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}
