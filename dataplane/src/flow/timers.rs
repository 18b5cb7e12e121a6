//! How long a flow may be silent, by what it is doing.

use std::time::Duration;

/// A timer by its name in settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timer {
    /// A TCP connection whose SYN has no answer, or whose handshake is not complete.
    TcpOpening,
    /// An established TCP connection, half-closed ones as well (RFC 6146 section 3.5.2.2).
    TcpEstablished,
    /// A TCP connection that both sides are closing.
    TcpClosing,
    /// What remains of a closed TCP connection: repetitions of its last segments pass, data never.
    TcpClosed,
    /// UDP.
    Udp,
    /// An ICMP query.
    IcmpQuery,
    /// A protocol that we know nothing of.
    Other,
}

impl Timer {
    /// Every timer, in the order of `index`.
    pub const ALL: [Self; 7] = [
        Self::TcpOpening,
        Self::TcpEstablished,
        Self::TcpClosing,
        Self::TcpClosed,
        Self::Udp,
        Self::IcmpQuery,
        Self::Other,
    ];

    /// The name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TcpOpening => "tcp-opening",
            Self::TcpEstablished => "tcp-established",
            Self::TcpClosing => "tcp-closing",
            Self::TcpClosed => "tcp-closed",
            Self::Udp => "udp",
            Self::IcmpQuery => "icmp-query",
            Self::Other => "other",
        }
    }

    /// Seconds by default: the floors that RFCs set.
    ///
    /// RFC 5382 REQ-5: 2 hours 4 minutes when established, 4 minutes when opening or closing. RFC 7857 section 2.2: 4
    /// minutes after a reset. RFC 4787 REQ-5: 5 minutes for UDP. RFC 5508 REQ-2: 60 seconds for ICMP queries.
    #[must_use]
    pub fn default_seconds(self) -> u32 {
        match self {
            Self::TcpEstablished => 7_440,
            Self::TcpOpening | Self::TcpClosing | Self::TcpClosed => 240,
            Self::Udp | Self::Other => 300,
            Self::IcmpQuery => 60,
        }
    }

    /// Position in `ALL`.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Longest that a timer can be set to: time in the flow table wraps after 49 days.
pub const TIMER_SECONDS_MAX: u32 = 1_000_000;

/// What each timer is set to, in milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timers([u32; Timer::ALL.len()]);

impl Timers {
    /// Sets one, to at least 1 and at most `TIMER_SECONDS_MAX` seconds.
    #[must_use]
    pub fn with(mut self, timer: Timer, seconds: u32) -> Self {
        if let Some(millis) = self.0.get_mut(timer.index()) {
            *millis = seconds.clamp(1, TIMER_SECONDS_MAX) * 1_000;
        }
        self
    }

    /// Sets one in milliseconds.
    #[must_use]
    pub(super) fn with_millis(mut self, timer: Timer, most: u32) -> Self {
        if let Some(millis) = self.0.get_mut(timer.index()) {
            *millis = most;
        }
        self
    }

    /// Milliseconds of silence after which it strikes.
    #[must_use]
    pub fn millis(&self, timer: Timer) -> u32 {
        self.0.get(timer.index()).copied().unwrap_or_default()
    }

    /// The same as a duration.
    #[must_use]
    pub fn of(&self, timer: Timer) -> Duration {
        Duration::from_millis(self.millis(timer).into())
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self(Timer::ALL.map(|timer| timer.default_seconds() * 1_000))
    }
}
