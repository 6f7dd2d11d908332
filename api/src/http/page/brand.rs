//! The colour and the logo that the operator chose. Texts stay readable with every colour.

use std::path::Path;

use unicode_segmentation::UnicodeSegmentation;

use crate::base::config::{Color, ConfigError};
use crate::http::asset::Asset;

/// The minimum contrast between text and its background (WCAG 2, AA).
const LEAST_CONTRAST: f64 = 4.5;

const WHITE: Color = Color([255, 255, 255]);
const BLACK: Color = Color([0, 0, 0]);

/// The backgrounds of links in light and in dark mode. They must be those of `style.css`.
const LIGHT: Color = Color([0xf4, 0xf4, 0xf5]);
const DARK: Color = Color([0x27, 0x27, 0x2a]);

/// The maximum size of a logo, in bytes.
const LARGEST_LOGO: usize = 256 * 1024;

/// The variables of the stylesheet for a colour.
pub(super) fn variables(color: Color) -> String {
    let on = if contrast(color, WHITE) >= LEAST_CONTRAST { WHITE } else { BLACK };
    let (light, dark) = (readable(color, LIGHT, BLACK), readable(color, DARK, WHITE));
    format!(
        ":root {{ --act: {color}; --on-act: {on}; --link: {light} }}\n\
         @media (prefers-color-scheme: dark) {{ :root {{ --link: {dark} }} }}\n"
    )
}

/// The first readable colour on `ground`, on the way from this colour to `end`.
fn readable(color: Color, ground: Color, end: Color) -> Color {
    let mixed = |step: u16| {
        let Color(mut parts) = color;
        for (part, end) in parts.iter_mut().zip(end.0) {
            let mixed = (u16::from(*part) * (20 - step) + u16::from(end) * step) / 20;
            *part = u8::try_from(mixed).unwrap_or(u8::MAX);
        }
        Color(parts)
    };
    let readable = |color: &Color| contrast(*color, ground) >= LEAST_CONTRAST;
    (0..=20).map(mixed).find(readable).unwrap_or(end)
}

fn contrast(one: Color, other: Color) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn luminance(Color(parts): Color) -> f64 {
    let linear = |part: u8| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(parts[0]) + 0.7152 * linear(parts[1]) + 0.0722 * linear(parts[2])
}

/// The character that represents a name on a tile: its first letter or digit, with its combining marks.
pub(super) fn initial(name: &str) -> String {
    let mut graphemes = name.graphemes(true);
    let found = graphemes.clone().find(|grapheme| grapheme.contains(char::is_alphanumeric));
    found.or_else(|| graphemes.next()).unwrap_or_default().to_uppercase()
}

/// Reads a logo from its file.
pub(super) fn logo(file: &Path) -> Result<Asset, ConfigError> {
    let refused =
        |fault: &str| ConfigError::new(&format!("BRAND_LOGO: {}: {fault}", file.display()));
    let content = std::fs::read(file).map_err(|error| refused(&error.to_string()))?;
    if content.len() > LARGEST_LOGO {
        return Err(refused("it has more than 256 KiB: make it smaller"));
    }
    let head = String::from_utf8_lossy(&content[..content.len().min(1024)]);
    let kind = match content.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ if head.contains("<svg") => "image/svg+xml",
        _ => return Err(refused("it is not an SVG, PNG, JPEG or WebP image")),
    };
    // If somebody opens the drawing by itself, no script in it runs.
    Ok(Asset::new(kind, content)
        .with_policy("default-src 'none'; style-src 'unsafe-inline'; sandbox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_the_first_letter_of_the_name_with_its_combining_marks() {
        for (name, tile) in [
            ("tessera", "T"),
            ("  \"4 you\"", "4"),
            ("e\u{301}cole", "E\u{301}"),
            ("\u{301} x", "X"),
            ("\u{1f468}\u{200d}\u{1f467} Family", "F"),
            ("\u{1f1e9}\u{1f1ea}", "\u{1f1e9}\u{1f1ea}"),
        ] {
            assert_eq!(initial(name), tile);
        }
    }

    #[test]
    fn links_and_buttons_are_readable_with_every_colour() {
        for color in 0..4096_u16 {
            let part = |shift: u16| u8::try_from((color >> shift) & 15).unwrap_or_default() * 17;
            let color = Color([part(8), part(4), part(0)]);
            assert!(contrast(readable(color, LIGHT, BLACK), LIGHT) >= LEAST_CONTRAST, "{color}");
            assert!(contrast(readable(color, DARK, WHITE), DARK) >= LEAST_CONTRAST, "{color}");
            let best = contrast(color, WHITE).max(contrast(color, BLACK));
            assert!(best >= LEAST_CONTRAST, "{color}");
        }
        assert_eq!(readable(Color([0x1d, 0x4e, 0xd8]), LIGHT, BLACK), Color([0x1d, 0x4e, 0xd8]));
    }
}
