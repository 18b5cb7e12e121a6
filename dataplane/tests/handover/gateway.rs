//! A data plane's socket without packets, and whoever talks to it.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Write};
use std::iter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use classifier::compile::{Limits, Live, changes, compile};
use classifier::handover::{Reply, Request};
use classifier::image::Image;
use classifier::resource::{Action, Object, ObjectKind, Policy, PolicySet, Rule};
use classifier::selector::Selector;
use dataplane::handover::{Handover, Peers, Server};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg,
    sendmsg, socket_with,
};

pub(crate) const IMAGE_BYTES_MAX: usize = 1 << 20;

/// A data plane without packets: what it published is written down.
pub(crate) struct Gateway {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) published: Arc<Mutex<Vec<u64>>>,
    pub(crate) started: Result<Option<u64>, String>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Gateway {
    pub(crate) fn start(peers: Peers) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), peers)
    }

    pub(crate) fn start_in(directory: tempfile::TempDir, peers: Peers) -> Self {
        let published = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&published);
        let publish =
            Box::new(move |image: Arc<Image>| log.lock().unwrap().push(image.generation()));
        let describe = Box::new(|lines: &mut String| lines.push_str("workers 2\n"));
        let mut handover = Handover::new(directory.path(), IMAGE_BYTES_MAX, publish, describe);
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let started = handover.start(now).map_err(|error| error.to_string());
        let server = Server::bind(&directory.path().join("socket"), peers).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || handover.run(&server, &stopped).unwrap());
        Self { directory, published, started, stop, thread }
    }

    pub(crate) fn stop(self) -> tempfile::TempDir {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.directory
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn published(&self) -> Vec<u64> {
        self.published.lock().unwrap().clone()
    }

    pub(crate) fn publish(&self, memfd: &OwnedFd) -> (Reply, String, Vec<OwnedFd>) {
        self.ask(&[Request::Publish as u8], &[memfd.as_fd()])
    }

    pub(crate) fn publish_whole(&self, image: &Image) -> (Reply, String) {
        let memfds: Vec<OwnedFd> =
            iter::once(image.bytes()).chain(image.patch_bytes()).map(sealed).collect();
        let memfds: Vec<BorrowedFd<'_>> = memfds.iter().map(AsFd::as_fd).collect();
        let (reply, text, _) = self.ask(&[Request::Publish as u8], &memfds);
        (reply, text)
    }

    pub(crate) fn change(&self, patch: &[u8]) -> (Reply, String) {
        let (reply, text, _) = self.ask(&[Request::Change as u8], &[sealed(patch).as_fd()]);
        (reply, text)
    }

    pub(crate) fn status_of(&self, key: &str) -> String {
        self.status(key).unwrap()
    }

    pub(crate) fn status(&self, key: &str) -> Option<String> {
        let (reply, text, _) = self.ask(&[Request::Status as u8], &[]);
        assert_eq!(reply, Reply::Done);
        assert!(text.ends_with("workers 2\n"), "{text}");
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.map(str::to_owned)
    }

    /// Asks again and again until the value is as it should be; a hundred thousand times at most.
    pub(crate) fn wait_for_status(
        &self,
        key: &str,
        is_it: fn(&Option<String>) -> bool,
    ) -> Option<String> {
        (0..100_000).map(|_| self.status(key)).find(is_it).unwrap()
    }

    /// The image in force and its patch, as they are handed out.
    pub(crate) fn in_force(&self) -> Vec<Vec<u8>> {
        let (reply, _, memfds) = self.ask(&[Request::Image as u8], &[]);
        assert_eq!(reply, Reply::Done);
        contents(memfds)
    }

    pub(crate) fn ask(
        &self,
        request: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> (Reply, String, Vec<OwnedFd>) {
        ask(&connected(&self.socket()), request, descriptors)
    }
}

pub(crate) fn connected(socket: &Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    connect(&client, &SocketAddrUnix::new(socket).unwrap()).unwrap();
    client
}

pub(crate) fn ask(
    client: &OwnedFd,
    request: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> (Reply, String, Vec<OwnedFd>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(client, &[IoSlice::new(request)], &mut control, SendFlags::NOSIGNAL).unwrap();
    let mut bytes = vec![0; 64 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let length = recvmsg(client, parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    let mut memfds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = part {
            memfds.extend(sent);
        }
    }
    let text = String::from_utf8(bytes[1..length].to_vec()).unwrap();
    (Reply::from_byte(bytes[0]).unwrap(), text, memfds)
}

/// Publishes as another user: credentials are those of the connecting thread.
pub(crate) fn publish_as(uid: u32, socket: &Path, memfd: OwnedFd) -> (Reply, String) {
    let socket = socket.to_owned();
    let other = thread::spawn(move || {
        let uid = rustix::process::Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let (reply, text, _) =
            ask(&connected(&socket), &[Request::Publish as u8], &[memfd.as_fd()]);
        (reply, text)
    });
    other.join().unwrap()
}

pub(crate) fn image(generation: u64) -> Image {
    compile(&PolicySet::new(), generation, &Limits::default()).unwrap()
}

/// The version is the first byte behind the magic that differs when only the format changes; found by what is refused.
pub(crate) fn version_position(good: &[u8]) -> usize {
    let says_version = |at: &usize| {
        let mut bytes = good.to_vec();
        bytes[*at] = 99;
        let loaded = Image::load(classifier::image::ImageBytes::from_slice(&bytes));
        loaded.is_err_and(|error| error.to_string().contains("format version 99,"))
    };
    (0..64).find(says_version).unwrap()
}

pub(crate) fn sealed(bytes: &[u8]) -> OwnedFd {
    memfd(bytes, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)
}

pub(crate) fn memfd(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("image", flags).unwrap());
    file.write_all(bytes).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

pub(crate) fn contents(memfds: Vec<OwnedFd>) -> Vec<Vec<u8>> {
    let content = |memfd: OwnedFd| {
        let file = File::from(memfd);
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    memfds.into_iter().map(content).collect()
}

/// A policy with one set of this many prefixes.
pub(crate) fn policy(prefixes: u8) -> PolicySet {
    let net = |number| format!("198.18.{number}.0/24").parse().unwrap();
    let set = Object {
        labels: [("zone", "noc")].into_iter().collect(),
        nets: (0..prefixes).map(net).collect(),
        ..Object::new(ObjectKind::GlobalNetworkSet, "noc")
    };
    let mut rule = Rule::new(Action::Allow);
    rule.source.selector = Some(Selector::parse("zone == 'noc'").unwrap());
    let policy = Policy {
        selector: Selector::parse("all()").unwrap(),
        applies_ingress: true,
        ingress: vec![rule],
        ..Policy::new("noc")
    };
    PolicySet { objects: vec![set], policies: vec![policy], ..PolicySet::new() }
}

/// An image of `base`, and that image with a patch for each generation behind it.
pub(crate) fn generations(base: u64, count: u8) -> Vec<Image> {
    let mut set = policy(1);
    let mut live = Live::new(&set, base, &Limits::default()).unwrap();
    let mut images = vec![live.image().clone()];
    for number in 1..count {
        let after = policy(number + 1);
        let changes = changes(&set, &after).unwrap();
        let generation = base + u64::from(number);
        images.push(live.apply(&after, &changes, generation).unwrap().clone());
        set = after;
    }
    images
}
