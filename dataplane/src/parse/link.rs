//! The Ethernet header, VLAN tags, and ARP.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{ArpHardwareId, ArpPacketSlice, EtherType, SingleVlanHeaderSlice, ether_type};

use super::inspection::Inspection;
use super::{Parsed, Vlans, behind, ipv4, ipv6};
use crate::disposition::{DropReason, Reasons};

/// A tag that stacked before IEEE 802.1ad gave stacking its own number, still common.
const VLAN_STACKED: EtherType = ether_type::VLAN_DOUBLE_TAGGED_FRAME;
/// Length of an Ethernet II header without a tag.
const ETHERNET_BYTES: usize = 14;
/// Length of one VLAN tag, with the `EtherType` that follows it.
const TAG_BYTES: usize = 4;

pub(super) fn read(look: &mut Inspection<'_>) -> Result<Parsed, DropReason> {
    let header = look.frame.first_chunk::<ETHERNET_BYTES>().ok_or(DropReason::Malformed)?;
    let [.., high, low] = *header;
    let ether_type = EtherType(u16::from_be_bytes([high, low]));
    let (ether_type, vlans, at) = look_through_tags(look.frame, ether_type)?;
    look.vlans = vlans;
    match ether_type {
        ether_type::IPV4 => ipv4::read(look, at),
        ether_type::IPV6 => ipv6::read(look, at),
        ether_type::ARP => arp(look, at),
        length if is_length(length) && is_ip_behind_llc(behind(look.frame, at)) => {
            Err(DropReason::NonIp)
        }
        _ => Ok(Parsed::NonIp),
    }
}

/// IEEE 802.3: what would be the `EtherType` is the length of the frame, and an LLC header follows.
fn is_length(ether_type: EtherType) -> bool {
    ether_type.0 < 0x0600
}

/// Whether a host that still reads such frames (RFC 948, RFC 1042) would find IP, ARP or a VLAN tag in it. Nobody looks into
/// it here, so no setting lets it pass.
fn is_ip_behind_llc(payload: &[u8]) -> bool {
    match payload {
        // LLC has a number of its own for IP.
        [0x06, ..] | [_, 0x06, ..] => true,
        // SNAP, whatever the organisation says that it is.
        [0xAA, 0xAA, _, _, _, _, high, low, ..] => {
            let ether_type = EtherType(u16::from_be_bytes([*high, *low]));
            is_tag(ether_type)
                || matches!(ether_type, ether_type::ARP | ether_type::IPV4 | ether_type::IPV6)
        }
        _ => false,
    }
}

/// The first `EtherType` that is no VLAN tag, the tags before it, and the position of what follows.
fn look_through_tags(
    frame: &[u8],
    mut ether_type: EtherType,
) -> Result<(EtherType, Vlans, usize), DropReason> {
    let mut at = ETHERNET_BYTES;
    let mut vlans: Vlans = [None; 2];
    for vlan in &mut vlans {
        if !is_tag(ether_type) {
            return Ok((ether_type, vlans, at));
        }
        let tag = SingleVlanHeaderSlice::from_slice(behind(frame, at));
        let tag = tag.map_err(|_| DropReason::Malformed)?;
        *vlan = Some(tag.vlan_identifier().value());
        ether_type = tag.ether_type();
        at += TAG_BYTES;
    }
    if is_tag(ether_type) {
        return Err(DropReason::VlanTags);
    }
    Ok((ether_type, vlans, at))
}

fn is_tag(ether_type: EtherType) -> bool {
    matches!(
        ether_type,
        ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING | VLAN_STACKED
    )
}

/// Passes below policy, so it must be what it says: addresses of Ethernet and IPv4, whole, from who sent the frame, and about
/// an address that may be there.
fn arp(look: &mut Inspection<'_>, at: usize) -> Result<Parsed, DropReason> {
    let arp = ArpPacketSlice::from_slice(behind(look.frame, at));
    let arp = arp.map_err(|_| DropReason::Malformed)?;
    let resolves_ipv4 = arp.hw_addr_type() == ArpHardwareId::ETHERNET
        && arp.hw_addr_size() == 6
        && arp.proto_addr_type() == ether_type::IPV4
        && arp.proto_addr_size() == 4;
    if !resolves_ipv4 {
        look.refuse(DropReason::Arp)?;
        return Ok(Parsed::Arp(look.noticed));
    }
    if look.frame.get(6..12) != Some(arp.sender_hw_addr()) {
        look.refuse(DropReason::Arp)?;
    }
    if let Some(sender) = arp.sender_protocol_addr().first_chunk::<4>() {
        for reason in wrong_sender(look, Ipv4Addr::from(*sender)).iter() {
            look.refuse(reason)?;
        }
    }
    Ok(Parsed::Arp(look.noticed))
}

/// A probe has no sender address yet (RFC 5227), and link-local addresses are for the link (RFC 3927).
fn wrong_sender(look: &Inspection<'_>, sender: Ipv4Addr) -> Reasons {
    if sender.is_unspecified() || sender.is_link_local() {
        return Reasons::default();
    }
    look.sanity.of_source(IpAddr::V4(sender), look.in_port)
}
