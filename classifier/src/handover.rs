//! What control and the data plane say to each other over their local socket.
//!
//! A `SOCK_SEQPACKET` Unix socket; one request and one reply are one message each. A request is one byte, `Request`;
//! `Publish` carries the sealed memfd of an image as its file descriptor, and as a second one that of its patch if it has
//! one; `Change` carries the sealed memfd of a patch of the image in force. A reply is one byte, `Reply`, and UTF-8 text:
//! for `Status` lines of `key value` (keys dotted, in the order to show them), for a refusal the reason that a person
//! reads. The reply to `Image` carries the memfd of the image in force, and that of its patch if it has one. Behind the byte of
//! `Flows` and `Kill` stands what `flows` says, and behind the reply to `Flows` a page.

pub mod flows;

/// Longest message either side sends, in bytes. Longer ones are refused.
pub const MESSAGE_MAX: usize = 64 * 1024;

/// What control asks of the data plane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Request {
    /// Put the attached image in force, with the attached patch if there is one.
    Publish = 1,
    /// Counters, modes, generation.
    Status = 2,
    /// Give me the image in force.
    Image = 3,
    /// Put the attached patch in force, in place of the one that the image in force has.
    Change = 4,
    /// A page of live flows.
    Flows = 5,
    /// End the flows that are named.
    Kill = 6,
}

/// The most file descriptors that go with a message: an image and its patch.
pub const DESCRIPTORS_MAX: usize = 2;

impl Request {
    /// Reads the byte on the wire.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Publish, Self::Status, Self::Image, Self::Change, Self::Flows, Self::Kill]
            .into_iter()
            .find(|request| *request as u8 == byte)
    }
}

/// How the data plane answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Reply {
    /// Done; the text is the answer.
    Done = 1,
    /// Not done; the text says why and nothing changed.
    Refused = 2,
}

impl Reply {
    /// Reads the byte on the wire.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Done, Self::Refused].into_iter().find(|reply| *reply as u8 == byte)
    }
}
