//! Names that come out of files, and the paths that are made of them.

use std::path::{Component, Path};

/// Longest name of a file in bytes: what the file systems in use can hold.
const MAX_NAME_BYTES: usize = 255;
/// Longest path in bytes that the systems in use can open.
const MAX_PATH_BYTES: usize = 4096;
/// Characters of a name that are shown in an error.
const SHOWN: usize = 160;

/// Whether `name` can be the name of a file and nothing else: not empty, no path, at most 255 bytes and no control
/// characters. A name out of a file that somebody else made is checked by this where it is read, and again where a
/// path is made of it.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.contains(char::is_control)
        // What separates, on another system too: the file may have been made there.
        && !name.contains(['/', '\\'])
        && Path::new(name).components().eq([Component::Normal(name.as_ref())])
}

/// What [`is_file_name`] expects, in words.
pub const FILE_NAME: &str =
    "a name of at most 255 bytes that is no path and has no control characters";

/// `name` in backquotes, on one line and no longer than a line: as errors show what they refuse.
#[must_use]
pub fn quoted_name(name: &str) -> String {
    format!("`{}`", shown(name))
}

/// `text` out of a file, on one line and no longer than a line.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(SHOWN).collect();
    if text.escape_debug().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Whether `path` can be one: no longer than any, and without control characters.
pub(crate) fn is_path(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.contains(char::is_control)
        && path
            .split(['/', '\\'])
            .all(|name| name.len() <= MAX_NAME_BYTES)
}

/// Whether `path` leads nowhere but further down: neither absolute nor with `..`.
pub(crate) fn leads_down(path: &str) -> bool {
    let down = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    // Separators of another system may hide in a name.
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
            assert!(is_path(path) && leads_down(path), "{path}");
        }
        for path in ["/a", "..", "../a", "a/../../b", "a\\..\\b"] {
            assert!(!leads_down(path), "{path}");
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
            if leads_down(&path) {
                prop_assert!(joined.starts_with("/some/where"));
                prop_assert!(joined.components().all(|part| part != Component::ParentDir));
            }
        }
    }
}
