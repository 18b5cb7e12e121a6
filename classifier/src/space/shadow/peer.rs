//! Which rules apply together at one end of a packet: the cases that must be told apart, only the hardest of them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::TooLong;
use crate::packet::IpVersion;
use crate::resource::Peer;
use crate::selector::{Expr, Selector};
use crate::space::ground::{address, last_of, number};

/// Most selectors that are asked for by one earlier rule and against by another; each doubles the cases.
const BOTH_WAYS_MAX: usize = 6;
/// Most cases of one end.
const CASES_MAX: usize = 512;

/// Takes steps of what may be taken.
pub(super) fn step(work: &mut u64, count: u64) -> Result<(), TooLong> {
    *work = work.saturating_sub(count);
    if *work == 0 { Err(TooLong) } else { Ok(()) }
}

/// The sets of `peers` (positions, ascending) that may apply together to an address that fits `own`, without those that
/// hold another one: what the smaller set covers the larger covers too.
pub(super) fn cases(
    own: &Peer,
    peers: &[&Peer],
    version: IpVersion,
    work: &mut u64,
) -> Result<Vec<Vec<usize>>, TooLong> {
    let by_labels = by_labels(own, peers, work)?;
    let reachable: BTreeSet<usize> = by_labels.iter().flatten().copied().collect();
    let by_nets = by_nets(own, peers, &reachable, version, work)?;
    let mut cases: BTreeSet<Vec<usize>> = BTreeSet::new();
    for labels in &by_labels {
        for nets in &by_nets {
            let both = labels.iter().filter(|at| nets.contains(at)).copied();
            cases.insert(both.collect());
            step(work, labels.len() as u64 + 1)?;
        }
    }
    smallest(cases, work)
}

fn smallest(cases: BTreeSet<Vec<usize>>, work: &mut u64) -> Result<Vec<Vec<usize>>, TooLong> {
    let mut by_size: Vec<Vec<usize>> = cases.into_iter().collect();
    by_size.sort_by_key(Vec::len);
    let mut kept: Vec<Vec<usize>> = Vec::new();
    for case in by_size {
        step(work, kept.len() as u64 + 1)?;
        let holds = |smaller: &Vec<usize>| smaller.iter().all(|at| case.binary_search(at).is_ok());
        if !kept.iter().any(holds) {
            kept.push(case);
        }
        if kept.len() > CASES_MAX {
            return Err(TooLong);
        }
    }
    Ok(kept)
}

/// What a peer asks of labels: that some object which covers the address matches, or that none does.
#[derive(Clone, Debug)]
struct Ask {
    expr: Expr,
    some: bool,
}

fn ask(peer: &Peer) -> Option<Ask> {
    let expr = |selector: &Selector| selector.expr().clone();
    match (&peer.selector, &peer.not_selector) {
        (None, None) => None,
        (Some(wanted), None) => Some(Ask { expr: expr(wanted), some: true }),
        (None, Some(unwanted)) => Some(Ask { expr: expr(unwanted), some: false }),
        (Some(wanted), Some(unwanted)) => {
            let expr = Expr::And(vec![expr(wanted), Expr::Not(Box::new(expr(unwanted)))]);
            Some(Ask { expr, some: true })
        }
    }
}

/// The sets of peers that labels may make apply together.
fn by_labels(own: &Peer, peers: &[&Peer], work: &mut u64) -> Result<Vec<Vec<usize>>, TooLong> {
    let own = ask(own);
    let asks: Vec<Option<Ask>> = peers.iter().map(|peer| ask(peer)).collect();
    step(work, asks.len() as u64)?;
    // Whether the ask is met wherever the rule itself applies, never there, or either.
    let met = asks.iter().map(|ask| match ask {
        None => Some(true),
        Some(ask) => settled(own.as_ref(), ask),
    });
    let met: Vec<Option<bool>> = met.collect();
    let open = || asks.iter().zip(&met).filter(|(_, met)| met.is_none());
    let asked =
        |some: bool| open().filter_map(move |(ask, _)| ask.as_ref().filter(|a| a.some == some));
    let mut both_ways: Vec<&Expr> = Vec::new();
    for Ask { expr, .. } in asked(true) {
        step(work, asks.len() as u64)?;
        if asked(false).any(|other| other.expr == *expr) && !both_ways.contains(&expr) {
            both_ways.push(expr);
        }
    }
    if both_ways.len() > BOTH_WAYS_MAX {
        return Err(TooLong);
    }
    let mut cases = Vec::new();
    for truths in 0_u32..1 << both_ways.len() {
        step(work, asks.len() as u64 + 1)?;
        let is_true = |at: usize| truths & (1 << at) != 0;
        let impossible = both_ways.iter().enumerate().any(|(one, this)| {
            let mut others = both_ways.iter().enumerate();
            is_true(one) && others.any(|(other, that)| !is_true(other) && this.implies(that))
        });
        if impossible {
            continue;
        }
        let applies = |ask: &Option<Ask>, met: Option<bool>| match (met, ask) {
            (Some(met), _) => met,
            (None, None) => true,
            // One that is asked for one way only is taken to go the other way: the hardest case.
            (None, Some(Ask { expr, some })) => both_ways
                .iter()
                .position(|known| *known == expr)
                .is_some_and(|at| is_true(at) == *some),
        };
        let applying = asks.iter().zip(&met).enumerate();
        let applying = applying.filter(|(_, (ask, met))| applies(ask, **met));
        cases.push(applying.map(|(at, _)| at).collect());
    }
    Ok(cases)
}

/// What the rule's own ask settles about another one.
fn settled(own: Option<&Ask>, other: &Ask) -> Option<bool> {
    let own = own?;
    let follows = match own.some {
        true if own.expr.implies(&other.expr) => true,
        false if other.expr.implies(&own.expr) => false,
        true | false => return None,
    };
    Some(follows == other.some)
}

/// The sets of peers whose networks some address has in common that fits the rule itself.
fn by_nets(
    own: &Peer,
    peers: &[&Peer],
    reachable: &BTreeSet<usize>,
    version: IpVersion,
    work: &mut u64,
) -> Result<BTreeSet<BTreeSet<usize>>, TooLong> {
    let asked = |peer: &Peer| !peer.nets.is_empty() || !peer.not_nets.is_empty();
    let concerned: Vec<(usize, &Peer)> = peers
        .iter()
        .enumerate()
        .filter(|(at, peer)| reachable.contains(at) && asked(peer))
        .map(|(at, peer)| (at, *peer))
        .collect();
    let all: BTreeSet<usize> = (0..peers.len()).collect();
    let mut starts = BTreeSet::from([0]);
    for peer in concerned.iter().map(|(_, peer)| *peer).chain([own]) {
        step(work, (peer.nets.len() + peer.not_nets.len()) as u64 + 1)?;
        for net in peer.nets.iter().chain(&peer.not_nets) {
            starts.insert(number(net.network()));
            let last = number(net.broadcast());
            if last < last_of(version) {
                starts.insert(last + 1);
            }
        }
    }
    let mut cases = BTreeSet::new();
    for start in starts {
        let address = address(version, start);
        step(work, size(own))?;
        if !fits(own, address) {
            continue;
        }
        let mut case = all.clone();
        for (at, peer) in &concerned {
            step(work, size(peer))?;
            if !fits(peer, address) {
                case.remove(at);
            }
        }
        cases.insert(case);
    }
    Ok(cases)
}

fn size(peer: &Peer) -> u64 {
    (peer.nets.len() + peer.not_nets.len()) as u64 + 1
}

fn fits(peer: &Peer, address: IpAddr) -> bool {
    let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
    (peer.nets.is_empty() || within(&peer.nets)) && !within(&peer.not_nets)
}
