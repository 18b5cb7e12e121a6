//! What is asked for things behind the gateway: the policies that select what covers their address (2, 3).

use crate::decision::{Direction, Half, Reason, Verdict};
use crate::resource::Hook;

use super::tiers::{self, End, Outcome, Stage};
use super::{Asked, covering};

/// What becomes of the packet for the sake of its source, or of its destination.
pub(super) fn half(asked: &Asked<'_>, direction: Direction) -> Half {
    let protected = match direction {
        Direction::Egress => asked.packet.src,
        Direction::Ingress => asked.packet.dst,
    };
    let covering = covering(asked.set, protected).into_iter();
    let protected: Vec<_> =
        covering.filter(|object| !object.peer_only).map(|object| &object.labels).collect();
    if protected.is_empty() {
        return by_default(Reason::Uncovered, asked.set.defaults.allow_uncovered);
    }
    let hooks = &[Hook::Normal, Hook::Forward];
    let mut logged = None;
    let stage = Stage { hooks, direction, protected, end: End::OfTier };
    let (verdict, reason) = match tiers::walk(asked, &stage, &mut logged) {
        Outcome::Decided(verdict, reason) => (verdict, reason),
        Outcome::AllPassed => (Verdict::Deny, Reason::NoTierDecided),
        Outcome::NoPolicy => {
            return by_default(Reason::Unselected, asked.set.defaults.allow_unselected);
        }
    };
    Half { verdict, reason, logged }
}

/// Where no policy speaks, the administrator's default does (7).
fn by_default(reason: Reason, allowed: bool) -> Half {
    let verdict = if allowed { Verdict::Allow } else { Verdict::Deny };
    Half { verdict, reason, logged: None }
}
