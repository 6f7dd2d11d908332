//! Checks that refuse secrets that are too easy to guess.

use std::collections::BTreeSet;

use super::{EXAMPLE_SECRET, MIN_SECRET_LENGTH};

/// The minimum number of different characters in a secret of at least 32 bytes. A shorter secret needs one for each
/// four bytes. Of twenty million texts of 32 random hexadecimal digits, about one has fewer.
const FEWEST_CHARACTERS: usize = 8;

/// The number of bytes that must repeat earlier ones before a text counts as a repeated pattern.
const REPEATED: usize = 16;

/// Words that show that a text is a placeholder. A random text does not contain them.
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

/// Says what is wrong with a secret that is too short or publicly known. The text is the end of a sentence that begins
/// with the setting's name, and never contains the secret.
pub(super) fn unusable(secret: &str) -> Option<String> {
    if secret.len() < MIN_SECRET_LENGTH {
        Some(format!("is shorter than {MIN_SECRET_LENGTH} bytes"))
    } else if secret == EXAMPLE_SECRET {
        Some("is the one in .env.example, which everybody knows".to_owned())
    } else {
        None
    }
}

/// Says what is wrong with a secret that is long enough but easy to guess, in the same form as [`unusable`].
/// `min_length` is the minimum length of a secret of its kind, in bytes.
pub(crate) fn guessable(secret: &str, min_length: usize) -> Option<String> {
    let characters: BTreeSet<char> = secret.chars().collect();
    let fewest = FEWEST_CHARACTERS.min(secret.len() / 4);
    let lower = secret.to_ascii_lowercase();
    let fault = if secret.trim().is_empty() {
        "contains only white space".to_owned()
    } else if secret.trim() != secret {
        "begins or ends with white space, which other programs may remove".to_owned()
    } else if characters.len() < fewest {
        format!("has fewer than {fewest} different characters")
    } else if period(secret.as_bytes()) < min_length {
        format!("repeats a pattern of fewer than {min_length} bytes")
    } else if is_sequence(secret.as_bytes()) {
        "is a sequence of neighbouring characters".to_owned()
    } else if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        "contains a placeholder word, such as changeme".to_owned()
    } else {
        return None;
    };
    Some(fault)
}

/// The length of the shortest pattern that the text repeats up to its end. The repetition must have at least
/// [`REPEATED`] bytes, or half of a shorter text. Without a repetition, this is the length of the text.
fn period(text: &[u8]) -> usize {
    let repeats = |length: &usize| (*length..text.len()).all(|at| text[at] == text[at - length]);
    let repeated = REPEATED.min(text.len() / 2);
    (1..=text.len() - repeated).find(repeats).unwrap_or(text.len())
}

/// Returns true if more than five eighths of the characters are equal to the character before them or next to it, as in
/// `abcd` or `4321`. About one of 310,000 texts of 16 random hexadecimal digits is such a text, and one of 18 million
/// texts of 24. A limit of one half would refuse one of 38,000 of the latter.
fn is_sequence(text: &[u8]) -> bool {
    let near = text.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    near * 8 > text.len() * 5
}

#[cfg(test)]
mod tests {
    use super::{MIN_SECRET_LENGTH, guessable, unusable};

    #[test]
    fn a_long_secret_that_is_easy_to_guess_is_recognised() {
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
            "abc123def456ghi789jkl012mno345pqr678".to_owned(),
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
        for (hex, letters) in crate::base::random::samples() {
            for secret in [&hex, &hex[..32], &letters] {
                assert_eq!(guessable(secret, MIN_SECRET_LENGTH), None, "{secret}");
            }
        }
        // Random, although 13 of their characters are next to the one before them.
        let near = "cb100911299ffeea44015baa";
        assert_eq!(guessable(near, 16), None);
        let words = "otter granite velvet lantern pickle harbour";
        assert_eq!((unusable(words), guessable(words, MIN_SECRET_LENGTH)), (None, None));
    }
}
