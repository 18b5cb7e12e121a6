//! What two policies decide differently.

use std::collections::HashMap;

use super::entry::{Entries, Entry, Packets, bounded};
use super::ground::{Layer, ObjectName, Place, Spot, VERSIONS, places, refined};
use super::partition::Partition;
use super::reach::classes;
use super::{Limits, Outcome, Partitions, Region, TooLarge};
use crate::decision::Reason;
use crate::image::View;
use crate::packet::{Crossing, IpVersion};

/// Packets whose outcome changes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Change {
    /// What the old policy says.
    pub was: Outcome,
    /// What the new policy says.
    pub now: Outcome,
    /// The packets.
    pub packets: Packets,
}

/// Every difference, and nothing else.
#[derive(Clone, Debug)]
pub struct Diff {
    /// Addresses that neither policy tells apart: entries count in it.
    pub places: Vec<Place>,
    /// Where the verdict changes.
    pub verdicts: Vec<Entry<Change>>,
    /// Where the verdict stays and another rule or reason decides. A rule is the same when its tier, policy, direction and
    /// text are, wherever it stands in its list.
    pub reasons: Vec<Entry<Change>>,
}

/// Compares two policies for packets that cross the gateway that way.
///
/// # Errors
/// When the comparison is beyond the limits.
pub fn diff(
    old: &View<'_>,
    new: &View<'_>,
    crossing: Crossing,
    limits: Limits,
) -> Result<Diff, TooLarge> {
    let places = ground(old, new);
    bounded(&places, &places, &limits)?;
    let (mut before, mut after) = (Partitions::of(*old, limits), Partitions::of(*new, limits));
    let (mut verdicts, mut reasons) = (Entries::new(), Entries::new());
    for version in VERSIONS {
        let mut known = HashMap::new();
        let here = || places.iter().enumerate().filter(|(_, place)| place.has(version));
        for (from, source) in here() {
            for (to, destination) in here() {
                let ([a, b], [c, d]) = (source.classes, destination.classes);
                let was = before.between_classes(version, [a, c], crossing)?;
                let now = after.between_classes(version, [b, d], crossing)?;
                let (verdict, reason) =
                    *known.entry((was.number, now.number)).or_insert_with(|| {
                        let (verdict, reason) = changes(version, &was, &now, |was, now| {
                            same_reason(old, *was, new, *now)
                        });
                        (verdicts.intern(verdict), reasons.intern(reason))
                    });
                verdicts.add(version, (from, to), verdict);
                reasons.add(version, (from, to), reason);
            }
        }
    }
    Ok(Diff { places, verdicts: verdicts.joined(), reasons: reasons.joined() })
}

/// Changes of the verdict, and changes of the reason alone.
fn changes(
    version: IpVersion,
    was: &Partition,
    now: &Partition,
    same: impl Fn(&Outcome, &Outcome) -> bool,
) -> (Vec<Change>, Vec<Change>) {
    let (mut verdicts, mut reasons) = (Vec::new(), Vec::new());
    for before in &was.parts {
        for after in &now.parts {
            let verdict_stays = before.outcome.verdict == after.outcome.verdict;
            if verdict_stays && same(&before.outcome, &after.outcome) {
                continue;
            }
            let region: Region = before.region.intersection(&after.region);
            if region.is_empty() {
                continue;
            }
            let packets = Packets::of(&region, version);
            let change = Change { was: before.outcome, now: after.outcome, packets };
            if verdict_stays { &mut reasons } else { &mut verdicts }.push(change);
        }
    }
    (verdicts, reasons)
}

fn same_reason(old: &View<'_>, was: Outcome, new: &View<'_>, now: Outcome) -> bool {
    let (was, now) = match (was.decided, now.decided) {
        (None, None) => return true,
        (Some((a, was)), Some((b, now))) if a == b => (was, now),
        (Some(_), _) | (None, Some(_)) => return false,
    };
    match (was, now) {
        (Reason::Rule(a), Reason::Rule(b)) => match (old.rule(a), new.rule(b)) {
            (Some(a), Some(b)) => {
                (a.tier, a.kind, a.namespace, a.policy, a.text)
                    == (b.tier, b.kind, b.namespace, b.policy, b.text)
            }
            (a, b) => a.is_none() && b.is_none(),
        },
        (Reason::EndOfTier(a), Reason::EndOfTier(b)) => old.tier_name(a) == new.tier_name(b),
        (was, now) => was == now,
    }
}

/// The common refinement of both tables of pieces. The new policy's names go first.
fn ground(old: &View<'_>, new: &View<'_>) -> Vec<Place> {
    let name = |view: &View<'_>, object| {
        let object = view.object(object)?;
        let namespace = object.namespace.map(str::to_owned);
        Some(ObjectName { kind: object.kind, namespace, name: object.name.to_owned() })
    };
    let mut spots = Vec::new();
    for version in VERSIONS {
        let layers = [
            classes(old, version),
            classes(new, version),
            names(old, version),
            names(new, version),
        ];
        for (range, [was, now, old_name, new_name]) in refined(version, &layers) {
            let object = name(new, new_name).or_else(|| name(old, old_name));
            spots.push(Spot {
                range,
                classes: [was, now],
                is_nobody: old.is_nobody(was) && new.is_nobody(now),
                objects: object.into_iter().collect(),
            });
        }
    }
    places(spots.into_iter())
}

fn names(view: &View<'_>, version: IpVersion) -> Layer {
    view.pieces(version).iter().map(|(start, _, name)| (*start, *name)).collect()
}
