//! What came of a capture, counted: as many numbers as there are answers, never as many as there are packets.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use classifier::decision::Verdict;
use classifier::packet::{PacketKey, Transport};
use classifier::space::Outcome;

use crate::capture::{Format, Recorded, Unjudged};
use crate::commands::ports::Ends;

/// Most pairs of addresses that are counted each.
pub(super) const PAIRS_MAX: usize = 65_536;

/// The answers for one packet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Verdicts {
    /// That of the policy that was asked.
    pub(super) now: Outcome,
    /// That of the same policy if everything staged were applied; `None` when nothing is staged.
    pub(super) pending: Option<Outcome>,
    /// That of the policy it is compared with.
    pub(super) against: Option<Outcome>,
}

impl Verdicts {
    pub(super) fn is_denied(&self) -> bool {
        self.now.verdict == Verdict::Deny
    }

    /// Whether the other policy gives another verdict.
    pub(super) fn changes(&self) -> bool {
        self.against.is_some_and(|against| against.verdict != self.now.verdict)
    }

    /// Whether what is staged would give another verdict.
    pub(super) fn would_change(&self) -> bool {
        self.pending.is_some_and(|pending| pending.verdict != self.now.verdict)
    }
}

/// How much there was of something.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) flows: u64,
    /// Packets that belong to no flow.
    pub(super) alone: u64,
    /// All packets.
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        let Self { flows, alone, packets, bytes } = other;
        self.flows += flows;
        self.alone += alone;
        self.packets += packets;
        self.bytes += bytes;
    }
}

/// One answer, and everything that got it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) verdicts: Verdicts,
    pub(super) counts: Counts,
    /// The first packet that got it: its number, what rules saw, and its way.
    pub(super) first: (u64, PacketKey, Ends),
}

/// Two addresses and what was asked for, in the direction of the packet that opened it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Pair {
    pub(super) row: usize,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    /// Destination port, or ICMP type.
    pub(super) asked: Option<u16>,
}

/// Where a flow, or a packet, was counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Slot {
    pub(super) row: usize,
    /// Among the pairs, if those of its answer are counted.
    pair: Option<usize>,
}

/// Everything that was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) format: Option<Format>,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// The earliest and the latest time, nanoseconds since 1970.
    pub(super) times: Option<(u64, u64)>,
    pub(super) unjudged: BTreeMap<Unjudged, u64>,
    /// Packets between two ends that are both outside, and both inside.
    pub(super) stayed: [u64; 2],
    pub(super) rows: Vec<Row>,
    row_numbers: HashMap<Verdicts, usize>,
    /// Pairs of what is denied or would change.
    pub(super) pairs: Vec<(Pair, Counts)>,
    pair_numbers: HashMap<Pair, usize>,
    /// What came when there was no room for another pair.
    pub(super) pairs_left_out: Counts,
    /// Flows whose opener was guessed from the ports.
    pub(super) guessed: u64,
    /// Packets that were judged by themselves because there was no room for their flow.
    pub(super) not_remembered: u64,
}

impl Tally {
    /// A packet of the capture, whatever it is.
    pub(super) fn recorded(&mut self, recorded: &Recorded<'_>) {
        self.packets += 1;
        self.bytes += recorded.length as u64;
        if let Some(time) = recorded.time_ns {
            let (first, last) = self.times.unwrap_or((time, time));
            self.times = Some((first.min(time), last.max(time)));
        }
    }

    pub(super) fn unjudged(&mut self, why: Unjudged) {
        *self.unjudged.entry(why).or_default() += 1;
    }

    /// A packet between two ends of one side.
    pub(super) fn stayed(&mut self, inside: bool) {
        let [outside_count, inside_count] = &mut self.stayed;
        *(if inside { inside_count } else { outside_count }) += 1;
    }

    /// The first packet of a flow; `asked` is the one that opened it.
    pub(super) fn opened(
        &mut self,
        verdicts: Verdicts,
        asked: (PacketKey, Ends),
        recorded: &Recorded<'_>,
    ) -> Slot {
        let slot = self.slot(verdicts, asked, recorded);
        let bytes = recorded.length as u64;
        self.add(slot, Counts { flows: 1, alone: 0, packets: 1, bytes });
        slot
    }

    /// A packet that was judged by itself.
    pub(super) fn alone(
        &mut self,
        verdicts: Verdicts,
        asked: (PacketKey, Ends),
        recorded: &Recorded<'_>,
    ) -> Slot {
        let slot = self.slot(verdicts, asked, recorded);
        let bytes = recorded.length as u64;
        self.add(slot, Counts { flows: 0, alone: 1, packets: 1, bytes });
        slot
    }

    /// Another packet of a flow.
    pub(super) fn more(&mut self, slot: Slot, recorded: &Recorded<'_>) {
        let bytes = recorded.length as u64;
        self.add(slot, Counts { flows: 0, alone: 0, packets: 1, bytes });
    }

    fn slot(
        &mut self,
        verdicts: Verdicts,
        (packet, ends): (PacketKey, Ends),
        recorded: &Recorded<'_>,
    ) -> Slot {
        let next = self.rows.len();
        let row = *self.row_numbers.entry(verdicts).or_insert(next);
        if row == next {
            let first = (recorded.number, packet, ends);
            self.rows.push(Row { verdicts, counts: Counts::default(), first });
        }
        if !(verdicts.is_denied() || verdicts.changes() || verdicts.would_change()) {
            return Slot { row, pair: None };
        }
        let pair = Pair::of(row, &packet);
        let next = self.pairs.len();
        let known = self.pair_numbers.get(&pair).copied();
        if known.is_none() && next < PAIRS_MAX {
            self.pair_numbers.insert(pair, next);
            self.pairs.push((pair, Counts::default()));
        }
        // Beyond the pairs stands what has no room among them.
        Slot { row, pair: Some(known.unwrap_or(next)) }
    }

    fn add(&mut self, slot: Slot, counts: Counts) {
        if let Some(row) = self.rows.get_mut(slot.row) {
            row.counts.add(counts);
        }
        if let Some(number) = slot.pair {
            match self.pairs.get_mut(number) {
                Some((_, pair)) => pair.add(counts),
                None => self.pairs_left_out.add(counts),
            }
        }
    }

    pub(super) fn verdicts(&self, slot: Slot) -> Option<Verdicts> {
        self.rows.get(slot.row).map(|row| row.verdicts)
    }

    /// What all rows that `wanted` likes got together.
    pub(super) fn sum(&self, wanted: impl Fn(&Verdicts) -> bool) -> Counts {
        let mut sum = Counts::default();
        for row in self.rows.iter().filter(|row| wanted(&row.verdicts)) {
            sum.add(row.counts);
        }
        sum
    }
}

impl Pair {
    fn of(row: usize, packet: &PacketKey) -> Self {
        let asked = match packet.transport {
            Transport::Ports { dst, .. } => Some(dst),
            Transport::Icmp { kind, .. } => Some(kind.into()),
            Transport::Opaque => None,
        };
        Self { row, src: packet.src, dst: packet.dst, protocol: packet.protocol, asked }
    }
}
