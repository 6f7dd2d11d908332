//! The spellings of e-mail addresses.
//!
//! A domain has many spellings: `MÜLLER.de`, `müller.de` and `xn--mller-kva.de` are one domain. Browsers send the last
//! one, and mail servers without SMTPUTF8 accept only that. So Tessera stores domains in this form (UTS 46, as browsers
//! do it). Rows of earlier versions can have others.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// Returns an address without the white space and the invisible characters around it, which come with copied text.
pub fn trimmed(address: &str) -> &str {
    let is_blank = |char: char| {
        char.is_whitespace() || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
    };
    address.trim_matches(is_blank)
}

/// Returns the ASCII spelling of a domain: letters, digits and hyphens in lower case. `None` if it is not a domain of the
/// internet.
pub fn ascii_domain(domain: &str) -> Option<String> {
    let (hyphens, length) = (Hyphens::CheckFirstLast, DnsLength::Verify);
    let deny = AsciiDenyList::STD3;
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), deny, hyphens, length).ok()?;
    Some(ascii.into_owned())
}

/// Returns an address with the ASCII spelling of its domain. If it has none, the domain is only put into lower case.
pub fn with_ascii_domain(address: &str) -> String {
    let address = trimmed(address);
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_owned() };
    let domain = ascii_domain(domain).unwrap_or_else(|| domain.to_ascii_lowercase());
    format!("{local}@{domain}")
}

/// Returns one spelling for all spellings of an address, in lower case. Limits count by it.
pub fn folded(address: &str) -> String {
    with_ascii_domain(address).to_ascii_lowercase()
}

/// Returns true if two texts are spellings of one address.
pub fn are_same(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

/// Returns the spellings under which a row can have an address, in lower case (ASCII): first as it was typed, then as new
/// rows have it, then as rows of earlier versions can have it. Most addresses have one spelling.
pub fn spellings(address: &str) -> Vec<String> {
    let (typed, folded) = (trimmed(address).to_ascii_lowercase(), folded(address));
    let mut spellings = vec![typed];
    if let Some((local, domain)) = folded.rsplit_once('@') {
        let (unicode, valid) =
            Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow);
        let unicode = if valid.is_ok() { unicode } else { domain.into() };
        // Earlier versions put only ASCII letters into lower case: MÜLLER.de became mÜller.de.
        let upper = unicode.to_uppercase().to_ascii_lowercase();
        let older = [format!("{local}@{unicode}"), format!("{local}@{upper}")];
        for spelling in std::iter::once(folded.clone()).chain(older) {
            if !spellings.contains(&spelling) {
                spellings.push(spelling);
            }
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_domain_are_one_address() {
        for typed in [
            "kontakt@m\u{fc}ller.de",
            "Kontakt@M\u{dc}LLER.de",
            "kontakt@m\u{dc}ller.DE",
            "kontakt@mu\u{308}ller.de",
            "kontakt@XN--MLLER-KVA.de",
            "kontakt@m\u{fc}ller\u{3002}de",
            " kontakt@m\u{fc}ller.de\u{a0}",
            "\u{feff}kontakt@\u{ff4d}\u{fc}ller.de\u{200b}\n",
        ] {
            assert_eq!(folded(typed), "kontakt@xn--mller-kva.de", "{typed}");
            let known =
                ["kontakt@xn--mller-kva.de", "kontakt@m\u{fc}ller.de", "kontakt@m\u{dc}ller.de"];
            let spellings = spellings(typed);
            assert!(known.iter().all(|known| spellings.iter().any(|one| one == known)), "{typed}");
        }
        assert_eq!(spellings(" First@User.com "), ["first@user.com"]);
        assert_eq!(spellings("build-1"), ["build-1"]);
        assert_eq!(spellings("a@B_c.co"), ["a@b_c.co"]);
        // Another domain, not another spelling.
        assert!(!are_same("a@stra\u{df}e.de", "a@strasse.de"));
        assert_eq!(with_ascii_domain("First@B\u{fc}cher.example"), "First@xn--bcher-kva.example");
    }
}
