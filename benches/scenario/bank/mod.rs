//! A bank: zones within sites within regions, each with labels of its own; applications of thirty namespaces on subnets of
//! both families, their pods with named ports; partners, and scopes of auditors across all of it; and a tier of policies
//! for each of sixty teams, of both directions, some namespaced, some staged.

mod places;
mod policies;

use classifier::resource::PolicySet;
use fastrand::Rng;

use super::{ACROSS, Nets, Percent, Scenario};

const NAMESPACES: usize = 30;
const TEAMS: usize = 60;
const ROLES: [Role; 5] = [
    Role { name: "web", port: ("https", 8443) },
    Role { name: "api", port: ("http", 8080) },
    Role { name: "worker", port: ("grpc", 9090) },
    Role { name: "db", port: ("sql", 5432) },
    Role { name: "cache", port: ("redis", 6379) },
];
const ENVS: [&str; 3] = ["prod", "stage", "dev"];
const ZONES: [&str; 8] = ["edge", "dmz", "app", "data", "pay", "swift", "office", "mgmt"];
const GRADES: [&str; 3] = ["gold", "silver", "bronze"];

/// What a part of an application does, and the port that its pods name.
struct Role {
    name: &'static str,
    port: (&'static str, u16),
}

/// An application: whose it is, and in which namespace.
struct App {
    name: String,
    namespace: String,
    team: usize,
    env: &'static str,
    grade: &'static str,
}

/// `scale` 1 is 400 applications with 50,000 pods, and 10,000 rules.
#[must_use]
pub fn bank(seed: u64, scale: f64) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let mut set = PolicySet::new();
    let mut ends = Ends { sources: Nets::default(), destinations: Nets::default() };
    places::regions(&mut set);
    places::outsiders(&mut set, &mut ends, scale, &mut rng);
    let apps = places::apps(&mut set, &mut ends, scale, &mut rng);
    policies::write(&mut set, &apps, scale, &mut rng);
    ends.sources.shuffle(usize::MAX, &mut rng);
    ends.destinations.shuffle(usize::MAX, &mut rng);
    let ports = vec![8443, 8080, 9090, 5432, 6379, 9100, 443, 53, 31_337];
    let percent = Percent { v6: 30, udp: 10 };
    let Ends { sources, destinations } = ends;
    Scenario { note: None, set, crossing: ACROSS, sources, destinations, percent, ports }
}

struct Ends {
    sources: Nets,
    destinations: Nets,
}
