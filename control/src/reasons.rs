//! Why frames are dropped, in words: what each of the data plane's reasons means, and what a person does about it.

/// A reason as the data plane counts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DropReason {
    /// Its stable name in `status` and settings.
    pub name: &'static str,
    /// What was wrong with the frame, in a sentence without a full stop.
    pub meaning: &'static str,
    /// What to look at or to change, likewise.
    pub advice: &'static str,
    /// Whether `countOnly` may name it.
    pub can_be_counted_only: bool,
}

/// The reason with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static DropReason> {
    ALL.iter().find(|reason| reason.name == name)
}

/// A reason that always drops.
const fn drops(name: &'static str, meaning: &'static str, advice: &'static str) -> DropReason {
    DropReason { name, meaning, advice, can_be_counted_only: false }
}

/// A reason that a setting can have counted only.
const fn checks(name: &'static str, meaning: &'static str, advice: &'static str) -> DropReason {
    DropReason { name, meaning, advice, can_be_counted_only: true }
}

/// Every reason, in the order in which a frame meets them.
pub const ALL: &[DropReason] = &[
    drops(
        "no-policy",
        "no policy was in force",
        "`ravelin status` says why; `ravelin check` says what is wrong with the documents",
    ),
    drops(
        "malformed",
        "the frame is too short, or its headers contradict each other",
        "record the frames on this port and look for the sender that damages them",
    ),
    drops(
        "vlan-tags",
        "the frame carries more than two VLAN tags",
        "take the outer tags off before the gateway",
    ),
    drops(
        "non-ip",
        "the frame is neither IP, ARP nor neighbour discovery",
        "`nonIp = \"pass\"` of the port lets such frames pass, unjudged",
    ),
    checks(
        "checksum",
        "a checksum is wrong",
        "look for a damaged link, or for a virtual interface that leaves checksums to hardware it has not: \
         `checksums = \"complete\"` in `[sanity]`",
    ),
    checks(
        "hop-limit",
        "the time to live or hop limit is 0",
        "look for a routing loop before this port",
    ),
    checks(
        "ip-option",
        "an IPv4 option that must not pass (RFC 7126)",
        "few programs need one: find out which sends it",
    ),
    checks(
        "extension-header",
        "an IPv6 extension header or option that must not pass (RFC 9288), or too many of them",
        "few programs need one: find out which sends it",
    ),
    checks(
        "source-route",
        "the packet carries its own route, so that it ends elsewhere than rules see",
        "nothing honest sends this today: find the sender",
    ),
    checks(
        "bogon-source",
        "the source is an address that no packet may come from (RFC 6890)",
        "find the sender; `specialPurpose` in `[sanity]` replaces the table of such addresses",
    ),
    checks(
        "bogon-destination",
        "the destination is an address that no packet may be forwarded to (RFC 6890)",
        "find the sender; `specialPurpose` in `[sanity]` replaces the table of such addresses",
    ),
    checks(
        "spoofed-source",
        "the source does not live behind this port, or lives behind the other one",
        "compare `networks` of both ports with what is really behind them, else find the sender",
    ),
    checks(
        "land",
        "source and destination are one address",
        "nothing honest sends this: find the sender",
    ),
    checks(
        "arp",
        "ARP that is not for IPv4 over Ethernet, or contradicts its frame",
        "find the sender: it claims addresses of others, or is broken",
    ),
    checks(
        "neighbour-discovery",
        "neighbour discovery that did not come from this link, or hides what it is",
        "find the sender: it claims addresses of others, or is broken",
    ),
    drops(
        "fragment-invalid",
        "a fragment that cannot be part of any datagram",
        "nothing honest sends this: find the sender",
    ),
    drops(
        "fragment-overlap",
        "fragments of one datagram overlap, so that all of it was discarded (RFC 5722), or one came twice",
        "nothing honest sends this: find the sender",
    ),
    drops(
        "fragment-timeout",
        "a datagram of which not all fragments came in time",
        "look for loss before this port",
    ),
    drops(
        "fragment-limit",
        "no room for more fragments, in all or of this source",
        "look for a flood of fragments; honest senders can avoid them with a smaller MTU",
    ),
    checks(
        "tcp-flags",
        "control bits that no TCP sends together",
        "this is a port scan: find the sender",
    ),
    drops(
        "tcp-not-opening",
        "a TCP segment of no known connection",
        "connections older than the gateway's memory must be opened anew; when replies go past this gateway, make \
         them come through, or set `midStream = \"judge\"` of the port",
    ),
    checks(
        "tcp-window",
        "a TCP segment whose numbers its peers cannot have meant",
        "one direction may go past this gateway, or somebody guesses at connections of others",
    ),
    checks(
        "tcp-closed",
        "a TCP segment with data, or a new one, of a connection that is closed",
        "the sender has not noticed that the connection is over; nothing to do unless it is many",
    ),
    checks(
        "icmp-type",
        "an ICMP message that is never forwarded (RFC 4890)",
        "routers send redirects and the like to their own link only: find the sender",
    ),
    checks(
        "icmp-unmatched",
        "an ICMP error about, or a reply to, nothing that is known",
        "replies to what a flow sent before it ended are harmless; many are a scan or a flood",
    ),
    drops(
        "policy-denied",
        "policy denies it",
        "`ravelin trace` says which rule and why; the flow log has each such packet",
    ),
    checks(
        "half-open-limit",
        "too many connections that were never completed",
        "look for a SYN flood with `ravelin flows --count`; `[flows.limits]` sets the limits",
    ),
    checks(
        "source-flow-limit",
        "its source has too many flows",
        "`ravelin flows --src` shows them; `flowsPerSource` in `[flows.limits]` is the limit",
    ),
    checks(
        "new-flow-rate",
        "its source opens flows too fast",
        "`newFlowsPerSource` in `[flows.limits]` is the limit",
    ),
    drops(
        "flow-table-full",
        "the flow table has no room for its flow",
        "`ravelin flows --count` shows what fills it; `flowsMax` in `[dataplane]` is its size",
    ),
    drops(
        "transmit-ring-full",
        "the other port could not send as fast as this one received",
        "look at the other port's link speed, `cores` and `framesPerQueue`",
    ),
    drops(
        "internal",
        "a mistake of the gateway's own",
        "please report it with the log of the data plane",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_and_sentences_have_no_full_stop() {
        for reason in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == reason.name).count(), 1);
            for text in [reason.meaning, reason.advice] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}", reason.name);
            }
        }
    }
}
