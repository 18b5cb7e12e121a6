//! The Unix socket that control talks to: who may, one message, one answer, and never for long.
//!
//! Everything that arrives is taken for hostile. A connection carries one request; the thread that serves it is no
//! worker, so that whatever a peer does, packets do not wait.

use std::fmt;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use classifier::handover::{DESCRIPTORS_MAX, MESSAGE_MAX, Reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, connect, listen, recvmsg, sendmsg, socket_with, sockopt,
};
use tracing::{debug, warn};

/// Longest time that one peer may keep the others waiting with a request it does not send, or an answer it does not take.
const PEER_TIMEOUT: Duration = Duration::from_secs(1);
/// The same for a peer that is not allowed: time for a message that is under way, to answer it with a word.
const STRANGER_TIMEOUT: Duration = Duration::from_millis(50);
/// Pause when the system has no file descriptor or memory left for a connection, which goes on waiting.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// Connections that may wait.
const BACKLOG: i32 = 16;
/// File descriptors that fit a message: one more than is ever right is enough to know that it is wrong.
const DESCRIPTORS_TAKEN_MAX: usize = DESCRIPTORS_MAX + 1;
/// The socket's owner and group may connect; whether they are heard is for `Peers` to say.
const SOCKET_MODE: u32 = 0o660;

/// Who is heard: root, and one more user.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Peers {
    /// The user that control runs as.
    pub uid: Option<u32>,
}

impl Peers {
    fn allow(self, uid: u32) -> bool {
        uid == 0 || self.uid == Some(uid)
    }
}

/// One message as it came.
#[derive(Debug)]
pub struct Message {
    /// The request byte; `None` when the message has none, or is too long.
    pub request: Option<u8>,
    /// What stands behind it.
    pub body: Vec<u8>,
    /// The file descriptors that came with it; at most one more than is ever right.
    pub descriptors: Vec<OwnedFd>,
}

/// What to send back.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Done or refused.
    pub reply: Reply,
    /// What a person or `status` reads.
    pub text: String,
    /// What only programs read, behind the text.
    pub bytes: Vec<u8>,
    /// File descriptors to go with it, at most `DESCRIPTORS_MAX`.
    pub descriptors: Vec<BorrowedFd<'a>>,
}

impl Answer<'static> {
    /// Done, and what there is to say of it.
    #[must_use]
    pub fn done(text: String) -> Self {
        Self { reply: Reply::Done, text, bytes: Vec::new(), descriptors: Vec::new() }
    }

    /// Done, and what a program reads.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::done(String::new()) }
    }

    /// Refused, and why.
    #[must_use]
    pub fn refused(text: String) -> Self {
        Self { reply: Reply::Refused, ..Self::done(text) }
    }
}

/// The listening socket. Its file goes when it is dropped.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    path: PathBuf,
    peers: Peers,
}

impl Server {
    /// Listens on `path`. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// When somebody listens there already, or the file cannot be made.
    pub fn bind(path: &Path, peers: Peers) -> Result<Self, BindError> {
        let failed = |error: io::Error| BindError { path: path.to_owned(), error };
        remove_stale(path).map_err(failed)?;
        let listener = listen_on(path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), peers })
    }

    /// Waits up to `timeout` for a connection, and answers its request with what `answer` says.
    ///
    /// Returns whether somebody connected.
    ///
    /// # Errors
    /// When the listening socket fails; what one peer does wrong is logged and no error.
    pub fn serve_one<'a>(
        &self,
        timeout: Duration,
        answer: impl FnOnce(Message) -> Answer<'a>,
    ) -> io::Result<bool> {
        if !wait_readable(&self.listener, timeout)? {
            return Ok(false);
        }
        let peer = match accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(peer) => peer,
            Err(Errno::CONNABORTED | Errno::INTR) => return Ok(true),
            // It may be anybody's doing, and it passes: no reason to end, which would end the traffic.
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                warn!(%error, "handover: a connection has to wait");
                thread::sleep(SHORTAGE_PAUSE);
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = self.serve(&peer, answer) {
            debug!(%error, "handover: connection ended early");
        }
        Ok(true)
    }

    fn serve<'a>(
        &self,
        peer: &OwnedFd,
        answer: impl FnOnce(Message) -> Answer<'a>,
    ) -> io::Result<()> {
        let uid = sockopt::socket_peercred(peer)?.uid.as_raw();
        let allowed = self.peers.allow(uid);
        let patience = if allowed { PEER_TIMEOUT } else { STRANGER_TIMEOUT };
        sockopt::set_socket_timeout(peer, sockopt::Timeout::Recv, Some(patience))?;
        sockopt::set_socket_timeout(peer, sockopt::Timeout::Send, Some(patience))?;
        if !allowed {
            warn!(uid, "handover: a user that is not allowed here was refused");
            // Taken and dropped: closing on an unread message would cost the peer our answer.
            receive(peer)?;
            let text = format!("user {uid} may not talk to the data plane");
            return send(peer, &Answer::refused(text));
        }
        let message = receive(peer)?;
        send(peer, &answer(message))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing to do about a failure: the next start finds the file stale and replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why the socket could not be opened.
#[derive(Debug)]
pub struct BindError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, error } = self;
        write!(f, "cannot listen on `{}`: {error}", path.display())
    }
}

impl std::error::Error for BindError {}

fn listen_on(path: &Path) -> io::Result<OwnedFd> {
    let listener = seqpacket()?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

fn seqpacket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Removes what a data plane that is gone left behind; never a file that is no socket.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::other("there is a file that is not a socket"));
        }
        Ok(_) => {}
    }
    match connect(seqpacket()?, &SocketAddrUnix::new(path)?) {
        Ok(()) => Err(io::Error::other("another data plane is listening there")),
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        Err(error) => Err(error.into()),
    }
}

fn wait_readable(socket: &OwnedFd, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads one message. A peer that closes without a word is an error.
fn receive(peer: &OwnedFd) -> io::Result<Message> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_TAKEN_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(peer, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = part {
            descriptors.extend(sent);
        }
    }
    if received.bytes == 0 && descriptors.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let whole = !received.flags.contains(ReturnFlags::TRUNC);
    bytes.truncate(if whole { received.bytes } else { 0 });
    let request = bytes.first().copied();
    let body = bytes.split_off(bytes.len().min(1));
    Ok(Message { request, body, descriptors })
}

fn send(peer: &OwnedFd, answer: &Answer<'_>) -> io::Result<()> {
    let Answer { reply, text, bytes, descriptors } = answer;
    let reply = [*reply as u8];
    let text = fitting_lines(text, MESSAGE_MAX - reply.len() - bytes.len().min(MESSAGE_MAX - 1));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let parts = [IoSlice::new(&reply), IoSlice::new(text.as_bytes()), IoSlice::new(bytes)];
    sendmsg(peer.as_fd(), &parts, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// As many whole lines of `text` as fit `room` bytes; a first line that is too long is cut.
fn fitting_lines(text: &str, room: usize) -> &str {
    if text.len() <= room {
        return text;
    }
    let head = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
    head.rfind('\n').and_then(|end| head.get(..=end)).unwrap_or(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_behind_a_line() {
        assert_eq!(fitting_lines("a 1\nb 2\nc 3\n", 10), "a 1\nb 2\n");
        assert_eq!(fitting_lines("a 1\n", 4), "a 1\n");
        assert_eq!(fitting_lines("ää", 3), "ä");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = Server::bind(&path, Peers::default()).unwrap();
        let error = Server::bind(&path, Peers::default()).unwrap_err().to_string();
        let expected =
            format!("cannot listen on `{}`: another data plane is listening there", path.display());
        assert_eq!(error, expected);
        drop(server);
        let stale = directory.path().join("stale");
        drop(listen_on(&stale).unwrap());
        Server::bind(&stale, Peers::default()).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "precious").unwrap();
        let error = Server::bind(&path, Peers::default()).unwrap_err().to_string();
        assert!(error.ends_with("there is a file that is not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
