//! Everything is tried with both families of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::device::Port;

use crate::craft::{Connection, ICMP, ICMPV6, UDP, frame, icmp, ip, udp};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The address of client number `n`, below 2^24.
    pub(crate) fn client(self, n: u32) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(0x0a00_0000 | n & 0x00ff_ffff).into(),
            Self::V6 => Ipv6Addr::from(0x2001_0002_0000_000a_u128 << 64 | u128::from(n)).into(),
        }
    }

    /// The address of server number `n`, below 2^16, which policy protects.
    pub(crate) fn server(self, n: u32) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(0xc613_0000 | n & 0xffff).into(),
            Self::V6 => Ipv6Addr::from(0x2001_0002_0000_000b_u128 << 64 | u128::from(n)).into(),
        }
    }

    /// A connection from client `n` to port 80 of the first server.
    pub(crate) fn web(self, n: u32) -> Connection {
        Connection {
            ends: [self.client(n), self.server(1)],
            ports: [40_000, 80],
            isn: [0x1000_0000, 0x7000_0000],
            windows: [8192; 2],
        }
    }

    /// A UDP datagram of client `n` to port 53 of the first server, or the answer to it.
    pub(crate) fn datagram(self, n: u32, from: Port, data: &[u8]) -> Vec<u8> {
        let (src, dst) = (self.client(n), self.server(1));
        let (src, dst, ports) = match from {
            Port::A => (src, dst, [5353, 53]),
            Port::B => (dst, src, [53, 5353]),
        };
        frame(from, &ip(src, dst, UDP, udp(src, dst, ports, data)))
    }

    /// An echo request of client `n` to the first server, or the answer to it.
    pub(crate) fn echo(self, n: u32, from: Port, identifier: u16) -> Vec<u8> {
        let (client, server) = (self.client(n), self.server(1));
        let (src, dst) = if from == Port::A { (client, server) } else { (server, client) };
        let (protocol, kinds) = match self {
            Self::V4 => (ICMP, [8, 0]),
            Self::V6 => (ICMPV6, [128, 129]),
        };
        let [high, low] = identifier.to_be_bytes();
        let kind = kinds[from.index()];
        frame(from, &ip(src, dst, protocol, icmp(src, dst, [kind, 0], [high, low, 0, 1], b"echo")))
    }
}
