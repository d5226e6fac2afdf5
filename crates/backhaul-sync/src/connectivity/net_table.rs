//! Interfaces that run, addresses, and default routes, as netlink's messages tell of them.
//!
//! The kernel repeats itself: when a wireless interface scans, when a router announces
//! itself. Only what differs from what was known is a change. What there was before the
//! first message is not asked for: of that, the first word counts as a change.
//!
//! Messages are those of linux/netlink.h, if_link.h, if_addr.h and rtnetlink.h, in the
//! machine's own byte order. One that is cut short or of an unknown kind is passed over.

use std::collections::BTreeMap;

use super::link_events::LinkChange;

/// Whether something is there, as it was last told; what was deleted is not kept.
#[derive(Debug, Default)]
pub(super) struct NetTable(BTreeMap<Entry, bool>);

/// Something of an interface that can come and go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    interface: u32,
    kind: Kind,
}

/// Addresses are kept as they stand in the message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The interface is up and has a carrier: packets can leave.
    Carrier,
    /// It may be used as well: it is known to its wireless network, for instance. The
    /// kernel may take a second to say so of one that has no such conditions.
    Running,
    Address(Vec<u8>),
    /// With its gateway.
    DefaultRoute(Vec<u8>),
}

/// `nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x1_0000;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// The address is not known yet to be the only one of its kind on the link.
const IFA_F_TENTATIVE: u8 = 0x40;
/// Addresses of this scope and above lead to neighbours at most.
const RT_SCOPE_LINK: u8 = 253;

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTN_UNICAST: u8 = 1;

impl NetTable {
    /// Takes the messages of a datagram; gives the changes, each kind once.
    pub(super) fn read(&mut self, mut datagram: &[u8]) -> Vec<LinkChange> {
        let mut changes = Vec::new();
        while let Some((length, kind)) = u32_at(datagram, 0).zip(u16_at(datagram, 4)) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let Some(body) = datagram.get(HEADER..length) else { break };
            for (entry, is_there) in told(kind, body) {
                let is_news = self.note(kind, &entry, is_there);
                let change = if is_there { LinkChange::Up } else { LinkChange::Down };
                if is_news && !changes.contains(&change) {
                    changes.push(change);
                }
            }
            datagram = datagram.get(aligned(length)..).unwrap_or_default();
        }
        changes
    }

    /// Whether it was not known.
    fn note(&mut self, kind: u16, entry: &Entry, is_there: bool) -> bool {
        let known = match kind {
            RTM_NEWLINK | RTM_NEWADDR | RTM_NEWROUTE => self.0.insert(entry.clone(), is_there),
            _ => self.0.remove(entry),
        };
        if !is_there {
            // With it may go routes of IPv4, of which the kernel says nothing.
            let is_route = |it: &Entry| matches!(it.kind, Kind::DefaultRoute(_));
            self.0.retain(|it, _| it.interface != entry.interface || !is_route(it));
        }
        known != Some(is_there)
    }
}

/// What a message tells is there, or is not.
fn told(kind: u16, body: &[u8]) -> Vec<(Entry, bool)> {
    let entries = match kind {
        RTM_NEWLINK | RTM_DELLINK => return link(kind == RTM_NEWLINK, body).unwrap_or_default(),
        RTM_NEWADDR | RTM_DELADDR => address(body),
        RTM_NEWROUTE | RTM_DELROUTE => default_route(body),
        _ => None,
    };
    let is_there = matches!(kind, RTM_NEWADDR | RTM_NEWROUTE);
    entries.map(|entry| (entry, is_there)).into_iter().collect()
}

/// `ifinfomsg`: family, padding, type, index, flags, change.
fn link(exists: bool, body: &[u8]) -> Option<Vec<(Entry, bool)>> {
    let (interface, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    let has = |flag| exists && flags & IFF_UP != 0 && flags & flag != 0;
    let both = [(Kind::Carrier, IFF_LOWER_UP), (Kind::Running, IFF_RUNNING)];
    let told = both.map(|(kind, flag)| (Entry { interface, kind }, has(flag)));
    (flags & IFF_LOOPBACK == 0).then(|| told.into())
}

/// `ifaddrmsg`: family, prefix length, flags, scope, index; then attributes.
fn address(body: &[u8]) -> Option<Entry> {
    let (flags, scope, interface) = (*body.get(2)?, *body.get(3)?, u32_at(body, 4)?);
    let attributes = body.get(8..)?;
    // Of a point-to-point link, the latter is the other end's.
    let address = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS));
    let is_usable = scope < RT_SCOPE_LINK && flags & IFA_F_TENTATIVE == 0;
    let kind = Kind::Address(address?.to_vec());
    is_usable.then_some(Entry { interface, kind })
}

/// `rtmsg`: family, destination length, source length, service, table, protocol, scope,
/// type, flags; then attributes.
fn default_route(body: &[u8]) -> Option<Entry> {
    let (destination_length, kind) = (*body.get(1)?, *body.get(7)?);
    let attributes = body.get(12..)?;
    let interface = attribute(attributes, RTA_OIF).and_then(|value| u32_at(value, 0));
    let gateway = attribute(attributes, RTA_GATEWAY).unwrap_or_default().to_vec();
    // A route over several interfaces names none here.
    let entry =
        Entry { interface: interface.unwrap_or_default(), kind: Kind::DefaultRoute(gateway) };
    (destination_length == 0 && kind == RTN_UNICAST).then_some(entry)
}

/// The value of the first attribute of a kind: length, kind, value, padding.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, kind) = (usize::from(u16_at(attributes, 0)?), u16_at(attributes, 2)?);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

/// Messages and attributes begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message.resize(aligned(message.len()), 0);
        message
    }

    fn with_attributes(head: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = head.to_vec();
        for (kind, value) in attributes {
            body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(aligned(body.len()), 0);
        }
        body
    }

    fn link(kind: u16, interface: u8, flags: u32) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend(u32::from(interface).to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        body.extend([0; 4]);
        message(kind, &body)
    }

    fn address(kind: u16, flags: u8, scope: u8, address: &[u8]) -> Vec<u8> {
        let mut head = vec![2, 24, flags, scope];
        head.extend(7_u32.to_ne_bytes());
        let label: (u16, &[u8]) = (3, b"eth0\0");
        message(kind, &with_attributes(&head, &[label, (IFA_ADDRESS, address)]))
    }

    fn route(kind: u16, destination_length: u8, gateway: &[u8]) -> Vec<u8> {
        route_over(kind, destination_length, gateway, 7)
    }

    fn route_over(kind: u16, destination_length: u8, gateway: &[u8], interface: u32) -> Vec<u8> {
        let head = [2, destination_length, 0, 0, 254, 3, 0, RTN_UNICAST, 0, 0, 0, 0];
        message(
            kind,
            &with_attributes(&head, &[(RTA_GATEWAY, gateway), (RTA_OIF, &interface.to_ne_bytes())]),
        )
    }

    const CARRIER: u32 = IFF_UP | IFF_LOWER_UP;
    const RUNS: u32 = CARRIER | IFF_RUNNING;
    use LinkChange::{Down, Up};

    /// Datagrams of one table, and what each tells.
    #[track_caller]
    fn tells(steps: &[(Vec<u8>, &[LinkChange])]) {
        let mut table = NetTable::default();
        for (n, (datagram, expected)) in steps.iter().enumerate() {
            assert_eq!(table.read(datagram), *expected, "step {n}");
        }
    }

    #[test]
    fn an_interface_counts_while_it_is_up_with_a_carrier_and_once_more_when_it_may_be_used() {
        tells(&[
            (link(RTM_NEWLINK, 7, IFF_UP), &[Down]),
            (link(RTM_NEWLINK, 7, IFF_UP), &[]),
            (link(RTM_NEWLINK, 7, CARRIER), &[Up]),
            (link(RTM_NEWLINK, 7, CARRIER), &[]),
            (link(RTM_NEWLINK, 7, RUNS), &[Up]),
            (link(RTM_NEWLINK, 7, RUNS), &[]),
            (link(RTM_NEWLINK, 8, RUNS), &[Up]),
            (link(RTM_NEWLINK, 7, RUNS & !IFF_UP), &[Down]),
            (link(RTM_DELLINK, 8, RUNS), &[Down]),
            (link(RTM_DELLINK, 7, 0), &[]),
            (link(RTM_NEWLINK, 1, RUNS | IFF_LOOPBACK), &[]),
        ]);
    }

    #[test]
    fn an_address_counts_once_it_can_be_used_and_its_renewal_does_not() {
        let here = [10, 9, 0, 1];
        tells(&[
            (address(RTM_NEWADDR, IFA_F_TENTATIVE, 0, &here), &[]),
            (address(RTM_NEWADDR, 0, 0, &here), &[Up]),
            (address(RTM_NEWADDR, 0, 0, &here), &[]),
            (address(RTM_NEWADDR, 0, RT_SCOPE_LINK, &[169, 254, 0, 1]), &[]),
            (address(RTM_NEWADDR, 0, RT_SCOPE_LINK + 1, &[127, 0, 0, 1]), &[]),
            (address(RTM_DELADDR, 0, 0, &here), &[Down]),
        ]);
    }

    #[test]
    fn of_routes_only_default_ones_count() {
        tells(&[
            (route(RTM_NEWROUTE, 24, &[10, 9, 0, 2]), &[]),
            (route(RTM_NEWROUTE, 0, &[10, 9, 0, 2]), &[Up]),
            (route(RTM_NEWROUTE, 0, &[10, 9, 0, 2]), &[]),
            (route(RTM_NEWROUTE, 0, &[10, 9, 0, 3]), &[Up]),
            (route(RTM_DELROUTE, 0, &[10, 9, 0, 2]), &[Down]),
        ]);
    }

    #[test]
    fn of_what_there_was_before_the_first_word_is_news() {
        tells(&[
            (link(RTM_NEWLINK, 7, IFF_UP), &[Down]),
            (link(RTM_NEWLINK, 8, RUNS), &[Up]),
            (address(RTM_DELADDR, 0, 0, &[10, 9, 0, 2]), &[Down]),
            (route(RTM_DELROUTE, 0, &[10, 9, 0, 2]), &[Down]),
        ]);
    }

    #[test]
    fn what_was_deleted_is_not_remembered() {
        let mut table = NetTable::default();
        for interface in 2..200 {
            table.read(&link(RTM_NEWLINK, interface, RUNS));
            table.read(&link(RTM_NEWLINK, interface, 0));
            table.read(&link(RTM_DELLINK, interface, 0));
        }
        assert!(table.0.is_empty());
    }

    #[test]
    fn with_the_carrier_or_an_address_routes_go_without_a_word() {
        let (here, gateway) = ([10, 9, 0, 1], [10, 9, 0, 2]);
        let routes = |interface: u32| route_over(RTM_NEWROUTE, 0, &gateway, interface);
        tells(&[
            (link(RTM_NEWLINK, 7, RUNS), &[Up]),
            (address(RTM_NEWADDR, 0, 0, &here), &[Up]),
            (routes(7), &[Up]),
            (routes(8), &[Up]),
            (link(RTM_NEWLINK, 7, 0), &[Down]),
            (link(RTM_NEWLINK, 7, RUNS), &[Up]),
            (routes(7), &[Up]),
            (address(RTM_DELADDR, 0, 0, &here), &[Down]),
            (routes(7), &[Up]),
            (routes(8), &[]),
        ]);
    }

    #[test]
    fn a_datagram_of_several_messages_tells_each_change_once() {
        let up = [link(RTM_NEWLINK, 7, RUNS), address(RTM_NEWADDR, 0, 0, &[1; 16])].concat();
        let both = [link(RTM_NEWLINK, 7, 0), link(RTM_NEWLINK, 8, RUNS)].concat();
        tells(&[(up, &[Up]), (both, &[Down, Up])]);
    }

    #[test]
    fn bytes_without_sense_tell_nothing_and_end() {
        let whole = [link(RTM_NEWLINK, 7, RUNS), route(RTM_NEWROUTE, 0, &[1, 2, 3, 4])].concat();
        for length in 0..whole.len() {
            let cut = NetTable::default().read(&whole[..length]);
            assert!(cut.len() <= 1, "{length}");
        }
        for garbage in [vec![0; 64], vec![0xff; 64], message(RTM_NEWADDR, &[0xff; 40])] {
            assert_eq!(NetTable::default().read(&garbage), []);
        }
    }
}
