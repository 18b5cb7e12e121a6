//! Who may have how much of the flow table: asked when a flow is admitted, told when one is half-open no longer and when one
//! ends.
//!
//! At a limit the new flow is refused; only of half-open connections in all it is the oldest near the new one's place that
//! gives way. An established flow never does.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use super::hash::Secret;
use super::key::{End, FlowKey};
use super::limits::{Limit, Limits};
use super::pace::Pace;
use super::state::State;
use super::tally::{Address, Tally};
use crate::moment::Moment;

/// Half-open connections wait at least so long for their handshake, however many there are.
pub(super) const OPENING_MS_MIN: u64 = 5_000;

/// Counts of what is limited. What has no limit is not counted.
#[derive(Debug)]
pub(super) struct Quota {
    limits: Limits,
    /// Places of the table.
    slots: usize,
    half_open: CachePadded<AtomicU64>,
    half_open_to: Option<Tally>,
    half_open_from: Option<Tally>,
    flows_from: Option<Tally>,
    new_from: Option<Pace>,
}

/// A flow as far as limits see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Claimant {
    /// Who opens or opened the flow.
    pub(super) source: Address,
    /// Whom it goes to.
    pub(super) destination: Address,
    /// Whether it is a TCP connection whose handshake is not complete.
    pub(super) is_half_open: bool,
}

impl Claimant {
    pub(super) fn of(key: &FlowKey, opened_by: End, state: State) -> Self {
        let [first, second] = key.addresses();
        let (source, destination) = match opened_by {
            End::First => (first, second),
            End::Second => (second, first),
        };
        Self { source, destination, is_half_open: state.is_half_open() }
    }
}

/// Why a flow is not admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// No place for another flow.
    Full,
    /// Too many half-open connections, in all, to the destination or from the source.
    HalfOpen,
    /// The source has too many flows.
    FlowsOfSource,
    /// The source opens flows too fast.
    NewFlowRate,
}

/// What was asked for and granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Grant {
    /// There is room.
    Free,
    /// There are as many half-open connections as there may be: another one has to give way.
    InPlaceOfHalfOpen,
}

impl Quota {
    /// For a table of `slots` flows.
    pub(super) fn new(limits: Limits, slots: usize, secret: Secret) -> Self {
        let tally = |limit| limits.of(limit, slots).map(|_| Tally::new(slots, secret));
        Self {
            limits,
            slots,
            half_open: CachePadded::new(AtomicU64::new(0)),
            half_open_to: tally(Limit::HalfOpenPerDestination),
            half_open_from: tally(Limit::HalfOpenPerSource),
            flows_from: tally(Limit::FlowsPerSource),
            new_from: limits
                .of(Limit::NewFlowsPerSource, slots)
                .map(|rate| Pace::new(slots, rate, secret)),
        }
    }

    /// Counts a flow that is to be admitted; what was counted is taken back when it is refused. One that is not limited is
    /// counted and never refused.
    ///
    /// The rate comes last: a flow that is refused for another reason uses nothing of it up.
    pub(super) fn admit(
        &self,
        claimant: &Claimant,
        is_limited: bool,
        now: Moment,
    ) -> Result<Grant, Refusal> {
        let Claimant { source, destination, is_half_open } = *claimant;
        let taken = |tally: &Option<Tally>, address, limit| {
            let (Some(tally), Some(most)) = (tally, self.limits.of(limit, self.slots)) else {
                return true;
            };
            tally.add(address, if is_limited { most } else { u32::MAX }).is_ok() || !is_limited
        };
        let give_back = |tally: &Option<Tally>, address| {
            if let Some(tally) = tally {
                tally.remove(address);
            }
        };
        if !taken(&self.flows_from, source, Limit::FlowsPerSource) {
            return Err(Refusal::FlowsOfSource);
        }
        if is_half_open {
            if !taken(&self.half_open_from, source, Limit::HalfOpenPerSource) {
                give_back(&self.flows_from, source);
                return Err(Refusal::HalfOpen);
            }
            if !taken(&self.half_open_to, destination, Limit::HalfOpenPerDestination) {
                give_back(&self.half_open_from, source);
                give_back(&self.flows_from, source);
                return Err(Refusal::HalfOpen);
            }
        }
        if let Some(pace) = &self.new_from
            && pace.admit(source, now).is_err()
            && is_limited
        {
            self.forget(claimant);
            return Err(Refusal::NewFlowRate);
        }
        let grant = if is_half_open { self.count_half_open() } else { Grant::Free };
        Ok(if is_limited { grant } else { Grant::Free })
    }

    /// A flow's handshake is complete, or over.
    pub(super) fn settled(&self, claimant: &Claimant) {
        self.half_open.fetch_sub(1, Ordering::Relaxed);
        self.forget_half_open(claimant.source, claimant.destination);
    }

    /// A flow ended that was counted as `claimant`.
    pub(super) fn ended(&self, claimant: &Claimant) {
        if claimant.is_half_open {
            self.half_open.fetch_sub(1, Ordering::Relaxed);
        }
        self.forget(claimant);
    }

    /// Half-open connections now.
    pub(super) fn half_open(&self) -> u64 {
        self.half_open.load(Ordering::Relaxed)
    }

    /// How long a half-open connection may be silent now, of `usual` milliseconds: all of it up to half of the limit, then in
    /// proportion less, down to five seconds at the limit.
    pub(super) fn opening_ms(&self, usual: u32) -> u32 {
        let Some(limit) = self.limits.of(Limit::HalfOpen, self.slots) else { return usual };
        let (limit, usual_ms) = (u64::from(limit), u64::from(usual));
        let over = self.half_open().saturating_sub(limit / 2).min(limit - limit / 2);
        let shorter = usual_ms.saturating_sub(OPENING_MS_MIN) * over / (limit - limit / 2).max(1);
        u32::try_from(usual_ms - shorter).unwrap_or(usual)
    }

    fn count_half_open(&self) -> Grant {
        let before = self.half_open.fetch_add(1, Ordering::Relaxed);
        let is_over =
            self.limits.of(Limit::HalfOpen, self.slots).is_some_and(|most| before >= most.into());
        if is_over { Grant::InPlaceOfHalfOpen } else { Grant::Free }
    }

    fn forget(&self, claimant: &Claimant) {
        let Claimant { source, destination, is_half_open } = *claimant;
        if let Some(tally) = &self.flows_from {
            tally.remove(source);
        }
        if is_half_open {
            self.forget_half_open(source, destination);
        }
    }

    fn forget_half_open(&self, source: Address, destination: Address) {
        if let Some(tally) = &self.half_open_from {
            tally.remove(source);
        }
        if let Some(tally) = &self.half_open_to {
            tally.remove(destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    const NOW: Moment = Moment::from_millis(1_000);

    fn quota(limits: &[(Limit, u32)]) -> Quota {
        let set = |limits: Limits, (limit, most): &(Limit, u32)| limits.with(*limit, *most);
        let none = |limits: Limits, limit| limits.with(limit, 0);
        let limits = limits.iter().fold(Limit::ALL.into_iter().fold(Limits::default(), none), set);
        Quota::new(limits, 1 << 10, Secret::of(&RandomState::new()))
    }

    fn opening(source: u64, destination: u64) -> Claimant {
        Claimant { source: [0, source], destination: [1, destination], is_half_open: true }
    }

    #[test]
    fn nothing_is_limited_without_limits() {
        let quota = quota(&[]);
        for source in 0..10_000 {
            assert_eq!(quota.admit(&opening(source % 3, 1), true, NOW), Ok(Grant::Free));
        }
        assert_eq!((quota.half_open(), quota.opening_ms(240_000)), (10_000, 240_000));
    }

    #[test]
    fn half_open_ones_to_a_destination_and_from_a_source_are_counted_exactly() {
        let limits = [(Limit::HalfOpenPerDestination, 100), (Limit::HalfOpenPerSource, 10)];
        let quota = quota(&limits);
        let admitted = |source: u64, destination: u64| {
            quota.admit(&opening(source, destination), true, NOW).is_ok()
        };
        assert_eq!((0..200).filter(|source| admitted(*source, 1)).count(), 100);
        assert_eq!((0..200).filter(|_| admitted(1_000, 2)).count(), 10);
        quota.settled(&opening(1_000, 2));
        assert!(admitted(1_000, 2) && !admitted(1_000, 2), "completed: one more");
        quota.ended(&opening(5, 1));
        assert!(admitted(700, 1) && !admitted(701, 1), "expired: one more");
        assert_eq!(quota.half_open(), 110);
    }

    #[test]
    fn refusal_leaves_nothing_counted() {
        let limits = [
            (Limit::FlowsPerSource, 5),
            (Limit::HalfOpenPerSource, 4),
            (Limit::HalfOpenPerDestination, 3),
            (Limit::NewFlowsPerSource, 8),
        ];
        let quota = quota(&limits);
        let admitted = |now| quota.admit(&opening(1, 1), true, now);
        let first: Vec<_> = (0..50).filter(|_| admitted(NOW).is_ok()).collect();
        assert_eq!((first.len(), admitted(NOW)), (2, Err(Refusal::NewFlowRate)));
        let later = Moment::from_millis(60_000);
        assert_eq!(admitted(later), Ok(Grant::Free));
        assert_eq!(admitted(later), Err(Refusal::HalfOpen), "three to the destination");
        assert_eq!(quota.half_open(), 3);
        quota.ended(&opening(1, 1));
        assert_eq!(admitted(later), Ok(Grant::Free));
        let established = Claimant { is_half_open: false, ..opening(1, 2) };
        let much_later = Moment::from_millis(120_000);
        assert_eq!(quota.admit(&established, true, much_later), Ok(Grant::Free));
        assert_eq!(quota.admit(&established, true, much_later), Ok(Grant::Free));
        let fourth = Moment::from_millis(180_000);
        assert_eq!(quota.admit(&established, true, fourth), Err(Refusal::FlowsOfSource));
    }

    #[test]
    fn half_open_ones_in_all_make_others_give_way_and_wait_shorter() {
        let quota = quota(&[(Limit::HalfOpen, 100)]);
        let mut last = u32::MAX;
        for source in 0..100 {
            let wait = quota.opening_ms(240_000);
            assert_eq!(wait < 240_000, source > 50, "{source}");
            assert!(wait <= last);
            last = wait;
            assert_eq!(quota.admit(&opening(source, 1), true, NOW), Ok(Grant::Free));
        }
        assert_eq!(quota.opening_ms(240_000), 5_000);
        assert_eq!(quota.admit(&opening(500, 1), true, NOW), Ok(Grant::InPlaceOfHalfOpen));
    }
}
