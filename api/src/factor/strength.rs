//! How long it would take to guess a password, by somebody who knows whose it is.

use zxcvbn::feedback::Suggestion;
use zxcvbn::zxcvbn;

/// So many characters are looked at: more cost more time than they tell.
const LOOKED_AT: usize = 72;

/// Why a password is too easy to guess, for people; nothing where its score reaches `least`. `words` are
/// those that anybody would try first: the address, the name.
pub(super) fn fault(password: &str, words: &[String], least: u8) -> Option<String> {
    let begin: String = password.chars().take(LOOKED_AT).collect();
    let words: Vec<_> = words.iter().flat_map(|word| parts(word)).collect();
    let found = zxcvbn(&begin, &words);
    if u8::from(found.score()) >= least {
        return None;
    }
    let feedback = found.feedback();
    let why = feedback.and_then(|feedback| feedback.warning()).map(|warning| warning.to_string());
    let advice =
        feedback.and_then(|feedback| feedback.suggestions().first()).map(Suggestion::to_string);
    let why = why.unwrap_or_else(|| "This is easy to guess.".to_owned());
    let advice = advice.unwrap_or_else(|| "Add another word or two.".to_owned());
    Some(format!("Password is too easy to guess. {why} {advice}"))
}

/// A word and what it is made of: of `ada.king@example.com` also `ada.king`, `ada`, `king`, `example.com`
/// and `example`.
fn parts(word: &str) -> Vec<&str> {
    let halves = word.split('@');
    let pieces = word.split(|char: char| !char.is_alphanumeric());
    let some = halves.chain(pieces).filter(|part| part.len() > 2);
    std::iter::once(word).chain(some).collect()
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn what_anybody_would_try_first_is_refused_with_a_reason() {
        let words = ["ada.lovelace@example.com".to_owned(), "Ada".to_owned()];
        for weak in [
            "password",
            "12345678",
            "qwertyuiop",
            "lovelace",
            "ada.lovelace@example.com",
            "Lovelace1",
        ] {
            let said = fault(weak, &words, 2).unwrap_or_default();
            assert!(said.starts_with("Password is too easy to guess. "), "{weak}: {said}");
            assert!(!said.contains(weak) || weak == "password", "{said}");
        }
        for strong in [
            "correct horse battery",
            "tr0ub4dour&3kl",
            &"no two of these words belong together: ".repeat(30),
        ] {
            assert_eq!(fault(strong, &words, 2), None, "{strong}");
        }
        assert_eq!(fault("password", &words, 0), None);
    }
}
