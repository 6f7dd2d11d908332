//! The only module that takes random bytes from the operating system.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use tessera_verify::SigningAlgorithm;
use uuid::{Builder, NoContext, Uuid};

use crate::base::clock::Timestamp;
use crate::base::hex::hex;

/// A random id.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn id() -> Uuid {
    Uuid::new_v4()
}

/// A random id that contains the time when it was made, in milliseconds (RFC 9562, section 5.7).
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn id_at(time: Timestamp) -> Uuid {
    let nanos = u32::try_from(time.millis().rem_euclid(1000) * 1_000_000).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, time.seconds(), nanos))
}

/// An id for a request or another thing that log lines name. It is no secret: it follows from a number that is counted
/// up, by a hash whose key was drawn when the process started. So it costs no call of the operating system, is different
/// from the ids of other processes, and does not tell how many requests there were.
pub(crate) fn log_id() -> Uuid {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let half = |which: u8| u128::from(KEY.hash_one((number, which)));
    let bits = half(0) << 64 | half(1);
    Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

/// Random bytes that cannot be guessed.
///
/// # Panics
///
/// If the operating system gives no random bytes. Nothing can be done safely then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Secrets that look random and are the same in each run: one in hexadecimal, as [`secret`] makes it, and one of 32
/// letters and digits. A check that refuses one of a million random secrets always gives these the same result.
#[cfg(test)]
pub(crate) fn samples() -> impl Iterator<Item = (String, String)> {
    use aws_lc_rs::digest::{SHA256, digest};
    (0..2000_u32).map(|number| {
        let bytes = digest(&SHA256, &number.to_be_bytes());
        let letters = bytes.as_ref().iter().map(|byte| LETTERS_AND_DIGITS[usize::from(*byte) % 62]);
        (hex(bytes), letters.map(char::from).collect())
    })
}

/// A secret of 32 random bytes in hexadecimal, as `openssl rand -hex 32` prints it.
pub fn secret() -> String {
    hex(bytes::<32>())
}

const LETTERS_AND_DIGITS: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random letters and digits. Each of the 62 characters has the same probability and adds 5.95 bits.
pub fn letters_and_digits(count: usize) -> String {
    let mut text = String::with_capacity(count);
    while text.len() < count {
        // Bytes from 248 on would make the first characters more likely.
        let drawn = bytes::<64>().into_iter().filter(|byte| *byte < 248);
        let room = count - text.len();
        text.extend(
            drawn.take(room).map(|byte| char::from(LETTERS_AND_DIGITS[usize::from(byte) % 62])),
        );
    }
    text
}

/// The last `count` characters of a number that is written with letters and digits, the most significant one first.
pub fn in_letters_and_digits(number: u64, count: usize) -> String {
    let digit = |power| number / 62_u64.pow(power) % 62;
    let powers = (0..u32::try_from(count).unwrap_or_default()).rev();
    powers
        .map(|power| char::from(LETTERS_AND_DIGITS[usize::try_from(digit(power)).unwrap_or(0)]))
        .collect()
}

/// A new private key in PKCS #8.
///
/// # Panics
///
/// For HS256, whose keys are secrets, and if the operating system gives no random bytes.
pub fn private_key(algorithm: SigningAlgorithm) -> Vec<u8> {
    let random = SystemRandom::new();
    let made = match algorithm {
        SigningAlgorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|pair| AsDer::<Pkcs8V1Der<'_>>::as_der(&pair))
            .map(|der| der.as_ref().to_vec())
            .ok(),
        SigningAlgorithm::Es256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map(|document| document.as_ref().to_vec())
                .ok()
        }
        SigningAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random)
            .map(|document| document.as_ref().to_vec())
            .ok(),
        _ => None,
    };
    made.expect("a private key is made of random bytes")
}

/// Six random digits. Each number has the same probability.
pub fn digits() -> String {
    loop {
        let number = u32::from_be_bytes(bytes());
        // The last numbers would make the first codes more likely.
        if number < u32::MAX / 1_000_000 * 1_000_000 {
            return format!("{:06}", number % 1_000_000);
        }
    }
}
