//! Exact answers about all packets at once: what may pass between two sets of addresses, and what differs between two
//! policies. Nothing is sampled.
//!
//! 1. `region`, `block`: exact sets of packets, and the one way to write them down.
//! 2. `partition`, `walk`: what becomes of every packet between two identity classes, at each checkpoint on its way, with
//!    the rule that decides.
//! 3. `ground`: addresses cut into ranges over which everything of interest is constant, and grouped.
//! 4. `reach`, `diff`: the two questions.
//! 5. `shadow`: rules of one list that can never match, before there is an image.
//!
//! What it costs: the work grows with the number of pairs of classes asked about, times the rules that apply to a pair
//! (one test of a bit each); pairs for which the same rules fit share one walk. A walk grows with the square of its rules
//! at worst, for each keeps cutting what is left. Memory grows with the bricks of distinct walks. [`Limits`] bounds both:
//! beyond them there is an error and no half answer.

mod block;
mod diff;
mod entry;
mod ground;
mod partition;
mod reach;
mod region;
mod rule;
mod shadow;
mod walk;

use std::fmt;

pub use self::block::Block;
pub use self::diff::{Change, Diff, diff};
pub use self::entry::{Entry, Packets};
pub use self::ground::{AddressRange, Member, ObjectName, Place};
pub use self::partition::{Outcome, Part, Partition, Partitions};
pub use self::reach::{Passage, Question, Reach, reach};
pub use self::region::{Form, Region, Span};
pub use self::shadow::{Shadow, shadows};

/// How large a question may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most pairs of classes that are looked at.
    pub pairs: usize,
    /// Most bricks that are kept for one image.
    pub bricks: usize,
    /// Most bricks that one walk holds at a time.
    pub walk_bricks: usize,
}

impl Default for Limits {
    /// Four million pairs, four million bricks of 14 bytes, 64 thousand of them in one walk.
    fn default() -> Self {
        Self { pairs: 1 << 22, bricks: 1 << 22, walk_bricks: 1 << 16 }
    }
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TooLarge {
    /// Too many pairs of classes.
    Pairs {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The sets of packets are too intricate.
    Bricks {
        /// The limit.
        limit: usize,
    },
}

impl TooLarge {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Pairs { .. } => "ask about fewer objects",
            Self::Bricks { .. } => {
                "rules with long lists of both source and destination ports make it so; use ranges that meet"
            }
        }
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pairs { count, limit } => write!(
                f,
                "the question is about {count} pairs of address classes, the limit is {limit}"
            ),
            Self::Bricks { limit } => write!(
                f,
                "the answer takes more than {limit} intervals of protocols and ports, which is the limit"
            ),
        }
    }
}

impl std::error::Error for TooLarge {}
