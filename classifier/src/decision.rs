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

/// Where on its way through the gateway a packet is asked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Checkpoint {
    /// The interface endpoint of the port it enters by: its `doNotTrack`, `preDNAT` and then `applyOnForward` ingress
    /// policies; for a packet to the gateway itself its normal ones and profiles in place of the last.
    Entry,
    /// What covers its source, if that is inside.
    Egress,
    /// What covers its destination, if that is inside.
    Ingress,
    /// The interface endpoint of the port it leaves by: its `applyOnForward` egress policies; for a packet of the gateway
    /// itself its `doNotTrack` and normal ones and profiles.
    Exit,
}

impl Checkpoint {
    /// All, in the order in which a packet meets them.
    pub const ALL: [Self; 4] = [Self::Entry, Self::Egress, Self::Ingress, Self::Exit];

    /// Which of a policy's rule lists is read here.
    #[must_use]
    pub fn direction(self) -> Direction {
        match self {
            Self::Entry | Self::Ingress => Direction::Ingress,
            Self::Egress | Self::Exit => Direction::Egress,
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entry => "entry",
            Self::Egress => "egress",
            Self::Ingress => "ingress",
            Self::Exit => "exit",
        })
    }
}

/// Names one rule of a `PolicySet`, in numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleRef {
    /// Position in `PolicySet::policies`; from their number on, in `PolicySet::profiles`.
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
    /// The interface endpoint has no policy that decided about forwarded packets: allowed, as in Calico.
    NoForwardPolicy,
    /// No tier of the interface endpoint decided about a packet of the gateway itself, and no profile did: denied.
    NoProfile,
}

/// The outcome of one checkpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Half {
    /// What this direction says.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The first `Log` rule that matched before the decision.
    pub logged: Option<RuleRef>,
}

/// The answer for one packet. Allowed only if a checkpoint applied and every one that did says Allow.
///
/// Checkpoints are asked in the order of `Checkpoint::ALL`; behind one that denies none is asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Decision {
    /// `None` when no interface endpoint governs the port that the packet enters by.
    pub entry: Option<Half>,
    /// `None` when the packet does not come from inside.
    pub egress: Option<Half>,
    /// `None` when the packet does not go inside.
    pub ingress: Option<Half>,
    /// `None` when no interface endpoint governs the port that the packet leaves by.
    pub exit: Option<Half>,
    /// A `doNotTrack` policy allowed the packet: if it passes, it leaves no state behind.
    pub untracked: bool,
}

impl Decision {
    /// No checkpoint applies (outside to outside): nothing said yes, so nothing passes.
    pub const NOTHING_APPLIES: Self =
        Self { entry: None, egress: None, ingress: None, exit: None, untracked: false };

    /// The packet's fate.
    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::Deny;
        for (_, half) in self.halves() {
            if half.verdict == Verdict::Deny {
                return Verdict::Deny;
            }
            verdict = Verdict::Allow;
        }
        verdict
    }

    /// What was asked, in order.
    pub fn halves(&self) -> impl Iterator<Item = (Checkpoint, Half)> + use<> {
        let halves = [self.entry, self.egress, self.ingress, self.exit];
        Checkpoint::ALL.into_iter().zip(halves).filter_map(|(at, half)| Some((at, half?)))
    }

    /// What one checkpoint said.
    #[must_use]
    pub fn half(&self, at: Checkpoint) -> Option<Half> {
        match at {
            Checkpoint::Entry => self.entry,
            Checkpoint::Egress => self.egress,
            Checkpoint::Ingress => self.ingress,
            Checkpoint::Exit => self.exit,
        }
    }

    /// The checkpoint that settled it: the one that denied, else the last one asked that has policy.
    #[must_use]
    pub fn deciding(&self) -> Option<(Checkpoint, Half)> {
        let mut deciding: Option<(Checkpoint, Half)> = None;
        for (at, half) in self.halves() {
            let said_nothing = half.reason == Reason::NoForwardPolicy;
            if deciding.is_none() || !said_nothing {
                deciding = Some((at, half));
            }
        }
        deciding
    }

    /// The first `Log` rule that matched at any checkpoint.
    #[must_use]
    pub fn logged(&self) -> Option<RuleRef> {
        self.halves().find_map(|(_, half)| half.logged)
    }
}
