//! The same frames through Linux: a router with a sound nftables ruleset. What it does is told, and held against nobody.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use dataplane::device::Port;
use ravelin::craft::{ETHERNET, mac};
use ravelin::failure::{During, Failure};
use ravelin::namespace::Namespace;
use ravelin::stations::Stations;
use ravelin::topology::{INSIDE_PORT, OUTSIDE_PORT};

use crate::contract::Bar;
use crate::policy::NETWORKS;
use crate::scenario::Scenario;

/// What Linux forwards comes at once; what has not come by then does not come.
const SILENCE: Duration = Duration::from_millis(15);
/// The router's own addresses, at both sides.
const ROUTER: [[&str; 2]; 2] =
    [["198.18.0.1/16", "2001:2:0:a::1/64"], ["198.19.0.1/16", "2001:2:0:b::1/64"]];
/// All hosts of a side are behind this one, so that nobody has to be asked where they are.
const NEXT_HOPS: [[&str; 2]; 2] =
    [["198.18.0.2", "2001:2:0:a::2"], ["198.19.0.2", "2001:2:0:b::2"]];

/// The policy of the scenarios as an administrator writes it who knows what can be known: new connections begin with a SYN
/// alone, and nothing of which the kernel says that it is invalid passes.
const RULES: &str = r#"
table inet ravelin {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct state != new drop
    iifname "outside0" tcp dport 80 tcp flags & (fin|syn|rst|ack) == syn accept
    iifname "outside0" udp dport 53 accept
    iifname "outside0" icmp type echo-request accept
    iifname "outside0" icmpv6 type echo-request accept
  }
}
"#;

/// A Linux router between two ends.
pub(crate) struct Router<'s>(&'s Stations);

impl<'s> Router<'s> {
    pub(crate) fn new(stations: &'s Stations) -> Result<Self, Failure> {
        let space = &stations.middle;
        for key in ["default/disable_ipv6", "outside0/disable_ipv6", "inside0/disable_ipv6"] {
            space.set(&format!("net/ipv6/conf/{key}"), "0")?;
        }
        for (port, interface) in Port::BOTH.into_iter().zip([OUTSIDE_PORT, INSIDE_PORT]) {
            address(space, port, interface)?;
        }
        space.set("net/ipv4/ip_forward", "1")?;
        space.set("net/ipv6/conf/all/forwarding", "1")?;
        load_rules(space)?;
        Ok(Self(stations))
    }

    /// What becomes of the frames that the row is about: dropped, or at least one of them forwarded where one should be.
    pub(crate) fn try_it(&self, scenario: &Scenario) -> Result<Bar, Failure> {
        let mut fates = Vec::new();
        for step in &scenario.steps {
            self.0.at(step.from).send(&step.frame)?;
            let passed = self.came_through(step.from, &step.frame);
            if step.is_subject {
                fates.push(passed);
            }
        }
        let last = fates.last().copied().unwrap_or(false);
        let any = fates.contains(&true);
        // A row that drops is about none of its frames passing, one that passes about the last of them.
        let passed = if scenario.row.bar == Bar::Drop { any } else { last };
        Ok(if passed { Bar::Pass } else { Bar::Drop })
    }

    /// Whether something between the same two hosts arrives at the other end.
    fn came_through(&self, from: Port, frame: &[u8]) -> bool {
        let end = self.0.at(from.other());
        let hosts = hosts(frame);
        let mut came = false;
        while let Some(arrived) = end.next(SILENCE) {
            came |= self::hosts(&arrived) == hosts;
        }
        came
    }
}

/// Source and destination address of a frame's packet.
fn hosts(frame: &[u8]) -> Option<&[u8]> {
    match frame.get(12..14)? {
        [0x08, 0x00] => frame.get(ETHERNET + 12..ETHERNET + 20),
        [0x86, 0xdd] => frame.get(ETHERNET + 8..ETHERNET + 40),
        _ => None,
    }
}

fn address(space: &Namespace, port: Port, interface: &str) -> Result<(), Failure> {
    let at = port.index();
    let host = mac(port).map(|byte| format!("{byte:02x}")).join(":");
    space.set(&format!("net/ipv6/conf/{interface}/accept_dad"), "0")?;
    for ((own, next_hop), net) in ROUTER[at].into_iter().zip(NEXT_HOPS[at]).zip(NETWORKS[at]) {
        space.ip(&format!("address add {own} dev {interface} nodad noprefixroute"))?;
        space.ip(&format!("neigh add {next_hop} lladdr {host} dev {interface}"))?;
        space.ip(&format!("route add {net} via {next_hop} dev {interface} onlink"))?;
    }
    Ok(())
}

fn load_rules(space: &Namespace) -> Result<(), Failure> {
    let doing = "load nftables rules";
    let mut command = space.command("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut nft = command.spawn().during(doing)?;
    let mut stdin = nft.stdin.take().ok_or_else(|| Failure::new(doing, "no pipe"))?;
    stdin.write_all(RULES.as_bytes()).during(doing)?;
    drop(stdin);
    let status = nft.wait().during(doing)?;
    if status.success() { Ok(()) } else { Err(Failure::new(doing, status)) }
}
