//! Rules that can never match, because rules before them take everything that they would.
//!
//! The answer does not depend on which objects there are now: for every membership of addresses that the selectors allow
//! for, and every part of the address space that the networks tell apart, the packets of earlier rules must cover those of
//! the rule. Whatever is not certain (which selector follows from which is seen from their form, named ports and services
//! are taken to match nothing in an earlier rule and everything in the rule itself) counts against a finding: there is no
//! false one.

mod packets;
mod peer;
#[cfg(test)]
mod tests;

use super::ground::VERSIONS;
use super::region::Region;
use crate::packet::IpVersion;
use crate::resource::{Action, Peer, Rule};

/// Most bricks of what earlier rules have left of a rule, while it is looked at.
const BRICKS_MAX: usize = 4096;

/// A rule that can never match.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shadow {
    /// Its position in the list.
    pub rule: usize,
    /// Positions of the rules that take everything it would, none of which can be left out.
    pub by: Vec<usize>,
}

/// Finds the rules of one list that can never match. `work` is how many steps may be taken, and goes down; at 0 the search
/// ends and what was found so far is all there is.
#[must_use]
pub fn shadows(rules: &[Rule], work: &mut u64) -> Vec<Shadow> {
    let mut found = Vec::new();
    let mut earlier: Vec<Known<'_>> = Vec::new();
    for (position, rule) in rules.iter().enumerate() {
        let Ok(known) = Known::of(rule, work) else { break };
        if let Ok(Some(by)) = (Search { rule: &known, earlier: &earlier, work }).shadow() {
            found.push(Shadow { rule: position, by });
        }
        if *work == 0 {
            break;
        }
        earlier.push(known);
    }
    found
}

/// A rule and the packets of each family that it matches when its addresses fit.
struct Known<'a> {
    rule: &'a Rule,
    packets: [Option<Region>; 2],
    /// Whether it can take packets from a later one, and which is known.
    takes: bool,
}

impl<'a> Known<'a> {
    fn of(rule: &'a Rule, work: &mut u64) -> Result<Self, TooLong> {
        let packets = VERSIONS.map(|version| packets::of(rule, version));
        let sizes = packets.iter().flatten().map(Region::size);
        peer::step(work, sizes.sum::<usize>() as u64 + 1)?;
        Ok(Self { rule, packets, takes: rule.action != Action::Log && is_plain(rule) })
    }

    fn packets(&self, version: IpVersion) -> Option<&Region> {
        let [v4, v6] = &self.packets;
        match version {
            IpVersion::V4 => v4.as_ref(),
            IpVersion::V6 => v6.as_ref(),
        }
    }
}

/// It would take too long to tell.
#[derive(Clone, Copy, Debug)]
struct TooLong;

/// The search for what shadows one rule.
struct Search<'a> {
    rule: &'a Known<'a>,
    earlier: &'a [Known<'a>],
    work: &'a mut u64,
}

/// What must be covered, all of it by the rules at these positions.
struct Claim {
    wanted: Region,
    /// Positions and packets of rules that apply wherever this claim is about.
    by: Vec<(usize, Region)>,
}

impl Search<'_> {
    /// The rules that shadow this one.
    fn shadow(mut self) -> Result<Option<Vec<usize>>, TooLong> {
        let mut claims = Vec::new();
        for version in VERSIONS {
            let Some(more) = self.claims(version)? else { return Ok(None) };
            claims.extend(more);
        }
        // A rule that matches nothing by itself is another matter.
        if claims.is_empty() {
            return Ok(None);
        }
        self.fewest(&claims).map(Some)
    }

    /// What of the family must be covered, and is; `None` when something is not.
    fn claims(&mut self, version: IpVersion) -> Result<Option<Vec<Claim>>, TooLong> {
        let wanted = match self.rule.packets(version) {
            Some(wanted) if !wanted.is_empty() => wanted.clone(),
            Some(_) | None => return Ok(Some(Vec::new())),
        };
        let mut candidates = Vec::new();
        for (position, known) in self.earlier.iter().enumerate() {
            self.step(1)?;
            let Some(taken) = known.packets(version).filter(|_| known.takes) else { continue };
            self.step((taken.size() * wanted.size()) as u64)?;
            let taken = taken.intersection(&wanted);
            if !taken.is_empty() {
                candidates.push((position, known.rule, taken));
            }
        }
        let ends: [fn(&Rule) -> &Peer; 2] = [|rule| &rule.source, |rule| &rule.destination];
        let mut cases = Vec::new();
        for end in ends {
            let peers: Vec<&Peer> = candidates.iter().map(|(_, rule, _)| end(rule)).collect();
            cases.push(peer::cases(end(self.rule.rule), &peers, version, self.work)?);
        }
        let [sources, destinations] = cases.as_slice() else { return Ok(None) };
        let mut claims: Vec<(Vec<usize>, Claim)> = Vec::new();
        for source in sources {
            for destination in destinations {
                let both = |at: &&usize| destination.binary_search(at).is_ok();
                let applying: Vec<usize> = source.iter().filter(both).copied().collect();
                if claims.iter().any(|(known, _)| *known == applying) {
                    continue;
                }
                let by = applying.iter().filter_map(|at| {
                    candidates.get(*at).map(|(position, _, taken)| (*position, taken.clone()))
                });
                let claim = Claim { wanted: wanted.clone(), by: by.collect() };
                if !self.holds(&claim, None)? {
                    return Ok(None);
                }
                claims.push((applying, claim));
            }
        }
        Ok(Some(claims.into_iter().map(|(_, claim)| claim).collect()))
    }

    /// Whether a claim holds, without some of the rules.
    fn holds(&mut self, claim: &Claim, only: Option<&[usize]>) -> Result<bool, TooLong> {
        let mut left = claim.wanted.clone();
        for (position, taken) in &claim.by {
            if only.is_some_and(|only| !only.contains(position)) {
                continue;
            }
            self.step((left.size() * taken.size()) as u64)?;
            left = left.without(taken);
            if left.is_empty() {
                return Ok(true);
            }
            if left.size() > BRICKS_MAX {
                return Err(TooLong);
            }
        }
        Ok(left.is_empty())
    }

    /// Leaves out what can be left out, the last rules first.
    fn fewest(&mut self, claims: &[Claim]) -> Result<Vec<usize>, TooLong> {
        let positions = claims.iter().flat_map(|claim| &claim.by).map(|(position, _)| *position);
        let mut kept: Vec<usize> = positions.collect();
        kept.sort_unstable();
        kept.dedup();
        for position in kept.clone().into_iter().rev() {
            let without: Vec<usize> = kept.iter().copied().filter(|at| *at != position).collect();
            let mut all_hold = true;
            for claim in claims {
                all_hold = all_hold && self.holds(claim, Some(&without))?;
            }
            if all_hold {
                kept = without;
            }
        }
        Ok(kept)
    }

    fn step(&mut self, count: u64) -> Result<(), TooLong> {
        peer::step(self.work, count)
    }
}

/// Whether what the rule matches is known without knowing the objects and services.
fn is_plain(rule: &Rule) -> bool {
    [&rule.source, &rule.destination].into_iter().all(|peer| {
        peer.service.is_none() && peer.named_ports.is_empty() && peer.not_named_ports.is_empty()
    })
}
