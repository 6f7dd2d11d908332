//! The strength of a password: how hard it is to guess for somebody who knows its owner.

use zxcvbn::zxcvbn;

use crate::base::error::LocalizedMessage;

/// The number of characters that are examined. More would cost time and say little.
const MAX_CHARACTERS: usize = 72;

/// Returns the reasons, for people, why a password is too easy to guess; `None` if its score is at least `min_score`.
/// `words` are the words that anybody would try first: the address and the name.
pub(super) fn fault(
    password: &str,
    words: &[String],
    min_score: u8,
) -> Option<Vec<LocalizedMessage>> {
    let begin: String = password.chars().take(MAX_CHARACTERS).collect();
    let words: Vec<_> = words.iter().flat_map(|word| parts(word)).collect();
    let found = zxcvbn(&begin, &words);
    if u8::from(found.score()) >= min_score {
        return None;
    }
    let feedback = found.feedback();
    let warning = feedback.and_then(|feedback| feedback.warning());
    let warning = warning
        .map(|warning| LocalizedMessage::new(format!("weak-{warning:?}"), warning.to_string()));
    let advice = match feedback.and_then(|feedback| feedback.suggestions().first()) {
        Some(advice) => LocalizedMessage::new(format!("advice-{advice:?}"), advice.to_string()),
        None => LocalizedMessage::new("advice", "Add another word or two."),
    };
    let fault = LocalizedMessage::new("password-too-easy", "Password is too easy to guess.");
    Some([Some(fault), warning, Some(advice)].into_iter().flatten().collect())
}

/// Returns a word and its parts. For `ada.king@example.com` these are also `ada.king`, `ada`, `king`, `example.com` and
/// `example`.
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
    fn an_easy_password_is_refused_with_a_reason() {
        let words = ["ada.lovelace@example.com".to_owned(), "Ada".to_owned()];
        for weak in [
            "password",
            "12345678",
            "qwertyuiop",
            "lovelace",
            "ada.lovelace@example.com",
            "Lovelace1",
        ] {
            let messages = fault(weak, &words, 2).unwrap_or_default();
            assert_eq!(messages[0].sentence, "Password is too easy to guess.", "{weak}");
            let reason = messages[1..].iter().map(|message| &*message.sentence).collect::<String>();
            assert!(!reason.is_empty(), "{weak}");
            assert!(!reason.contains(weak) || weak == "password", "{reason}");
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
