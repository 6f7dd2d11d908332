//! Stolen passwords: a filter made from lists that everybody who guesses passwords has. The filter is a file; Tessera
//! sends no request to another service. It recognises every password of its list, and takes one in 65,536 other
//! passwords for a stolen one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use xorf::{BinaryFuse16, Descriptor, Filter as _};

use super::Password;

const MAGIC: &[u8] = b"tessera breach filter 1\n";
const DESCRIPTOR: usize = 20;
const DIGEST: usize = 32;

/// A list of passwords that users cannot choose.
#[derive(Debug)]
pub struct Filter(BinaryFuse16);

impl Filter {
    /// Reads a filter that [`Builder`] made.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|error| format!("the file cannot be read: {error}"))?;
        let fault = || {
            "this is not a filter, or it is incomplete: `tessera breach build` makes one from a list of passwords"
                .to_owned()
        };
        let body = bytes.strip_prefix(MAGIC).ok_or_else(fault)?;
        let end = body.len().checked_sub(DIGEST).filter(|end| *end >= DESCRIPTOR);
        let (body, known) = body.split_at(end.ok_or_else(fault)?);
        if digest(&SHA256, body).as_ref() != known {
            return Err(fault());
        }
        let (descriptor, fingerprints) = body.split_at(DESCRIPTOR);
        let number = |place: usize| {
            let bytes = descriptor[place..place + 4].try_into().unwrap_or_default();
            u32::from_le_bytes(bytes)
        };
        Ok(Self(BinaryFuse16 {
            descriptor: Descriptor {
                seed: u64::from(number(0)) | u64::from(number(4)) << 32,
                segment_length: number(8),
                segment_length_mask: number(12),
                segment_count_length: number(16),
            },
            fingerprints: fingerprints
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect(),
        }))
    }

    /// Returns true if a password is in the list.
    pub fn contains(&self, password: &Password) -> bool {
        self.0.contains(&key_of(&password.stolen_digest()))
    }
}

/// The number of lines after which a list of another kind is recognised.
const SAMPLE: usize = 1000;

/// The mark at the beginning of a text in UTF-8. It is no part of the first password.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Beginnings of files that are not lists of lines.
const NOT_LINES: [(&[u8], &str); 16] = [
    (&[0x1f, 0x8b], "compressed with gzip: unpack it first"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"BZh", "compressed with bzip2: unpack it first"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "compressed with xz: unpack it first"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd: unpack it first"),
    (&[0x04, 0x22, 0x4d, 0x18], "compressed with lz4: unpack it first"),
    (b"Rar!\x1a\x07", "a rar archive: unpack it first"),
    (b"tessera breach filter", "a filter already: set BREACH_FILTER to it"),
    (b"\xff\xfe", "in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"),
    (b"\xfe\xff", "in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"),
    (b"SQLite format 3\0", "a SQLite database: export the passwords as lines of text"),
    (b"%PDF-", "a PDF document: Tessera needs lines of text"),
    (b"<!doctype", "a web page: the download failed, or needs another address"),
    (b"<html", "a web page: the download failed, or needs another address"),
    (b"<?xml", "an XML document: Tessera needs lines of text"),
];

/// The advice for digests of another kind.
const DIGESTS: &str = "Tessera can use passwords, or SHA-1 digests (40 hexadecimal digits), which Have I Been Pwned \
    offers beside NTLM digests";

/// The advice for lines that have more than a password.
const PAIRS: &str = "leave only the passwords, one on each line. Only after a SHA-1 digest (40 hexadecimal digits), a \
    colon and a number can follow";

/// The advice for a file that has bytes of the value 0.
const BINARY: &str =
    "Tessera needs lines of text, such as passwords or SHA-1 digests (40 hexadecimal digits)";

/// Makes a filter from a list.
#[derive(Debug, Default)]
pub struct Builder {
    keys: Vec<u64>,
    /// The number of lines of each kind that Tessera cannot compare passwords with.
    others: BTreeMap<(&'static str, &'static str), usize>,
}

impl Builder {
    /// Adds a line of a list: a password, or its SHA-1 digest in hexadecimal. A colon and the number of its occurrences
    /// can follow a digest.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, if the list is of another kind: no password would ever match it.
    pub fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let mut line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.keys.is_empty() {
            line = line.strip_prefix(MARK).unwrap_or(line);
            if let Some((_, what)) = NOT_LINES.iter().find(|(begin, _)| begins(line, begin)) {
                return Err(format!("the list is {what}"));
            }
        }
        if line.is_empty() {
            return Ok(());
        }
        if let Some(kind) = other_kind(line) {
            *self.others.entry(kind).or_default() += 1;
        }
        self.keys.push(key_of(&listed(line).unwrap_or_else(|| digest_of(line))));
        if self.keys.len() == SAMPLE { self.require_known_kind() } else { Ok(()) }
    }

    /// Checks that the list is not of another kind. A few passwords look like a digest.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, if most lines are digests of another kind.
    pub fn require_known_kind(&self) -> Result<(), String> {
        match self.others.iter().max_by_key(|(_, count)| **count) {
            Some(((kind, advice), count)) if *count * 2 > self.keys.len() => {
                Err(format!("the list contains {kind}: {advice}"))
            }
            _ => Ok(()),
        }
    }

    /// Writes the filter. Returns the number of different passwords in it.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn write(self, path: &Path) -> Result<usize, String> {
        let mut keys = self.keys;
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Err("the list contains no password".to_owned());
        }
        let filter = BinaryFuse16::try_from(&keys).map_err(ToOwned::to_owned)?;
        let Descriptor { seed, segment_length, segment_length_mask, segment_count_length } =
            filter.descriptor;
        let mut body = seed.to_le_bytes().to_vec();
        for number in [segment_length, segment_length_mask, segment_count_length] {
            body.extend(number.to_le_bytes());
        }
        body.extend(filter.fingerprints.iter().flat_map(|print| print.to_le_bytes()));
        let known = digest(&SHA256, &body);
        // First as a file beside it: a server that starts in the meantime must not read half a filter.
        let draft = path.with_extension("draft");
        fs::write(&draft, [MAGIC, &body, known.as_ref()].concat())
            .and_then(|()| fs::rename(&draft, path))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(keys.len())
    }
}

/// Returns true if a line begins with these bytes, whatever the case of ASCII letters.
fn begins(line: &[u8], begin: &[u8]) -> bool {
    line.get(..begin.len()).is_some_and(|line| line.eq_ignore_ascii_case(begin))
}

/// Returns what a line is and what to do, if it has a password or a digest that Tessera cannot compare with passwords.
fn other_kind(line: &[u8]) -> Option<(&'static str, &'static str)> {
    if line.contains(&0) {
        let zeros = line.iter().filter(|byte| **byte == 0).count();
        let is_utf_16 = zeros * 5 > line.len() * 2;
        let kind = if is_utf_16 { "text in UTF-16" } else { "binary data" };
        let advice =
            if is_utf_16 { "convert it with `iconv -f UTF-16LE -t UTF-8`" } else { BINARY };
        return Some((kind, advice));
    }
    if let Some(kind) = other_digest(line) {
        return Some((kind, DIGESTS));
    }
    if listed(line).is_none() && is_pair(line) {
        return Some(("passwords with something else beside them, such as names or counts", PAIRS));
    }
    None
}

/// Returns the kind of a digest that is not SHA-1 in hexadecimal.
fn other_digest(line: &[u8]) -> Option<&'static str> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = &line[digits..];
    let is_counted = rest
        .strip_prefix(b":")
        .is_some_and(|count| !count.is_empty() && count.iter().all(u8::is_ascii_digit));
    let is_scheme = line.starts_with(b"{")
        && line.iter().position(|byte| *byte == b'}').is_some_and(|end| {
            let known =
                [&b"{sha"[..], b"{ssha", b"{md5", b"{smd5", b"{crypt", b"{pbkdf2", b"{argon2"];
            end < 16 && known.iter().any(|scheme| begins(line, scheme))
        });
    let is_base64 =
        |text: &[u8]| text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte));
    match line {
        _ if is_hash(line) => Some("password hashes"),
        _ if is_scheme => Some("digests as LDAP has them, such as {SHA}"),
        [b'*', hex @ ..] if hex.len() == 40 && hex.iter().all(u8::is_ascii_hexdigit) => {
            Some("digests of MySQL (an asterisk and 40 hexadecimal digits)")
        }
        [text @ .., b'='] if text.len() == 27 && is_base64(text) => Some("SHA-1 digests in base64"),
        [text @ .., b'='] if text.len() == 43 && is_base64(text) => {
            Some("SHA-256 digests in base64")
        }
        [text @ .., b'=', b'='] if text.len() == 22 && is_base64(text) => {
            Some("MD5 digests in base64")
        }
        [text @ .., b'=', b'='] if text.len() == 86 && is_base64(text) => {
            Some("SHA-512 digests in base64")
        }
        _ if !rest.is_empty() && !is_counted => None,
        _ => match digits {
            32 => Some("NTLM or MD5 digests (32 hexadecimal digits)"),
            35 if is_counted => {
                Some("ends of SHA-1 digests (35 hexadecimal digits, as the range API answers)")
            }
            56 | 64 => Some("SHA-256 digests"),
            96 | 128 => Some("SHA-512 digests"),
            _ => None,
        },
    }
}

/// Returns true for a hash with its method in front: `$2b$…`, `$argon2id$…`, `$6$…`, `pbkdf2_sha256$…`.
fn is_hash(line: &[u8]) -> bool {
    let mut parts = line.split(|byte| *byte == b'$');
    let first = parts.next().unwrap_or_default();
    let method = if first.is_empty() { parts.next().unwrap_or_default() } else { first };
    let known =
        ["1", "2", "2a", "2b", "2x", "2y", "5", "6", "7", "y", "P", "H", "apr1", "md5", "sha1"];
    let begins_known = ["argon2", "pbkdf2", "scrypt", "bcrypt"].map(str::as_bytes);
    let is_known = known.iter().any(|known| known.as_bytes() == method)
        || begins_known.iter().any(|known| method.starts_with(known));
    is_known && parts.next().is_some_and(|rest| !rest.is_empty()) && line.len() > 15
}

/// Returns true if a line has a password and something else: `name:password`, `a@user.com;password`, `password<tab>7`,
/// or a number in front, in a column of numbers.
fn is_pair(line: &[u8]) -> bool {
    let is_split_by = |separator: u8| {
        let place = line.iter().position(|byte| *byte == separator);
        place.is_some_and(|place| place > 0 && place + 1 < line.len())
    };
    let has_address = || {
        let name = line.iter().position(|byte| b":;,| \t".contains(byte));
        name.is_some_and(|end| end + 1 < line.len() && line[..end].contains(&b'@'))
    };
    let is_counted_in_front = || {
        let text = line.trim_ascii_start();
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        text.len() < line.len() && digits > 0 && text.get(digits) == Some(&b' ')
    };
    is_split_by(b':') || is_split_by(b'\t') || has_address() || is_counted_in_front()
}

/// Returns the digest in a line, if the line is one.
fn listed(line: &[u8]) -> Option<[u8; 20]> {
    let (digits, rest) = line.split_at_checked(40)?;
    let counted = match rest.strip_prefix(b":") {
        Some(count) => !count.is_empty() && count.iter().all(u8::is_ascii_digit),
        None => rest.is_empty(),
    };
    if !counted || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut digest = [0; 20];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

pub(super) fn digest_of(password: &[u8]) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref());
    bytes
}

fn key_of(digest: &[u8; 20]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_recognises_passwords_and_digests_and_almost_nothing_else() {
        let path = std::env::temp_dir().join(format!("filter-{}", std::process::id()));
        let mut builder = Builder::default();
        let mut take = |line: &[u8]| builder.take(line).unwrap_or_else(|fault| panic!("{fault}"));
        (0..20_000).for_each(|number| take(format!("password{number}").as_bytes()));
        take(b"with windows' line end\r");
        take(b"");
        // A digest as published lists have it: that of `hunter2`.
        take(b"F3BBBD66A63D4BF1747940578EC3D0103530E21D:17043");
        take(b"password1");
        assert_eq!(builder.write(&path), Ok(20_002));
        let filter = Filter::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let has = |text: &str| filter.contains(&Password::new(text.to_owned()));
        assert!((0..20_000).all(|number| has(&format!("password{number}"))));
        assert!(has("hunter2") && has("with windows' line end") && !has(""));
        let wrong = (0..20_000).filter(|number| has(&format!("another{number}"))).count();
        assert!(wrong < 10, "{wrong}");

        let whole = fs::read(&path).unwrap_or_default();
        for broken in [&whole[..whole.len() - 1], &whole[1..], &whole[..10], b""] {
            fs::write(&path, broken).unwrap_or_default();
            assert!(Filter::read(&path).is_err());
        }
        let _ = fs::remove_file(&path);
        assert!(Filter::read(&path).is_err());
    }

    #[test]
    fn only_forty_hexadecimal_digits_are_a_digest() {
        assert!(listed(&[b'a'; 40]).is_some());
        for line in
            [&[b'g'; 40][..], &[b'a'; 41], &[b'a'; 39], b"", &[&[b'a'; 40][..], b":"].concat()]
        {
            assert!(listed(line).is_none(), "{line:?}");
        }
    }

    #[test]
    fn a_list_of_another_kind_is_refused_with_the_reason() {
        let build = |line: &[u8], count: usize| {
            let mut builder = Builder::default();
            builder.take(b"a password")?;
            (0..count).try_for_each(|_| builder.take(line))?;
            builder.require_known_kind()
        };
        for (line, said) in [
            (&[b'A'; 32][..], "NTLM"),
            (b"32ED87BDB5FDC5E9CBA88547376818D4:24230577", "NTLM"),
            (b"0018A45C4D1DEF81644B54AB7F969B88D65:21", "range API"),
            (&[b'a'; 64], "SHA-256"),
            (&[b'a'; 128], "SHA-512"),
            (b"$2b$12$abcdefghijklmnopqrstuv", "password hashes"),
        ] {
            for count in [3, 5000] {
                let fault = build(line, count).unwrap_err();
                assert!(fault.contains(said) && fault.contains("SHA-1"), "{fault}");
            }
        }
        // Some passwords look like digests, and some begin with a dollar sign.
        assert_eq!(build(&[b'a'; 32], 1), Ok(()));
        assert_eq!(build(&[b'a'; 40], 5000), Ok(()));
        assert_eq!(build(b"$ecret", 5000), Ok(()));
        for (begin, _) in NOT_LINES {
            assert!(Builder::default().take(begin).is_err());
        }
        assert!(Builder::default().take(MAGIC).is_err());
        assert!(Builder::default().take(b"<!DOCTYPE html>").is_err());
        assert!(Builder::default().take(b"\xef\xbb\xbf<html>").is_err());
    }

    /// Takes lines again and again.
    fn build(lines: &[&[u8]]) -> Result<(), String> {
        let mut builder = Builder::default();
        (0..20).flat_map(|_| lines).try_for_each(|line| builder.take(line))?;
        builder.require_known_kind()
    }

    #[test]
    fn lists_of_all_foreign_kinds_are_refused() {
        for (line, said) in [
            (&b"W6ph5Mm5Pz8GgiULbPgzG37mj9g="[..], "SHA-1 digests in base64"),
            (b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "LDAP"),
            (b"{ssha}W6ph5Mm5Pz8GgiULbPgzG37mj9gAAAA", "LDAP"),
            (b"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", "MySQL"),
            (b"X03MO1qnZdYdgyfeuILPmQ==", "MD5 digests in base64"),
            (b"$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g.", "password hashes"),
            (b"$P$B55D6LjfHDkINU5wF.v2BuuzO0/XPk/", "password hashes"),
            (b"pbkdf2_sha256$1000$salt$0123456789abcdef", "password hashes"),
            (b"ada:password", "beside them"),
            (b"ada@user.com:password", "beside them"),
            (b"ada@user.com;password", "beside them"),
            (b"ada@user.com password", "beside them"),
            (b"password\t17", "beside them"),
            (b"password:17", "beside them"),
            (b"  290729 123456", "beside them"),
            (b"\0p\0a\0s\0s\0w\0o\0r\0d\0\r\0", "UTF-16"),
            (b"\0\x01\x02\x03abcdefgh", "binary data"),
        ] {
            let fault = build(&[b"a password", line, line]).unwrap_err();
            assert!(fault.contains(said), "{fault}");
        }
    }

    #[test]
    fn lists_of_passwords_are_taken_whatever_is_in_them() {
        for line in [
            &b"a password"[..],
            b"p@ssw0rd",
            b"me@home",
            b"ada@user.com",
            b"$ecret$1",
            b"a=b==",
            b":colon",
            b"12345 6789",
            b"F3BBBD66A63D4BF1747940578EC3D0103530E21D",
            b"F3BBBD66A63D4BF1747940578EC3D0103530E21D:17",
            b"\xe9t\xe9",
        ] {
            // A password can have a colon.
            let lines: &[&[u8]] = &[line, b"a:b", line];
            assert_eq!(build(lines), Ok(()), "{}", String::from_utf8_lossy(line));
        }
        // The mark of UTF-8 is no part of the first password.
        let mut builder = Builder::default();
        assert_eq!(builder.take(b"\xef\xbb\xbfpassword"), Ok(()));
        assert_eq!(builder.take(b"password"), Ok(()));
        assert_eq!(builder.keys[0], builder.keys[1]);
    }
}
