//! How long it would take to guess a password, by somebody who knows whose it is.

use zxcvbn::zxcvbn;

use crate::base::error::LocalizedMessage;

/// So many characters are looked at: more cost more time than they tell.
const LOOKED_AT: usize = 72;

/// Why a password is too easy to guess, for people; nothing where its score reaches `least`. `words` are
/// those that anybody would try first: the address, the name.
pub(super) fn fault(password: &str, words: &[String], least: u8) -> Option<Vec<LocalizedMessage>> {
    let begin: String = password.chars().take(LOOKED_AT).collect();
    let words: Vec<_> = words.iter().flat_map(|word| parts(word)).collect();
    let found = zxcvbn(&begin, &words);
    if u8::from(found.score()) >= least {
        return None;
    }
    let feedback = found.feedback();
    let why = feedback.and_then(|feedback| feedback.warning());
    let why = why.map(|why| LocalizedMessage::new(format!("weak-{why:?}"), why.to_string()));
    let advice = match feedback.and_then(|feedback| feedback.suggestions().first()) {
        Some(advice) => LocalizedMessage::new(format!("advice-{advice:?}"), advice.to_string()),
        None => LocalizedMessage::new("advice", "Add another word or two."),
    };
    let fault = LocalizedMessage::new("password-too-easy", "Password is too easy to guess.");
    Some([Some(fault), why, Some(advice)].into_iter().flatten().collect())
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
            assert_eq!(said[0].sentence, "Password is too easy to guess.", "{weak}");
            let reason = said[1..].iter().map(|message| &*message.sentence).collect::<String>();
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
