//! The texts that a search of users compares.

use sea_orm::ConnectionTrait;

use super::imported::store::put_searches;
use super::{User, store};
use crate::base::error::Result;
use crate::base::mail_address;

/// The number of characters of the parts that the index contains.
const PART: usize = 3;

/// The maximum number of parts that a search looks up. Those of a longer text would find the same users.
const MAX_PARTS: usize = 32;

/// Folds a text, so that two texts which differ only in upper and lower case are the same, by the rules of Unicode.
pub(super) fn fold(text: &str) -> String {
    // Without context: the lower case of a Greek sigma depends on its place in a word, which a part of a text does not
    // show.
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.map(|char| if char == 'ς' { 'σ' } else { char }).collect()
}

/// Returns the folded texts of which users must have one, so that a search for `text` finds them. The domain of an
/// address can be typed in another spelling than the stored one.
pub(super) fn spellings(text: &str) -> Vec<String> {
    let folded = fold(text);
    let typed = mail_address::with_ascii_domain(&folded);
    let typed = mail_address::ascii_domain(&typed).filter(|_| !text.is_ascii()).unwrap_or(typed);
    if typed == folded { vec![folded] } else { vec![folded, typed] }
}

/// Writes the text of a user that a search finds, if the triggers of the database cannot. It comes after the row and the
/// profile.
pub(super) async fn keep(connection: &impl ConnectionTrait, user: &User) -> Result<()> {
    match text_beyond_ascii(user) {
        Some(text) => Ok(store::put_search(connection, user.id, text).await?),
        None => Ok(()),
    }
}

/// Writes the texts of some users, as [`keep`] does.
pub(super) async fn keep_all(
    connection: &impl ConnectionTrait,
    users: impl Iterator<Item = &User>,
) -> Result<()> {
    let texts = users.filter_map(|user| Some((user.id, text_beyond_ascii(user)?)));
    Ok(put_searches(connection, texts.collect()).await?)
}

/// Returns the text of a user that a search finds, if the triggers of the database write another one. They fold only
/// ASCII letters.
fn text_beyond_ascii(user: &User) -> Option<String> {
    let name = user.profile.name.as_deref().unwrap_or_default();
    let surname = user.profile.surname.as_deref().unwrap_or_default();
    let text = format!("{}\n{name}\n{surname}", user.email);
    let folded = fold(&text);
    (folded != text.to_ascii_lowercase()).then_some(folded)
}

/// The query for SQLite's full-text index that finds the texts with all parts of a folded text. Returns `None` if the
/// text is shorter than a part.
pub(super) fn parts(text: &str) -> Option<String> {
    let chars: Vec<_> = text.chars().collect();
    let parts = chars.windows(PART).take(MAX_PARTS);
    let quoted = |part: &[char]| {
        let part: String = part.iter().collect();
        format!("\"{}\"", part.replace('"', "\"\""))
    };
    let query = parts.map(quoted).collect::<Vec<_>>().join(" ");
    (!query.is_empty()).then_some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_and_lower_case_are_the_same_in_every_alphabet() {
        for (one, other) in
            [("MÜLLER", "müller"), ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"), ("ЖУК", "жук"), ("É", "é")]
        {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("Muller"), fold("Müller"));
    }

    #[test]
    fn the_parts_of_a_text_are_quoted() {
        assert_eq!(parts("ab"), None);
        assert_eq!(parts("äb\"c").unwrap(), "\"äb\"\"\" \"b\"\"c\"");
        assert_eq!(parts(&"x".repeat(1000)).unwrap().split(' ').count(), MAX_PARTS);
    }
}
