//! Which secrets are too easy to guess.

use std::collections::BTreeSet;

use super::{EXAMPLE_SECRET, MIN_SECRET_LENGTH};

/// The fewest different characters of a secret of 32 bytes and more, and for each four bytes of a shorter one a
/// single one: 32 random hexadecimal digits have fewer in one of twenty million.
const FEWEST_CHARACTERS: usize = 8;

/// How many bytes at least follow from those before them in a text that repeats itself.
const REPEATED: usize = 16;

/// Words of placeholders: randomness does not write them.
const PLACEHOLDERS: [&str; 9] = [
    "changeme",
    "change-me",
    "change_me",
    "change this",
    "example",
    "placeholder",
    "insecure",
    "your-secret",
    "your_secret",
];

/// Says, of a secret that is too short or that everybody knows, what is wrong with it: as the end of a
/// sentence that begins with the setting's name. Never says the secret.
pub(super) fn unusable(secret: &str) -> Option<String> {
    if secret.len() < MIN_SECRET_LENGTH {
        Some(format!("is shorter than {MIN_SECRET_LENGTH} bytes"))
    } else if secret == EXAMPLE_SECRET {
        Some("is the example's, which everybody knows".to_owned())
    } else {
        None
    }
}

/// Says, of a secret that is long enough and has less in it than its length promises, what is wrong
/// with it: as [`unusable`]. `least` is the fewest bytes that a secret of its kind has.
pub(crate) fn guessable(secret: &str, least: usize) -> Option<String> {
    let characters: BTreeSet<char> = secret.chars().collect();
    let fewest = FEWEST_CHARACTERS.min(secret.len() / 4);
    let lower = secret.to_ascii_lowercase();
    let fault = if secret.trim().is_empty() {
        "is nothing but white space".to_owned()
    } else if secret.trim() != secret {
        "begins or ends with white space, which other programs may cut off".to_owned()
    } else if characters.len() < fewest {
        format!("has fewer than {fewest} different characters")
    } else if period(secret.as_bytes()) < least {
        format!("repeats a pattern of fewer than {least} bytes")
    } else if is_sequence(secret.as_bytes()) {
        "is a sequence of neighbouring characters".to_owned()
    } else if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        "contains a word of placeholders, such as changeme".to_owned()
    } else {
        return None;
    };
    Some(fault)
}

/// The length of the shortest pattern that the text repeats to its end, for [`REPEATED`] bytes at least, or for
/// half of a shorter text; the text's own length if it repeats none.
fn period(text: &[u8]) -> usize {
    let repeats = |length: &usize| (*length..text.len()).all(|at| text[at] == text[at - length]);
    let repeated = REPEATED.min(text.len() / 2);
    (1..=text.len() - repeated).find(repeats).unwrap_or(text.len())
}

/// Whether most characters are the one after, the one before or the same as the last.
fn is_sequence(text: &[u8]) -> bool {
    let near = text.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    near * 2 > text.len()
}

#[cfg(test)]
mod tests {
    use super::{MIN_SECRET_LENGTH, guessable, unusable};

    #[test]
    fn what_is_long_and_easy_to_guess_is_known_as_that() {
        let easy = [
            "a".repeat(64),
            " ".repeat(40),
            "\t \n".repeat(20),
            "ab".repeat(32),
            "secret".repeat(6),
            "0123456789abcdef".repeat(4),
            "correct horse battery. correct horse battery.".to_owned(),
            "abcdefghijklmnopqrstuvwxyz0123456789".to_owned(),
            "98765432109876543210zyxwvutsrqponm".to_owned(),
            "please-ChangeMe-before-you-go-live-0000".to_owned(),
            "django-insecure-k2!x9@v7#m4$q8%z1^w6&c3*".to_owned(),
            format!("{} ", "9f2c4b7e1a8d5063".repeat(3)),
        ];
        for secret in easy {
            assert_eq!(unusable(&secret), None, "{secret}");
            assert!(guessable(&secret, MIN_SECRET_LENGTH).is_some(), "{secret}");
        }
    }

    #[test]
    fn random_secrets_of_every_spelling_pass() {
        for turn in 0..2000 {
            let hex = crate::base::random::secret();
            for secret in [&hex, &hex[..32], &crate::base::random::letters_and_digits(32)] {
                assert_eq!(guessable(secret, MIN_SECRET_LENGTH), None, "turn {turn}: {secret}");
            }
        }
        let words = "otter granite velvet lantern pickle harbour";
        assert_eq!((unusable(words), guessable(words, MIN_SECRET_LENGTH)), (None, None));
    }
}
