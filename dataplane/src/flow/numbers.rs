//! The second cache line of a slot: the numbers of a TCP connection.
//!
//! Each direction of a flow may be on another worker. What changes with every segment is merged, never overwritten: both
//! sides' words only grow, so it does not matter whose merge comes first. All else changes only by who has claimed the slot.

use std::sync::atomic::{AtomicU64, Ordering};

use super::state::{Pair, Way};
use super::tcp::{Challenge, Connection, Heard, Initial, Peers, Pending, Sent, Terms};

/// The words of a connection, shared by workers.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Numbers {
    sent: Pair<AtomicU64>,
    heard: Pair<AtomicU64>,
    initial: AtomicU64,
    terms: AtomicU64,
    pending: AtomicU64,
    challenge: AtomicU64,
}

impl Numbers {
    /// The words as they are, which are those of one flow only if the slot says so before and after.
    #[inline]
    pub(super) fn load(&self) -> Connection {
        let Self { sent, heard, initial, terms, pending, challenge } = self;
        let get = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let pair = |pair: &Pair<AtomicU64>| [get(&pair.original), get(&pair.reply)];
        let ([a, b], [c, d]) = (pair(sent), pair(heard));
        Connection {
            peers: Peers {
                sent: Pair { original: Sent(a), reply: Sent(b) },
                heard: Pair { original: Heard(c), reply: Heard(d) },
            },
            initial: Initial(get(initial)),
            terms: Terms(get(terms)),
            pending: Pending(get(pending)),
            challenge: Challenge(get(challenge)),
        }
    }

    /// Writes a new flow's numbers. Only for who has claimed the slot.
    ///
    /// Words without a number hold `nonce` instead, which is another one for each flow in the slot: who read such a word of
    /// the flow before cannot swap it any more.
    pub(super) fn settle(&self, connection: &Connection, nonce: u64) {
        let Connection { mut pending, mut challenge, .. } = *connection;
        pending.0 |= nonce;
        challenge.0 |= nonce;
        self.store(&self.load(), &Connection { pending, challenge, ..*connection });
    }

    /// Writes what differs between `before`, which was read, and `after`. Only for who has claimed the slot. What a packet
    /// merges at the same time into a word that stays as it is, is kept.
    pub(super) fn store(&self, before: &Connection, after: &Connection) {
        let Self { sent, heard, initial, terms, pending, challenge } = self;
        let of_peers = [&sent.original, &sent.reply, &heard.original, &heard.reply];
        let own = of_peers.into_iter().chain([initial, terms, pending, challenge]);
        for ((word, before), after) in own.zip(words(before)).zip(words(after)) {
            if before != after {
                word.store(after, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn sent(&self, way: Way) -> &AtomicU64 {
        self.sent.of(way)
    }

    pub(super) fn heard(&self, way: Way) -> &AtomicU64 {
        self.heard.of(way)
    }

    #[inline]
    pub(super) fn terms(&self) -> u64 {
        self.terms.load(Ordering::Relaxed)
    }

    pub(super) fn pending(&self) -> &AtomicU64 {
        &self.pending
    }

    pub(super) fn challenge(&self) -> &AtomicU64 {
        &self.challenge
    }
}

fn words(connection: &Connection) -> [u64; 8] {
    let Connection { peers, initial, terms, pending, challenge } = connection;
    let Peers { sent, heard } = peers;
    [
        sent.original.0,
        sent.reply.0,
        heard.original.0,
        heard.reply.0,
        initial.0,
        terms.0,
        pending.0,
        challenge.0,
    ]
}
