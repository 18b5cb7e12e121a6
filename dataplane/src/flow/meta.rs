//! The first word of a slot: version, time of the last packet, and state.

use super::state::State;
use super::timers::Timers;
use crate::moment::Moment;

/// The last packet's time is renewed when it is at least this old: most packets of a busy flow write nothing.
/// Timeouts are longer by as much, so that no flow ends early.
pub(super) const TOUCH_MS: u32 = 128;

/// 28 bits of version, 32 of the last packet's time in milliseconds, 4 of state (0: free).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Meta(pub(super) u64);

impl Meta {
    const STATE_BITS: u32 = 4;
    const TIME_BITS: u32 = 32;
    const VERSION_SHIFT: u32 = Self::STATE_BITS + Self::TIME_BITS;

    pub(super) fn version(self) -> u64 {
        self.0 >> Self::VERSION_SHIFT
    }

    pub(super) fn is_claimed(self) -> bool {
        !self.version().is_multiple_of(2)
    }

    /// `None`: the slot is free.
    pub(super) fn state(self) -> Option<State> {
        let code = self.0 & ((1 << Self::STATE_BITS) - 1);
        let index = usize::try_from(code).ok()?.checked_sub(1)?;
        State::ALL.get(index).copied()
    }

    /// Whether the flow was silent for longer than its state allows.
    pub(super) fn is_expired(self, now: Moment, timers: &Timers) -> bool {
        let most = |state: State| timers.millis(state.timer()).saturating_add(TOUCH_MS);
        self.state().is_some_and(|state| self.idle_ms(now) > most(state))
    }

    /// Time wraps after 49 days, far beyond every timeout. What is ahead of `now`, by the clock of another worker's
    /// batch, is not old.
    pub(super) fn idle_ms(self, now: Moment) -> u32 {
        let idle = time_of(now).wrapping_sub(self.time());
        if idle > u32::MAX / 2 { 0 } else { idle }
    }

    /// The time to note for a packet at `now`: never earlier than what is noted, and the same if that is recent.
    pub(super) fn later(self, now: Moment) -> u32 {
        if self.idle_ms(now) < TOUCH_MS { self.time() } else { time_of(now) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "32 bits are taken out of the word")]
    pub(super) fn time(self) -> u32 {
        (self.0 >> Self::STATE_BITS) as u32
    }

    pub(super) fn with(self, state: State, time: u32) -> Self {
        let version = self.version() << Self::VERSION_SHIFT;
        Self(version | u64::from(time) << Self::STATE_BITS | (state as u64 + 1))
    }

    pub(super) fn freed(self) -> Self {
        Self(self.version() << Self::VERSION_SHIFT)
    }

    /// Wraps after 2^28 changes of one slot: none happens that often between two loads of one reader.
    pub(super) fn next_version(self) -> Self {
        Self(self.0.wrapping_add(1 << Self::VERSION_SHIFT))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds wrap; see `idle_ms`")]
pub(super) fn time_of(now: Moment) -> u32 {
    now.millis() as u32
}
