//! Nested as deep as addresses allow: sets of prefixes of any length, drawn at random, so that every address lies in
//! hundreds of sets; and half of the rules name a set each.

use classifier::resource::{Policy, PolicySet};
use fastrand::Rng;
use ipnet::Ipv4Net;

use super::{Scenario, network_set, selector};

/// `sets` sets of `prefixes` prefixes each.
pub(crate) fn nesting(seed: u64, sets: usize, prefixes: usize) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let mut set = PolicySet::new();
    let mut all = Vec::with_capacity(sets * prefixes);
    for number in 0..sets {
        let name = format!("s{number}");
        let nets: Vec<Ipv4Net> = (0..prefixes)
            .map(|_| Ipv4Net::new(rng.u32(..).into(), rng.u8(8..=32)).expect("a length").trunc())
            .collect();
        all.extend(&nets);
        let kind = if number == 0 { "protected" } else { "peer" };
        let labels = [("set", name.as_str()), ("kind", kind)];
        set.objects.push(network_set(&name, &labels, nets));
    }
    let ingress = (0..sets).map(|number| super::allow(&format!("set == 's{number}'"), &[443]));
    set.policies.push(Policy {
        selector: selector("kind == 'protected'"),
        applies_ingress: true,
        ingress: ingress.collect(),
        ..Policy::new("nested")
    });
    let destinations = set.objects.first().into_iter().flat_map(|object| &object.nets);
    let destinations = destinations.filter_map(|net| match net {
        ipnet::IpNet::V4(net) => Some(*net),
        ipnet::IpNet::V6(_) => None,
    });
    Scenario { destinations: destinations.collect(), set, sources: all, ports: vec![443, 80] }
}
