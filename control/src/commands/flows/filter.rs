//! Which flows are meant.

use std::net::IpAddr;

use classifier::handover::flows::Conversation;
use classifier::image::View;
use classifier::label::Labels;
use classifier::packet::Transport;
use classifier::selector::Selector;
use ipnet::IpNet;

use crate::commands::trace::parse_protocol;

/// Arguments that say which flows are meant: those that all of them match.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct FilterArguments {
    /// Flows of which one end has labels that this selector matches
    #[arg(short, long = "label", value_name = "SELECTOR")]
    label: Option<String>,
    /// Flows opened from this network or address
    #[arg(long, value_name = "CIDR", value_parser = parse_net)]
    src: Option<IpNet>,
    /// Flows opened to this network or address
    #[arg(long, value_name = "CIDR", value_parser = parse_net)]
    dst: Option<IpNet>,
    /// Flows with this port, at either end
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Flows of this protocol: tcp, udp, icmp, icmpv6, sctp, or its number
    #[arg(long = "proto", visible_alias = "protocol", value_name = "PROTOCOL",
          value_parser = parse_protocol)]
    protocol: Option<u8>,
}

impl FilterArguments {
    /// What they say.
    ///
    /// # Errors
    /// Why the selector is none.
    pub(super) fn read(&self) -> Result<Filter, String> {
        let Self { label, src, dst, port, protocol } = self;
        let selector = label.as_deref().map(|text| {
            let refused = |error| format!("`-l {text}` is no selector: {error}");
            Selector::parse(text).map_err(refused)
        });
        let selector = selector.transpose()?;
        Ok(Filter { selector, src: *src, dst: *dst, port: *port, protocol: *protocol })
    }
}

/// Which flows are meant; one without any part means all.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    selector: Option<Selector>,
    src: Option<IpNet>,
    dst: Option<IpNet>,
    port: Option<u16>,
    protocol: Option<u8>,
}

impl Filter {
    pub(super) fn is_empty(&self) -> bool {
        let Self { selector, src, dst, port, protocol } = self;
        selector.is_none() && src.is_none() && dst.is_none() && port.is_none() && protocol.is_none()
    }

    /// Whether this flow is meant. Without an image nothing has labels.
    pub(super) fn takes(&self, flow: &Conversation, names: Option<&View<'_>>) -> bool {
        let Self { selector, src, dst, port, protocol } = self;
        let within =
            |net: &Option<IpNet>, address: IpAddr| net.is_none_or(|net| net.contains(&address));
        let is_selected = |selector: &Selector| {
            [flow.src, flow.dst].into_iter().any(|end| selects(selector, end, names))
        };
        within(src, flow.src)
            && within(dst, flow.dst)
            && protocol.is_none_or(|protocol| protocol == flow.protocol)
            && port.is_none_or(|port| has_port(flow, port))
            && selector.as_ref().is_none_or(is_selected)
    }
}

fn has_port(flow: &Conversation, port: u16) -> bool {
    match flow.packet().transport {
        Transport::Ports { src, dst } => src == port || dst == port,
        Transport::Icmp { .. } | Transport::Opaque => false,
    }
}

/// As everywhere, what no object covers has no labels and is selected by nothing.
fn selects(selector: &Selector, address: IpAddr, names: Option<&View<'_>>) -> bool {
    let object = names.and_then(|view| view.object_of(address));
    object.is_some_and(|object| selector.matches(&object.labels().collect::<Labels>()))
}

/// A network, or an address for the network of just that.
fn parse_net(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let net = text.parse::<IpNet>().or_else(|_| address());
    net.map(|net| net.trunc())
        .map_err(|_| "expected a network or an address, such as 198.18.10.0/24".to_owned())
}

#[cfg(test)]
mod tests {
    use classifier::packet::protocol;

    use super::*;

    fn flow(protocol: u8, numbers: [u16; 2]) -> Conversation {
        Conversation {
            src: "198.18.10.5".parse().unwrap(),
            dst: "198.18.70.9".parse().unwrap(),
            protocol,
            numbers,
            vlans: [None; 2],
            in_port: 0,
        }
    }

    fn takes(arguments: &FilterArguments, flow: &Conversation) -> bool {
        arguments.read().unwrap().takes(flow, None)
    }

    #[test]
    fn every_part_must_match() {
        let ssh = flow(protocol::TCP, [40_000, 22]);
        let net = |text| Some(parse_net(text).unwrap());
        let all = FilterArguments {
            src: net("198.18.10.0/24"),
            dst: net("198.18.70.9"),
            port: Some(22),
            protocol: Some(protocol::TCP),
            label: None,
        };
        assert!(takes(&all, &ssh) && takes(&FilterArguments::default(), &ssh));
        assert!(takes(&FilterArguments { port: Some(40_000), ..all.clone() }, &ssh));
        for other in [
            FilterArguments { src: net("198.18.70.0/24"), ..all.clone() },
            FilterArguments { dst: net("2001:2::/48"), ..all.clone() },
            FilterArguments { port: Some(23), ..all.clone() },
            FilterArguments { protocol: Some(protocol::UDP), ..all.clone() },
            FilterArguments { label: Some("all()".to_owned()), ..all },
        ] {
            assert!(!takes(&other, &ssh), "{other:?}");
        }
    }

    #[test]
    fn the_identifier_of_a_query_is_no_port() {
        let port = FilterArguments { port: Some(8), ..FilterArguments::default() };
        assert!(!takes(&port, &flow(protocol::ICMP, [8, 8])));
    }

    #[test]
    fn a_filter_of_nothing_is_empty_and_a_wrong_selector_is_said() {
        assert!(FilterArguments::default().read().unwrap().is_empty());
        let label = |text: &str| FilterArguments {
            label: Some(text.to_owned()),
            ..FilterArguments::default()
        };
        assert!(!label("all()").read().unwrap().is_empty());
        let error = label("role = 'x'").read().unwrap_err();
        assert!(error.starts_with("`-l role = 'x'` is no selector: "), "{error}");
    }
}
