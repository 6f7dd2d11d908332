//! Password hashes that other programs made, which come with imported users. Each is used at most for one successful
//! sign-in, which replaces it by a hash of Tessera's own.

use super::crypt;
use super::{MAX_COST, password};
use crate::base::hex::hex;
use crate::identity::user::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use aws_lc_rs::{constant_time, hmac, pbkdf2};
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha_crypt::{PasswordHashRef, PasswordVerifier, ShaCrypt};
use unicode_normalization::UnicodeNormalization;

/// The maximum memory of one check, in bytes, and the maximum work, in rounds or passes. Users who may import must not
/// be able to stop the service.
const MAX_MEMORY: u64 = 256 << 20;
const MAX_ROUNDS: u32 = 2_000_000;
const MAX_PASSES: u32 = 16;

/// The maximum rounds of the kinds whose rounds take longer with a longer password.
const MAX_ROUNDS_BY_LENGTH: u32 = 1_000_000;

/// The longest password in bytes that such a kind can have. Their work grows with rounds and length together, so a stranger
/// who sends a long password to one imported user could otherwise occupy a thread for minutes.
pub(super) const MAX_BYTES_BY_LENGTH: usize = 128;

/// The beginning of the names of such kinds.
pub(super) const BY_LENGTH: &str = "by length: ";

/// The maximum number of bytes that are read and written: the memory times the number of passes over it.
const MAX_WORK: u64 = 1 << 30;

/// The least number of bytes of a salt that is hashed only once.
const MIN_SALT: usize = 4;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A hash that Tessera did not make.
pub(super) enum Foreign {
    Argon2 {
        /// The versions that the hash can be of.
        versions: Vec<Argon2<'static>>,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Pbkdf2 {
        /// The name of the digest.
        name: &'static str,
        algorithm: pbkdf2::Algorithm,
        rounds: std::num::NonZeroU32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Scrypt {
        params: scrypt::Params,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    /// bcrypt of the password, or of something that is made from it.
    Bcrypt {
        hash: String,
        of: Digested,
    },
    /// sha256_crypt or sha512_crypt.
    ShaCrypt {
        hash: String,
        rounds: u32,
    },
    /// md5_crypt, of Apache or of Unix.
    Md5Crypt {
        magic: &'static str,
        salt: String,
        hash: [u8; 16],
    },
    /// The portable hashes of WordPress and phpBB.
    Phpass {
        rounds: u32,
        salt: String,
        hash: [u8; 16],
    },
    /// One round of SHA with a salt, as directories store it.
    Salted {
        algorithm: &'static digest::Algorithm,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

/// The text that a program gives to bcrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digested {
    /// The password.
    Not,
    /// Its SHA-256 in hexadecimal: Django.
    Hexadecimal,
    /// Its SHA-256 in base64: passlib.
    Base64,
    /// A keyed SHA-384 in base64: WordPress.
    WordPress,
}

impl Digested {
    fn of(self, password: &str) -> String {
        match self {
            Self::Not => password.to_owned(),
            Self::Hexadecimal => hex(digest(&SHA256, password.as_bytes())),
            Self::Base64 => STANDARD.encode(digest(&SHA256, password.as_bytes())),
            Self::WordPress => {
                let key = hmac::Key::new(hmac::HMAC_SHA384, b"wp-sha384");
                let is_blank = |char: char| " \t\n\r\0\x0b".contains(char);
                STANDARD.encode(hmac::sign(&key, password.trim_matches(is_blank).as_bytes()))
            }
        }
    }
}

impl Foreign {
    /// Reads a text as a hash. Returns `None` if it is not one that can be checked.
    pub(super) fn read(text: &str) -> Option<Self> {
        let inner = unwrapped(text);
        // A plain one is Tessera's own kind, which is not read here.
        if inner.len() < text.len() && is_bcrypt(inner) {
            return Some(Self::Bcrypt { hash: inner.to_owned(), of: Digested::Not });
        }
        bcrypts(inner).or_else(|| modular(inner)).or_else(|| others(inner))
    }

    /// Returns the kind of the hash. Hashes of the same kind take the same time.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Argon2 { versions, .. } => {
                let params = versions.first().map(Argon2::params);
                format!("argon2 {} {params:?}", versions.len())
            }
            Self::Pbkdf2 { name, rounds, .. } => format!("pbkdf2 {name} {rounds}"),
            Self::Scrypt { params, .. } => format!("scrypt {params:?}"),
            Self::Bcrypt { hash, .. } => format!("bcrypt {:?}", hash.get(4..6)),
            Self::ShaCrypt { hash, rounds } => {
                format!("{BY_LENGTH}crypt {:?} {rounds}", hash.get(1..2))
            }
            Self::Md5Crypt { .. } => format!("{BY_LENGTH}md5_crypt"),
            Self::Phpass { rounds, .. } => format!("{BY_LENGTH}phpass {rounds}"),
            Self::Salted { .. } => "salted".to_owned(),
        }
    }

    /// Returns true if the hash belongs to this password.
    pub(super) fn matches(&self, password: &str) -> bool {
        let same =
            |made: &[u8], hash: &[u8]| constant_time::verify_slices_are_equal(made, hash).is_ok();
        match self {
            Self::Argon2 { versions, salt, hash } => {
                // Each version is computed in any case, so that the time does not reveal the right one.
                let matching = versions.iter().filter(|argon2| {
                    let mut made = vec![0; hash.len()];
                    let done = argon2.hash_password_into(password.as_bytes(), salt, &mut made);
                    done.is_ok() && same(&made, hash)
                });
                matching.count() > 0
            }
            Self::Pbkdf2 { name: _, algorithm, rounds, salt, hash } => {
                pbkdf2::verify(*algorithm, *rounds, salt, password.as_bytes(), hash).is_ok()
            }
            Self::Scrypt { params, salt, hash } => {
                let mut made = vec![0; hash.len()];
                // better-auth normalises passwords. The others hash the password as it was typed.
                let normal: String = match is_hex(salt) && hash.len() == 64 && salt.len() == 32 {
                    true => password.nfkc().collect(),
                    false => password.to_owned(),
                };
                let done = scrypt::scrypt(normal.as_bytes(), salt, params, &mut made);
                done.is_ok() && same(&made, hash)
            }
            Self::Bcrypt { hash, of } => bcrypt::verify(of.of(password), hash).unwrap_or(false),
            Self::ShaCrypt { hash, .. } => PasswordHashRef::new(hash).is_ok_and(|hash| {
                if_short(password, |text| ShaCrypt::SHA512.verify_password(text, hash).is_ok())
            }),
            Self::Md5Crypt { magic, salt, hash } => if_short(password, |text| {
                same(&crypt::md5_crypt(text, salt.as_bytes(), magic), hash)
            }),
            Self::Phpass { rounds, salt, hash } => if_short(password, |text| {
                same(&crypt::phpass(text, salt.as_bytes(), *rounds), hash)
            }),
            Self::Salted { algorithm, salt, hash } => same(
                digest(algorithm, &[password.as_bytes(), salt.as_slice()].concat()).as_ref(),
                hash,
            ),
        }
    }
}

/// Checks the beginning of a password, and returns false if there is more of it. So a long password takes as long as the
/// longest one that can match.
fn if_short(password: &str, matches: impl FnOnce(&[u8]) -> bool) -> bool {
    let begin = password.floor_char_boundary(MAX_BYTES_BY_LENGTH);
    matches(&password.as_bytes()[..begin]) && begin == password.len()
}

/// Removes the name of the scheme that Spring, LDAP and Django write before a hash that says its kind itself:
/// `{bcrypt}$2a$…`, `{ARGON2}$argon2id$…`, `argon2$argon2id$…`.
pub(super) fn unwrapped(text: &str) -> &str {
    if let Some((scheme, hash)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        let scheme = scheme.to_ascii_lowercase();
        let is_known = ["bcrypt", "argon2", "crypt"].iter().any(|name| scheme.starts_with(name));
        return if is_known && hash.starts_with('$') { hash } else { text };
    }
    let argon2 = text.strip_prefix("argon2").filter(|hash| hash.starts_with("$argon2"));
    argon2.unwrap_or(text)
}

/// Reads the kinds that end in bcrypt.
fn bcrypts(text: &str) -> Option<Foreign> {
    let made =
        |hash: &str, of| is_bcrypt(hash).then(|| Foreign::Bcrypt { hash: hash.to_owned(), of });
    if let Some(hash) = text.strip_prefix("bcrypt$") {
        return made(hash, Digested::Not);
    }
    if let Some(hash) = text.strip_prefix("bcrypt_sha256$") {
        return made(hash, Digested::Hexadecimal);
    }
    if let Some(hash) = text.strip_prefix("$wp").filter(|hash| hash.starts_with("$2")) {
        return made(hash, Digested::WordPress);
    }
    // passlib's first version: `$bcrypt-sha256$2b,10$salt$hash`.
    if let Some((params, rest)) =
        text.strip_prefix("$bcrypt-sha256$2").and_then(|rest| rest.split_once('$'))
    {
        let (variant, cost) = params.split_once(',')?;
        let cost: u32 = cost.parse().ok()?;
        let hash = format!("$2{variant}${cost:02}${}", rest.replacen('$', "", 1));
        return made(&hash, Digested::Base64);
    }
    None
}

/// Reads the kinds whose parts begin with dollar signs.
fn modular(text: &str) -> Option<Foreign> {
    let parts: Vec<_> = text.split('$').collect();
    let utf8 = |salt: &str| salt.as_bytes().to_vec();
    match parts[..] {
        // The PHC string format, which pwdlib, argon2-cffi and passlib write.
        ["", kind @ ("argon2id" | "argon2i" | "argon2d"), "v=19", params, salt, hash] => {
            argon2(kind, &[Version::V0x13], params, salt, hash)
        }
        ["", kind @ ("argon2id" | "argon2i" | "argon2d"), "v=16", params, salt, hash] => {
            argon2(kind, &[Version::V0x10], params, salt, hash)
        }
        // The format says that this is the first version, but programs leave out the version of the second one too.
        ["", kind @ ("argon2id" | "argon2i" | "argon2d"), params, salt, hash] => {
            argon2(kind, &[Version::V0x10, Version::V0x13], params, salt, hash)
        }
        // The formats of passlib, of Ory Kratos and RustCrypto (PHC), and of Django.
        ["", name @ ("pbkdf2" | "pbkdf2-sha256" | "pbkdf2-sha512"), params, salt, hash] => {
            let (salt, hash) = (adapted(salt)?, adapted(hash)?);
            let rounds = rounds_of(params, hash.len())?;
            pbkdf2(name.strip_prefix("pbkdf2-").unwrap_or("sha1"), rounds, salt, hash)
        }
        ["pbkdf2_sha256", rounds, salt, hash] => {
            pbkdf2("sha256", rounds, utf8(salt), BASE64.decode(hash).ok()?)
        }
        ["pbkdf2_sha1", rounds, salt, hash] => {
            pbkdf2("sha1", rounds, utf8(salt), BASE64.decode(hash).ok()?)
        }
        ["", "scrypt", params, salt, hash] => {
            let [n, r, p] = named(params, ["ln", "r", "p"])?;
            scrypt(n, r, p, BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?)
        }
        ["scrypt", n, salt, r, p, hash] => {
            let (r, p) = (r.parse().ok()?, p.parse().ok()?);
            scrypt(log2(n)?, r, p, utf8(salt), BASE64.decode(hash).ok()?)
        }
        ["", "5" | "6", ..] => sha_crypt(text, &parts),
        ["", "apr1", salt, hash] => crypt::md5_crypt_of("$apr1$", salt, hash),
        ["", "1", salt, hash] => crypt::md5_crypt_of("$1$", salt, hash),
        ["", "P" | "H", rest] => crypt::phpass_of(rest, MAX_ROUNDS_BY_LENGTH),
        [method, salt, hash] => werkzeug(method, utf8(salt), from_hex(hash)?),
        _ => None,
    }
}

/// Reads the format of Werkzeug.
fn werkzeug(method: &str, salt: Vec<u8>, hash: Vec<u8>) -> Option<Foreign> {
    match method.split(':').collect::<Vec<_>>()[..] {
        ["pbkdf2", name, rounds] => pbkdf2(name, rounds, salt, hash),
        ["scrypt", n, r, p] => scrypt(log2(n)?, r.parse().ok()?, p.parse().ok()?, salt, hash),
        _ => None,
    }
}

/// Reads the rounds: a number, or `i=100000,l=32` with the length of the hash.
fn rounds_of(params: &str, length: usize) -> Option<&str> {
    let Some(named) = params.strip_prefix("i=") else { return Some(params) };
    let (rounds, named) = named.split_once(",l=")?;
    (named.parse() == Ok(length)).then_some(rounds)
}

/// Reads the kinds of directories, of ASP.NET Identity and of better-auth.
fn others(text: &str) -> Option<Foreign> {
    for (scheme, algorithm) in
        [("{SSHA}", &SHA1_FOR_LEGACY_USE_ONLY), ("{SSHA256}", &SHA256), ("{SSHA512}", &SHA512)]
    {
        let Some(encoded) = text.strip_prefix(scheme) else { continue };
        let mut hash = BASE64.decode(encoded).ok()?;
        if hash.len() < algorithm.output_len() + MIN_SALT {
            return None;
        }
        let salt = hash.split_off(algorithm.output_len());
        return Some(Foreign::Salted { algorithm, salt, hash });
    }
    if let Some((salt, hash)) = text.split_once(':') {
        let is_better_auth = salt.len() == 32 && hash.len() == 128 && is_hex(salt.as_bytes());
        let hash = is_better_auth.then(|| from_hex(hash))??;
        return scrypt(14, 16, 1, salt.as_bytes().to_vec(), hash);
    }
    asp_net(&BASE64.decode(text).ok()?)
}

/// Reads a hash of ASP.NET Identity, version 3: the number 1, three numbers of four bytes (function, rounds, length of
/// the salt), the salt and the hash.
fn asp_net(bytes: &[u8]) -> Option<Foreign> {
    let (head, rest) = bytes.split_at_checked(13)?;
    let number =
        |place: usize| Some(u32::from_be_bytes(head.get(place..place + 4)?.try_into().ok()?));
    if head.first() != Some(&1) {
        return None;
    }
    let name = match number(1)? {
        0 => "sha1",
        1 => "sha256",
        2 => "sha512",
        _ => return None,
    };
    let (salt, hash) = rest.split_at_checked(usize::try_from(number(9)?).ok()?)?;
    pbkdf2(name, &number(5)?.to_string(), salt.to_vec(), hash.to_vec())
}

fn is_bcrypt(hash: &str) -> bool {
    let hash = PasswordHash::new(hash.to_owned());
    password::is_plain(hash.expose()) && hash.cost().is_some_and(|cost| cost <= MAX_COST)
}

fn argon2(
    kind: &str,
    versions: &[Version],
    params: &str,
    salt: &str,
    hash: &str,
) -> Option<Foreign> {
    let [m, t, p] = named(params, ["m", "t", "p"])?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    let (memory, count) = (u64::from(m) * 1024, u64::try_from(versions.len()).ok()?);
    if memory > MAX_MEMORY
        || memory.saturating_mul(u64::from(t)).saturating_mul(count) > MAX_WORK
        || t > MAX_PASSES
        || p > MAX_PASSES
        || !(16..=64).contains(&hash.len())
    {
        return None;
    }
    let params = Params::new(m, t, p, Some(hash.len())).ok()?;
    let algorithm = Algorithm::new(kind).ok()?;
    let versions =
        versions.iter().map(|version| Argon2::new(algorithm, *version, params.clone())).collect();
    Some(Foreign::Argon2 { versions, salt, hash })
}

fn pbkdf2(name: &str, rounds: &str, salt: Vec<u8>, hash: Vec<u8>) -> Option<Foreign> {
    let (name, algorithm, length) = match name {
        "sha1" => ("SHA-1", pbkdf2::PBKDF2_HMAC_SHA1, 20),
        "sha256" => ("SHA-256", pbkdf2::PBKDF2_HMAC_SHA256, 32),
        "sha512" => ("SHA-512", pbkdf2::PBKDF2_HMAC_SHA512, 64),
        _ => return None,
    };
    let rounds: std::num::NonZeroU32 = rounds.parse().ok()?;
    // A hash that is longer than the digest takes the rounds again for each further block.
    let blocks = u32::try_from(hash.len().div_ceil(length)).ok()?;
    let is_bounded = rounds.get().saturating_mul(blocks) <= MAX_ROUNDS;
    (is_bounded && (16..=64).contains(&hash.len())).then_some(Foreign::Pbkdf2 {
        name,
        algorithm,
        rounds,
        salt,
        hash,
    })
}

fn scrypt(log_n: u32, r: u32, p: u32, salt: Vec<u8>, hash: Vec<u8>) -> Option<Foreign> {
    if log_n > 30 || r > 1024 || p > MAX_PASSES || !(16..=64).contains(&hash.len()) {
        return None;
    }
    let (block, n, p_wide) = (128 * u64::from(r), 1_u64 << log_n, u64::from(p));
    if block * (n + p_wide) > MAX_MEMORY || block * n * p_wide > MAX_WORK {
        return None;
    }
    let params = scrypt::Params::new(u8::try_from(log_n).ok()?, r, p).ok()?;
    Some(Foreign::Scrypt { params, salt, hash })
}

/// Reads `$6$rounds=656000$salt$hash`, or without the rounds, which are 5000 then.
fn sha_crypt(text: &str, parts: &[&str]) -> Option<Foreign> {
    let rounds = match parts {
        [_, _, rounds, _, _] => rounds.strip_prefix("rounds=")?.parse().ok()?,
        [_, _, _, _] => 5000,
        _ => return None,
    };
    let length = if parts.get(1) == Some(&"5") { 43 } else { 86 };
    let is_whole = parts.last().is_some_and(|hash| hash.len() == length);
    (is_whole && (1000..=MAX_ROUNDS_BY_LENGTH).contains(&rounds))
        .then(|| Foreign::ShaCrypt { hash: text.to_owned(), rounds })
}

/// Reads the numbers of `m=65536,t=3,p=4`, with these names in this order.
fn named(params: &str, names: [&str; 3]) -> Option<[u32; 3]> {
    let mut numbers = [0; 3];
    let mut parts = params.split(',');
    for (number, name) in numbers.iter_mut().zip(names) {
        let (known, value) = parts.next()?.split_once('=')?;
        if known != name {
            return None;
        }
        *number = value.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn log2(n: &str) -> Option<u32> {
    n.parse::<u64>().ok().filter(|n| n.is_power_of_two()).map(u64::ilog2)
}

/// Decodes passlib's base64, which has a dot instead of a plus sign.
fn adapted(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.replace('.', "+")).ok()
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_hexdigit)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) || !is_hex(bytes) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    bytes.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::Foreign;

    fn matches(hash: &str, password: &str) -> bool {
        Foreign::read(hash).is_some_and(|foreign| foreign.matches(password))
    }

    /// Made in Python by argon2-cffi, by passlib, and by the rules of Django and Werkzeug.
    const HASHES: [&str; 10] = [
        "$argon2id$v=19$m=256,t=2,p=2$QRXSI4WcXSR+bcfrYu6aNw$LHpTRi7UEjrG09jbwAUzDyGjXWfCXCpk7zxaqntWYjg",
        "$argon2i$v=19$m=64,t=1,p=1$gatUoKgvQuaw9PEv9gMpWw$jT93N/NJJ8KXZMbq1UjHkrTpsQFh0cJUQvqCkVG0/qc",
        "$pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg$BVALGMmC/K/8ELErc5VgJxyPFApArIZRCQsqjEgZWJ4",
        "pbkdf2_sha256$1000$0123456789abcdef$BVALGMmC/K/8ELErc5VgJxyPFApArIZRCQsqjEgZWJ4=",
        "pbkdf2:sha256:1000$0123456789abcdef$05500b18c982fcaffc10b12b739560271c8f140a40ac8651090b2a8c4819589e",
        "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$xXt6EAFzAOlee5Hgl8R5+kLA6sDARjRcMGtm6fZJsa8",
        "scrypt$1024$0123456789abcdef$8$1$xXt6EAFzAOlee5Hgl8R5+kLA6sDARjRcMGtm6fZJsa+yFEJ+QwzEVZukY1sq+YaLnK16EM+FMtkvwaaLsHZyDQ==",
        "scrypt:1024:8:1$0123456789abcdef$c57b7a10017300e95e7b91e097c479fa42c0eac0c046345c306b66e9f649b1afb214427e430cc4559ba4635b2af9868b9cad7a10cf8532d92fc1a68bb076720d",
        "bcrypt$$2b$04$EmImQDtKlMPKWR53BRjouO/q88tAqSrjTEWF9zDtkcUiAqlou4wBe",
        "bcrypt_sha256$$2b$04$QcloQKP2sWI3nrwQGnjkR.WXN7G.NjWM6tfU920O.GEXuF4pHWwSK",
    ];

    #[test]
    fn hashes_of_other_programs_are_read() {
        for hash in HASHES {
            assert!(matches(hash, "correct horse battery"), "{hash}");
            assert!(!matches(hash, "correct horse batterz"), "{hash}");
        }
    }

    /// Otherwise one imported hash and long passwords would occupy every thread. Made by OpenSSL, of 128 times "x".
    #[test]
    fn a_password_that_is_too_long_for_its_kind_does_not_match() {
        for hash in [
            "$6$saltsalt$gMgmpB5vJeEcZwoAK.oBWemFhmunx1texmUNGdSUf7Zh2wFqvTSYmVFxR2ScPvzAbcm2xRvGYjMzS0Ao8.Pqo0",
            "$5$saltsalt$tkkQKovHTk0xathHdSQcjAvdRnJs.gwPYYQDQs5f9VB",
            "$1$saltsalt$M2Iy8wv3cvg4Dl6KZPEmz.",
            "$apr1$saltsalt$SLUhfdFpeC4d6cPKxECkp1",
        ] {
            assert!(matches(hash, &"x".repeat(128)), "{hash}");
            assert!(!matches(hash, &"x".repeat(129)), "{hash}");
            assert!(!matches(hash, &"x".repeat(60_000)), "{hash}");
            assert!(!matches(hash, &"é".repeat(64)), "{hash}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_hash_or_would_take_too_much_work_is_not_read() {
        for hash in [
            "",
            "$",
            "plain",
            "md5$salt$0123456789abcdef0123456789abcdef",
            "$argon2id$v=17$m=64,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "$6$rounds=999999999$TIkb2u2/mIZiusBU$oVgufiHxH1ZAnB65yciFxEyC66YHTcWb.lOo27mlr7vQrYFm0BmFNdzAYLVpxDIM3n0bcw6KHI.cu5ZMjs6kv1",
            "$P$ZXrdaJfGzxM7Z8dTKzt8R4BJY7WYQ60",
            "{SHA}Qns9BXOkJKSVxrGjJPkqrhdwpdM=",
            "$pbkdf2-sha256$i=100000,l=64$BVy1ouSZlj/iaPtlUVKtzg$Xht2vbhGWRtdJIK4lIn9DstUax1l1pg8cu/m5nWOpxk",
            "$wp$2y$31$U4E9ROYxAQVAaZYauKYkM.a/MQxTb3co24WZ.jwMT6gQsqh.czb8.",
            "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "$argon2id$v=19$m=64,t=99999,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "pbkdf2_sha256$4000000000$salt$jvyVMXNcMXmiwUNQgSW7wCNdrMCJpmVyyNGGdyNVOUk=",
            "pbkdf2_sha256$0$salt$jvyVMXNcMXmiwUNQgSW7wCNdrMCJpmVyyNGGdyNVOUk=",
            "pbkdf2_sha256$1000$salt$",
            "$scrypt$ln=40,r=8,p=1$c2FsdA$dGVzdHRlc3R0ZXN0dGVzdA",
            "scrypt$15$salt$8$1$dGVzdHRlc3R0ZXN0dGVzdA==",
            "scrypt:1099511627776:8:1$salt$00112233445566778899aabbccddeeff",
            "$scrypt$ln=1,r=1048576,p=16$c2FsdA$dGVzdHRlc3R0ZXN0dGVzdA",
            "$argon2id$v=19$m=262144,t=16,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "bcrypt$$2b$31$dV2KvrjfXEgp6Cy7S2hxIOLFFJA2bkpgm/3Df9/dAUGLioAxrGYYy",
            "bcrypt$$2b$12$short",
            "bcrypt_sha256$ü",
        ] {
            assert!(Foreign::read(hash).is_none(), "{hash}");
        }
    }
}
