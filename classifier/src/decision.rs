//! The answer: a verdict and its reason. "A rule said no" and "nothing said yes" are different values.

use std::fmt;

/// Whether the packet may pass.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum Verdict {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// The direction of a policy, seen from the protected thing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Direction {
    /// Rules on packets from what the policy protects.
    Egress,
    /// Rules on packets to what the policy protects.
    Ingress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        })
    }
}

/// Names one rule of a `PolicySet`, in numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleRef {
    /// Position in `PolicySet::policies`.
    pub policy: u32,
    /// Which of the policy's two rule lists.
    pub direction: Direction,
    /// Position in that list, from 0.
    pub rule: u32,
}

/// Why a direction was decided as it was.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// This rule matched, and its action is terminal (Allow or Deny).
    Rule(RuleRef),
    /// Policies of this tier apply, none of their rules decided, and the tier's default action is Deny.
    /// The number is a position in `PolicySet::tier_names`.
    EndOfTier(u32),
    /// Every tier with policies passed the packet on, and nothing is behind the last one: denied.
    NoTierDecided,
    /// Objects cover the protected address, but no policy selects any of them in this direction.
    Unselected,
    /// No object covers the protected address.
    Uncovered,
}

/// The outcome of one direction.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Half {
    /// What this direction says.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The first `Log` rule that matched before the decision.
    pub logged: Option<RuleRef>,
}

/// The answer for one packet. Allowed only if a direction applied and every one that did says Allow.
///
/// Egress of the source is asked first; when it denies, ingress is not asked and stays `None`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Decision {
    /// Egress of what covers the source; `None` when the packet does not come from inside.
    pub egress: Option<Half>,
    /// Ingress of what covers the destination; `None` when the packet does not go inside, or egress denied.
    pub ingress: Option<Half>,
}

impl Decision {
    /// No direction applies (outside to outside): nothing said yes, so nothing passes.
    pub const NOTHING_APPLIES: Self = Self { egress: None, ingress: None };

    /// The packet's fate.
    pub fn verdict(&self) -> Verdict {
        self.deciding().map_or(Verdict::Deny, |(_, half)| half.verdict)
    }

    /// The direction that settled it: the one that denied, else the last one asked.
    #[must_use]
    pub fn deciding(&self) -> Option<(Direction, Half)> {
        match (self.egress, self.ingress) {
            (_, Some(half)) => Some((Direction::Ingress, half)),
            (Some(half), None) => Some((Direction::Egress, half)),
            (None, None) => None,
        }
    }

    /// The first `Log` rule that matched in either direction.
    #[must_use]
    pub fn logged(&self) -> Option<RuleRef> {
        let first = self.egress.and_then(|half| half.logged);
        first.or_else(|| self.ingress.and_then(|half| half.logged))
    }
}
