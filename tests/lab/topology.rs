//! The network of the laboratory: who is where, and how they are wired.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{self, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use classifier::packet::IpVersion;

use crate::failure::Failure;
use crate::namespace::{Namespace, run};

/// The gateway's port that faces the world.
pub const OUTSIDE_PORT: &str = "outside0";
/// The gateway's port that faces what it protects.
pub const INSIDE_PORT: &str = "inside0";

/// One laboratory at a time in a process: namespaces are named with its number, and two would share two cores.
static ALONE: Mutex<()> = Mutex::new(());

/// The network. Gone when this value goes.
#[derive(Debug)]
pub struct Lab {
    /// Outside: the network operation centre.
    pub noc: Host,
    /// Outside: somebody's desk.
    pub office: Host,
    /// Outside: an address that an embargo names.
    pub embargoed: Host,
    /// Outside: an address that no object covers.
    pub stranger: Host,
    /// Inside: a production server.
    pub server: Host,
    /// Inside: what may have to go to quarantine.
    pub candidate: Host,
    /// Holds the two ports and nothing else.
    pub gateway: Namespace,
    switches: [Namespace; 2],
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// Makes the network, waiting for another one of this process to go.
    ///
    /// # Errors
    /// Not root, or a tool or a kernel feature is missing.
    pub fn new() -> Result<Self, Failure> {
        check_prerequisites()?;
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let gateway = Namespace::create(&name_of("gateway"))?;
        // The kernel must carry nothing between the ports: what passes is what the data plane passes.
        gateway.set("net/ipv4/ip_forward", "0")?;
        gateway.set("net/ipv6/conf/all/forwarding", "0")?;
        gateway.set("net/ipv6/conf/default/disable_ipv6", "1")?;
        let outside = switch("outside", &gateway, OUTSIDE_PORT)?;
        let inside = switch("inside", &gateway, INSIDE_PORT)?;
        Ok(Self {
            noc: Host::new("noc", &outside, [10, 10], "2001:2:0:10::10")?,
            office: Host::new("office", &outside, [20, 10], "2001:2:0:20::10")?,
            embargoed: Host::new("embargoed", &outside, [200, 10], "2001:2:0:200::10")?,
            stranger: Host::new("stranger", &outside, [99, 10], "2001:2:0:99::10")?,
            server: Host::new("server", &inside, [70, 10], "2001:2:0:70::10")?,
            candidate: Host::new("candidate", &inside, [70, 77], "2001:2:0:70::77")?,
            gateway,
            switches: [outside, inside],
            _alone: alone,
        })
    }

    /// All end hosts, outside first.
    #[must_use]
    pub fn hosts(&self) -> [&Host; 6] {
        let Self { noc, office, embargoed, stranger, server, candidate, .. } = self;
        [noc, office, embargoed, stranger, server, candidate]
    }

    /// The host with this name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts().into_iter().find(|host| host.name == name)
    }

    /// Leaves the network behind when this value goes; returns the names of its namespaces.
    pub fn keep(&mut self) -> Vec<String> {
        let Self { noc, office, embargoed, stranger, server, candidate, gateway, switches, .. } =
            self;
        let hosts = [noc, office, embargoed, stranger, server, candidate];
        let spaces = hosts.into_iter().map(|host| &mut host.namespace).chain([gateway]);
        let keep = |space: &mut Namespace| {
            space.keep();
            space.name().to_owned()
        };
        spaces.chain(switches).map(keep).collect()
    }

    /// Wires the switch outside to `eth0` of this namespace instead of the gateway's port, which is gone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn wire_outside_to(&self, namespace: &Namespace) -> Result<(), Failure> {
        let [outside, _] = &self.switches;
        let peer = format!("type veth peer name uplink netns {}", outside.name());
        namespace.ip(&format!("link add eth0 {peer}"))?;
        plug_in_uplink(outside)
    }

    /// Puts a plain Linux bridge in the gateway's place: everything passes. For trying the laboratory itself.
    ///
    /// # Errors
    /// No bridge in this kernel.
    pub fn bridge_the_gateway(&self) -> Result<(), Failure> {
        bridge(&self.gateway)?;
        for port in [OUTSIDE_PORT, INSIDE_PORT] {
            self.gateway.ip(&format!("link set {port} master br0"))?;
        }
        Ok(())
    }
}

/// An end host: one namespace, one interface `eth0`, one address of each family.
#[derive(Debug)]
pub struct Host {
    /// What it is called in the laboratory.
    pub name: &'static str,
    /// Where it lives.
    pub namespace: Namespace,
    /// Its IPv4 address, in 198.18.0.0/15.
    pub v4: Ipv4Addr,
    /// Its IPv6 address, in `2001:2::/48`.
    pub v6: Ipv6Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
}

impl Host {
    /// The address of the family `version`.
    #[must_use]
    pub fn address(&self, version: IpVersion) -> IpAddr {
        match version {
            IpVersion::V4 => self.v4.into(),
            IpVersion::V6 => self.v6.into(),
        }
    }

    fn new(
        name: &'static str,
        switch: &Namespace,
        [subnet, last]: [u8; 2],
        v6: &str,
    ) -> Result<Self, Failure> {
        let namespace = Namespace::create(&name_of(name))?;
        let host = Self {
            name,
            namespace,
            // The stranger's network is the upper half of the /15.
            v4: Ipv4Addr::new(198, if subnet == 99 { 19 } else { 18 }, subnet, last),
            v6: v6.parse().map_err(|error| Failure::new(format!("parse {v6}"), error))?,
            mac: [2, 0, 0, 0, subnet, last],
        };
        host.wire_to(switch)?;
        Ok(host)
    }

    fn wire_to(&self, switch: &Namespace) -> Result<(), Failure> {
        let Self { name, namespace, v4, v6, mac } = self;
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        // No duplicate address detection, no router solicitation: the only frames are the ones a test sends.
        namespace.set("net/ipv6/conf/default/accept_dad", "0")?;
        namespace.set("net/ipv6/conf/default/router_solicitations", "0")?;
        let peer = format!("peer name {name} netns {}", switch.name());
        namespace.ip(&format!("link add eth0 address {mac} type veth {peer}"))?;
        namespace.ip(&format!("address add {v4}/15 dev eth0"))?;
        namespace.ip(&format!("address add {v6}/48 dev eth0 nodad"))?;
        namespace.ip("link set eth0 up")?;
        switch.ip(&format!("link set {name} master br0 up"))?;
        // A veth sender leaves TCP and UDP checksums to hardware that is not there; AF_XDP would pass them on unfinished.
        run(namespace.command("ethtool").args(["-K", "eth0", "tx", "off"])).map(drop)
    }
}

/// A switch with an uplink to the gateway's port `port`.
fn switch(name: &str, gateway: &Namespace, port: &str) -> Result<Namespace, Failure> {
    let switch = Namespace::create(&name_of(name))?;
    switch.set("net/ipv6/conf/default/disable_ipv6", "1")?;
    bridge(&switch)?;
    gateway.ip(&format!("link add {port} type veth peer name uplink netns {}", switch.name()))?;
    plug_in_uplink(&switch)?;
    gateway.ip(&format!("link set {port} up"))?;
    Ok(switch)
}

fn plug_in_uplink(switch: &Namespace) -> Result<(), Failure> {
    switch.ip("link set uplink master br0 up")?;
    // The bridge takes VLAN tags out of frames and leaves their insertion to hardware that is not there: XDP behind veth would
    // not see them, and they would be lost.
    run(switch.command("ethtool").args(["-K", "uplink", "txvlan", "off"])).map(drop)
}

fn bridge(namespace: &Namespace) -> Result<(), Failure> {
    // Where the kernel has bridge filtering, it would drop malformed packets before the gateway can. Nothing to do elsewhere.
    for family in ["arp", "ip", "ip6"] {
        let _ = namespace.set(&format!("net/bridge/bridge-nf-call-{family}tables"), "0");
    }
    namespace.ip("link add br0 type bridge stp_state 0 mcast_snooping 0")?;
    namespace.ip("link set br0 up")
}

fn name_of(place: &str) -> String {
    format!("rv{}-{place}", process::id())
}

/// Says what is missing before anything is built: root and the tools.
///
/// # Errors
/// All that is missing, in one message.
pub fn check_prerequisites() -> Result<(), Failure> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root (namespaces and AF_XDP need it)".to_owned());
    }
    for (tool, question) in
        [("ip", "-V"), ("ethtool", "--version"), ("tcpdump", "--version"), ("ping", "-V")]
    {
        if run(Command::new(tool).arg(question)).is_err() {
            missing.push(format!("`{tool}` (run `.ci/setup`)"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new("prepare the laboratory", format!("missing: {}", missing.join(", "))))
}
