//! Everything that must happen.

use classifier::decision::{Checkpoint, Verdict};
use classifier::packet::{IpVersion, Place, Side};
use classifier::resource::{Action, Hook};

use super::fields::Field;
use crate::compare::Plane;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Event {
    /// A packet of that family crossed that way.
    Crossed(IpVersion, Spot, Spot),
    /// A checkpoint was settled so.
    Settled(Plane, Checkpoint, IpVersion, Settled),
    /// A `Log` rule was met at a checkpoint.
    Logged(Plane, Checkpoint),
    /// A rule behind that many others of its list decided there.
    Deep(Checkpoint, u32),
    /// `doNotTrack` allowed a packet that had that verdict in the end.
    Untracked(Plane, Verdict),
    /// The exit said this of a packet that a policy of that hook had allowed at the entry.
    ExitAfter(Hook, Verdict),
    /// A port was governed so.
    Governed(Governed),
    /// What is staged made a difference.
    Pending(Pending),
    /// A rule with that action was reached and matched, or not.
    Reached(Checkpoint, Action, bool),
    /// A rule that was reached has that field, and the field alone matched, or not.
    Field(Field, bool),
    /// `notSelector` alone was asked of an address that no object covers.
    NotSelectorOfUncovered,
    /// A rule without protocol asked for a port by name.
    NameWithoutProtocol(bool),
    /// A packet without ports matched a rule that wants no port of a name.
    UnwantedNameWithoutPort,
    /// So many objects cover an address: one, or several.
    Covered(bool),
    /// Objects cover an address, and none of them can be protected.
    CoveredByPeersOnly,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Spot {
    Inside,
    Outside,
    Gateway,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Settled {
    /// By a rule of a policy of that hook, or of a profile.
    Rule(Option<Hook>, Verdict),
    EndOfTier,
    EndOfMissingTier,
    NoTierDecided,
    Unselected(Verdict),
    Uncovered(Verdict),
    NoForwardPolicy,
    NoProfile,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Governed {
    Nobody,
    Name,
    Addresses,
    NameOfSeveral,
    AddressesOfSeveral,
    SpecificBeforeAll,
    All,
    AllForUnknown,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Pending {
    /// A rule of a staged policy that nothing is enforced for.
    NewDecides,
    /// A rule of a staged policy in the place of an enforced one.
    ReplacingDecides,
    /// Enforced, a rule of such a policy.
    ReplacedDecided,
    /// Enforced, a rule of a policy that a staged one deletes.
    DeletedDecided,
    /// The end of a tier that has staged policies only.
    EndOfStagedTier,
    /// The verdict changes to this.
    Becomes(Verdict),
}

/// How deep in a list packets must get.
pub(super) const DEPTHS: [u32; 3] = [16, 32, 64];
const VERDICTS: [Verdict; 2] = [Verdict::Allow, Verdict::Deny];
const FAMILIES: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];
const SPOTS: [Spot; 3] = [Spot::Inside, Spot::Outside, Spot::Gateway];

impl Event {
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::NotSelectorOfUncovered,
            Self::UnwantedNameWithoutPort,
            Self::CoveredByPeersOnly,
        ];
        for either in [false, true] {
            all.extend([Self::Covered(either), Self::NameWithoutProtocol(either)]);
        }
        for from in SPOTS {
            for to in SPOTS {
                all.extend(FAMILIES.map(|family| Self::Crossed(family, from, to)));
            }
        }
        for at in Checkpoint::ALL {
            all.extend(DEPTHS.map(|depth| Self::Deep(at, depth)));
        }
        for plane in Plane::ALL {
            for at in Checkpoint::ALL {
                all.push(Self::Logged(plane, at));
                for how in Settled::at(at) {
                    all.extend(FAMILIES.map(|family| Self::Settled(plane, at, family, how)));
                }
            }
            all.extend(VERDICTS.map(|verdict| Self::Untracked(plane, verdict)));
        }
        for hook in [Hook::Untracked, Hook::PreDnat, Hook::Forward] {
            all.extend(VERDICTS.map(|verdict| Self::ExitAfter(hook, verdict)));
        }
        all.extend(Governed::ALL.map(Self::Governed));
        all.extend(Pending::ALL.map(Self::Pending));
        all.extend(reached());
        all
    }
}

fn reached() -> Vec<Event> {
    let mut all = Vec::new();
    for matched in [false, true] {
        for at in Checkpoint::ALL {
            for action in [Action::Allow, Action::Deny, Action::Log, Action::Pass] {
                all.push(Event::Reached(at, action, matched));
            }
        }
        let fields = Field::all().into_iter().filter(|field| !matched || field.can_match());
        all.extend(fields.map(|field| Event::Field(field, matched)));
    }
    all
}

impl Spot {
    pub(super) fn of(place: Place) -> Self {
        match place.side() {
            Some(Side::Inside) => Self::Inside,
            Some(Side::Outside) => Self::Outside,
            None => Self::Gateway,
        }
    }
}

impl Settled {
    /// All ways in which a checkpoint can be settled.
    fn at(at: Checkpoint) -> Vec<Self> {
        let mut all = vec![Self::EndOfTier, Self::EndOfMissingTier];
        let hooks: &[Option<Hook>] = match at {
            Checkpoint::Entry => &[
                Some(Hook::Untracked),
                Some(Hook::PreDnat),
                Some(Hook::Forward),
                Some(Hook::Normal),
                None,
            ],
            Checkpoint::Exit => {
                &[Some(Hook::Untracked), Some(Hook::Forward), Some(Hook::Normal), None]
            }
            Checkpoint::Egress | Checkpoint::Ingress => &[Some(Hook::Forward), Some(Hook::Normal)],
        };
        for verdict in VERDICTS {
            all.extend(hooks.iter().map(|hook| Self::Rule(*hook, verdict)));
        }
        match at {
            Checkpoint::Entry | Checkpoint::Exit => {
                all.extend([Self::NoForwardPolicy, Self::NoProfile]);
            }
            Checkpoint::Egress | Checkpoint::Ingress => {
                all.push(Self::NoTierDecided);
                all.extend(VERDICTS.map(Self::Unselected));
                all.extend(VERDICTS.map(Self::Uncovered));
            }
        }
        all
    }
}

impl Governed {
    const ALL: [Self; 8] = [
        Self::Nobody,
        Self::Name,
        Self::Addresses,
        Self::NameOfSeveral,
        Self::AddressesOfSeveral,
        Self::SpecificBeforeAll,
        Self::All,
        Self::AllForUnknown,
    ];
}

impl Pending {
    const ALL: [Self; 7] = [
        Self::NewDecides,
        Self::ReplacingDecides,
        Self::ReplacedDecided,
        Self::DeletedDecided,
        Self::EndOfStagedTier,
        Self::Becomes(Verdict::Allow),
        Self::Becomes(Verdict::Deny),
    ];
}
