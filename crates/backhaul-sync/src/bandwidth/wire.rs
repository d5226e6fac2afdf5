//! What HTTP traffic comes to on the wire: an estimate, where the bytes of the network
//! itself cannot be counted.

/// A TLS 1.3 record: 5 bytes of header, 1 of content type, 16 of authentication tag.
const TLS_RECORD: u64 = 22;
/// The most that one record carries (RFC 8446, section 5.1).
const TLS_RECORD_PAYLOAD: u64 = 1 << 14;
/// A packet: 40 bytes of IPv6 header (IPv4: 20), 20 of TCP and 12 of its timestamps.
const PACKET: u64 = 72;
/// What a packet carries on a link with 1,500 bytes, less what tunnels and carriers take.
const PACKET_PAYLOAD: u64 = 1_400;

/// What opening a connection costs, both ways together: name lookup, TCP's and TLS 1.3's
/// handshakes with a chain of three certificates, and the closing. An estimate.
pub const CONNECTION_BYTES: u64 = 6_500;

/// What bytes of HTTP come to on the wire: themselves, TLS records, TCP and IP headers, and
/// an acknowledgement for every second packet. About 8 % more. An estimate, on the careful
/// side: lost packets and small writes cost more, larger packets and IPv4 less.
///
/// ```
/// use backhaul_sync::wire_bytes;
/// assert_eq!(wire_bytes(0), 0);
/// assert_eq!(wire_bytes(1), 1 + 22 + 72 + 72);
/// assert_eq!(wire_bytes(1_000_000), 1_078_692);
/// ```
pub fn wire_bytes(http_bytes: u64) -> u64 {
    let records = http_bytes.div_ceil(TLS_RECORD_PAYLOAD).saturating_mul(TLS_RECORD);
    let payload = http_bytes.saturating_add(records);
    let packets = payload.div_ceil(PACKET_PAYLOAD);
    let acknowledgements = packets.div_ceil(2);
    payload.saturating_add((packets + acknowledgements).saturating_mul(PACKET))
}
