//! Names from untrusted files, and paths made from them.

use std::path::{Component, Path};

/// Longest file name of common file systems, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Longest path of common operating systems, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// Most characters of a name shown in an error.
const SHOWN: usize = 160;

/// Whether `name` is a valid file name: not empty, not a path, at most 255 bytes, no control characters. A name from an
/// untrusted file is checked when it is read, and again when a path is made from it.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.contains(char::is_control)
        // The separators of every system: the file may come from another one.
        && !name.contains(['/', '\\'])
        && Path::new(name).components().eq([Component::Normal(name.as_ref())])
}

/// The requirements of [`is_file_name`], for error messages.
pub const FILE_NAME_RULE: &str =
    "a name of at most 255 bytes, not a path, without control characters";

/// `name` in backquotes, escaped and shortened to one line, for error messages.
#[must_use]
pub fn quoted_name(name: &str) -> String {
    format!("`{}`", shown(name))
}

/// Text from a file, escaped and shortened to one line.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(SHOWN).collect();
    if text.escape_debug().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Whether `path` is a valid path: not too long, without control characters.
pub(crate) fn is_path(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.contains(char::is_control)
        && path
            .split(['/', '\\'])
            .all(|name| name.len() <= MAX_NAME_BYTES)
}

/// Whether `path` stays below its starting directory: neither absolute nor with `..`.
pub(crate) fn stays_below(path: &str) -> bool {
    let down = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    // A name may contain separators of another system.
    Path::new(path).components().all(down) && path.split('\\').all(|name| name != "..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_names_and_paths_are_not() {
        let longest = "a".repeat(MAX_NAME_BYTES);
        for name in ["a", "a.b", "...", "..a", "ñ", "a b", "-", &longest] {
            assert!(is_file_name(name), "{name}");
        }
        let too_long = "a".repeat(MAX_NAME_BYTES + 1);
        let wide = "ñ".repeat(MAX_NAME_BYTES / 2 + 1);
        for name in [
            "", ".", "..", "/", "/a", "a/", "a/b", "../a", "a/..", "\\a", "..\\a", "a\0", "a\n",
            "\x1b[2J", "\u{7f}", "\u{9b}", &too_long, &wide,
        ] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }

    #[test]
    fn paths_lead_down_or_not() {
        for path in ["a", "a/b", "./a", ".", "a..b/c"] {
            assert!(is_path(path) && stays_below(path), "{path}");
        }
        for path in ["/a", "..", "../a", "a/../../b", "a\\..\\b"] {
            assert!(!stays_below(path), "{path}");
        }
        let long = "a/".repeat(MAX_PATH_BYTES);
        for path in ["a\0b", "\x1b]0;x", &"a".repeat(256), &long] {
            assert!(!is_path(path), "{path:?}");
        }
    }

    #[test]
    fn what_is_quoted_stays_on_its_line() {
        assert_eq!(quoted_name("../a"), "`../a`");
        assert_eq!(quoted_name("a\n\x1b"), r"`a\n\u{1b}`");
        assert!(quoted_name(&"\0".repeat(300)).len() < 170);
    }

    proptest! {
        #[test]
        fn a_path_of_a_name_is_in_its_directory(name in any::<String>()) {
            let path = Path::new("/some/where").join(&name);
            if is_file_name(&name) {
                prop_assert_eq!(path.parent(), Some(Path::new("/some/where")));
                prop_assert_eq!(path.file_name(), Some(name.as_ref()));
            }
        }

        #[test]
        fn a_path_that_leads_down_begins_as_its_directory(path in "[./a\\\\]{0,9}") {
            let joined = Path::new("/some/where").join(&path);
            if stays_below(&path) {
                prop_assert!(joined.starts_with("/some/where"));
                prop_assert!(joined.components().all(|part| part != Component::ParentDir));
            }
        }
    }
}
