//! Would policy cut the connections over which it is changed?

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use classifier::decision::Verdict;
use classifier::image::Image;
use classifier::packet::Crossing;
use classifier::resource::{PolicySet, Rule};
use classifier::space::{Block, Form, Limits, Outcome, Partitions};
use ipnet::IpNet;

use crate::commands::exact;
use crate::commands::ports::{Ends, Ports};
use crate::diagnostic::Diagnostic;
use crate::settings::{ManagedService, ManagementSettings, Settings};

/// Most addresses that one network of the settings is asked about; between them nothing changes.
const ADDRESSES_MAX: usize = 4096;
/// Ports that clients use (RFC 6335 section 6 leaves the lower ones to services).
const CLIENT_PORTS: [u16; 2] = [1024, u16::MAX];

/// A warning for each network and service between which something is denied.
pub(super) fn findings(settings: &Settings, set: &PolicySet, image: &Image) -> Vec<Diagnostic> {
    let management = &settings.management;
    if management.from.is_empty() || management.to.is_empty() {
        return Vec::new();
    }
    let view = image.view();
    let ports = Ports::of(&view, Some(settings));
    let crossing = ports.crossing(Ends::across(management.incoming));
    let mut search =
        Search { partitions: Partitions::of(view, Limits::default()), edges: edges(set), crossing };
    let mut findings = Vec::new();
    for (service, from) in pairs(management) {
        match search.denied(*from, service) {
            Ok(None) => {}
            Ok(Some(Denied { source, is_all, outcome })) => {
                let part = if is_all { "" } else { ", in part" };
                let message =
                    format!("policy denies management from `{from}` to `{}`{part}", service.text);
                let because = exact::because(&view, outcome);
                let finding = Diagnostic::warning("management.cut", message)
                    .at(service.at.clone(), format!("denied from `{source}`: {because}"))
                    .help("allow it before what denies it, or you may lock yourself out");
                findings.push(finding);
            }
            Err(TooMany) => {
                let message = format!(
                    "the policy is too large to tell whether it denies management from `{from}`"
                );
                let finding = Diagnostic::warning("management.not-looked-at", message)
                    .at(service.at.clone(), "not looked at")
                    .help("name smaller networks in `from`");
                findings.push(finding);
            }
        }
    }
    findings
}

/// Every service and network of one family.
fn pairs(management: &ManagementSettings) -> impl Iterator<Item = (&ManagedService, &IpNet)> {
    management.to.iter().flat_map(|service| {
        let same = |from: &&IpNet| from.addr().is_ipv4() == service.address.is_ipv4();
        management.from.iter().filter(same).map(move |from| (service, from))
    })
}

#[derive(Clone, Copy, Debug)]
struct TooMany;

/// What of a network is denied.
#[derive(Clone, Copy, Debug)]
struct Denied {
    /// The first address from which something is denied.
    source: IpAddr,
    /// Whether nothing at all passes.
    is_all: bool,
    outcome: Outcome,
}

struct Search<'a> {
    partitions: Partitions<'a>,
    /// Where the meaning of an address can change.
    edges: BTreeSet<IpAddr>,
    crossing: Crossing,
}

impl Search<'_> {
    fn denied(&mut self, from: IpNet, service: &ManagedService) -> Result<Option<Denied>, TooMany> {
        let inner = self.edges.range(from.network()..=from.broadcast()).copied();
        let sources: BTreeSet<IpAddr> =
            inner.chain([from.network()]).take(ADDRESSES_MAX + 1).collect();
        if sources.len() > ADDRESSES_MAX {
            return Err(TooMany);
        }
        let (mut first, mut passes) = (None, false);
        for source in sources {
            let partition = self.partitions.between(source, service.address, self.crossing);
            let partition = partition.map_err(|_| TooMany)?;
            for part in &partition.parts {
                if !reaches(&part.region.blocks(), service) {
                    continue;
                }
                match part.outcome.verdict {
                    Verdict::Allow => passes = true,
                    Verdict::Deny => first = first.or(Some((source, part.outcome))),
                }
            }
        }
        Ok(first.map(|(source, outcome)| Denied { source, is_all: !passes, outcome }))
    }
}

/// Whether some packet of a client to the service is among these.
fn reaches(blocks: &[Block], service: &ManagedService) -> bool {
    let [first, last] = CLIENT_PORTS;
    let port = service.port;
    blocks.iter().any(|block| {
        let protocol = u16::from(service.protocol);
        block.form == Form::Ports
            && block.protocols.iter().any(|span| span.first <= protocol && protocol <= span.last)
            && block.first.iter().any(|span| span.first <= last && first <= span.last)
            && block.second.iter().any(|span| span.first <= port && port <= span.last)
    })
}

/// The first address of everything that the set names, and the first behind it.
fn edges(set: &PolicySet) -> BTreeSet<IpAddr> {
    let policies =
        set.policies.iter().flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
    let profiles = set.profiles.iter().flat_map(|known| known.ingress.iter().chain(&known.egress));
    let of_rule = |rule: &Rule| -> Vec<IpNet> {
        let peers = [&rule.source, &rule.destination];
        peers.into_iter().flat_map(|peer| peer.nets.iter().chain(&peer.not_nets)).copied().collect()
    };
    let services = set.services.iter().flat_map(|service| &service.endpoints);
    let nets = policies.chain(profiles).flat_map(of_rule);
    let nets = nets.chain(set.objects.iter().flat_map(|object| object.nets.iter().copied()));
    let nets = nets.chain(services.map(|endpoint| endpoint.address.into()));
    nets.flat_map(|net| [Some(net.network()), behind(net.broadcast())]).flatten().collect()
}

fn behind(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            u32::from(address).checked_add(1).map(|next| Ipv4Addr::from(next).into())
        }
        IpAddr::V6(address) => {
            u128::from(address).checked_add(1).map(|next| Ipv6Addr::from(next).into())
        }
    }
}
