//! The packet that a trace asks about, from the command line.

use std::net::IpAddr;

use classifier::packet::{IpVersion, PacketKey, Side, Transport, protocol};

use crate::commands::ports::Ends;
use crate::settings::Settings;

/// A source port that a client might have: the first of the dynamic ports (RFC 6335 section 6).
const CLIENT_PORT: u16 = 49_152;
/// Echo request, the type asked about when none is given: RFC 792, RFC 4443 section 4.1.
const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

/// The packet and its way.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct PacketArguments {
    /// The port it comes in by, or the side: `outside`, `inside`
    #[arg(long = "in", value_name = "PORT", required_unless_present = "pcap")]
    pub(super) in_port: Option<String>,
    /// Source address
    #[arg(long, value_name = "ADDRESS", required_unless_present = "pcap", conflicts_with = "pcap")]
    src: Option<IpAddr>,
    /// Destination address
    #[arg(long, value_name = "ADDRESS", required_unless_present = "pcap", conflicts_with = "pcap")]
    dst: Option<IpAddr>,
    /// tcp, udp, icmp, icmpv6, sctp, or the number of another IP protocol
    #[arg(long = "proto", value_name = "PROTOCOL", value_parser = parse_protocol,
        required_unless_present = "pcap", conflicts_with = "pcap")]
    protocol: Option<u8>,
    /// Source port [default: 49152]
    #[arg(long, value_name = "N", conflicts_with = "pcap")]
    sport: Option<u16>,
    /// Destination port
    #[arg(long, value_name = "N", conflicts_with = "pcap")]
    dport: Option<u16>,
    /// ICMP type [default: echo request]
    #[arg(long, value_name = "N", conflicts_with = "pcap")]
    icmp_type: Option<u8>,
    /// ICMP code [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "pcap")]
    icmp_code: Option<u8>,
}

/// What to ask of an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Question {
    /// The packet.
    pub(super) packet: PacketKey,
    /// Its way through the gateway, from one port to the other.
    pub(super) ends: Ends,
}

impl PacketArguments {
    /// The question; `settings` know the names of ports.
    ///
    /// # Errors
    /// When the arguments do not fit together, in words.
    pub(super) fn question(&self, settings: Option<&Settings>) -> Result<Question, String> {
        let (Some(src), Some(dst), Some(protocol), Some(port)) =
            (self.src, self.dst, self.protocol, &self.in_port)
        else {
            return Err("a packet needs `--in`, `--src`, `--dst` and `--proto`".to_owned());
        };
        if IpVersion::of(src) != IpVersion::of(dst) {
            return Err(format!("`{src}` and `{dst}` are not of one IP version"));
        }
        let transport = self.transport(protocol)?;
        let from = side(port, settings)?;
        let packet = PacketKey { src, dst, protocol, transport };
        Ok(Question { packet, ends: Ends::across(from) })
    }

    fn transport(&self, protocol: u8) -> Result<Transport, String> {
        let ports = self.sport.is_some() || self.dport.is_some();
        let icmp = self.icmp_type.is_some() || self.icmp_code.is_some();
        match protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                let dst = self.dport.ok_or("this protocol has ports: give `--dport`")?;
                if icmp {
                    return Err(
                        "`--icmp-type` and `--icmp-code` are for icmp and icmpv6".to_owned()
                    );
                }
                Ok(Transport::Ports { src: self.sport.unwrap_or(CLIENT_PORT), dst })
            }
            _ if ports => Err("`--sport` and `--dport` are for tcp, udp and sctp".to_owned()),
            protocol::ICMP => Ok(self.icmp(ECHO_REQUEST_V4)),
            protocol::ICMPV6 => Ok(self.icmp(ECHO_REQUEST_V6)),
            _ if icmp => Err("`--icmp-type` and `--icmp-code` are for icmp and icmpv6".to_owned()),
            _ => Ok(Transport::Opaque),
        }
    }

    fn icmp(&self, echo_request: u8) -> Transport {
        let kind = self.icmp_type.unwrap_or(echo_request);
        Transport::Icmp { kind, code: self.icmp_code.unwrap_or(0) }
    }
}

/// The side of a port, which may also be named by its side.
pub(super) fn side(name: &str, settings: Option<&Settings>) -> Result<Side, String> {
    let ports = settings.map_or(&[][..], |settings| &settings.ports);
    let port = ports.iter().find(|port| port.interface == name);
    match (port, name) {
        (Some(port), _) => Ok(port.side),
        (None, "outside") => Ok(Side::Outside),
        (None, "inside") => Ok(Side::Inside),
        (None, name) => {
            let names: Vec<&str> = ports.iter().map(|port| port.interface.as_str()).collect();
            let known = if names.is_empty() {
                "without settings there are none".to_owned()
            } else {
                names.join(", ")
            };
            Err(format!("`{name}` is no port ({known}): expected one, or `outside` or `inside`"))
        }
    }
}

pub(in crate::commands) fn parse_protocol(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        "icmp" => Ok(protocol::ICMP),
        "tcp" => Ok(protocol::TCP),
        "udp" => Ok(protocol::UDP),
        "icmpv6" => Ok(protocol::ICMPV6),
        "sctp" => Ok(protocol::SCTP),
        number => number.parse().map_err(|_| {
            "expected tcp, udp, icmp, icmpv6, sctp, or a number from 0 to 255".to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Asked {
        #[arg(long)]
        pcap: bool,
        #[command(flatten)]
        packet: PacketArguments,
    }

    fn question(arguments: &str) -> Result<Question, String> {
        let arguments = format!("trace --src 198.18.0.1 --dst 198.19.0.1 {arguments}");
        let asked = Asked::try_parse_from(arguments.split(' ')).unwrap();
        asked.packet.question(None)
    }

    #[test]
    fn what_is_left_out_is_what_a_client_would_send() {
        let Question { packet, ends } = question("--in outside --proto tcp --dport 22").unwrap();
        assert_eq!(packet.transport, Transport::Ports { src: 49_152, dst: 22 });
        assert_eq!(ends, Ends { from: Side::Outside, to: Side::Inside });
        let Question { packet, ends } = question("--in inside --proto icmp").unwrap();
        assert_eq!(packet.transport, Transport::Icmp { kind: 8, code: 0 });
        assert_eq!(ends, Ends { from: Side::Inside, to: Side::Outside });
        let packet = question("--in inside --proto 47").unwrap().packet;
        assert_eq!((packet.protocol, packet.transport), (47, Transport::Opaque));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (arguments, expected) in [
            (
                "--in eth7 --proto icmp",
                "`eth7` is no port (without settings there are none): expected one, or `outside` or `inside`",
            ),
            ("--in outside --proto udp", "this protocol has ports: give `--dport`"),
            (
                "--in outside --proto 47 --dport 1",
                "`--sport` and `--dport` are for tcp, udp and sctp",
            ),
            (
                "--in outside --proto 47 --icmp-type 1",
                "`--icmp-type` and `--icmp-code` are for icmp and icmpv6",
            ),
        ] {
            assert_eq!(question(arguments).unwrap_err(), expected);
        }
        let mixed = "trace --in outside --src 198.18.0.1 --dst 2001:2::1 --proto 47";
        let asked = Asked::try_parse_from(mixed.split(' ')).unwrap();
        let expected = "`198.18.0.1` and `2001:2::1` are not of one IP version";
        assert_eq!(asked.packet.question(None).unwrap_err(), expected);
    }
}
