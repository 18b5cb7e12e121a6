//! The way to the data plane: images and changes go over in sealed memory, its state and the image in force come back.
//!
//! One connection for each request. Every wait has an end, so that a data plane that hangs costs a request, not the daemon.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::iter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use classifier::handover::flows::{self, Conversation, ListedFlow};
use classifier::handover::{DESCRIPTORS_MAX, MESSAGE_MAX, Reply, Request};
use classifier::image::{Image, ImageBytes, ImageError};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg,
    sendmsg, socket_with, sockopt,
};

/// Longest wait for an answer: the data plane validates a large image before it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest image taken back from the data plane, in bytes: what the compiler makes at most.
const IMAGE_BYTES_MAX: u64 = 1 << 30;

/// A data plane, by its socket.
#[derive(Clone, Debug)]
pub struct Dataplane {
    socket: PathBuf,
}

impl Dataplane {
    /// The one that listens on `socket`, now or later.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Puts `image` in force, with its patch if it has one. Returns what the data plane says to it.
    ///
    /// # Errors
    /// When it is not there, or refuses: what was in force stays then. After `Unreachable` it may also have come into force.
    pub fn publish(&self, image: &Image) -> Result<String, HandoverError> {
        let parts = iter::once(image.bytes()).chain(image.patch_bytes());
        let memfds = parts.map(sealed).collect::<io::Result<Vec<OwnedFd>>>();
        let memfds = memfds.map_err(|error| self.unreachable(error))?;
        let memfds: Vec<BorrowedFd<'_>> = memfds.iter().map(AsFd::as_fd).collect();
        self.ask(Request::Publish, &memfds).map(|(text, _)| text)
    }

    /// Puts `patch` in force in place of the one that the image in force has. Returns what the data plane says to it.
    ///
    /// # Errors
    /// As `publish`; and when it is a patch of another image than the one in force.
    pub fn change(&self, patch: &[u8]) -> Result<String, HandoverError> {
        let memfd = sealed(patch).map_err(|error| self.unreachable(error))?;
        self.ask(Request::Change, &[memfd.as_fd()]).map(|(text, _)| text)
    }

    /// Its state, as keys and values in the order to show them.
    ///
    /// # Errors
    /// When it is not there, or refuses.
    pub fn status(&self) -> Result<DataplaneStatus, HandoverError> {
        let (text, _) = self.ask(Request::Status, &[])?;
        let pairs = text.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        let lines = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Ok(DataplaneStatus { lines })
    }

    /// The image in force.
    ///
    /// # Errors
    /// When it is not there, or refuses because none is in force.
    pub fn image(&self) -> Result<Image, HandoverError> {
        let (_, memfds) = self.ask(Request::Image, &[])?;
        let mut parts =
            memfds.into_iter().map(|memfd| content(memfd).map_err(|error| self.unreachable(error)));
        let image = parts.next().ok_or(HandoverError::Garbled)??;
        let image = Image::load(image).map_err(HandoverError::Image)?;
        match parts.next() {
            None => Ok(image),
            Some(patch) => image.with_patch(patch?).map_err(HandoverError::Image),
        }
    }

    /// A page of live flows from `cursor` on, 0 being the first; and the cursor of the next page, if there is one.
    ///
    /// # Errors
    /// When it is not there, or refuses.
    pub fn flows(&self, cursor: u64) -> Result<(Option<u64>, Vec<ListedFlow>), HandoverError> {
        let (page, _) = self.ask_for_bytes(Request::Flows, &cursor.to_le_bytes(), &[])?;
        let (next, flows) = flows::decode_page(&page).ok_or(HandoverError::Garbled)?;
        Ok((Some(next).filter(|next| *next != flows::END), flows))
    }

    /// Ends flows; returns how many of them there were.
    ///
    /// # Errors
    /// When it is not there, or refuses: some may have ended then.
    pub fn kill(&self, conversations: &[Conversation]) -> Result<u64, HandoverError> {
        let mut killed = 0;
        for some in conversations.chunks(flows::KILL_FLOWS_MAX) {
            let body: Vec<u8> = some.iter().flat_map(Conversation::encode).collect();
            let (count, _) = self.ask_for_bytes(Request::Kill, &body, &[])?;
            let count = str::from_utf8(&count).ok().and_then(|count| count.parse::<u64>().ok());
            killed += count.ok_or(HandoverError::Garbled)?;
        }
        Ok(killed)
    }

    fn ask(
        &self,
        request: Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(String, Vec<OwnedFd>), HandoverError> {
        let (text, descriptors) = self.ask_for_bytes(request, &[], descriptors)?;
        Ok((String::from_utf8_lossy(&text).into_owned(), descriptors))
    }

    fn ask_for_bytes(
        &self,
        request: Request,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Vec<u8>, Vec<OwnedFd>), HandoverError> {
        let answer = self.exchange(request, body, descriptors);
        let (mut bytes, descriptors) = answer.map_err(|error| self.unreachable(error))?;
        let rest = bytes.split_off(bytes.len().min(1));
        match bytes.first().copied().and_then(Reply::from_byte) {
            Some(Reply::Done) => Ok((rest, descriptors)),
            Some(Reply::Refused) => {
                Err(HandoverError::Refused(String::from_utf8_lossy(&rest).into_owned()))
            }
            None => Err(HandoverError::Garbled),
        }
    }

    fn exchange(
        &self,
        request: Request,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let flags = SocketFlags::CLOEXEC;
        let peer = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        sockopt::set_socket_timeout(&peer, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        sockopt::set_socket_timeout(&peer, sockopt::Timeout::Send, Some(ANSWER_TIMEOUT))?;
        connect(&peer, &SocketAddrUnix::new(&self.socket)?)?;
        send(&peer, request, body, descriptors)?;
        receive(&peer)
    }

    fn unreachable(&self, error: io::Error) -> HandoverError {
        // A timeout of the socket comes as "try again", which would puzzle.
        let timeout = error.kind() == io::ErrorKind::WouldBlock;
        let error = if timeout { io::ErrorKind::TimedOut.into() } else { error };
        HandoverError::Unreachable { socket: self.socket.clone(), error }
    }
}

/// What the data plane says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DataplaneStatus {
    /// Keys, dotted, and values, in the order to show them.
    pub lines: Vec<(String, String)>,
}

impl DataplaneStatus {
    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The generation in force; `None` when none is.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.value("policy.generation")?.parse().ok()
    }
}

/// Why the data plane did not do what it was asked.
#[derive(Debug)]
pub enum HandoverError {
    /// Nobody answers.
    Unreachable {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
    /// It says no, and why.
    Refused(String),
    /// The image that it says is in force is none.
    Image(ImageError),
    /// It answers something else than `classifier::handover` says.
    Garbled,
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { socket, error } => {
                write!(f, "the data plane does not answer on `{}`: {error}", socket.display())
            }
            Self::Refused(text) => write!(f, "the data plane refused: {text}"),
            Self::Image(error) => {
                write!(f, "the image that the data plane gave is refused: {error}")
            }
            Self::Garbled => f.write_str("the data plane's answer makes no sense to this version"),
        }
    }
}

impl std::error::Error for HandoverError {}

fn send(
    peer: &OwnedFd,
    request: Request,
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let request = [request as u8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let parts = [IoSlice::new(&request), IoSlice::new(body)];
    match sendmsg(peer, &parts, &mut control, SendFlags::NOSIGNAL) {
        // Refused before we spoke: the reason is waiting to be read.
        Ok(_) | Err(Errno::PIPE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The reply byte with what stands behind it, and the file descriptors that came.
fn receive(peer: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(peer, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = part {
            descriptors.extend(sent);
        }
    }
    bytes.truncate(length);
    Ok((bytes, descriptors))
}

/// A memfd that holds `bytes` and that nobody can change any more.
fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("ravelin-image", flags)?);
    file.write_all(bytes)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

fn content(memfd: OwnedFd) -> io::Result<ImageBytes> {
    let file = File::from(memfd);
    let length = file.metadata()?.len();
    let size = usize::try_from(length).ok().filter(|_| length <= IMAGE_BYTES_MAX);
    let size = size.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = ImageBytes::zeroed(size);
    file.read_exact_at(bytes.as_mut_bytes(), 0)?;
    Ok(bytes)
}
