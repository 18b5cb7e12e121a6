//! Nested as deep as addresses allow: sets of prefixes of any length, drawn at random, so that every address lies in
//! hundreds of sets; and every rule names a set.

use classifier::resource::{Policy, PolicySet};
use fastrand::Rng;
use ipnet::IpNet;

use super::build::{allow, net, network_set, selector};
use super::{INWARD, Nets, Percent, Scenario};

/// `sets` sets of `prefixes` prefixes each.
#[must_use]
pub fn nesting(seed: u64, sets: usize, prefixes: usize) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let mut set = PolicySet::new();
    let (mut sources, mut destinations) = (Nets::default(), Nets::default());
    for number in 0..sets {
        let name = format!("s{number}");
        let nets: Vec<IpNet> = (0..prefixes).map(|_| net(rng.u32(..), rng.u8(8..=32))).collect();
        sources.extend(nets.iter().copied());
        if number == 0 {
            destinations.extend(nets.iter().copied());
        }
        let kind = if number == 0 { "protected" } else { "peer" };
        let labels = [("set", name.as_str()), ("kind", kind)];
        set.objects.push(network_set(&name, &labels, nets));
    }
    let ingress = (0..sets).map(|number| allow(&format!("set == 's{number}'"), &[443]));
    set.policies.push(Policy {
        selector: selector("kind == 'protected'"),
        applies_ingress: true,
        ingress: ingress.collect(),
        ..Policy::new("nested")
    });
    let (percent, ports) = (Percent::default(), vec![443, 80]);
    Scenario { note: None, set, crossing: INWARD, sources, destinations, percent, ports }
}
