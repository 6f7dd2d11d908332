//! Password hashes that other programs made, which come with imported users. Each is used at most for one successful
//! sign-in, which replaces it by a hash of Tessera's own.

use super::MAX_COST;
use crate::base::hex::hex;
use crate::identity::user::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{constant_time, pbkdf2};
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The maximum memory of one check, in bytes, and the maximum work, in rounds or passes. Users who may import must not
/// be able to stop the service.
const MAX_MEMORY: u64 = 256 << 20;
const MAX_ROUNDS: u32 = 2_000_000;
const MAX_PASSES: u32 = 16;

/// The maximum number of bytes that are read and written: the memory times the number of passes over it.
const MAX_WORK: u64 = 1 << 30;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A hash that Tessera did not make.
pub(super) enum Foreign<'a> {
    Argon2 {
        argon2: Argon2<'static>,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Pbkdf2 {
        rounds: std::num::NonZeroU32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Scrypt {
        params: scrypt::Params,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    /// Django's bcrypt, of the password itself or of its digest in hexadecimal.
    Bcrypt {
        hash: &'a str,
        digested: bool,
    },
}

impl<'a> Foreign<'a> {
    /// Reads a text as a hash. Returns `None` if it is not one that can be checked.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        if let Some(hash) = text.strip_prefix("bcrypt$").filter(|hash| is_bcrypt(hash)) {
            return Some(Self::Bcrypt { hash, digested: false });
        }
        if let Some(hash) = text.strip_prefix("bcrypt_sha256$").filter(|hash| is_bcrypt(hash)) {
            return Some(Self::Bcrypt { hash, digested: true });
        }
        let parts: Vec<_> = text.split('$').collect();
        match parts[..] {
            // The PHC string format, which pwdlib, argon2-cffi and passlib write.
            ["", kind @ ("argon2id" | "argon2i" | "argon2d"), "v=19", params, salt, hash] => {
                argon2(kind, params, salt, hash)
            }
            // The formats of passlib and Django.
            ["", "pbkdf2-sha256", rounds, salt, hash] => {
                pbkdf2(rounds, adapted(salt)?, adapted(hash)?)
            }
            ["pbkdf2_sha256", rounds, salt, hash] => {
                pbkdf2(rounds, salt.as_bytes().to_vec(), BASE64.decode(hash).ok()?)
            }
            ["", "scrypt", params, salt, hash] => {
                let [n, r, p] = named(params, ["ln", "r", "p"])?;
                scrypt(n, r, p, BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?)
            }
            ["scrypt", salt, n, r, p, hash] => {
                let salt = salt.as_bytes().to_vec();
                scrypt(log2(n)?, r.parse().ok()?, p.parse().ok()?, salt, BASE64.decode(hash).ok()?)
            }
            // The format of Werkzeug.
            [method, salt, hash] => {
                let salt = salt.as_bytes().to_vec();
                let hash = from_hex(hash)?;
                match method.split(':').collect::<Vec<_>>()[..] {
                    ["pbkdf2", "sha256", rounds] => pbkdf2(rounds, salt, hash),
                    ["scrypt", n, r, p] => {
                        scrypt(log2(n)?, r.parse().ok()?, p.parse().ok()?, salt, hash)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Returns the kind of the hash. Hashes of the same kind take the same time.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Argon2 { argon2, .. } => format!("argon2 {:?}", argon2.params()),
            Self::Pbkdf2 { rounds, .. } => format!("pbkdf2 {rounds}"),
            Self::Scrypt { params, .. } => format!("scrypt {params:?}"),
            Self::Bcrypt { hash, .. } => format!("bcrypt {:?}", hash.get(4..6)),
        }
    }

    /// Returns true if the hash belongs to this password.
    pub(super) fn matches(&self, password: &str) -> bool {
        let same =
            |made: &[u8], hash: &[u8]| constant_time::verify_slices_are_equal(made, hash).is_ok();
        match self {
            Self::Argon2 { argon2, salt, hash } => {
                let mut made = vec![0; hash.len()];
                let done = argon2.hash_password_into(password.as_bytes(), salt, &mut made);
                done.is_ok() && same(&made, hash)
            }
            Self::Pbkdf2 { rounds, salt, hash } => {
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::verify(algorithm, *rounds, salt, password.as_bytes(), hash).is_ok()
            }
            Self::Scrypt { params, salt, hash } => {
                let mut made = vec![0; hash.len()];
                let done = scrypt::scrypt(password.as_bytes(), salt, params, &mut made);
                done.is_ok() && same(&made, hash)
            }
            Self::Bcrypt { hash, digested: true } => {
                bcrypt::verify(hex(digest(&SHA256, password.as_bytes())), hash).unwrap_or(false)
            }
            Self::Bcrypt { hash, digested: false } => {
                bcrypt::verify(password, hash).unwrap_or(false)
            }
        }
    }
}

fn is_bcrypt(hash: &str) -> bool {
    let cost = PasswordHash::new(hash.to_owned()).cost();
    hash.is_ascii() && hash.starts_with("$2") && cost.is_some_and(|cost| cost <= MAX_COST)
}

fn argon2<'a>(kind: &str, params: &str, salt: &str, hash: &str) -> Option<Foreign<'a>> {
    let [m, t, p] = named(params, ["m", "t", "p"])?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    let memory = u64::from(m) * 1024;
    if memory > MAX_MEMORY
        || memory.saturating_mul(u64::from(t)) > MAX_WORK
        || t > MAX_PASSES
        || p > MAX_PASSES
    {
        return None;
    }
    let params = Params::new(m, t, p, Some(hash.len())).ok()?;
    let algorithm = Algorithm::new(kind).ok()?;
    Some(Foreign::Argon2 { argon2: Argon2::new(algorithm, Version::V0x13, params), salt, hash })
}

fn pbkdf2<'a>(rounds: &str, salt: Vec<u8>, hash: Vec<u8>) -> Option<Foreign<'a>> {
    let rounds =
        rounds.parse().ok().filter(|rounds: &std::num::NonZeroU32| rounds.get() <= MAX_ROUNDS)?;
    (hash.len() >= 16 && hash.len() <= 64).then_some(Foreign::Pbkdf2 { rounds, salt, hash })
}

fn scrypt<'a>(log_n: u32, r: u32, p: u32, salt: Vec<u8>, hash: Vec<u8>) -> Option<Foreign<'a>> {
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

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) || !bytes.iter().all(u8::is_ascii_hexdigit) {
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
        "scrypt$0123456789abcdef$1024$8$1$xXt6EAFzAOlee5Hgl8R5+kLA6sDARjRcMGtm6fZJsa+yFEJ+QwzEVZukY1sq+YaLnK16EM+FMtkvwaaLsHZyDQ==",
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

    #[test]
    fn a_text_that_is_not_a_hash_or_would_take_too_much_work_is_not_read() {
        for hash in [
            "",
            "$",
            "plain",
            "md5$salt$0123456789abcdef0123456789abcdef",
            "$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "$argon2id$v=19$m=64,t=99999,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw",
            "pbkdf2_sha256$4000000000$salt$jvyVMXNcMXmiwUNQgSW7wCNdrMCJpmVyyNGGdyNVOUk=",
            "pbkdf2_sha256$0$salt$jvyVMXNcMXmiwUNQgSW7wCNdrMCJpmVyyNGGdyNVOUk=",
            "pbkdf2_sha256$1000$salt$",
            "$scrypt$ln=40,r=8,p=1$c2FsdA$dGVzdHRlc3R0ZXN0dGVzdA",
            "scrypt$salt$15$8$1$dGVzdHRlc3R0ZXN0dGVzdA==",
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
