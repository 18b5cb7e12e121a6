//! What teams want of each other.

use classifier::packet::protocol;
use classifier::resource::{
    Action, Peer, Policy, PolicyKind, PolicySet, Rule, StagedAction, Tier, TierAction,
};
use fastrand::Rng;
use ipnet::IpNet;

use super::super::build::{matching, net, net6, selector, to_ports};
use super::super::draw::scaled;
use super::{App, ENVS, GRADES, NAMESPACES, ROLES, TEAMS, ZONES};

/// Until there are so many rules, one policy of each team in turn.
pub(super) fn write(set: &mut PolicySet, apps: &[App], scale: f64, rng: &mut Rng) {
    for team in 0..TEAMS {
        // A few teams have the last word on what is theirs, the others leave it to those behind them.
        let strict = team % 12 == 11;
        set.tiers.push(Tier {
            name: tier(team),
            order: Some(f64::from(u32::try_from(10 * (team + 1)).expect("few teams"))),
            default_action: if strict { TierAction::Deny } else { TierAction::Pass },
        });
    }
    let wanted = scaled(10_000, scale);
    let (mut made, mut number) = (0, 0);
    while made < wanted {
        let team = number % TEAMS;
        let policy = match rng.u8(..10) {
            0..4 => of_namespace(number, team, apps, rng),
            4..6 => of_application(number, apps, rng),
            _ => of_team(number, team, apps, rng),
        };
        made += policy.ingress.len() + policy.egress.len();
        if rng.u8(..20) == 0 {
            let staged = staged(&policy, number, apps, rng);
            made += staged.ingress.len() + staged.egress.len();
            set.policies.push(staged);
        }
        set.policies.push(policy);
        number += 1;
    }
    set.policies.push(baseline());
}

fn tier(team: usize) -> String {
    format!("team-{team}")
}

/// A namespaced policy on parts of an application, in its team's tier.
fn of_namespace(number: usize, team: usize, apps: &[App], rng: &mut Rng) -> Policy {
    let own: Vec<&App> = apps.iter().filter(|app| app.team == team).collect();
    let Some(app) = rng.choice(own) else { return of_team(number, team, apps, rng) };
    let namespace = format!("projectcalico.org/namespace == '{}'", app.namespace);
    let role = ROLES[rng.usize(..ROLES.len())].name;
    let protects = match rng.u8(..3) {
        0 => format!("{namespace} && app == '{}'", app.name),
        1 => format!("{namespace} && app == '{}' && role == '{role}'", app.name),
        _ => format!("{namespace} && role == '{role}' && env == '{}'", app.env),
    };
    let policy = with_rules(&format!("ns-policy-{number}"), &tier(team), &protects, apps, rng);
    let namespace = Some(app.namespace.clone());
    Policy { kind: PolicyKind::NetworkPolicy, namespace, ..policy }
}

/// What an application allows, in the default tier.
fn of_application(number: usize, apps: &[App], rng: &mut Rng) -> Policy {
    let app = &apps[rng.usize(..apps.len())];
    let protects = format!("app == '{}' && has(projectcalico.org/orchestrator)", app.name);
    let name = format!("app-policy-{number}");
    let mut policy = with_rules(&name, Tier::DEFAULT, &protects, apps, rng);
    for rule in policy.ingress.iter_mut().chain(&mut policy.egress) {
        if rule.action == Action::Pass {
            rule.action = Action::Allow;
        }
    }
    policy
}

/// What a team wants of a zone, a site, a grade or its own things.
fn of_team(number: usize, team: usize, apps: &[App], rng: &mut Rng) -> Policy {
    let protects = match rng.u8(..6) {
        0 => format!("zone == '{}' && region == 'r{}'", ZONES[rng.usize(..8)], rng.u8(..4)),
        1 => format!("site == 'r{}s{}'", rng.u8(..4), rng.u8(..5)),
        2 => format!("team == 'team-{team}' && env == '{}'", ENVS[rng.usize(..3)]),
        3 => format!("pcns.line == 'line-{}' && grade == '{}'", team % 7, GRADES[rng.usize(..3)]),
        4 => format!("scope == 'scope-{}'", rng.u8(..40)),
        _ => format!("team == 'team-{team}' && role in {{'web', 'api'}}"),
    };
    with_rules(&format!("team-policy-{number}"), &tier(team), &protects, apps, rng)
}

fn with_rules(name: &str, tier: &str, protects: &str, apps: &[App], rng: &mut Rng) -> Policy {
    let directions = rng.u8(..10);
    let (applies_ingress, applies_egress) = (directions < 8, directions >= 6);
    let mut rules = |applies: bool, inward: bool| -> Vec<Rule> {
        let count = if applies { rng.usize(2..9) } else { 0 };
        (0..count).map(|_| rule(apps, inward, rng)).collect()
    };
    let (ingress, egress) = (rules(applies_ingress, true), rules(applies_egress, false));
    Policy {
        tier: tier.to_owned(),
        order: (rng.u8(..10) > 0).then(|| f64::from(rng.u8(..5)) * 100.0),
        selector: selector(protects),
        applies_ingress,
        applies_egress,
        ingress,
        egress,
        ..Policy::new(name)
    }
}

fn rule(apps: &[App], inward: bool, rng: &mut Rng) -> Rule {
    let action = match rng.u8(..20) {
        0 => Action::Log,
        1..3 => Action::Deny,
        3..8 => Action::Pass,
        _ => Action::Allow,
    };
    let mut rule = Rule::new(action);
    let mut service = Peer::default();
    match rng.u8(..10) {
        0..5 => {
            rule.protocol = Some(protocol::TCP);
            service = to_ports(&[ROLES[rng.usize(..ROLES.len())].port.1]);
        }
        5..7 => {
            rule.protocol = Some(protocol::TCP);
            let name = [ROLES[rng.usize(..ROLES.len())].port.0, "metrics"][rng.usize(..2)];
            service.named_ports.push(name.to_owned());
        }
        7 => {
            rule.protocol = Some(protocol::UDP);
            service = to_ports(&[53, 443]);
        }
        8 => rule.protocol = Some(protocol::TCP),
        _ => {}
    }
    let peer = peer(apps, rng);
    if inward {
        (rule.source, rule.destination) = (peer, service);
    } else {
        let ports = service.ports;
        let named_ports = service.named_ports;
        rule.destination = Peer { ports, named_ports, ..peer };
    }
    rule
}

fn peer(apps: &[App], rng: &mut Rng) -> Peer {
    let app = &apps[rng.usize(..apps.len())];
    let role = ROLES[rng.usize(..ROLES.len())].name;
    match rng.u8(..16) {
        0..5 => matching(&format!("app == '{}' && role == '{role}'", app.name)),
        5 => matching(&format!("team == 'team-{}'", app.team)),
        6 => matching(&format!("zone == '{}' && trust != 'none'", ZONES[rng.usize(..8)])),
        7 => matching(&format!("region == 'r{}' && kind == 'site'", rng.u8(..4))),
        8 => matching(&format!("rating == '{}'", ["a", "b", "c"][rng.usize(..3)])),
        9 => matching(&format!("class == '{}'", ["pci", "gdpr", "sox"][rng.usize(..3)])),
        10 => matching(&format!(
            "projectcalico.org/namespace == 'ns-{}' && grade == '{}'",
            rng.usize(..NAMESPACES),
            app.grade
        )),
        11 => Peer {
            not_selector: Some(selector("rating == 'c' || kind == 'scope'")),
            ..matching(&format!("grade == '{}'", app.grade))
        },
        12 => Peer {
            not_selector: Some(selector(&format!("env == '{}'", app.env))),
            ..Peer::default()
        },
        13 => Peer { nets: literal(rng), ..Peer::default() },
        14 => Peer { not_nets: literal(rng), ..Peer::default() },
        _ => Peer::default(),
    }
}

/// Networks as somebody wrote them into a rule: of one family.
fn literal(rng: &mut Rng) -> Vec<IpNet> {
    let (region, site) = (rng.u32(..4), rng.u32(..5));
    if rng.u8(..3) == 0 {
        return vec![net6(0xfd00_u128 << 112 | u128::from(region) << 96, 32)];
    }
    vec![net(0x0a00_0000 | region << 22 | site << 19, 13), net(rng.u32(..), 16)]
}

/// What is tried out beside a policy: another text of it, its end, or one that is new.
fn staged(policy: &Policy, number: usize, apps: &[App], rng: &mut Rng) -> Policy {
    let mut staged = with_rules(&policy.name, &policy.tier, "all()", apps, rng);
    staged.selector = policy.selector.clone();
    staged.kind = policy.kind;
    staged.namespace.clone_from(&policy.namespace);
    staged.staged = Some(StagedAction::Set);
    match rng.u8(..4) {
        0 => {
            staged.staged = Some(StagedAction::Delete);
            staged.ingress.clear();
            staged.egress.clear();
        }
        1 => staged.name = format!("new-{number}"),
        _ => {}
    }
    staged
}

/// Behind all of them: who serves something serves his own region.
fn baseline() -> Policy {
    let mut rule = Rule::new(Action::Allow);
    rule.protocol = Some(protocol::TCP);
    rule.source = matching("kind == 'subnet' && env == 'prod'");
    rule.destination = to_ports(&[8080, 8443]);
    let mut out = Rule::new(Action::Allow);
    out.destination = matching("kind == 'subnet' || has(partner)");
    Policy {
        selector: selector("has(app)"),
        applies_ingress: true,
        applies_egress: true,
        ingress: vec![rule],
        egress: vec![out],
        ..Policy::new("baseline")
    }
}
