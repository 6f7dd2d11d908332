//! Codes as people type them: copied with spaces, in groups, or with the digits of their language.

/// The digit zero of scripts whose digits people type: Arabic, Persian, N'Ko, Devanagari, Bengali, Gurmukhi, Gujarati,
/// Odia, Tamil, Telugu, Kannada, Malayalam, Thai, Lao, Tibetan, Burmese, Khmer, Mongolian, and full width.
const ZEROS: [char; 19] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}',
    '\u{be6}', '\u{c66}', '\u{ce6}', '\u{d66}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}',
    '\u{17e0}', '\u{1810}', '\u{ff10}',
];

/// Reads a code. Spaces, hyphens and other marks are left out, and digits of all scripts are the same digits. Letters
/// stay, so a code with letters is wrong.
pub(super) fn read(typed: &str) -> String {
    typed.chars().map(ascii_digit).filter(|char| char.is_alphanumeric()).collect()
}

fn ascii_digit(char: char) -> char {
    let values = ZEROS.iter().map(|zero| u32::from(char).wrapping_sub(u32::from(*zero)));
    values.filter_map(|value| char::from_digit(value, 10)).next().unwrap_or(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_type_them() {
        for typed in [
            "012345",
            " 012345\n",
            "012 345",
            "01 23 45",
            "012-345",
            "012\u{2013}345",
            "012\u{a0}345",
            "012\u{200b}345\u{feff}",
            "\u{660}\u{661}\u{662}\u{663}\u{664}\u{665}",
            "\u{6f0}\u{6f1}\u{6f2} \u{6f3}\u{6f4}\u{6f5}",
            "\u{ff10}\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}",
        ] {
            assert_eq!(read(typed), "012345", "{typed}");
        }
        for typed in ["", "01234", "0123456", "O12345", "x012345"] {
            assert_ne!(read(typed), "012345", "{typed}");
        }
    }
}
