//! The addresses that a request can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Reach;

/// Returns true if a request can go to an address. If an address stands for another one, both must be reachable.
pub(super) fn is_reachable(address: IpAddr, reach: Reach) -> bool {
    let (address, beside) = meaning(address);
    if let Some(beside) = beside
        && !is_reachable(IpAddr::V4(beside), reach)
    {
        return false;
    }
    match (address, reach) {
        (IpAddr::V4(address), Reach::Public) => is_public_v4(address) && !is_metadata_v4(address),
        (IpAddr::V6(address), Reach::Public) => is_public_v6(address),
        (IpAddr::V4(address), Reach::Private) => {
            !is_metadata_v4(address)
                && !address.is_multicast()
                && !address.is_broadcast()
                && address.octets()[0] != 0
        }
        (IpAddr::V6(address), Reach::Private) => {
            !is_metadata_v6(address) && !address.is_multicast() && !address.is_unspecified()
        }
    }
}

/// The address that an address means, and an IPv4 address that a gateway may read in it besides.
///
/// Mapped, compatible and translated addresses, NAT64 and 6to4 mean the IPv4 address that they contain. The last part
/// of an ISATAP address is an IPv4 address in any network.
fn meaning(address: IpAddr) -> (IpAddr, Option<Ipv4Addr>) {
    let IpAddr::V6(six) = address else { return (address, None) };
    let octets = six.octets();
    let four =
        |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => {
            (IpAddr::V4(four(12)), None)
        }
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => (IpAddr::V4(four(12)), None),
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => (IpAddr::V4(four(12)), None),
        [0x2002, ..] => (IpAddr::V4(four(2)), None),
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => (address, Some(four(12))),
        _ => (address, None),
    }
}

/// The addresses at which clouds give the secrets of a server. No provider is there, so no entry reaches them.
fn is_metadata_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        // Oracle, in a network for protocols alone.
        [192, 0, 0, _] => true,
        // Alibaba, and the host of a server of Azure.
        [100, 100, 100, 200] | [168, 63, 129, 16] => true,
        _ => address.is_link_local(),
    }
}

/// Like [`is_metadata_v4`]. Addresses that lead to an IPv4 address in a way that only a gateway knows count too.
fn is_metadata_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Amazon, Google and Scaleway.
        [0xfd00, 0xec2 | 0x42, ..] | [0xfd20, 0xce, ..] => true,
        // NAT64 in the own network, whose form its operator chooses, and Teredo.
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => true,
        _ => address.is_unicast_link_local(),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let special = match (first, second, third) {
        // This network, and the reserved, multicast and broadcast addresses.
        (0 | 224..=255, _, _) => true,
        // Shared addresses of providers (RFC 6598), protocol assignments and benchmarks.
        (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _) => true,
        // The former anycast address of 6to4.
        (192, 88, 99) => true,
        _ => false,
    };
    !special
        && !address.is_private()
        && !address.is_loopback()
        && !address.is_link_local()
        && !address.is_documentation()
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only global unicast (2000::/3), without Teredo, ORCHID, benchmarks and documentation.
    let segments = address.segments();
    let special = matches!(
        (segments[0], segments[1]),
        (0x2001, 0..=0x1ff) | (0x2001, 0xdb8) | (0x3fff, 0..=0xfff)
    );
    segments[0] & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address, and if it is reached from a public and from a private entry.
    const TABLE: &[(&str, bool, bool)] = &[
        ("93.184.216.34", true, true),
        ("8.8.8.8", true, true),
        ("2606:4700::1111", true, true),
        ("127.0.0.1", false, true),
        ("127.1.2.3", false, true),
        ("10.1.2.3", false, true),
        ("172.16.0.1", false, true),
        ("172.32.0.1", true, true),
        ("192.168.1.1", false, true),
        ("100.64.0.1", false, true),
        ("100.128.0.1", true, true),
        ("0.0.0.0", false, false),
        ("255.255.255.255", false, false),
        ("224.0.0.1", false, false),
        ("240.0.0.1", false, true),
        ("192.0.2.1", false, true),
        ("198.18.0.1", false, true),
        ("::", false, false),
        ("::1", false, true),
        ("::7f00:1", false, true),
        ("::ffff:127.0.0.1", false, true),
        ("::ffff:8.8.8.8", true, true),
        ("::ffff:0:8.8.8.8", true, true),
        ("64:ff9b::a00:1", false, true),
        ("64:ff9b::808:808", true, true),
        ("2002:a00:1::", false, true),
        ("2606:4700::5efe:808:808", true, true),
        ("2606:4700::5efe:a00:1", false, true),
        ("2001:db8::1", false, true),
        ("fe80::1", false, false),
        ("fc00::1", false, true),
        ("fd00:ec3::254", false, true),
        ("fd00::1", false, true),
        ("fec0::1", false, true),
        ("ff02::1", false, false),
        // Every form of an address in the own network's NAT64, and Teredo.
        ("64:ff9b:1::a00:1", false, false),
        ("64:ff9b:1:a00:0:100::", false, false),
        ("64:ff9b:1:ffff:ffff:ffff:808:808", false, false),
        ("2001::1", false, false),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", false, false),
        // Amazon, Google and Scaleway.
        ("fd00:ec2::254", false, false),
        ("fd00:ec2::23", false, false),
        ("fd20:ce::254", false, false),
        ("fd00:42::42", false, false),
        ("fe80::a9fe:a9fe", false, false),
    ];

    #[test]
    fn only_public_addresses_are_reached_unless_a_provider_is_private() {
        for (text, public, private) in TABLE {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(is_reachable(address, Reach::Public), *public, "{text} public");
            assert_eq!(is_reachable(address, Reach::Private), *private, "{text} private");
        }
    }

    /// The forms in which an IPv6 address contains an IPv4 address.
    fn forms(four: Ipv4Addr) -> Vec<String> {
        let [a, b, c, d] = four.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        vec![
            four.to_string(),
            format!("::ffff:{four}"),
            format!("::{four}"),
            format!("::ffff:0:{four}"),
            format!("64:ff9b::{four}"),
            // The lengths of prefixes of RFC 6052.
            format!("64:ff9b:1::{four}"),
            format!("64:ff9b:1:{high:x}:{:x}:{:x}::", u16::from(c), u16::from(d) << 8),
            format!("2002:{high:x}:{low:x}::1"),
            format!("2001:0:{high:x}:{low:x}::"),
            format!("2001:0:4136:e378:8000:63bf:{:x}:{:x}", !high, !low),
            format!("fd12:3456::5efe:{four}"),
            format!("fd12:3456::200:5efe:{four}"),
            format!("2606:4700::200:5efe:{four}"),
        ]
    }

    #[test]
    fn no_entry_reaches_the_secrets_of_a_cloud_in_any_form() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.23",
            "169.254.255.255",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
        ] {
            for form in forms(text.parse().unwrap()) {
                let address: IpAddr = form.parse().unwrap();
                for reach in [Reach::Public, Reach::Private] {
                    assert!(!is_reachable(address, reach), "{form} {reach:?}");
                }
            }
        }
    }
}
